// A port for the in-memory benchmark: makes one packet of a numbered flow after the other and
// counts what is sent. Nothing is read from or written to the kernel.
#pragma once
#include <memory>
#include <vector>

#include "io/port.h"

namespace uvs {

// Flow i of n is client 198.18.0.0 + i / 50000, port 1024 + i % 50000 (IPv4 TCP, 60-byte frames, or
// 74 bytes with the options of a Linux client's SYN).
class GeneratorPort : public Port {
 public:
  // Frames go to `virtual_address`:`virtual_port` (host order).
  GeneratorPort(uint32_t virtual_address, uint16_t virtual_port, bool with_options = false);

  // From now on: `count` packets of flows first .. first + flows - 1, every one with `tcp_flags`.
  // `stride` 1 walks them in order; a large stride coprime to `flows` visits them as if at random.
  void arm(uint64_t count, uint32_t first, uint32_t flows, uint32_t stride, uint8_t tcp_flags);
  uint64_t left() const { return left_; }
  uint64_t sent() const { return sent_; }

  uint32_t rx_burst(Frame* out, uint32_t max) override;
  void release() override {}
  uint32_t tx_burst(const Frame* frames, uint32_t count, int* error) override;
  Link link() const override { return Link::kEthernet; }
  int poll_fd() const override { return -1; }
  uint32_t ifindex() const override { return 0; }
  uint64_t rx_dropped() override { return 0; }

 private:
  static constexpr uint32_t kBufferBytes = 256;
  void write_flow(uint8_t* frame, uint32_t flow) const;

  uint8_t pristine_[80] = {};
  uint32_t frame_bytes_ = 60;
  uint32_t header_sum_ = 0;  // IPv4 header words without client address, not folded
  std::unique_ptr<uint8_t[]> buffers_;
  uint64_t left_ = 0;
  uint64_t sent_ = 0;
  uint32_t first_ = 0;
  uint32_t flows_ = 1;
  uint32_t stride_ = 1;
  uint32_t position_ = 0;
};

}  // namespace uvs
