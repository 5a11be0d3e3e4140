// Stop 5: new flows of one burst that wait for a verdict from TypeScript.
//
// The first packet of a flow makes one 64-byte record; later packets of the same flow in the same
// burst are chained behind it, so that order within a flow is kept and the scheduler is asked once.
// The records lie in shared memory but only this thread, native and TypeScript in turns, sees them.
#pragma once
#include <cstdint>
#include <span>

#include "limits.h"
#include "parse/packet.h"

namespace uvs {

// What an engine adds to a template key, as TypeScript reads it: length, text, zeroes up to the
// next word.
struct alignas(4) MissText {
  uint8_t bytes[kMaxTextSlot];
};
static_assert(sizeof(MissText) == 256, "the length is one byte");

class MissBatch {
 public:
  // kBurst of each; `texts` for set_text().
  void attach(MissRecord* records, MissText* texts = nullptr) {
    records_ = records;
    texts_ = texts;
  }

  // Forgets every record; call at the start of a burst.
  void clear();

  // Puts packet number `packet` of the burst into the batch for `service_slot`; its record.
  uint32_t add(const Packet& packet, uint16_t packet_number, uint16_t service_slot, uint16_t flags,
               uint32_t mark) {
    return add(packet.key, packet.hash, packet.family, packet_number, service_slot, flags, mark);
  }
  // The same for a packet that speaks of flow `key` instead of belonging to it (an ICMP error), or
  // that belongs to its other direction.
  uint32_t add(const FlowKey& key, uint64_t hash, uint8_t family, uint16_t packet_number,
               uint16_t service_slot, uint16_t flags, uint32_t mark);

  // What an engine adds to the template key of record `i`: 1 to kMaxTextSlot - 1 bytes.
  void set_text(uint32_t i, std::span<const uint8_t> text);

  // For a record whose destination is known before anybody is asked.
  void set_verdict(uint32_t i, uint16_t slot) { records_[i].verdict = slot; }

  // Chains a packet behind the record of its flow, if there is one: what would be no new flow by
  // itself (a RST, an ACK) still belongs to the SYN in front of it. False: no such record.
  bool join(const Packet& packet, uint16_t packet_number) {
    return join(packet.key, packet.hash, packet_number);
  }
  bool join(const FlowKey& key, uint64_t hash, uint16_t packet_number);

  uint32_t size() const { return size_; }
  const MissRecord& record(uint32_t i) const { return records_[i]; }

  // Packet numbers of record `i` in order: first(i), then next() until kEnd.
  static constexpr uint16_t kEnd = 0xffff;
  uint16_t first(uint32_t i) const { return first_[i]; }
  uint16_t next(uint16_t packet_number) const { return next_[packet_number]; }

 private:
  static constexpr uint32_t kLookup = 256;
  static_assert(kLookup >= 4 * kBurst && kBurst < 255);

  // Record of a packet's flow, kBurst when there is none; `*at` is then the free place for it.
  uint32_t find(const FlowKey& key, uint64_t hash, uint32_t* at) const;
  void append(uint32_t record, uint16_t packet_number);

  MissRecord* records_ = nullptr;
  MissText* texts_ = nullptr;
  uint32_t size_ = 0;
  uint8_t lookup_[kLookup] = {};  // record number + 1, by flow hash, open addressing
  uint64_t hashes_[kBurst];
  uint16_t first_[kBurst];
  uint16_t last_[kBurst];
  uint16_t next_[kBurst];
};

}  // namespace uvs
