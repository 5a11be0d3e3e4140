// In: how many packets of which flows. Does: writes them into reused buffers, fresh each time,
// since the core rewrites in place. Next: the core takes them as from any port.
// The TCP checksum is not filled in: nothing on the packet path reads it (spec 5.5.2).
#include "io/generator_port.h"

#include <cstring>

#include "addr.h"

namespace uvs {
namespace {

constexpr uint32_t kClientBase = 0xc6120000;  // 198.18.0.0
constexpr uint32_t kPortsPerClient = 50000;
constexpr uint16_t kFirstPort = 1024;
// MSS 1460, SACK permitted, timestamps, window scale 7.
constexpr uint8_t kOptions[20] = {2, 4, 5, 180, 4, 2, 8, 10, 0, 0, 0, 7, 0, 0, 0, 0, 1, 3, 3, 7};
constexpr uint32_t kTcpAt = 34;
constexpr uint32_t kPlainBytes = 64;  // one cache line, all of a frame without options

}  // namespace

GeneratorPort::GeneratorPort(uint32_t virtual_address, uint16_t virtual_port, bool with_options)
    : buffers_(new uint8_t[size_t{kBurst} * kBufferBytes]) {
  uint8_t* p = pristine_;
  const uint8_t link[14] = {2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x08, 0x00};
  std::memcpy(p, link, sizeof link);
  const uint8_t ip[20] = {0x45, 0, 0, 46, 0, 0, 0x40, 0, 64, 6};
  std::memcpy(p + 14, ip, sizeof ip);
  const uint32_t address = Be32::of(virtual_address).raw;
  std::memcpy(p + 30, &address, 4);
  const uint16_t port = Be16::of(virtual_port).raw;
  std::memcpy(p + 36, &port, 2);
  p[46] = 5 << 4;
  if (with_options) {
    p[17] = 60;
    p[46] = 10 << 4;
    std::memcpy(p + kTcpAt + 20, kOptions, sizeof kOptions);
    frame_bytes_ = kTcpAt + 40;
  }
  for (int i = 0; i < 20; i += 2) {
    uint16_t word;
    std::memcpy(&word, p + 14 + i, 2);
    header_sum_ += word;
  }
}

void GeneratorPort::arm(uint64_t count, uint32_t first, uint32_t flows, uint32_t stride,
                        uint8_t tcp_flags) {
  left_ = count;
  first_ = first;
  flows_ = flows;
  stride_ = stride % flows == 0 ? 1 : stride % flows;
  position_ = 0;
  pristine_[47] = tcp_flags;
}

void GeneratorPort::write_flow(uint8_t* frame, uint32_t flow) const {
  std::memcpy(frame, pristine_, kPlainBytes);
  if (frame_bytes_ > kPlainBytes) {
    std::memcpy(frame + kPlainBytes, pristine_ + kPlainBytes, sizeof pristine_ - kPlainBytes);
  }
  const uint32_t client = Be32::of(kClientBase + flow / kPortsPerClient).raw;
  const uint16_t port = Be16::of(static_cast<uint16_t>(kFirstPort + flow % kPortsPerClient)).raw;
  std::memcpy(frame + 26, &client, 4);
  std::memcpy(frame + 34, &port, 2);
  uint32_t sum = header_sum_ + (client & 0xffff) + (client >> 16);
  sum = (sum & 0xffff) + (sum >> 16);
  sum = (sum & 0xffff) + (sum >> 16);
  const auto check = static_cast<uint16_t>(~sum);
  std::memcpy(frame + 24, &check, 2);
}

uint32_t GeneratorPort::rx_burst(Frame* out, uint32_t max) {
  const auto count = static_cast<uint32_t>(left_ < max ? left_ : max);
  for (uint32_t i = 0; i < count; i++) {
    uint8_t* data = &buffers_[size_t{i} * kBufferBytes] + kHeadroom;
    write_flow(data, first_ + position_);
    position_ += stride_;
    if (position_ >= flows_) position_ -= flows_;
    out[i] = Frame{};
    out[i].data = data;
    out[i].length = frame_bytes_;
    out[i].headroom = kHeadroom;
  }
  left_ -= count;
  return count;
}

uint32_t GeneratorPort::tx_burst(const Frame*, uint32_t count, int*) {
  sent_ += count;
  return count;
}

}  // namespace uvs
