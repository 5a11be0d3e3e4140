// In: keys and verdicts. Does: find, create and remove connections in one block of memory.
// Next: tcp_state.cc moves their state, core.cc rewrites by them.
#include "conn/conn_table.h"

#include <cassert>
#include <cstring>
#include <iterator>

namespace uvs {
namespace {

// By direction: a newer connection has this key.
constexpr uint16_t kTaken[2] = {kConnRequestTaken, kConnReplyTaken};

}  // namespace

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

bool ConnTable::names(const uint8_t* memory, size_t bytes, uint32_t connections,
                      const Addr& address) {
  const Offsets o = offsets(connections);
  if (bytes < o.end) return false;
  return AddressTable::names(*reinterpret_cast<const AddressTable::Memory*>(memory + o.addresses),
                             address);
}

namespace {

// The finalizer of SplitMix64 (Steele, Lea, Flood 2014): every bit depends on all bits.
uint64_t spread(uint64_t z) {
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

}  // namespace

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
  for (uint64_t i = 0; i < std::size(secrets_); i++) {
    secrets_[i] = spread(seed_ + (i + 1) * 0x9e3779b97f4a7c15u);
  }
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
    displace(fresh, 0);
    header_->portless++;
  }
  if (conn.flags & kConnOnePacket) [[unlikely]] {
    conn.flags |= kConnHidden;
  } else {
    index_.insert(hash(wanted.in), fresh << 1);
    if (has_reply_key(conn.method)) insert_reply_key(fresh);
  }
  wheel_.insert(fresh, due);
  header_->live++;
  *id = fresh;
  return CreateError::kNone;
}

void ConnTable::insert_reply_key(uint32_t id) {
  displace(id, 1);
  index_.insert(hash(out_key(conns_[id])), (id << 1) | 1);
}

// Takes a key of this connection out of the index where an older one has it there.
void ConnTable::displace(uint32_t id, uint32_t direction) {
  const FlowKey key = key_of(conns_[id], direction);
  const uint64_t key_hash = hash(key);
  const uint32_t found = index_.find(key_hash, [&](uint32_t entry) {
    return (entry & 1) == direction && entry >> 1 != id && matches(entry, key);
  });
  if (found == kNoEntry) [[likely]]
    return;
  index_.erase(key_hash, found);
  Conn& older = conns_[found >> 1];
  older.flags |= kTaken[direction] | kConnSameKey;
  conns_[id].flags |= kConnSameKey;
  need_extra(older).same_key[direction].newer = id + 1;
  need_extra(conns_[id]).same_key[direction].older = (found >> 1) + 1;
}

// Leaves the row of those with the same key; the one before gets it when this one had it.
void ConnTable::give_back(uint32_t id, uint32_t direction) {
  SameKey& same = extra_[id].same_key[direction];
  if (same.newer != 0) extra_[same.newer - 1].same_key[direction].older = same.older;
  if (same.older != 0) {
    const uint32_t older = same.older - 1;
    extra_[older].same_key[direction].newer = same.newer;
    if (same.newer == 0) {
      conns_[older].flags &= static_cast<uint16_t>(~kTaken[direction]);
      index_.insert(hash(key_of(conns_[older], direction)), older << 1 | direction);
    }
  }
  same = SameKey{};
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
  conn.flags = static_cast<uint16_t>(conn.flags & ~kConnNoClientPort);
  header_->portless--;
  index_.insert(hash(in_key(conn)), id << 1);
  if (has_reply_key(conn.method)) insert_reply_key(id);
}

ConnExtra& ConnTable::need_extra(Conn& conn) {
  if ((conn.flags & kConnExtra) == 0) extra_of(conn) = ConnExtra{};
  conn.flags |= kConnExtra;
  return extra_of(conn);
}

void ConnTable::erase_key(uint32_t id, uint32_t direction) {
  Conn& conn = conns_[id];
  if ((conn.flags & kTaken[direction]) == 0) {
    index_.erase(hash(key_of(conn, direction)), id << 1 | direction);
  }
  if (conn.flags & kConnSameKey) [[unlikely]]
    give_back(id, direction);
  conn.flags &= static_cast<uint16_t>(~kTaken[direction]);
}

void ConnTable::erase_keys(uint32_t id) {
  const Conn& conn = conns_[id];
  if (conn.flags & kConnHidden) return;
  erase_key(id, 0);
  if (has_reply_key(conn.method)) erase_key(id, 1);
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
