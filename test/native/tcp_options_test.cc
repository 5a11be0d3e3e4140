// TCP options in flight: every edit against a packet built anew from what must come out, for both
// families, complete and partial checksums and super-packets.
#include "forward/tcp_options.h"

#include "check.h"
#include "forward/forward.h"
#include "packet_text.h"
#include "parse/parse.h"

namespace uvs {
namespace {

using test::Bytes;
using test::Hex;
using test::OwnFrame;
using test::Text;

// A packet in memory of its own, parsed.
struct Live {
  explicit Live(const Text& text) : built(test::Build(text)), own(built) {
    packet.frame = own.frame();
    parse(packet, built.link);
    CHECK(packet.kind == PacketKind::kFlow);
  }
  test::Built built;
  OwnFrame own;
  Packet packet{};
};

// The packet, and the virtio header that goes with it, must be those of `want`.
void Same(const Packet& packet, const Text& want) {
  const test::Built built = test::Build(want);
  const size_t link = want.ethernet ? 14 : 0;
  CHECK_EQ(test::IpBytes(packet), test::Part(built.bytes, link, built.bytes.size() - link));
  CHECK_EQ(packet.frame.length, packet.l3 + packet.l3_bytes);
  CHECK_EQ(packet.frame.vnet.flags, built.vnet.flags);
  CHECK_EQ(packet.frame.vnet.gso_size, built.vnet.gso_size);
  if (want.partial) CHECK_EQ(packet.frame.vnet.csum_start, packet.l4);
}

// The same segment as a plain packet, with a partial checksum, and as a super-packet, in both
// families and with and without link header.
std::vector<Text> Kinds(const Text& text) {
  std::vector<Text> out;
  for (const bool six : {false, true}) {
    for (int kind = 0; kind < 3; kind++) {
      Text one = text;
      if (six) {
        one.source = "2001:db8::7";
        one.destination = "2001:db8:1::10";
      }
      one.partial = kind > 0;
      one.gso_size = kind == 2 ? 500 : 0;
      one.ethernet = kind != 1;
      if (kind == 2) one.payload = Bytes(3000, 0x5a);
      out.push_back(one);
    }
  }
  return out;
}

Bytes Ip(Text text) {
  text.ethernet = false;
  return test::Build(text).bytes;
}

Text Segment(const std::string& options, const Bytes& payload = Hex("0102030405")) {
  Text text;
  text.tcp_options = Hex(options);
  text.payload = payload;
  return text;
}

TEST(options_are_walked_to_their_end) {
  const auto list = [](const std::string& options) {
    const Bytes header = test::TransportHeader(Segment(options, {}));
    std::string seen;
    TcpOption option;
    for (TcpOptionWalk walk(header.data()); walk.next(&option);) {
      seen += std::to_string(option.kind) + "/" + std::to_string(option.length) + "@" +
              std::to_string(option.offset) + " ";
    }
    return seen;
  };
  CHECK_EQ(list(""), "");
  CHECK_EQ(list("020405b4 0402080a 00000001 00000002 01030307"),
           "2/4@20 4/2@24 8/10@26 1/1@36 3/3@37 ");
  CHECK_EQ(list("01 00 0204"), "1/1@20 ");                 // the end of the list
  CHECK_EQ(list("01 01 01 05"), "1/1@20 1/1@21 1/1@22 ");  // no room for its length
  CHECK_EQ(list("0200 0000"), "");                         // a length that cannot be
  CHECK_EQ(list("0201 0000"), "");
  CHECK_EQ(list("0402 0205"), "4/2@20 ");    // leaves the header
  CHECK_EQ(list("ff04 0000"), "255/4@20 ");  // unknown ones are options too
}

TEST(in_place_edits_keep_the_checksum) {
  for (Text text : Kinds(Segment("020405b4 0402 080a 00000001 00000002 01030307"))) {
    text.tcp_flags = kTcpSyn;
    Live live(text);
    uint64_t sum = shift_sequence(live.packet.transport(), 0x10203040);
    sum += shift_acknowledgement(live.packet.transport(), 0xfffffff0);
    sum += blank_options(live.packet.transport(), kTcpOptionTimestamps);
    sum += reduce_mss(live.packet.transport(), 20);
    add_to_checksum(live.packet, sum, 0);
    text.sequence += 0x10203040;
    text.acknowledgement -= 16;
    text.tcp_options = Hex("020405a0 0402 01*10 01030307");
    Same(live.packet, text);
  }
}

TEST(an_mss_below_the_reduction_stays) {
  Live live(Segment("02040008"));
  CHECK_EQ(reduce_mss(live.packet.transport(), 8), 0u);
  Same(live.packet, Segment("02040008"));
}

// SACK edges at even and odd places, up to four blocks.
TEST(sack_edges_are_mapped_at_any_place) {
  const auto map = [](uint32_t edge) { return edge + 0x01010101; };
  const struct {
    const char* before;
    const char* after;
  } cases[] = {
      {"0101 050a 00000010 00000020", "0101 050a 01010111 01010121"},
      {"01 050a 00000010 fffffff0 00", "01 050a 01010111 010100f1 00"},
      {"0512 00000010 00000020 ffffffff 00000001 0101",
       "0512 01010111 01010121 01010100 01010102 0101"},
      {"0101 080a 00000001 00000002 01 0512 00000010 00000020 00000030 00000040 01",
       "0101 080a 00000001 00000002 01 0512 01010111 01010121 01010131 01010141 01"},
      {"0101 0522 00000001 00000002 00000003 00000004 00000005 00000006 00000007 00000008",
       "0101 0522 01010102 01010103 01010104 01010105 01010106 01010107 01010108 01010109"},
      {"0509 00000010 000000 010101", "0509 00000010 000000 010101"},  // no whole block
  };
  for (const auto& each : cases) {
    for (Text text : Kinds(Segment(each.before))) {
      Live live(text);
      CHECK(may_have_sack(live.packet.transport()));
      add_to_checksum(live.packet, map_sack(live.packet.transport(), map), 0);
      text.tcp_options = Hex(each.after);
      Same(live.packet, text);
    }
  }
  CHECK(!may_have_sack(Live(Segment("")).packet.transport()));
  CHECK(!may_have_sack(Live(Segment("0101080a 00000001 00000002")).packet.transport()));
}

TEST(an_option_goes_in_front_of_the_others) {
  const Bytes four = Hex("fe089c40c6336407");
  const Bytes six = Hex("fe149c4020010db8000000000000000000000007");
  for (const Bytes& option : {four, six}) {
    for (Text text : Kinds(Segment("0101080a 00000001 00000002"))) {
      Live live(text);
      REQUIRE(
          insert_option(live.packet, option.data(), static_cast<uint32_t>(option.size()), 1500));
      Bytes all = option;
      test::PutAll(all, text.tcp_options);
      text.tcp_options = all;
      Same(live.packet, text);
    }
  }
}

TEST(an_option_never_exceeds_a_limit) {
  const Bytes option = Hex("fe089c40c6336407");
  // 60 bytes of header.
  Text text = Segment("01*36");
  Live full(text);
  CHECK(!insert_option(full.packet, option.data(), 8, 1500));
  Same(full.packet, text);
  // The MTU, to the byte.
  text = Segment("", Bytes(1452, 1));
  Live fits(text);
  CHECK(insert_option(fits.packet, option.data(), 8, 1500));
  text.payload.push_back(1);
  Live too_long(text);
  CHECK(!insert_option(too_long.packet, option.data(), 8, 1500));
  Same(too_long.packet, text);
  // The room in front.
  Live no_room(text);
  no_room.packet.frame.headroom = kEthernetBytes + kVnetHeaderBytes + 7;
  CHECK(!insert_option(no_room.packet, option.data(), 8, 2000));
  no_room.packet.frame.headroom++;
  CHECK(insert_option(no_room.packet, option.data(), 8, 2000));
  // 65535 bytes of a super-packet.
  text.partial = true;
  text.gso_size = 1460;
  text.payload = Bytes(65535 - 40 - 7, 1);
  Live longest(text);
  CHECK(!insert_option(longest.packet, option.data(), 8, 1500));
  Same(longest.packet, text);
}

// The segments of a super-packet become shorter so that the option fits into each.
TEST(segments_of_a_super_packet_stay_within_the_mtu) {
  Text text = Segment("", Bytes(4000, 7));
  text.partial = true;
  text.gso_size = 1460;
  Live live(text);
  live.packet.frame.vnet.hdr_len = 40;
  REQUIRE(insert_option(live.packet, Hex("fe089c40c6336407").data(), 8, 1500));
  text.tcp_options = Hex("fe089c40c6336407");
  text.gso_size = 1452;
  Same(live.packet, text);
  CHECK_EQ(live.packet.frame.vnet.hdr_len, 48);
}

TEST(options_are_pruned_in_the_order_of_dpvs) {
  const struct {
    const char* before;
    uint32_t bytes;
    bool syn;
    const char* after;
  } cases[] = {
      // Fillers and a client's own 254 go first; nothing changes where nothing is won.
      {"0101080a 00000001 00000002", 4, false, "0101080a 00000001 00000002"},
      {"01010101 0402 0101", 0, false, "0402 0000"},
      {"fe08 9c40 01020304 01010101", 4, false, ""},
      {"fe08 9c40 01020304 01010402", 4, false, "0402 0000"},
      // Then from the front, as many as are too many; timestamps stay.
      {"050a 00000001 00000002 080a 00000001 00000002", 8, false, "080a 00000001 00000002 0000"},
      {"0504 0000 fd04 0000 fc04 0000", 4, false, "fd04 0000 fc04 0000"},
      {"0504 0000 fd04 0000 fc04 0000", 5, false, "fc04 0000"},
      // A SYN keeps what sets the connection up.
      {"020405b4 fd04 0000 0402 2202 03030700", 4, true, "020405b4 0402 2202 030307 00"},
      {"020405b4 0402 0101 1e04 0000 03030701", 20, true, "020405b4 0402 0101 1e04 0000 03030701"},
      {"020405b4 0402 0101 010101 1e04 0000 030307 0101", 20, true,
       "020405b4 0402 1e04 0000 030307 000000"},
      {"020405b4 fd04 0000", 8, false, ""},
      {"", 8, false, ""},
  };
  for (const auto& each : cases) {
    for (Text text : Kinds(Segment(each.before))) {
      Live live(text);
      const Bytes after = Hex(each.after);
      CHECK_EQ(prune_options(live.packet, each.bytes, each.syn),
               text.tcp_options.size() - after.size());
      text.tcp_options = after;
      Same(live.packet, text);
    }
  }
}

TEST(a_payload_is_spliced_at_its_start) {
  const Bytes old = Hex("0102030405060708090a0b");
  for (const uint8_t protocol : {kProtoTcp, kProtoUdp}) {
    for (uint32_t remove = 0; remove <= 5; remove++) {
      for (uint32_t count = 0; count <= 7; count++) {
        for (Text text : Kinds(Segment(""))) {
          text.protocol = protocol;
          if (text.gso_size != 0 && protocol == kProtoUdp) continue;
          if (text.gso_size == 0) text.payload = old;
          Live live(text);
          const Bytes bytes(count, 0xc3);
          CHECK(splice_payload(live.packet, remove, bytes.data(), count));
          Bytes all = bytes;
          test::PutAll(all, test::Part(text.payload, remove, text.payload.size() - remove));
          text.payload = all;
          Same(live.packet, text);
        }
      }
    }
  }
}

// Spec 5.5.2: a wrong checksum is carried through, so that the receiver still sees that it is.
TEST(a_wrong_checksum_stays_wrong_by_as_much) {
  Text text = Segment("0101080a 00000001 00000002");
  Live live(text);
  live.packet.transport()[17] ^= 0x55;
  REQUIRE(insert_option(live.packet, Hex("fe089c40c6336407").data(), 8, 1500));
  REQUIRE(splice_payload(live.packet, 2, Hex("aabbccdd").data(), 4));
  CHECK_NE(test::WrongIn(test::IpBytes(live.packet)), "");
  text.tcp_options = Hex("fe089c40c6336407 0101080a 00000001 00000002");
  text.payload = Hex("aabbccdd 030405");
  const Bytes good = Ip(text);
  const uint32_t is = test::Get16(test::IpBytes(live.packet), 36);
  const uint32_t was = test::Get16(Ip(Segment("0101080a 00000001 00000002")), 36);
  // The same difference, in one's complement.
  const auto apart = [](uint32_t a, uint32_t b) { return (a + 0xffff - b) % 0xffff; };
  CHECK_EQ(apart(is, test::Get16(good, 36)), apart(was ^ 0x55, was));
}

TEST(a_udp_packet_without_checksum_keeps_none) {
  Text text = Segment("");
  text.protocol = kProtoUdp;
  text.udp_checksum = false;
  Live live(text);
  CHECK(splice_payload(live.packet, 0, Hex("aabb").data(), 2));
  text.payload = Hex("aabb 0102030405");
  Same(live.packet, text);
}

// Random headers through every edit: nothing outside the packet is touched (the sanitizer sees it)
// and the checksums stay good. Seed 7.
TEST(random_options_survive_every_edit) {
  test::Random random(7);
  for (int round = 0; round < 20000; round++) {
    Text text = Segment("", Bytes(random.Below(40), 0x33));
    text.tcp_options.resize(random.Below(11) * 4);
    for (uint8_t& byte : text.tcp_options) {
      const uint8_t kinds[] = {0, 1, 2, 3, 4, 5, 8, 10, 254};
      byte = random.Below(3) == 0 ? static_cast<uint8_t>(random.Next())
                                  : kinds[random.Below(std::size(kinds))];
    }
    text.partial = random.Below(4) == 0;
    Live live(text);
    uint8_t* tcp = live.packet.transport();
    uint64_t sum = map_sack(tcp, [](uint32_t edge) { return edge * 3 + 1; });
    sum += blank_options(tcp, kTcpOptionTimestamps) + reduce_mss(tcp, 8);
    add_to_checksum(live.packet, sum, 0);
    prune_options(live.packet, static_cast<uint32_t>(random.Below(21)), random.Below(2) != 0);
    insert_option(live.packet, Hex("fe089c40c6336407").data(), 8, 100);
    const Bytes splice(random.Below(9), 0x99);
    const auto cut = static_cast<uint32_t>(random.Below(text.payload.size() + 1));
    CHECK(splice_payload(live.packet, cut, splice.data(), static_cast<uint32_t>(splice.size())));
    if (live.packet.checksum_partial()) complete_checksum(live.packet);
    const std::string wrong = test::WrongIn(test::IpBytes(live.packet));
    if (!CHECK_EQ(wrong, "")) return;
  }
}

}  // namespace
}  // namespace uvs
