// Interned addresses of one shard: virtual, destination and local addresses of its connections,
// each once, counted. 16-bit indexes keep a connection inside one cache line.
#pragma once
#include <cstdint>

#include "addr.h"

namespace uvs {

constexpr uint32_t kAddressEntries = 16384;
constexpr uint32_t kAddressBuckets = 16384;
constexpr uint16_t kNoAddress = 0xffff;
static_assert(kAddressEntries < kNoAddress);

class AddressTable {
 public:
  struct Entry {
    Addr address;
    uint32_t references;
    uint16_t next;  // bucket chain, or free list
    uint16_t reserved;
  };
  static_assert(sizeof(Entry) == 24);
  struct Memory {
    uint16_t buckets[kAddressBuckets];  // index + 1, 0: empty (so that zeroed memory is valid)
    Entry entries[kAddressEntries];
    uint16_t free_head;  // index + 1
    uint16_t used;       // entries ever handed out
    uint32_t reserved;
  };

  void attach(Memory* memory) { memory_ = memory; }
  const Addr& at(uint16_t index) const { return memory_->entries[index].address; }

  // Index of `address`, one more reference; kNoAddress when the table is full.
  uint16_t acquire(const Addr& address);
  void release(uint16_t index);

  // Whether somebody holds `address`. Looks through all of them, for another thread may be changing
  // the chains.
  static bool names(const Memory& memory, const Addr& address);

  static uint32_t bucket_of(const Addr& address);

 private:
  uint16_t find_or_add(const Addr& address);

  Memory* memory_ = nullptr;
  // Indexes found last, by the last byte of the address: most connections name an address that one
  // before them has named. Never trusted: what they name may have gone.
  uint16_t recent_[256] = {};
};

}  // namespace uvs
