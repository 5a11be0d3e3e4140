// In: a packet and bytes that it must gain or lose. Does: moves its headers, counts its lengths and
// checksums anew. Next: tcp_options.cc, fullnat.cc.
#include "forward/resize.h"

#include <cassert>

#include "parse/checksum.h"
#include "parse/ip4.h"
#include "parse/ip6.h"
#include "parse/tcp.h"
#include "parse/udp.h"

namespace uvs {
namespace {

uint16_t swapped(uint16_t sum) { return __builtin_bswap16(sum); }

uint16_t without(uint16_t sum, uint16_t part) {
  return fold(uint64_t{sum} + static_cast<uint16_t>(~part));
}

// Pseudo-header and transport header, its own checksum left out.
uint16_t header_sum(const Packet& packet, uint32_t header, uint32_t checksum_at) {
  const uint8_t* ip = packet.ip();
  const bool four = packet.family == 4;
  const Addr source = four ? Addr::v4(Ip4(ip).source()) : Addr::v6(Ip6(ip).source());
  const Addr destination = four ? Addr::v4(Ip4(ip).destination()) : Addr::v6(Ip6(ip).destination());
  const uint64_t pseudo = sum_pseudo(source, destination, packet.key.protocol,
                                     packet.l3_bytes - (packet.l4 - packet.l3));
  const uint16_t own = load16(packet.transport() + checksum_at).raw;
  const uint16_t all = fold(add_sums(pseudo, sum_bytes(packet.transport(), header)));
  return without(all, own);
}

}  // namespace

uint32_t transport_header_bytes(const Packet& packet) {
  return packet.key.protocol == kProtoTcp ? Tcp(packet.transport()).header_bytes() : kUdpBytes;
}

void move_headers(Packet& packet, uint32_t upto, int32_t grow) {
  assert(grow <= static_cast<int32_t>(front_room(packet)) && upto <= packet.l3_bytes);
  uint8_t* from = packet.ip();
  Frame& frame = packet.frame;
  frame.data -= grow;
  frame.headroom = static_cast<uint32_t>(static_cast<int32_t>(frame.headroom) - grow);
  frame.length = static_cast<uint32_t>(static_cast<int32_t>(frame.length) + grow);
  packet.l3_bytes = static_cast<uint32_t>(static_cast<int32_t>(packet.l3_bytes) + grow);
  // Over IPv6 a datagram that came in fragments may have been longer.
  assert(grow <= 0 || packet.l3_bytes <= kMaxIpBytes);
  std::memmove(packet.ip(), from, upto);
  if (packet.family == 6) {
    Ip6(packet.ip()).set_payload_bytes(packet.l3_bytes - kIp6Bytes);
    return;
  }
  Ip4 ip(packet.ip());
  const Be16 before = ip.total_bytes();
  ip.set_total_bytes(packet.l3_bytes);
  ip.set_checksum(update_checksum(ip.checksum().raw, difference16(before, ip.total_bytes())));
}

void add_to_checksum(Packet& packet, uint64_t covered, uint64_t pseudo) {
  const bool udp = packet.key.protocol == kProtoUdp;
  uint8_t* field = packet.transport() + (udp ? kUdpChecksumOffset : kTcpChecksumOffset);
  const uint16_t old = load16(field).raw;
  if (packet.checksum_partial()) return store16(field, Be16{fold(pseudo + old)});
  if (udp && old == 0) return;
  const uint16_t sum = update_checksum(old, add_sums(covered, pseudo));
  store16(field, Be16{udp && sum == 0 ? uint16_t{0xffff} : sum});
}

bool splice_payload(Packet& packet, uint32_t remove, const uint8_t* bytes, uint32_t count) {
  const bool udp = packet.key.protocol == kProtoUdp;
  assert(!udp || !packet.is_gso());
  assert(remove <= payload_bytes(packet));
  const auto grow = static_cast<int32_t>(count) - static_cast<int32_t>(remove);
  if (grow > static_cast<int32_t>(front_room(packet))) return false;
  if (static_cast<int32_t>(packet.l3_bytes) + grow > static_cast<int32_t>(kMaxIpBytes)) {
    return false;
  }
  const uint32_t header = transport_header_bytes(packet);
  const uint32_t field = udp ? kUdpChecksumOffset : kTcpChecksumOffset;
  const uint32_t before = packet.l3_bytes - (packet.l4 - packet.l3);
  const uint16_t old = load16(packet.transport() + field).raw;

  // The payload that stays, as the checksum claims it to be: summed from an even place.
  uint16_t rest = without(static_cast<uint16_t>(~old), header_sum(packet, header, field));
  rest = without(rest, fold(sum_bytes(packet.transport() + header, remove)));
  if (remove % 2 != 0) rest = swapped(rest);
  if (count % 2 != 0) rest = swapped(rest);

  move_headers(packet, packet.l4 - packet.l3 + header, grow);
  if (count != 0) std::memcpy(packet.transport() + header, bytes, count);
  const uint32_t after = packet.l3_bytes - (packet.l4 - packet.l3);
  if (udp) Udp(packet.transport()).set_bytes(after);
  if (packet.checksum_partial()) {
    add_to_checksum(packet, 0,
                    difference16(Be16::of(static_cast<uint16_t>(before)),
                                 Be16::of(static_cast<uint16_t>(after))));
    return true;
  }
  if (udp && old == 0) return true;
  const uint64_t sum = uint64_t{header_sum(packet, header, field)} +
                       fold(sum_bytes(packet.transport() + header, count)) + rest;
  const auto now = static_cast<uint16_t>(~fold(sum));
  store16(packet.transport() + field, Be16{udp && now == 0 ? uint16_t{0xffff} : now});
  return true;
}

}  // namespace uvs
