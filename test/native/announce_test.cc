// ARP and neighbour discovery for announced addresses: golden answers, probes, announcements, and
// everything that must not be answered.
#include "forward/announce.h"

#include <memory>
#include <string>
#include <vector>

#include "check.h"
#include "forward/static_next_hops.h"
#include "packet_text.h"
#include "parse/parse.h"

namespace uvs {
namespace {

using test::Address;
using test::AddressBytes;
using test::Bytes;
using test::BytesOf;
using test::Hex;
using test::OwnFrame;
using test::PutAll;

const char kFour[] = "198.18.0.100";
const char kSix[] = "2001:db8::1:1";

AnnounceRecord Record(const std::string& address, uint32_t port) {
  AnnounceRecord record{};
  record.address = Address(address);
  record.port = port;
  return record;
}

// Two Ethernet ports, 02:00:00:00:00:00 and :01; the addresses are announced on port 1.
struct Rig {
  StaticNextHops hops{2};
  Announcer announcer{hops};

  Rig() {
    const AnnounceRecord records[] = {Record(kFour, 1), Record(kSix, 1)};
    announcer.adopt(records, 2);
  }

  // The reply to a frame, empty when there is none; then the frame must be as it was.
  Bytes Answer(const Bytes& bytes, uint16_t port = 1) {
    OwnFrame own(bytes);
    Packet packet{};
    packet.frame = own.frame();
    packet.frame.port = port;
    parse(packet, Link::kEthernet);
    if (packet.kind != PacketKind::kArp && packet.kind != PacketKind::kIcmp) return {};
    if (announcer.answer(packet)) return BytesOf(packet.frame);
    CHECK_EQ(BytesOf(packet.frame), bytes);
    return {};
  }
};

Bytes ArpFrame(const std::string& operation, const std::string& sender, const std::string& target,
               const std::string& to = "ffffffffffff") {
  Bytes out = Hex(to + "02000000beef 0806 0001 0800 0604" + operation + "02000000beef");
  PutAll(out, AddressBytes(sender));
  PutAll(out, Hex("000000000000"));
  PutAll(out, AddressBytes(target));
  return out;
}

TEST(arp_request) {
  Rig rig;
  Bytes wanted = Hex("02000000beef 020000000001 0806 0001 0800 0604 0002 020000000001");
  PutAll(wanted, AddressBytes(kFour));
  PutAll(wanted, Hex("02000000beef"));
  PutAll(wanted, AddressBytes("198.18.0.7"));
  CHECK_EQ(rig.Answer(ArpFrame("0001", "198.18.0.7", kFour)), wanted);
  // Asked of us alone, as a neighbour does that refreshes its entry.
  CHECK_EQ(rig.Answer(ArpFrame("0001", "198.18.0.7", kFour, "020000000001")), wanted);
  // Padding to the shortest Ethernet frame stays.
  Bytes padded = ArpFrame("0001", "198.18.0.7", kFour);
  padded.resize(60);
  wanted.resize(60);
  CHECK_EQ(rig.Answer(padded), wanted);
}

TEST(arp_probe) {
  Rig rig;
  const Bytes reply = rig.Answer(ArpFrame("0001", "0.0.0.0", kFour));
  REQUIRE(reply.size() == 42);
  CHECK_EQ(test::Part(reply, 20, 12), Hex("0002 020000000001 c6120064"));
  CHECK_EQ(test::Part(reply, 32, 10), Hex("02000000beef 00000000"));
}

TEST(arp_that_is_not_answered) {
  Rig rig;
  CHECK(rig.Answer(ArpFrame("0001", "198.18.0.7", kFour), 0).empty());        // other port
  CHECK(rig.Answer(ArpFrame("0001", "198.18.0.7", "198.18.0.101")).empty());  // not announced
  CHECK(rig.Answer(ArpFrame("0002", "198.18.0.7", kFour)).empty());           // a reply
  CHECK(rig.Answer(ArpFrame("0001", kFour, kFour)).empty());                  // an announcement
  CHECK(rig.Answer(ArpFrame("0001", "198.18.0.7", kFour, "020000000044")).empty());  // not to us
  Bytes group = ArpFrame("0001", "198.18.0.7", kFour);
  group[22] |= 1;  // the sender cannot be a group
  CHECK(rig.Answer(group).empty());
  const Bytes whole = ArpFrame("0001", "198.18.0.7", kFour);
  for (size_t bytes = 0; bytes < whole.size(); bytes++) {
    CHECK(rig.Answer(test::Part(whole, 0, bytes)).empty());
  }
  for (const size_t at : {14u, 15u, 16u, 17u, 18u, 19u}) {
    Bytes wrong = whole;
    wrong[at] ^= 0x40;  // another hardware type, protocol type or address length
    CHECK(rig.Answer(wrong).empty());
  }
}

struct Nd {
  std::string source = "2001:db8::7";
  std::string destination = "ff02::1:ff01:1";
  std::string target = kSix;
  std::string options = "0101 02000000beef";
  uint8_t hops = 255;
  uint8_t type = 135;
  uint8_t code = 0;
};

Bytes NdFrame(const Nd& nd) {
  test::Text text;
  text.source = nd.source;
  text.destination = nd.destination;
  text.protocol = kProtoIcmp6;
  text.ttl = nd.hops;
  text.icmp_type = nd.type;
  text.icmp_code = nd.code;
  text.payload = Hex("00000000");
  PutAll(text.payload, AddressBytes(nd.target));
  PutAll(text.payload, Hex(nd.options));
  Bytes out = Hex("3333ff010001 02000000beef 86dd");
  PutAll(out, test::Build(text).bytes);
  return out;
}

Bytes Advertisement(const std::string& to_link, const std::string& to, const std::string& flags) {
  test::Text text;
  text.source = kSix;
  text.destination = to;
  text.protocol = kProtoIcmp6;
  text.ttl = 255;
  text.icmp_type = 136;
  text.payload = Hex(flags);
  PutAll(text.payload, AddressBytes(kSix));
  PutAll(text.payload, Hex("0201 020000000001"));
  Bytes out = Hex(to_link + "020000000001 86dd");
  PutAll(out, test::Build(text).bytes);
  return out;
}

TEST(neighbour_solicitation) {
  Rig rig;
  const Bytes wanted = Advertisement("02000000beef", "2001:db8::7", "60000000");
  CHECK_EQ(rig.Answer(NdFrame({})), wanted);
  // Without its option the answer goes to where the frame came from, and begins in the headroom.
  CHECK_EQ(rig.Answer(NdFrame({.options = ""})), wanted);
  // More options than the reply has.
  CHECK_EQ(rig.Answer(NdFrame({.options = "0e01 010203040506 0101 02000000beef"})), wanted);
  // The option counts, not the frame.
  const Bytes other = rig.Answer(NdFrame({.options = "0101 02000000cafe"}));
  CHECK_EQ(test::Part(other, 0, 6), Hex("02000000cafe"));
  // To the address itself: reachability of a known neighbour.
  CHECK_EQ(rig.Answer(NdFrame({.destination = kSix})), wanted);
}

TEST(neighbour_probe) {
  Rig rig;
  const Bytes wanted = Advertisement("333300000001", "ff02::1", "20000000");
  CHECK_EQ(rig.Answer(NdFrame({.source = "::", .options = ""})), wanted);
  CHECK_EQ(rig.Answer(NdFrame({.source = "::", .options = "0e01 010203040506"})), wanted);
}

TEST(solicitation_that_is_not_answered) {
  Rig rig;
  const std::vector<Nd> wrong = {
      {.target = "2001:db8::1:2"},
      {.target = "ff02::1"},
      {.hops = 254},
      {.type = 136},
      {.code = 1},
      {.options = "0100 02000000beef"},     // an option without length
      {.options = "0102 02000000beef"},     // an option beyond the end
      {.options = "0101 02000000beef 01"},  // half an option
      {.source = "::"},                     // a probe with a link address
      {.source = "::", .destination = kSix, .options = ""},
      {.source = "::", .destination = "ff02::1:ff01:2", .options = ""},
      {.source = "ff02::7"},
      {.options = "0101 03000000beef"},  // a group as link address
  };
  for (const Nd& nd : wrong) CHECK(rig.Answer(NdFrame(nd)).empty());
  CHECK(rig.Answer(NdFrame({}), 0).empty());
  Bytes checksum = NdFrame({});
  checksum[14 + 40 + 2] ^= 1;
  CHECK(rig.Answer(checksum).empty());
  const Bytes whole = NdFrame({});
  for (size_t bytes = 0; bytes < whole.size(); bytes++) {
    CHECK(rig.Answer(test::Part(whole, 0, bytes)).empty());
  }
}

// Any damage: no crash, and whatever is answered is a well-formed frame.
TEST(random_damage) {
  Rig rig;
  test::Random random(5);
  for (int round = 0; round < 20000; round++) {
    Bytes frame = round % 2 == 0 ? NdFrame({}) : ArpFrame("0001", "198.18.0.7", kFour);
    frame[random.Below(frame.size())] = static_cast<uint8_t>(random.Next());
    OwnFrame own(frame);
    Packet packet{};
    packet.frame = own.frame();
    packet.frame.port = 1;
    parse(packet, Link::kEthernet);
    if (packet.kind != PacketKind::kArp && packet.kind != PacketKind::kIcmp) continue;
    if (!rig.announcer.answer(packet) || packet.frame.data[12] != 0x86) continue;
    const Bytes reply = BytesOf(packet.frame);
    CHECK_EQ(test::WrongIn(test::Part(reply, 14, reply.size() - 14)), "");
  }
}

std::vector<Bytes> Build(Announcer& announcer, uint32_t now_ms, uint32_t max = 64) {
  test::Pieces pieces(max);
  const uint32_t count = announcer.build(pieces.frames.data(), max, now_ms);
  std::vector<Bytes> out;
  for (uint32_t i = 0; i < count; i++) {
    CHECK_EQ(pieces.frames[i].port, 1);
    out.push_back(BytesOf(pieces.frames[i]));
  }
  return out;
}

TEST(announcements) {
  Rig rig;
  CHECK_EQ(rig.announcer.pending(), 6u);
  std::vector<Bytes> frames = Build(rig.announcer, 1000);
  REQUIRE(frames.size() == 2);
  Bytes gratuitous = Hex("ffffffffffff 020000000001 0806 0001 0800 0604 0001 020000000001");
  PutAll(gratuitous, AddressBytes(kFour));
  PutAll(gratuitous, Hex("000000000000"));
  PutAll(gratuitous, AddressBytes(kFour));
  CHECK_EQ(frames[0], gratuitous);
  CHECK_EQ(frames[1], Advertisement("333300000001", "ff02::1", "20000000"));
  CHECK(Build(rig.announcer, 1999).empty());
  CHECK_EQ(Build(rig.announcer, 2000).size(), 2u);
  CHECK_EQ(Build(rig.announcer, 3000).size(), 2u);
  CHECK_EQ(rig.announcer.pending(), 0u);
  CHECK(Build(rig.announcer, 9000).empty());
}

TEST(only_new_addresses_are_announced) {
  Rig rig;
  for (uint32_t now_ms : {0u, 1000u, 2000u}) Build(rig.announcer, now_ms);
  const AnnounceRecord records[] = {Record(kSix, 1), Record("198.18.0.101", 1),
                                    Record("198.18.0.102", 99)};
  rig.announcer.adopt(records, 3);
  CHECK_EQ(rig.announcer.size(), 2u);  // a port that cannot exist is left out
  CHECK_EQ(rig.announcer.pending(), 3u);
  CHECK_EQ(Build(rig.announcer, 5000).size(), 1u);
  CHECK(rig.Answer(ArpFrame("0001", "198.18.0.7", kFour)).empty());
  CHECK(!rig.Answer(ArpFrame("0001", "198.18.0.7", "198.18.0.101")).empty());
  rig.announcer.adopt(nullptr, 0);
  CHECK_EQ(rig.announcer.pending(), 0u);
  CHECK(rig.Answer(NdFrame({})).empty());
}

TEST(full_list_in_small_steps) {
  StaticNextHops hops(2);
  Announcer announcer(hops);
  std::vector<AnnounceRecord> records(kAnnouncedMax + 10);
  for (uint32_t i = 0; i < records.size(); i++) {
    records[i].address = Addr::v4(Be32::of(0xc6120000u + i));
    records[i].port = 1;
  }
  announcer.adopt(records.data(), static_cast<uint32_t>(records.size()));
  CHECK_EQ(announcer.size(), kAnnouncedMax);
  uint32_t built = 0;
  for (uint32_t now_ms = 0; announcer.pending() != 0; now_ms++) {
    REQUIRE(now_ms < 100000);
    built += static_cast<uint32_t>(Build(announcer, now_ms, 32).size());
  }
  CHECK_EQ(built, 3 * kAnnouncedMax);
}

}  // namespace
}  // namespace uvs
