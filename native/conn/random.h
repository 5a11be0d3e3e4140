// Numbers drawn by chance, the same for the same seed; nothing that must not be guessed.
#pragma once
#include <cstdint>

namespace uvs {

class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}

  // A number below `below`, which is not 0: SplitMix64 (Steele, Lea, Flood 2014), brought there by
  // multiplication.
  uint32_t draw(uint32_t below) {
    uint64_t z = state_ += 0x9e3779b97f4a7c15;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return static_cast<uint32_t>(((z >> 32) * below) >> 32);
  }

 private:
  uint64_t state_;
};

}  // namespace uvs
