// Packets that wait for the link address of their next hop: copies in memory taken at the start,
// few, in order per hop, each for a limited time.
#pragma once
#include <cstdint>
#include <memory>

#include "io/port.h"

namespace uvs {

class ParkedPackets {
 public:
  ParkedPackets();

  // Copies `ip_packet` behind the others of `slot`. False: too many wait, or it fits no buffer.
  bool put(uint16_t slot, const Frame& ip_packet, uint32_t now_ms);

  // Gives up what waits for `slot`: it is then of slot kNoSlot, and lent as that.
  void give_up(uint16_t slot);

  // Gives up packets that have waited for kNeighbourWaitMs; `gone(slot)` is called for each.
  template <typename Gone>
  void give_up_old(uint32_t now_ms, Gone gone) {
    // The list is in order of arrival, so the old ones stand at its head.
    for (uint16_t item = first_; item != kEnd; item = items_[item].next) {
      if (now_ms - items_[item].since_ms < kNeighbourWaitMs) return;
      if (items_[item].slot == kNoSlot) continue;
      gone(items_[item].slot);
      items_[item].slot = kNoSlot;
    }
  }

  // Lends the packets for which `wanted(slot)` holds, oldest first, while `give(slot, frame)`
  // takes them (returns true). Each frame has kHeadroom in front; all are lent until free_lent().
  template <typename Wanted, typename Give>
  void lend(Wanted wanted, Give give) {
    for (uint16_t item = first_; item != kEnd;) {
      const uint16_t next = items_[item].next;
      if (wanted(items_[item].slot)) {
        if (!give(items_[item].slot, items_[item].frame)) return;
        unlink(item);
        items_[item].next = lent_;
        lent_ = item;
      }
      item = next;
    }
  }

  // Takes back the memory of everything that lend() lent.
  void free_lent();

  uint32_t size() const { return size_; }

 private:
  static constexpr uint16_t kEnd = 0xffff;
  // Buffers that hold a GSO super-packet or a jumbo frame; a burst of one bulk connection's worth.
  static constexpr uint32_t kLargeBuffers = 16;
  static constexpr uint32_t kLargeBytes = kHeadroom + kSuperFrameBytes;
  static_assert(kNeighbourWaiting < kEnd);

  struct Item {
    Frame frame;
    uint32_t since_ms;
    uint16_t slot;
    uint16_t previous;
    uint16_t next;
    uint16_t large;  // number of its large buffer, kEnd: its own small one
  };

  uint8_t* buffer_of(uint16_t item) const;
  void unlink(uint16_t item);
  void release(uint16_t item);

  std::unique_ptr<Item[]> items_;     // kNeighbourWaiting
  std::unique_ptr<uint8_t[]> small_;  // kFrameSlotBytes for every item
  std::unique_ptr<uint8_t[]> large_;  // kLargeBuffers
  uint16_t large_free_[kLargeBuffers];
  uint32_t large_free_count_ = kLargeBuffers;
  uint16_t first_ = kEnd;  // waiting, oldest first
  uint16_t last_ = kEnd;
  uint16_t free_ = kEnd;  // chained by `next`
  uint16_t lent_ = kEnd;  // chained by `next`
  uint32_t size_ = 0;
};

}  // namespace uvs
