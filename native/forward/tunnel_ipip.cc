// In: an IP packet with complete checksums and the two ends of a tunnel. Does: puts an outer
// header in front (RFC 2003, RFC 2473; spec 5.5.3). Next: transmit.cc.
#include <cassert>

#include "forward/forward.h"
#include "parse/checksum.h"
#include "parse/ip4.h"
#include "parse/ip6.h"

namespace uvs {
namespace {

constexpr uint8_t kEcnMask = 3;
constexpr uint8_t kEcnEct0 = 2;
constexpr uint8_t kEcnCe = 3;

// Full-functionality encapsulation (RFC 3168 9.1.1): congestion already met stays a matter of the
// inner header, the outer one starts as capable.
uint8_t outer_traffic_class(uint8_t inner) {
  if ((inner & kEcnMask) != kEcnCe) return inner;
  return static_cast<uint8_t>((inner & ~kEcnMask) | kEcnEct0);
}

// What the outer header takes over from the inner one.
struct Inner {
  uint8_t traffic_class;
  uint8_t ttl;
  uint8_t protocol;
  bool dont_fragment;
  uint32_t bytes;
};

Inner read_inner(const Packet& packet, bool pmtu_disc) {
  if (packet.family == 6) {
    const Ip6 ip(packet.ip());
    return {ip.traffic_class(), ip.hop_limit(), kProtoIp6, false, packet.l3_bytes};
  }
  const Ip4 ip(packet.ip());
  const bool df = pmtu_disc && (ip.flags_and_offset().host() & kIp4DontFragment) != 0;
  return {ip.tos(), ip.ttl(), kProtoIpip, df, packet.l3_bytes};
}

void write_outer4(uint8_t* at, const Inner& inner, Be32 local, Be32 remote, uint16_t id) {
  Ip4 ip(at);
  at[0] = 0x45;
  at[1] = outer_traffic_class(inner.traffic_class);
  ip.set_total_bytes(kIp4Bytes + inner.bytes);
  ip.set_id(id);
  ip.set_flags_and_offset(inner.dont_fragment ? kIp4DontFragment : 0);
  ip.set_ttl(inner.ttl);
  at[9] = inner.protocol;
  ip.set_source(local);
  ip.set_destination(remote);
  ip.set_checksum(0);
  ip.set_checksum(static_cast<uint16_t>(~fold(sum_header20(at))));
}

void write_outer6(uint8_t* at, const Inner& inner, const Addr& local, const Addr& remote) {
  Ip6 ip(at);
  const uint32_t traffic_class = outer_traffic_class(inner.traffic_class);
  store32(at, Be32::of(6u << 28 | traffic_class << 20));  // flow label 0
  ip.set_payload_bytes(inner.bytes);
  at[6] = inner.protocol;
  ip.set_hop_limit(inner.ttl);
  std::memcpy(ip.source(), local.bytes, 16);
  std::memcpy(ip.destination(), remote.bytes, 16);
}

}  // namespace

bool encapsulate_ipip(Packet& packet, const Addr& local, const Addr& remote, bool pmtu_disc,
                      uint16_t ip_id) {
  assert(!packet.is_gso() && !packet.checksum_partial());
  assert(local.is_v4() == remote.is_v4());
  const bool outer4 = remote.is_v4();
  const uint32_t outer = outer4 ? kIp4Bytes : kIp6Bytes;
  // The length field of IPv4 counts its own header, that of IPv6 does not.
  if (packet.l3_bytes + (outer4 ? outer : 0) > kMaxIpBytes) return false;
  assert(packet.frame.headroom + packet.l3 >= outer);

  const Inner inner = read_inner(packet, pmtu_disc);
  uint8_t* start = packet.ip() - outer;
  if (outer4) {
    write_outer4(start, inner, local.v4_part(), remote.v4_part(), ip_id);
  } else {
    write_outer6(start, inner, local, remote);
  }
  packet.frame.headroom = packet.frame.headroom + packet.l3 - outer;
  packet.frame.data = start;
  packet.frame.length = packet.l3_bytes + outer;
  packet.frame.vnet = VnetHdr{};
  packet.l4 = static_cast<uint16_t>(packet.l4 - packet.l3 + outer);
  packet.l3 = 0;
  packet.l3_bytes += outer;
  return true;
}

}  // namespace uvs
