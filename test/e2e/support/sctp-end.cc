// One end of SCTP associations for kernels without the sctp module: raw sockets, packets by hand
// (RFC 9260 3). Enough of the protocol to be seen by a director, no more: one chunk per packet, no
// retransmission, every checksum verified. Used by the end-to-end tests.
//
//   sctp-end server                            answers INIT, COOKIE ECHO, DATA and SHUTDOWN on
//   every
//                                              port and address of the host; prints `ready`
//   sctp-end client ADDRESS PORT OWN-PORT CHUNK...
//                                              sends the chunks by number, one after the other,
//                                              each when the one before was answered; prints the
//                                              answers' chunks in one line, `icmp` where an error
//                                              came. `-N` sends chunk N without waiting for an
//                                              answer
#include <arpa/inet.h>
#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/ip_icmp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

namespace {

constexpr int kSctp = 132;
constexpr int kAnswerMs = 5000;
constexpr std::size_t kPacketBytes = 12 + 4 + 16;  // header, chunk header, a body of no meaning

constexpr std::uint8_t kData = 0, kInit = 1, kInitAck = 2, kSack = 3, kShutdown = 7,
                       kShutdownAck = 8, kCookieEcho = 10, kCookieAck = 11;

int fail(const char* what) {
  std::fprintf(stderr, "sctp-end: %s: %s\n", what, std::strerror(errno));
  return 1;
}

// CRC32c bit by bit, the checksum field counted as 0.
std::uint32_t crc32c(const std::uint8_t* packet, std::size_t bytes) {
  std::uint32_t crc = ~0u;
  for (std::size_t i = 0; i < bytes; i++) {
    crc ^= i >= 8 && i < 12 ? 0 : packet[i];
    for (int bit = 0; bit < 8; bit++) crc = (crc >> 1) ^ ((crc & 1) != 0 ? 0x82f63b78u : 0u);
  }
  return ~crc;
}

struct Packet {
  std::array<std::uint8_t, 2048> bytes{};
  std::size_t length = 0;

