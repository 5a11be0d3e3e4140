// What the FTP helper reads in a payload: every pattern of spec 6.2 and 6.3, good and bad.
#include "forward/app_ftp.h"

#include <string>
#include <vector>

#include "check.h"
#include "packet_text.h"

namespace uvs {
namespace {

using test::Address;
using Kind = FtpCommand::Kind;

// A payload in memory that ends where it ends, so that the sanitizer sees a read behind it.
FtpCommand Command(const std::string& text, bool six) {
  const std::vector<uint8_t> exact(text.begin(), text.end());
  return ftp_command(exact, six);
}
FtpReply Reply(const std::string& text, FtpMode mode, bool six) {
  const std::vector<uint8_t> exact(text.begin(), text.end());
  return ftp_reply(exact, mode, six);
}

TEST(ftp_mode_commands) {
  struct Case {
    const char* text;
    Kind four, six;
    FtpMode mode;
  };
  constexpr FtpMode kP = FtpMode::kPassive, kE = FtpMode::kExtendedPassive;
  const Case cases[] = {
      {"PASV\r\n", Kind::kMode, Kind::kNone, kP},
      {"pasv\r\n", Kind::kMode, Kind::kNone, kP},
      {"PaSv\r\n", Kind::kMode, Kind::kNone, kP},
      {"NOOP\r\nPASV\r\n", Kind::kMode, Kind::kNone, kP},  // anywhere in the segment
      {"\xff\xf4\xff\xf2PASV\r\n", Kind::kMode, Kind::kNone, kP},
      {"PASV\n", Kind::kNone, Kind::kNone, kP},
      {"PASV \r\n", Kind::kNone, Kind::kNone, kP},
      {"PASV", Kind::kNone, Kind::kNone, kP},
      {"PASV\r", Kind::kNone, Kind::kNone, kP},  // split: the rest is in the next segment
      {"PAS", Kind::kNone, Kind::kNone, kP},
      {"", Kind::kNone, Kind::kNone, kP},
      {"EPSV\r\n", Kind::kMode, Kind::kMode, kE},
      {"epsv\r\n", Kind::kMode, Kind::kMode, kE},
      {"EPSV\r", Kind::kNone, Kind::kNone, kE},  // fewer than six bytes
      {"EPSV 1\r\n", Kind::kMode, Kind::kNone, kE},
      {"EPSV 2\r\n", Kind::kNone, Kind::kMode, kE},
      {"EPSV 1\r", Kind::kMode, Kind::kNone, kE},
      {"EPSV 1", Kind::kNone, Kind::kNone, kE},
      {"EPSV 3\r\n", Kind::kNone, Kind::kNone, kE},
      {"EPSV  1\r\n", Kind::kNone, Kind::kNone, kE},
      {"EPSV ALL\r\n", Kind::kNone, Kind::kNone, kE},
      {"EPSV ALL\r\nPASV\r\n", Kind::kNone, Kind::kNone, kE},  // the first of them decides
      {"PASV\r\nEPSV\r\n", Kind::kMode, Kind::kMode, kP},
      {"EPSVX\r\n", Kind::kNone, Kind::kNone, kE},
      {"NOOP\r\nEPSV 2\r\n", Kind::kNone, Kind::kMode, kE},
  };
  for (const Case& each : cases) {
    const FtpCommand four = Command(each.text, false);
    const FtpCommand six = Command(each.text, true);
    CHECK_EQ(four.kind, each.four);
    CHECK_EQ(six.kind, each.six);
    if (four.kind == Kind::kMode) CHECK_EQ(four.mode, each.mode);
    if (six.kind == Kind::kMode) CHECK_EQ(six.mode, kE);
  }
}

struct PortCase {
  const char* text;
  const char* address;  // null: no match
  uint16_t port;
};
constexpr PortCase kPortCases[] = {
    {"PORT 198,18,0,7,4,1\r\n", "198.18.0.7", 1025},
    {"port 198,18,0,7,255,255\r\n", "198.18.0.7", 65535},
    {"PORT   198,18,0,7,0,20\r\n", "198.18.0.7", 20},
    {"PORT198,18,0,7,4,1\r\n", "198.18.0.7", 1025},        // up to the first digit
    {"PORT\tx198,18,0,7,4,1\r\n", "198.18.0.7", 1025},     // whatever stands before it
    {"PORT 198,018,000,007,4,1\r\n", "198.18.0.7", 1025},  // leading zeros
    {"PORT 198,18,,7,4,1\r\n", "198.18.0.7", 1025},        // nothing is zero
    {"PORT 198,18,0,7,4,1,9\r\n", "198.18.0.7", 1025},     // the sixth number ends it
    {"PORT 198,18,0,7,4,1x", "198.18.0.7", 1025},
    {"PORT 198,18,0,7,4,1", nullptr, 0},    // more digits may follow in the next segment
    {"PORT 198,18,0,7,4\r\n", nullptr, 0},  // five numbers
    {"PORT 198,18,0,256,4,1\r\n", nullptr, 0},
    {"PORT 198,18,0,7,256,1\r\n", nullptr, 0},
    {"PORT 99999999999,18,0,7,4,1\r\n", nullptr, 0},
    {"PORT 198,18,0,7,0,0\r\n", nullptr, 0},  // port 0 is none
    {"PORT 198, 18,0,7,4,1\r\n", nullptr, 0},
    {"PORT x198,18,0,7,4,1\r\n", nullptr, 0},  // behind the blanks a number must come
    {"PORT 198.18.0.7.4.1\r\n", nullptr, 0},
    {"PORT -1,18,0,7,4,1\r\n", nullptr, 0},
    {" PORT 198,18,0,7,4,1\r\n", nullptr, 0},  // at the segment's beginning only
    {"NOOP\r\nPORT 198,18,0,7,4,1\r\n", nullptr, 0},
    {"PORT \r\n", nullptr, 0},
    {"PORT ", nullptr, 0},
    {"PORT", nullptr, 0},
    {"POR", nullptr, 0},
    {"EPRT |1|198.18.0.7|5000|\r\n", "198.18.0.7", 5000},
    {"eprt !1!198.18.0.7!5000!\r\n", "198.18.0.7", 5000},
    {"EPRT    |1|198.18.0.7|05000|", "198.18.0.7", 5000},
    {"EPRT |1|198.18.0.7|5000", nullptr, 0},  // split
    {"EPRT|1|198.18.0.7|5000|\r\n", nullptr, 0},
    {"EPRT |1|198.18.0.7|0|\r\n", nullptr, 0},
    {"EPRT |1|198.18.0.7|65536|\r\n", nullptr, 0},
    {"EPRT |1|198.18.0.7|70000000000|\r\n", nullptr, 0},
    {"EPRT |1|198.18.0.7||\r\n", nullptr, 0},
    {"EPRT |1|198.18.0.256|5000|\r\n", nullptr, 0},
    {"EPRT |1|198.18.7|5000|\r\n", nullptr, 0},
    {"EPRT |1|198.18.0.7.9|5000|\r\n", nullptr, 0},
    {"EPRT |1|198..0.7|5000|\r\n", nullptr, 0},
    {"EPRT |1||5000|\r\n", nullptr, 0},
    {"EPRT |||5000|\r\n", nullptr, 0},  // only replies may leave it out
    {"EPRT |2|198.18.0.7|5000|\r\n", nullptr, 0},
    {"EPRT |1|198.18.0.7!5000|\r\n", nullptr, 0},
    {"EPRT | 1|198.18.0.7|5000|\r\n", nullptr, 0},
    {"EPRT \x7f"
     "1\x7f"
     "198.18.0.7\x7f"
     "5000\x7f\r\n",
     nullptr, 0},
    {"EPRT |2|2001:db8::7|5000|\r\n", nullptr, 0},  // the other family
};
constexpr PortCase kPortCases6[] = {
    {"EPRT |2|2001:db8::7|5000|\r\n", "2001:db8::7", 5000},
    {"EPRT |2|2001:DB8:0:0:0:0:0:7|5000|\r\n", "2001:db8::7", 5000},
    {"EPRT :2:2001:db8::7:5000:\r\n", nullptr, 0},
    {"EPRT |2|::ffff:198.18.0.7|5000|\r\n", nullptr, 0},  // never in a packet
    {"EPRT |2|2001:db8::7%eth0|5000|\r\n", nullptr, 0},
    {"EPRT |2|0000:0000:0000:0000:0000:0000:0000:0000:0000:00001|5000|\r\n", nullptr, 0},
    {"EPRT |1|198.18.0.7|5000|\r\n", nullptr, 0},
    {"PORT 198,18,0,7,4,1\r\n", nullptr, 0},
};

TEST(ftp_port_commands) {
  for (const PortCase& each : kPortCases) {
    const FtpCommand found = Command(each.text, false);
    CHECK_EQ(found.kind, each.address == nullptr ? Kind::kNone : Kind::kPort);
    if (each.address == nullptr || found.kind != Kind::kPort) continue;
    CHECK(found.address == Address(each.address));
    CHECK_EQ(found.port.host(), each.port);
    CHECK_EQ(found.mode, FtpMode::kActive);
  }
  for (const PortCase& each : kPortCases6) {
    const FtpCommand found = Command(each.text, true);
    CHECK_EQ(found.kind, each.address == nullptr ? Kind::kNone : Kind::kPort);
    if (each.address != nullptr) CHECK(found.address == Address(each.address));
  }
}

TEST(ftp_replies) {
  struct Case {
    FtpMode mode;
    const char* text;
    const char* place;  // null: no match; what is to be replaced
    uint16_t port;
    bool has_address;
  };
  constexpr FtpMode kP = FtpMode::kPassive, kE = FtpMode::kExtendedPassive;
  const Case cases[] = {
      {kP, "227 Entering Passive Mode (198,19,0,1,4,1).\r\n", "198,19,0,1,4,1", 1025, true},
      {kP, "227 Entering Passive Mode 198,19,0,1,4,1\r\n", "198,19,0,1,4,1", 1025, true},
      {kP, "227 =198,19,0,1,4,1\r\n", "198,19,0,1,4,1", 1025, true},
      {kP, "227 ((198,19,0,1,255,255)", "198,19,0,1,255,255", 65535, true},
      {kP, "227 (198,19,0,1,4,1", nullptr, 0, false},
      {kP, "227-Entering Passive Mode (198,19,0,1,4,1)\r\n", nullptr, 0, false},
      {kP, "227 Entering Passive Mode ( 198,19,0,1,4,1)\r\n", nullptr, 0, false},
      {kP, "227 Entering Passive Mode (198,19,0,1,4,256)\r\n", nullptr, 0, false},
      {kP, "227 Entering Passive Mode (198,19,0,1,0,0)\r\n", nullptr, 0, false},
      {kP, "227 Entering Passive Mo", nullptr, 0, false},
      {kP, "229 Extended (|||1025|)\r\n", nullptr, 0, false},
      {kP, "200 x\r\n227 (198,19,0,1,4,1)\r\n", nullptr, 0, false},
      {kE, "229 Extended Passive Mode Entered (|||1025|)\r\n", "|||1025|", 1025, false},
      {kE, "229 (!!!01025!)\r\n", "!!!01025!", 1025, false},
      {kE, "229 x (|1|198.19.0.1|1025|)\r\n", "|1|198.19.0.1|1025|", 1025, true},
      {kE, "229 (||198.19.0.1|1025|)\r\n", nullptr, 0, false},
      {kE, "229 (|1||1025|)\r\n", nullptr, 0, false},
      {kE, "229 (|2|2001:db8:1::1|1025|)\r\n", nullptr, 0, false},
      {kE, "229 (|||0|)\r\n", nullptr, 0, false},
      {kE, "229 (|||65536|)\r\n", nullptr, 0, false},
      {kE, "229 (|||1025", nullptr, 0, false},
      {kE, "229 |||1025|\r\n", nullptr, 0, false},  // without bracket there is no beginning
      {kE, "229 (\r\n", nullptr, 0, false},
      {kE, "227 Entering Passive Mode (198,19,0,1,4,1).\r\n", nullptr, 0, false},
      {FtpMode::kActive, "227 Entering Passive Mode (198,19,0,1,4,1).\r\n", nullptr, 0, false},
      {FtpMode::kActive, "229 x (|||1025|)\r\n", nullptr, 0, false},
  };
  for (const Case& each : cases) {
    const FtpReply found = Reply(each.text, each.mode, false);
    CHECK_EQ(found.found, each.place != nullptr);
    if (each.place == nullptr || !found.found) continue;
    const std::string text = each.text;
    CHECK_EQ(text.substr(found.first, found.last - found.first), each.place);
    CHECK_EQ(found.port.host(), each.port);
    CHECK_EQ(found.has_address, each.has_address);
    if (found.has_address) CHECK(found.address == Address("198.19.0.1"));
  }
  const FtpReply six = Reply("229 x (|2|2001:db8:1::1|1025|)\r\n", kE, true);
  CHECK(six.found && six.has_address && six.address == Address("2001:db8:1::1"));
  CHECK(Reply("229 x (|||1025|)\r\n", kE, true).found);
  CHECK(!Reply("229 x (|1|198.19.0.1|1025|)\r\n", kE, true).found);
}

TEST(ftp_texts_are_read_back) {
  uint8_t text[kFtpTextMax];
  for (const char* address : {"0.0.0.1", "198.18.1.10", "255.255.255.255"}) {
    for (const uint16_t port : {1, 99, 255, 256, 1025, 65535}) {
      for (const FtpMode mode : {FtpMode::kPassive, FtpMode::kExtendedPassive}) {
        const uint32_t length = ftp_text(mode, Address(address), Be16::of(port), text);
        REQUIRE(length <= kFtpTextMax);
        const std::string number(reinterpret_cast<const char*>(text), length);
        const bool passive = mode == FtpMode::kPassive;
        const FtpReply back = Reply((passive ? "227 (" : "229 (") + number + ")\r\n", mode, false);
        REQUIRE(back.found);
        CHECK_EQ(back.port.host(), port);
        CHECK_EQ(back.last - back.first, length);
        if (passive) CHECK(back.address == Address(address));
      }
    }
  }
}

}  // namespace
}  // namespace uvs
