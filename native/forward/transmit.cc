// In: a packet and its connection. Does: finds its next hop, checks TTL and MTU, applies the
// forwarding method. Next: egress.cc queues the frame.
#include "forward/transmit.h"

#include "forward/fullnat.h"
#include "synproxy/translate.h"

namespace uvs {
namespace {

constexpr uint32_t kOuter4Bytes = 20;
constexpr uint32_t kOuter6Bytes = 40;

// Whether a request needs more than new ends and a shifted number: of TCP while its connection
// opens, of UDP the first ones, and all whose family changes.
bool fullnat_is_slow(const Packet& packet, const Conn& conn, const ConnExtra* extra) {
  if (conn.flags & kConnNat64) return true;
  if (packet.key.protocol != kProtoTcp) {
    const bool waits = extra != nullptr && (extra->fnat_flags & kFnatHeader) != 0;
    return conn.in_packets <= kMaxUoaTrail || waits;
  }
  return extra == nullptr || fnat_request_is_slow(packet, *extra);
}

}  // namespace

void Transmitter::refresh_hops(Conn& conn) {
  if (conn.hop_generation == hops_.generation()) [[likely]]
    return;
  conn.hop_in = kNoSlot;
  conn.hop_out = kNoSlot;
  conn.hop_generation = hops_.generation();
}

uint16_t Transmitter::hop_in(Conn& conn, uint32_t now_ms) {
  refresh_hops(conn);
  if (conn.hop_in == kNoSlot) [[unlikely]] {
    conn.hop_in = hops_.find(table_.address(conn.destination_index), now_ms);
  }
  return conn.hop_in;
}

uint16_t Transmitter::hop_out(Conn& conn, uint32_t now_ms) {
  refresh_hops(conn);
  if (conn.hop_out == kNoSlot) [[unlikely]]
    conn.hop_out = hops_.find(conn.client, now_ms);
  return conn.hop_out;
}

void Transmitter::answer(const Packet& packet, IcmpError error, uint32_t mtu, const Addr& from,
                         uint32_t now_ms) {
  answered_ += egress_.answer(packet, error, mtu, from, now_ms);
}

// Route and TTL; false when the packet was consumed here.
bool Transmitter::reaches(const Packet& packet, const NextHop& hop, bool own,
                          const Addr& answer_from, uint32_t now_ms) {
  if (hop.state == HopState::kUnreachable) [[unlikely]] {
    counters_.count(Reason::kNoRoute);
    answer(packet, IcmpError::kHostUnreachable, 0, answer_from, now_ms);
    return false;
  }
  if (packet.ttl <= 1 && !own && hop.state != HopState::kLocal) [[unlikely]] {
    counters_.count(Reason::kTtlExceeded);
    answer(packet, IcmpError::kTimeExceeded, 0, answer_from, now_ms);
    return false;
  }
  return true;
}

// MTU; false when the packet was consumed here.
bool Transmitter::fits(const Packet& packet, uint32_t mtu, const Addr& answer_from, bool* fragment,
                       uint32_t now_ms) {
  const Fit fit = fit_to_mtu(packet, mtu);
  if (fit == Fit::kTooBig) [[unlikely]] {
    counters_.count(Reason::kTooBig);
    answer(packet, IcmpError::kPacketTooBig, mtu, answer_from, now_ms);
    return false;
  }
  *fragment = fit == Fit::kFragment;
  return true;
}

// Route, TTL and MTU of what IPVS sends (ip_vs_xmit.c, __ip_vs_get_out_rt); false when the packet
// was consumed here. The TTL goes down, and then the MTU is asked, unless the packet stays on this
// host.
bool Transmitter::admit(Packet& packet, const NextHop& hop, uint32_t mtu, const Addr& answer_from,
                        bool* fragment, uint32_t now_ms) {
  *fragment = false;
  if (!reaches(packet, hop, false, answer_from, now_ms)) return false;
  if (hop.state == HopState::kLocal) return true;
  decrement_ttl(packet);
  return fits(packet, mtu, answer_from, fragment, now_ms);
}

// The same of a reply, which the host forwards (ip_forward.c): first MTU, then TTL. `back` leads to
// its sender. One of a destination on this host is nobody's to forward and keeps its TTL.
bool Transmitter::admit_reply(Packet& packet, const NextHop& hop, const NextHop& back, uint32_t mtu,
                              bool* fragment, uint32_t now_ms) {
  *fragment = false;
  const bool own = back.state == HopState::kLocal;
  if (!reaches(packet, hop, own, back.source, now_ms)) return false;
  if (hop.state == HopState::kLocal) return true;
  if (!fits(packet, mtu, back.source, fragment, now_ms)) return false;
  if (!own) decrement_ttl(packet);
  return true;
}

void Transmitter::out(Packet& packet, uint16_t slot, bool fragment, const Addr& answer_from,
                      uint32_t now_ms) {
  if (!fragment) [[likely]] {
    if (!egress_.send(packet.frame, packet.l3, packet.family, slot, now_ms)) {
      counters_.count(Reason::kNoRoute);
      answer(packet, IcmpError::kHostUnreachable, 0, answer_from, now_ms);
    }
    return;
  }
  if (!packet.is_gso()) {
    if (packet.checksum_partial()) complete_checksum(packet);
    cut(packet, slot, now_ms);
    return;
  }
  // A super-packet whose segments are too long: segments first, as the kernel does.
  Frame* pieces = egress_.scratch(Egress::Scratch::kSegments, kSegmentsPerSuperFrame);
  const uint32_t count = segment(packet, pieces, kSegmentsPerSuperFrame);
  if (count == 0) counters_.count(Reason::kOffloadBad);
  for (uint32_t i = 0; i < count; i++) {
    Packet piece = piece_of(packet, pieces[i]);
    cut(piece, slot, now_ms);
  }
}

// Sends an IPv4 packet in fragments that fit the next hop.
void Transmitter::cut(Packet& packet, uint16_t slot, uint32_t now_ms) {
  counters_.count(Reason::kFragmentNeeded);
  Frame* pieces = egress_.scratch(Egress::Scratch::kFragments, kFragmentsPerPacket);
  const uint32_t count = fragment_ip4(packet, hops_.at(slot).mtu, pieces, kFragmentsPerPacket);
  if (count == 0) counters_.count(Reason::kTooBigSilent);
  for (uint32_t i = 0; i < count; i++) egress_.send(pieces[i], 0, packet.family, slot, now_ms);
}

uint32_t Transmitter::request(Packet& packet, Conn& conn, uint32_t now_ms) {
  answered_ = 0;
  const uint16_t slot = hop_in(conn, now_ms);
  const NextHop& hop = hops_.at(slot);
  const Addr& virtual_address = table_.address(conn.virtual_index);
  if (conn.method == kMethodTunnel && hop.state != HopState::kLocal) {
    tunnel(packet, conn, slot, now_ms);
    return answered_;
  }
  bool fragment;
  const uint32_t mtu = request_mtu(conn, hop.mtu);
  if (!admit(packet, hop, mtu, virtual_address, &fragment, now_ms)) return answered_;
  if ((conn.flags & kConnSynproxy) != 0) [[unlikely]]
    translate_request(packet, table_.extra(conn)->synproxy);
  switch (conn.method) {
    case kMethodMasquerade:
      rewrite_ends(packet, Ends{&conn.client, &table_.address(conn.destination_index),
                                conn.client_port, conn.destination_port});
      break;
    case kMethodFullnat: {
      if ((conn.flags & kConnShifted) != 0 && (packet.tcp_flags & kTcpSyn) == 0) [[likely]] {
        rewrite_ends(packet, inner_ends(conn), shift_sequence(packet.transport(), shift_of(conn)));
        break;
      }
      const ConnExtra* extra = table_.extra(conn);
      if (fullnat_is_slow(packet, conn, extra)) [[unlikely]] {
        send_fullnat(packet, conn, slot, fragment, now_ms);
        return answered_;
      }
      const uint64_t covered = packet.key.protocol == kProtoTcp
                                   ? shift_sequence(packet.transport(), extra->fnat_delta)
                                   : 0;
      rewrite_ends(packet, inner_ends(conn), covered);
      break;
    }
    default:
      // DR, local and bypass: the IP packet stays as it is (spec 5.5.6). Without link layer the
      // port cannot say which real server is meant.
      if (hop.link_bytes == 0 && hop.state != HopState::kLocal) {
        counters_.count(Reason::kMethodUnsupported);
        return 0;
      }
  }
  out(packet, slot, fragment, virtual_address, now_ms);
  return answered_;
}

bool Transmitter::reply(Packet& packet, Conn& conn, uint32_t now_ms) {
  const uint16_t slot = hop_out(conn, now_ms);
  const NextHop& hop = hops_.at(slot);
  const NextHop& back = hops_.at(hop_in(conn, now_ms));
  const bool nat64 = (conn.flags & kConnNat64) != 0;
  // The packet grows, and IPv6 is not cut on its way: its sender is told whatever its DF says.
  if (nat64) packet.dont_fragment = true;
  bool fragment;
  if (!admit_reply(packet, hop, back, nat64 ? hop.mtu - kNat64Bytes : hop.mtu, &fragment, now_ms)) {
    return false;
  }
  uint64_t covered = 0;
  if (ConnExtra* extra = table_.extra(conn);
      extra != nullptr && conn.method == kMethodFullnat && conn.protocol == kProtoTcp) {
    fnat_note_progress(packet, *extra);
    covered = fnat_reply_is_slow(packet, *extra)
                  ? reply_opening(packet, conn, *extra)
                  : fnat_shift_reply(packet.transport(), extra->fnat_delta);
  }
  if ((conn.flags & kConnSynproxy) != 0) [[unlikely]]
    translate_reply(packet, table_.extra(conn)->synproxy);
  const Ends ends{&table_.address(conn.virtual_index), &conn.client, conn.virtual_port,
                  conn.client_port};
  if (nat64) [[unlikely]] {
    if (!translate(packet, ends, covered)) return true;
  } else {
    rewrite_ends(packet, ends, covered);
  }
  out(packet, slot, fragment, back.source, now_ms);
  return true;
}

// Spec 5.7.1, 5.7.2. A quote is a packet that went the other way, so it gets the ends that packet
// had on the other side of this director.
bool Transmitter::related(Packet& packet, Conn& conn, bool from_client, uint32_t now_ms) {
  if (!has_reply_key(conn.method)) {
    request(packet, conn, now_ms);
    return true;
  }
  const Addr& virtual_address = table_.address(conn.virtual_index);
  const Addr& destination = table_.address(conn.destination_index);
  const bool fullnat = conn.method == kMethodFullnat;
  const Addr& client = fullnat ? table_.address(conn.local_index) : conn.client;
  const Be16 client_port = fullnat ? conn.local_port : conn.client_port;
  const uint16_t slot = from_client ? hop_in(conn, now_ms) : hop_out(conn, now_ms);
  RelatedEnds ends =
      from_client
          ? RelatedEnds{&packet.key.source, &destination,
                        Ends{&destination, &client, conn.destination_port, client_port}}
          : RelatedEnds{&virtual_address, &conn.client,
                        Ends{&conn.client, &virtual_address, conn.client_port, conn.virtual_port}};
  if (fullnat) count_anew(packet, conn, from_client, &ends);
  if ((conn.flags & kConnSynproxy) != 0) {
    const uint32_t delta = table_.extra(conn)->synproxy.delta;
    (from_client ? ends.sequence_by : ends.acknowledgement_by) += from_client ? 0u - delta : delta;
  }
  if (conn.flags & kConnNat64) {
    if (!complete_and_check(packet)) return false;
    if (from_client) ends.source = &client;  // no router of the other family has an address here
    related_nat64(packet, conn, ends, slot, now_ms);
    return true;
  }
  if (!rewrite_related(packet, ends)) return false;
  bool fragment;
  if (!admit(packet, hops_.at(slot), kMaxIpBytes, virtual_address, &fragment, now_ms)) return true;
  out(packet, slot, false, virtual_address, now_ms);
  return true;
}

void Transmitter::tunnel_one(Packet& packet, const Addr& remote, uint16_t slot, uint32_t now_ms) {
  const NextHop& hop = hops_.at(slot);
  const uint32_t outer = remote.is_v4() ? kOuter4Bytes : kOuter6Bytes;
  if (packet.frame.headroom + packet.l3 < outer + hop.link_bytes + kVnetHeaderBytes) {
    counters_.count(Reason::kNoHeadroom);
    return;
  }
  const bool pmtu_disc = snapshot_.sysctl(kSysctlPmtuDisc) != 0;
  ip_id_ = static_cast<uint16_t>(ip_id_ + ip_id_step_);
  if (!encapsulate_ipip(packet, hop.source, remote, pmtu_disc, ip_id_)) {
    counters_.count(Reason::kTooBigSilent);
    return;
  }
  // Without pmtu_disc the outer packet may be too big for the path: it is cut (spec 5.6).
  const bool fragment = remote.is_v4() && packet.l3_bytes > hop.mtu;
  const uint8_t inner_family = packet.family;
  packet.family = remote.is_v4() ? 4 : 6;
  out(packet, slot, fragment, hop.source, now_ms);
  packet.family = inner_family;
}

// An IPv6 outer packet cannot be cut (RFC 8200 4.5 leaves that to the source), so an IPv4 packet
// with DF clear that is too long for it goes as fragments, each in a tunnel of its own.
void Transmitter::tunnel_fitting(Packet& packet, const Addr& remote, uint16_t slot,
                                 uint32_t inner_mtu, uint32_t now_ms) {
  if (remote.is_v4() || packet.family == 6 || packet.l3_bytes <= inner_mtu) [[likely]] {
    tunnel_one(packet, remote, slot, now_ms);
    return;
  }
  counters_.count(Reason::kFragmentNeeded);
  Frame* pieces = egress_.scratch(Egress::Scratch::kFragments, kFragmentsPerPacket);
  const uint32_t count = fragment_ip4(packet, inner_mtu, pieces, kFragmentsPerPacket);
  if (count == 0) counters_.count(Reason::kTooBigSilent);
  for (uint32_t i = 0; i < count; i++) {
    Packet piece = piece_of(packet, pieces[i]);
    tunnel_one(piece, remote, slot, now_ms);
  }
}

// A super-packet is cut first: virtio headers cannot describe IPIP.
void Transmitter::tunnel(Packet& packet, Conn& conn, uint16_t slot, uint32_t now_ms) {
  const NextHop& hop = hops_.at(slot);
  const Addr& remote = table_.address(conn.destination_index);
  const bool outer4 = remote.is_v4();
  const uint32_t outer = outer4 ? kOuter4Bytes : kOuter6Bytes;
  const uint32_t mtu = hop.mtu > outer ? hop.mtu - outer : 0;
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
  if (!packet.is_gso()) {
    if (packet.checksum_partial()) complete_checksum(packet);
    tunnel_fitting(packet, remote, slot, mtu, now_ms);
    return;
  }
  Frame* pieces = egress_.scratch(Egress::Scratch::kSegments, kSegmentsPerSuperFrame);
  const uint32_t count = segment(packet, pieces, kSegmentsPerSuperFrame);
  if (count == 0) counters_.count(Reason::kOffloadBad);
  for (uint32_t i = 0; i < count; i++) {
    Packet piece = piece_of(packet, pieces[i]);
    tunnel_fitting(piece, remote, slot, mtu, now_ms);
  }
}

}  // namespace uvs
