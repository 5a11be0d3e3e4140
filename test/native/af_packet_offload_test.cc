// Real TCP and UDP between two kernels through a forwarder made of two ports, with every offload of
// the interfaces at its default: super-packets and partial checksums must go through intact.
//
//   client 198.18.0.1 [left]---[one] forwarder [two]---[right] 198.18.0.2 server
//
// The forwarder hands frames on as they are, like a bridge; what the peers' kernels accept was not
// harmed on the way.
#include <arpa/inet.h>
#include <poll.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "check.h"
#include "io/af_packet.h"
#include "io/packet_socket.h"
#include "netns.h"

namespace uvs {
namespace {

using test::Enter;
using test::Netns;
using test::Run;

constexpr size_t kBytes = 24 << 20;
constexpr int kPort = 5001;
constexpr int kPatienceSec = 20;

uint8_t ByteAt(size_t position) { return static_cast<uint8_t>(position * 2654435761u >> 13); }

struct Seen {
  uint64_t frames = 0;
  uint64_t supers = 0;   // larger than a ring slot, with GSO
  uint64_t partial = 0;  // checksum left to be filled in
  uint64_t refused = 0;
};

struct Line {
  Netns client, middle, server;
  bool good = false;
  Line() {
    const auto up = [](const Netns& ns, const std::string& name) {
      return Run(ns, "sysctl -qw net.ipv6.conf." + name +
                         ".accept_dad=0 && ip link set lo up && "
                         "ip link set " +
                         name + " up");
    };
    good = client.usable() && middle.usable() && server.usable() &&
           Run(middle, "ip link add one type veth peer name left netns " + client.pid()) &&
           Run(middle, "ip link add two type veth peer name right netns " + server.pid()) &&
           Run(client,
               "ip addr add 198.18.0.1/24 dev left && "
               "ip addr add 2001:db8::1/64 dev left nodad") &&
           Run(server,
               "ip addr add 198.18.0.2/24 dev right && "
               "ip addr add 2001:db8::2/64 dev right nodad") &&
           up(client, "left") && up(server, "right") && up(middle, "one") && up(middle, "two");
  }
};

struct Ear {
  UniqueFd fd;
  uint32_t rx_index = 0;
  std::unique_ptr<AfPacketPort> port;
};

bool Open(const std::string& name, Ear* ear) {
  IoError error;
  Interface interface;
  PacketSocketOptions options;
  options.ring_frames = 1024;
  if (find_interface(name, &interface, &error)) {
    ear->fd = open_packet_socket(interface, options, &error);
    if (ear->fd.open()) {
      ear->port = AfPacketPort::attach(ear->fd.get(), interface.index, options.ring_frames,
                                       &ear->rx_index, &error);
    }
  }
  if (ear->port == nullptr) std::printf("  # %s\n", error.sentence.c_str());
  return ear->port != nullptr;
}

void Carry(Port& from, Port& to, Seen* seen) {
  Frame frames[kBurst];
  const uint32_t count = from.rx_burst(frames, kBurst);
  for (uint32_t i = 0; i < count; i++) {
    seen->frames++;
    seen->supers += frames[i].length > kFrameSlotBytes && frames[i].vnet.gso_size != 0;
    seen->partial += (frames[i].vnet.flags & kVnetNeedsCsum) != 0;
  }
  for (uint32_t done = 0; done < count;) {
    int error = 0;
    done += to.tx_burst(frames + done, count - done, &error);
    if (done == count) break;
    seen->refused++;
    done++;
  }
  from.release();
}

// Forwards both ways until `last` ends; its exit status, or -1 when it took too long.
int ForwardUntil(pid_t last, Seen* seen) {
  Ear one;
  Ear two;
  if (!Open("one", &one) || !Open("two", &two)) return -2;
  const time_t end = ::time(nullptr) + kPatienceSec;
  int status = 0;
  while (::waitpid(last, &status, WNOHANG) == 0) {
    if (::time(nullptr) > end) {
      ::kill(last, SIGKILL);
      ::waitpid(last, &status, 0);
      return -1;
    }
    pollfd fds[] = {{one.port->poll_fd(), POLLIN, 0}, {two.port->poll_fd(), POLLIN, 0}};
    ::poll(fds, 2, 20);
    Carry(*one.port, *two.port, seen);
    Carry(*two.port, *one.port, seen);
  }
  if (one.port->rx_dropped() + two.port->rx_dropped() > 0) std::printf("  # ring overruns\n");
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

socklen_t Address(int family, const char* text, sockaddr_storage* address) {
  *address = sockaddr_storage{};
  if (family == AF_INET) {
    auto* v4 = reinterpret_cast<sockaddr_in*>(address);
    v4->sin_family = AF_INET;
    v4->sin_port = htons(kPort);
    ::inet_pton(AF_INET, text, &v4->sin_addr);
    return sizeof *v4;
  }
  auto* v6 = reinterpret_cast<sockaddr_in6*>(address);
  v6->sin6_family = AF_INET6;
  v6->sin6_port = htons(kPort);
  ::inet_pton(AF_INET6, text, &v6->sin6_addr);
  return sizeof *v6;
}

// A socket bound to the server's address; opened before the client starts.
UniqueFd Bound(const Netns& ns, int family, int type, const char* text) {
  const Enter here(ns);
  UniqueFd fd(::socket(family, type | SOCK_CLOEXEC, 0));
  sockaddr_storage address;
  const socklen_t bytes = Address(family, text, &address);
  if (::bind(fd.get(), reinterpret_cast<sockaddr*>(&address), bytes) != 0 ||
      (type == SOCK_STREAM && ::listen(fd.get(), 4) != 0)) {
    fd.reset();
  }
  return fd;
}

int SendStream(int family, const char* text) {
  const UniqueFd fd(::socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_storage address;
  const socklen_t bytes = Address(family, text, &address);
  if (::connect(fd.get(), reinterpret_cast<sockaddr*>(&address), bytes) != 0) return 10;
  std::vector<uint8_t> chunk(1 << 20);
  for (size_t at = 0; at < kBytes;) {
    for (size_t i = 0; i < chunk.size(); i++) chunk[i] = ByteAt(at + i);
    for (size_t done = 0; done < chunk.size();) {
      const ssize_t sent = ::send(fd.get(), chunk.data() + done, chunk.size() - done, 0);
      if (sent <= 0) return 11;
      done += static_cast<size_t>(sent);
    }
    at += chunk.size();
  }
  ::shutdown(fd.get(), SHUT_WR);
  char verdict = 0;
  return ::recv(fd.get(), &verdict, 1, 0) == 1 && verdict == 'y' ? 0 : 12;
}

int CheckStream(int listener) {
  const UniqueFd fd(::accept(listener, nullptr, nullptr));
  if (!fd.open()) return 20;
  std::vector<uint8_t> chunk(1 << 20);
  size_t at = 0;
  for (;;) {
    const ssize_t got = ::recv(fd.get(), chunk.data(), chunk.size(), 0);
    if (got < 0) return 21;
    if (got == 0) break;
    for (ssize_t i = 0; i < got; i++) {
      if (chunk[static_cast<size_t>(i)] != ByteAt(at + static_cast<size_t>(i))) return 22;
    }
    at += static_cast<size_t>(got);
  }
  if (at != kBytes) return 23;
  return ::send(fd.get(), "y", 1, MSG_NOSIGNAL) == 1 ? 0 : 24;
}

void StreamThrough(int family, const char* text) {
  const Line line;
  REQUIRE(line.good);
  const UniqueFd listener = Bound(line.server, family, SOCK_STREAM, text);
  REQUIRE(listener.open());
  const pid_t server = test::Spawn(line.server, [&] { return CheckStream(listener.get()); });
  const pid_t client = test::Spawn(line.client, [&] { return SendStream(family, text); });
  Seen seen;
  {
    const Enter here(line.middle);
    CHECK_EQ(ForwardUntil(client, &seen), 0);
  }
  ::kill(server, SIGKILL);
  test::Wait(server);
  CHECK_EQ(seen.refused, 0u);
  // With default offloads almost all of the stream travels as super-packets.
  CHECK_GT(seen.supers, kBytes / 65536 / 2);
  CHECK_GT(seen.partial, seen.supers);
  // Cut into segments it would take more frames than this.
  CHECK_LT(seen.frames, kBytes / 1448);
}

}  // namespace

TEST(tcp4_passes_as_super_packets_with_partial_checksums) {
  NEED_NAMESPACES();
  StreamThrough(AF_INET, "198.18.0.2");
}

TEST(tcp6_passes_as_super_packets_with_partial_checksums) {
  NEED_NAMESPACES();
  StreamThrough(AF_INET6, "2001:db8::2");
}

TEST(udp_with_partial_checksums_is_accepted_by_the_peer) {
  NEED_NAMESPACES();
  const Line line;
  REQUIRE(line.good);
  const UniqueFd socket = Bound(line.server, AF_INET, SOCK_DGRAM, "198.18.0.2");
  REQUIRE(socket.open());
  // The server counts what its kernel accepted: a wrong checksum never reaches the socket.
  const pid_t server = test::Spawn(line.server, [&] {
    for (int i = 0; i < 50; i++) {
      uint8_t data[2048];
      sockaddr_storage from;
      socklen_t bytes = sizeof from;
      auto* peer = reinterpret_cast<sockaddr*>(&from);
      const ssize_t got = ::recvfrom(socket.get(), data, sizeof data, 0, peer, &bytes);
      if (got != 100 + i) return 1;
      if (::sendto(socket.get(), data, static_cast<size_t>(got), 0, peer, bytes) != got) return 2;
    }
    return 0;
  });
  const pid_t client = test::Spawn(line.client, [&] {
    const UniqueFd fd(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    const timeval patience{kPatienceSec, 0};
    ::setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    sockaddr_storage to;
    const socklen_t bytes = Address(AF_INET, "198.18.0.2", &to);
    for (size_t i = 0; i < 50; i++) {
      uint8_t data[2048] = {};
      if (::sendto(fd.get(), data, 100 + i, 0, reinterpret_cast<sockaddr*>(&to), bytes) < 0) {
        return 1;
      }
      if (::recv(fd.get(), data, sizeof data, 0) != static_cast<ssize_t>(100 + i)) return 2;
    }
    return 0;
  });
  Seen seen;
  {
    const Enter here(line.middle);
    CHECK_EQ(ForwardUntil(client, &seen), 0);
  }
  ::kill(server, SIGKILL);
  test::Wait(server);
  CHECK_GE(seen.partial, 100u);
  CHECK_EQ(seen.refused, 0u);
}

}  // namespace uvs
