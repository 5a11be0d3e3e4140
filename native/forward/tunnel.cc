// In: an IP packet, the kind of its tunnel and the two ends. Does: puts the tunnel's and an outer
// IP header in front (RFC 2003, RFC 2473; spec 5.5.3). Next: transmit_tunnel.cc sends it.
#include "forward/tunnel.h"

#include <cassert>

#include "parse/checksum.h"
#include "parse/ip4.h"
#include "parse/ip6.h"
#include "parse/udp.h"

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
};

Inner read_inner(const Packet& packet, bool pmtu_disc) {
  if (packet.family == 6) {
    const Ip6 ip(packet.ip());
    return {ip.traffic_class(), ip.hop_limit(), kProtoIp6, false};
  }
  const Ip4 ip(packet.ip());
  const bool df = pmtu_disc && (ip.flags_and_offset().host() & kIp4DontFragment) != 0;
  return {ip.tos(), ip.ttl(), kProtoIpip, df};
}

// `bytes` follow the outer header; they are of `protocol`.
void write_outer4(uint8_t* at, const Inner& inner, const TunnelEnds& ends, uint8_t protocol,
                  uint32_t bytes) {
  Ip4 ip(at);
  at[0] = 0x45;
  at[1] = outer_traffic_class(inner.traffic_class);
  ip.set_total_bytes(kIp4Bytes + bytes);
  ip.set_id(ends.ip_id);
  ip.set_flags_and_offset(inner.dont_fragment ? kIp4DontFragment : 0);
  ip.set_ttl(inner.ttl);
  at[9] = protocol;
  ip.set_source(ends.local.v4_part());
  ip.set_destination(ends.remote.v4_part());
  ip.set_checksum(0);
  ip.set_checksum(static_cast<uint16_t>(~fold(sum_header20(at))));
}

void write_outer6(uint8_t* at, const Inner& inner, const TunnelEnds& ends, uint8_t protocol,
                  uint32_t bytes) {
  Ip6 ip(at);
  const uint32_t traffic_class = outer_traffic_class(inner.traffic_class);
  store32(at, Be32::of(6u << 28 | traffic_class << 20));  // flow label 0
  ip.set_payload_bytes(bytes);
  at[6] = protocol;
  ip.set_hop_limit(inner.ttl);
  std::memcpy(ip.source(), ends.local.bytes, 16);
  std::memcpy(ip.destination(), ends.remote.bytes, 16);
}

// Bytes between outer header and packet.
uint32_t middle_bytes(const Tunnel& tunnel, bool remote_checksum) {
  switch (tunnel.type) {
    case kTunnelGre:
      return kGreBytes + ((tunnel.flags & kTunnelFlagCsum) != 0 ? kGreChecksumBytes : 0);
    case kTunnelGue: return kUdpBytes + kGueBytes + (remote_checksum ? kGueRemoteChecksumBytes : 0);
    default: return 0;
  }
}

// Writes what stands between; returns the protocol that the outer header names.
uint8_t write_middle(uint8_t* at, const Packet& packet, const Tunnel& tunnel,
                     const TunnelEnds& ends, uint8_t inner_protocol) {
  switch (tunnel.type) {
    case kTunnelGre:
      write_gre(at, (tunnel.flags & kTunnelFlagCsum) != 0, inner_protocol, packet.l3_bytes);
      return kProtoGre;
    case kTunnelGue: {
      const VnetHdr& vnet = packet.frame.vnet;
      const auto start = static_cast<uint16_t>(vnet.csum_start - packet.l3);
      const RemoteChecksum remote{packet.checksum_partial(), start,
                                  static_cast<uint16_t>(start + vnet.csum_offset)};
      write_gue(at, tunnel, ends, remote, inner_protocol, packet.l3_bytes);
      return kProtoUdp;
    }
    default: return inner_protocol;
  }
}

}  // namespace

uint32_t tunnel_bytes(const Tunnel& tunnel, bool outer4, bool remote_checksum) {
  static_assert(kHeadroom >= kIp6Bytes + kUdpBytes + kGueBytes + kGueRemoteChecksumBytes +
                                 kEthernetBytes + kVnetHeaderBytes);
  return (outer4 ? kIp4Bytes : kIp6Bytes) + middle_bytes(tunnel, remote_checksum);
}

bool encapsulate(Packet& packet, const Tunnel& tunnel, const TunnelEnds& ends) {
  assert(!packet.is_gso());
  assert(!packet.checksum_partial() || leaves_checksum(tunnel, packet));
  assert(ends.local.is_v4() == ends.remote.is_v4());
  const bool outer4 = ends.remote.is_v4();
  const uint32_t outer = outer4 ? kIp4Bytes : kIp6Bytes;
  const uint32_t middle = middle_bytes(tunnel, packet.checksum_partial());
  const uint32_t all = outer + middle;
  // The length field of IPv4 counts its own header, that of IPv6 does not.
  if (packet.l3_bytes + middle + (outer4 ? outer : 0) > kMaxIpBytes) return false;
  assert(packet.frame.headroom + packet.l3 >= all);

  const Inner inner = read_inner(packet, ends.pmtu_disc);
  uint8_t* start = packet.ip() - all;
  const uint8_t protocol = write_middle(start + outer, packet, tunnel, ends, inner.protocol);
  if (outer4) {
    write_outer4(start, inner, ends, protocol, packet.l3_bytes + middle);
  } else {
    write_outer6(start, inner, ends, protocol, packet.l3_bytes + middle);
  }
  packet.frame.headroom = packet.frame.headroom + packet.l3 - all;
  packet.frame.data = start;
  packet.frame.length = packet.l3_bytes + all;
  packet.frame.vnet = VnetHdr{};
  packet.l4 = static_cast<uint16_t>(packet.l4 - packet.l3 + all);
  packet.l3 = 0;
  packet.l3_bytes += all;
  return true;
}

}  // namespace uvs
