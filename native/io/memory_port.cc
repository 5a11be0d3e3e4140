// In: frames from a test or benchmark. Does: lends copies of them, keeps what is sent.
// Next: the core takes them as from any port.
#include "io/memory_port.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace uvs {

MemoryPort::Stored MemoryPort::store(const uint8_t* data, uint32_t length, const VnetHdr& vnet) {
  Stored stored{std::make_unique<uint8_t[]>(kHeadroom + length), length, vnet, {}};
  std::memcpy(stored.buffer.get() + kHeadroom, data, length);
  std::memcpy(stored.pristine, data, std::min(length, kSpoiledBytes));
  return stored;
}

Frame MemoryPort::lend(Stored& stored) {
  Frame frame;
  frame.data = stored.buffer.get() + kHeadroom;
  frame.length = stored.length;
  frame.headroom = kHeadroom;
  frame.vnet = stored.vnet;
  return frame;
}

bool MemoryPort::inject(const uint8_t* data, uint32_t length, const VnetHdr& vnet) {
  if (length > kSuperFrameBytes) return false;
  queue_.push_back(store(data, length, vnet));
  return true;
}

bool MemoryPort::load(const uint8_t* data, uint32_t length, const VnetHdr& vnet) {
  if (length > kFrameSlotBytes) return false;
  loaded_.push_back(store(data, length, vnet));
  return true;
}

uint32_t MemoryPort::rx_burst(Frame* out, uint32_t max) {
  uint32_t count = 0;
  for (; count < max && !queue_.empty(); count++) {
    lent_.push_back(std::move(queue_.front()));
    queue_.pop_front();
    out[count] = lend(lent_.back());
  }
  while (count < max && replay_left_ > 0 && replay_lent_ < loaded_.size()) {
    Stored& stored = loaded_[replay_next_];
    std::memcpy(stored.buffer.get() + kHeadroom, stored.pristine,
                std::min(stored.length, kSpoiledBytes));
    out[count++] = lend(stored);
    replay_next_ = replay_next_ + 1 == loaded_.size() ? 0 : replay_next_ + 1;
    replay_left_--;
    replay_lent_++;
  }
  return count;
}

void MemoryPort::release() {
  lent_.clear();
  replay_lent_ = 0;
}

uint32_t MemoryPort::tx_burst(const Frame* frames, uint32_t count, int* error) {
  const auto taken = static_cast<uint32_t>(std::min<uint64_t>(count, tx_left_));
  for (uint32_t i = 0; i < taken; i++) {
    sent_bytes_ += frames[i].length;
    if (!keep_) continue;
    sent_.push_back({{frames[i].data, frames[i].data + frames[i].length}, frames[i].vnet});
  }
  sent_frames_ += taken;
  if (tx_left_ != UINT64_MAX) tx_left_ -= taken;
  if (taken < count) *error = tx_error_;
  return taken;
}

std::vector<SentFrame> MemoryPort::take_sent() { return std::exchange(sent_, {}); }

void MemoryPort::limit_tx(uint64_t frames, int error) {
  tx_left_ = frames;
  tx_error_ = error;
}

}  // namespace uvs
