// In: bytes of an SCTP packet. Does: CRC32c, with the processor's instruction where every machine
// of the build has it (x86-64-v2). Next: forward/ writes it.
//
// The register runs reflected, as SCTP sends it: no bit is turned anywhere.
#include "parse/crc32c.h"

#include <array>
#if defined(__SSE4_2__)
#include <nmmintrin.h>
#endif

#include "parse/sctp.h"

namespace uvs {
namespace {

constexpr uint32_t kPolynomial = 0x82f63b78;  // 0x1edc6f41 reflected

constexpr std::array<uint32_t, 256> make_table() {
  std::array<uint32_t, 256> table{};
  for (uint32_t byte = 0; byte < table.size(); byte++) {
    uint32_t crc = byte;
    for (int bit = 0; bit < 8; bit++) crc = (crc >> 1) ^ ((crc & 1) != 0 ? kPolynomial : 0);
    table[byte] = crc;
  }
  return table;
}
constexpr std::array<uint32_t, 256> kTable = make_table();

uint32_t extend_portable(uint32_t crc, const uint8_t* data, size_t length) {
  for (; length != 0; data++, length--) crc = (crc >> 8) ^ kTable[(crc ^ *data) & 0xff];
  return crc;
}

uint32_t extend(uint32_t crc, const uint8_t* data, size_t length) {
#if defined(__SSE4_2__)
  uint64_t wide = crc;
  for (; length >= 8; data += 8, length -= 8) wide = _mm_crc32_u64(wide, load_raw64(data));
  crc = static_cast<uint32_t>(wide);
  for (; length != 0; data++, length--) crc = _mm_crc32_u8(crc, *data);
  return crc;
#else
  return extend_portable(crc, data, length);
#endif
}

}  // namespace

uint32_t crc32c(const uint8_t* data, size_t length) { return ~extend(~0u, data, length); }

uint32_t crc32c_portable(const uint8_t* data, size_t length) {
  return ~extend_portable(~0u, data, length);
}

uint32_t sctp_checksum(const uint8_t* packet, size_t length) {
  const uint8_t zeros[4] = {};
  uint32_t crc = extend(~0u, packet, kSctpChecksumOffset);
  crc = extend(crc, zeros, sizeof zeros);
  return ~extend(crc, packet + kSctpBytes, length - kSctpBytes);
}

}  // namespace uvs
