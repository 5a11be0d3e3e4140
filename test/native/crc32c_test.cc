// CRC32c: known answers, the instruction against the table, and the checksum field of SCTP.
#include "parse/crc32c.h"

#include <cstring>
#include <random>
#include <vector>

#include "check.h"

namespace uvs {
namespace {

TEST(known_answers) {
  const char* digits = "123456789";
  CHECK_EQ(crc32c(reinterpret_cast<const uint8_t*>(digits), 9), 0xe3069283u);
  // RFC 3720 B.4.
  std::vector<uint8_t> bytes(32, 0);
  CHECK_EQ(crc32c(bytes.data(), 32), 0x8a9136aau);
  bytes.assign(32, 0xff);
  CHECK_EQ(crc32c(bytes.data(), 32), 0x62a8ab43u);
  for (uint8_t i = 0; i < 32; i++) bytes[i] = i;
  CHECK_EQ(crc32c(bytes.data(), 32), 0x46dd794eu);
  CHECK_EQ(crc32c(bytes.data(), 0), 0u);
}

// One bit at a time, as RFC 9260 appendix B says it.
uint32_t slow(const std::vector<uint8_t>& bytes) {
  uint32_t crc = ~0u;
  for (const uint8_t byte : bytes) {
    crc ^= byte;
    for (int bit = 0; bit < 8; bit++) crc = (crc >> 1) ^ ((crc & 1) != 0 ? 0x82f63b78u : 0u);
  }
  return ~crc;
}

TEST(all_lengths_and_offsets_agree) {
  std::mt19937 random(7);
  std::vector<uint8_t> bytes(600);
  for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(random());
  for (size_t length = 0; length < 70; length++) {
    for (size_t offset = 0; offset < 9; offset++) {
      const std::vector<uint8_t> part(&bytes[offset], &bytes[offset] + length);
      CHECK_EQ(crc32c(part.data(), length), slow(part));
      CHECK_EQ(crc32c(&bytes[offset], length), slow(part));
      CHECK_EQ(crc32c_portable(&bytes[offset], length), slow(part));
    }
  }
  CHECK_EQ(crc32c(bytes.data(), bytes.size()), slow(bytes));
}

TEST(the_field_itself_counts_as_zero) {
  std::vector<uint8_t> packet(40);
  for (size_t i = 0; i < packet.size(); i++) packet[i] = static_cast<uint8_t>(i * 11);
  std::vector<uint8_t> zeroed = packet;
  std::memset(&zeroed[8], 0, 4);
  CHECK_EQ(sctp_checksum(packet.data(), packet.size()), slow(zeroed));
  CHECK_EQ(sctp_checksum(packet.data(), 12), slow({zeroed.begin(), zeroed.begin() + 12}));
}

}  // namespace
}  // namespace uvs
