// In: packets of services without connection. Does: one record per flow, packets chained.
// Next: src/scheduler/schedule-batch.ts writes verdicts; core.cc resolves them.
#include "upcall/miss_batch.h"

#include <cassert>
#include <cstring>

namespace uvs {

void MissBatch::clear() {
  if (size_ == 0) return;
  size_ = 0;
  std::memset(lookup_, 0, sizeof lookup_);
}

uint32_t MissBatch::find(const FlowKey& key, uint64_t hash, uint32_t* at) const {
  for (*at = hash % kLookup; lookup_[*at] != 0; *at = (*at + 1) % kLookup) {
    const uint32_t i = lookup_[*at] - 1u;
    const MissRecord& r = records_[i];
    if (hashes_[i] == hash && r.client_address == key.source &&
        r.virtual_address == key.destination && r.client_port == key.source_port.host() &&
        r.virtual_port == key.destination_port.host() && r.protocol == key.protocol) {
      return i;
    }
  }
  return kBurst;
}

void MissBatch::append(uint32_t i, uint16_t packet_number) {
  next_[packet_number] = kEnd;
  next_[last_[i]] = packet_number;
  last_[i] = packet_number;
  records_[i].packets++;
}

bool MissBatch::join(const FlowKey& key, uint64_t hash, uint16_t packet_number) {
  uint32_t at;
  const uint32_t i = size_ == 0 ? kBurst : find(key, hash, &at);
  if (i == kBurst) return false;
  append(i, packet_number);
  return true;
}

uint32_t MissBatch::add(const FlowKey& key, uint64_t hash, uint8_t family, uint16_t packet_number,
                        uint16_t service_slot, uint16_t flags, uint32_t mark) {
  next_[packet_number] = kEnd;
  uint32_t at;
  const uint32_t known = find(key, hash, &at);
  // One-packet scheduling asks for every packet anew (spec 3.8); a packet of the other direction
  // may be another destination's.
  if (known != kBurst && (flags & (kMissOnePacket | kMissOutbound)) == 0) {
    append(known, packet_number);
    return known;
  }
  while (lookup_[at] != 0) at = (at + 1) % kLookup;
  assert(size_ < kBurst);
  const uint32_t i = size_++;
  lookup_[at] = static_cast<uint8_t>(i + 1);
  hashes_[i] = hash;
  first_[i] = last_[i] = packet_number;
  MissRecord& r = records_[i];
  r.client_address = key.source;
  r.virtual_address = key.destination;
  r.client_port = key.source_port.host();
  r.virtual_port = key.destination_port.host();
  r.service_slot = service_slot;
  r.flow_hash = static_cast<uint32_t>(hash >> 32);
  r.protocol = key.protocol;
  r.family = family;
  r.flags = flags;
  r.fwmark = mark;
  r.verdict = kVerdictNone;
  r.packets = 1;
  r.template_ref = 0;
  return i;
}

void MissBatch::set_text(uint32_t i, std::span<const uint8_t> text) {
  assert(!text.empty() && text.size() < kMaxTextSlot);
  uint8_t* slot = texts_[i].bytes;
  slot[0] = static_cast<uint8_t>(text.size());
  std::memcpy(slot + 1, text.data(), text.size());
  // TypeScript compares whole words.
  for (size_t end = 1 + text.size(); end % 4 != 0; end++) slot[end] = 0;
}

}  // namespace uvs
