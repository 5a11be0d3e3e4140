// In: an echo request to an address that only uvs answers for. Does: turns it into the reply.
// Next: transmit.cc sends it.
#include <cassert>

#include "forward/forward.h"
#include "parse/checksum.h"
#include "parse/icmp.h"
#include "parse/ip4.h"
#include "parse/ip6.h"

namespace uvs {
namespace {

constexpr uint8_t kReplyTtl = 64;

// The type was part of a sum that was right: only the difference is made good.
void write_type(Packet& packet, uint8_t type) {
  Icmp icmp(packet.transport());
  const Be16 old = load16(icmp.at);
  icmp.at[0] = type;
  icmp.set_checksum(update_checksum(icmp.checksum().raw, difference16(old, load16(icmp.at))));
}

bool checksum_good(const Packet& packet) {
  const uint32_t bytes = packet.l3 + packet.l3_bytes - packet.l4;
  const uint64_t pseudo = packet.family == 4 ? 0
                                             : sum_pseudo(packet.key.source, packet.key.destination,
                                                          kProtoIcmp6, bytes);
  return fold(add_sums(sum_bytes(packet.transport(), bytes), pseudo)) == 0xffff;
}

// A header of its own right in front of the message: options and extension headers stay behind.
void write_header4(Packet& packet, uint16_t id) {
  const uint8_t tos = Ip4(packet.ip()).tos();
  const uint32_t message = packet.l3 + packet.l3_bytes - packet.l4;
  packet.l3 = static_cast<uint16_t>(packet.l4 - kIp4Bytes);
  packet.l3_bytes = kIp4Bytes + message;
  uint8_t* at = packet.ip();
  Ip4 ip(at);
  at[0] = 0x45;
  at[1] = tos;
  ip.set_total_bytes(packet.l3_bytes);
  ip.set_id(id);
  ip.set_flags_and_offset(0);
  ip.set_ttl(kReplyTtl);
  at[9] = kProtoIcmp;
  ip.set_source(packet.key.destination.v4_part());
  ip.set_destination(packet.key.source.v4_part());
  ip.set_checksum(0);
  ip.set_checksum(static_cast<uint16_t>(~fold(sum_header20(at))));
}

// The same. Both addresses change places, so that the pseudo-header's sum stays.
void write_header6(Packet& packet) {
  const Be32 version_class_and_flow = load32(packet.ip());
  const uint32_t message = packet.l3 + packet.l3_bytes - packet.l4;
  packet.l3 = static_cast<uint16_t>(packet.l4 - kIp6Bytes);
  packet.l3_bytes = kIp6Bytes + message;
  uint8_t* at = packet.ip();
  Ip6 ip(at);
  store32(at, version_class_and_flow);
  ip.set_payload_bytes(message);
  at[6] = kProtoIcmp6;
  ip.set_hop_limit(kReplyTtl);
  std::memcpy(ip.source(), packet.key.destination.bytes, 16);
  std::memcpy(ip.destination(), packet.key.source.bytes, 16);
}

}  // namespace

bool build_echo_reply(Packet& packet, uint16_t id) {
  assert(packet.kind == PacketKind::kIcmp && is_echo_request(packet));
  if (packet.checksum_partial()) complete_checksum(packet);
  if (!checksum_good(packet)) return false;
  write_type(packet, packet.family == 4 ? kIcmpEchoReply : kIcmp6EchoReply);
  if (packet.family == 4) {
    write_header4(packet, id);
  } else {
    write_header6(packet);
  }
  packet.dont_fragment = false;
  return true;
}

}  // namespace uvs
