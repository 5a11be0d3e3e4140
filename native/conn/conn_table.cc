// In: keys and verdicts. Does: find, create and remove connections in one block of memory.
// Next: tcp_state.cc moves their state, core.cc rewrites by them.
#include "conn/conn_table.h"

#include <cassert>
#include <cstring>

namespace uvs {

// Offsets of the parts of a block, each on its own cache line.
struct ConnTable::Offsets {
  size_t wheel, addresses, buckets, conns, cold, extra, end;
  uint32_t bucket_count;
};

ConnTable::Offsets ConnTable::offsets(uint32_t connections) {
  const auto line = [](size_t n) { return (n + 63) & ~size_t{63}; };
  Offsets o{};
  // Two keys each at the worst, 85 % full at the most.
  const uint64_t keys = uint64_t{connections} * 2;
  o.bucket_count = static_cast<uint32_t>(keys * 100 / (85 * kBucketEntries) + 2);
  o.wheel = sizeof(Header);
  o.addresses = line(o.wheel + sizeof(TimerWheel::Memory));
  o.buckets = line(o.addresses + sizeof(AddressTable::Memory));
  o.conns = o.buckets + size_t{o.bucket_count} * sizeof(IndexBucket);
  o.cold = o.conns + size_t{connections} * sizeof(Conn);
  o.extra = line(o.cold + size_t{connections} * sizeof(ConnCold));
  o.end = o.extra + size_t{connections} * sizeof(ConnExtra);
  return o;
}

size_t ConnTable::bytes_needed(uint32_t connections) { return offsets(connections).end; }

bool ConnTable::attach(uint8_t* memory, size_t bytes, uint32_t connections, uint64_t seed,
                       uint32_t tick) {
  const Offsets o = offsets(connections);
  if (bytes < o.end || reinterpret_cast<uintptr_t>(memory) % 64 != 0) return false;
  header_ = reinterpret_cast<Header*>(memory);
  const bool fresh = header_->magic == 0;
  if (!fresh && (header_->magic != kTableMagic || header_->layout_hash != kLayoutHash ||
                 header_->capacity != connections)) {
    return false;
  }
  conns_ = reinterpret_cast<Conn*>(memory + o.conns);
  cold_ = reinterpret_cast<ConnCold*>(memory + o.cold);
  extra_ = reinterpret_cast<ConnExtra*>(memory + o.extra);
  index_.attach(reinterpret_cast<IndexBucket*>(memory + o.buckets), o.bucket_count);
  addresses_.attach(reinterpret_cast<AddressTable::Memory*>(memory + o.addresses));
  wheel_.attach(reinterpret_cast<TimerWheel::Memory*>(memory + o.wheel), conns_);
  if (fresh) {
    wheel_.start(tick);
    *header_ = Header{kTableMagic, kLayoutHash, connections, 0, 0, 0, seed, 0, {}};
  } else {
    // Next hops were slots of the thread that is gone; ours number them anew.
    for (uint32_t id = 0; id < header_->used; id++) {
      conns_[id].hop_in = kNoSlot;
      conns_[id].hop_out = kNoSlot;
      // What it had stored went with its thread.
      if (live(id) && (conns_[id].flags & kConnSynproxy) != 0) extra_[id].synproxy.stored = {};
    }
  }
  seed_ = header_->seed;
  return true;
}

FlowKey ConnTable::in_key(const Conn& conn) const {
  return FlowKey{conn.client, addresses_.at(conn.virtual_index), conn.client_port,
                 conn.virtual_port, conn.protocol};
}

FlowKey ConnTable::out_key(const Conn& conn) const {
  const Addr& destination = addresses_.at(conn.destination_index);
  if (conn.method == kMethodFullnat) {
    return FlowKey{destination, addresses_.at(conn.local_index), conn.destination_port,
                   conn.local_port, conn.protocol};
  }
  return FlowKey{destination, conn.client, conn.destination_port, conn.client_port, conn.protocol};
}

CreateError ConnTable::create(const NewConn& wanted, uint32_t due, uint32_t* id) {
  uint32_t fresh = header_->free_head;
  if (fresh == 0 && header_->used == header_->capacity) return CreateError::kTableFull;
  const uint16_t virtual_index = addresses_.acquire(wanted.in.destination);
  const uint16_t destination_index = addresses_.acquire(wanted.destination);
  const bool with_local = wanted.method == kMethodFullnat;
  const uint16_t local_index = with_local ? addresses_.acquire(wanted.local) : kNoAddress;
  if (virtual_index == kNoAddress || destination_index == kNoAddress ||
      (with_local && local_index == kNoAddress)) {
    if (virtual_index != kNoAddress) addresses_.release(virtual_index);
    if (destination_index != kNoAddress) addresses_.release(destination_index);
    if (local_index != kNoAddress) addresses_.release(local_index);
    return CreateError::kAddressTableFull;
  }
  if (fresh != 0) {
    header_->free_head = conns_[--fresh].wheel_next;
  } else {
    fresh = header_->used++;
  }
  Conn& conn = conns_[fresh];
  conn.client = wanted.in.source;
  conn.client_port = wanted.in.source_port;
  conn.virtual_port = wanted.in.destination_port;
  conn.destination_port = wanted.destination_port;
  conn.local_port = wanted.local_port;
  conn.virtual_index = virtual_index;
  conn.destination_index = destination_index;
  conn.local_index = local_index;
  conn.protocol = wanted.in.protocol;
  conn.state = wanted.state;
  conn.flags = wanted.flags;
  conn.destination_slot = wanted.destination_slot;
  conn.in_packets = 0;
  conn.hop_in = kNoSlot;
  conn.hop_out = kNoSlot;
  conn.hop_generation = 0;
  conn.method = wanted.method;
  conn.shift_low = 0;
  conn.shift_high = 0;
  cold_[fresh] = ConnCold{wanted.template_ref, wanted.fwmark};
  if (conn.flags & kConnNoClientPort) [[unlikely]] {
    // Two destinations that announce the same port to one client: the newer one is meant.
    const uint32_t older = find_directed(wanted.in, false);
    if (older != kNoConn) hide(older);
    header_->portless++;
  }
  index_.insert(hash(wanted.in), fresh << 1);
  if (has_reply_key(conn.method)) insert_reply_key(fresh);
  wheel_.insert(fresh, due);
  header_->live++;
  *id = fresh;
  return CreateError::kNone;
}

// A client that reuses its port towards another service of the same destination makes the same
// reply key again. Replies belong to the newer connection: the kernel inserts at the head of the
// bucket and finds it first (spec 3.2, 3.9).
void ConnTable::insert_reply_key(uint32_t id) {
  const FlowKey key = out_key(conns_[id]);
  const uint64_t key_hash = hash(key);
  const uint32_t older = index_.find(
      key_hash, [&](uint32_t entry) { return (entry & 1) != 0 && matches(entry, key); });
  if (older != kNoEntry) [[unlikely]] {
    index_.erase(key_hash, older);
    conns_[older >> 1].flags |= kConnReplyTaken;
  }
  index_.insert(key_hash, (id << 1) | 1);
}

uint32_t ConnTable::find_directed(const FlowKey& key, bool reply) const {
  const uint32_t entry = index_.find(hash(key), [&](uint32_t candidate) {
    return (candidate & 1) == (reply ? 1u : 0u) && matches(candidate, key);
  });
  return entry == kNoEntry ? kNoConn : entry >> 1;
}

uint32_t ConnTable::find_portless(FlowKey key) const {
  key.source_port = Be16{};
  return index_.find(hash(key), [&](uint32_t candidate) {
    return (candidate & 1) == 0 && (conns_[candidate >> 1].flags & kConnNoClientPort) != 0 &&
           matches(candidate, key);
  });
}

void ConnTable::set_client_port(uint32_t id, Be16 port) {
  Conn& conn = conns_[id];
  assert((conn.flags & kConnNoClientPort) != 0 && (conn.flags & kConnHidden) == 0);
  erase_keys(id);
  conn.client_port = port;
  conn.flags = static_cast<uint16_t>(conn.flags & ~(kConnNoClientPort | kConnReplyTaken));
  header_->portless--;
  index_.insert(hash(in_key(conn)), id << 1);
  if (has_reply_key(conn.method)) insert_reply_key(id);
}

// As above: the kernel has two connections with one key then, and finds the newer one first.
void ConnTable::take_request_key(uint32_t id) {
  const FlowKey key = in_key(conns_[id]);
  const uint64_t key_hash = hash(key);
  const uint32_t older = index_.find(key_hash, [&](uint32_t entry) {
    return entry != id << 1 && (entry & 1) == 0 && matches(entry, key);
  });
  if (older == kNoEntry) return;
  index_.erase(key_hash, older);
  conns_[older >> 1].flags |= kConnRequestTaken;
}

ConnExtra& ConnTable::need_extra(Conn& conn) {
  if ((conn.flags & kConnExtra) == 0) extra_of(conn) = ConnExtra{};
  conn.flags |= kConnExtra;
  return extra_of(conn);
}

void ConnTable::erase_keys(uint32_t id) {
  const Conn& conn = conns_[id];
  if (conn.flags & kConnHidden) return;
  if ((conn.flags & kConnRequestTaken) == 0) index_.erase(hash(in_key(conn)), id << 1);
  if (has_reply_key(conn.method) && (conn.flags & kConnReplyTaken) == 0) {
    index_.erase(hash(out_key(conn)), (id << 1) | 1);
  }
}

void ConnTable::hide(uint32_t id) {
  erase_keys(id);
  conns_[id].flags |= kConnHidden;
}

void ConnTable::remove(uint32_t id, bool in_wheel) {
  Conn& conn = conns_[id];
  assert(conn.method != kConnFree);
  if (in_wheel) wheel_.remove(id);
  erase_keys(id);
  if (conn.flags & kConnNoClientPort) header_->portless--;
  addresses_.release(conn.virtual_index);
  addresses_.release(conn.destination_index);
  if (conn.local_index != kNoAddress) addresses_.release(conn.local_index);
  conn.method = kConnFree;
  conn.wheel_next = header_->free_head;
  header_->free_head = id + 1;
  header_->live--;
}

}  // namespace uvs
