// Packets of clients that wait until their real server has answered (spec 12.9, step 2): copies in
// memory taken when a service first has SYNPROXY, bounded, in order of arrival for each connection.
//
// Life of a number:
//
//   state   entered by            may be touched
//   free    start, free_lent()    the pool alone
//   stored  append()              by its connection's StoredList
//   lent    take_first()          the packet, until free_lent()
#pragma once
#include <cstdint>
#include <memory>

#include "conn/conn.h"
#include "limits.h"

namespace uvs {

class StoredPackets {
 public:
  // Takes the memory, once; until then nothing can be stored.
  void allocate();

  // Copies `packet` behind the others of `list`. False: too many wait, or it fits no buffer.
  bool append(StoredList& list, const Packet& packet);

  // Takes the oldest packet out of `list`, with kHeadroom in front; null when there is none. It is
  // lent until free_lent().
  Packet* take_first(StoredList& list);

  // Gives up everything in `list`.
  void drop(StoredList& list);

  // Takes back what take_first() lent; the frames must have been sent.
  void free_lent() {
    if (lent_ != 0) [[unlikely]]
      release_lent();
  }

  uint32_t size() const { return size_; }

 private:
  static constexpr uint32_t kLargeBytes = kHeadroom + kSuperFrameBytes;
  static constexpr uint16_t kOwnBuffer = 0xffff;

  struct Item {
    Packet packet;
    uint16_t next;   // number + 1 in its list
    uint16_t large;  // number of its large buffer, kOwnBuffer: its small one
  };

  Item& at(uint16_t number) const { return reinterpret_cast<Item*>(items_.get())[number - 1]; }
  uint8_t* buffer_of(uint16_t number) const;
  uint16_t pop(StoredList& list);
  void release(uint16_t number);
  void release_lent();

  // Not initialised, so that what is never used is never touched.
  std::unique_ptr<uint8_t[]> items_;  // kSynproxyStored of Item
  std::unique_ptr<uint8_t[]> small_;  // kFrameSlotBytes for every item
  std::unique_ptr<uint8_t[]> large_;
  uint16_t large_free_[kSynproxyStoredLarge];
  uint32_t large_free_count_ = kSynproxyStoredLarge;
  uint16_t used_ = 0;  // numbers ever handed out
  uint16_t free_ = 0;  // chained by `next`
  uint16_t lent_ = 0;  // chained by `next`
  uint32_t size_ = 0;
};

}  // namespace uvs
