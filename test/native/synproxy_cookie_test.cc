// SYN cookies: the published vectors of the hash, the examples of spec 12.9, and that nothing but
// the right flow, number and minute is taken. Seeds of random tests stand where they are used.
#include "check.h"
#include "packet_text.h"
#include "synproxy/cookie.h"

namespace uvs {
namespace {

using test::Random;

HandshakeOptions Options(uint16_t mss, bool sack = false, bool timestamps = false,
                         uint8_t shift = 0) {
  return HandshakeOptions{mss, shift, timestamps, sack};
}

CookieKeys Keys(uint64_t seed) {
  Random random(seed);
  return {{random.Next(), random.Next()}, {random.Next(), random.Next()}};
}

FlowKey Flow(bool six = false) {
  return FlowKey{test::Address(six ? "2001:db8::7" : "198.18.0.7"),
                 test::Address(six ? "2001:db8::1:10" : "198.18.1.10"), Be16::of(40000),
                 Be16::of(80), kProtoTcp};
}

bool Good(const CookieKeys& keys, const FlowKey& flow, uint32_t sequence, uint32_t cookie,
          uint32_t minutes) {
  HandshakeOptions options;
  return check_cookie(keys, flow, sequence, cookie, minutes, &options);
}

// Key 00..0f; the input is 00 01 02 ... (Aumasson and Bernstein, reference vectors).
TEST(siphash_reference_vectors) {
  const SipKey key{0x0706050403020100u, 0x0f0e0d0c0b0a0908u};
  uint8_t input[16];
  for (uint8_t i = 0; i < sizeof input; i++) input[i] = i;
  CHECK_EQ(siphash24(key, input, 8), 0x93f5f5799a932462u);
  CHECK_EQ(siphash24(key, input, 15), 0xa129ca6149be45e5u);
  CHECK_EQ(siphash24(key, input, 16), 0x3f2acc7f57c29bdbu);
}

TEST(cookie_data_examples_of_the_spec) {
  CHECK_EQ(cookie_data(Options(1452, true)), 0x207000);
  CHECK_EQ(cookie_data(Options(1400, true, true, 7)), 0x375000);
  CHECK_EQ(cookie_data(Options(500)), 0x001000);
  HandshakeOptions read;
  REQUIRE(read_cookie_data(0x375000, &read));
  CHECK_EQ(read.mss, 1280);
  CHECK_EQ(read.shift, 7);
  CHECK(read.timestamps && read.sack);
  REQUIRE(read_cookie_data(0x001000, &read));
  CHECK_EQ(read.mss, 256);
  CHECK(!read.timestamps && !read.sack && read.shift == 0);
}

TEST(cookie_data_takes_the_largest_mss_that_is_not_above) {
  const struct {
    uint16_t mss, index, read;
  } kRows[] = {{1, 0, 64},      {63, 0, 64},     {64, 0, 64},     {255, 0, 64},    {256, 1, 256},
               {511, 1, 256},   {512, 2, 512},   {535, 2, 512},   {536, 3, 536},   {1023, 3, 536},
               {1024, 4, 1024}, {1279, 4, 1024}, {1280, 5, 1280}, {1439, 5, 1280}, {1440, 6, 1440},
               {1451, 6, 1440}, {1452, 7, 1452}, {1459, 7, 1452}, {1460, 8, 1460}, {4311, 8, 1460},
               {4312, 9, 4312}, {65535, 9, 4312}};
  for (const auto& row : kRows) {
    const uint32_t data = cookie_data(Options(row.mss));
    CHECK_EQ(data, row.index << 12);
    HandshakeOptions read;
    CHECK(read_cookie_data(data, &read));
    CHECK_EQ(read.mss, row.read);
  }
}

TEST(cookie_data_that_nobody_makes_is_bad) {
  HandshakeOptions read;
  for (uint32_t bit = 0; bit < 24; bit++) {
    const bool used = bit >= 12 && bit < 22;
    CHECK_EQ(read_cookie_data(1u << bit, &read), used);
  }
  for (uint32_t index = 0; index < 16; index++) {
    CHECK_EQ(read_cookie_data(index << 12, &read), index < 10);
  }
  for (uint32_t shift = 0; shift < 16; shift++) {
    CHECK_EQ(read_cookie_data(shift << 16, &read), shift < 15);
  }
}

TEST(cookie_comes_back_with_everything_in_it) {
  Random random(0x5eed01);
  const CookieKeys keys = Keys(1);
  for (int i = 0; i < 10000; i++) {
    FlowKey flow = Flow((i & 1) != 0);
    flow.source_port = Be16{static_cast<uint16_t>(random.Next())};
    flow.source.bytes[15] = static_cast<uint8_t>(random.Next());
    const auto sequence = static_cast<uint32_t>(random.Next());
    const auto minutes = static_cast<uint32_t>(random.Next());
    const auto shift = static_cast<uint8_t>(random.Below(15));
    const HandshakeOptions options = Options(static_cast<uint16_t>(random.Next()),
                                             random.Below(2) != 0, random.Below(2) != 0, shift);
    const uint32_t data = cookie_data(options);
    const uint32_t cookie = make_cookie(keys, flow, sequence, minutes, data);
    for (uint32_t age = 0; age < 4; age++) {
      HandshakeOptions read;
      REQUIRE(check_cookie(keys, flow, sequence, cookie, minutes + age, &read));
      CHECK_EQ(cookie_data(read), data);
    }
  }
}

// The minute counts modulo 256 in a cookie, and wraps as a whole.
TEST(cookie_is_good_for_four_minutes) {
  const CookieKeys keys = Keys(2);
  for (const uint32_t made : {0u, 1u, 255u, 256u, 0xfffffffeu}) {
    const uint32_t cookie = make_cookie(keys, Flow(), 7, made, 0x207000);
    for (uint32_t age = 0; age < 4; age++) CHECK(Good(keys, Flow(), 7, cookie, made + age));
    for (const uint32_t age : {4u, 5u, 128u, 255u}) {
      CHECK(!Good(keys, Flow(), 7, cookie, made + age));
    }
    CHECK(!Good(keys, Flow(), 7, cookie, made - 1));
  }
}

TEST(cookie_is_bound_to_flow_number_and_keys) {
  const CookieKeys keys = Keys(3);
  for (const bool six : {false, true}) {
    const FlowKey flow = Flow(six);
    const uint32_t cookie = make_cookie(keys, flow, 1000, 50, 0x207000);
    CHECK(Good(keys, flow, 1000, cookie, 50));
    CHECK(!Good(keys, flow, 1001, cookie, 50));
    CHECK(!Good(Keys(4), flow, 1000, cookie, 50));
    FlowKey other = flow;
    other.source_port = Be16::of(40001);
    CHECK(!Good(keys, other, 1000, cookie, 50));
    other = flow;
    other.destination_port = Be16::of(81);
    CHECK(!Good(keys, other, 1000, cookie, 50));
    other = flow;
    other.source.bytes[15]++;
    CHECK(!Good(keys, other, 1000, cookie, 50));
    other = flow;
    other.destination.bytes[15]++;
    CHECK(!Good(keys, other, 1000, cookie, 50));
  }
}

// A blind guess is right when the age (2 bits of 8) and the 14 bits that are zero or have holes
// fit: 2^-6 * 2^-14 * 10/16 * 15/16 is about one in 1.8 million.
TEST(cookie_guesses_fail) {
  Random random(0x5eed02);
  const CookieKeys keys = Keys(5);
  int good = 0;
  for (int i = 0; i < 1'000'000; i++) {
    const auto guess = static_cast<uint32_t>(random.Next());
    good += Good(keys, Flow(), static_cast<uint32_t>(random.Next()), guess, 77);
  }
  CHECK_LE(good, 8);
}

}  // namespace
}  // namespace uvs
