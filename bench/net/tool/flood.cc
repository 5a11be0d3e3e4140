// In: a target and a time. Does: sends minimum-size UDP frames of many flows as fast as it can.
// Next: the interface, past its queueing discipline.
//
// A packet socket without a ring: sendmmsg was faster than a mapped transmit ring on veth. All
// frames are written once; a flow is a source port.
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>

#include "io/unique_fd.h"
#include "parse/checksum.h"
#include "parse/ether.h"
#include "tool.h"

namespace uvs::bench {
namespace {

constexpr uint32_t kFrameBytes = 60;  // the shortest Ethernet frame without its check sequence
constexpr uint32_t kIpBytes = kFrameBytes - kEthernetBytes;
constexpr uint32_t kUdpBytes = kIpBytes - 20;
constexpr uint32_t kBatch = 64;
constexpr uint32_t kFirstPort = 1024;
constexpr uint32_t kFlowsMax = 60000;
constexpr uint32_t kMillisMax = 60000;

struct Flow {
  uint8_t bytes[64];
};
static_assert(kFrameBytes <= sizeof(Flow));

struct Target {
  Mac own;
  Mac next;
  uint32_t from;  // network order
  uint32_t to;
  uint16_t port;
};

// One frame, all checksums right (RFC 791, RFC 768).
void write_flow(Flow& flow, const Target& target, uint16_t source_port) {
  uint8_t* at = flow.bytes;
  std::memset(at, 0, sizeof flow.bytes);
  std::memcpy(at, target.next, 6);
  std::memcpy(at + 6, target.own, 6);
  store16(at + 12, kEtherIp4);
  uint8_t* ip = at + kEthernetBytes;
  ip[0] = 0x45;
  store16(ip + 2, Be16::of(kIpBytes));
  store16(ip + 6, Be16::of(0x4000));  // don't fragment
  ip[8] = 64;
  ip[9] = IPPROTO_UDP;
  std::memcpy(ip + 12, &target.from, 4);
  std::memcpy(ip + 16, &target.to, 4);
  const uint16_t header_sum = checksum_of(ip, 20);
  std::memcpy(ip + 10, &header_sum, 2);
  uint8_t* udp = ip + 20;
  store16(udp, Be16::of(source_port));
  store16(udp + 2, Be16::of(target.port));
  store16(udp + 4, Be16::of(kUdpBytes));
  // Pseudo-header: addresses, protocol, length; then the datagram.
  uint64_t sum = add_sums(sum_bytes(ip + 12, 8), sum_bytes(udp, kUdpBytes));
  sum = add_sums(sum, uint64_t{Be16::of(IPPROTO_UDP).raw} + Be16::of(kUdpBytes).raw);
  const auto check = static_cast<uint16_t>(~fold(sum));
  const uint16_t sent = check == 0 ? 0xffff : check;
  std::memcpy(udp + 6, &sent, 2);
}

UniqueFd open_socket(const std::string& device, sockaddr_ll* address) {
  // Protocol 0: it never receives.
  UniqueFd fd(::socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0));
  if (!fd.open()) fail_errno("socket AF_PACKET");
  const int on = 1;
  if (::setsockopt(fd.get(), SOL_PACKET, PACKET_QDISC_BYPASS, &on, sizeof on) != 0) {
    fail_errno("setsockopt PACKET_QDISC_BYPASS");
  }
  *address = sockaddr_ll{};
  address->sll_family = AF_PACKET;
  address->sll_ifindex = static_cast<int>(::if_nametoindex(device.c_str()));
  if (address->sll_ifindex == 0) fail_errno(device);
  if (::bind(fd.get(), reinterpret_cast<sockaddr*>(address), sizeof *address) != 0) {
    fail_errno("bind");
  }
  return fd;
}

}  // namespace

int flood(const Arguments& arguments) {
  Target target{};
  const std::string device = arguments.text("device");
  own_mac(device, target.own);
  parse_mac(arguments.text("to-mac"), target.next);
  target.from = arguments.address("from");
  target.to = arguments.address("to");
  target.port = static_cast<uint16_t>(arguments.number("port", UINT16_MAX));
  const uint32_t flows = arguments.number("flows", kFlowsMax);
  const uint64_t limit_ns = uint64_t{arguments.number("millis", kMillisMax)} * 1'000'000;

  const auto frames = std::make_unique<Flow[]>(flows);
  for (uint32_t i = 0; i < flows; i++) {
    write_flow(frames[i], target, static_cast<uint16_t>(kFirstPort + i));
  }
  sockaddr_ll address;
  const UniqueFd fd = open_socket(device, &address);
  mmsghdr messages[kBatch] = {};
  iovec parts[kBatch];
  for (uint32_t i = 0; i < kBatch; i++) {
    messages[i].msg_hdr.msg_iov = &parts[i];
    messages[i].msg_hdr.msg_iovlen = 1;
  }
  uint64_t sent = 0;
  uint64_t refused = 0;
  uint32_t flow = 0;
  const uint64_t start = now_ns();
  uint64_t end = start;
  while (end - start < limit_ns) {
    for (uint32_t i = 0; i < kBatch; i++) {
      parts[i] = iovec{frames[flow].bytes, kFrameBytes};
      flow = flow + 1 == flows ? 0 : flow + 1;
    }
    const int taken = ::sendmmsg(fd.get(), messages, kBatch, 0);
    // The first frame was refused (the interface's queue is full); the batch is lost, as on a wire.
    if (taken < 0 && errno != ENOBUFS && errno != EAGAIN) fail_errno("sendmmsg");
    if (taken < 0)
      refused++;
    else
      sent += static_cast<uint32_t>(taken);
    end = now_ns();
  }
  std::printf("{\"sent\":%llu,\"refused\":%llu,\"seconds\":%.6f}\n",
              static_cast<unsigned long long>(sent), static_cast<unsigned long long>(refused),
              static_cast<double>(end - start) / 1e9);
  return 0;
}

}  // namespace uvs::bench
