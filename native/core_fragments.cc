// In: fragments, and datagrams that other workers made of them. Does: the part of stop 2 that only
// fragments need. Next: core.cc treats the whole datagram like every other packet.
//
// All fragments of a datagram reach one worker, chosen by addresses alone, for only the first has
// ports. Where the whole datagram belongs to another worker's flow it is handed over (decision 20).
#include "core.h"
#include "forward/related_icmp.h"
#include "parse/icmp.h"
#include "parse/parse.h"

namespace uvs {

// Leaves the packet as kFragment when it was kept, as kBad when it was refused or handed over with
// its reason; else it is the whole datagram, parsed.
void Core::reassemble(Packet& packet) {
  uint16_t largest = 0;
  switch (reassembly_.add(packet, static_cast<uint32_t>(now_ms_), &largest)) {
    case Reassembly::Outcome::kKept: return;
    case Reassembly::Outcome::kRefused: packet.kind = PacketKind::kBad; return;
    case Reassembly::Outcome::kWhole: break;
  }
  parse(packet, ports_[packet.frame.port]->link());
  packet.fragment_bytes = largest;
  if (packet.kind == PacketKind::kIcmp && packet.family == 6 && is_icmp_error(packet)) {
    // None can be that long (RFC 4443 2.4 c), so the kernel drops it (ip_vs_core.c
    // ip_vs_in_icmp_v6).
    packet.kind = PacketKind::kBad;
    packet.reason = Reason::kIcmp6Fragment;
    return;
  }
  const bool icmp = packet.kind == PacketKind::kIcmp;
  const bool ours = icmp || packet.kind == PacketKind::kFlow || packet.kind == PacketKind::kIpsec;
  if (memory_.workers == 1 || !ours) return;
  FlowKey key = packet.key;
  const bool flow = !icmp || quoted_flow(packet, &key);
  key = connection_ends(key);
  if (flow && table_.find(key, table_.hash(key)) != kNoEntry) return;  // ours already
  const uint32_t owner = owner_of(packet);
  if (owner == memory_.worker) return;
  if (handover_.send(owner, packet, Errand::kDatagram)) {
    packet.kind = PacketKind::kFragment;  // nothing is left to be done with it
  } else {
    packet.kind = PacketKind::kBad;
    packet.reason = Reason::kHandover;
  }
}

// Datagrams that did not become whole in time. Whoever sent the first fragment is told (RFC 792,
// RFC 4443 3.3).
void Core::expire_fragments() {
  const auto now = static_cast<uint32_t>(now_ms_);
  bool answered = false;
  Packet first;
  while (reassembly_.expire(now, &first)) {
    counters_.count(Reason::kFragmentTimeout);
    if (first.kind == PacketKind::kBad) continue;
    const FlowKey& key = first.key;
    // The host has it still when the service is gone.
    const bool here = snapshot_.is_virtual(key.destination) || is_host_address(key.destination);
    const Addr& from = here ? key.destination : hops_->at(hops_->find(key.source, now)).source;
    const uint32_t bytes = egress_.answer(first, IcmpError::kReassemblyTime, 0, from, now);
    if (bytes == 0) continue;
    answered = true;
    FlowKey sent;
    uint16_t l4;
    if (parse_quoted(first.ip(), first.l3_bytes, first.family, &sent, &l4)) {
      count_own_error(connection_ends(sent), bytes);
    }
  }
  if (answered) egress_.flush();
}

// An ICMP error of the director about what a client sent is a reply to the kernel (LOCAL_OUT, spec
// 5.7.1), except where only the real server's address would be recognised.
void Core::count_own_error(const FlowKey& key, uint32_t bytes) {
  const uint32_t entry = table_.find(key, table_.hash(key));
  if (entry == kNoEntry || (entry & 1) != 0) return;
  const Conn& conn = table_.at(entry >> 1);
  if (has_reply_key(conn.method)) return;
  const DestinationRecord* destination = snapshot_.destination(conn.destination_slot);
  if (destination == nullptr || (destination->flags & kDestinationAvailable) == 0) return;
  count_out(*destination, conn.destination_slot, bytes);
}

}  // namespace uvs
