// The Call-ID of a SIP message: a table of messages, made-up good ones, and random bytes, each in
// memory that ends with it.
#include "upcall/sip.h"

#include <memory>
#include <string>

#include "check.h"
#include "packet_text.h"

namespace uvs {
namespace {

using test::Random;

// "" for none.
std::string CallId(const std::string& message) {
  const auto copy = std::make_unique<uint8_t[]>(message.size());
  std::copy(message.begin(), message.end(), copy.get());
  const auto found = call_id({copy.get(), message.size()});
  return std::string(found.begin(), found.end());
}

std::string Invite(const std::string& header) {
  return "INVITE sip:b@198.18.1.10 SIP/2.0\r\nVia: SIP/2.0/UDP 198.18.0.7:5060\r\n" + header +
         "\r\nCSeq: 1 INVITE\r\n\r\n";
}

struct Case {
  const char* header;
  const char* id;
};

TEST(sip_call_id_by_header) {
  const Case cases[] = {
      {"Call-ID: a1b2@198.18.0.7", "a1b2@198.18.0.7"},
      {"call-id: lower", "lower"},
      {"CALL-ID: UPPER", "UPPER"},
      {"Call-ID:tight", "tight"},
      {"Call-ID : spaced", "spaced"},
      {"Call-ID  :   much", "much"},
      {"i: compact", "compact"},
      {"I:capital", "capital"},
      {"i : x", "x"},
      {"Call-ID: a-.!%*_+`'~()<>:\\\"/[]?{}", "a-.!%*_+`'~()<>:\\\"/[]?{}"},
      {"Call-ID: \xc4\xff", "\xc4\xff"},  // letters of ISO 8859-1
      {"Call-ID:\tx", "x"},
      {"Call-ID \t:\t x", "x"},
      {"Call-ID:\r\n folded", "folded"},
      {"Call-ID:\r\n\t folded", "folded"},
      {"Call-ID \r\n  : a", "a"},
      {"Call-ID\r\n :\r\n a", "a"},
      {"Call-ID\r\n  x: a", ""},
      {"Call-ID:\r\n \r\n x", ""},  // folded once
      {"Subject: x\r\n Call-ID: folded\r\ni: real", "real"},
      // None.
      {"X: y", ""},
      {"Call-ID:", ""},
      {"Call-ID: ", ""},
      {"Call-ID; x", ""},
      {"Call-ID: two words", ""},
      {"Call-ID: x ", ""},
      {"Call-ID: x,y", ""},
      {"Call-ID: x;y", ""},
      {"Call-ID: x@y@z", ""},
      {"Call-ID: \xd7x", ""},
      {"XCall-ID: x", ""},
      {"Call_ID: x", ""},
      // Longer names: the compact one wants no letter behind it, the long one is cut.
      {"id: x", ""},
      {"id: x\r\nCall-ID: y", "y"},
      {"i2: x\r\nCall-ID: y", ""},
      {"Call-IDs: x\r\nCall-ID: y", ""},
      // A header whose value is none is passed over; behind the second one the kernel goes too far.
      {"Call-ID: @x\r\nCall-ID: y", "y"},
      {"Call-ID: x@\r\nCall-ID: y", "y"},
      {"Call-ID: @\r\nCall-ID: @\r\nCall-ID: y", ""},
  };
  for (const Case& one : cases) {
    CHECK_EQ(CallId(Invite(one.header)), one.id);
    if (CallId(Invite(one.header)) != one.id) std::printf("# in: %s\n", one.header);
  }
}

TEST(sip_call_id_by_place) {
  CHECK_EQ(CallId(""), "");
  CHECK_EQ(CallId("Call-ID: first-line\r\n"), "");
  CHECK_EQ(CallId("\r\nCall-ID: x\r\n"), "x");
  CHECK_EQ(CallId("\nCall-ID: x\n"), "x");
  CHECK_EQ(CallId("\rCall-ID: x\r"), "x");
  CHECK_EQ(CallId("\r\n\r\nCall-ID: body\r\n"), "body");
  CHECK_EQ(CallId("\n\nCall-ID: x\n"), "");
  CHECK_EQ(CallId("a\r\ni: x\r\nCall-ID: y\r\n"), "x");  // the first of two
  // The value must be followed by a line end inside the payload.
  const std::string whole = "A\r\nCall-ID: abc\r\n";
  CHECK_EQ(CallId(whole), "abc");
  CHECK_EQ(CallId(whole.substr(0, whole.size() - 1)), "abc");
  for (size_t bytes = 0; bytes < whole.size() - 1; bytes++) {
    CHECK_EQ(CallId(whole.substr(0, bytes)), "");
  }
  // Far behind a bad one, the search goes on.
  CHECK_EQ(CallId("A\r\nCall-ID: @\r\nSubject: many words, and then\r\ni: late\r\n"), "late");
}

TEST(sip_call_id_has_at_most_255_bytes) {
  for (const size_t bytes : {1, 2, 3, 254, 255}) {
    const std::string id(bytes, 'x');
    CHECK_EQ(CallId(Invite("Call-ID: " + id)), id);
  }
  for (const size_t bytes : {256, 257, 2000}) {
    CHECK_EQ(CallId(Invite("Call-ID: " + std::string(bytes, 'x'))), "");
  }
}

TEST(sip_finds_the_call_id_of_every_good_message) {
  Random random(20260401);
  const std::string_view letters = "abcXYZ0189-._~%!";
  const std::string_view ends[] = {"\r\n", "\n", "\r"};
  const std::string_view names[] = {"Call-ID", "call-id", "i", "CaLL-iD"};
  for (int round = 0; round < 20000; round++) {
    const auto word = [&](uint32_t most) {
      std::string out;
      for (uint32_t n = 1 + random.Below(most); n > 0; n--) {
        out += letters[random.Below(static_cast<uint32_t>(letters.size()))];
      }
      return out;
    };
    const std::string end(ends[random.Below(3)]);
    std::string id = word(100);
    if (random.Below(2) != 0) id += "@" + word(100);
    std::string message = "OPTIONS sip:x SIP/2.0" + end;
    const auto others = [&] {
      for (uint32_t n = random.Below(5); n > 0; n--) {
        message += "X-" + word(8) + ": " + word(30) + end;
        if (random.Below(4) == 0) message += " i: " + word(9) + end;
      }
    };
    others();
    message += std::string(names[random.Below(4)]) + std::string(random.Below(3), ' ') + ":" +
               std::string(random.Below(3), ' ') + id + end;
    others();
    CHECK_EQ(CallId(message), id);
  }
}

TEST(sip_random_bytes_give_a_value_inside_or_none) {
  Random random(7);
  const std::string_view alphabet = "\r\n\r\n  \t::iiIcCaAlL-iIdD@@xy2',\0\xe9";
  uint32_t found = 0;
  for (int round = 0; round < 300000; round++) {
    std::string message;
    for (uint32_t n = random.Below(40); n > 0; n--) {
      if (random.Below(8) == 0) {
        message += random.Below(2) != 0 ? "\r\nCall-ID: " : "\ni:";
      } else {
        message += alphabet[random.Below(static_cast<uint32_t>(alphabet.size()))];
      }
    }
    const std::string id = CallId(message);
    if (id.empty()) continue;
    found++;
    CHECK(id.find_first_of("\r\n \t,") == std::string::npos);
    CHECK(id.find('@') == id.rfind('@'));
    const size_t at = message.find(id);
    CHECK(at != std::string::npos);
    // What stands behind the value's line does not matter.
    bool same = false;
    for (size_t from = at; from != std::string::npos; from = message.find(id, from + 1)) {
      same |= CallId(message.substr(0, from + id.size() + 1)) == id;
    }
    CHECK(same);
  }
  CHECK(found > 1000);
}

}  // namespace
}  // namespace uvs
