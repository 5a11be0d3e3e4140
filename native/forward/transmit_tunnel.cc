// In: a packet of a connection whose destination is reached through a tunnel. Does: MTU of the path
// and of the tunnel, super-packets into segments, encapsulation (spec 5.5.3 to 5.6).
// Next: transmit.cc sends what came out.
#include "forward/piece.h"
#include "forward/transmit.h"

namespace uvs {
// Where the packets of one connection go.
struct Transmitter::TunnelWay {
  const Tunnel& tunnel;
  const Addr& remote;
  uint16_t slot;
  uint32_t mtu;  // of the path, for the whole tunnel packet
  Be16 source_port;
};

uint32_t Transmitter::narrow_path(Conn& conn, uint32_t told, uint32_t now_ms) {
  const Addr& remote = table_.address(conn.destination_index);
  const uint32_t route_mtu = hops_.at(hop_in(conn, now_ms)).mtu;
  path_mtus_.tell(remote, route_mtu, told, now_ms);
  return path_mtus_.of(remote, route_mtu, now_ms);
}

// Of the connection, not of the packet: an ICMP error about it goes the way of its flow.
Be16 Transmitter::source_port(const Conn& conn, const Tunnel& tunnel) const {
  if (tunnel.type != kTunnelGue) return Be16{};
  const SnapshotHeaderRecord& header = snapshot_.header();
  return tunnel_source_port(table_.hash(table_.in_key(conn)), header.ephemeral_port_first,
                            header.ephemeral_port_last);
}

void Transmitter::tunnel_one(Packet& packet, const TunnelWay& way, uint32_t now_ms) {
  const NextHop& hop = hops_.at(way.slot);
  const bool outer4 = way.remote.is_v4();
  const uint32_t front = tunnel_bytes(way.tunnel, outer4, packet.checksum_partial());
  if (packet.frame.headroom + packet.l3 < front + hop.link_bytes + kVnetHeaderBytes) {
    counters_.count(Reason::kNoHeadroom);
    return;
  }
  const bool pmtu_disc = snapshot_.sysctl(kSysctlPmtuDisc) != 0;
  ip_id_ += ip_id_step_;
  const auto id = static_cast<uint16_t>(ip_id_);
  const TunnelEnds ends{hop.source, way.remote, way.source_port, id, pmtu_disc};
  if (!encapsulate(packet, way.tunnel, ends)) {
    counters_.count(Reason::kTooBigSilent);
    return;
  }
  // What passed the check and does not fit is cut outside, whatever its DF says (spec 5.5.1): this
  // host is the source of the outer packet, an IPv6 one too.
  const bool fragment = packet.fragment_bytes != 0 || packet.l3_bytes > way.mtu;
  const uint8_t inner_family = packet.family;
  packet.family = outer4 ? 4 : 6;
  out(packet, way.slot, fragment ? way.mtu : kWhole, hop.source, now_ms);
  packet.family = inner_family;
}

// A super-packet is cut first: virtio headers cannot describe tunnels.
void Transmitter::tunnel(Packet& packet, Conn& conn, uint16_t slot, uint32_t now_ms) {
  const DestinationRecord* destination = snapshot_.destination(conn.destination_slot);
  if (destination == nullptr) [[unlikely]] {
    counters_.count(Reason::kDestinationGone);
    return;
  }
  const NextHop& hop = hops_.at(slot);
  const Tunnel tunnel = tunnel_of(*destination);
  const Addr& remote = table_.address(conn.destination_index);
  const bool outer4 = remote.is_v4();
  const bool partial = leaves_checksum(tunnel, packet);
  const uint32_t front = tunnel_bytes(tunnel, outer4, partial);
  const uint32_t path_mtu = path_mtus_.of(remote, hop.mtu, now_ms);
  const uint32_t mtu = path_mtu > front ? path_mtu - front : 0;
  if (hop.state != HopState::kUnreachable && mtu < (outer4 ? kMinMtu4 : kMinMtu6)) {
    counters_.count(Reason::kTooBigSilent);
    return;
  }
  const bool may_cut = packet.family == 4 && snapshot_.sysctl(kSysctlPmtuDisc) == 0;
  bool fragment;
  if (!admit(packet, hop, may_cut ? kMaxIpBytes : mtu, table_.address(conn.virtual_index),
             &fragment, now_ms)) {
    return;
  }
  const TunnelWay way{tunnel, remote, slot, path_mtu, source_port(conn, tunnel)};
  if (!packet.is_gso()) {
    if (packet.checksum_partial() && !partial) complete_checksum(packet);
    tunnel_one(packet, way, now_ms);
    return;
  }
  Frame* pieces = egress_.scratch(Egress::Scratch::kSegments, kSegmentsPerSuperFrame);
  const uint32_t count = segment(packet, pieces, kSegmentsPerSuperFrame, partial);
  if (count == 0) counters_.count(Reason::kOffloadBad);
  for (uint32_t i = 0; i < count; i++) {
    Packet piece = piece_of(packet, pieces[i]);
    tunnel_one(piece, way, now_ms);
  }
}

}  // namespace uvs
