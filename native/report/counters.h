// The lanes of one worker: loads, traffic and reasons, in shared memory. This worker is their only
// writer; everyone reads (docs/shared-memory.md).
#pragma once
#include <cstdint>

#include "layout.gen.h"
#include "shared.h"

namespace uvs {

// Borrowed views of the shared blocks, all owned by main for the life of the process.
struct Counters {
  LoadRecord* loads = nullptr;            // own lane, by destination slot
  TrafficRecord* services = nullptr;      // own lane, by service slot
  TrafficRecord* destinations = nullptr;  // own lane, by destination slot
  TrafficRecord* total = nullptr;         // own lane
  uint64_t* reasons = nullptr;            // own lane, by Reason

  void count(Reason reason, uint64_t packets = 1) {
    shared::lane_add(reasons[static_cast<uint8_t>(reason)], packets);
  }

  void in_packet(TrafficRecord& record, uint64_t bytes) {
    shared::lane_add(record.in_packets, uint64_t{1});
    shared::lane_add(record.in_bytes, bytes);
  }
  void out_packet(TrafficRecord& record, uint64_t bytes) {
    shared::lane_add(record.out_packets, uint64_t{1});
    shared::lane_add(record.out_bytes, bytes);
  }
};

}  // namespace uvs
