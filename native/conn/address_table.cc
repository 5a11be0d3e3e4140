// In: addresses at connection creation. Does: intern, count, give back. Next: conn_table.cc.
#include "conn/address_table.h"

#include <cassert>

#include "address_hash.h"
#include "shared.h"

namespace uvs {

uint32_t AddressTable::bucket_of(const Addr& address) {
  // Addresses here come from the operator's configuration, so nobody has to be kept from guessing.
  return static_cast<uint32_t>(hash_address(address)) % kAddressBuckets;
}

bool AddressTable::names(const Memory& memory, const Addr& address) {
  for (const Entry& entry : memory.entries) {
    if (shared::lane_load(entry.references) != 0 && entry.address == address) return true;
  }
  return false;
}

uint16_t AddressTable::acquire(const Addr& address) {
  uint16_t& recent = recent_[address.bytes[15]];
  Entry& again = memory_->entries[recent];
  if (again.references != 0 && again.address == address) [[likely]] {
    again.references++;
    return recent;
  }
  recent = find_or_add(address);
  if (recent != kNoAddress) return recent;
  recent = 0;
  return kNoAddress;
}

uint16_t AddressTable::find_or_add(const Addr& address) {
  uint16_t& head = memory_->buckets[bucket_of(address)];
  for (uint16_t at = head; at != 0; at = memory_->entries[at - 1].next) {
    Entry& entry = memory_->entries[at - 1];
    if (entry.address == address) {
      entry.references++;
      return static_cast<uint16_t>(at - 1);
    }
  }
  uint16_t fresh = memory_->free_head;
  if (fresh != 0) {
    memory_->free_head = memory_->entries[fresh - 1].next;
  } else {
    if (memory_->used == kAddressEntries) return kNoAddress;
    fresh = ++memory_->used;
  }
  memory_->entries[fresh - 1] = Entry{address, 1, head, 0};
  head = fresh;
  return static_cast<uint16_t>(fresh - 1);
}

void AddressTable::release(uint16_t index) {
  Entry& entry = memory_->entries[index];
  assert(entry.references > 0);
  if (--entry.references > 0) return;
  uint16_t* link = &memory_->buckets[bucket_of(entry.address)];
  while (*link != index + 1) link = &memory_->entries[*link - 1].next;
  *link = entry.next;
  entry.next = memory_->free_head;
  memory_->free_head = static_cast<uint16_t>(index + 1);
}

}  // namespace uvs
