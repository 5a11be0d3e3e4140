// In: ICMP messages, and flows that ICMP speaks of. Does: what follows a known connection, what
// begins one, what is answered (spec 5.7). Next: core.cc goes on with the burst.
#include "classify/classify.h"
#include "core.h"
#include "forward/related_icmp.h"
#include "parse/icmp.h"
#include "parse/parse.h"
#include "parse/sctp.h"

namespace uvs {
namespace {

constexpr uint16_t kFtpDataPort = 20;

}  // namespace

// Errors about a known connection follow it; solicitations and echo requests for announced
// addresses are answered; everything else is the host's.
void Core::icmp(uint16_t number) {
  Packet& packet = packets_[number];
  if (announcer_.answer(packet)) {
    egress_.enqueue(packet.frame.port, packet.frame);
    return;
  }
  if (is_echo_request(packet) && announcer_.owns(packet.key.destination)) {
    transmitter_.echo(packet, static_cast<uint32_t>(now_ms_));
    return;
  }
  QuotedTunnel quoted;
  const bool of_tunnel = quoted_tunnel(packet, &quoted);
  if (of_tunnel && tunnel_error(packet, quoted)) return;
  FlowKey inverse;
  const bool quotes = quoted_flow(packet, &inverse);
  const FlowKey ends = quotes ? connection_ends(inverse) : FlowKey{};
  if (quotes) {
    const uint32_t entry = table_.find(ends, table_.hash(ends));
    if (entry != kNoEntry) {
      // What it speaks of never got through (ipsec() in core.cc).
      if (is_ipsec(inverse.protocol) && table_.at(entry >> 1).method == kMethodFullnat) {
        return counters_.count(Reason::kMethodUnsupported);
      }
      return follow(packet, entry);
    }
  }
  if (steering_moved_ && (of_tunnel || quotes)) [[unlikely]] {
    const FlowKey key = of_tunnel ? connection_ends(quoted.client.key) : ends;
    if (table_.find(key, table_.hash(key)) == kNoEntry && ask_other(number, key)) return;
  }
  if (quotes && snapshot_.sysctl(kSysctlScheduleIcmp) != 0 && schedule_related(number, inverse)) {
    return;
  }
  // Messages to a virtual address, and those about tunnels, are the host's too.
  const bool has_copy = packet.frame.port != memory_.host_port;
  const bool is_virtual =
      snapshot_.is_virtual(packet.key.destination) ||
      (has_copy && snapshot_.was_virtual(packet.key.destination)) ||
      (quotes && snapshot_.marks().selects(packet.key.destination, ends.protocol,
                                           ends.destination_port.host()));
  leave_icmp(packet, of_tunnel || is_virtual);
}

// `kept`: the host has a copy of its own, unless it came in fragments.
void Core::leave_icmp(Packet& packet, bool kept) {
  if (kept && packet.fragment_bytes == 0) {
    counters_.count(Reason::kIcmpUnrelated);
  } else {
    leave_to_host(packet, Reason::kIcmpUnrelated);
  }
}

// An ICMP error about the connection of `entry`, in the direction that it names; `own`: the
// director has made it. State and timer are not touched.
void Core::follow(Packet& packet, uint32_t entry, bool own) {
  Conn& conn = table_.at(entry >> 1);
  const bool from_client = (entry & 1) == 0;
  const uint32_t bytes = packet.l3_bytes;  // as received: a tunnel makes it longer
  if (from_client && !has_reply_key(conn.method)) conn.in_packets++;  // spec 3.13
  const Related outcome =
      transmitter_.related(packet, conn, from_client, own, static_cast<uint32_t>(now_ms_));
  if (outcome == Related::kBadChecksum) counters_.count(Reason::kIcmpBadChecksum);
  if (outcome != Related::kSeen) return;
  const DestinationRecord* destination = snapshot_.destination(conn.destination_slot);
  if (destination == nullptr || (destination->flags & kDestinationAvailable) == 0) return;
  if (from_client) {
    count_in(*destination, conn.destination_slot, bytes);
  } else {
    count_out(*destination, conn.destination_slot, bytes);
  }
}

// A packet was given up because its next hop did not say its link address: "host unreachable" to
// its sender (net/ipv4/arp.c arp_error_report, net/ipv6/ndisc.c ndisc_error_report). The message
// quotes the packet as it would have left, so it goes through IPVS on its way. Of a datagram in
// parts the first is answered (RFC 1122 3.2.2). Nobody hears of an answer of this core itself, nor
// of a tunnel packet, of which the director is the sender.
void Core::neighbour_silent(const Frame& frame) {
  Packet packet{};
  packet.frame = frame;
  parse(packet, Link::kIp);
  FlowKey sent;
  uint16_t l4;
  if (packet.kind == PacketKind::kBad ||
      !parse_quoted(packet.ip(), packet.l3_bytes, packet.family, &sent, &l4)) {
    return;
  }
  packet.kind = PacketKind::kFlow;  // a first part, too
  const FlowKey key = connection_ends(sent);
  const FlowKey inverse{key.destination, key.source, key.destination_port, key.source_port,
                        key.protocol};
  uint32_t entry = table_.find(inverse, table_.hash(inverse));
  const bool rewritten = entry != kNoEntry;
  if (!rewritten) entry = table_.find(key, table_.hash(key));
  if (entry == kNoEntry) return;
  const auto now = static_cast<uint32_t>(now_ms_);
  const uint16_t back = hops_->find(key.source, now);
  const Frame* answer =
      egress_.build_answer(packet, IcmpError::kHostUnreachable, 0, hops_->at(back).source, now);
  if (answer == nullptr) return;
  if (rewritten) {
    Packet error{};
    error.frame = *answer;
    parse(error, Link::kIp);
    FlowKey quoted;
    // Long extension headers: what could be translated is cut off.
    if (error.kind != PacketKind::kIcmp || !quoted_flow(error, &quoted)) return;
    return follow(error, entry, true);
  }
  egress_.send(*answer, 0, packet.family, back, now);
  count_own_error(key, answer->length);
}

// schedule_icmp (spec 5.7.2): an error about a reply that belongs to no connection begins one, as
// if a packet of `flow`, client to service, had come; its ports are all that is asked of it. False:
// no service wants it.
bool Core::schedule_related(uint16_t number, const FlowKey& flow) {
  if (is_ipsec(flow.protocol)) return false;  // never the first of one (ipsec() in core.cc)
  const uint32_t mark = snapshot_.marks().mark_of(flow, packets_[number].frame.port);
  const uint16_t slot = find_service(snapshot_, flow, mark);
  if (slot == kNoSlot) return false;
  const ServiceRecord& service = *snapshot_.service(slot);
  // Only a cookie begins one of SYNPROXY.
  if (flow.protocol == kProtoTcp && (service.flags & kServiceSynproxy) != 0) return false;
  const bool one_packet = flow.protocol == kProtoUdp && (service.flags & kServiceOnePacket) != 0;
  const uint64_t hash = table_.hash(flow);
  if (shared::lane_load(memory_.words->drop_rate) != 0) [[unlikely]] {
    if (!one_packet && batch_.join(flow, hash, number)) return true;
    if (gives_up_new()) {
      counters_.count(Reason::kLoadDropped);
      return true;
    }
  }
  if (flow.source_port == Be16::of(kFtpDataPort)) return false;
  // Its Call-ID would have to be in the error itself, which is no UDP.
  if (asks_sip(service)) [[unlikely]] {
    counters_.count(Reason::kCallIdMissing);
    return true;
  }
  uint16_t flags = kMissIcmp;
  if (one_packet) flags |= kMissOnePacket;
  batch_.add(flow, hash, packets_[number].family, number, slot, flags, mark);
  return true;
}

// nat_icmp_send (spec 5.2): what a masquerade server sends as such and no connection knows is
// answered instead of left to the host, which would let it out with the server's address.
bool Core::answer_unknown_reply(Packet& packet) {
  const FlowKey& key = packet.key;
  if (key.protocol == kProtoTcp && (packet.tcp_flags & kTcpRst) != 0) return false;
  if (key.protocol == kProtoSctp && packet.sctp_first == kChunkAbort) return false;
  if (real_servers_.find(snapshot_, key.source, key.source_port.host(), key.protocol) == kNoSlot) {
    return false;
  }
  const auto now = static_cast<uint32_t>(now_ms_);
  // What the host forwards it has counted down (ip_forward.c) before IPVS sees it.
  const bool here = snapshot_.is_virtual(key.destination);
  if (!here && packet.ttl <= 1) return false;
  if (!here) decrement_ttl(packet);
  counters_.count(Reason::kNatUnknown);
  // From the address that the host would answer with: its own, or the one that was asked.
  const Addr& from = here ? key.destination : hops_->at(hops_->find(key.source, now)).source;
  egress_.answer(packet, IcmpError::kPortUnreachable, 0, from, now);
  return true;
}

}  // namespace uvs
