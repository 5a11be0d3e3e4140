// In: a mapped ring. Does: lends its frames in bursts, sends frames from where they lie.
// Next: the core parses them.
#include "io/af_packet.h"

#include <sys/mman.h>
#include <sys/socket.h>

#include <atomic>
#include <cerrno>
#include <cstring>

#include "shared.h"

namespace uvs {
namespace {

constexpr uint32_t kCopyBytes = (kHeadroom + kSuperFrameBytes + 63) & ~63u;

// Checks of the socket's error word while nothing arrives: rare, it costs a system call.
constexpr uint32_t kEmptyBursts = 256;

VnetHdr received(const uint8_t* at) {
  VnetHdr vnet;
  std::memcpy(&vnet, at, sizeof vnet);
  // VIRTIO_NET_HDR_F_DATA_VALID says something about how it came, nothing about how it leaves.
  vnet.flags &= kVnetNeedsCsum;
  return vnet;
}

}  // namespace

std::unique_ptr<AfPacketPort> AfPacketPort::attach(int fd, uint32_t ifindex, uint32_t ring_frames,
                                                   uint32_t* rx_index_word, IoError* error) {
  const RingShape shape = ring_shape(ring_frames);
  void* ring = ::mmap(nullptr, shape.bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (ring == MAP_FAILED) {
    *error = system_error("mmap", "receive ring");
    return nullptr;
  }
  return std::unique_ptr<AfPacketPort>(
      new AfPacketPort(fd, ifindex, shape, static_cast<uint8_t*>(ring), rx_index_word));
}

AfPacketPort::AfPacketPort(int fd, uint32_t ifindex, const RingShape& shape, uint8_t* ring,
                           uint32_t* rx_index_word)
    : fd_(fd),
      ifindex_(ifindex),
      frames_(shape.frames),
      ring_bytes_(shape.bytes),
      ring_(ring),
      rx_index_word_(rx_index_word),
      first_(shared::observe(*rx_index_word) % shape.frames),
      copy_buffers_(new uint8_t[size_t{kBurst} * kCopyBytes]) {}

AfPacketPort::~AfPacketPort() {
  release();
  ::munmap(ring_, ring_bytes_);
}

tpacket2_hdr* AfPacketPort::slot(uint32_t index) const {
  return reinterpret_cast<tpacket2_hdr*>(ring_ + size_t{index} * kFrameSlotBytes);
}

uint32_t AfPacketPort::rx_burst(Frame* out, uint32_t max) {
  uint32_t count = 0;
  uint32_t index = (first_ + lent_) % frames_;
  while (count < max && lent_ < frames_) {
    tpacket2_hdr* header = slot(index);
    // Acquire: the frame was written before the status.
    const uint32_t status = shared::observe(header->tp_status);
    if ((status & TP_STATUS_USER) == 0) break;
    if ((status & TP_STATUS_COPY) != 0 && copies_ == kBurst) break;
    index = index + 1 == frames_ ? 0 : index + 1;
    __builtin_prefetch(slot(index));
    lent_++;
    if (take(header, status, &out[count])) count++;
  }
  if (count != 0) {
    empty_ = 0;
    return count;
  }
  // Nothing was lent, so nobody will call: slots that were only skipped go back at once.
  release();
  if (++empty_ == kEmptyBursts) clear_socket_error();
  return 0;
}

// False: the slot is to be given back unseen.
bool AfPacketPort::take(tpacket2_hdr* header, uint32_t status, Frame* out) {
  if ((status & TP_STATUS_COPY) != 0) return fetch_copy(header, status, out);
  if ((status & TP_STATUS_VLAN_VALID) != 0) return false;  // of a VLAN, not of this interface
  if (header->tp_len != header->tp_snaplen) {
    // Too long for the slot, and the queue of whole frames was full.
    lost_++;
    return false;
  }
  uint8_t* base = reinterpret_cast<uint8_t*>(header);
  // Another CPU wrote the headers; parse() comes when the whole burst is taken.
  __builtin_prefetch(base + header->tp_mac);
  __builtin_prefetch(base + header->tp_mac + 64);
  *out = Frame{};
  out->data = base + header->tp_mac;
  out->length = header->tp_snaplen;
  out->headroom = header->tp_mac - static_cast<uint32_t>(TPACKET2_HDRLEN);
  out->vnet = received(out->data - kVnetHeaderBytes);
  return true;
}

bool AfPacketPort::fetch_copy(tpacket2_hdr* header, uint32_t status, Frame* out) {
  uint8_t* buffer = &copy_buffers_[size_t{copies_} * kCopyBytes];
  uint8_t* data = buffer + kHeadroom;
  const ssize_t got = ::recv(fd_, data - kVnetHeaderBytes, kVnetHeaderBytes + kSuperFrameBytes,
                             MSG_DONTWAIT | MSG_TRUNC);
  shared::publish(header->tp_status, status & ~static_cast<uint32_t>(TP_STATUS_COPY));
  if ((status & TP_STATUS_VLAN_VALID) != 0) return false;
  if (got < 0 || static_cast<size_t>(got) != kVnetHeaderBytes + size_t{header->tp_len} ||
      header->tp_len > kSuperFrameBytes) {
    lost_++;
    return false;
  }
  *out = Frame{};
  out->data = data;
  out->length = header->tp_len;
  out->headroom = kHeadroom;
  out->vnet = received(data - kVnetHeaderBytes);
  copies_++;
  return true;
}

void AfPacketPort::release() {
  if (lent_ == 0) return;
  for (uint32_t i = 0; i < lent_; i++) {
    // Release: we are done with the bytes before the kernel may write them.
    shared::publish(slot(first_)->tp_status, static_cast<uint32_t>(TP_STATUS_KERNEL));
    first_ = first_ + 1 == frames_ ? 0 : first_ + 1;
  }
  lent_ = 0;
  copies_ = 0;
  shared::publish(*rx_index_word_, first_);
}

uint32_t AfPacketPort::tx_burst(const Frame* frames, uint32_t count, int* error) {
  mmsghdr messages[kBurst];
  iovec parts[kBurst];
  uint32_t sent = 0;
  while (sent < count) {
    const uint32_t batch = count - sent < kBurst ? count - sent : kBurst;
    for (uint32_t i = 0; i < batch; i++) {
      const Frame& frame = frames[sent + i];
      uint8_t* start = frame.data - kVnetHeaderBytes;
      std::memcpy(start, &frame.vnet, kVnetHeaderBytes);
      parts[i] = iovec{start, kVnetHeaderBytes + size_t{frame.length}};
      messages[i] = mmsghdr{};
      messages[i].msg_hdr.msg_iov = &parts[i];
      messages[i].msg_hdr.msg_iovlen = 1;
    }
    const int taken = ::sendmmsg(fd_, messages, batch, MSG_DONTWAIT);
    if (taken < 0) {
      if (errno == EINTR) continue;
      // Of the first frame: sendmmsg keeps quiet about an error behind a frame that went out.
      *error = errno;
      return sent;
    }
    sent += static_cast<uint32_t>(taken);
  }
  return sent;
}

uint64_t AfPacketPort::rx_dropped() {
  tpacket_stats stats{};
  socklen_t bytes = sizeof stats;
  uint64_t dropped = lost_;
  lost_ = 0;
  // Reading resets the kernel's count.
  if (::getsockopt(fd_, SOL_PACKET, PACKET_STATISTICS, &stats, &bytes) == 0) {
    dropped += stats.tp_drops;
  }
  return dropped;
}

// An interface that went down leaves ENETDOWN on the socket, and poll() reports the socket ready
// until somebody reads it: without this a worker would spin after the interface came back.
void AfPacketPort::clear_socket_error() {
  empty_ = 0;
  int number = 0;
  socklen_t bytes = sizeof number;
  ::getsockopt(fd_, SOL_SOCKET, SO_ERROR, &number, &bytes);
}

}  // namespace uvs
