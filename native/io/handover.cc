// In: a datagram of another worker's flow, or the sockets that lead here. Does: carries it over.
// Next: the other worker's core takes it as the first frame of a burst.
#include "io/handover.h"

#include <sys/socket.h>
#include <sys/uio.h>

#include <cassert>

namespace uvs {
namespace {

// In front of the frame in a message.
struct Label {
  uint16_t port;
  uint16_t fragment_bytes;
};

}  // namespace

Handover::Handover(const HandoverEnds& ends, uint32_t worker) : ends_(ends) {
  assert(ends_.send[worker] < 0 || open());
  if (open()) buffers_.reset(new uint8_t[size_t{kHandoverFrames} * kBufferBytes]);
}

bool Handover::send(uint32_t worker, const Packet& packet) const {
  assert(worker < kMaxWorkers);
  if (ends_.send[worker] < 0) return false;
  Label label{packet.frame.port, packet.fragment_bytes};
  iovec parts[2] = {{&label, sizeof label}, {packet.frame.data, packet.frame.length}};
  msghdr message{};
  message.msg_iov = parts;
  message.msg_iovlen = 2;
  return ::sendmsg(ends_.send[worker], &message, MSG_DONTWAIT | MSG_NOSIGNAL) ==
         static_cast<ssize_t>(sizeof label + packet.frame.length);
}

uint32_t Handover::receive(Frame* out, uint16_t ports) {
  uint32_t count = 0;
  while (count < kHandoverFrames) {
    uint8_t* data = &buffers_[size_t{count} * kBufferBytes] + kHeadroom;
    Label label;
    iovec parts[2] = {{&label, sizeof label}, {data, kSuperFrameBytes}};
    msghdr message{};
    message.msg_iov = parts;
    message.msg_iovlen = 2;
    const ssize_t got = ::recvmsg(ends_.receive, &message, MSG_DONTWAIT);
    if (got <= static_cast<ssize_t>(sizeof label)) break;
    if (label.port >= ports) continue;
    out[count] = Frame{};
    out[count].data = data;
    out[count].length = static_cast<uint32_t>(got) - static_cast<uint32_t>(sizeof label);
    out[count].headroom = kHeadroom;
    out[count].port = label.port;
    fragment_bytes_[count++] = label.fragment_bytes;
  }
  return count;
}

}  // namespace uvs
