// The af_packet port: a worker's view of a packet socket that main has opened.
//
// Theory of operation. Ordinary frames lie in a TPACKET_V2 ring that the kernel and this process
// share. A slot belongs to the kernel or to us by its status word:
//
//   status                 who may touch the slot      who moves it on
//   TP_STATUS_KERNEL       kernel                      kernel, when it has put a frame there
//   TP_STATUS_USER set     this port; lent in a Frame  release(): back to KERNEL
//
// A frame that does not fit a slot is queued whole on the socket and its slot says TP_STATUS_COPY;
// queue and ring are in the same order (the kernel fills both under one lock), so recv() gives the
// frame that belongs to the slot. COPY is cleared once it was fetched: a later owner of the ring
// then knows that the queue has moved past it.
//
// The place in the ring (first slot not given back) is kept in a shared word, not in this object:
// a worker's replacement goes on exactly there.
#pragma once
#include <linux/if_packet.h>

#include <cstdint>
#include <memory>

#include "io/io_error.h"
#include "io/packet_socket.h"
#include "io/port.h"

namespace uvs {

class AfPacketPort : public Port {
 public:
  // `fd` is borrowed; `ring_frames` as it was opened with; `rx_index_word` outlives the port.
  // Null and `*error` filled when the ring cannot be mapped.
  static std::unique_ptr<AfPacketPort> attach(int fd, uint32_t ifindex, uint32_t ring_frames,
                                              uint32_t* rx_index_word, IoError* error);
  ~AfPacketPort() override;
  AfPacketPort(const AfPacketPort&) = delete;
  AfPacketPort& operator=(const AfPacketPort&) = delete;

  uint32_t rx_burst(Frame* out, uint32_t max) override;
  void release() override;
  uint32_t tx_burst(const Frame* frames, uint32_t count, int* error) override;
  Link link() const override { return Link::kEthernet; }
  int poll_fd() const override { return fd_; }
  uint32_t ifindex() const override { return ifindex_; }
  uint64_t rx_dropped() override;

 private:
  AfPacketPort(int fd, uint32_t ifindex, const RingShape& shape, uint8_t* ring,
               uint32_t* rx_index_word);
  tpacket2_hdr* slot(uint32_t index) const;
  bool take(tpacket2_hdr* header, uint32_t status, Frame* out);
  bool fetch_copy(tpacket2_hdr* header, uint32_t status, Frame* out);
  void clear_socket_error();

  int fd_;
  uint32_t ifindex_;
  uint32_t frames_;
  uint64_t ring_bytes_;
  uint8_t* ring_;
  uint32_t* rx_index_word_;
  uint32_t first_;                           // first slot that was not given back
  uint32_t lent_ = 0;                        // slots taken since release(), from first_ on
  uint32_t copies_ = 0;                      // super-packet buffers lent since release()
  uint32_t empty_ = 0;                       // bursts in a row that found nothing
  uint64_t lost_ = 0;                        // frames that could not be taken whole
  std::unique_ptr<uint8_t[]> copy_buffers_;  // kBurst of kCopyBytes
};

}  // namespace uvs
