// Initial sequence numbers that grow for whoever comes next on the same pair of ends and cannot be
// guessed from outside (RFC 6528; spec 12.6).
#pragma once
#include <cstddef>
#include <cstdint>

#include "parse/packet.h"

namespace uvs {

struct SipKey {
  uint64_t k0;
  uint64_t k1;
};

// SipHash-2-4 (Aumasson, Bernstein 2012) of `bytes`.
uint64_t siphash24(const SipKey& key, const uint8_t* data, size_t bytes);

// Hash of the four ends under a secret plus a clock of 64 ns units, made of milliseconds.
uint32_t secure_isn(const SipKey& secret, const FlowKey& ends, uint32_t now_ms);

}  // namespace uvs
