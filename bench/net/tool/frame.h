// The frames of the load, over IPv4, all checksums right: 60-byte UDP, one source port per flow;
// and SYNs.
#pragma once
#include <cstdint>

#include "tool.h"

namespace uvs::bench {

constexpr uint32_t kFrameBytes = 60;  // the shortest Ethernet frame without its check sequence
constexpr uint16_t kFirstSourcePort = 1024;
constexpr uint32_t kFlowsMax = 60000;

// Where fields of such a frame are.
constexpr uint32_t kIpAt = 14;
constexpr uint32_t kIpChecksumAt = 24;
constexpr uint32_t kSourceAddressAt = 26;
constexpr uint32_t kSourcePortAt = 34;
constexpr uint32_t kUdpChecksumAt = 40;
constexpr uint32_t kTcpChecksumAt = 50;

struct FlowTarget {
  Mac from_mac;
  Mac to_mac;
  uint32_t from;  // network order
  uint32_t to;    // network order
  uint16_t port;
};

// Writes the frame of one flow. `frame` has 64 bytes, of which kFrameBytes are the frame.
void write_frame(uint8_t* frame, const FlowTarget& target, uint16_t source_port);

// Writes a SYN from port 0 of `from` with the last two bytes 0; they count in no checksum yet.
void write_syn(uint8_t* frame, const FlowTarget& target);

}  // namespace uvs::bench
