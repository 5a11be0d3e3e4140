// The real server's end of an IP-in-IP tunnel, for kernels without the ipip module: takes IPIP
// packets from raw sockets and hands what was inside to the host through a TUN device, as the
// kernel's own tunl0 would (RFC 2003, RFC 2473). Used by the demo and the end-to-end tests.
//
//   tunnel-end NAME     makes the TUN device NAME, prints `ready`, runs until it is killed
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstring>

namespace {

constexpr int kInnerIp4 = IPPROTO_IPIP;
constexpr int kInnerIp6 = IPPROTO_IPV6;
constexpr std::size_t kPacketMax = 65535;
constexpr int kSocketBytes = 8 << 20;

struct Entrance {
  int family;
  int protocol;
};

// A raw IPv4 socket delivers the outer header too, a raw IPv6 socket does not (RFC 3542 section 3).
constexpr std::array<Entrance, 4> kEntrances{{
    {AF_INET, kInnerIp4},
    {AF_INET, kInnerIp6},
    {AF_INET6, kInnerIp4},
    {AF_INET6, kInnerIp6},
}};

int fail(const char* what) {
  std::fprintf(stderr, "tunnel-end: %s: %s\n", what, std::strerror(errno));
  return 1;
}

int open_device(const char* name) {
  const int device = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
  if (device < 0) return -1;
  ifreq request{};
  request.ifr_flags = IFF_TUN | IFF_NO_PI;
  std::snprintf(request.ifr_name, sizeof request.ifr_name, "%s", name);
  return ioctl(device, TUNSETIFF, &request) == 0 ? device : -1;
}

int open_entrance(const Entrance& entrance) {
  const int type = SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC;
  const int entry = socket(entrance.family, type, entrance.protocol);
  if (entry >= 0) {
    setsockopt(entry, SOL_SOCKET, SO_RCVBUFFORCE, &kSocketBytes, sizeof kSocketBytes);
  }
  return entry;
}

// Length of the outer header in what the socket gave; longer than the packet when it is malformed.
std::size_t outer_length(const Entrance& entrance, const std::uint8_t* packet) {
  return entrance.family == AF_INET ? (packet[0] & 15U) * 4U : 0;
}

// Empties one socket into the device. A packet the host's stack refuses is lost, as on a wire.
void drain(const Entrance& entrance, int entry, int device) {
  static_assert(kPacketMax <= 65535);
  std::uint8_t packet[kPacketMax];
  for (;;) {
    const ssize_t length = recv(entry, packet, sizeof packet, 0);
    if (length <= 0) return;
    const std::size_t outer = outer_length(entrance, packet);
    if (static_cast<std::size_t>(length) <= outer) continue;
    const ssize_t written = write(device, packet + outer, static_cast<std::size_t>(length) - outer);
    if (written < 0 && errno == EBADFD) return;
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: tunnel-end NAME\n");
    return 2;
  }
  const int device = open_device(argv[1]);
  if (device < 0) return fail(argv[1]);
  std::array<pollfd, kEntrances.size()> waits{};
  for (std::size_t i = 0; i < kEntrances.size(); i++) {
    waits[i] = {open_entrance(kEntrances[i]), POLLIN, 0};
    if (waits[i].fd < 0) return fail("raw socket");
  }
  std::puts("ready");
  std::fflush(stdout);
  for (;;) {
    if (poll(waits.data(), waits.size(), -1) < 0 && errno != EINTR) return fail("poll");
    for (std::size_t i = 0; i < kEntrances.size(); i++) {
      if ((waits[i].revents & POLLIN) != 0) drain(kEntrances[i], waits[i].fd, device);
    }
  }
}
