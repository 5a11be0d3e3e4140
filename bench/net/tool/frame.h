// The frames of the load: 60-byte UDP over IPv4, one source port per flow, all checksums right.
#pragma once
#include <cstdint>

#include "tool.h"

namespace uvs::bench {

constexpr uint32_t kFrameBytes = 60;  // the shortest Ethernet frame without its check sequence
constexpr uint16_t kFirstSourcePort = 1024;
constexpr uint32_t kFlowsMax = 60000;

// Where fields of such a frame are.
constexpr uint32_t kIpAt = 14;
constexpr uint32_t kSourcePortAt = 34;
constexpr uint32_t kUdpChecksumAt = 40;

struct FlowTarget {
  Mac from_mac;
  Mac to_mac;
  uint32_t from;  // network order
  uint32_t to;    // network order
  uint16_t port;
};

// Writes the frame of one flow. `frame` has 64 bytes, of which kFrameBytes are the frame.
void write_frame(uint8_t* frame, const FlowTarget& target, uint16_t source_port);

}  // namespace uvs::bench
