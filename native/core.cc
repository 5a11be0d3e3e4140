// In: nothing but a call of poll(). Does: one burst through the nine stops, in this order:
//   1 in        take_burst      io/
//   2 parse     parse_burst     parse/
//   3 lookup    look_up         conn/
//   4 classify  miss            core_misses.cc, classify/
//   5 ask       miss            upcall/        -> TypeScript writes verdicts -> resolve()
//   7 track     hit_in/hit_out  conn/tracker.cc
//   8 rewrite   hit_in/hit_out  forward/
//   9 out       finish          forward/egress.cc, io/
// Next: the worker's turn (src/dataplane/worker.ts) calls again.
#include "core.h"

#include <cassert>

#include "parse/parse.h"
#include "parse/sctp.h"

namespace uvs {

Core::Core(const CoreMemory& memory, std::vector<std::unique_ptr<Port>> ports,
           std::unique_ptr<NextHops> hops, Clock& clock, uint64_t seed)
    : memory_(memory),
      counters_(memory.counters),
      ports_(std::move(ports)),
      hops_(std::move(hops)),
      clock_(clock),
      attached_(table_.attach(memory.table, memory.table_bytes, memory.connections, seed,
                              static_cast<uint32_t>(clock.now_us() / 1000 / kTickMs))),
      tracker_(table_, counters_, snapshot_),
      egress_(ports_, *hops_, counters_),
      ftp_(table_, tracker_, counters_, now_ms_),
      transmitter_(table_, *hops_, egress_, ftp_, counters_, snapshot_, memory.worker,
                   memory.workers, seed),
      local_ports_(memory.worker, memory.workers, static_cast<uint32_t>(seed)),
      announcer_(*hops_),
      reassembly_(seed),
      handover_(memory.handover, memory.worker),
      drop_entry_(seed) {
  static_assert(kBurst <= 64);
  tracker_.attach_stored(&stored_);
  tracker_.attach_templates(memory.templates, memory.template_count);
  batch_.attach(memory.misses, memory.miss_texts);
  release_unresolved();
  read_clock();
  last_poll_us_ = now_us_;
}

// The worker before this one may have died between the scheduler's verdicts and resolve(): the
// slaves counted for connections that were never made are given back.
void Core::release_unresolved() {
  for (uint32_t i = 0; i < kBurst; i++) {
    tracker_.release_template(memory_.misses[i].template_ref);
    memory_.misses[i].template_ref = 0;
  }
}

void Core::adopt(const uint8_t* snapshot) {
  assert(!open_);
  // Only a removal starts the sweep (spec 1.6), not the setting itself; a worker that takes over
  // from a dead one cannot know what was removed meanwhile.
  const bool removal = !snapshot_.adopted() || removes_destination(snapshot);
  snapshot_.adopt(snapshot);
  tracker_.adopt();
  const SnapshotHeaderRecord& header = snapshot_.header();
  local_ports_.set_range(header.local_port_first, header.local_port_last);
  announcer_.adopt(snapshot_.announces(), snapshot_.announce_count());
  real_servers_.adopt(snapshot_);
  steering_moved_ = memory_.workers > 1 && snapshot_.header().steering_moved != 0;
  adopt_synproxy();
  if (removal && snapshot_.sysctl(kSysctlExpireNodestConn) != 0) {
    sweep_cursor_ = 0;
    sweeping_ = true;
  }
}

// Whether a destination that is available now is not so in `next`, a checked block.
bool Core::removes_destination(const uint8_t* next) const {
  const auto* header = reinterpret_cast<const SnapshotHeaderRecord*>(next);
  const auto* records =
      reinterpret_cast<const DestinationRecord*>(next + header->destination_offset);
  for (uint32_t slot = 0; slot < snapshot_.header().destination_count; slot++) {
    const DestinationRecord* now = snapshot_.destination(slot);
    if (now == nullptr || (now->flags & kDestinationAvailable) == 0) continue;
    if (slot >= header->destination_count || records[slot].used == 0 ||
        (records[slot].flags & kDestinationAvailable) == 0) {
      return true;
    }
  }
  return false;
}

uint32_t Core::poll(uint32_t wait_us) {
  assert(!open_ && snapshot_.adopted());
  read_clock();
  const uint64_t gap = now_us_ - last_poll_us_;
  if (gap > shared::lane_load(memory_.words->longest_gap_us)) {
    shared::publish(memory_.words->longest_gap_us, static_cast<uint32_t>(gap));
  }
  batch_.clear();
  uint32_t count = take_burst();
  if (count == 0 && wait_us != 0) {
    wait(wait_us);
    count = take_burst();
  }
  last_poll_us_ = now_us_;
  if (count != 0) {
    last_busy_us_ = now_us_;
    shared::lane_add(memory_.words->bursts, uint64_t{1});
    parse_burst(count);
    const uint32_t ahead = count < kAhead ? count : kAhead;
    for (uint32_t i = 0; i < ahead; i++) look_up(i);
    // Only where there may be any: a packet further on than the burst is long is none.
    const uint32_t closer = snapshot_.has_fullnat() ? kAhead / 2 : kBurst;
    for (uint32_t i = 0; i < closer && closer < count; i++) look_closer(i);
    for (uint32_t i = 0; i < count; i++) {
      if (i + kAhead < count) look_up(i + kAhead);
      if (i + closer < count) look_closer(i + closer);
      handle(static_cast<uint16_t>(i));
    }
  }
  open_ = batch_.size() != 0;
  if (!open_) finish();
  return batch_.size();
}

void Core::resolve() {
  assert(open_);
  end_replaced();  // the verdicts are there; a full table needs the room
  for (uint32_t i = 0; i < batch_.size(); i++) {
    resolve_one(i);
    memory_.misses[i].template_ref = 0;  // now the connection's, or given back
  }
  shared::lane_add(memory_.words->misses, uint64_t{batch_.size()});
  open_ = false;
  finish();
}

// Stop 1. Every port gets its turn to be read first, so that a busy one starves no other.
uint32_t Core::take_burst() {
  burst_ports_ = 0;
  uint32_t count = handed_ = take_handed();
  for (uint32_t i = 0; i < ports_.size() && count < kBurst; i++) {
    const uint32_t number = (first_port_ + i) % static_cast<uint32_t>(ports_.size());
    const uint32_t got = ports_[number]->rx_burst(frames_ + count, kBurst - count);
    if (got == 0) continue;
    burst_ports_ |= 1u << number;
    uint64_t bytes = 0;
    for (uint32_t k = count; k < count + got; k++) {
      frames_[k].port = static_cast<uint16_t>(number);
      bytes += frames_[k].length;
    }
    shared::lane_add(memory_.port_words[number].rx_frames, uint64_t{got});
    shared::lane_add(memory_.port_words[number].rx_bytes, bytes);
    count += got;
  }
  first_port_++;
  return count;
}

// Stop 2. The bucket that the lookup will read is asked for at once, so that it is there when the
// whole burst is parsed.
void Core::parse_burst(uint32_t count) {
  for (uint32_t i = 0; i < count; i++) {
    if (i + 2 < count) __builtin_prefetch(frames_[i + 2].data);
    Packet& packet = packets_[i];
    packet.frame = frames_[i];
    parse(packet, ports_[packet.frame.port]->link());
    if (packet.kind != PacketKind::kFlow) [[unlikely]] {
      if (packet.kind == PacketKind::kFragment) reassemble(packet);
      if (packet.kind != PacketKind::kFlow) continue;
    }
    packet.hash = table_.hash(packet.key);
    table_.prefetch_index(packet.hash);
  }
  for (uint32_t i = 0; i < handed_; i++) packets_[i].fragment_bytes = handover_.fragment_bytes(i);
}

// Stop 3. Runs kAhead packets before handle(): the connection that the bucket names is on its way
// while the packets before it are forwarded.
void Core::look_up(uint32_t number) {
  if (packets_[number].kind != PacketKind::kFlow) return;
  entries_[number] = table_.peek(packets_[number].hash);
  if (entries_[number] != kNoEntry) table_.prefetch_entry(entries_[number]);
}

void Core::handle(uint16_t number) {
  Packet& packet = packets_[number];
  if (packet.kind != PacketKind::kFlow) [[unlikely]] {
    if (packet.kind == PacketKind::kIcmp) {
      icmp(number);
    } else if (packet.kind == PacketKind::kIpsec) {
      ipsec(number);
    } else if (packet.kind == PacketKind::kHost && packet.fragment_bytes != 0) {
      leave_to_host(packet, packet.reason);  // its fragments were taken from the host
    } else if (packet.kind == PacketKind::kBad || packet.kind == PacketKind::kHost) {
      counters_.count(packet.reason);
    } else if (packet.kind == PacketKind::kFragment) {
      return;  // kept until its datagram is whole
    } else if (announcer_.answer(packet)) {
      egress_.enqueue(packet.frame.port, packet.frame);
    }
    return;
  }
  // The guess may be another flow's, or a connection that this burst has ended meanwhile.
  uint32_t entry = entries_[number];
  if (entry == kNoEntry || table_.at(entry >> 1).method == kConnFree ||
      !table_.matches(entry, packet.key)) [[unlikely]] {
    entry = table_.find(packet.key, packet.hash);
    if (entry == kNoEntry && table_.portless() != 0) [[unlikely]] {
      entry = table_.find_portless(packet.key);
    }
  }
  if (entry == kNoEntry) {
    if (steering_moved_ && ask_other(number, packet.key)) [[unlikely]]
      return;
    miss(number);
  } else if ((entry & 1) == 0) {
    if (hit_in(packet, entry >> 1) == Hit::kMiss) miss(number);
  } else {
    hit_out(packet, entry >> 1);
  }
}

// AH and ESP (spec 3.2; kernel: ip_vs_proto_ah_esp.c): of the connection that exchanged their keys,
// from port 500 to port 500, and never the first of one. None can be told from others behind a
// FULLNAT address, where the exchange itself has another port.
void Core::ipsec(uint16_t number) {
  Packet& packet = packets_[number];
  const FlowKey key = connection_ends(packet.key);
  const uint32_t entry = table_.find(key, table_.hash(key));
  if (entry == kNoEntry) {
    if (steering_moved_ && ask_other(number, key)) return;
    return leave_to_host(packet, Reason::kNoService);
  }
  const uint32_t id = entry >> 1;
  if (table_.at(id).method == kMethodFullnat) return counters_.count(Reason::kMethodUnsupported);
  if ((entry & 1) != 0) return hit_out(packet, id);
  const DestinationRecord* destination = snapshot_.destination(table_.at(id).destination_slot);
  if (destination != nullptr && (destination->flags & kDestinationAvailable) != 0) {
    forward_in(packet, id, *destination);
  } else if (hit_unavailable(packet, id) == Hit::kMiss) {
    leave_to_host(packet, Reason::kNoService);
  }
}

// Spec 3.9: a SYN or INIT on an old connection may begin a new one.
bool Core::starts_over(const Packet& packet, uint32_t id, const DestinationRecord* destination) {
  const bool sctp = packet.key.protocol == kProtoSctp;
  if (sctp ? packet.sctp_first != kChunkInit
           : (packet.tcp_flags & kTcpSyn) == 0 || packet.key.protocol != kProtoTcp) {
    return false;
  }
  if (snapshot_.sysctl(kSysctlExpireNodestConn) != 0 && destination != nullptr &&
      destination->weight == 0) {
    return true;
  }
  const uint32_t mode = snapshot_.sysctl(kSysctlConnReuseMode);
  const Conn& conn = table_.at(id);
  if (mode == 0 || table_.cold(id).template_ref != 0 || tracker_.has_master(conn)) return false;
  if (sctp) return conn.state == kSctpClosed;
  return conn.state == kTcpTimeWait || conn.state == kTcpClose ||
         ((mode & 2) != 0 && conn.state == kTcpFinWait && (conn.flags & kConnNoOutput) != 0);
}

// Spec 3.9: the old connection is found no more. In the kernel its timer is merely due and runs out
// behind the packet (ip_vs_conn.c ip_vs_conn_expire_now), so while the new one is scheduled its
// real server still has it.
void Core::replace(uint32_t id) {
  table_.hide(id);
  replaced_[replaced_count_++] = id;
}

void Core::end_replaced() {
  for (uint32_t i = 0; i < replaced_count_; i++) tracker_.give_way(replaced_[i]);
  replaced_count_ = 0;
}

Core::Hit Core::hit_in(Packet& packet, uint32_t id) {
  const DestinationRecord* destination = snapshot_.destination(table_.at(id).destination_slot);
  const uint16_t flags = table_.at(id).flags;
  if ((flags & (kConnSynproxy | kConnHidden)) != 0) [[unlikely]] {
    if ((flags & kConnHidden) != 0) return Hit::kMiss;  // a guess from before this burst hid it
    if (proxied_request(packet, id, destination)) return Hit::kDone;
  }
  if (starts_over(packet, id, destination)) {
    replace(id);
    return Hit::kMiss;
  }
  if (destination == nullptr || (destination->flags & kDestinationAvailable) == 0) [[unlikely]]
    return hit_unavailable(packet, id);
  forward_in(packet, id, *destination);
  return Hit::kDone;
}

// The destination is gone, or there was never one.
Core::Hit Core::hit_unavailable(Packet& packet, uint32_t id) {
  if (table_.at(id).method == kMethodBypass) {
    forward_past(packet, id);
    return Hit::kDone;
  }
  // Spec 3.10: dropped in silence, timer untouched, unless the operator wants it to end.
  if (snapshot_.sysctl(kSysctlExpireNodestConn) != 0) {
    tracker_.give_way(id);
    return Hit::kMiss;
  }
  counters_.count(Reason::kDestinationGone);
  return Hit::kDone;
}

// Stops 7 and 8 for a packet of the client, in the kernel's order: statistics, state, transmit.
void Core::forward_in(Packet& packet, uint32_t id, const DestinationRecord& destination) {
  Conn& conn = table_.at(id);
  count_in(destination, conn.destination_slot, packet.l3_bytes);
  tracker_.track(id, packet, false, tick());
  conn.in_packets++;
  const uint32_t answered = transmitter_.request(packet, conn, static_cast<uint32_t>(now_ms_));
  // An ICMP error of the director about it is a reply to the kernel (LOCAL_OUT, spec 5.7.1), except
  // where only the real server's address would be recognised.
  if (answered != 0 && !has_reply_key(conn.method)) {
    count_out(destination, conn.destination_slot, answered);
  }
}

void Core::hit_out(Packet& packet, uint32_t id) {
  Conn& conn = table_.at(id);
  if ((conn.flags & kConnSynproxy) != 0) [[unlikely]] {
    if (proxied_reply(packet, id)) return;
  }
  if (!transmitter_.reply(packet, conn, static_cast<uint32_t>(now_ms_))) return;
  const DestinationRecord* destination = snapshot_.destination(conn.destination_slot);
  if (destination != nullptr && (destination->flags & kDestinationAvailable) != 0) {
    count_out(*destination, conn.destination_slot, packet.l3_bytes);
  }
  tracker_.track(id, packet, true, tick());
}

void Core::count_in(const DestinationRecord& destination, uint16_t slot, uint32_t bytes) {
  if (destination.service_slot == kNoSlot) return;  // spec 7.1: counts nothing at any level
  counters_.in_packet(counters_.destinations[slot], bytes);
  counters_.in_packet(counters_.services[destination.service_slot], bytes);
  counters_.in_packet(*counters_.total, bytes);
}

void Core::count_out(const DestinationRecord& destination, uint16_t slot, uint32_t bytes) {
  if (destination.service_slot == kNoSlot) return;
  counters_.out_packet(counters_.destinations[slot], bytes);
  counters_.out_packet(counters_.services[destination.service_slot], bytes);
  counters_.out_packet(*counters_.total, bytes);
}

// Stop 9, and what must be done now and then.
void Core::finish() {
  end_replaced();
  egress_.flush();
  reassembly_.release();
  stored_.free_lent();
  for (uint32_t number = 0; burst_ports_ != 0; number++, burst_ports_ >>= 1) {
    if (burst_ports_ & 1) ports_[number]->release();
  }
  housekeeping();
}

}  // namespace uvs
