// Opening AF_PACKET sockets: main's part of the af_packet port. Main opens one socket per worker
// and interface and keeps it open for as long as the director runs; workers only map its ring
// (af_packet.h). So a worker that dies and is replaced loses no fanout membership and no frames.
#pragma once
#include <cstdint>
#include <string>

#include "io/io_error.h"
#include "io/unique_fd.h"

namespace uvs {

// The receive ring of one socket: equal slots, one behind the other in the mapping.
struct RingShape {
  uint32_t frames;
  uint32_t blocks;
  uint32_t block_bytes;
  uint64_t bytes;  // of the mapping
};

constexpr uint32_t kRingFramesDefault = 4096;
constexpr uint32_t kRingFramesMax = 65536;

// The shape of a ring of at least `frames` slots (kFrameSlotBytes each), rounded up to whole blocks
// and limited to kRingFramesMax. Main and workers compute the same.
RingShape ring_shape(uint32_t frames);

// An interface that a packet socket can be bound to.
struct Interface {
  std::string name;
  uint32_t index;
};

// Looks the interface up. ENODEV: no such interface; ERR_LINK: it is no Ethernet device.
bool find_interface(const std::string& name, Interface* found, IoError* error);

struct PacketSocketOptions {
  uint32_t ring_frames = kRingFramesDefault;
  int filter_program = -1;    // socket filter: only frames it wants are copied; -1: all
  int steering_program = -1;  // fanout by eBPF; used when workers > 1
  uint32_t workers = 1;
  uint32_t worker = 0;    // sockets are opened in this order; it is the fanout position
  int first_socket = -1;  // worker > 0: the socket of worker 0, whose fanout group is joined
};

// Opens, configures and binds the socket of one worker on one interface. From then on frames
// gather in its ring. Not open and `*error` filled on failure.
UniqueFd open_packet_socket(const Interface& interface, const PacketSocketOptions& options,
                            IoError* error);

}  // namespace uvs
