// Datagrams on their way from the worker that put their fragments together to the worker that owns
// their flow (decision 20).
//
// Every worker has one end of a pair of connected SOCK_SEQPACKET sockets to receive at; all others
// send into the other end, and the kernel keeps them apart. Messages are copied, so nothing of one
// worker is ever touched by another. Main opens the sockets and keeps them open.
#pragma once
#include <cstdint>
#include <memory>

#include "parse/packet.h"

namespace uvs {

// Borrowed descriptors; -1: there are no other workers.
struct HandoverEnds {
  HandoverEnds() {
    for (int& each : send) each = -1;
  }
  int receive = -1;
  int send[kMaxWorkers];  // by worker
};

class Handover {
 public:
  Handover(const HandoverEnds& ends, uint32_t worker);

  bool open() const { return ends_.receive >= 0; }
  int poll_fd() const { return ends_.receive; }

  // Gives a datagram (frame, port it came in by, fragment_bytes) to `worker`. False: it takes no
  // more at the moment.
  bool send(uint32_t worker, const Packet& packet) const;

  // Takes at most kHandoverFrames datagrams, which came in by a port below `ports`. Frames are
  // valid until the next call.
  uint32_t receive(Frame* out, uint16_t ports);

  // Packet::fragment_bytes of frame `number` of the last receive().
  uint16_t fragment_bytes(uint32_t number) const { return fragment_bytes_[number]; }

 private:
  static constexpr uint32_t kBufferBytes = (kHeadroom + kSuperFrameBytes + 63) & ~63u;

  HandoverEnds ends_;
  std::unique_ptr<uint8_t[]> buffers_;  // kHandoverFrames; none while there is nobody to hear
  uint16_t fragment_bytes_[kHandoverFrames] = {};
};

}  // namespace uvs
