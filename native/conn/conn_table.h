// The connections of one worker: records, index, addresses, timers, in one block of memory.
//
// Theory of operation. The block is a SharedArrayBuffer that main allocates and keeps: it holds no
// pointers, so when a worker's thread dies its replacement attaches to the same block and goes on
// with the same connections. Records are handed out from a free list; a record never moves. One
// index serves both directions: the key of a packet as received, (source, destination, protocol),
// is hashed; the entry found tells which direction matched. The hash is keyed by a random seed in
// the block, against crafted collisions.
//
// Two connections may have one key: replies, where a client uses its port again towards another
// service of the same destination; requests, where a destination begins (SIP) or announces (FTP)
// what a client has already. The newest is found, as in the kernel, which inserts at the head of a
// bucket (spec 3.2, 3.9). The index holds that one alone; the others are linked to it
// (ConnExtra.same_key) and get the key back one after the other. One-packet connections have no key
// at all (kernel: ip_vs_conn_hash).
//
// Sizes are fixed at start. A full table refuses new connections (`table_full`) and keeps the old
// ones, as the kernel does when it is out of memory for entries.
#pragma once
#include <cstddef>
#include <cstdint>

#include "conn/address_table.h"
#include "conn/conn.h"
#include "conn/flow_index.h"
#include "conn/timer_wheel.h"

namespace uvs {

// What creation needs to know. Addresses are copied.
struct NewConn {
  FlowKey in;  // client -> virtual, as received
  Addr destination;
  Be16 destination_port{};
  Addr local{};  // FULLNAT only
  Be16 local_port{};
  uint16_t destination_slot = 0;
  uint16_t flags = 0;
  uint8_t method = 0;
  uint8_t state = 0;
  uint32_t template_ref = 0;
  uint32_t fwmark = 0;
};

enum class CreateError : uint8_t { kNone, kTableFull, kAddressTableFull };

class ConnTable {
 public:
  // Bytes of the block for at most `connections` connections. The last sizeof(ConnExtra) of each
  // are touched by connections that have one only.
  static size_t bytes_needed(uint32_t connections);

  // Whether a connection in `memory`, a block of that many, has `address` behind it or in front of
  // it. Another thread may be working with the block: then the answer is of about now.
  static bool names(const uint8_t* memory, size_t bytes, uint32_t connections, const Addr& address);

  // Attaches to `memory`. A zeroed block is set up with `seed` and `tick`; one that was used
  // before (same layout, same maximum) is adopted. False: the block is neither.
  bool attach(uint8_t* memory, size_t bytes, uint32_t connections, uint64_t seed, uint32_t tick);

  Conn& at(uint32_t id) { return conns_[id]; }
  const Conn& at(uint32_t id) const { return conns_[id]; }
  ConnCold& cold(uint32_t id) { return cold_[id]; }
  // Null for the many that have none.
  ConnExtra* extra(const Conn& conn) {
    return (conn.flags & kConnExtra) != 0 ? &extra_of(conn) : nullptr;
  }
  const Addr& address(uint16_t index) const { return addresses_.at(index); }
  TimerWheel& wheel() { return wheel_; }
  const TimerWheel& wheel() const { return wheel_; }
  uint32_t size() const { return header_->live; }
  uint32_t capacity() const { return header_->capacity; }
  uint32_t high_water() const { return header_->used; }
  bool live(uint32_t id) const { return id < header_->used && conns_[id].method != kConnFree; }

  // Random bits that keep what others must not guess; the same for who adopts the block.
  uint64_t seed() const { return seed_; }

  uint64_t hash(const FlowKey& key) const {
    // Both factors are masked with what nobody knows: one that is 0 makes the product 0, whatever
    // the other is.
    const uint64_t a = mix(key.source.low() ^ secrets_[0], key.source.high() ^ secrets_[1]);
    const uint64_t b =
        mix(key.destination.low() ^ secrets_[2], key.destination.high() ^ secrets_[3]);
    const uint64_t ports = key.source_port.raw | (uint64_t{key.destination_port.raw} << 16) |
                           (uint64_t{key.protocol} << 32);
    return mix(a ^ ports ^ secrets_[4], b ^ secrets_[5]);
  }
  void prefetch_index(uint64_t hash) const { index_.prefetch(hash); }
  uint32_t peek(uint64_t hash) const { return index_.peek(hash); }
  void prefetch_entry(uint32_t entry) const { __builtin_prefetch(&conns_[entry >> 1], 1); }

