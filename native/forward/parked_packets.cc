// In: a packet whose next hop has no link address yet. Does: keeps a copy. Next: the link address
// comes, kernel_next_hops.cc lends the copy to egress.cc; or it does not, and core_icmp.cc tells
// the packet's sender.
#include "forward/parked_packets.h"

#include <cstring>

namespace uvs {

ParkedPackets::ParkedPackets()
    : items_(std::make_unique<Item[]>(kNeighbourWaiting)),
      small_(new uint8_t[size_t{kNeighbourWaiting} * kFrameSlotBytes]),
      large_(new uint8_t[size_t{kLargeBuffers} * kLargeBytes]) {
  for (uint32_t i = kNeighbourWaiting; i-- != 0;) {
    items_[i].next = free_;
    free_ = static_cast<uint16_t>(i);
  }
  for (uint32_t i = 0; i < kLargeBuffers; i++) large_free_[i] = static_cast<uint16_t>(i);
}

uint8_t* ParkedPackets::buffer_of(uint16_t item) const {
  const uint16_t large = items_[item].large;
  return large == kEnd ? &small_[size_t{item} * kFrameSlotBytes]
                       : &large_[size_t{large} * kLargeBytes];
}

bool ParkedPackets::put(uint16_t slot, const Frame& ip_packet, uint32_t now_ms) {
  const bool is_large = ip_packet.length > kFrameSlotBytes - kHeadroom;
  if (free_ == kEnd || ip_packet.length > kLargeBytes - kHeadroom) return false;
  if (is_large && large_free_count_ == 0) return false;
  const uint16_t number = free_;
  Item& item = items_[number];
  free_ = item.next;
  item.large = is_large ? large_free_[--large_free_count_] : kEnd;
  item.frame = ip_packet;
  item.frame.data = buffer_of(number) + kHeadroom;
  item.frame.headroom = kHeadroom;
  std::memcpy(item.frame.data, ip_packet.data, ip_packet.length);
  item.since_ms = now_ms;
  item.slot = slot;
  item.previous = last_;
  item.next = kEnd;
  (last_ == kEnd ? first_ : items_[last_].next) = number;
  last_ = number;
  size_++;
  return true;
}

void ParkedPackets::unlink(uint16_t item) {
  const uint16_t previous = items_[item].previous;
  const uint16_t next = items_[item].next;
  (previous == kEnd ? first_ : items_[previous].next) = next;
  (next == kEnd ? last_ : items_[next].previous) = previous;
  size_--;
}

void ParkedPackets::release(uint16_t item) {
  if (items_[item].large != kEnd) large_free_[large_free_count_++] = items_[item].large;
  items_[item].next = free_;
  free_ = item;
}

void ParkedPackets::give_up(uint16_t slot) {
  for (uint16_t item = first_; item != kEnd; item = items_[item].next) {
    if (items_[item].slot == slot) items_[item].slot = kNoSlot;
  }
}

void ParkedPackets::free_lent() {
  while (lent_ != kEnd) {
    const uint16_t item = lent_;
    lent_ = items_[item].next;
    release(item);
  }
}

}  // namespace uvs
