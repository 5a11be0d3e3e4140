// In: a packet and its connection. Does: finds its next hop, checks TTL and MTU, applies the
// forwarding method. Next: egress.cc queues the frame.
#include "forward/transmit.h"

#include <algorithm>

#include "forward/fullnat.h"
#include "forward/payload.h"
#include "forward/piece.h"
#include "synproxy/translate.h"

namespace uvs {
namespace {

// Whether a request needs more than new ends and a shifted number: of TCP while its connection
// opens, of UDP until its destination was told who the client is, and all whose family changes.
bool fullnat_is_slow(const Packet& packet, const Conn& conn, const ConnExtra* extra) {
  if (conn.flags & kConnNat64) return true;
  if (packet.key.protocol == kProtoSctp) return false;
  if (packet.key.protocol != kProtoTcp) {
    return extra != nullptr && ((extra->fnat_flags & kFnatHeader) != 0 || extra->uoa_left != 0);
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
    // A bypassed packet goes where it is addressed to (spec 5.5.6).
    const uint16_t to = conn.method == kMethodBypass ? conn.virtual_index : conn.destination_index;
    conn.hop_in = hops_.find(table_.address(to), now_ms);
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
bool Transmitter::fits(const Packet& packet, uint32_t mtu, bool forwarded, const Addr& answer_from,
                       bool* fragment, uint32_t now_ms) {
  const Fit fit = fit_to_mtu(packet, mtu, forwarded);
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
  return fits(packet, mtu, false, answer_from, fragment, now_ms);
}

// The same of a reply, which the host forwards (ip_forward.c): first MTU, then TTL. `back` leads to
// its sender. One of a destination on this host is nobody's to forward and keeps its TTL.
bool Transmitter::admit_reply(Packet& packet, const NextHop& hop, const NextHop& back, uint32_t mtu,
                              bool* fragment, uint32_t now_ms) {
  *fragment = false;
  const bool own = back.state == HopState::kLocal;
  if (!reaches(packet, hop, own, back.source, now_ms)) return false;
  if (hop.state == HopState::kLocal) return true;
  if (!fits(packet, mtu, true, back.source, fragment, now_ms)) return false;
  if (!own) decrement_ttl(packet);
  return true;
}

void Transmitter::out(Packet& packet, uint16_t slot, uint32_t cut_to, const Addr& answer_from,
                      uint32_t now_ms) {
  if (cut_to == kWhole) [[likely]] {
    if (!egress_.send(packet.frame, packet.l3, packet.family, slot, now_ms)) {
      counters_.count(Reason::kNoRoute);
      answer(packet, IcmpError::kHostUnreachable, 0, answer_from, now_ms);
    }
    return;
  }
  if (!packet.is_gso()) {
    if (packet.checksum_partial()) complete_checksum(packet);
    cut(packet, slot, cut_to, now_ms);
    return;
  }
  // A super-packet whose segments are too long: segments first, as the kernel does.
  Frame* pieces = egress_.scratch(Egress::Scratch::kSegments, kSegmentsPerSuperFrame);
  const uint32_t count = segment(packet, pieces, kSegmentsPerSuperFrame);
  if (count == 0) counters_.count(Reason::kOffloadBad);
  for (uint32_t i = 0; i < count; i++) {
    Packet piece = piece_of(packet, pieces[i]);
    cut(piece, slot, cut_to, now_ms);
  }
}

// Every step is a bijection, so that an id comes again only after 2^32 / workers others.
uint32_t Transmitter::next_fragment_id() {
  fragment_count_ += fragment_step_;
  uint32_t id = (fragment_count_ ^ fragment_key_) * 0x9e3779b1u;
  id = (id ^ id >> 15) * 0x85ebca77u;
  return id ^ id >> 13;
}

Frame* Transmitter::pieces_of(const Packet& packet, uint32_t mtu, uint32_t* count) {
  Frame* pieces = egress_.scratch(Egress::Scratch::kFragments, kFragmentsPerPacket);
  if (packet.family == 6) {
    if (packet.fragment_bytes != 0) {
      mtu = std::min(mtu, std::max<uint32_t>(packet.fragment_bytes, kIp6MinMtu));
    }
    *count = fragment_ip6(packet, mtu, next_fragment_id(), pieces, kFragmentsPerPacket);
    return pieces;
  }
  if (packet.fragment_bytes != 0) mtu = std::min<uint32_t>(mtu, packet.fragment_bytes);
  *count = fragment_ip4(packet, mtu, pieces, kFragmentsPerPacket);
  return pieces;
}

// Sends a packet in fragments of at most `mtu` bytes.
void Transmitter::cut(Packet& packet, uint16_t slot, uint32_t mtu, uint32_t now_ms) {
  if (packet.fragment_bytes == 0) counters_.count(Reason::kFragmentNeeded);
  uint32_t count;
  Frame* pieces = pieces_of(packet, mtu, &count);
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
      if ((conn.flags & (kConnHelped | kConnNoClientPort)) != 0 && !ftp_.request(packet, conn))
          [[unlikely]] {
        return answered_;
      }
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
      // DR, local and bypass: the IP packet stays as it is (spec 5.5.6).
      if (!stays_as_it_is(conn, hop)) return 0;
      if (packet.key.protocol == kProtoSctp && packet.checksum_partial()) [[unlikely]]
        complete_checksum(packet);
  }
  out(packet, slot, fragment ? hop.mtu : kWhole, virtual_address, now_ms);
  return answered_;
}

// Whether the methods that change nothing can send to `hop`. Without link layer the port cannot say
// which real server is meant; and what is bypassed must not end here (spec 5.5.7).
bool Transmitter::stays_as_it_is(const Conn& conn, const NextHop& hop) {
  const bool local = hop.state == HopState::kLocal;
  if (conn.method == kMethodBypass) {
    if (local) counters_.count(Reason::kRouteRefused);
    return !local;
  }
  if (hop.link_bytes != 0 || local) return true;
  counters_.count(Reason::kMethodUnsupported);
  return false;
}

bool Transmitter::reply(Packet& packet, Conn& conn, uint32_t now_ms) {
  const uint16_t slot = hop_out(conn, now_ms);
  const NextHop& hop = hops_.at(slot);
  const NextHop& back = hops_.at(hop_in(conn, now_ms));
  const bool nat64 = (conn.flags & kConnNat64) != 0;
  // The packet grows, and IPv6 is not cut on its way: its sender is told whatever its DF says, but
  // for one that cuts already.
  if (nat64 && packet.fragment_bytes == 0) packet.dont_fragment = true;
  bool fragment;
  if (!admit_reply(packet, hop, back, nat64 ? hop.mtu - kNat64Bytes : hop.mtu, &fragment, now_ms)) {
    return false;
  }
  if ((conn.flags & kConnHelped) != 0) [[unlikely]] {
    if (!ftp_.reply(packet, conn)) return false;
    const bool grown = !fragment && !packet.is_gso() && packet.l3_bytes > hop.mtu;
    if (grown && hop.state != HopState::kLocal) split_to_mtu(packet, hop.mtu);
  }
  uint64_t covered = 0;
  if (conn.method == kMethodFullnat && conn.protocol == kProtoTcp) {
    if (ConnExtra* extra = table_.extra(conn); extra != nullptr) {
      fnat_note_progress(packet, *extra);
      covered = fnat_reply_is_slow(packet, *extra)
                    ? reply_opening(packet, conn, *extra)
                    : fnat_shift_reply(packet.transport(), extra->fnat_delta);
    }
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
  out(packet, slot, fragment ? hop.mtu : kWhole, back.source, now_ms);
  return true;
}

// Spec 5.7.1, 5.7.2. A quote is a packet that went the other way, so it gets the ends that packet
// had on the other side of this director.
Related Transmitter::related(Packet& packet, Conn& conn, bool from_client, bool own,
                             uint32_t now_ms) {
  if (!has_reply_key(conn.method)) {
    request(packet, conn, now_ms);
    return Related::kSeen;
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
    if (!complete_and_check(packet)) return Related::kBadChecksum;
    if (from_client) ends.source = &client;  // no router of the other family has an address here
    related_nat64(packet, conn, ends, slot, now_ms);
    return Related::kSeen;
  }
  bool fragment = false;
  const NextHop& hop = hops_.at(slot);
  if (!from_client && !own) {
    const NextHop& back = hops_.at(hop_in(conn, now_ms));
    if (!admit_reply(packet, hop, back, hop.mtu, &fragment, now_ms)) return Related::kUnseen;
  }
  if (!rewrite_related(packet, ends)) return Related::kBadChecksum;
  if (from_client && !admit(packet, hop, hop.mtu, virtual_address, &fragment, now_ms)) {
    return Related::kSeen;
  }
  out(packet, slot, fragment ? hop.mtu : kWhole, virtual_address, now_ms);
  return Related::kSeen;
}

void Transmitter::echo(Packet& packet, uint32_t now_ms) {
  if (!egress_.allow(Egress::Answer::kOther, now_ms)) return;
  if (!build_echo_reply(packet, egress_.next_answer_id())) {
    counters_.count(Reason::kIcmpBadChecksum);
    return;
  }
  counters_.count(Reason::kEchoAnswered);
  const uint16_t slot = hops_.find(packet.key.source, now_ms);
  if (packet.l3_bytes > hops_.at(slot).mtu || packet.fragment_bytes != 0) {
    cut(packet, slot, hops_.at(slot).mtu, now_ms);
  } else if (!egress_.send(packet.frame, packet.l3, packet.family, slot, now_ms)) {
    counters_.count(Reason::kNoRoute);
  }
}

}  // namespace uvs
