// Rewriting, TTL, MTU and link headers over random packets (tunnels: tunnel_test.cc): an
// independent slow verifier must accept what comes out, and the way back must lead to where the
// packet came from.
#include "forward/forward.h"

#include "check.h"
#include "forward/tunnel.h"
#include "packet_text.h"
#include "parse/parse.h"

namespace uvs {
namespace {

using test::Built;
using test::Bytes;
using test::OwnFrame;
using test::Random;
using test::Text;

std::string RandomAddress(Random& random, bool six) {
  char text[64];
  const auto a = static_cast<unsigned>(random.Below(65536));
  const auto b = static_cast<unsigned>(1 + random.Below(65535));
  if (six) {
    std::snprintf(text, sizeof text, "2001:db8:%x::%x:%x", a, a, b);
  } else {
    std::snprintf(text, sizeof text, "198.%u.%u.%u", 18 + a % 2, b >> 8, b & 255);
  }
  return text;
}

Bytes RandomBytes(Random& random, size_t bytes) {
  Bytes out(bytes);
  for (uint8_t& b : out) b = static_cast<uint8_t>(random.Next());
  return out;
}

// A good packet of any shape that a flow may have.
Text RandomText(Random& random) {
  Text text;
  const bool six = random.Below(2) != 0;
  text.source = RandomAddress(random, six);
  text.destination = RandomAddress(random, six);
  text.source_port = static_cast<uint16_t>(random.Next());
  text.destination_port = static_cast<uint16_t>(random.Next());
  text.protocol = random.Below(2) != 0 ? kProtoTcp : kProtoUdp;
  text.ttl = static_cast<uint8_t>(2 + random.Below(254));
  text.tos = static_cast<uint8_t>(random.Next());
  text.id = static_cast<uint16_t>(random.Next());
  text.fragment = random.Below(2) != 0 ? 0x4000 : 0;
  text.sequence = static_cast<uint32_t>(random.Next());
  text.tcp_flags = static_cast<uint8_t>(random.Next());
  text.tcp_options = Bytes(random.Below(11) * 4, 1);
  text.payload = RandomBytes(random, random.Below(300));
  text.ethernet = random.Below(2) != 0;
  if (six && random.Below(2) != 0) text.extensions = {{60, test::Hex("00 01 04 0000 0000")}};
  if (!six) text.ip_options = Bytes(random.Below(11) * 4, 1);
  return text;
}

Packet Parsed(const OwnFrame& own, Link link) {
  Packet packet{};
  packet.frame = own.frame();
  parse(packet, link);
  CHECK_EQ(packet.kind, PacketKind::kFlow);
  return packet;
}

void Rewrite(Packet& packet, const Text& to) {
  const Addr source = test::Address(to.source);
  const Addr destination = test::Address(to.destination);
  rewrite_ends(
      packet, Ends{&source, &destination, Be16::of(to.source_port), Be16::of(to.destination_port)});
}

// `text` with other ends, as often as not keeping one of them.
Text OtherEnds(Random& random, const Text& text) {
  Text other = text;
  if (random.Below(2) != 0) {
    other.source = RandomAddress(random, text.six());
    other.source_port = static_cast<uint16_t>(random.Next());
  }
  if (random.Below(2) != 0) {
    other.destination = RandomAddress(random, text.six());
    other.destination_port = static_cast<uint16_t>(random.Next());
  }
  return other;
}

}  // namespace

TEST(forward_rewrite_equals_a_packet_built_so_and_back_is_identity) {
  Random random(11);
  for (int round = 0; round < 20000; round++) {
    const Text text = RandomText(random);
    const Text other = OtherEnds(random, text);
    const Built before = Build(text);
    const OwnFrame own(before);
    Packet packet = Parsed(own, before.link);
    Rewrite(packet, other);
    CHECK_EQ(test::BytesOf(packet.frame), Build(other).bytes);
    CHECK_EQ(test::WrongIn(test::IpBytes(packet)), "");
    Rewrite(packet, text);
    CHECK_EQ(test::BytesOf(packet.frame), before.bytes);
  }
}

TEST(forward_rewrite_of_partial_checksums) {
  Random random(12);
  for (int round = 0; round < 10000; round++) {
    Text text = RandomText(random);
    text.partial = true;
    text.gso_size = random.Below(2) != 0 ? 64 : 0;
    const Built before = Build(text);
    const OwnFrame own(before);
    Packet packet = Parsed(own, before.link);
    const Text other = OtherEnds(random, text);
    Rewrite(packet, other);
    CHECK_EQ(test::BytesOf(packet.frame), Build(other).bytes);
    CHECK_EQ(packet.frame.vnet.csum_start, before.vnet.csum_start);
    CHECK_EQ(packet.frame.vnet.gso_size, before.vnet.gso_size);
    complete_checksum(packet);
    CHECK_EQ(test::WrongIn(test::IpBytes(packet)), "");
  }
}

TEST(forward_rewrite_gives_udp_without_checksum_a_full_one) {
  Random random(13);
  for (int round = 0; round < 5000; round++) {
    Text text = RandomText(random);
    text.protocol = kProtoUdp;
    text.udp_checksum = false;
    const Built before = Build(text);
    const OwnFrame own(before);
    Packet packet = Parsed(own, before.link);
    const Text other = OtherEnds(random, text);
    Rewrite(packet, other);
    CHECK_EQ(test::WrongIn(test::IpBytes(packet)), "");
  }
}

TEST(forward_ttl_over_its_whole_range) {
  Random random(14);
  for (const bool six : {false, true}) {
    for (unsigned ttl = 2; ttl < 256; ttl++) {
      Text text = RandomText(random);
      text.source = RandomAddress(random, six);
      text.destination = RandomAddress(random, six);
      text.extensions.clear();
      text.ip_options.clear();
      text.ttl = static_cast<uint8_t>(ttl);
      const Built built = Build(text);
      const OwnFrame own(built);
      Packet packet = Parsed(own, built.link);
      decrement_ttl(packet);
      text.ttl--;
      CHECK_EQ(test::BytesOf(packet.frame), Build(text).bytes);
    }
  }
}

TEST(forward_fit_of_plain_packets) {
  for (const bool six : {false, true}) {
    for (const bool dont_fragment : {false, true}) {
      Text text;
      if (six) text.source = "2001:db8::7", text.destination = "2001:db8:1::10";
      text.fragment = dont_fragment ? 0x4000 : 0;
      text.payload = Bytes(1500 - (six ? 60 : 40), 1);
      const OwnFrame own(Build(text));
      const Packet packet = Parsed(own, Link::kIp);
      const Fit too_big = six || dont_fragment ? Fit::kTooBig : Fit::kFragment;
      CHECK_EQ(fit_to_mtu(packet, 1500), Fit::kFits);
      CHECK_EQ(fit_to_mtu(packet, 65535), Fit::kFits);
      CHECK_EQ(fit_to_mtu(packet, 1499), too_big);
      CHECK_EQ(fit_to_mtu(packet, 0), too_big);
    }
  }
}

TEST(forward_fit_of_super_packets_is_that_of_a_segment) {
  for (const bool six : {false, true}) {
    for (const uint8_t protocol : {kProtoTcp, kProtoUdp}) {
      Text text;
      if (six) text.source = "2001:db8::7", text.destination = "2001:db8:1::10";
      text.protocol = protocol;
      text.tcp_options = Bytes(12, 1);
      text.payload = Bytes(20000, 1);
      text.partial = true;
      text.gso_size = 1400;
      const OwnFrame own(Build(text));
      Packet packet = Parsed(own, Link::kIp);
      const uint32_t segment = (six ? 40 : 20) + (protocol == kProtoTcp ? 32 : 8) + 1400;
      CHECK_EQ(fit_to_mtu(packet, segment), Fit::kFits);
      CHECK_EQ(fit_to_mtu(packet, segment - 1), Fit::kTooBig);
      // The last segment may be the only one, and then it is as long as the packet.
      packet.frame.vnet.gso_size = 65000;
      CHECK_EQ(fit_to_mtu(packet, packet.l3_bytes), Fit::kFits);
      CHECK_EQ(fit_to_mtu(packet, packet.l3_bytes - 1), Fit::kTooBig);
    }
  }
}

TEST(forward_fit_lets_icmp_errors_pass_with_dont_fragment) {
  Text text{.protocol = kProtoIcmp, .payload = Bytes(600, 0), .icmp_type = 3};
  for (const uint8_t type : {uint8_t{3}, uint8_t{11}, uint8_t{8}}) {
    text.icmp_type = type;
    const OwnFrame own(Build(text));
    Packet packet{};
    packet.frame = own.frame();
    parse(packet, Link::kIp);
    CHECK_EQ(packet.kind, PacketKind::kIcmp);
    CHECK_EQ(fit_to_mtu(packet, 576), type == 8 ? Fit::kTooBig : Fit::kFragment);
  }
}

TEST(forward_link_header_after_every_method) {
  NextHop hop{};
  hop.link_bytes = 14;
  std::memcpy(hop.link, test::Hex("020000000009 020000000008 0000").data(), 14);
  for (const bool ethernet : {false, true}) {
    for (const bool tunnel : {false, true}) {
      Text text;
      text.ethernet = ethernet;
      text.partial = !tunnel;
      const Built built = Build(text);
      const OwnFrame own(built);
      Packet packet = Parsed(own, built.link);
      if (tunnel) {
        const Addr local = test::Address("198.18.5.1");
        const Addr remote = test::Address("198.18.5.2");
        const Tunnel ipip{kTunnelIpip, 0, {}};
        REQUIRE(encapsulate(packet, ipip, TunnelEnds{local, remote, {}, 1, true}));
      }
      const Bytes ip = test::IpBytes(packet);
      put_link(packet.frame, packet.l3, hop, 4);
      Bytes want = test::Hex("020000000009 020000000008 0800");
      test::PutAll(want, ip);
      CHECK_EQ(test::BytesOf(packet.frame), want);
      CHECK_EQ(packet.frame.vnet.csum_start, tunnel ? 0 : 14 + 20);
      CHECK_EQ(packet.frame.headroom, kHeadroom + (ethernet ? 14 : 0) - 14 - (tunnel ? 20 : 0));
    }
  }
}

}  // namespace uvs
