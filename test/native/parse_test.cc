// parse(): what good frames become, and the reason every bad one is given. Frames lie in buffers
// that end where they end, so that the address sanitizer sees every read behind them.
#include "parse/parse.h"

#include <optional>

#include "check.h"
#include "packet_text.h"

namespace uvs {
namespace {

using test::Built;
using test::Bytes;
using test::Extension;
using test::Hex;
using test::OwnFrame;
using test::Random;
using test::Text;

constexpr const char* kClient6 = "2001:db8::7";
constexpr const char* kVirtual6 = "2001:db8:1::10";

Text Tcp4() { return Text{}; }
Text Udp4() { return Text{.protocol = kProtoUdp, .payload = Hex("01 02 03")}; }
Text Icmp4() { return Text{.protocol = kProtoIcmp, .payload = Hex("0001 0002 aa*16")}; }
Text Tcp6() { return Text{.source = kClient6, .destination = kVirtual6}; }
Text Sctp4() { return Text{.protocol = kProtoSctp}; }
Text Sctp6() { return Text{.source = kClient6, .destination = kVirtual6, .protocol = kProtoSctp}; }
Text Udp6() {
  return Text{.source = kClient6,
              .destination = kVirtual6,
              .protocol = kProtoUdp,
              .payload = Hex("01 02 03")};
}
Text Icmp6() {
  return Text{.source = kClient6,
              .destination = kVirtual6,
              .protocol = kProtoIcmp6,
              .payload = Hex("0001 0002 aa*16"),
              .icmp_type = 128};
}

Packet Parse(const OwnFrame& own, Link link) {
  Packet packet{};
  packet.frame = own.frame();
  parse(packet, link);
  return packet;
}

// What parse() says about bytes, for rows of tables.
struct Seen {
  PacketKind kind;
  Reason reason;
};

Seen Judge(const Bytes& bytes, Link link, const VnetHdr& vnet = {}) {
  const OwnFrame own(bytes, vnet);
  const Packet packet = Parse(own, link);
  return {packet.kind, packet.reason};
}

void CheckReason(const char* name, const Seen& seen, PacketKind kind, Reason reason) {
  const bool right = seen.kind == kind && seen.reason == reason;
  if (!right) std::printf("  # %s\n", name);
  CHECK_EQ(seen.kind, kind);
  CHECK_EQ(kReasonNames[static_cast<size_t>(seen.reason)],
           kReasonNames[static_cast<size_t>(reason)]);
}

// Makes the IPv4 header checksum right again after a test changed a field.
Bytes Resummed(Bytes ip) {
  test::Set16(ip, 10, 0);
  test::Set16(ip, 10, 0xffff - test::SlowSum(test::Part(ip, 0, (ip[0] & 15u) * 4)));
  return ip;
}

Bytes With(Bytes bytes, size_t at, uint32_t value16) {
  test::Set16(bytes, at, value16);
  return bytes;
}

Bytes WithByte(Bytes bytes, size_t at, uint8_t value) {
  bytes.at(at) = value;
  return bytes;
}

void CheckFlow(const Text& text, uint32_t extra) {
  Text wanted = text;
  for (const bool ethernet : {false, true}) {
    wanted.ethernet = ethernet;
    const Built built = Build(wanted);
    const uint32_t l3 = ethernet ? 14 : 0;
    const OwnFrame own(built);
    const Packet packet = Parse(own, built.link);
    REQUIRE(CHECK_EQ(packet.kind, PacketKind::kFlow));
    CHECK_EQ(packet.family, text.six() ? 6 : 4);
    CHECK_EQ(packet.l3, l3);
    CHECK_EQ(packet.l4, l3 + (text.six() ? 40 : 20) + extra);
    CHECK_EQ(packet.l3_bytes, built.bytes.size() - l3);
    CHECK_EQ(packet.frame.length, built.bytes.size());
    CHECK_EQ(packet.ttl, text.ttl);
    CHECK_EQ(packet.key.protocol, text.protocol);
    CHECK(packet.key.source == test::Address(text.source));
    CHECK(packet.key.destination == test::Address(text.destination));
    CHECK_EQ(packet.key.source_port.host(), text.source_port);
    CHECK_EQ(packet.key.destination_port.host(), text.destination_port);
    CHECK_EQ(packet.tcp_flags, text.protocol == kProtoTcp ? text.tcp_flags : 0);
  }
}

const Bytes kFragmentFirst = Hex("00 0001 0000 0001");  // reserved, offset 0 and M, id
const Bytes kFragmentLater = Hex("00 0009 0000 0001");
const Bytes kFragmentAtomic = Hex("00 0000 0000 0001");
const Bytes kOptions8 = Hex("00 01 04 0000 0000");  // PadN
const Bytes kOptions16 = Hex("01 01 0c 00*12");
const Bytes kRoutingDone = Hex("00 00 00 0000 0000");  // segments left 0
const Bytes kRoutingOpen = Hex("00 00 01 0000 0000");
const Bytes kAuthentication24 = Hex("04 0000 00001001 00000001 a5*12");  // SPI, number, a sum of 96

}  // namespace

TEST(parse_plain_flows) {
  CheckFlow(Tcp4(), 0);
  CheckFlow(Udp4(), 0);
  CheckFlow(Tcp6(), 0);
  CheckFlow(Udp6(), 0);
  CheckFlow(Sctp4(), 0);
  CheckFlow(Sctp6(), 0);
}

TEST(parse_tcp_flags_ttl_and_dont_fragment) {
  for (const uint8_t flags : {uint8_t{0x02}, uint8_t{0x12}, uint8_t{0x11}, uint8_t{0xff}}) {
    Text text = Tcp4();
    text.tcp_flags = flags;
    text.ttl = 1;
    text.fragment = 0;
    const OwnFrame own(Build(text));
    const Packet packet = Parse(own, Link::kIp);
    CHECK_EQ(packet.tcp_flags, flags);
    CHECK_EQ(packet.ttl, 1);
    CHECK_EQ(packet.dont_fragment, false);
  }
  const OwnFrame with_df(Build(Tcp4()));
  CHECK_EQ(Parse(with_df, Link::kIp).dont_fragment, true);
  const OwnFrame six(Build(Tcp6()));
  CHECK_EQ(Parse(six, Link::kIp).dont_fragment, true);
}

TEST(parse_options_and_extension_headers) {
  Text text = Tcp4();
  text.ip_options = Hex("94 04 0000 01 01 01 00");  // router alert, padding
  text.tcp_options = Hex("02 04 05b4 01*4");
  CheckFlow(text, 8);
  text.ip_options = Hex("01*40");
  text.tcp_options = Hex("01*40");
  CheckFlow(text, 40);

  text = Udp6();
  text.extensions = {Extension{0, kOptions8}};
  CheckFlow(text, 8);
  text.extensions = {Extension{0, kOptions16}, Extension{43, kRoutingDone},
                     Extension{44, kFragmentAtomic}, Extension{60, kOptions8}};
  CheckFlow(text, 40);
  text.extensions.assign(kIp6ExtensionsMax, Extension{60, kOptions8});
  CheckFlow(text, 8 * kIp6ExtensionsMax);
  text.extensions = {Extension{0, kOptions8}, Extension{51, kAuthentication24},
                     Extension{60, kOptions8}};
  CheckFlow(text, 40);
}

TEST(parse_trims_ethernet_padding) {
  Text text = Udp4();
  text.ethernet = true;
  Built built = Build(text);
  const size_t real = built.bytes.size();
  built.bytes.resize(60, 0x55);
  const OwnFrame own(built);
  const Packet packet = Parse(own, Link::kEthernet);
  CHECK_EQ(packet.kind, PacketKind::kFlow);
  CHECK_EQ(packet.frame.length, real);
  CHECK_EQ(packet.l3_bytes, real - 14);
}

TEST(parse_icmp_of_both_families) {
  for (const Text& text : {Icmp4(), Icmp6()}) {
    const OwnFrame own(Build(text));
    const Packet packet = Parse(own, Link::kIp);
    CHECK_EQ(packet.kind, PacketKind::kIcmp);
    CHECK_EQ(packet.l4, text.six() ? 40 : 20);
    CHECK(packet.key.source == test::Address(text.source));
    CHECK_EQ(packet.key.protocol, text.protocol);
  }
}

TEST(parse_neighbour_solicitation_of_an_address_without_owner) {
  // Duplicate address detection: from nobody, to a link-layer group (RFC 4862 5.4.2).
  Text text = Icmp6();
  text.source = "::";
  text.destination = "ff02::1:ff00:10";
  text.icmp_type = 135;
  text.ethernet = true;
  Built built = Build(text);
  built.bytes[0] = 0x33;
  CHECK_EQ(Judge(built.bytes, Link::kEthernet).kind, PacketKind::kIcmp);
  text.source = "::ffff:0.0.0.0";
  CheckReason("mapped", Judge(Build(text).bytes, Link::kEthernet), PacketKind::kBad,
              Reason::kSourceBad);
}

TEST(parse_arp) {
  const Bytes frame =
      Hex("ffffffffffff 020000000001 0806"
          "0001 0800 06 04 0001 020000000001 c6120007 000000000000 c612010a");
  CHECK_EQ(Judge(frame, Link::kEthernet).kind, PacketKind::kArp);
  Bytes padded = frame;
  padded.resize(60);
  CHECK_EQ(Judge(padded, Link::kEthernet).kind, PacketKind::kArp);
  CheckReason("token ring", Judge(With(frame, 14, 6), Link::kEthernet), PacketKind::kHost,
              Reason::kNotIp);
  CheckReason("short", Judge(test::Part(frame, 0, 41), Link::kEthernet), PacketKind::kBad,
              Reason::kFrameTruncated);
}

TEST(parse_what_is_left_to_the_host) {
  Text text = Tcp4();
  text.ethernet = true;
  const Bytes tcp = Build(text).bytes;
  const auto host = PacketKind::kHost;
  CheckReason("vlan", Judge(With(tcp, 12, 0x8100), Link::kEthernet), host, Reason::kNotIp);
  CheckReason("lldp", Judge(With(tcp, 12, 0x88cc), Link::kEthernet), host, Reason::kNotIp);
  CheckReason("broadcast", Judge(With(tcp, 0, 0xffff), Link::kEthernet), host, Reason::kNoService);
  CheckReason("not ip", Judge(Hex("00*40"), Link::kIp), host, Reason::kNotIp);
  text.ethernet = false;
  for (const uint8_t protocol : {uint8_t{2}, uint8_t{33}, kProtoIcmp6}) {
    text.protocol = protocol;
    CheckReason("protocol", Judge(Build(text).bytes, Link::kIp), host, Reason::kProtocolUnknown);
  }
  text = Tcp6();
  for (const uint8_t protocol : {uint8_t{59}, kProtoIcmp}) {
    text.protocol = protocol;
    CheckReason("next header", Judge(Build(text).bytes, Link::kIp), host, Reason::kProtocolUnknown);
  }
  text.protocol = kProtoTcp;
  text.destination = "::ffff:198.18.1.10";
  CheckReason("mapped", Judge(Build(text).bytes, Link::kIp), host, Reason::kNoService);
}

TEST(parse_ipsec) {
  for (Text text : {Tcp4(), Tcp6()}) {
    text.protocol = kProtoEsp;
    text.payload = Hex("00*4");
    const Bytes good = Build(text).bytes;
    CHECK_EQ(Judge(good, Link::kIp).kind, PacketKind::kIpsec);
    text.payload.pop_back();
    CheckReason("short", Judge(Build(text).bytes, Link::kIp), PacketKind::kBad,
                Reason::kL4Truncated);
  }
  Text text = Tcp4();
  text.protocol = kProtoAh;
  text.payload = Hex("00*8");
  const Bytes good = Build(text).bytes;
  CHECK_EQ(Judge(good, Link::kIp).kind, PacketKind::kIpsec);
  CheckReason("from a group", Judge(Resummed(With(good, 12, 0xe000)), Link::kIp), PacketKind::kBad,
              Reason::kSourceBad);
  CHECK_EQ(Judge(Resummed(With(good, 6, 0x2000)), Link::kIp).kind, PacketKind::kFragment);
  CHECK_EQ(Judge(Resummed(With(good, 6, 0x0001)), Link::kIp).kind, PacketKind::kFragment);
}

TEST(parse_reasons_of_bad_ip4) {
  const Bytes good = Build(Tcp4()).bytes;
  const struct {
    const char* name;
    Bytes bytes;
    Reason reason;
  } rows[] = {
      {"empty", {}, Reason::kFrameTruncated},
      {"header length 16", Resummed(WithByte(good, 0, 0x44)), Reason::kIpBadHeaderLength},
      {"header longer than frame", WithByte(good, 0, 0x4f), Reason::kIpBadHeaderLength},
      {"total below header", Resummed(With(good, 2, 19)), Reason::kIpBadTotalLength},
      {"total zero", Resummed(With(good, 2, 0)), Reason::kIpBadTotalLength},
      {"total beyond frame", Resummed(With(good, 2, 41)), Reason::kIpTruncated},
      {"checksum", With(good, 10, test::Get16(good, 10) ^ 1), Reason::kIpBadChecksum},
      {"total ends in tcp", Resummed(With(good, 2, 39)), Reason::kL4Truncated},
      {"offset 16", WithByte(good, 32, 0x40), Reason::kTcpBadOffset},
      {"offset beyond segment", WithByte(good, 32, 0x60), Reason::kTcpBadOffset},
      {"from nobody", Resummed(With(With(good, 12, 0), 14, 0)), Reason::kSourceBad},
      {"from a group", Resummed(With(good, 12, 0xe000)), Reason::kSourceBad},
      {"from all", Resummed(With(With(good, 12, 0xffff), 14, 0xffff)), Reason::kSourceBad},
  };
  for (const auto& row : rows) {
    CheckReason(row.name, Judge(row.bytes, Link::kIp), PacketKind::kBad, row.reason);
  }
  Text text = Tcp4();
  text.ethernet = true;
  const Bytes frame = Build(text).bytes;
  CheckReason("version", Judge(WithByte(frame, 14, 0x65), Link::kEthernet), PacketKind::kBad,
              Reason::kIpBadVersion);
  text.ip_options = Hex("01*8");
  const Bytes options = Build(text).bytes;
  CheckReason("sum over options", Judge(WithByte(options, 40, 0), Link::kEthernet),
              PacketKind::kBad, Reason::kIpBadChecksum);
}

// Kept for parse/reassembly.h, with what it must know; other protocols are the host's.
TEST(parse_fragments) {
  const Bytes good = Build(Tcp4()).bytes;
  for (const uint32_t field : {0x2000u, 0x0001u, 0x00b9u, 0x2001u}) {
    const OwnFrame own(Resummed(With(good, 6, field)));
    Packet packet{};
    packet.frame = own.frame();
    parse(packet, Link::kIp);
    CHECK_EQ(packet.kind, PacketKind::kFragment);
    CHECK_EQ(packet.l4, 20);
    CHECK_EQ(packet.key.protocol, kProtoTcp);
    CHECK_EQ(packet.fragment_bytes, 0);
  }
  CheckReason("GRE", Judge(Resummed(WithByte(With(good, 6, 0x2000), 9, 47)), Link::kIp),
              PacketKind::kHost, Reason::kProtocolUnknown);
  CheckReason("from a group", Judge(Resummed(With(With(good, 6, 0x2000), 12, 0xe000)), Link::kIp),
              PacketKind::kBad, Reason::kSourceBad);
  for (const bool behind_options : {false, true}) {
    for (const Bytes& fragment : {kFragmentFirst, kFragmentLater}) {
      Text text = Tcp6();
      if (behind_options) text.extensions.push_back({0, kOptions8});
      text.extensions.push_back({44, fragment});
      const OwnFrame own(Build(text));
      Packet packet{};
      packet.frame = own.frame();
      parse(packet, Link::kIp);
      CHECK_EQ(packet.kind, PacketKind::kFragment);
      CHECK_EQ(packet.l4, behind_options ? 56 : 48);
      CHECK_EQ(packet.key.protocol, kProtoTcp);
    }
  }
  // The first fragment may end within the headers that the datagram's protocol stands behind.
  Text text = Tcp6();
  text.extensions = {{44, kFragmentFirst}, {60, test::Hex("ff 00 0000 0000")}};
  const OwnFrame own(Build(text));
  Packet packet{};
  packet.frame = own.frame();
  parse(packet, Link::kIp);
  CHECK_EQ(packet.kind, PacketKind::kFragment);
  CHECK_EQ(packet.l4, 48);
}

TEST(parse_reasons_of_bad_ip6) {
  const auto chain = [](std::vector<Extension> extensions) {
    Text text = Tcp6();
    text.extensions = std::move(extensions);
    return Build(text).bytes;
  };
  const Bytes good = Build(Tcp6()).bytes;
  const struct {
    const char* name;
    Bytes bytes;
    Reason reason;
  } rows[] = {
      {"payload beyond frame", With(good, 4, 21), Reason::kIpTruncated},
      {"payload ends in tcp", With(good, 4, 19), Reason::kL4Truncated},
      {"no payload", With(good, 4, 0), Reason::kL4Truncated},
      {"hop-by-hop second", chain({{60, kOptions8}, {0, kOptions8}}), Reason::kIp6BadExtension},
      {"source route", chain({{43, kRoutingOpen}}), Reason::kIp6BadExtension},
      {"nine", chain(std::vector<Extension>(9, {60, kOptions8})), Reason::kIp6BadExtension},
      {"length beyond", WithByte(chain({{60, kOptions8}}), 41, 3), Reason::kIp6BadExtension},
      {"AH beyond", WithByte(chain({{51, kAuthentication24}}), 41, 10), Reason::kIp6BadExtension},
      {"AH to the end", WithByte(chain({{51, kAuthentication24}}), 41, 9), Reason::kL4Truncated},
      {"cut in extension", With(chain({{60, kOptions8}}), 4, 7), Reason::kIp6BadExtension},
      {"offset", WithByte(good, 52, 0x60), Reason::kTcpBadOffset},
      {"from a group", With(good, 8, 0xff02), Reason::kSourceBad},
  };
  for (const auto& row : rows) {
    CheckReason(row.name, Judge(row.bytes, Link::kIp), PacketKind::kBad, row.reason);
  }
  Text text = Tcp6();
  text.source = "::";
  CheckReason("from nobody", Judge(Build(text).bytes, Link::kIp), PacketKind::kBad,
              Reason::kSourceBad);
  text.source = "::ffff:198.18.0.7";
  CheckReason("from mapped", Judge(Build(text).bytes, Link::kIp), PacketKind::kBad,
              Reason::kSourceBad);
  text = Tcp6();
  text.ethernet = true;
  CheckReason("version", Judge(WithByte(Build(text).bytes, 14, 0x45), Link::kEthernet),
              PacketKind::kBad, Reason::kIpBadVersion);
}

TEST(parse_reasons_of_bad_udp_and_icmp) {
  for (const Text& text : {Udp4(), Udp6()}) {
    const Bytes good = Build(text).bytes;
    const size_t l4 = text.six() ? 40 : 20;
    const auto bad = PacketKind::kBad;
    CheckReason("7", Judge(With(good, l4 + 4, 7), Link::kIp), bad, Reason::kUdpBadLength);
    CheckReason("0", Judge(With(good, l4 + 4, 0), Link::kIp), bad, Reason::kUdpBadLength);
    CheckReason("12", Judge(With(good, l4 + 4, 12), Link::kIp), bad, Reason::kUdpBadLength);
    CHECK_EQ(Judge(With(good, l4 + 4, 8), Link::kIp).kind, PacketKind::kFlow);
  }
  for (Text text : {Icmp4(), Icmp6()}) {
    text.payload = Hex("00*3");
    CheckReason("icmp", Judge(Build(text).bytes, Link::kIp), PacketKind::kBad,
                Reason::kL4Truncated);
  }
}

TEST(parse_offload_must_describe_the_packet) {
  for (Text text : {Tcp4(), Tcp6(), Udp4(), Udp6()}) {
    text.partial = true;
    text.payload = Bytes(3000, 7);
    const Built good = Build(text);
    CHECK_EQ(Judge(good.bytes, Link::kIp, good.vnet).kind, PacketKind::kFlow);
    const auto judge = [&](const char* name, auto edit, bool fits) {
      VnetHdr vnet = good.vnet;
      edit(vnet);
      const Seen seen = Judge(good.bytes, Link::kIp, vnet);
      if (fits) {
        CHECK_EQ(seen.kind, PacketKind::kFlow);
      } else {
        CheckReason(name, seen, PacketKind::kBad, Reason::kOffloadBad);
      }
    };
    const bool tcp = text.protocol == kProtoTcp;
    judge(
        "start", [](VnetHdr& v) { v.csum_start++; }, false);
    judge(
        "far start", [](VnetHdr& v) { v.csum_start = 65535; }, false);
    judge(
        "field", [](VnetHdr& v) { v.csum_offset = 0; }, false);
    for (const uint8_t ecn : {uint8_t{0}, kVnetGsoEcn}) {
      const auto gso = [&](uint8_t type, uint16_t size) {
        return [=](VnetHdr& v) {
          v.gso_type = static_cast<uint8_t>(type | ecn);
          v.gso_size = size;
        };
      };
      judge("tcp4", gso(kVnetGsoTcp4, 1448), tcp && !text.six());
      judge("tcp6", gso(kVnetGsoTcp6, 1448), tcp && text.six());
      judge("udp", gso(kVnetGsoUdpL4, 1448), !tcp);
      judge("old udp", gso(kVnetGsoUdp, 1448), false);
      judge("unknown", gso(9, 1448), false);
      judge("size 0", gso(tcp ? kVnetGsoTcp4 : kVnetGsoUdpL4, 0), false);
    }
    judge(
        "gso without partial",
        [](VnetHdr& v) {
          v.flags = 0;
          v.gso_type = kVnetGsoTcp4;
          v.gso_size = 1448;
        },
        false);
    judge(
        "ecn alone", [](VnetHdr& v) { v.gso_type = kVnetGsoEcn; }, false);
    judge(
        "data valid", [](VnetHdr& v) { v = VnetHdr{.flags = 2}; }, true);
  }
  // A UDP super-packet whose own length says less cannot be cut.
  Text text = Udp4();
  text.partial = true;
  text.gso_size = 2;
  Built udp = Build(text);
  udp.bytes[25]--;
  CheckReason("udp length", Judge(udp.bytes, Link::kIp, udp.vnet), PacketKind::kBad,
              Reason::kOffloadBad);
}

TEST(parse_offload_of_sctp) {
  // SCTP has a partial checksum, its own, and no super-packets.
  for (Text text : {Sctp4(), Sctp6()}) {
    text.partial = true;
    Built sctp = Build(text);
    CHECK_EQ(Judge(sctp.bytes, Link::kIp, sctp.vnet).kind, PacketKind::kFlow);
    for (const uint8_t type : {kVnetGsoTcp4, kVnetGsoTcp6, kVnetGsoUdpL4}) {
      sctp.vnet.gso_type = type;
      sctp.vnet.gso_size = 100;
      CheckReason("sctp gso", Judge(sctp.bytes, Link::kIp, sctp.vnet), PacketKind::kBad,
                  Reason::kOffloadBad);
    }
    sctp.vnet =
        VnetHdr{.flags = kVnetNeedsCsum, .csum_start = sctp.vnet.csum_start, .csum_offset = 16};
    CheckReason("sctp field", Judge(sctp.bytes, Link::kIp, sctp.vnet), PacketKind::kBad,
                Reason::kOffloadBad);
  }
}

TEST(parse_every_truncation_has_a_reason) {
  for (Text text : {Tcp4(), Udp4(), Sctp4(), Icmp4(), Tcp6(), Udp6(), Sctp6(), Icmp6()}) {
    for (const bool more : {false, true}) {
      if (more && text.six())
        text.extensions = {{0, kOptions16}, {51, kAuthentication24}, {60, kOptions8}};
      if (more && !text.six()) text.ip_options = Hex("01*12");
      text.ethernet = true;
      const Bytes whole = Build(text).bytes;
      for (size_t bytes = 0; bytes < whole.size(); bytes++) {
        const Seen seen = Judge(test::Part(whole, 0, bytes), Link::kEthernet);
        CHECK_EQ(seen.kind, PacketKind::kBad);
        const size_t ip = bytes < 14 ? 0 : bytes - 14;
        const size_t header = 20 + text.ip_options.size();
        const Reason want = bytes < 14                              ? Reason::kFrameTruncated
                            : text.six() || ip < 20 || ip >= header ? Reason::kIpTruncated
                                                                    : Reason::kIpBadHeaderLength;
        CHECK_EQ(seen.reason, want);
      }
    }
  }
}

// A packet that is all there by its IP length, but cut after `bytes` of transport.
TEST(parse_every_truncation_of_the_transport_has_a_reason) {
  for (const Text& text : {Tcp4(), Udp4(), Sctp4(), Icmp4(), Tcp6(), Udp6(), Sctp6(), Icmp6()}) {
    const size_t header = text.six() ? 40 : 20;
    const Bytes whole = Build(text).bytes;
    const size_t needed = text.protocol == kProtoTcp ? 20 : text.protocol == kProtoSctp ? 16 : 8;
    for (size_t bytes = 0; bytes < needed; bytes++) {
      Bytes cut = test::Part(whole, 0, header + bytes);
      cut = text.six() ? With(cut, 4, static_cast<uint32_t>(bytes))
                       : Resummed(With(cut, 2, static_cast<uint32_t>(header + bytes)));
      CheckReason("cut", Judge(cut, Link::kIp), PacketKind::kBad, Reason::kL4Truncated);
    }
  }
}

TEST(parse_random_damage_keeps_the_packet_inside_the_frame) {
  Random random(3);
  const Text texts[] = {Tcp4(), Udp4(), Sctp4(), Icmp4(), Tcp6(), Udp6(), Sctp6(), Icmp6()};
  for (int round = 0; round < 60000; round++) {
    Text text = texts[random.Below(8)];
    text.ethernet = random.Below(2) != 0;
    if (text.six() && random.Below(2) != 0) text.extensions = {{0, kOptions8}, {60, kOptions16}};
    Bytes bytes = Build(text).bytes;
    for (uint64_t i = random.Below(4); i-- > 0;) {
      bytes[random.Below(bytes.size())] = static_cast<uint8_t>(random.Next());
    }
    const size_t ip = text.ethernet ? 14 : 0;
    if (!text.six() && random.Below(4) != 0 && (bytes[ip] & 15) == 5) {
      test::Set16(bytes, ip + 10, 0);
      test::Set16(bytes, ip + 10, 0xffff - test::SlowSum(test::Part(bytes, ip, 20)));
    }
    bytes.resize(random.Below(8) == 0 ? random.Below(bytes.size() + 1) : bytes.size());
    const OwnFrame own(bytes);
    const Packet packet = Parse(own, text.ethernet ? Link::kEthernet : Link::kIp);
    CHECK_LE(packet.frame.length, bytes.size());
    if (packet.kind != PacketKind::kFlow && packet.kind != PacketKind::kIcmp) continue;
    CHECK_LE(packet.l3 + packet.l3_bytes, packet.frame.length);
    CHECK_LE(packet.l4 + 8u, packet.frame.length);
    CHECK_LT(packet.l3, packet.l4);
  }
}

TEST(parse_quoted_needs_the_ports) {
  for (const Text& text : {Tcp4(), Udp4(), Sctp4(), Tcp6(), Udp6(), Sctp6()}) {
    const Bytes whole = Build(text).bytes;
    const size_t header = text.six() ? 40 : 20;
    const uint8_t family = text.six() ? 6 : 4;
    for (size_t bytes = 0; bytes <= whole.size(); bytes++) {
      const OwnFrame own(test::Part(whole, 0, bytes));
      FlowKey key;
      uint16_t l4 = 0;
      const bool usable = parse_quoted(own.frame().data, own.frame().length, family, &key, &l4);
      CHECK_EQ(usable, bytes >= header + 4);
      if (!usable) continue;
      CHECK_EQ(l4, header);
      CHECK(key.source == test::Address(text.source));
      CHECK(key.destination == test::Address(text.destination));
      CHECK_EQ(key.source_port.host(), text.source_port);
      CHECK_EQ(key.destination_port.host(), text.destination_port);
      CHECK_EQ(key.protocol, text.protocol);
    }
  }
}

TEST(parse_quoted_of_ipsec_has_no_ports) {
  for (Text text : {Tcp4(), Tcp6()}) {
    for (const uint8_t protocol : {kProtoEsp, kProtoAh}) {
      if (text.six() && protocol == kProtoAh) continue;  // an extension header
      text.protocol = protocol;
      const size_t header = text.six() ? 40 : 20;
      const OwnFrame own(test::Part(Build(text).bytes, 0, header));
      FlowKey key{};
      key.source_port = key.destination_port = Be16::of(7);
      uint16_t l4 = 0;
      REQUIRE(parse_quoted(own.frame().data, own.frame().length, text.six() ? 6 : 4, &key, &l4));
      CHECK_EQ(l4, header);
      CHECK_EQ(key.protocol, protocol);
      CHECK_EQ(key.source_port.host(), 0);
      CHECK_EQ(key.destination_port.host(), 0);
      const FlowKey known = connection_ends(key);
      CHECK(known.source == test::Address(text.source));
      CHECK_EQ(known.protocol, kProtoUdp);
      CHECK_EQ(known.source_port.host(), 500);
      CHECK_EQ(known.destination_port.host(), 500);
    }
  }
}

TEST(parse_quoted_of_fragments_options_and_strangers) {
  const auto usable = [](const Bytes& bytes, uint8_t family) -> std::optional<uint16_t> {
    const OwnFrame own(bytes);
    FlowKey key;
    uint16_t l4 = 0;
    if (!parse_quoted(own.frame().data, own.frame().length, family, &key, &l4)) return {};
    return l4;
  };
  Text text = Tcp4();
  text.fragment = 0x2000;
  CHECK(usable(Build(text).bytes, 4) == 20);  // the first fragment has the ports
  text.fragment = 0x2001;
  CHECK(!usable(Build(text).bytes, 4));
  text = Tcp4();
  text.ip_options = Hex("01*16");
  CHECK(usable(Build(text).bytes, 4) == 36);
  CHECK(!usable(WithByte(Build(text).bytes, 0, 0x44), 4));
  CHECK(!usable(WithByte(Build(text).bytes, 0, 0x54), 4));
  CHECK(!usable(Build(Icmp4()).bytes, 4));
  CHECK(!usable(Build(Tcp4()).bytes, 6));
  CHECK(!usable(Build(Tcp6()).bytes, 4));
  // Routers count the TTL down before they quote; the header checksum is not looked at.
  CHECK(usable(WithByte(Build(Tcp4()).bytes, 8, 0), 4) == 20);

  text = Tcp6();
  text.extensions = {{44, kFragmentFirst}};
  CHECK(usable(Build(text).bytes, 6) == 48);
  text.extensions = {{44, kFragmentLater}};
  CHECK(!usable(Build(text).bytes, 6));
  text.extensions = {{60, kOptions8}};
  CHECK(usable(Build(text).bytes, 6) == 48);
  text.extensions = {{51, kAuthentication24}};
  CHECK(usable(Build(text).bytes, 6) == 64);
  text.extensions = {};
  text.source = "::ffff:198.18.0.7";
  CHECK(!usable(Build(text).bytes, 6));
}

}  // namespace uvs
