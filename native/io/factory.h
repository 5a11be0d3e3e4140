// How a worker comes by its ports: main has opened the descriptors (native/io_wrap.h) and keeps
// them open; the worker borrows each one and builds a Port around it.
#pragma once
#include <cstdint>
#include <memory>

#include "io/io_error.h"
#include "io/port.h"

namespace uvs {

enum class PortKind : uint8_t { kAfPacket, kTun };

struct PortDescription {
  PortKind kind = PortKind::kAfPacket;
  uint32_t ifindex = 0;
  uint32_t ring_frames = 0;  // kAfPacket: as the socket was opened with; kTun: ignored
  // kAfPacket: the shared word (portWords.rxIndex) that keeps the place in the ring when the
  // worker is replaced; must outlive the port. kTun: may be null.
  uint32_t* rx_index_word = nullptr;
};

// Wraps a borrowed descriptor, which is not closed with the port. Returns null and fills `*error`
// when the ring cannot be mapped (EINVAL: `ring_frames` is not what the socket has).
std::unique_ptr<Port> make_borrowed_port(int fd, const PortDescription& description,
                                         IoError* error);

}  // namespace uvs
