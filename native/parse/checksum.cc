// In: bytes of a packet. Does: the loops of the Internet checksum (RFC 1071).
// Next: parse.cc compares, forward/ writes.
#include "parse/checksum.h"

#include "parse/packet.h"

namespace uvs {

uint64_t sum_bytes(const uint8_t* data, size_t length) {
  // 32-bit words into 64-bit accumulators: 65535 bytes cannot overflow them, so the loop has no
  // carry to wait for and the compiler may use vectors.
  uint64_t even = 0;
  uint64_t odd = 0;
  while (length >= 16) {
    const uint64_t first = load_raw64(data);
    const uint64_t second = load_raw64(data + 8);
    even += (first & 0xffffffffu) + (second & 0xffffffffu);
    odd += (first >> 32) + (second >> 32);
    data += 16;
    length -= 16;
  }
  while (length >= 4) {
    even += load32(data).raw;
    data += 4;
    length -= 4;
  }
  if (length >= 2) {
    odd += load16(data).raw;
    data += 2;
    length -= 2;
  }
  if (length != 0) odd += *data;  // the low byte of a little-endian word is the first
  return even + odd;
}

uint16_t transport_checksum(const Addr& source, const Addr& destination, uint8_t protocol,
                            const uint8_t* data, size_t length) {
  const uint64_t pseudo = sum_pseudo(source, destination, protocol, static_cast<uint32_t>(length));
  const uint16_t sum = static_cast<uint16_t>(~fold(add_sums(pseudo, sum_bytes(data, length))));
  return sum == 0 && protocol == kProtoUdp ? uint16_t{0xffff} : sum;
}

}  // namespace uvs
