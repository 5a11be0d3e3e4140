// In: what a control protocol needs. Does: opens netlink, Unix and packet sockets, moves single
// messages. Next: raw_socket_wrap.cc polls the descriptor and hands messages to TypeScript.
#include "io/raw_socket.h"

#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/netlink.h>
#include <net/if.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <cerrno>
#include <cstddef>
#include <cstring>

#include "limits.h"

namespace uvs {
namespace {

constexpr int kFlags = SOCK_NONBLOCK | SOCK_CLOEXEC;

UniqueFd failed(const char* call, const std::string& what, IoError* error) {
  *error = system_error(call, what);
  return UniqueFd();
}

// A path that begins with @ is a name of the network namespace instead of a file (unix(7)).
bool is_abstract(const std::string& path) { return !path.empty() && path[0] == '@'; }

bool unix_address(const std::string& path, sockaddr_un* address, socklen_t* length,
                  IoError* error) {
  *address = sockaddr_un{};
  address->sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof address->sun_path) {
    *error = refusal("ERR_PATH", "a socket path has 1 to 107 bytes: " + path);
    return false;
  }
  memcpy(address->sun_path, path.c_str(), path.size() + 1);
  if (is_abstract(path)) address->sun_path[0] = '\0';
  const size_t end = is_abstract(path) ? path.size() : path.size() + 1;
  *length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + end);
  return true;
}

Transfer missed(const char* call, IoError* error) {
  if (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR) return Transfer::kNotNow;
  *error = system_error(call, "a control socket");
  return Transfer::kFailed;
}

bool from_elsewhere(const sockaddr_storage& sender) {
  return sender.ss_family == AF_NETLINK && reinterpret_cast<const sockaddr_nl&>(sender).nl_pid != 0;
}

}  // namespace

UniqueFd open_netlink(int protocol, IoError* error) {
  UniqueFd fd(::socket(AF_NETLINK, SOCK_RAW | kFlags, protocol));
  if (!fd.open()) return failed("socket AF_NETLINK", "netlink", error);
  sockaddr_nl address{};
  address.nl_family = AF_NETLINK;
  if (::bind(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) {
    return failed("bind", "netlink", error);
  }
  return fd;
}

UniqueFd open_listener(const std::string& path, mode_t mode, IoError* error) {
  constexpr int kBacklog = 64;
  sockaddr_un address;
  socklen_t length;
  if (!unix_address(path, &address, &length, error)) return UniqueFd();
  UniqueFd fd(::socket(AF_UNIX, SOCK_SEQPACKET | kFlags, 0));
  if (!fd.open()) return failed("socket AF_UNIX", path, error);
  if (::bind(fd.get(), reinterpret_cast<sockaddr*>(&address), length) != 0) {
    return failed("bind", path, error);
  }
  if (!is_abstract(path) && ::chmod(path.c_str(), mode) != 0) return failed("chmod", path, error);
  if (::listen(fd.get(), kBacklog) != 0) return failed("listen", path, error);
  return fd;
}

UniqueFd open_connection(const std::string& path, IoError* error) {
  sockaddr_un address;
  socklen_t length;
  if (!unix_address(path, &address, &length, error)) return UniqueFd();
  UniqueFd fd(::socket(AF_UNIX, SOCK_SEQPACKET | kFlags, 0));
  if (!fd.open()) return failed("socket AF_UNIX", path, error);
  if (::connect(fd.get(), reinterpret_cast<sockaddr*>(&address), length) != 0) {
    return failed("connect", path, error);
  }
  return fd;
}

UniqueFd open_packet(const std::string& interface, IoError* error) {
  // Protocol 0: nothing is received before bind() has named the interface.
  UniqueFd fd(::socket(AF_PACKET, SOCK_RAW | kFlags, 0));
  if (!fd.open()) return failed("socket AF_PACKET", interface, error);
  const int on = 1;
  if (::setsockopt(fd.get(), SOL_PACKET, PACKET_IGNORE_OUTGOING, &on, sizeof on) != 0) {
    return failed("setsockopt PACKET_IGNORE_OUTGOING", interface, error);
  }
  sockaddr_ll address{};
  address.sll_family = AF_PACKET;
  address.sll_protocol = htons(ETH_P_ALL);
  address.sll_ifindex = static_cast<int>(::if_nametoindex(interface.c_str()));
  if (address.sll_ifindex == 0) return failed("if_nametoindex", interface, error);
  if (::bind(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) {
    return failed("bind", interface, error);
  }
  return fd;
}

Transfer receive_message(int fd, std::vector<uint8_t>* message, IoError* error) {
  for (;;) {
    const ssize_t bytes = ::recv(fd, nullptr, 0, MSG_PEEK | MSG_TRUNC);
    if (bytes < 0) return missed("recv", error);
    const bool too_long = static_cast<size_t>(bytes) > kRawMessageBytesMax;
    message->resize(too_long ? 0 : static_cast<size_t>(bytes));
    sockaddr_storage sender{};
    socklen_t length = sizeof sender;
    const ssize_t got = ::recvfrom(fd, message->data(), message->size(), 0,
                                   reinterpret_cast<sockaddr*>(&sender), &length);
    if (got < 0) return missed("recvfrom", error);
    if (from_elsewhere(sender)) continue;
    if (too_long) {
      *error =
          refusal("ERR_MESSAGE", "a message of " + std::to_string(bytes) + " bytes is refused");
      return Transfer::kFailed;
    }
    message->resize(static_cast<size_t>(got));
    return Transfer::kDone;
  }
}

Transfer send_message(int fd, const uint8_t* message, size_t bytes, IoError* error) {
  // A netlink socket without a destination address sends to the kernel (netlink(7)).
  const ssize_t sent = ::send(fd, message, bytes, MSG_NOSIGNAL);
  if (sent < 0) return missed("send", error);
  return Transfer::kDone;
}

uint64_t namespace_cookie(int fd) {
#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71  // newer than the headers of some distributions (Linux 5.14)
#endif
  uint64_t cookie = 0;
  socklen_t length = sizeof cookie;
  if (::getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &length) != 0) return 0;
  return cookie;
}

Transfer accept_client(int fd, Client* client, IoError* error) {
  client->fd = UniqueFd(::accept4(fd, nullptr, nullptr, kFlags));
  if (!client->fd.open()) {
    // The client may have gone while it waited.
    if (errno == ECONNABORTED) return Transfer::kNotNow;
    return missed("accept4", error);
  }
  ucred who{};
  socklen_t length = sizeof who;
  if (::getsockopt(client->fd.get(), SOL_SOCKET, SO_PEERCRED, &who, &length) != 0) {
    return missed("getsockopt SO_PEERCRED", error);
  }
  client->pid = who.pid;
  client->uid = who.uid;
  client->gid = who.gid;
  return Transfer::kDone;
}

}  // namespace uvs
