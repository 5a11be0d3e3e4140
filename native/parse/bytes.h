// Loads and stores of network-order integers at any address. Packets are not aligned, so every
// access goes through memcpy, which compilers turn into one plain load or store.
#pragma once
#include <cstdint>
#include <cstring>

#include "addr.h"

namespace uvs {

inline Be16 load16(const uint8_t* at) {
  Be16 v;
  std::memcpy(&v.raw, at, sizeof v.raw);
  return v;
}

inline Be32 load32(const uint8_t* at) {
  Be32 v;
  std::memcpy(&v.raw, at, sizeof v.raw);
  return v;
}

inline void store16(uint8_t* at, Be16 v) { std::memcpy(at, &v.raw, sizeof v.raw); }
inline void store32(uint8_t* at, Be32 v) { std::memcpy(at, &v.raw, sizeof v.raw); }

// Eight bytes as they stand in memory: only for sums and comparisons, which know no byte order.
inline uint64_t load_raw64(const uint8_t* at) {
  uint64_t v;
  std::memcpy(&v, at, sizeof v);
  return v;
}
inline void store_raw64(uint8_t* at, uint64_t v) { std::memcpy(at, &v, sizeof v); }

}  // namespace uvs
