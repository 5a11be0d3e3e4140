// Segments and fragments of random packets: put together again they are the packet, and every one
// of them satisfies an independent slow verifier. And every way in which cutting can refuse.
#include "check.h"
#include "forward/forward.h"
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

Text Base(bool six, uint8_t protocol) {
  Text text;
  if (six) text.source = "2001:db8::7", text.destination = "2001:db8:1::10";
  text.protocol = protocol;
  return text;
}

Bytes RandomBytes(Random& random, size_t bytes) {
  Bytes out(bytes);
  for (uint8_t& b : out) b = static_cast<uint8_t>(random.Next());
  return out;
}

Packet Parsed(const OwnFrame& own, Link link) {
  Packet packet{};
  packet.frame = own.frame();
  parse(packet, link);
  CHECK_EQ(packet.kind, PacketKind::kFlow);
  return packet;
}

// Checks one segment's headers against the super-packet and returns its payload.
Bytes CheckSegment(const Bytes& piece, const Text& whole, size_t headers, uint32_t index,
                   uint32_t offset, bool last) {
  CHECK_EQ(test::WrongIn(piece), "");
  const size_t l4 = headers - (whole.protocol == kProtoTcp ? 20 + whole.tcp_options.size() : 8);
  if (!whole.six()) {
    CHECK_EQ(test::Get16(piece, 4), static_cast<uint16_t>(whole.id + index));
  }
  if (whole.protocol == kProtoTcp) {
    CHECK_EQ(test::Get32(piece, l4 + 4), whole.sequence + offset);
    uint8_t flags = whole.tcp_flags;
    if (!last) flags &= 0xf6;
    if (index != 0) flags &= 0x7f;
    CHECK_EQ(piece[l4 + 13], flags);
  }
  return test::Part(piece, headers, piece.size() - headers);
}

}  // namespace

TEST(segment_pieces_are_the_payload_again) {
  Random random(21);
  for (int round = 0; round < 300; round++) {
    const bool tcp = random.Below(2) != 0;
    Text text = Base(random.Below(2) != 0, tcp ? kProtoTcp : kProtoUdp);
    text.id = static_cast<uint16_t>(random.Next());
    text.sequence = static_cast<uint32_t>(random.Next());
    text.tcp_flags = static_cast<uint8_t>(random.Next());
    if (tcp) text.tcp_options = Bytes(random.Below(11) * 4, 1);
    if (!text.six()) text.ip_options = Bytes(random.Below(11) * 4, 1);
    text.partial = true;
    text.gso_size = static_cast<uint16_t>(1 + random.Below(1500));
    text.payload = RandomBytes(random, 1 + random.Below(text.gso_size * 60));
    if (text.payload.size() > 65000) text.payload.resize(65000);
    text.ethernet = random.Below(2) != 0;
    const Built built = Build(text);
    const OwnFrame own(built);
    const Packet packet = Parsed(own, built.link);

    Pieces pieces(kSegmentsPerSuperFrame);
    const uint32_t count = segment(packet, pieces.frames.data(), kSegmentsPerSuperFrame);
    CHECK_EQ(count, (text.payload.size() + text.gso_size - 1) / text.gso_size);
    const size_t headers = packet.l3_bytes - text.payload.size();
    Bytes together;
    for (uint32_t i = 0; i < count; i++) {
      CHECK_EQ(pieces.frames[i].vnet.flags, 0);
      CHECK_EQ(pieces.frames[i].headroom, kHeadroom);
      test::PutAll(together, CheckSegment(test::BytesOf(pieces.frames[i]), text, headers, i,
                                          static_cast<uint32_t>(together.size()), i + 1 == count));
    }
    CHECK_EQ(together, text.payload);
    CHECK_EQ(test::BytesOf(packet.frame), built.bytes);
  }
}

