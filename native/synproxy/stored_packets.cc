// In: packets of connections whose real server has not answered. Does: keeps copies of them.
// Next: core_synproxy.cc forwards them when it has, or gives them up.
#include "synproxy/stored_packets.h"

#include <cassert>
#include <cstring>

namespace uvs {

void StoredPackets::allocate() {
  if (items_ != nullptr) return;
  items_.reset(new uint8_t[size_t{kSynproxyStored} * sizeof(Item)]);
  small_.reset(new uint8_t[size_t{kSynproxyStored} * kFrameSlotBytes]);
  large_.reset(new uint8_t[size_t{kSynproxyStoredLarge} * kLargeBytes]);
  for (uint16_t i = 0; i < kSynproxyStoredLarge; i++) large_free_[i] = i;
}

uint8_t* StoredPackets::buffer_of(uint16_t number) const {
  const uint16_t large = at(number).large;
  if (large != kOwnBuffer) return &large_[size_t{large} * kLargeBytes];
  return &small_[size_t{number - 1u} * kFrameSlotBytes];
}

bool StoredPackets::append(StoredList& list, const Packet& packet) {
  const uint32_t length = packet.frame.length;
  const bool large = length > kFrameSlotBytes - kHeadroom;
  if (items_ == nullptr || length > kSuperFrameBytes || (large && large_free_count_ == 0))
    return false;
  uint16_t number = free_;
  if (number != 0) {
    free_ = at(number).next;
  } else if (used_ < kSynproxyStored) {
    number = ++used_;
  } else {
    return false;
  }
  Item& item = at(number);
  item.packet = packet;
  item.next = 0;
  item.large = large ? large_free_[--large_free_count_] : kOwnBuffer;
  uint8_t* data = buffer_of(number) + kHeadroom;
  std::memcpy(data, packet.frame.data, length);
  item.packet.frame.data = data;
  item.packet.frame.headroom = kHeadroom;
  (list.first == 0 ? list.first : at(list.last).next) = number;
  list.last = number;
  list.count++;
  size_++;
  return true;
}

uint16_t StoredPackets::pop(StoredList& list) {
  const uint16_t number = list.first;
  if (number == 0) return 0;
  list.first = at(number).next;
  if (list.first == 0) list.last = 0;
  list.count--;
  return number;
}

Packet* StoredPackets::take_first(StoredList& list) {
  const uint16_t number = pop(list);
  if (number == 0) return nullptr;
  at(number).next = lent_;
  lent_ = number;
  return &at(number).packet;
}

void StoredPackets::drop(StoredList& list) {
  for (uint16_t number; (number = pop(list)) != 0;) release(number);
  assert(list.count == 0);
}

void StoredPackets::release_lent() {
  while (lent_ != 0) {
    const uint16_t number = lent_;
    lent_ = at(number).next;
    release(number);
  }
}

void StoredPackets::release(uint16_t number) {
  Item& item = at(number);
  if (item.large != kOwnBuffer) large_free_[large_free_count_++] = item.large;
  item.next = free_;
  free_ = number;
  size_--;
}

}  // namespace uvs
