// Writes the load's frames (RFC 791, RFC 768).
#include "frame.h"

#include <netinet/in.h>

#include <cstring>

#include "parse/checksum.h"
#include "parse/ether.h"

namespace uvs::bench {

void write_frame(uint8_t* frame, const FlowTarget& target, uint16_t source_port) {
  constexpr uint16_t kIpBytes = kFrameBytes - kEthernetBytes;
  constexpr uint16_t kUdpBytes = kIpBytes - 20;
  std::memset(frame, 0, 64);
  std::memcpy(frame, target.to_mac, 6);
  std::memcpy(frame + 6, target.from_mac, 6);
  store16(frame + 12, kEtherIp4);
  uint8_t* ip = frame + kIpAt;
  ip[0] = 0x45;
  store16(ip + 2, Be16::of(kIpBytes));
  store16(ip + 6, Be16::of(0x4000));  // don't fragment
  ip[8] = 64;
  ip[9] = IPPROTO_UDP;
  std::memcpy(ip + 12, &target.from, 4);
  std::memcpy(ip + 16, &target.to, 4);
  const uint16_t header_sum = checksum_of(ip, 20);
  std::memcpy(ip + 10, &header_sum, 2);
  uint8_t* udp = frame + kSourcePortAt;
  store16(udp, Be16::of(source_port));
  store16(udp + 2, Be16::of(target.port));
  store16(udp + 4, Be16::of(kUdpBytes));
  // Pseudo-header: addresses, protocol, length; then the datagram.
  uint64_t sum = add_sums(sum_bytes(ip + 12, 8), sum_bytes(udp, kUdpBytes));
  sum = add_sums(sum, uint64_t{Be16::of(IPPROTO_UDP).raw} + Be16::of(kUdpBytes).raw);
  const auto check = static_cast<uint16_t>(~fold(sum));
  const uint16_t sent = check == 0 ? 0xffff : check;
  std::memcpy(frame + kUdpChecksumAt, &sent, 2);
}

}  // namespace uvs::bench
