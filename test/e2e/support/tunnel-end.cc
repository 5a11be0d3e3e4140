// The real server's end of a tunnel, for kernels without the modules: takes IPIP and GRE packets
// from raw sockets and GUE packets from UDP sockets, and hands what was inside to the host through
// a TUN device, as the kernel's own tunl0, gre0 and fou would (RFC 2003, RFC 2473, RFC 2784,
// draft-ietf-intarea-gue). What has a wrong checksum is lost, as there. Used by the demo and the
// end-to-end tests.
//
//   tunnel-end NAME     makes the TUN device NAME, prints `ready`, runs until it is killed
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <linux/udp.h>
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

constexpr std::size_t kPacketMax = 65535;
constexpr int kSocketBytes = 8 << 20;
constexpr std::uint16_t kGuePort = 6080;  // IANA's for GUE

struct Entrance {
  int family;
  int protocol;
};

constexpr std::array<Entrance, 8> kEntrances{{
    {AF_INET, IPPROTO_IPIP},
    {AF_INET, IPPROTO_IPV6},
    {AF_INET, IPPROTO_GRE},
    {AF_INET, IPPROTO_UDP},
    {AF_INET6, IPPROTO_IPIP},
    {AF_INET6, IPPROTO_IPV6},
    {AF_INET6, IPPROTO_GRE},
    {AF_INET6, IPPROTO_UDP},
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

bool bind_gue(const Entrance& entrance, int entry) {
  if (entrance.family == AF_INET) {
    sockaddr_in any{};
    any.sin_family = AF_INET;
    any.sin_port = htons(kGuePort);
    return bind(entry, reinterpret_cast<const sockaddr*>(&any), sizeof any) == 0;
  }
  const int yes = 1;
  sockaddr_in6 any{};
  any.sin6_family = AF_INET6;
  any.sin6_port = htons(kGuePort);
  // A checksum of zero is for tunnels (RFC 6935), so a socket must ask for it.
  return setsockopt(entry, IPPROTO_IPV6, IPV6_V6ONLY, &yes, sizeof yes) == 0 &&
         setsockopt(entry, IPPROTO_UDP, UDP_NO_CHECK6_RX, &yes, sizeof yes) == 0 &&
         bind(entry, reinterpret_cast<const sockaddr*>(&any), sizeof any) == 0;
}

int open_entrance(const Entrance& entrance) {
  const bool udp = entrance.protocol == IPPROTO_UDP;
  const int type = (udp ? SOCK_DGRAM : SOCK_RAW) | SOCK_NONBLOCK | SOCK_CLOEXEC;
  const int entry = socket(entrance.family, type, entrance.protocol);
  if (entry < 0 || (udp && !bind_gue(entrance, entry))) return -1;
  setsockopt(entry, SOL_SOCKET, SO_RCVBUFFORCE, &kSocketBytes, sizeof kSocketBytes);
  return entry;
}

std::uint32_t get16(const std::uint8_t* at) { return at[0] * 256U + at[1]; }

std::uint32_t sum_of(const std::uint8_t* at, std::size_t bytes) {
  std::uint32_t sum = 0;
  for (std::size_t i = 0; i < bytes; i += 2) sum += at[i] * 256U + (i + 1 < bytes ? at[i + 1] : 0);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
  return sum;
}

// Bytes of the GRE header; more than `length` when it is not to be taken.
std::size_t gre_length(const std::uint8_t* at, std::size_t length) {
  if (length < 8 || (get16(at) & 0x7fff) != 0) return length + 1;
  const std::uint32_t protocol = get16(at + 2);
  if (protocol != 0x0800 && protocol != 0x86dd) return length + 1;
  if (at[0] == 0) return 4;
  return sum_of(at, length) == 0xffff ? 8 : length + 1;
}

// Bytes of the GUE header; fills in a checksum that was left to us (remote checksum offload).
std::size_t gue_length(std::uint8_t* at, std::size_t length) {
  if (length < 4 || at[0] > 0x1f || (at[1] != IPPROTO_IPIP && at[1] != IPPROTO_IPV6)) {
    return length + 1;
  }
  const std::size_t header = 4 + 4U * at[0];
  const std::uint32_t flags = get16(at + 2);
  if (flags == 0 || header > length) return header;
  // Private flags, one of them: two offsets follow.
  if (flags != 1 || header != 12 || get16(at + 4) != 0x8000 || get16(at + 6) != 0) {
    return length + 1;
  }
  const std::uint32_t start = get16(at + 8);
  const std::uint32_t field = get16(at + 10);
  const std::size_t inner = length - header;
  if (start > inner || field + 2 > inner || field < start) return length + 1;
  const std::uint32_t sum = 0xffff - sum_of(at + header + start, inner - start);
  at[header + field] = static_cast<std::uint8_t>(sum >> 8);
  at[header + field + 1] = static_cast<std::uint8_t>(sum);
  return header;
}

// Bytes in front of the packet inside; more than `length` when it is malformed. A raw IPv4 socket
// delivers the outer header too, a raw IPv6 socket (RFC 3542 section 3) and a UDP socket do not.
std::size_t front_length(const Entrance& entrance, std::uint8_t* packet, std::size_t length) {
  if (entrance.protocol == IPPROTO_UDP) return gue_length(packet, length);
  const std::size_t outer = entrance.family == AF_INET ? (packet[0] & 15U) * 4U : 0;
  if (entrance.protocol != IPPROTO_GRE || outer > length) return outer;
  return outer + gre_length(packet + outer, length - outer);
}

// Empties one socket into the device. A packet the host's stack refuses is lost, as on a wire.
void drain(const Entrance& entrance, int entry, int device) {
  std::uint8_t packet[kPacketMax];
  for (;;) {
    const ssize_t received = recv(entry, packet, sizeof packet, 0);
    if (received <= 0) return;
    const auto length = static_cast<std::size_t>(received);
    const std::size_t front = front_length(entrance, packet, length);
    if (length <= front) continue;
    const ssize_t written = write(device, packet + front, length - front);
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
    if (waits[i].fd < 0) return fail("socket");
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
