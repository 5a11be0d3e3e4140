// Writes the load's frames (RFC 791, RFC 768, RFC 9293).
#include "frame.h"

#include <netinet/in.h>

#include <cstring>

#include "parse/checksum.h"
#include "parse/ether.h"

namespace uvs::bench {
namespace {

constexpr uint32_t kIpHeaderBytes = 20;
constexpr uint16_t kTcpHeaderBytes = 20;

// Ethernet and IPv4 of a frame with `payload` bytes after them.
void write_headers(uint8_t* frame, const FlowTarget& target, uint8_t protocol, uint16_t payload) {
  std::memset(frame, 0, 64);
  std::memcpy(frame, target.to_mac, 6);
  std::memcpy(frame + 6, target.from_mac, 6);
  store16(frame + 12, kEtherIp4);
  uint8_t* ip = frame + kIpAt;
  ip[0] = 0x45;
  store16(ip + 2, Be16::of(static_cast<uint16_t>(kIpHeaderBytes + payload)));
  store16(ip + 6, Be16::of(0x4000));  // don't fragment
  ip[8] = 64;
  ip[9] = protocol;
  std::memcpy(ip + 12, &target.from, 4);
  std::memcpy(ip + 16, &target.to, 4);
  const uint16_t header_sum = checksum_of(ip, kIpHeaderBytes);
  std::memcpy(ip + 10, &header_sum, 2);
}

// Of the pseudo-header (addresses, protocol, length) and the `payload` bytes.
uint16_t payload_checksum(const uint8_t* ip, uint16_t payload) {
  uint64_t sum = add_sums(sum_bytes(ip + 12, 8), sum_bytes(ip + kIpHeaderBytes, payload));
  sum = add_sums(sum, uint64_t{Be16::of(ip[9]).raw} + Be16::of(payload).raw);
  return static_cast<uint16_t>(~fold(sum));
}

}  // namespace

void write_frame(uint8_t* frame, const FlowTarget& target, uint16_t source_port) {
  constexpr uint16_t kUdpBytes = kFrameBytes - kEthernetBytes - kIpHeaderBytes;
  write_headers(frame, target, IPPROTO_UDP, kUdpBytes);
  uint8_t* udp = frame + kSourcePortAt;
  store16(udp, Be16::of(source_port));
  store16(udp + 2, Be16::of(target.port));
  store16(udp + 4, Be16::of(kUdpBytes));
  const uint16_t check = payload_checksum(frame + kIpAt, kUdpBytes);
  const uint16_t sent = check == 0 ? 0xffff : check;
  std::memcpy(frame + kUdpChecksumAt, &sent, 2);
}

void write_syn(uint8_t* frame, const FlowTarget& target) {
  FlowTarget from_net = target;
  from_net.from &= htonl(0xffff0000);
  write_headers(frame, from_net, IPPROTO_TCP, kTcpHeaderBytes);
  uint8_t* tcp = frame + kSourcePortAt;
  store16(tcp + 2, Be16::of(target.port));
  tcp[12] = (kTcpHeaderBytes / 4) << 4;
  tcp[13] = 0x02;                        // SYN
  store16(tcp + 14, Be16::of(0xffff));  // window
  const uint16_t check = payload_checksum(frame + kIpAt, kTcpHeaderBytes);
  std::memcpy(frame + kTcpChecksumAt, &check, 2);
}

}  // namespace uvs::bench
