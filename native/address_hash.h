// A hash of addresses for small tables that no one needs to be kept from guessing: a crowded entry
// costs some time, never correctness.
#pragma once
#include <cstdint>

#include "addr.h"

namespace uvs {

// 64 well mixed bits; `more` is hashed with the address. In memory order the changing bytes of an
// address are the high ones, so they are folded down before each multiplication.
inline uint64_t hash_address(const Addr& address, uint32_t more = 0) {
  uint64_t mixed = address.low() ^ (address.high() * 0x9e3779b97f4a7c15u) ^ more;
  mixed = (mixed ^ mixed >> 32) * 0xff51afd7ed558ccdu;
  mixed = (mixed ^ mixed >> 32) * 0xc4ceb9fe1a85ec53u;
  return mixed ^ mixed >> 32;
}

}  // namespace uvs
