// In: a frame as the port gave it. Does: finds and checks its headers, fills the Packet.
// Next: conn/ looks the flow up.
//
// One straight path for TCP and UDP over IPv4 without options and over IPv6 without extension
// headers; everything else is off the path and marked unlikely.
#include "parse/parse.h"

#include "parse/arp.h"
#include "parse/checksum.h"
#include "parse/ether.h"
#include "parse/icmp.h"
#include "parse/ip4.h"
#include "parse/ip6.h"
#include "parse/sctp.h"
#include "parse/tcp.h"
#include "parse/udp.h"

namespace uvs {
namespace {

void bad(Packet& packet, Reason reason) {
  packet.kind = PacketKind::kBad;
  packet.reason = reason;
}

void leave_to_host(Packet& packet, Reason reason) {
  packet.kind = PacketKind::kHost;
  packet.reason = reason;
}

// The virtio header must describe this packet, because rewriting edits the field it names and
// segmenting trusts its sizes (virtio 1.2, 5.1.6.2: GSO implies a partial checksum).
bool offload_fits(const Packet& packet) {
  const VnetHdr& vnet = packet.frame.vnet;
  const uint8_t protocol = packet.key.protocol;
  const uint32_t field = protocol == kProtoTcp    ? kTcpChecksumOffset
                         : protocol == kProtoUdp  ? kUdpChecksumOffset
                         : protocol == kProtoSctp ? kSctpChecksumOffset
                                                  : kIcmpChecksumOffset;
  if (!packet.checksum_partial()) return false;
  if (vnet.csum_start != packet.l4 || vnet.csum_offset != field) return false;
  if (vnet.gso_type == kVnetGsoNone) return true;
  if (vnet.gso_size == 0) return false;
  switch (vnet.gso_type & ~kVnetGsoEcn) {
    case kVnetGsoTcp4: return protocol == kProtoTcp && packet.family == 4;
    case kVnetGsoTcp6: return protocol == kProtoTcp && packet.family == 6;
    case kVnetGsoUdpL4: {
      const uint32_t bytes = packet.l3 + packet.l3_bytes - packet.l4;
      return protocol == kProtoUdp && Udp(packet.transport()).bytes().host() == bytes;
    }
    default: return false;
  }
}

bool has_offload(const VnetHdr& vnet) {
  return ((vnet.flags & kVnetNeedsCsum) | vnet.gso_type) != 0;
}

// What a source address must not be (RFC 1122 3.2.1.3, RFC 4291 2.5.2, 2.7). An IPv4-mapped source
// in an IPv6 packet would pass for an IPv4 flow in our tables.
bool source_is_bad(const Packet& packet) {
  const Addr& source = packet.key.source;
  if (packet.family == 4) {
    const uint32_t host = source.v4_part().host();
    return host == 0 || host >> 28 == 0xe || host == 0xffffffff;
  }
  return source.bytes[0] == 0xff || source.is_v4() || source.is_zero();
}

void finish_flow(Packet& packet) {
  if (source_is_bad(packet)) [[unlikely]]
    return bad(packet, Reason::kSourceBad);
  if (has_offload(packet.frame.vnet) && !offload_fits(packet)) [[unlikely]] {
    return bad(packet, Reason::kOffloadBad);
  }
  packet.kind = PacketKind::kFlow;
}

void parse_tcp(Packet& packet, uint32_t bytes) {
  if (bytes < kTcpBytes) [[unlikely]]
    return bad(packet, Reason::kL4Truncated);
  const Tcp tcp(packet.transport());
  const uint32_t header = tcp.header_bytes();
  if (header < kTcpBytes || header > bytes) [[unlikely]]
    return bad(packet, Reason::kTcpBadOffset);
  packet.key.source_port = tcp.source();
  packet.key.destination_port = tcp.destination();
  packet.tcp_flags = tcp.flags();
  finish_flow(packet);
}

void parse_udp(Packet& packet, uint32_t bytes) {
  if (bytes < kUdpBytes) [[unlikely]]
    return bad(packet, Reason::kL4Truncated);
  const Udp udp(packet.transport());
  const uint32_t length = udp.bytes().host();
  if (length < kUdpBytes || length > bytes) [[unlikely]]
    return bad(packet, Reason::kUdpBadLength);
  packet.key.source_port = udp.source();
  packet.key.destination_port = udp.destination();
  finish_flow(packet);
}

// Without a first chunk nothing can be said about it: dropped, as the kernel drops a new one (spec
// 5.3).
void parse_sctp(Packet& packet, uint32_t bytes) {
  if (bytes < kSctpBytes + kSctpChunkBytes) return bad(packet, Reason::kL4Truncated);
  const Sctp sctp(packet.transport());
  packet.key.source_port = sctp.source();
  packet.key.destination_port = sctp.destination();
  packet.sctp_first = sctp.first_chunk();
  packet.sctp_chunk = sctp.deciding_chunk(bytes);
  finish_flow(packet);
}

// SPI and sequence number, or what AH has in front of them (RFC 4303 2, RFC 4302 2).
void parse_ipsec(Packet& packet, uint32_t bytes) {
  constexpr uint32_t kLeast = 8;
  if (bytes < kLeast) return bad(packet, Reason::kL4Truncated);
  if (source_is_bad(packet)) return bad(packet, Reason::kSourceBad);
  if (has_offload(packet.frame.vnet)) return bad(packet, Reason::kOffloadBad);
  packet.kind = PacketKind::kIpsec;
}

bool source_is_unspecified(const Packet& packet) {
  return packet.key.source.is_zero() && packet.key.source.is_v4() == (packet.family == 4);
}

// The source may be unspecified: so asks a host that tests an address for duplicates (RFC 4862
// 5.4.2), and it must get its answer.
void parse_icmp(Packet& packet, uint32_t bytes) {
  if (bytes < kIcmpBytes) return bad(packet, Reason::kL4Truncated);
  packet.key.source_port = Be16{};
  packet.key.destination_port = Be16{};
  if (source_is_bad(packet) && !source_is_unspecified(packet)) {
    return bad(packet, Reason::kSourceBad);
  }
  if (has_offload(packet.frame.vnet) &&
      (packet.frame.vnet.gso_type != kVnetGsoNone || !offload_fits(packet))) {
    return bad(packet, Reason::kOffloadBad);
  }
  packet.kind = PacketKind::kIcmp;
}

// `l4` and `protocol` are known; `icmp` is the protocol number that is ICMP in this family.
void parse_transport(Packet& packet, uint8_t icmp) {
  const uint32_t bytes = packet.l3 + packet.l3_bytes - packet.l4;
  const uint8_t protocol = packet.key.protocol;
  if (protocol == kProtoTcp) [[likely]]
    return parse_tcp(packet, bytes);
  if (protocol == kProtoUdp) return parse_udp(packet, bytes);
  if (protocol == icmp) return parse_icmp(packet, bytes);
  if (protocol == kProtoSctp) return parse_sctp(packet, bytes);
  if (is_ipsec(protocol)) return parse_ipsec(packet, bytes);
  leave_to_host(packet, Reason::kProtocolUnknown);
}

// A part of a datagram of a protocol that may be ours. In IPv6 the protocol may stand behind
// further extension headers, which only the whole datagram shows.
void finish_fragment(Packet& packet, uint8_t icmp) {
  const uint8_t protocol = packet.key.protocol;
  const bool ours = protocol == kProtoTcp || protocol == kProtoUdp || protocol == icmp ||
                    protocol == kProtoSctp || is_ipsec(protocol) ||
                    (packet.family == 6 && (protocol == kIp6Routing || protocol == kIp6Options));
  if (!ours) return leave_to_host(packet, Reason::kProtocolUnknown);
  if (source_is_bad(packet)) return bad(packet, Reason::kSourceBad);
  if (has_offload(packet.frame.vnet)) return bad(packet, Reason::kOffloadBad);
  packet.kind = PacketKind::kFragment;
}

bool ip4_checksum_good(const uint8_t* ip, uint32_t header) {
  if (header == kIp4Bytes) [[likely]]
    return fold(sum_header20(ip)) == 0xffff;
  return fold(sum_bytes(ip, header)) == 0xffff;
}

// True for frames to a link-layer group that are not ICMP: no connection was ever addressed that
// way (spec 5.1). ICMP stays, because neighbour solicitations come so.
bool is_group_traffic(const Packet& packet, Link link, uint8_t icmp) {
  return link == Link::kEthernet && Ether(packet.frame.data).to_group() &&
         packet.key.protocol != icmp;
}

void parse_ip4(Packet& packet, Link link) {
  const uint32_t available = packet.frame.length - packet.l3;
  if (available < kIp4Bytes) [[unlikely]]
    return bad(packet, Reason::kIpTruncated);
  const Ip4 ip(packet.ip());
  if (ip.version() != 4) [[unlikely]]
    return bad(packet, Reason::kIpBadVersion);
  const uint32_t header = ip.header_bytes();
  if (header < kIp4Bytes || header > available) [[unlikely]] {
    return bad(packet, Reason::kIpBadHeaderLength);
  }
  const uint32_t total = ip.total_bytes().host();
  if (total < header) [[unlikely]]
    return bad(packet, Reason::kIpBadTotalLength);
  if (total > available) [[unlikely]]
    return bad(packet, Reason::kIpTruncated);
  if (!ip4_checksum_good(ip.at, header)) [[unlikely]]
    return bad(packet, Reason::kIpBadChecksum);

  packet.family = 4;
  packet.l4 = static_cast<uint16_t>(packet.l3 + header);
  packet.l3_bytes = total;
  packet.frame.length = packet.l3 + total;
  packet.ttl = ip.ttl();
  packet.key.source = Addr::v4(ip.source());
  packet.key.destination = Addr::v4(ip.destination());
  packet.key.protocol = ip.protocol();
  const uint16_t fragment = ip.flags_and_offset().host();
  packet.dont_fragment = (fragment & kIp4DontFragment) != 0;
  if (is_group_traffic(packet, link, kProtoIcmp)) [[unlikely]] {
    return leave_to_host(packet, Reason::kNoService);
  }
  if ((fragment & (kIp4MoreFragments | kIp4OffsetMask)) != 0) [[unlikely]] {
    return finish_fragment(packet, kProtoIcmp);
  }
  parse_transport(packet, kProtoIcmp);
}

// Moves `l4` and the protocol behind the extension headers, of a fragment behind the fragment
// header; false when the packet is done with.
bool skip_extensions(Packet& packet, bool* fragment) {
  uint32_t offset = kIp6Bytes;
  uint8_t protocol = 0;
  const Ip6Chain chain = walk_extensions(packet.ip(), packet.l3_bytes, &protocol, &offset);
  *fragment = chain == Ip6Chain::kFirstFragment || chain == Ip6Chain::kLaterFragment;
  if (chain == Ip6Chain::kBroken) {
    // What the first fragment lacks may stand in the next one.
    *fragment = find_fragment(packet.ip(), packet.l3_bytes).more();
    if (!*fragment) {
      bad(packet, Reason::kIp6BadExtension);
      return false;
    }
  }
  if (*fragment) {
    const Ip6Fragment found = find_fragment(packet.ip(), packet.l3_bytes);
    offset = found.at + kIp6FragmentBytes;
    protocol = packet.ip()[found.at];
  }
  packet.l4 = static_cast<uint16_t>(packet.l3 + offset);
  packet.key.protocol = protocol;
  return true;
}

void parse_ip6(Packet& packet, Link link) {
  const uint32_t available = packet.frame.length - packet.l3;
  if (available < kIp6Bytes) [[unlikely]]
    return bad(packet, Reason::kIpTruncated);
  const Ip6 ip(packet.ip());
  if (ip.version() != 6) [[unlikely]]
    return bad(packet, Reason::kIpBadVersion);
  const uint32_t total = kIp6Bytes + ip.payload_bytes().host();
  if (total > available) [[unlikely]]
    return bad(packet, Reason::kIpTruncated);

  packet.family = 6;
  packet.l4 = static_cast<uint16_t>(packet.l3 + kIp6Bytes);
  packet.l3_bytes = total;
  packet.frame.length = packet.l3 + total;
  packet.ttl = ip.hop_limit();
  packet.dont_fragment = true;
  packet.key.source = Addr::v6(ip.source());
  packet.key.destination = Addr::v6(ip.destination());
  const uint8_t next = ip.next_header();
  packet.key.protocol = next;
  if (next != kProtoTcp && next != kProtoUdp && next != kProtoIcmp6) [[unlikely]] {
    bool fragment;
    if (!skip_extensions(packet, &fragment)) return;
    if (fragment && !is_group_traffic(packet, link, kProtoIcmp6) &&
        !packet.key.destination.is_v4()) {
      return finish_fragment(packet, kProtoIcmp6);
    }
  }
  // An IPv4-mapped address never stands in a packet (RFC 4291 2.5.5.2); nobody can own it here,
  // and in our tables it would be the IPv4 address.
  if (is_group_traffic(packet, link, kProtoIcmp6) || packet.key.destination.is_v4()) [[unlikely]] {
    return leave_to_host(packet, Reason::kNoService);
  }
  parse_transport(packet, kProtoIcmp6);
}

void parse_arp(Packet& packet) {
  if (packet.frame.length < kEthernetBytes + kArpBytes) {
    return bad(packet, Reason::kFrameTruncated);
  }
  if (!Arp(packet.ip()).is_ip4_over_ethernet()) return leave_to_host(packet, Reason::kNotIp);
  packet.kind = PacketKind::kArp;
}

void parse_ethernet(Packet& packet) {
  if (packet.frame.length < kEthernetBytes) [[unlikely]] {
    return bad(packet, Reason::kFrameTruncated);
  }
  packet.l3 = kEthernetBytes;
  packet.l4 = kEthernetBytes;
  const Be16 type = Ether(packet.frame.data).type();
  if (type == kEtherIp4) [[likely]]
    return parse_ip4(packet, Link::kEthernet);
  if (type == kEtherIp6) return parse_ip6(packet, Link::kEthernet);
  if (type == kEtherArp) return parse_arp(packet);
  leave_to_host(packet, Reason::kNotIp);
}

// Ports at `offset` of a quote, if its protocol has any. RFC 792 promises eight bytes; the kernel
// asks for no more than it uses (ip_vs_core.c, ip_vs_nat_icmp).
bool quoted_ports(const uint8_t* data, uint32_t length, uint32_t offset, FlowKey* key) {
  constexpr uint32_t kPorts = 4;
  if (is_ipsec(key->protocol)) {
    key->source_port = key->destination_port = Be16{};
    return true;
  }
  if (key->protocol != kProtoTcp && key->protocol != kProtoUdp && key->protocol != kProtoSctp) {
    return false;
  }
  if (length < offset + kPorts) return false;
  key->source_port = load16(data + offset);
  key->destination_port = load16(data + offset + 2);
  return true;
}

}  // namespace

void parse(Packet& packet, Link link) {
  packet.l3 = 0;
  packet.l4 = 0;
  packet.l3_bytes = 0;
  packet.reason = Reason::kFrameTruncated;  // meaningful for kBad and kHost only
  packet.family = 0;
  packet.tcp_flags = 0;
  packet.ttl = 0;
  packet.dont_fragment = false;
  packet.fragment_bytes = 0;
  if (link == Link::kEthernet) [[likely]]
    return parse_ethernet(packet);
  if (packet.frame.length == 0) return bad(packet, Reason::kFrameTruncated);
  const uint8_t version = packet.frame.data[0] >> 4;
  if (version == 4) return parse_ip4(packet, link);
  if (version == 6) return parse_ip6(packet, link);
  leave_to_host(packet, Reason::kNotIp);
}

bool parse_quoted(const uint8_t* data, uint32_t length, uint8_t family, FlowKey* key,
                  uint16_t* l4_offset) {
  uint32_t offset = 0;
  if (family == 4) {
    if (length < kIp4Bytes) return false;
    const Ip4 ip(data);
    offset = ip.header_bytes();
    if (ip.version() != 4 || offset < kIp4Bytes || offset > length) return false;
    if ((ip.flags_and_offset().host() & kIp4OffsetMask) != 0) return false;
    key->source = Addr::v4(ip.source());
    key->destination = Addr::v4(ip.destination());
    key->protocol = ip.protocol();
  } else {
    if (length < kIp6Bytes) return false;
    const Ip6 ip(data);
    if (ip.version() != 6) return false;
    const Ip6Chain chain = walk_extensions(data, length, &key->protocol, &offset);
    if (chain != Ip6Chain::kWhole && chain != Ip6Chain::kFirstFragment) return false;
    key->source = Addr::v6(ip.source());
    key->destination = Addr::v6(ip.destination());
    if (key->source.is_v4() || key->destination.is_v4()) return false;
  }
  *l4_offset = static_cast<uint16_t>(offset);
  return quoted_ports(data, length, offset, key);
}

}  // namespace uvs