TEST(segment_uses_the_ends_after_a_rewrite) {
  for (const bool six : {false, true}) {
    Text text = Base(six, kProtoTcp);
    text.partial = true;
    text.gso_size = 1000;
    text.payload = Bytes(2500, 3);
    const OwnFrame own(Build(text));
    Packet packet = Parsed(own, Link::kIp);
    const Addr from = test::Address(six ? "2001:db8:3::fa" : "198.18.3.250");
    const Addr to = test::Address(six ? "2001:db8:2::1" : "198.18.2.1");
    rewrite_ends(packet, Ends{&from, &to, Be16::of(1025), Be16::of(8080)});
    Pieces pieces(3);
    CHECK_EQ(segment(packet, pieces.frames.data(), 3), 3);
    for (const Frame& frame : pieces.frames) CHECK_EQ(test::WrongIn(test::BytesOf(frame)), "");
  }
}

TEST(segment_refuses_when_there_are_too_few_frames) {
  Text text = Base(false, kProtoTcp);
  text.partial = true;
  text.gso_size = 100;
  text.payload = Bytes(1000, 1);
  const OwnFrame own(Build(text));
  const Packet packet = Parsed(own, Link::kIp);
  Pieces pieces(10);
  CHECK_EQ(segment(packet, pieces.frames.data(), 10), 10);
  CHECK_EQ(segment(packet, pieces.frames.data(), 9), 0);
  CHECK_EQ(segment(packet, pieces.frames.data(), 0), 0);
}

TEST(segment_longer_than_a_frame_is_cut_for_tcp_and_refused_for_udp) {
  for (const uint8_t protocol : {kProtoTcp, kProtoUdp}) {
    Text text = Base(false, protocol);
    text.partial = true;
    text.gso_size = 8000;
    text.payload = Bytes(16000, 1);
    const OwnFrame own(Build(text));
    const Packet packet = Parsed(own, Link::kIp);
    Pieces pieces(64);
    const uint32_t count = segment(packet, pieces.frames.data(), 64);
    if (protocol == kProtoUdp) {
      CHECK_EQ(count, 0);
      continue;
    }
    constexpr uint32_t kRoom = kFrameSlotBytes - kHeadroom - 40;
    CHECK_EQ(count, (16000 + kRoom - 1) / kRoom);
    for (uint32_t i = 0; i < count; i++) {
      CHECK_LE(pieces.frames[i].length, kFrameSlotBytes - kHeadroom);
      CHECK_EQ(test::WrongIn(test::BytesOf(pieces.frames[i])), "");
    }
  }
}

TEST(segment_of_a_super_packet_without_payload_is_one_packet) {
  Text text = Base(false, kProtoTcp);
  text.partial = true;
  text.gso_size = 1448;
  const OwnFrame own(Build(text));
  const Packet packet = Parsed(own, Link::kIp);
  Pieces pieces(1);
  CHECK_EQ(segment(packet, pieces.frames.data(), 1), 1);
  CHECK_EQ(test::WrongIn(test::BytesOf(pieces.frames[0])), "");
}

TEST(segment_complete_checksum_of_every_length) {
  for (const bool six : {false, true}) {
    for (const uint8_t protocol : {kProtoTcp, kProtoUdp}) {
      for (size_t length = 0; length < 80; length++) {
        Text text = Base(six, protocol);
        text.payload = Bytes(length, static_cast<uint8_t>(length));
        const Bytes want = Build(text).bytes;
        text.partial = true;
        const OwnFrame own(Build(text));
        Packet packet = Parsed(own, Link::kIp);
        complete_checksum(packet);
        CHECK_EQ(test::BytesOf(packet.frame), want);
        CHECK(!packet.checksum_partial());
      }
    }
  }
}

TEST(segment_complete_checksum_of_udp_that_comes_out_as_zero) {
  Text text = Base(false, kProtoUdp);
  text.payload = Bytes(2, 0);
  const Bytes plain = Build(text).bytes;
  // With the checksum itself as payload the sum over all is zero.
  text.payload = test::Part(plain, 26, 2);
  text.partial = true;
  const OwnFrame own(Build(text));
  Packet packet = Parsed(own, Link::kIp);
  complete_checksum(packet);
  CHECK_EQ(test::Get16(test::BytesOf(packet.frame), 26), 0xffff);
}

