// The tun port: one queue of a layer-3 TUN device with offload metadata (Documentation/networking/
// tuntap.rst). Main opens the device with all its queues and keeps them open; a worker borrows one.
// The device goes away with the last descriptor.
//
// There is no batched system call for TUN: a burst is one read or write per frame. AF_PACKET is the
// faster port; TUN needs no link layer and is the way to the host's own stack.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "io/io_error.h"
#include "io/port.h"
#include "io/unique_fd.h"

namespace uvs {

struct TunOptions {
  std::string name = "uvs0";
  uint32_t queues = 1;
  uint32_t mtu = 1500;
  uint32_t queue_frames = 4096;  // txqueuelen: frames that wait in the kernel, per queue
  int steering_program = -1;     // chooses the queue when queues > 1
};

struct TunDevice {
  std::vector<UniqueFd> queues;  // in the order the steering program numbers them
  uint32_t ifindex = 0;
};

// Makes the device, sets it up and brings it up. EEXIST: there is an interface of that name.
bool open_tun(const TunOptions& options, TunDevice* device, IoError* error);

class TunPort : public Port {
 public:
  // `fd` is borrowed.
  TunPort(int fd, uint32_t ifindex);

  uint32_t rx_burst(Frame* out, uint32_t max) override;
  void release() override { lent_ = 0; }
  uint32_t tx_burst(const Frame* frames, uint32_t count, int* error) override;
  Link link() const override { return Link::kIp; }
  int poll_fd() const override { return fd_; }
  uint32_t ifindex() const override { return ifindex_; }
  // Always 0: the device counts for all its queues together (`ip -s link`, TX dropped).
  uint64_t rx_dropped() override { return 0; }

 private:
  int fd_;
  uint32_t ifindex_;
  uint32_t lent_ = 0;  // buffers lent since release()
  std::unique_ptr<uint8_t[]> buffers_;
};

}  // namespace uvs
