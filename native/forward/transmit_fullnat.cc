// In: packets of FULLNAT connections that need more than new ends and a shifted number. Does: what
// the opening of a connection calls for, UDP's first datagrams, the other family, resets at expiry.
// Next: egress.cc queues the frame.
#include "forward/fullnat.h"
#include "forward/made_packets.h"
#include "forward/piece.h"
#include "forward/secure_isn.h"
#include "forward/transmit.h"
#include "forward/uoa.h"

namespace uvs {
namespace {

constexpr uint32_t kProxyShift = 16;  // of the PROXY bits in a service's flags
static_assert(kServiceProxyV1 >> kProxyShift == 1 && kServiceProxyV2 >> kProxyShift == 2);
static_assert(kServiceProxyInsecure >> kProxyShift == kProxyInsecure);

}  // namespace

ClientEnds Transmitter::client_ends(const Conn& conn) const {
  return ClientEnds{conn.client, table_.address(conn.virtual_index), conn.client_port,
                    conn.virtual_port};
}

uint8_t Transmitter::proxy_of(const Conn& conn) const {
  const DestinationRecord* destination = snapshot_.destination(conn.destination_slot);
  if (destination == nullptr) return 0;
  const ServiceRecord* service = snapshot_.service(destination->service_slot);
  return service == nullptr ? 0 : static_cast<uint8_t>(service->flags >> kProxyShift);
}

// A SYN on a connection that is not beyond its handshake begins it, or begins it anew with the
// number of another attempt (spec 12.6).
void Transmitter::begin_fullnat(const Packet& packet, Conn& conn, uint32_t now_ms) {
  ConnExtra& extra = table_.need_extra(conn);
  const uint32_t sequence = Tcp(packet.transport()).sequence().host();
  const bool same = extra.fnat_client_isn == sequence || conn.state != kTcpSynRecv;
  if ((extra.fnat_flags & kFnatStarted) != 0 && same) return;
  uint32_t isn = sequence;
  if (snapshot_.header().fullnat_flags & kFullnatRandomise) {
    const SipKey secret{table_.seed(), table_.seed() * 0x9e3779b97f4a7c15u};
    const Ends ends = inner_ends(conn);
    isn = secure_isn(secret,
                     FlowKey{*ends.source, *ends.destination, ends.source_port,
                             ends.destination_port, kProtoTcp},
                     now_ms);
    isn -= (isn - sequence) % kShiftUnit;  // 16 us of its clock
  }
  fnat_begin(extra, sequence, isn, proxy_of(conn));
}

// Of TCP. False: the packet goes no further.
bool Transmitter::open_fullnat(Packet& packet, Conn& conn, uint16_t slot, uint64_t* covered,
                               uint32_t now_ms) {
  if ((packet.tcp_flags & (kTcpSyn | kTcpAck)) == kTcpSyn) begin_fullnat(packet, conn, now_ms);
  ConnExtra* extra = table_.extra(conn);
  if (extra == nullptr) return true;  // it began before this director knew it
  FnatEdit edit;
  const uint32_t mtu = hops_.at(slot).mtu;
  fnat_request(packet, *extra, client_ends(conn),
               (conn.flags & kConnNat64) != 0 ? mtu + kNat64Bytes : mtu, &edit);
  if (edit.drop) {
    counters_.count(Reason::kProxyUnplaced);
    return false;
  }
  note_shift(conn, *extra);
  *covered = edit.covered;
  if (edit.lead_bytes != 0) {
    const Tcp tcp(packet.transport());
    const auto flags = static_cast<uint8_t>(tcp.flags() & (kTcpAck | kTcpPsh));
    Frame* frame = egress_.scratch(Egress::Scratch::kAnswers, 1);
    build_segment(MadeSegment{.ends = inner_ends(conn),
                              .sequence = edit.lead_sequence,
                              .acknowledgement = tcp.acknowledgement().host(),
                              .flags = flags,
                              .window = load16(tcp.at + 14),
                              .payload = edit.lead,
                              .payload_bytes = edit.lead_bytes},
                  frame);
    send_made(*frame, inner_ends(conn), slot, now_ms);
  }
  return true;
}

void Transmitter::send_made(const Frame& frame, const Ends& ends, uint16_t slot, uint32_t now_ms) {
  const uint8_t family = ends.source->is_v4() ? 4 : 6;
  if (!egress_.send(frame, 0, family, slot, now_ms)) counters_.count(Reason::kNoRoute);
}

// What the first datagrams of a connection have to tell is owed from its creation on, so that those
// which go no further than this director do not use it up.
void Transmitter::begin_datagrams(Conn& conn) {
  const uint8_t proxy = proxy_of(conn);
  const bool header = (proxy & kProxyVersionMask) == 2;
  const uint16_t trail = snapshot_.header().uoa_trail;
  if (!header && trail == 0) return;
  ConnExtra& extra = table_.need_extra(conn);
  if (header) {
    extra.fnat_header = proxy;
    extra.fnat_flags |= kFnatHeader;
  } else {
    extra.uoa_left = static_cast<uint8_t>(trail);
  }
}

// The PROXY header of the first datagram (spec 12.11). False: too long for the path, and answered.
bool Transmitter::head_datagram(Packet& packet, const Conn& conn, ConnExtra& extra, uint16_t slot,
                                uint32_t now_ms) {
  const ProxyHeader header = make_proxy_header(packet, extra.fnat_header, client_ends(conn));
  const uint32_t mtu = request_mtu(conn, hops_.at(slot).mtu);
  const uint32_t grown = packet.l3_bytes - header.removed + header.bytes;
  // One that came in fragments leaves in fragments, of IPv6 too.
  if (grown > mtu && packet.dont_fragment && packet.fragment_bytes == 0) {
    counters_.count(Reason::kTooBig);
    answer(packet, IcmpError::kPacketTooBig, mtu - (grown - packet.l3_bytes),
           table_.address(conn.virtual_index), now_ms);
    return false;
  }
  if (!header.leave && !splice_payload(packet, header.removed, header.data, header.bytes)) {
    counters_.count(Reason::kNoHeadroom);
    return false;
  }
  extra.fnat_flags = static_cast<uint8_t>(extra.fnat_flags & ~kFnatHeader);
  return true;
}

// Datagrams of a super-packet are single ones to whoever reads headers in them.
void Transmitter::split_datagrams(Packet& packet, Conn& conn, uint16_t slot, uint32_t now_ms) {
  Frame* pieces = egress_.scratch(Egress::Scratch::kSegments, kSegmentsPerSuperFrame);
  const uint32_t count = segment(packet, pieces, kSegmentsPerSuperFrame);
  if (count == 0) counters_.count(Reason::kOffloadBad);
  for (uint32_t i = 0; i < count; i++) {
    Packet piece = piece_of(packet, pieces[i]);
    send_fullnat(piece, conn, slot, false, now_ms);
  }
}

void Transmitter::tell_by_uoa(Packet& packet, Conn& conn, uint16_t slot, uint32_t now_ms) {
  const uint8_t mode = snapshot_.header().uoa_mode;
  if (add_uoa(packet, client_ends(conn), mode, hops_.at(slot).mtu)) return;
  Frame* frame = egress_.scratch(Egress::Scratch::kAnswers, 1);
  build_uoa(client_ends(conn), inner_ends(conn), mode, frame);
  send_made(*frame, inner_ends(conn), slot, now_ms);
}

void Transmitter::send_fullnat(Packet& packet, Conn& conn, uint16_t slot, bool fragment,
                               uint32_t now_ms) {
  const bool udp = packet.key.protocol == kProtoUdp;
  ConnExtra* told = udp ? table_.extra(conn) : nullptr;
  uint64_t covered = 0;
  if (told != nullptr && (told->fnat_flags & kFnatHeader) != 0) {
    if (packet.is_gso()) return split_datagrams(packet, conn, slot, now_ms);
    if (!head_datagram(packet, conn, *told, slot, now_ms)) return;
  } else if (!udp && !open_fullnat(packet, conn, slot, &covered, now_ms)) {
    return;
  }
  const Ends ends = inner_ends(conn);
  if (conn.flags & kConnNat64) {
    if (!translate(packet, ends, covered)) return;
  } else {
    rewrite_ends(packet, ends, covered);
  }
  if (told != nullptr && told->uoa_left != 0) {
    told->uoa_left--;
    tell_by_uoa(packet, conn, slot, now_ms);
  }
  // What has changed its size is measured anew; a super-packet's segments are its own affair.
  const bool grown = !packet.is_gso() && packet.l3_bytes > hops_.at(slot).mtu;
  const bool may_cut = !packet.dont_fragment && packet.family == 4;
  const bool cut = packet.fragment_bytes != 0 || ((fragment || grown) && may_cut);
  out(packet, slot, cut ? hops_.at(slot).mtu : kWhole, table_.address(conn.virtual_index), now_ms);
}

bool Transmitter::translate(Packet& packet, const Ends& ends, uint64_t covered) {
  ip_id_ += ip_id_step_;
  if (translate_family(packet, ends, covered, static_cast<uint16_t>(ip_id_))) return true;
  counters_.count(Reason::kNoHeadroom);
  return false;
}

// After each change of what requests need: whether the record alone says it.
void Transmitter::note_shift(Conn& conn, const ConnExtra& extra) {
  conn.flags = static_cast<uint16_t>(conn.flags & ~kConnShifted);
  const bool slow = (extra.fnat_flags & kFnatSlow) != 0 || (conn.flags & kConnNat64) != 0;
  if (slow || extra.fnat_delta % kShiftUnit != 0) return;
  conn.flags |= kConnShifted;
  conn.shift_low = static_cast<uint16_t>(extra.fnat_delta / kShiftUnit);
  conn.shift_high = static_cast<uint8_t>(extra.fnat_delta >> 24);
}

void Transmitter::note_syn_ack(const Packet& packet, Conn& conn) {
  if (conn.method != kMethodFullnat) return;
  ConnExtra& extra = *table_.extra(conn);
  fnat_note_syn_ack(packet, extra, (snapshot_.header().fullnat_flags & kFullnatToa) != 0);
  note_shift(conn, extra);
}

// A reply that opens its connection, or follows the PROXY header. Returns its part of the checksum.
uint64_t Transmitter::reply_opening(Packet& packet, Conn& conn, ConnExtra& extra) {
  const bool toa = (snapshot_.header().fullnat_flags & kFullnatToa) != 0;
  const uint64_t covered = fnat_reply(packet, extra, conn.client, toa);
  note_shift(conn, extra);
  return covered;
}

// An error about a translated connection (RFC 7915 4.2, 5.2).
void Transmitter::related_nat64(const Packet& packet, Conn& conn, const RelatedEnds& to,
                                uint16_t slot, uint32_t now_ms) {
  Frame* frame = egress_.scratch(Egress::Scratch::kAnswers, 1);
  Packet made;
  if (!translate_error(packet, to, frame, &made)) {
    counters_.count(Reason::kNat64Untranslatable);
    return;
  }
  const Addr& virtual_address = table_.address(conn.virtual_index);
  bool fragment;
  if (!admit(made, hops_.at(slot), kMaxIpBytes, virtual_address, &fragment, now_ms)) return;
  out(made, slot, kWhole, virtual_address, now_ms);
}

// How the numbers of a quoted segment, and the size it may have, read on the other side.
void Transmitter::count_anew(const Packet& packet, Conn& conn, bool from_client, RelatedEnds* to) {
  const ConnExtra* extra = table_.extra(conn);
  if (extra == nullptr) return;
  if (from_client) {
    to->acknowledgement_by = extra->fnat_delta;
    return;
  }
  uint32_t sequence;
  if (quoted_sequence(packet, &sequence)) {
    to->sequence_by = fnat_to_client(*extra, sequence) - sequence;
  }
  to->mtu_less = fnat_growth(*extra, conn.client);
}

// Spec 12.8: both sides learn that the director has forgotten the connection, each with the number
// it expects next.
void Transmitter::reset_expired(Conn& conn, uint32_t now_ms) {
  const ConnExtra* extra = table_.extra(conn);
  if (extra == nullptr || (extra->fnat_flags & kFnatOpen) == 0) return;
  const Ends inner = inner_ends(conn);
  const Ends outer{&table_.address(conn.virtual_index), &conn.client, conn.virtual_port,
                   conn.client_port};
  Frame* frames = egress_.scratch(Egress::Scratch::kAnswers, 2);
  build_segment(MadeSegment{.ends = inner, .sequence = extra->fnat_rs_ack, .flags = kTcpRst},
                &frames[0]);
  build_segment(
      MadeSegment{
          .ends = outer, .sequence = extra->fnat_rs_end + extra->synproxy.delta, .flags = kTcpRst},
      &frames[1]);
  send_made(frames[0], inner, hop_in(conn, now_ms), now_ms);
  send_made(frames[1], outer, hop_out(conn, now_ms), now_ms);
}

}  // namespace uvs
