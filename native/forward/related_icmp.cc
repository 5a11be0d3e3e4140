// In: an ICMP error about a flow of ours. Does: says which flow, and translates outer header and
// quote (spec 5.7; RFC 5508 4.2 describes the same for NATs). Next: transmit.cc sends it.
#include "forward/related_icmp.h"

#include <cassert>

#include "parse/checksum.h"
#include "parse/icmp.h"
#include "parse/ip4.h"
#include "parse/ip6.h"
#include "parse/parse.h"
#include "parse/tcp.h"

namespace uvs {
namespace {

uint32_t message_bytes(const Packet& packet) { return packet.l3 + packet.l3_bytes - packet.l4; }

// The sum that an ICMP checksum covers beside the message: ICMPv6 has a pseudo-header (RFC 4443
// 2.3), ICMP has none.
uint64_t sum_outside(const Packet& packet) {
  if (packet.family == 4) return 0;
  const Ip6 ip(packet.ip());
  return sum_pseudo(Addr::v6(ip.source()), Addr::v6(ip.destination()), kProtoIcmp6,
                    message_bytes(packet));
}

void write_addresses(uint8_t* at, uint8_t family, const Addr& source, const Addr& destination) {
  if (family == 6) {
    Ip6 ip(at);
    std::memcpy(ip.source(), source.bytes, 16);
    std::memcpy(ip.destination(), destination.bytes, 16);
    return;
  }
  Ip4 ip(at);
  ip.set_source(source.v4_part());
  ip.set_destination(destination.v4_part());
  ip.set_checksum(0);
  ip.set_checksum(checksum_of(at, ip.header_bytes()));
}

void take_from_mtu(const Packet& packet, Icmp<uint8_t>& icmp, uint32_t less) {
  const bool six = packet.family == 6;
  const bool told =
      six ? icmp.type() == kIcmp6TooBig : icmp.type() == kIcmpUnreachable && icmp.code() == 4;
  const uint32_t mtu = six ? icmp.rest().host() : icmp.rest().host() & 0xffff;
  if (told && mtu > less) store32(icmp.at + 4, Be32::of(mtu - less));
}

bool parse_quote(const Packet& packet, FlowKey* key, uint16_t* l4) {
  const uint32_t bytes = message_bytes(packet) - kIcmpBytes;
  return parse_quoted(Icmp(packet.transport()).quote(), bytes, packet.family, key, l4);
}

}  // namespace

bool icmp_checksum_good(const Packet& packet) {
  const uint64_t message = sum_bytes(packet.transport(), message_bytes(packet));
  return fold(add_sums(message, sum_outside(packet))) == 0xffff;
}

bool quoted_flow(const Packet& packet, FlowKey* inverse) {
  assert(packet.kind == PacketKind::kIcmp);
  if (!is_related_error(packet)) return false;
  FlowKey quoted;
  uint16_t l4;
  if (!parse_quote(packet, &quoted, &l4)) return false;
  *inverse = FlowKey{quoted.destination, quoted.source, quoted.destination_port, quoted.source_port,
                     quoted.protocol};
  return true;
}

bool complete_and_check(Packet& packet) {
  if (packet.checksum_partial()) complete_checksum(packet);
  return icmp_checksum_good(packet);
}

void rewrite_quoted_transport(uint8_t* at, uint32_t bytes, uint8_t protocol,
                              const RelatedEnds& to) {
  if (is_ipsec(protocol)) return;
  assert(bytes >= 4);
  store16(at, to.quoted.source_port);
  store16(at + 2, to.quoted.destination_port);
  if (protocol != kProtoTcp) return;
  if (bytes >= 8) store32(at + 4, Be32::of(load32(at + 4).host() + to.sequence_by));
  if (bytes >= 12) store32(at + 8, Be32::of(load32(at + 8).host() + to.acknowledgement_by));
}

bool quoted_sequence(const Packet& packet, uint32_t* sequence) {
  FlowKey quoted;
  uint16_t l4;
  if (!parse_quote(packet, &quoted, &l4) || quoted.protocol != kProtoTcp) return false;
  if (message_bytes(packet) - kIcmpBytes < l4 + 8u) return false;
  *sequence = load32(Icmp(packet.transport()).quote() + l4 + 4).host();
  return true;
}

bool rewrite_related(Packet& packet, const RelatedEnds& to) {
  assert(packet.kind == PacketKind::kIcmp);
  FlowKey quoted;
  uint16_t l4 = 0;
  const bool usable = parse_quote(packet, &quoted, &l4);
  assert(usable);
  if (!usable) return false;
  if (!complete_and_check(packet)) return false;

  Icmp icmp(packet.transport());
  write_addresses(packet.ip(), packet.family, *to.source, *to.destination);
  write_addresses(icmp.quote(), packet.family, *to.quoted.source, *to.quoted.destination);
  rewrite_quoted_transport(icmp.quote() + l4, message_bytes(packet) - kIcmpBytes - l4,
                           quoted.protocol, to);
  if (to.mtu_less != 0) take_from_mtu(packet, icmp, to.mtu_less);
  icmp.set_checksum(0);
  const uint64_t sum = sum_bytes(icmp.at, message_bytes(packet));
  icmp.set_checksum(static_cast<uint16_t>(~fold(add_sums(sum, sum_outside(packet)))));
  return true;
}

}  // namespace uvs
