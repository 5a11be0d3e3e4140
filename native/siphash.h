// SipHash-2-4 (Aumasson and Bernstein, 2012) over whole 64-bit words: a keyed hash that nobody can
// compute or invert without the key, for what a stranger must not be able to forge.
#pragma once
#include <bit>
#include <cstddef>
#include <cstdint>

namespace uvs {

struct SipKey {
  uint64_t low;
  uint64_t high;
};

// The hash of Words * 8 bytes as they stand in memory (little-endian words).
template <size_t Words>
uint64_t siphash(const SipKey& key, const uint64_t (&words)[Words]) {
  uint64_t a = key.low ^ 0x736f6d6570736575u;
  uint64_t b = key.high ^ 0x646f72616e646f6du;
  uint64_t c = key.low ^ 0x6c7967656e657261u;
  uint64_t d = key.high ^ 0x7465646279746573u;
  const auto round = [&] {
    a += b;
    b = std::rotl(b, 13) ^ a;
    a = std::rotl(a, 32);
    c += d;
    d = std::rotl(d, 16) ^ c;
    a += d;
    d = std::rotl(d, 21) ^ a;
    c += b;
    b = std::rotl(b, 17) ^ c;
    c = std::rotl(c, 32);
  };
  const auto absorb = [&](uint64_t word) {
    d ^= word;
    round();
    round();
    a ^= word;
  };
  for (const uint64_t word : words) absorb(word);
  absorb(uint64_t{Words * 8} << 56);
  c ^= 0xff;
  for (int i = 0; i < 4; i++) round();
  return a ^ b ^ c ^ d;
}

}  // namespace uvs
