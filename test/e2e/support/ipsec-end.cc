// One end of an IPsec association as a director sees it: a key exchange (UDP from port 500 to port
// 500), then ESP and AH, whose contents mean nothing here. Raw sockets, so that no kernel needs
// either protocol. Used by the end-to-end tests.
//
//   ipsec-end server ADDRESS...        sends back what comes to these; prints `ready`
//   ipsec-end client ADDRESS WORD...   sends one packet for each of the words `keys`, `esp`, `ah`
//                                      and waits for its answer; prints those words in one line,
//                                      `nothing` for one without answer
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

namespace {

constexpr std::uint16_t kIkePort = 500;
constexpr int kEsp = 50, kAh = 51;
constexpr int kAnswerMs = 5000;
constexpr std::size_t kBytes = 64;

int fail(const char* what) {
  std::fprintf(stderr, "ipsec-end: %s: %s\n", what, std::strerror(errno));
  return 1;
}

// An address of either family, with the port of the key exchange where that is the protocol.
struct Address {
  sockaddr_storage storage{};
  socklen_t bytes = 0;

  bool parse(const char* text) {
    auto* four = reinterpret_cast<sockaddr_in*>(&storage);
    auto* six = reinterpret_cast<sockaddr_in6*>(&storage);
    if (inet_pton(AF_INET, text, &four->sin_addr) == 1) {
      storage.ss_family = AF_INET;
      bytes = sizeof *four;
    } else if (inet_pton(AF_INET6, text, &six->sin6_addr) == 1) {
      storage.ss_family = AF_INET6;
      bytes = sizeof *six;
    }
    return bytes != 0;
  }
  Address of(int protocol) const {
    Address out = *this;
    const auto port = static_cast<in_port_t>(protocol == IPPROTO_UDP ? htons(kIkePort) : 0);
    (family() == AF_INET ? reinterpret_cast<sockaddr_in*>(&out.storage)->sin_port
                         : reinterpret_cast<sockaddr_in6*>(&out.storage)->sin6_port) = port;
    return out;
  }
  int family() const { return storage.ss_family; }
  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }
};

// A datagram socket at the port of the key exchange, or a raw one of `protocol`; at any address of
// the host when `own` is none.
int open_end(int family, int protocol, const Address& own) {
  const bool keys = protocol == IPPROTO_UDP;
  const int fd = socket(family, (keys ? SOCK_DGRAM : SOCK_RAW) | SOCK_CLOEXEC, protocol);
  if (fd < 0) return fd;
  Address at = own;
  at.storage.ss_family = static_cast<sa_family_t>(family);
  at.bytes = family == AF_INET ? sizeof(sockaddr_in) : sizeof(sockaddr_in6);
  at = at.of(protocol);
  return bind(fd, at.get(), at.bytes) == 0 ? fd : -1;
}

// A raw IPv4 socket delivers the IP header too (raw(7)).
std::size_t header_bytes(int family, int protocol, const std::uint8_t* packet) {
  return family == AF_INET && protocol != IPPROTO_UDP ? (packet[0] & 15u) * 4u : 0;
}

struct End {
  int family;
  int protocol;
};

int serve(const std::vector<std::string>& addresses) {
  std::vector<End> ends;
  std::vector<pollfd> sockets;
  for (const std::string& text : addresses) {
    Address own;
    if (!own.parse(text.c_str())) return fail(text.c_str());
    for (const int protocol : {static_cast<int>(IPPROTO_UDP), kEsp, kAh}) {
      // Over IPv6 AH is an extension header: no socket gets it.
      if (own.family() == AF_INET6 && protocol == kAh) continue;
      ends.push_back({own.family(), protocol});
      sockets.push_back({open_end(own.family(), protocol, own), POLLIN, 0});
      if (sockets.back().fd < 0) return fail("socket");
    }
  }
  std::printf("ready\n");
  std::fflush(stdout);
  for (;;) {
    if (poll(sockets.data(), sockets.size(), -1) < 0) return fail("poll");
    for (std::size_t i = 0; i < ends.size(); i++) {
      if ((sockets[i].revents & POLLIN) == 0) continue;
      std::array<std::uint8_t, 2048> packet{};
      sockaddr_storage from{};
      socklen_t from_bytes = sizeof from;
      auto* who = reinterpret_cast<sockaddr*>(&from);
      const ssize_t got =
          recvfrom(sockets[i].fd, packet.data(), packet.size(), 0, who, &from_bytes);
      const std::size_t skip = header_bytes(ends[i].family, ends[i].protocol, packet.data());
      if (got < 0 || static_cast<std::size_t>(got) < skip) continue;
      // A raw IPv6 socket takes no port to send to, and names the protocol instead.
      if (ends[i].protocol == kEsp && ends[i].family == AF_INET6) {
        reinterpret_cast<sockaddr_in6*>(&from)->sin6_port = 0;
      }
      sendto(sockets[i].fd, packet.data() + skip, static_cast<std::size_t>(got) - skip, 0, who,
             from_bytes);
    }
  }
}

// Whether what is sent to `to` comes back from there.
bool is_answered(const Address& to, int protocol) {
  const int family = to.family();
  const int fd = open_end(family, protocol, {});
  // Connected, it hears nobody else.
  if (fd < 0 || connect(fd, to.get(), to.bytes) != 0) return false;
  std::array<std::uint8_t, kBytes> sent{};
  for (std::size_t i = 0; i < sent.size(); i++) sent[i] = static_cast<std::uint8_t>(i * 7 + 1);
  if (send(fd, sent.data(), sent.size(), 0) != static_cast<ssize_t>(sent.size())) return false;
  pollfd wanted{fd, POLLIN, 0};
  if (poll(&wanted, 1, kAnswerMs) != 1) return false;
  std::array<std::uint8_t, 2048> packet{};
  const ssize_t got = recv(fd, packet.data(), packet.size(), 0);
  const std::size_t skip = header_bytes(family, protocol, packet.data());
  return got == static_cast<ssize_t>(skip + sent.size()) &&
         std::memcmp(packet.data() + skip, sent.data(), sent.size()) == 0;
}

int ask(const char* address, const std::vector<std::string>& words) {
  Address to;
  if (!to.parse(address)) return fail(address);
  std::string said;
  for (const std::string& word : words) {
    const int protocol = word == "keys" ? IPPROTO_UDP : word == "esp" ? kEsp : kAh;
    if (!said.empty()) said += ' ';
    said += is_answered(to.of(protocol), protocol) ? word : "nothing";
  }
  std::printf("%s\n", said.c_str());
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  const std::string role = argc > 1 ? argv[1] : "";
  if (role == "server" && argc > 2) return serve({argv + 2, argv + argc});
  if (role == "client" && argc > 3) return ask(argv[2], {argv + 3, argv + argc});
  std::fprintf(stderr, "usage: ipsec-end server ADDRESS... | client ADDRESS WORD...\n");
  return 2;
}
