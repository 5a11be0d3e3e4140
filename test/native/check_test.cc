// The test harness itself: comparisons across types, and the generator tests draw from.
#include "check.h"

#include <array>
#include <limits>

namespace uvs::test {
namespace {

enum class Colour : uint8_t { kRed = 1, kBlue = 2 };

TEST(equal_compares_values_and_not_bit_patterns) {
  CHECK(Equal(4u, 4));
  CHECK(!Equal(std::numeric_limits<uint32_t>::max(), -1));
  CHECK(Less(-1, 0u));
  CHECK(!Less(0u, -1));
  CHECK(Equal("text", std::string("text")));
  CHECK(!Equal("text", std::string("other")));
  CHECK(Equal(Colour::kRed, Colour::kRed));
}

TEST(equal_compares_ranges_by_element_and_length) {
  const std::array<uint8_t, 2> two = {1, 2};
  const std::vector<uint8_t> same = {1, 2};
  const std::vector<uint8_t> longer = {1, 2, 3};
  CHECK(Equal(two, same));
  CHECK(!Equal(two, longer));
}

TEST(show_writes_what_a_reader_needs) {
  CHECK_EQ(Show(255), "255 (0xff)");
  CHECK_EQ(Show(Colour::kBlue), "2 (0x2)");
  CHECK_EQ(Show(std::array<uint8_t, 2>{0x0a, 0xff}), "[0a ff ]");
  CHECK_EQ(Show(true), "true");
  CHECK_EQ(Show(std::string("x")), "\"x\"");
}

// The published SplitMix64 sequence; test/support/packet-builder.test.ts holds the same numbers.
TEST(random_is_splitmix64) {
  Random random(1234567);
  CHECK_EQ(random.Next(), 6457827717110365317ull);
  CHECK_EQ(random.Next(), 3203168211198807973ull);
  CHECK_EQ(random.Next(), 9817491932198370423ull);
}

}  // namespace
}  // namespace uvs::test
