// Packets on their way from one worker to another: datagrams to the worker that owns their flow,
// from the one that put their fragments together (decision 20); and questions, where steering has
// changed while there were connections, whether the other worker has the connection (decision 23).
//
// Every worker has one end of a pair of connected SOCK_SEQPACKET sockets to receive at; all others
// send into the other end, and the kernel keeps them apart. Messages are copied, so nothing of one
// worker is ever touched by another. Main opens the sockets and keeps them open.
#pragma once
#include <cstdint>
#include <memory>

#include "io/io_error.h"
#include "io/unique_fd.h"
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

// The two ends of one worker's sockets, as main opens them.
struct HandoverPair {
  UniqueFd receive;
  UniqueFd send;
};

// What a packet is handed over for.
enum class Errand : uint16_t {
  kDatagram,  // it is the other's
  kQuestion,  // does it know the flow? If not, back with it
  kNo,        // asked and not known
};

// Opens one; false and `*error` on failure.
bool open_handover(HandoverPair* pair, IoError* error);

class Handover {
 public:
  Handover(const HandoverEnds& ends, uint32_t worker);

  bool open() const { return ends_.receive >= 0; }
  int poll_fd() const { return ends_.receive; }

  // Gives a packet (frame, port it came in by, fragment_bytes) to `worker`. False: it takes no more
  // at the moment.
  bool send(uint32_t worker, const Packet& packet, Errand errand) const;

  // Takes at most kHandoverFrames packets, which came in by a port below `ports`. Frames are
  // valid until the next call.
  uint32_t receive(Frame* out, uint16_t ports);

  // Packet::fragment_bytes of frame `number` of the last receive().
  uint16_t fragment_bytes(uint32_t number) const { return fragment_bytes_[number]; }

  // What that frame is for, and the worker it is from.
  Errand errand(uint32_t number) const { return errands_[number]; }
  uint32_t sender(uint32_t number) const { return senders_[number]; }

 private:
  static constexpr uint32_t kBufferBytes = (kHeadroom + kSuperFrameBytes + 63) & ~63u;

  HandoverEnds ends_;
  uint32_t worker_;
  std::unique_ptr<uint8_t[]> buffers_;  // kHandoverFrames; none while there is nobody to hear
  uint16_t fragment_bytes_[kHandoverFrames] = {};
  Errand errands_[kHandoverFrames] = {};
  uint16_t senders_[kHandoverFrames] = {};
};

}  // namespace uvs
