// In: a packet for another worker, or the sockets that lead here. Does: carries it over.
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
  Errand errand;
  uint16_t sender;
  VnetHdr vnet;
};

// Datagrams of a burst or more; bytes as the kernel accounts them, doubled by it.
constexpr int kSocketBufferBytes = 4 << 20;

}  // namespace

bool open_handover(HandoverPair* pair, IoError* error) {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) != 0) {
    *error = system_error("socketpair", "a worker's handover");
    return false;
  }
  pair->receive = UniqueFd(ends[0]);
  pair->send = UniqueFd(ends[1]);
  // Beyond net.core.wmem_max with CAP_NET_ADMIN, else as far as that allows.
  const int bytes = kSocketBufferBytes;
  if (::setsockopt(ends[1], SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof bytes) != 0) {
    ::setsockopt(ends[1], SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes);
  }
  return true;
}

Handover::Handover(const HandoverEnds& ends, uint32_t worker) : ends_(ends), worker_(worker) {
  assert(ends_.send[worker] < 0 || open());
  if (open()) buffers_.reset(new uint8_t[size_t{kHandoverFrames} * kBufferBytes]);
}

bool Handover::send(uint32_t worker, const Packet& packet, Errand errand) const {
  assert(worker < kMaxWorkers);
  if (ends_.send[worker] < 0) return false;
  Label label{packet.frame.port, packet.fragment_bytes, errand, static_cast<uint16_t>(worker_),
              packet.frame.vnet};
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
    if (label.port >= ports || label.sender >= kMaxWorkers) continue;
    out[count] = Frame{};
    out[count].data = data;
    out[count].length = static_cast<uint32_t>(got) - static_cast<uint32_t>(sizeof label);
    out[count].headroom = kHeadroom;
    out[count].vnet = label.vnet;
    out[count].port = label.port;
    errands_[count] = label.errand;
    senders_[count] = label.sender;
    fragment_bytes_[count++] = label.fragment_bytes;
  }
  return count;
}

}  // namespace uvs
