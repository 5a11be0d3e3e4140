// ICMP: errors of our own, and errors of others about rewritten flows, over random packets. The
// exact bytes stand in test/golden/.
#include "check.h"
#include "forward/forward.h"
#include "forward/related_icmp.h"
#include "packet_text.h"
#include "parse/parse.h"

namespace uvs {
namespace {

using test::Built;
using test::Bytes;
using test::OwnFrame;
using test::Pieces;
using test::Random;
using test::Text;

Packet Parsed(const OwnFrame& own) {
  Packet packet{};
  packet.frame = own.frame();
  parse(packet, Link::kIp);
  return packet;
}

Text Flow(bool six, uint8_t protocol) {
  Text text;
  if (six) text.source = "2001:db8::7", text.destination = "2001:db8:1::10";
  text.protocol = protocol;
  return text;
}

// An ICMP error from `source` to `destination` that quotes the first bytes of `about`.
Bytes Error(const std::string& source, const std::string& destination, uint8_t type,
            const Bytes& about, size_t quoted) {
  Text text;
  text.source = source;
  text.destination = destination;
  text.protocol = text.six() ? kProtoIcmp6 : kProtoIcmp;
  text.icmp_type = type;
  text.payload = Bytes(4, 0);
  test::PutAll(text.payload, test::Part(about, 0, std::min(quoted, about.size())));
  return Build(text).bytes;
}

constexpr IcmpError kErrors[] = {IcmpError::kPortUnreachable, IcmpError::kHostUnreachable,
                                 IcmpError::kTimeExceeded, IcmpError::kPacketTooBig};

// Ends that a test keeps alive while the code under test points at them.
struct Corner {
  Addr address;
  Be16 port;
};

Corner At(const std::string& address, uint16_t port) {
  return {test::Address(address), Be16::of(port)};
}

bool Rewrite(Packet& packet, const Corner& from, const Corner& to, const Corner& quoted_from,
             const Corner& quoted_to) {
  return rewrite_related(packet, RelatedEnds{&from.address, &to.address,
                                             Ends{&quoted_from.address, &quoted_to.address,
                                                  quoted_from.port, quoted_to.port}});
}

}  // namespace

TEST(icmp_answer_of_every_size) {
  for (const bool six : {false, true}) {
    const size_t limit = six ? 1280 : 576;
    for (size_t bytes = 0; bytes < 1500; bytes += 13) {
      Text text = Flow(six, bytes % 2 != 0 ? kProtoTcp : kProtoUdp);
      text.payload = Bytes(bytes, 0x61);
      const Built built = Build(text);
      const OwnFrame own(built);
      const Packet packet = Parsed(own);
      for (const IcmpError error : kErrors) {
        Pieces out(1);
        REQUIRE(build_icmp_error(packet, error, 1400, packet.key.destination, 7, &out.frames[0]));
        const Bytes answer = test::BytesOf(out.frames[0]);
        const size_t header = six ? 48 : 28;
        CHECK_EQ(answer.size(), std::min(limit, header + built.bytes.size()));
        CHECK_EQ(test::WrongIn(answer), "");
        CHECK_EQ(Bytes(answer.begin() + static_cast<std::ptrdiff_t>(header), answer.end()),
                 test::Part(built.bytes, 0, answer.size() - header));
        CHECK_EQ(out.frames[0].headroom, kHeadroom);
      }
    }
  }
}

TEST(icmp_answer_is_understood_as_an_error_about_the_packet) {
  for (const bool six : {false, true}) {
    for (const uint8_t protocol : {kProtoTcp, kProtoUdp}) {
      const OwnFrame own(Build(Flow(six, protocol)));
      const Packet packet = Parsed(own);
      for (const IcmpError error : kErrors) {
        Pieces out(1);
        REQUIRE(build_icmp_error(packet, error, 1400, packet.key.destination, 7, &out.frames[0]));
        Packet answer{};
        answer.frame = out.frames[0];
        parse(answer, Link::kIp);
        REQUIRE(CHECK_EQ(answer.kind, PacketKind::kIcmp));
        FlowKey inverse;
        REQUIRE(quoted_flow(answer, &inverse));
        CHECK(inverse.source == packet.key.destination);
        CHECK(inverse.destination == packet.key.source);
        CHECK(inverse.source_port == packet.key.destination_port);
        CHECK(inverse.destination_port == packet.key.source_port);
        CHECK_EQ(inverse.protocol, protocol);
        // And no error about an error.
        CHECK(!build_icmp_error(answer, error, 0, packet.key.source, 7, &out.frames[0]));
      }
    }
  }
}

TEST(icmp_answer_quotes_what_the_sender_sent_whatever_the_key_says) {
  // After a rewrite `key` still names the ends as received: the answer goes to the sender.
  const OwnFrame own(Build(Flow(false, kProtoTcp)));
  Packet packet = Parsed(own);
  const Corner other = At("198.18.3.250", 1025);
  rewrite_ends(packet, Ends{&other.address, &other.address, other.port, other.port});
  Pieces out(1);
  const Addr local = test::Address("198.18.1.10");
  REQUIRE(build_icmp_error(packet, IcmpError::kHostUnreachable, 0, local, 7, &out.frames[0]));
  CHECK_EQ(test::Part(test::BytesOf(out.frames[0]), 16, 4), test::AddressBytes("198.18.0.7"));
}

TEST(icmp_related_types) {
  for (const bool six : {false, true}) {
    const Bytes about = Build(Flow(six, kProtoTcp)).bytes;
    for (unsigned type = 0; type < 256; type++) {
      const OwnFrame own(Error(six ? "2001:db8:1::10" : "198.18.1.10",
                               six ? "2001:db8::7" : "198.18.0.7", static_cast<uint8_t>(type),
                               about, 100));
      const Packet packet = Parsed(own);
      FlowKey inverse;
      const bool related = six ? type < 128 : type == 3 || type == 4 || type == 11;
      CHECK_EQ(quoted_flow(packet, &inverse), related);
    }
  }
}

TEST(icmp_related_needs_the_ports_of_the_quoted_transport) {
  for (const bool six : {false, true}) {
    const Bytes about = Build(Flow(six, kProtoUdp)).bytes;
    const size_t needed = (six ? 40 : 20) + 4;
    for (size_t quoted = 0; quoted <= about.size(); quoted++) {
      const OwnFrame own(Error(six ? "2001:db8:1::10" : "198.18.1.10",
                               six ? "2001:db8::7" : "198.18.0.7", 3, about, quoted));
      FlowKey inverse;
      CHECK_EQ(quoted_flow(Parsed(own), &inverse), quoted >= needed);
    }
  }
}

TEST(icmp_related_forth_and_back_is_identity) {
  Random random(31);
  for (int round = 0; round < 4000; round++) {
    const bool six = random.Below(2) != 0;
    Text about = Flow(six, random.Below(2) != 0 ? kProtoTcp : kProtoUdp);
    about.payload = Bytes(random.Below(64), static_cast<uint8_t>(random.Next()));
    about.ttl = static_cast<uint8_t>(random.Next());
    if (six && random.Below(2) != 0) about.extensions = {{60, test::Hex("00 01 04 0000 0000")}};
    if (!six) about.ip_options = Bytes(random.Below(4) * 4, 1);
    const Corner a = At(about.source, about.source_port);
    const Corner b = At(about.destination, about.destination_port);
    const Corner c =
        At(six ? "2001:db8:3::fa" : "198.18.3.250", static_cast<uint16_t>(random.Next()));
    const Corner d = At(six ? "2001:db8:2::1" : "198.18.2.1", static_cast<uint16_t>(random.Next()));
    const Bytes before = Error(about.destination, about.source, 3, Build(about).bytes,
                               (six ? 56 : 40) + random.Below(80));
    const OwnFrame own(before);
    Packet packet = Parsed(own);
    FlowKey inverse;
    if (!quoted_flow(packet, &inverse)) continue;  // the options left no room for the ports
    REQUIRE(Rewrite(packet, d, c, c, d));
    CHECK_EQ(test::WrongIn(test::BytesOf(packet.frame)), "");
    REQUIRE(quoted_flow(packet, &inverse));
    CHECK(inverse.source == d.address && inverse.destination == c.address);
    CHECK(inverse.source_port == d.port && inverse.destination_port == c.port);
    REQUIRE(Rewrite(packet, b, a, a, b));
    CHECK_EQ(test::BytesOf(packet.frame), before);
  }
}

TEST(icmp_related_with_one_wrong_bit_is_refused_and_left_alone) {
  for (const bool six : {false, true}) {
    const Bytes good =
        Error(six ? "2001:db8:1::10" : "198.18.1.10", six ? "2001:db8::7" : "198.18.0.7", 3,
              Build(Flow(six, kProtoTcp)).bytes, 1000);
    const Corner other = At(six ? "2001:db8:3::fa" : "198.18.3.250", 1025);
    const size_t quote = six ? 48 : 28;
    for (size_t at = quote - 4; at < good.size(); at++) {
      Bytes bad = good;
      bad[at] ^= 0x10;
      const OwnFrame own(bad);
      Packet packet = Parsed(own);
      FlowKey inverse;
      if (!quoted_flow(packet, &inverse)) continue;
      CHECK(!Rewrite(packet, other, other, other, other));
      CHECK_EQ(test::BytesOf(packet.frame), bad);
    }
    const OwnFrame own(good);
    Packet packet = Parsed(own);
    CHECK(Rewrite(packet, other, other, other, other));
  }
}

TEST(icmp_related_with_partial_checksum) {
  for (const bool six : {false, true}) {
    const std::string from = six ? "2001:db8:1::10" : "198.18.1.10";
    const std::string to = six ? "2001:db8::7" : "198.18.0.7";
    Text text;
    text.source = from;
    text.destination = to;
    text.protocol = six ? kProtoIcmp6 : kProtoIcmp;
    text.icmp_type = 3;
    text.payload = Bytes(4, 0);
    test::PutAll(text.payload, Build(Flow(six, kProtoTcp)).bytes);
    text.partial = true;
    const OwnFrame own(Build(text));
    Packet packet = Parsed(own);
    REQUIRE(CHECK_EQ(packet.kind, PacketKind::kIcmp));
    const Corner other = At(six ? "2001:db8:3::fa" : "198.18.3.250", 1025);
    CHECK(Rewrite(packet, other, other, other, other));
    CHECK_EQ(test::WrongIn(test::BytesOf(packet.frame)), "");
    CHECK(!packet.checksum_partial());
  }
}

}  // namespace uvs
