// In: a packet of one family. Does: makes it one of the other (RFC 7915).
// Next: transmit_fullnat.cc sends it.
#include "forward/nat64.h"

#include <algorithm>

#include "forward/resize.h"
#include "parse/checksum.h"
#include "parse/icmp.h"
#include "parse/ip4.h"
#include "parse/ip6.h"
#include "parse/parse.h"
#include "parse/tcp.h"
#include "parse/udp.h"

namespace uvs {
namespace {

constexpr uint32_t kMayFragmentBytes = 1260;  // RFC 7915 5.1
constexpr uint32_t kMaxError4 = 576;          // RFC 1812 4.3.2.3
constexpr uint32_t kMaxError6 = 1280;         // RFC 4443 2.4 c
constexpr uint32_t kMinMtu6 = 1280;           // RFC 8200 5

// What both families' headers say.
struct Fields {
  uint8_t traffic_class;
  uint8_t hops;
  uint8_t protocol;
  uint32_t payload;
  const Addr* source;
  const Addr* destination;
};

void write_ip4(uint8_t* at, const Fields& fields, bool may_fragment, uint16_t id) {
  const uint32_t total = kIp4Bytes + fields.payload;
  Ip4 ip(at);
  at[0] = 0x45;
  at[1] = fields.traffic_class;
  ip.set_total_bytes(total);
  ip.set_id(may_fragment ? id : 0);
  ip.set_flags_and_offset(may_fragment ? 0 : kIp4DontFragment);
  ip.set_ttl(fields.hops);
  at[9] = fields.protocol;
  ip.set_source(fields.source->v4_part());
  ip.set_destination(fields.destination->v4_part());
  ip.set_checksum(0);
  ip.set_checksum(static_cast<uint16_t>(~fold(sum_header20(at))));
}

void write_ip6(uint8_t* at, const Fields& fields) {
  Ip6 ip(at);
  store32(at, Be32::of(6u << 28 | static_cast<uint32_t>(fields.traffic_class) << 20));
  ip.set_payload_bytes(fields.payload);
  at[6] = fields.protocol;
  ip.set_hop_limit(fields.hops);
  std::memcpy(ip.source(), fields.source->bytes, 16);
  std::memcpy(ip.destination(), fields.destination->bytes, 16);
}

uint64_t sum_ends(const Addr& source, const Addr& destination) {
  return sum_pseudo(source, destination, 0, 0);
}

uint8_t traffic_class_of(const uint8_t* ip, uint8_t family) {
  return family == 4 ? Ip4(ip).tos() : Ip6(ip).traffic_class();
}
uint8_t hops_of(const uint8_t* ip, uint8_t family) {
  return family == 4 ? Ip4(ip).ttl() : Ip6(ip).hop_limit();
}

// Ports and the transport checksum; the pseudo-header changed by `pseudo`.
void finish_transport(Packet& packet, const Ends& to, uint64_t covered, uint64_t pseudo) {
  uint8_t* transport = packet.transport();
  const bool udp = packet.key.protocol == kProtoUdp;
  const uint32_t ports = to.source_port.raw | static_cast<uint32_t>(to.destination_port.raw) << 16;
  covered += difference32(load32(transport).raw, ports);
  store32(transport, Be32{ports});
  if (udp && !packet.checksum_partial() && Udp(transport).checksum().raw == 0) {
    // IPv6 has no datagrams without checksum (RFC 7915 4.5).
    Udp datagram(transport);
    datagram.set_checksum(transport_checksum(*to.source, *to.destination, kProtoUdp, transport,
                                             datagram.bytes().host()));
    return;
  }
  add_to_checksum(packet, covered, pseudo);
}

// Type, code and the word behind the checksum of an ICMP error; false: it has no counterpart.
struct ErrorHead {
  uint8_t type;
  uint8_t code;
  uint32_t rest;
};

bool unreachable_to_6(uint8_t code, uint32_t mtu, ErrorHead* out) {
  switch (code) {
    case 2: *out = {4, 1, 6}; return true;  // points at Next Header
    case 3: *out = {kIcmp6Unreachable, 4, 0}; return true;
    case 4:
      // A router that knows no RFC 1191 says 0; IPv6 has a size that always passes.
      *out = {kIcmp6TooBig, 0, std::max(mtu == 0 ? 0 : mtu + kNat64Bytes, kMinMtu6)};
      return true;
    case 9:
    case 10:
    case 13:
    case 15: *out = {kIcmp6Unreachable, 1, 0}; return true;
    case 14: return false;
    default: *out = {kIcmp6Unreachable, 0, 0}; return code <= 15;
  }
}

bool head_to_6(const Icmp<uint8_t>& icmp, uint32_t mtu, ErrorHead* out) {
  if (icmp.type() == kIcmpUnreachable) return unreachable_to_6(icmp.code(), mtu, out);
  *out = {kIcmp6TimeExceeded, icmp.code(), 0};
  return icmp.type() == kIcmpTimeExceeded;
}

bool head_to_4(const Icmp<uint8_t>& icmp, uint32_t mtu, ErrorHead* out) {
  switch (icmp.type()) {
    case kIcmp6Unreachable:
      *out = {kIcmpUnreachable, 1, 0};
      if (icmp.code() == 1) out->code = 10;
      if (icmp.code() == 4) out->code = 3;
      return icmp.code() <= 4;
    case kIcmp6TooBig:
      *out = {kIcmpUnreachable, 4, mtu > kNat64Bytes ? std::min(mtu - kNat64Bytes, 0xffffu) : 0};
      return true;
    case kIcmp6TimeExceeded: *out = {kIcmpTimeExceeded, icmp.code(), 0}; return true;
    case 4: *out = {kIcmpUnreachable, 2, 0}; return icmp.code() == 1;
    default: return false;
  }
}

// The quoted packet's payload as its header states it; the quote itself may be cut short.
uint32_t quoted_payload(const uint8_t* quote, uint8_t family, uint32_t l4) {
  const uint32_t total =
      family == 4 ? Ip4(quote).total_bytes().host() : kIp6Bytes + Ip6(quote).payload_bytes().host();
  return total > l4 ? total - l4 : 0;
}

}  // namespace

bool translate_family(Packet& packet, const Ends& to, uint64_t covered, uint16_t id) {
  const bool to4 = packet.family == 6;
  const uint32_t header = to4 ? kIp4Bytes : kIp6Bytes;
  const uint32_t had = packet.l4 - packet.l3;
  const uint32_t payload = packet.l3_bytes - had;
  if (header > had && header - had > front_room(packet)) return false;
  if (header + payload > kMaxIpBytes) return false;

  const uint8_t* ip = packet.ip();
  const Fields fields{traffic_class_of(ip, packet.family),
                      hops_of(ip, packet.family),
                      packet.key.protocol,
                      payload,
                      to.source,
                      to.destination};
  const Addr source = to4 ? Addr::v6(Ip6(ip).source()) : Addr::v4(Ip4(ip).source());
  const Addr destination = to4 ? Addr::v6(Ip6(ip).destination()) : Addr::v4(Ip4(ip).destination());
  const uint64_t pseudo =
      static_cast<uint64_t>(static_cast<uint16_t>(~fold(sum_ends(source, destination)))) +
      fold(sum_ends(*to.source, *to.destination));

  // The frame begins where the new header does: what stood in front of the old one is not sent.
  uint8_t* start = packet.transport() - header;
  Frame& frame = packet.frame;
  const auto moved = static_cast<int32_t>(start - frame.data);
  frame.headroom = static_cast<uint32_t>(static_cast<int32_t>(frame.headroom) + moved);
  frame.data = start;
  frame.length = header + payload;
  VnetHdr& vnet = frame.vnet;
  if (packet.checksum_partial()) vnet.csum_start = static_cast<uint16_t>(header);
  if (packet.is_gso()) {
    vnet.hdr_len = static_cast<uint16_t>(vnet.hdr_len - moved);
    const uint8_t type = vnet.gso_type & static_cast<uint8_t>(~kVnetGsoEcn);
    if (type == kVnetGsoTcp6 || type == kVnetGsoTcp4) {
      vnet.gso_type =
          static_cast<uint8_t>((to4 ? kVnetGsoTcp4 : kVnetGsoTcp6) | (vnet.gso_type & kVnetGsoEcn));
    }
  }
  packet.l3 = 0;
  packet.l4 = static_cast<uint16_t>(header);
  packet.l3_bytes = header + payload;
  packet.family = to4 ? 4 : 6;
  if (to4) {
    const bool may_fragment = packet.fragment_bytes != 0 || packet.l3_bytes <= kMayFragmentBytes;
    write_ip4(start, fields, may_fragment, id);
    packet.dont_fragment = !may_fragment;
  } else {
    write_ip6(start, fields);
    packet.dont_fragment = true;
    // What IPv4 may cut anywhere on its way must pass everywhere (RFC 7915 4).
    if (packet.fragment_bytes != 0) packet.fragment_bytes = kMinMtu6;
  }
  finish_transport(packet, to, covered, pseudo);
  return true;
}

bool translate_error(const Packet& packet, const RelatedEnds& to, Frame* out, Packet* made) {
  const bool to4 = packet.family == 6;
  const Icmp icmp(packet.transport());
  FlowKey quoted;
  uint16_t l4 = 0;
  const uint32_t message = packet.l3 + packet.l3_bytes - packet.l4;
  if (!parse_quoted(icmp.quote(), message - kIcmpBytes, packet.family, &quoted, &l4)) return false;
  const uint32_t told = icmp.rest().host() & (to4 ? 0xffffffffu : 0xffffu);
  const uint32_t mtu = told > to.mtu_less ? told - to.mtu_less : told;
  ErrorHead head;
  if (!(to4 ? head_to_4(icmp, mtu, &head) : head_to_6(icmp, mtu, &head))) return false;

  const uint32_t ip_bytes = to4 ? kIp4Bytes : kIp6Bytes;
  const uint32_t limit = (to4 ? kMaxError4 : kMaxError6) - 2 * ip_bytes - kIcmpBytes;
  const uint32_t rest = std::min(message - kIcmpBytes - l4, limit);
  uint8_t* at = out->data + ip_bytes;
  uint8_t* quote = at + kIcmpBytes;
  const Fields inner{traffic_class_of(icmp.quote(), packet.family),
                     hops_of(icmp.quote(), packet.family),
                     quoted.protocol,
                     quoted_payload(icmp.quote(), packet.family, l4),
                     to.quoted.source,
                     to.quoted.destination};
  if (to4) {
    write_ip4(quote, inner, inner.payload + kIp4Bytes <= kMayFragmentBytes, 0);
  } else {
    write_ip6(quote, inner);
  }
  std::memcpy(quote + ip_bytes, icmp.quote() + l4, rest);
  rewrite_quoted_transport(quote + ip_bytes, rest, quoted.protocol, to);
  at[0] = head.type;
  at[1] = head.code;
  store16(at + kIcmpChecksumOffset, Be16{});
  store32(at + 4, Be32::of(head.rest));

  const uint32_t bytes = kIcmpBytes + ip_bytes + rest;
  const uint8_t protocol = to4 ? kProtoIcmp : kProtoIcmp6;
  const Fields outer{traffic_class_of(packet.ip(), packet.family),
                     packet.ttl,
                     protocol,
                     bytes,
                     to.source,
                     to.destination};
  if (to4) {
    write_ip4(out->data, outer, true, 0);
    Icmp(at).set_checksum(checksum_of(at, bytes));
  } else {
    write_ip6(out->data, outer);
    Icmp(at).set_checksum(transport_checksum(*to.source, *to.destination, protocol, at, bytes));
  }
  out->length = ip_bytes + bytes;
  out->vnet = VnetHdr{};
  out->port = packet.frame.port;

  *made = packet;
  made->frame = *out;
  made->key = FlowKey{*to.source, *to.destination, Be16{}, Be16{}, protocol};
  made->l3 = 0;
  made->l4 = static_cast<uint16_t>(ip_bytes);
  made->l3_bytes = out->length;
  made->family = to4 ? 4 : 6;
  made->dont_fragment = true;
  return true;
}

}  // namespace uvs