  std::uint16_t get16(std::size_t at) const {
    return static_cast<std::uint16_t>(bytes[at] << 8 | bytes[at + 1]);
  }
  void put16(std::size_t at, std::uint16_t v) {
    bytes[at] = static_cast<std::uint8_t>(v >> 8);
    bytes[at + 1] = static_cast<std::uint8_t>(v);
  }
  std::uint16_t source() const { return get16(0); }
  std::uint16_t destination() const { return get16(2); }
  std::uint8_t chunk() const { return bytes[12]; }
  bool good() const {
    std::uint32_t field;
    std::memcpy(&field, &bytes[8], 4);
    return length >= 16 && field == crc32c(bytes.data(), length);
  }
};

Packet make(std::uint16_t source, std::uint16_t destination, std::uint8_t chunk) {
  Packet packet;
  packet.length = kPacketBytes;
  packet.put16(0, source);
  packet.put16(2, destination);
  packet.bytes[12] = chunk;
  packet.put16(14, kPacketBytes - 12);
  const std::uint32_t crc = crc32c(packet.bytes.data(), packet.length);
  std::memcpy(&packet.bytes[8], &crc, 4);
  return packet;
}

// A raw socket that says where a packet went, so that its answer can come from there.
int open_raw(int family) {
  const int raw = socket(family, SOCK_RAW | SOCK_CLOEXEC, kSctp);
  if (raw < 0) return raw;
  const int on = 1;
  if (family == AF_INET) {
    setsockopt(raw, IPPROTO_IP, IP_PKTINFO, &on, sizeof on);
  } else {
    setsockopt(raw, IPPROTO_IPV6, IPV6_RECVPKTINFO, &on, sizeof on);
  }
  return raw;
}

struct Received {
  Packet packet;
  sockaddr_storage from{};
  std::array<std::uint8_t, 256> control{};
  std::size_t control_bytes = 0;
};

bool receive(int raw, int family, Received* out) {
  std::array<std::uint8_t, 2048> bytes;
  iovec part{bytes.data(), bytes.size()};
  msghdr message{};
  message.msg_name = &out->from;
  message.msg_namelen = sizeof out->from;
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = out->control.data();
  message.msg_controllen = out->control.size();
  const ssize_t got = recvmsg(raw, &message, 0);
  if (got < 0) return false;
  out->control_bytes = message.msg_controllen;
  // A raw IPv4 socket delivers the IP header too, a raw IPv6 socket does not (RFC 3542 3).
  const std::size_t skip = family == AF_INET ? (bytes[0] & 15u) * 4u : 0;
  const auto length = static_cast<std::size_t>(got);
  if (length < skip + 16) return false;
  out->packet.length = length - skip;
  std::memcpy(out->packet.bytes.data(), bytes.data() + skip, out->packet.length);
  return true;
}

// Sends to where `to` came from, from the address it was sent to.
bool answer(int raw, int family, const Received& to, const Packet& packet) {
  msghdr asked{};
  asked.msg_control = const_cast<std::uint8_t*>(to.control.data());
  asked.msg_controllen = to.control_bytes;
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(in6_pktinfo))> control{};
  msghdr message{};
  iovec part{const_cast<std::uint8_t*>(packet.bytes.data()), packet.length};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  sockaddr_storage from = to.from;
  if (family == AF_INET6) reinterpret_cast<sockaddr_in6*>(&from)->sin6_port = 0;
  message.msg_name = &from;
  message.msg_namelen = family == AF_INET ? sizeof(sockaddr_in) : sizeof(sockaddr_in6);
  for (cmsghdr* c = CMSG_FIRSTHDR(&asked); c != nullptr; c = CMSG_NXTHDR(&asked, c)) {
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    cmsghdr* own = CMSG_FIRSTHDR(&message);
    own->cmsg_level = c->cmsg_level;
    own->cmsg_type = c->cmsg_type;
    if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) {
      in_pktinfo info{};
      std::memcpy(&info, CMSG_DATA(c), sizeof info);
      info.ipi_ifindex = 0;
      info.ipi_spec_dst = info.ipi_addr;
      own->cmsg_len = CMSG_LEN(sizeof info);
      std::memcpy(CMSG_DATA(own), &info, sizeof info);
      message.msg_controllen = CMSG_SPACE(sizeof info);
    } else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO) {
      in6_pktinfo info{};
      std::memcpy(&info, CMSG_DATA(c), sizeof info);
      info.ipi6_ifindex = 0;
      own->cmsg_len = CMSG_LEN(sizeof info);
      std::memcpy(CMSG_DATA(own), &info, sizeof info);
      message.msg_controllen = CMSG_SPACE(sizeof info);
    } else {
      continue;
    }
    return sendmsg(raw, &message, 0) == static_cast<ssize_t>(packet.length);
  }
  return false;
}

int serve() {
  const std::array<int, 2> families{AF_INET, AF_INET6};
  std::array<pollfd, 2> sockets{};
  for (std::size_t i = 0; i < families.size(); i++) {
    sockets[i] = pollfd{open_raw(families[i]), POLLIN, 0};
    if (sockets[i].fd < 0) return fail("socket");
  }
  std::printf("ready\n");
  std::fflush(stdout);
  for (;;) {
    if (poll(sockets.data(), sockets.size(), -1) < 0) return fail("poll");
    for (std::size_t i = 0; i < families.size(); i++) {
      Received got;
      if ((sockets[i].revents & POLLIN) == 0 || !receive(sockets[i].fd, families[i], &got)) {
        continue;
      }
      if (!got.packet.good()) {
        std::printf("bad checksum\n");
        std::fflush(stdout);
        continue;
      }
      std::printf("chunk %u\n", got.packet.chunk());
      std::fflush(stdout);
      int chunk = -1;
      switch (got.packet.chunk()) {
        case kInit: chunk = kInitAck; break;
        case kCookieEcho: chunk = kCookieAck; break;
        case kData: chunk = kSack; break;
        case kShutdown: chunk = kShutdownAck; break;
        default: break;
      }
      if (chunk < 0) continue;
      const Packet reply =
          make(got.packet.destination(), got.packet.source(), static_cast<std::uint8_t>(chunk));
      if (!answer(sockets[i].fd, families[i], got, reply)) return fail("answer");
    }
  }
}

