// The Internet checksum: full (RFC 1071) and incremental (RFC 1624, equation 3).
//
// Theory of operation. The checksum is a one's complement sum of 16-bit words, and that sum does
// not care about byte order (RFC 1071 2 B) nor about the width of the words added, as long as the
// carries come back in at the bottom: adding 64-bit words and folding 64 to 16 bits at the end
// gives the same 16 bits. So every sum here is a uint64_t of words as they stand in memory, and
// every finished checksum is a uint16_t as it stands in the packet; nothing is swapped.
//
// A change of some words from m to m' is the sum of ~m and m'. It is worked out once and can be
// added to every checksum that covers the words.
#pragma once
#include <bit>
#include <cstddef>

#include "parse/bytes.h"

namespace uvs {

// One's complement addition: the carry comes back in at the bottom.
inline uint64_t add_sums(uint64_t a, uint64_t b) {
  const uint64_t sum = a + b;
  return sum + (sum < a);
}

// A sum in 32 bits: both halves added by turning the word by half, the carry in the upper one.
inline uint32_t fold32(uint64_t sum) {
  return static_cast<uint32_t>((sum + std::rotl(sum, 32)) >> 32);
}

// A sum in 16 bits; 0 only if every word added was 0.
inline uint16_t fold(uint64_t sum) {
  const uint32_t half = fold32(sum);
  return static_cast<uint16_t>((half + std::rotl(half, 16)) >> 16);
}

// Sum of `length` bytes at any address; an odd last byte counts as the first of its word.
uint64_t sum_bytes(const uint8_t* data, size_t length);

// Sum of a 20-byte header: five words, no loop.
inline uint64_t sum_header20(const uint8_t* at) {
  const uint64_t last = load32(at + 16).raw;
  return add_sums(add_sums(load_raw64(at), load_raw64(at + 8)), last);
}

// Sum of the pseudo-header (RFC 9293 3.1, RFC 8200 8.1) for `length` bytes of transport. One form
// for both families: the prefix of an IPv4-mapped address adds 0xffff, which is zero here.
inline uint64_t sum_pseudo(const Addr& source, const Addr& destination, uint8_t protocol,
                           uint32_t length) {
  const uint64_t from = add_sums(source.high(), source.low());
  const uint64_t to = add_sums(destination.high(), destination.low());
  const uint64_t rest =
      static_cast<uint64_t>(Be32::of(length).raw) + (static_cast<uint64_t>(protocol) << 8);
  return add_sums(add_sums(from, to), rest);
}

// Checksum of `length` bytes whose own checksum field is 0, as it stands in the packet.
inline uint16_t checksum_of(const uint8_t* data, size_t length) {
  return static_cast<uint16_t>(~fold(sum_bytes(data, length)));
}

// Checksum of a TCP, UDP or ICMPv6 message with its pseudo-header; its own field must be 0. A UDP
// checksum that comes out as 0 is given as 0xffff (RFC 768).
uint16_t transport_checksum(const Addr& source, const Addr& destination, uint8_t protocol,
                            const uint8_t* data, size_t length);

// What a change of words adds to a sum (RFC 1624). Every difference is below 2^34, so that several
// of them may be added with a plain +.
inline uint64_t difference16(Be16 old, Be16 now) {
  return static_cast<uint64_t>(static_cast<uint16_t>(~old.raw)) + now.raw;
}
inline uint64_t difference32(uint32_t old_raw, uint32_t now_raw) {
  return static_cast<uint64_t>(~old_raw) + now_raw;
}
inline uint64_t difference64(uint64_t old_raw, uint64_t now_raw) {
  return static_cast<uint64_t>(fold32(~old_raw)) + fold32(now_raw);
}
// 16 bytes each, an IPv6 address.
inline uint64_t difference128(const uint8_t* old, const uint8_t* now) {
  return difference64(load_raw64(old), load_raw64(now)) +
         difference64(load_raw64(old + 8), load_raw64(now + 8));
}

// A checksum after the words it covers changed by `difference`.
inline uint16_t update_checksum(uint16_t checksum, uint64_t difference) {
  const uint16_t sum = static_cast<uint16_t>(~checksum);
  return static_cast<uint16_t>(~fold(difference + sum));
}

}  // namespace uvs
