// Tunnels: every type with every checksum option, both families in both. Random packets are taken
// apart again by a slow end (tunnel_text.h); MTU, ECN, TTL and DF rules are tables; whole cores
// show super-packets, fragments and ports.
#include "forward/tunnel.h"

#include <map>
#include <set>

#include "core_world.h"
#include "forward/forward.h"
#include "parse/parse.h"
#include "tunnel_text.h"

namespace uvs {
namespace {

using test::Bytes;
using test::EndsOf;
using test::IpOf;
using test::Open;
using test::Opened;
using test::OwnFrame;
using test::Part;
using test::Random;
using test::Sent;
using test::Text;
using test::World;

constexpr uint16_t kPort = 6080;

// One kind of tunnel, and what stands before the packet beside the outer header (spec 5.6).
struct Kind {
  uint8_t type;
  uint8_t flags;
  uint32_t middle;
  uint32_t middle_remote;  // with the checksum left to the receiver
  bool checksum;
};

constexpr Kind kKinds[] = {
    {kTunnelIpip, 0, 0, 0, false},
    {kTunnelGre, 0, 4, 4, false},
    {kTunnelGre, kTunnelFlagCsum, 8, 8, true},
    {kTunnelGue, 0, 12, 12, false},
    {kTunnelGue, kTunnelFlagCsum, 12, 12, true},
    {kTunnelGue, kTunnelFlagRemcsum, 12, 20, true},
};

Tunnel TunnelOf(const Kind& kind) {
  return {kind.type, kind.flags, Be16::of(kind.type == kTunnelGue ? kPort : 0)};
}

uint8_t ProtocolOf(const Kind& kind, bool inner_six) {
  if (kind.type == kTunnelGre) return 47;
  return kind.type == kTunnelGue ? 17 : inner_six ? 41 : 4;
}

std::string RandomAddress(Random& random, bool six) {
  char text[64];
  const auto b = static_cast<unsigned>(1 + random.Below(65535));
  std::snprintf(text, sizeof text, six ? "2001:db8::%x:%x" : "198.18.%u.%u", b >> 8, b & 255);
  return text;
}

Text RandomText(Random& random) {
  Text text;
  const bool six = random.Below(2) != 0;
  text.source = RandomAddress(random, six);
  text.destination = RandomAddress(random, six);
  text.source_port = static_cast<uint16_t>(random.Next());
  text.protocol = random.Below(2) != 0 ? kProtoTcp : kProtoUdp;
  text.ttl = static_cast<uint8_t>(1 + random.Below(255));
  text.tos = static_cast<uint8_t>(random.Next());
  text.fragment = random.Below(2) != 0 ? 0x4000 : 0;
  text.tcp_options = Bytes(random.Below(11) * 4, 1);
  text.payload = Bytes(random.Below(300), static_cast<uint8_t>(random.Next()));
  text.ethernet = random.Below(2) != 0;
  if (six && random.Below(2) != 0) text.extensions = {{60, test::Hex("00 01 04 0000 0000")}};
  if (!six) text.ip_options = Bytes(random.Below(11) * 4, 1);
  return text;
}

// RFC 3168 9.1.1: congestion already met is not repeated outside.
uint8_t OuterTos(uint8_t inner) { return inner % 4 == 3 ? inner - 1 : inner; }

TEST(tunnel_what_goes_in_comes_out_again) {
  Random random(15);
  for (int round = 0; round < 20000; round++) {
    const Kind& kind = kKinds[random.Below(std::size(kKinds))];
    Text text = RandomText(random);
    const Bytes whole = IpOf(text);  // with a complete checksum
    text.partial = (kind.flags & kTunnelFlagRemcsum) != 0 && random.Below(2) != 0;
    const test::Built built = Build(text);
    const OwnFrame own(built);
    Packet packet{};
    packet.frame = own.frame();
    parse(packet, built.link);
    REQUIRE(packet.kind == PacketKind::kFlow);
    const uint32_t inner_l4 = packet.l4 - packet.l3;
    const uint8_t* ip = packet.ip();
    const bool six = random.Below(2) != 0;
    const std::string local = RandomAddress(random, six);
    const std::string remote = RandomAddress(random, six);
    const bool pmtu_disc = random.Below(2) != 0;
    const Tunnel tunnel = TunnelOf(kind);
    const uint32_t front = (six ? 40 : 20) + (text.partial ? kind.middle_remote : kind.middle);
    CHECK_EQ(tunnel_bytes(tunnel, !six, text.partial), front);
    const Addr from = test::Address(local);
    const Addr to = test::Address(remote);
    REQUIRE(encapsulate(packet, tunnel, {from, to, Be16::of(40000), text.id, pmtu_disc}));
    CHECK(packet.ip() == ip - front);
    CHECK_EQ(packet.l3_bytes, whole.size() + front);
    CHECK_EQ(packet.l4, inner_l4 + front);
    CHECK_EQ(packet.frame.headroom, kHeadroom + (text.ethernet ? 14 : 0) - front);
    CHECK_EQ(packet.frame.vnet.flags, 0);

    const Opened seen = Open(test::BytesOf(packet.frame));
    CHECK_EQ(seen.wrong, "");
    CHECK_EQ(seen.inner, whole);
    CHECK_EQ(seen.front, front);
    CHECK_EQ(seen.outer_six, six);
    CHECK_EQ(seen.source, test::AddressBytes(local));
    CHECK_EQ(seen.destination, test::AddressBytes(remote));
    CHECK_EQ(seen.protocol, ProtocolOf(kind, text.six()));
    CHECK_EQ(seen.checksum, kind.checksum);
    CHECK_EQ(seen.remote_checksum, text.partial);
    CHECK_EQ(seen.tos, OuterTos(text.tos));
    CHECK_EQ(seen.ttl, text.ttl);
    const bool df = !six && pmtu_disc && !text.six() && text.fragment != 0;
    CHECK_EQ(seen.dont_fragment, df);
    if (kind.type != kTunnelGue) continue;
    CHECK_EQ(seen.source_port, 40000);
    CHECK_EQ(seen.destination_port, kPort);
  }
}

// ECN by value, not by rule (appendix C).
TEST(tunnel_ecn_of_the_outer_header) {
  const std::pair<uint8_t, uint8_t> table[] = {{0xb8, 0xb8}, {0xb9, 0xb9}, {0xba, 0xba},
                                               {0xbb, 0xba}, {0x00, 0x00}, {0x03, 0x02}};
  for (const Kind& kind : kKinds) {
    for (const bool six : {false, true}) {
      for (const auto& [inner, outer] : table) {
        Text text;
        text.tos = inner;
        const OwnFrame own(Build(text));
        Packet packet{};
        packet.frame = own.frame();
        parse(packet, Link::kIp);
        const Addr local = test::Address(six ? "2001:db8::1" : "198.18.5.1");
        const Addr remote = test::Address(six ? "2001:db8::2" : "198.18.5.2");
        REQUIRE(encapsulate(packet, TunnelOf(kind), {local, remote, {}, 1, true}));
        const Opened seen = Open(test::BytesOf(packet.frame));
        CHECK_EQ(seen.tos, outer);
        CHECK_EQ(seen.inner, IpOf(text));
      }
    }
  }
}

TEST(tunnel_refuses_what_no_length_field_can_say) {
  for (const Kind& kind : kKinds) {
    for (const bool six : {false, true}) {
      const uint32_t most = 65535 - kind.middle - (six ? 0 : 20);
      for (const uint32_t bytes : {most, most + 1}) {
        if (bytes > 65535) continue;
        const Text text{.protocol = kProtoUdp, .payload = Bytes(bytes - 28, 1)};
        const OwnFrame own(Build(text));
        Packet packet{};
        packet.frame = own.frame();
        parse(packet, Link::kIp);
        const Addr local = test::Address(six ? "2001:db8::1" : "198.18.5.1");
        const Addr remote = test::Address(six ? "2001:db8::2" : "198.18.5.2");
        const bool fits = bytes == most;
        CHECK_EQ(encapsulate(packet, TunnelOf(kind), {local, remote, {}, 1, true}), fits);
        if (!fits) CHECK_EQ(test::BytesOf(packet.frame), IpOf(text));
      }
    }
  }
}

TEST(tunnel_ports_spread_over_the_range_and_stay_in_it) {
  Random random(4);
  std::map<uint16_t, int> seen;
  for (int i = 0; i < 20000; i++) {
    const uint64_t hash = random.Next();
    const uint16_t port = tunnel_source_port(hash, 40000, 40009).host();
    CHECK_EQ(tunnel_source_port(hash, 40000, 40009).host(), port);
    seen[port]++;
  }
  CHECK_EQ(seen.size(), 10);
  CHECK_EQ(seen.begin()->first, 40000);
  for (const auto& [port, count] : seen) CHECK(count > 1800 && count < 2200);
  CHECK_EQ(tunnel_source_port(~0ull, 1, 65535).host() == 0, false);
  CHECK_EQ(tunnel_source_port(77, 5000, 5000).host(), 5000);
}

// --- Whole cores

// A world whose destination is reached through a tunnel of this kind.
std::unique_ptr<World> WorldOf(const Kind& kind, bool inner_six, bool outer_six,
                               uint8_t protocol = kProtoTcp) {
  auto world = std::make_unique<World>(kMethodTunnel, inner_six, protocol);
  rig::DestinationText& destination = world->config.destinations[0];
  destination.address = test::Address(EndsOf(outer_six).destination);
  destination.tunnel_type = kind.type;
  destination.tunnel_flags = kind.flags;
  destination.tunnel_port = kind.type == kTunnelGue ? kPort : 0;
  world->Adopt();
  return world;
}

template <typename Visit>
void ForEach(Visit visit) {
  for (const Kind& kind : kKinds) {
    for (const bool inner : {false, true}) {
      for (const bool outer : {false, true}) visit(kind, inner, outer);
    }
  }
}

TEST(tunnel_every_kind_of_every_family_in_every_family) {
  ForEach([](const Kind& kind, bool inner, bool outer) {
    for (const bool partial : {false, true}) {
      const auto world = WorldOf(kind, inner, outer);
      Text text = world->Request(kTcpSyn);
      const Bytes want = IpOf(world->Forwarded(text));
      text.partial = partial;
      const std::vector<Sent> sent = world->Pass(text);
      REQUIRE(sent.size() == 1);
      CHECK_EQ(sent[0].link[12], outer ? 0x86 : 0x08);
      const Opened seen = Open(sent[0].ip);
      CHECK_EQ(seen.wrong, "");
      CHECK_EQ(seen.inner, want);
      CHECK_EQ(seen.ttl, text.ttl - 1);
      CHECK_EQ(seen.protocol, ProtocolOf(kind, inner));
      CHECK_EQ(seen.remote_checksum, partial && (kind.flags & kTunnelFlagRemcsum) != 0);
      CHECK_EQ(seen.destination, test::AddressBytes(EndsOf(outer).destination));
      CHECK_EQ(seen.dont_fragment, !outer && !inner);
      if (kind.type == kTunnelGue) CHECK_EQ(seen.destination_port, kPort);
    }
  });
}

// Spec 5.6: what fits is the path less all headers; then packet too big in the client's family.
TEST(tunnel_mtu_of_every_kind) {
  ForEach([](const Kind& kind, bool inner, bool outer) {
    for (const bool partial : {false, true}) {
      const bool remote = partial && (kind.flags & kTunnelFlagRemcsum) != 0;
      const uint32_t front = (outer ? 40 : 20) + (remote ? kind.middle_remote : kind.middle);
      const auto world = WorldOf(kind, inner, outer);
      world->Open();
      world->rig.hops().set_mtu(outer ? rig::RigHops::kIn6 : rig::RigHops::kIn4, 1450);
      Text text = world->Request();
      text.partial = partial;
      text.payload = Bytes(1450 - front - (inner ? 60 : 40), 1);
      std::vector<Sent> sent = world->Pass(text);
      REQUIRE(sent.size() == 1);
      CHECK_EQ(sent[0].ip.size(), 1450);
      text.payload.push_back(1);
      sent = world->Pass(text);
      REQUIRE(sent.size() == 1);
      CHECK_EQ(sent[0].port, 0);
      CHECK_EQ(sent[0].ip[inner ? 40 : 20], inner ? 2 : 3);
      CHECK_EQ(sent[0].ip[inner ? 41 : 21], inner ? 0 : 4);
      CHECK_EQ(test::Get32(sent[0].ip, inner ? 44 : 24), 1450 - front);
    }
  });
}

// Spec 5.6: below 68 or 1280 bytes for the inner packet a path is of no use.
TEST(tunnel_through_too_small_a_path_is_silent) {
  ForEach([](const Kind& kind, bool inner, bool outer) {
    const uint32_t least = (outer ? 1280 + 40 : 68 + 20) + kind.middle;
    const auto world = WorldOf(kind, inner, outer, kProtoUdp);
    Text text = world->Request();
    world->Pass(text);
    const uint16_t slot = outer ? rig::RigHops::kIn6 : rig::RigHops::kIn4;
    world->rig.hops().set_mtu(slot, static_cast<uint16_t>(least));
    CHECK_EQ(world->Pass(text).size(), 1);
    world->rig.hops().set_mtu(slot, static_cast<uint16_t>(least - 1));
    CHECK_EQ(world->Pass(text).size(), 0);
    CHECK_EQ(world->rig.reason(Reason::kTooBigSilent), 1);
  });
}

// Puts the fragments of one outer packet together; empty when they do not fit.
Bytes Rejoined(const std::vector<Sent>& pieces, uint32_t mtu) {
  Bytes whole;
  for (size_t i = 0; i < pieces.size(); i++) {
    const Bytes& ip = pieces[i].ip;
    const bool six = ip[0] >> 4 == 6;
    const size_t header = six ? 48 : 20;
    if (ip.size() > mtu || (six && (ip[6] != 44 || test::Get16(ip, 4) + 40 != ip.size())))
      return {};
    const uint32_t word = test::Get16(ip, six ? 42 : 6);
    const uint32_t offset = six ? word & 0xfff8 : (word & 0x1fff) * 8;
    const bool more = six ? (word & 1) != 0 : (word & 0x2000) != 0;
    if (i == 0) {
      whole = Part(ip, 0, six ? 40 : 20);
      if (six) whole[6] = ip[40];
    }
    if (offset + (six ? 40 : 20) != whole.size() || more != (i + 1 < pieces.size())) return {};
    if (six && test::Get32(ip, 44) != test::Get32(pieces[0].ip, 44)) return {};
    test::PutAll(whole, Part(ip, header, ip.size() - header));
  }
  if (whole[0] >> 4 == 6) {
    test::Set16(whole, 4, static_cast<uint32_t>(whole.size() - 40));
  } else {
    test::Set16(whole, 2, static_cast<uint32_t>(whole.size()));
    test::Set16(whole, 6, 0);
    test::Set16(whole, 10, 0);
    test::Set16(whole, 10, 0xffff - test::SlowSum(Part(whole, 0, 20)));
  }
  return whole;
}

// Without pmtu_disc, or with DF clear, a packet that is too long leaves in fragments of the outer
// packet: this host is its source, of an IPv6 one too (net/ipv6/ip6_output.c, ignore_df).
TEST(tunnel_what_may_be_cut_is_cut_outside) {
  for (const Kind& kind : kKinds) {
    for (const bool outer : {false, true}) {
      for (const bool pmtu_disc : {false, true}) {
        const auto world = WorldOf(kind, false, outer);
        world->config.pmtu_disc = pmtu_disc;
        world->Adopt();
        world->Open();
        Text text = world->Request();
        text.fragment = pmtu_disc ? 0 : 0x4000;
        text.payload = Bytes(1460, 3);
        const std::vector<Sent> sent = world->Pass(text);
        CHECK_EQ(sent.size(), 2);
        const Bytes whole = Rejoined(sent, 1500);
        REQUIRE(!whole.empty());
        const Opened seen = Open(whole);
        CHECK_EQ(seen.wrong, "");
        CHECK_EQ(seen.inner, IpOf(world->Forwarded(text)));
        CHECK_EQ(world->rig.reason(Reason::kFragmentNeeded), 1);
      }
    }
  }
}

// IPv6 inside is never cut, whatever pmtu_disc says.
TEST(tunnel_ip6_inside_is_answered_without_pmtu_discovery_too) {
  for (const Kind& kind : kKinds) {
    const auto world = WorldOf(kind, true, false);
    world->config.pmtu_disc = 0;
    world->Adopt();
    world->Open();
    Text text = world->Request();
    text.payload = Bytes(1440, 3);
    const std::vector<Sent> sent = world->Pass(text);
    REQUIRE(sent.size() == 1);
    CHECK_EQ(sent[0].ip[40], 2);
  }
}

TEST(tunnel_super_packets_go_segment_by_segment) {
  ForEach([](const Kind& kind, bool inner, bool outer) {
    const auto world = WorldOf(kind, inner, outer);
    world->Open();
    Text text = world->Request();
    text.partial = true;
    text.gso_size = 1000;
    text.payload = Bytes(20'500, 5);
    const std::vector<Sent> sent = world->Pass(text);
    CHECK_EQ(sent.size(), 21);
    std::set<uint32_t> ports;
    Bytes payload;
    for (const Sent& each : sent) {
      const Opened seen = Open(each.ip);
      CHECK_EQ(seen.wrong, "");
      CHECK_EQ(seen.remote_checksum, (kind.flags & kTunnelFlagRemcsum) != 0);
      ports.insert(seen.source_port);
      const size_t header = inner ? 60 : 40;
      REQUIRE(seen.inner.size() > header);
      test::PutAll(payload, Part(seen.inner, header, seen.inner.size() - header));
    }
    CHECK_EQ(payload, text.payload);
    CHECK_EQ(ports.size(), 1);
  });
}

TEST(tunnel_gue_port_is_the_flows) {
  const auto world = WorldOf(kKinds[3], false, false);
  std::set<uint32_t> ports;
  for (uint16_t client = 1000; client < 1100; client++) {
    Text text = world->Request(kTcpSyn);
    text.source_port = client;
    const Opened first = Open(world->Pass(text).at(0).ip);
    text.tcp_flags = kTcpAck;
    text.payload = Bytes(100, 1);
    CHECK_EQ(Open(world->Pass(text).at(0).ip).source_port, first.source_port);
    CHECK(first.source_port >= 32768 && first.source_port <= 60999);
    ports.insert(first.source_port);
    if (world->Size() > 60) break;
  }
  CHECK(ports.size() > 55);
}

// An ICMP error from the client's side takes the way of its flow, port included.
TEST(tunnel_icmp_of_the_client_goes_the_way_of_its_flow) {
  for (const Kind& kind : kKinds) {
    const auto world = WorldOf(kind, false, false);
    const Opened flow = Open(world->In(kTcpSyn).at(0).ip);
    Text reply = world->Request();
    std::swap(reply.source, reply.destination);
    std::swap(reply.source_port, reply.destination_port);
    Text error;
    error.source = "198.18.0.254";
    error.destination = world->ends.service;
    error.protocol = kProtoIcmp;
    error.icmp_type = 11;
    error.payload = Bytes(4, 0);
    test::PutAll(error.payload, Part(IpOf(reply), 0, 28));
    error.ethernet = true;
    const std::vector<Sent> sent = world->Pass(error);
    REQUIRE(sent.size() == 1);
    const Opened seen = Open(sent[0].ip);
    CHECK_EQ(seen.wrong, "");
    error.ttl--;
    CHECK_EQ(seen.inner, IpOf(error));
    CHECK_EQ(seen.source_port, flow.source_port);
  }
}

TEST(tunnel_needs_room_for_all_its_headers) {
  ForEach([](const Kind& kind, bool inner, bool outer) {
    // The link header of the received frame becomes room; a virtio header must stay in front.
    const uint32_t least = (outer ? 40 : 20) + kind.middle + kVnetHeaderBytes;
    const auto world = WorldOf(kind, inner, outer);
    world->rig.port(0).headroom = least;
    CHECK_EQ(world->In(kTcpSyn).size(), 1);
    world->rig.port(0).headroom = least - 1;
    CHECK_EQ(world->In(kTcpAck).size(), 0);
    CHECK_EQ(world->rig.reason(Reason::kNoHeadroom), 1);
  });
}

// A destination that becomes another kind of tunnel is reached so by connections that it has.
TEST(tunnel_kind_is_that_of_the_destination_now) {
  const auto world = WorldOf(kKinds[0], false, false);
  world->Open();
  world->config.destinations[0].tunnel_type = kTunnelGre;
  world->Adopt();
  CHECK_EQ(Open(world->In(kTcpAck).at(0).ip).protocol, 47);
}

}  // namespace
}  // namespace uvs
