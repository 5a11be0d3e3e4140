// The Internet checksum against an obvious one, and the examples of the RFCs.
#include "parse/checksum.h"

#include "check.h"
#include "packet_text.h"

namespace uvs {
namespace {

using test::Bytes;
using test::Random;

Bytes RandomBytes(Random& random, size_t bytes) {
  Bytes out(bytes);
  for (uint8_t& b : out) b = static_cast<uint8_t>(random.Next());
  return out;
}

uint16_t HostSum(uint64_t sum) { return Be16{fold(sum)}.host(); }

}  // namespace

TEST(checksum_example_of_rfc1071) {
  const Bytes data = test::Hex("0001 f203 f4f5 f6f7");
  CHECK_EQ(HostSum(sum_bytes(data.data(), data.size())), 0xddf2);
  CHECK_EQ(Be16{checksum_of(data.data(), data.size())}.host(), 0x220d);
}

TEST(checksum_example_of_rfc1624) {
  // Section 4: a word 0x5555 becomes 0x3285; equation 3 gives 0x0000, not 0xffff.
  const uint16_t before = Be16::of(0xdd2f).raw;
  const uint64_t change = difference16(Be16::of(0x5555), Be16::of(0x3285));
  CHECK_EQ(update_checksum(before, change), 0);
}

TEST(checksum_equals_slow_sum_at_every_length_and_alignment) {
  Random random(1);
  for (size_t length = 0; length < 130; length++) {
    for (size_t shift = 0; shift < 8; shift++) {
      const Bytes data = RandomBytes(random, length);
      const std::unique_ptr<uint8_t[]> memory(new uint8_t[shift + length]);
      if (length != 0) std::memcpy(memory.get() + shift, data.data(), length);
      CHECK_EQ(HostSum(sum_bytes(memory.get() + shift, length)), test::SlowSum(data));
    }
  }
}

TEST(checksum_of_the_longest_packet_does_not_overflow) {
  for (const uint8_t fill : {uint8_t{0xff}, uint8_t{0}, uint8_t{0x80}}) {
    const Bytes data(kMaxIpBytes, fill);
    CHECK_EQ(HostSum(sum_bytes(data.data(), data.size())), test::SlowSum(data));
  }
}

TEST(checksum_fold_of_extremes) {
  CHECK_EQ(fold(0), 0);
  CHECK_EQ(fold(~uint64_t{0}), 0xffff);
  CHECK_EQ(fold(0xffff), 0xffff);
  CHECK_EQ(fold(0x10000), 1);
  CHECK_EQ(fold(0xffffffff00000000u), 0xffff);
  CHECK_EQ(add_sums(~uint64_t{0}, 1), 1);
}

TEST(checksum_pseudo_header_of_both_families) {
  const std::string pairs[][2] = {{"198.18.0.1", "198.19.255.254"},
                                  {"255.255.255.255", "0.0.0.0"},
                                  {"2001:db8::1", "2001:db8:ffff:ffff::ffff"}};
  for (const auto& [from, to] : pairs) {
    for (const uint32_t length : {8u, 1480u, 65535u}) {
      const Bytes slow = test::Pseudo(test::AddressBytes(from), test::AddressBytes(to), 6, length);
      const uint64_t sum = sum_pseudo(test::Address(from), test::Address(to), 6, length);
      CHECK_EQ(HostSum(sum), test::SlowSum(slow));
    }
  }
}

TEST(checksum_of_udp_is_never_zero) {
  // Two bytes of payload are chosen so that the sum over all comes out as 0xffff.
  const Addr from = test::Address("198.18.0.1");
  const Addr to = test::Address("198.18.0.2");
  Bytes message = test::Hex("0035 9c40 000a 0000 0000");
  const Bytes pseudo =
      test::Pseudo(test::AddressBytes("198.18.0.1"), test::AddressBytes("198.18.0.2"), 17, 10);
  test::Set16(message, 8, 0xffff - test::SlowSum(message, test::SlowSum(pseudo)));
  CHECK_EQ(transport_checksum(from, to, kProtoUdp, message.data(), message.size()), 0xffff);
  // The same sum is 0 where 0 has no other meaning.
  test::Set16(message, 8, 0);
  const Bytes as_tcp =
      test::Pseudo(test::AddressBytes("198.18.0.1"), test::AddressBytes("198.18.0.2"), 6, 10);
  test::Set16(message, 8, 0xffff - test::SlowSum(message, test::SlowSum(as_tcp)));
  CHECK_EQ(transport_checksum(from, to, kProtoTcp, message.data(), message.size()), 0);
}

TEST(checksum_incremental_equals_full) {
  Random random(2);
  for (int round = 0; round < 20000; round++) {
    Bytes data = RandomBytes(random, 64);
    data[0] = 1;  // never all zero: such a sum has two forms
    const uint16_t before = checksum_of(data.data(), data.size());
    const Bytes old = data;
    uint64_t change = 0;
    const size_t at = 2 + random.Below(15) * 2;
    switch (random.Below(3)) {
      case 0:
        for (size_t i = at; i < at + 2; i++) data[i] = static_cast<uint8_t>(random.Next());
        change = difference16(load16(&old[at]), load16(&data[at]));
        break;
      case 1:
        for (size_t i = at; i < at + 4; i++) data[i] = static_cast<uint8_t>(random.Next());
        change = difference32(load32(&old[at]).raw, load32(&data[at]).raw);
        break;
      default:
        for (size_t i = at; i < at + 16; i++) data[i] = static_cast<uint8_t>(random.Next());
        change = difference128(&old[at], &data[at]);
    }
    CHECK_EQ(update_checksum(before, change), checksum_of(data.data(), data.size()));
  }
}

}  // namespace uvs