struct Client {
  int family = AF_INET;
  int raw = -1;
  int icmp = -1;
  sockaddr_storage server{};
  socklen_t server_bytes = 0;
  std::uint16_t port = 0;
  std::uint16_t own = 0;

  bool start(const char* address) {
    auto* four = reinterpret_cast<sockaddr_in*>(&server);
    auto* six = reinterpret_cast<sockaddr_in6*>(&server);
    if (inet_pton(AF_INET, address, &four->sin_addr) == 1) {
      four->sin_family = AF_INET;
      server_bytes = sizeof *four;
    } else if (inet_pton(AF_INET6, address, &six->sin6_addr) == 1) {
      family = AF_INET6;
      six->sin6_family = AF_INET6;
      server_bytes = sizeof *six;
    } else {
      errno = EINVAL;
      return false;
    }
    raw = open_raw(family);
    icmp = socket(family, SOCK_RAW | SOCK_CLOEXEC,
                  family == AF_INET ? IPPROTO_ICMP : static_cast<int>(IPPROTO_ICMPV6));
    return raw >= 0 && icmp >= 0;
  }

  bool send(std::uint8_t chunk) {
    const Packet packet = make(own, port, chunk);
    return sendto(raw, packet.bytes.data(), packet.length, 0,
                  reinterpret_cast<const sockaddr*>(&server),
                  server_bytes) == static_cast<ssize_t>(packet.length);
  }

  // True for an ICMP error; everything else that a raw socket hears is passed over.
  bool is_error() {
    std::array<std::uint8_t, 2048> bytes;
    const ssize_t got = recv(icmp, bytes.data(), bytes.size(), 0);
    if (got <= 0) return false;
    if (family == AF_INET6) return bytes[0] < 128;
    return bytes[(bytes[0] & 15u) * 4u] == ICMP_DEST_UNREACH;
  }

  // The chunk of the next answer, -1 for an ICMP error, -2 for none within the time.
  int next() {
    for (;;) {
      std::array<pollfd, 2> both{{{raw, POLLIN, 0}, {icmp, POLLIN, 0}}};
      if (poll(both.data(), both.size(), kAnswerMs) <= 0) return -2;
      if ((both[1].revents & POLLIN) != 0 && is_error()) return -1;
      Received got;
      if ((both[0].revents & POLLIN) == 0 || !receive(raw, family, &got)) continue;
      const bool same_end =
          family == AF_INET
              ? reinterpret_cast<sockaddr_in*>(&got.from)->sin_addr.s_addr ==
                    reinterpret_cast<sockaddr_in*>(&server)->sin_addr.s_addr
              : std::memcmp(&reinterpret_cast<sockaddr_in6*>(&got.from)->sin6_addr,
                            &reinterpret_cast<sockaddr_in6*>(&server)->sin6_addr, 16) == 0;
      if (!same_end || got.packet.source() != port || got.packet.destination() != own) continue;
      return got.packet.good() ? got.packet.chunk() : -3;
    }
  }
};

int ask(int argc, char** argv) {
  Client client;
  if (!client.start(argv[2])) return fail(argv[2]);
  client.port = static_cast<std::uint16_t>(std::atoi(argv[3]));
  client.own = static_cast<std::uint16_t>(std::atoi(argv[4]));
  std::string said;
  for (int i = 5; i < argc; i++) {
    const int chunk = std::atoi(argv[i]);
    const bool waits = argv[i][0] != '-';
    if (!client.send(static_cast<std::uint8_t>(std::abs(chunk)))) return fail("send");
    if (!waits) continue;
    const int got = client.next();
    if (!said.empty()) said += ' ';
    said += got == -1 ? "icmp" : got == -2 ? "nothing" : got == -3 ? "bad" : std::to_string(got);
  }
  std::printf("%s\n", said.c_str());
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  const std::string role = argc > 1 ? argv[1] : "";
  if (role == "server" && argc == 2) return serve();
  if (role == "client" && argc > 5) return ask(argc, argv);
  std::fprintf(stderr, "usage: sctp-end server | client ADDRESS PORT OWN-PORT CHUNK...\n");
  return 2;
}