  // The same for what a connection found so has beside its record, once that is there. Always
  // inline: GCC takes a function that only prefetches for one without effect, and drops the call.
  [[gnu::always_inline]] inline void prefetch_extra(uint32_t entry) const {
    const Conn& conn = conns_[entry >> 1];
    const bool unneeded = (entry & 1) == 0 && (conn.flags & kConnShifted) != 0;
    if ((conn.flags & kConnExtra) != 0 && !unneeded) __builtin_prefetch(&extra_[entry >> 1], 1);
  }

  // True if the packet key belongs to this entry's connection and direction.
  bool matches(uint32_t entry, const FlowKey& key) const {
    const Conn& c = conns_[entry >> 1];
    if ((entry & 1) == 0) {
      return c.client == key.source && c.client_port == key.source_port &&
             c.virtual_port == key.destination_port && c.protocol == key.protocol &&
             addresses_.at(c.virtual_index) == key.destination;
    }
    if (!(c.destination_port == key.source_port && c.protocol == key.protocol &&
          addresses_.at(c.destination_index) == key.source)) {
      return false;
    }
    if (c.method == kMethodFullnat) {
      return c.local_port == key.destination_port &&
             addresses_.at(c.local_index) == key.destination;
    }
    return c.client_port == key.destination_port && c.client == key.destination;
  }

  // Entry (conn id << 1 | 1 for the outbound key) of a packet; kNoEntry when unknown.
  uint32_t find(const FlowKey& key, uint64_t hash) const {
    return index_.find(hash, [&](uint32_t entry) { return matches(entry, key); });
  }

  // Creates a connection due at tick `due`; `*id` is set on success.
  CreateError create(const NewConn& wanted, uint32_t due, uint32_t* id);

  // Makes packets of the client find the connection that was just made, where an older one of the
  // same client and service has them still: one that the service's side began (spec 4.5).
  void take_request_key(uint32_t id) {
    if ((conns_[id].flags & kConnHidden) == 0) displace(id, 0);
  }

  // Takes a connection out of index, wheel (if `in_wheel`) and address table, and frees it.
  void remove(uint32_t id, bool in_wheel);

  uint32_t id_of(const Conn& conn) const { return static_cast<uint32_t>(&conn - conns_); }

  // The connection with this inbound key, or with `reply` this outbound one; kNoConn: none.
  uint32_t find_directed(const FlowKey& key, bool reply) const;

  // How many connections do not know their client's port (kConnNoClientPort).
  uint32_t portless() const { return header_->portless; }

  // Entry of the portless connection that takes packets with this inbound key from any port;
  // kNoEntry when there is none (spec 3.2, step 2).
  uint32_t find_portless(FlowKey key) const;

  // Gives a portless connection the port of its client (spec 3.12).
  void set_client_port(uint32_t id, Be16 port);

  // A connection's ConnExtra, zeroed if it had none.
  ConnExtra& need_extra(Conn& conn);

  // Lets no packet find a connection any more; it lives on for those that name it by id.
  void hide(uint32_t id);

  // The keys under which a connection is found.
  FlowKey in_key(const Conn& conn) const;
  FlowKey out_key(const Conn& conn) const;

 private:
  static uint64_t mix(uint64_t a, uint64_t b) {
    const auto product = static_cast<unsigned __int128>(a) * b;
    return static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64);
  }

  struct Header {
    uint32_t magic;
    uint32_t layout_hash;
    uint32_t capacity;
    uint32_t live;
    uint32_t used;       // records ever handed out: those above were never touched
    uint32_t free_head;  // conn id + 1
    uint64_t seed;
    uint32_t portless;  // connections with kConnNoClientPort
    uint8_t reserved[28];
  };
  static_assert(sizeof(Header) == 64);

  ConnExtra& extra_of(const Conn& conn) { return extra_[&conn - conns_]; }
  FlowKey key_of(const Conn& conn, uint32_t direction) const {
    return direction == 0 ? in_key(conn) : out_key(conn);
  }
  void displace(uint32_t id, uint32_t direction);
  void give_back(uint32_t id, uint32_t direction);
  void insert_reply_key(uint32_t id);
  void erase_key(uint32_t id, uint32_t direction);
  void erase_keys(uint32_t id);

  struct Offsets;
  static Offsets offsets(uint32_t connections);

  Header* header_ = nullptr;
  Conn* conns_ = nullptr;
  ConnCold* cold_ = nullptr;
  ConnExtra* extra_ = nullptr;
  uint64_t seed_ = 0;
  uint64_t secrets_[6] = {};  // made of it
  FlowIndex index_;
  AddressTable addresses_;
  TimerWheel wheel_;
};

}  // namespace uvs
