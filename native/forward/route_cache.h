// Addresses whose next hop is known: a bounded two-way cache. Losing an entry costs one question
// to the kernel, so there is no chain, no count and no removal; forgetting everything is one step
// of a number.
#pragma once
#include <cstdint>
#include <memory>

#include "address_hash.h"
#include "limits.h"

namespace uvs {

class RouteCache {
 public:
  RouteCache() : entries_(std::make_unique<Entry[]>(kRouteCacheEntries)) {}

  // Slot of `destination`, kNoSlot if it is not known.
  uint16_t find(const Addr& destination) const {
    const Entry* way = &entries_[first_way(destination)];
    for (uint32_t i = 0; i < kWays; i++) {
      if (way[i].epoch == epoch_ && way[i].destination == destination) return way[i].slot;
    }
    return kNoSlot;
  }

  // Remembers `destination`; an older entry of the same set may be forgotten.
  void put(const Addr& destination, uint16_t slot) {
    Entry* way = &entries_[first_way(destination)];
    uint32_t victim = kWays;
    for (uint32_t i = 0; i < kWays; i++) {
      const bool live = way[i].epoch == epoch_;
      if (live && way[i].destination == destination) victim = i;
      if (!live && victim == kWays) victim = i;
    }
    if (victim == kWays) victim = turn_++ % kWays;
    way[victim] = Entry{destination, epoch_, slot};
  }

  // Forgets every address.
  void clear() {
    if (++epoch_ != 0) return;
    // The number came round: entries of 2^32 clears ago must not come back to life.
    for (uint32_t i = 0; i < kRouteCacheEntries; i++) entries_[i] = Entry{};
    epoch_ = 1;
  }

 private:
  static constexpr uint32_t kWays = 2;
  static_assert((kRouteCacheEntries & (kRouteCacheEntries - 1)) == 0);

  struct Entry {
    Addr destination;
    uint32_t epoch;  // entries of another epoch are empty; 0 is never current
    uint16_t slot;
  };

  static uint32_t first_way(const Addr& address) {
    return static_cast<uint32_t>(hash_address(address) % (kRouteCacheEntries / kWays)) * kWays;
  }

  std::unique_ptr<Entry[]> entries_;
  uint32_t epoch_ = 1;
  uint32_t turn_ = 0;
};

}  // namespace uvs
