// In: the ends of a new connection, a secret, the time. Does: chooses its first sequence number.
// Next: fullnat.cc keeps the difference to the client's.
#include "forward/secure_isn.h"

#include <bit>
#include <cstring>

namespace uvs {
namespace {

constexpr uint32_t kUnitsPerMs = 1'000'000 / 64;

struct SipState {
  uint64_t v0, v1, v2, v3;

  void round() {
    v0 += v1;
    v1 = std::rotl(v1, 13) ^ v0;
    v0 = std::rotl(v0, 32);
    v2 += v3;
    v3 = std::rotl(v3, 16) ^ v2;
    v0 += v3;
    v3 = std::rotl(v3, 21) ^ v0;
    v2 += v1;
    v1 = std::rotl(v1, 17) ^ v2;
    v2 = std::rotl(v2, 32);
  }
  void word(uint64_t m) {
    v3 ^= m;
    round();
    round();
    v0 ^= m;
  }
};

}  // namespace

uint64_t siphash24(const SipKey& key, const uint8_t* data, size_t bytes) {
  SipState state{key.k0 ^ 0x736f6d6570736575u, key.k1 ^ 0x646f72616e646f6du,
                 key.k0 ^ 0x6c7967656e657261u, key.k1 ^ 0x7465646279746573u};
  size_t at = 0;
  for (; at + 8 <= bytes; at += 8) {
    uint64_t m;
    std::memcpy(&m, data + at, 8);
    state.word(m);
  }
  uint64_t last = static_cast<uint64_t>(bytes) << 56;
  std::memcpy(&last, data + at, bytes - at);
  state.word(last);
  state.v2 ^= 0xff;
  for (int i = 0; i < 4; i++) state.round();
  return state.v0 ^ state.v1 ^ state.v2 ^ state.v3;
}

uint32_t secure_isn(const SipKey& secret, const FlowKey& ends, uint32_t now_ms) {
  uint8_t message[36];
  std::memcpy(message, ends.source.bytes, 16);
  std::memcpy(message + 16, ends.destination.bytes, 16);
  std::memcpy(message + 32, &ends.source_port.raw, 2);
  std::memcpy(message + 34, &ends.destination_port.raw, 2);
  const auto hash = static_cast<uint32_t>(siphash24(secret, message, sizeof message));
  return hash + now_ms * kUnitsPerMs;
}

}  // namespace uvs