TEST(segment_complete_checksum_makes_a_super_packet_one_long_packet) {
  Text text = Base(false, kProtoTcp);
  text.payload = Bytes(5000, 9);
  text.partial = true;
  text.gso_size = 1000;
  const OwnFrame own(Build(text));
  Packet packet = Parsed(own, Link::kIp);
  complete_checksum(packet);
  CHECK(!packet.is_gso());
  CHECK_EQ(test::WrongIn(test::IpBytes(packet)), "");
}

TEST(segment_fragments_are_the_packet_again) {
  Random random(22);
  for (int round = 0; round < 2000; round++) {
    Text text = Base(false, kProtoUdp);
    text.id = static_cast<uint16_t>(random.Next());
    text.fragment = random.Below(2) != 0 ? 0x4000 : 0;
    text.ip_options = Bytes(random.Below(11) * 4, 1);
    text.payload = RandomBytes(random, random.Below(6000));
    const Built built = Build(text);
    const OwnFrame own(built);
    const Packet packet = Parsed(own, Link::kIp);
    const auto mtu = static_cast<uint32_t>(68 + random.Below(1600));

    Pieces pieces(800);
    const uint32_t count = fragment_ip4(packet, mtu, pieces.frames.data(), 800);
    CHECK_GT(count, 0);
    Bytes together;
    for (uint32_t i = 0; i < count; i++) {
      const Bytes piece = test::BytesOf(pieces.frames[i]);
      const size_t header = (piece[0] & 15u) * 4;
      CHECK_LE(piece.size(), mtu);
      CHECK_EQ(Bytes(piece.begin() + 12, piece.begin() + 20),
               Bytes(built.bytes.begin() + 12, built.bytes.begin() + 20));
      CHECK_EQ(test::SlowSum(test::Part(piece, 0, header)), 0xffff);
      CHECK_EQ(test::Get16(piece, 2), piece.size());
      CHECK_EQ(test::Get16(piece, 4), text.id);
      const uint32_t more = i + 1 == count ? 0 : 0x2000;
      CHECK_EQ(test::Get16(piece, 6), more | together.size() / 8);
      CHECK_EQ(header, i == 0 ? 20 + text.ip_options.size() : 20);
      test::PutAll(together, test::Part(piece, header, piece.size() - header));
    }
    const size_t header = 20 + text.ip_options.size();
    CHECK_EQ(together, test::Part(built.bytes, header, built.bytes.size() - header));
  }
}

TEST(segment_fragments_refuse_what_cannot_be) {
  Text text = Base(false, kProtoUdp);
  text.fragment = 0;
  text.payload = Bytes(3000, 1);
  const OwnFrame own(Build(text));
  const Packet packet = Parsed(own, Link::kIp);
  Pieces pieces(8);
  CHECK_EQ(fragment_ip4(packet, 1500, pieces.frames.data(), 3), 3);
  CHECK_EQ(fragment_ip4(packet, 1500, pieces.frames.data(), 2), 0);
  CHECK_EQ(fragment_ip4(packet, 27, pieces.frames.data(), 8), 0);  // no room for eight bytes
  CHECK_EQ(fragment_ip4(packet, 0, pieces.frames.data(), 8), 0);
}

TEST(segment_fragments_survive_broken_options) {
  // Copied option whose length runs over the end, of length 0, of length 1, without a length.
  for (const char* options : {"94 20 0000", "94 00 0000", "94 01 0000", "01 01 01 94"}) {
    Text text = Base(false, kProtoUdp);
    text.fragment = 0;
    text.ip_options = test::Hex(options);
    text.payload = Bytes(100, 1);
    const OwnFrame own(Build(text));
    const Packet packet = Parsed(own, Link::kIp);
    Pieces pieces(8);
    CHECK_EQ(fragment_ip4(packet, 76, pieces.frames.data(), 8), 3);
    CHECK_EQ(test::BytesOf(pieces.frames[1])[0], 0x45);
  }
}

}  // namespace uvs
