// A port whose frames come from and go to arrays: tests and benchmarks, no kernel.
//
// Two ways in: inject() queues a frame that is lent once; load() + replay() lends a fixed set of
// frames over and over, restoring only the header bytes that rewriting spoils.
#pragma once
#include <cstdint>
#include <deque>
#include <memory>
#include <vector>

#include "io/port.h"

namespace uvs {

// A frame that was sent: its bytes and its offload metadata.
struct SentFrame {
  std::vector<uint8_t> bytes;
  VnetHdr vnet;
};

class MemoryPort : public Port {
 public:
  explicit MemoryPort(Link link = Link::kEthernet, uint32_t ifindex = 0)
      : link_(link), ifindex_(ifindex) {}

  // Queues a copy of one frame of at most kSuperFrameBytes; false: longer than that.
  bool inject(const uint8_t* data, uint32_t length, const VnetHdr& vnet = {});
  uint32_t waiting() const { return static_cast<uint32_t>(queue_.size()); }

  // Adds a frame to the set that replay() lends; false: longer than kFrameSlotBytes.
  bool load(const uint8_t* data, uint32_t length, const VnetHdr& vnet = {});
  // Lends `frames` frames of the loaded set from now on, in order and wrapping around. At most
  // `loaded` frames may be lent between two release() calls.
  void replay(uint64_t frames) { replay_left_ = frames; }

  // Keep copies of sent frames (default) or only count them.
  void keep_sent(bool keep) { keep_ = keep; }
  // Frames sent since the last call, in order.
  std::vector<SentFrame> take_sent();
  uint64_t sent_frames() const { return sent_frames_; }
  uint64_t sent_bytes() const { return sent_bytes_; }

  // From now on only `frames` more frames are taken; then tx_burst() fails with `error`.
  void limit_tx(uint64_t frames, int error);
  void unlimit_tx() { tx_left_ = UINT64_MAX; }

  uint32_t rx_burst(Frame* out, uint32_t max) override;
  void release() override;
  uint32_t tx_burst(const Frame* frames, uint32_t count, int* error) override;
  Link link() const override { return link_; }
  int poll_fd() const override { return -1; }
  uint32_t ifindex() const override { return ifindex_; }
  uint64_t rx_dropped() override { return 0; }

 private:
  static constexpr uint32_t kSpoiledBytes = 128;  // headers that a rewrite may touch

  struct Stored {
    std::unique_ptr<uint8_t[]> buffer;  // kHeadroom, then the frame
    uint32_t length;
    VnetHdr vnet;
    uint8_t pristine[kSpoiledBytes];
  };
  static Stored store(const uint8_t* data, uint32_t length, const VnetHdr& vnet);
  static Frame lend(Stored& stored);

  Link link_;
  uint32_t ifindex_;
  std::deque<Stored> queue_;  // injected, not lent yet
  std::vector<Stored> lent_;  // injected, lent until release()
  std::vector<Stored> loaded_;
  uint64_t replay_left_ = 0;
  size_t replay_next_ = 0;
  uint32_t replay_lent_ = 0;
  bool keep_ = true;
  std::vector<SentFrame> sent_;
  uint64_t sent_frames_ = 0;
  uint64_t sent_bytes_ = 0;
  uint64_t tx_left_ = UINT64_MAX;
  int tx_error_ = 0;
};

}  // namespace uvs
