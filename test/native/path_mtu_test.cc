// ICMP errors about tunnel packets of this director (spec 5.7.3): the path's MTU goes down, the
// client hears of it and later packets follow; other errors are passed on. The errors are built
// from the packets that really left, so the quote is what a router would send back.
#include "core_world.h"
#include "forward/path_mtus.h"
#include "tunnel_text.h"

namespace uvs {
namespace {

using test::Bytes;
using test::Get16;
using test::Get32;
using test::IpOf;
using test::Open;
using test::Part;
using test::Sent;
using test::Text;
using test::World;

constexpr uint16_t kPort = 6080;

struct Kind {
  uint8_t type;
  uint8_t flags;
  uint32_t front;  // outer IPv4 and tunnel header
};
constexpr Kind kKinds[] = {{kTunnelIpip, 0, 20},
                           {kTunnelGre, 0, 24},
                           {kTunnelGre, kTunnelFlagCsum, 28},
                           {kTunnelGue, 0, 32},
                           {kTunnelGue, kTunnelFlagCsum, 32}};

void Configure(World& world, const Kind& kind) {
  rig::DestinationText& destination = world.config.destinations[0];
  destination.tunnel_type = kind.type;
  destination.tunnel_flags = kind.flags;
  destination.tunnel_port = kind.type == kTunnelGue ? kPort : 0;
  world.Adopt();
  world.Open();
}

// What a router between director and real server says about a packet that the director sent.
Text RouterError(const Bytes& about, uint8_t type, uint8_t code, uint16_t mtu,
                 size_t quoted = 548) {
  Text text;
  text.source = "198.19.0.254";
  text.destination = "198.18.255.2";  // where tunnel packets come from (next hop's source)
  text.protocol = kProtoIcmp;
  text.icmp_type = type;
  text.icmp_code = code;
  text.fragment = 0;
  test::Put32(text.payload, mtu);
  test::PutAll(text.payload, Part(about, 0, std::min(quoted, about.size())));
  text.ethernet = true;
  return text;
}

Text BigRequest(const World& world, size_t bytes) {
  Text text = world.Request();
  text.payload = Bytes(bytes - 40, 7);
  return text;
}

TEST(path_mtu_is_remembered_lowered_and_forgotten) {
  PathMtus paths;
  const Addr a = test::Address("198.19.0.1");
  const Addr b = test::Address("198.19.0.2");
  CHECK_EQ(paths.of(a, 1500, 0), 1500);
  paths.tell(a, 1500, 1400, 1000);
  CHECK_EQ(paths.of(a, 1500, 1000), 1400);
  CHECK_EQ(paths.of(a, 1300, 1000), 1300);  // the route became narrower
  CHECK_EQ(paths.of(b, 1500, 1000), 1500);
  paths.tell(a, 1500, 1450, 1000);  // never up
  CHECK_EQ(paths.of(a, 1500, 1000), 1400);
  paths.tell(a, 1500, 1300, 2000);
  CHECK_EQ(paths.of(a, 1500, 2000), 1300);
  CHECK_EQ(paths.of(a, 1500, 2000 + kPathMtuMs - 1), 1300);
  CHECK_EQ(paths.of(a, 1500, 2000 + kPathMtuMs), 1500);
  paths.tell(b, 1500, 0, 5);  // a router that says nothing, or lies
  CHECK_EQ(paths.of(b, 1500, 5), 552);
  paths.tell(b, 500, 100, 5);
  CHECK_EQ(paths.of(b, 500, 5), 500);
  CHECK_EQ(paths.size(), 2);
  paths.expire(2000 + kPathMtuMs);
  CHECK_EQ(paths.size(), 0);
}

// Told again it lasts longer only when half its time is over.
TEST(path_mtu_that_is_told_again) {
  PathMtus paths;
  const Addr a = test::Address("198.19.0.1");
  paths.tell(a, 1500, 1400, 0);
  paths.tell(a, 1500, 1400, kPathMtuMs / 2 - 1);
  CHECK_EQ(paths.of(a, 1500, kPathMtuMs), 1500);
  paths.tell(a, 1500, 1400, 2 * kPathMtuMs);
  paths.tell(a, 1500, 1400, 2 * kPathMtuMs + kPathMtuMs / 2);
  CHECK_EQ(paths.of(a, 1500, 3 * kPathMtuMs), 1400);
}

TEST(path_mtu_memory_is_bounded_and_the_oldest_goes) {
  PathMtus paths;
  for (uint32_t i = 0; i < 20 * kPathMtus; i++) {
    paths.tell(Addr::v4(Be32::of(0xc6130000 + i)), 1500, 1400, i);
  }
  CHECK_EQ(paths.size(), kPathMtus);
  const Addr last = Addr::v4(Be32::of(0xc6130000 + 20 * kPathMtus - 1));
  CHECK_EQ(paths.of(last, 1500, 20 * kPathMtus), 1400);
  CHECK_EQ(paths.of(Addr::v4(Be32::of(0xc6130000)), 1500, 20 * kPathMtus), 1500);
}

// The story of a 1500-byte packet with DF: client -> director -> router of MTU 1400 -> real server.
TEST(path_mtu_story_of_a_long_packet) {
  for (const Kind& kind : kKinds) {
    World world(kMethodTunnel);
    Configure(world, kind);
    const Text longest = BigRequest(world, 1500 - kind.front);
    const Bytes outer = world.Pass(longest).at(0).ip;
    CHECK_EQ(outer.size(), 1500);
    const TrafficRecord& total = *world.blocks.total.get();
    const TrafficRecord before = total;
    const uint32_t packets = world.Only()->in_packets;
    const uint32_t due = world.Only()->expires;

    const std::vector<Sent> sent = world.Pass(RouterError(outer, 3, 4, 1400), 1);
    REQUIRE(sent.size() == 1);
    const Bytes& told = sent[0].ip;
    CHECK_EQ(sent[0].port, 0);
    CHECK_EQ(test::WrongIn(told), "");
    CHECK_EQ(Part(told, 12, 4), test::AddressBytes(world.ends.service));
    CHECK_EQ(Part(told, 16, 4), test::AddressBytes(world.ends.client));
    CHECK_EQ(Get16(told, 20), 0x0304);
    CHECK_EQ(Get32(told, 24), 1400 - kind.front);
    const Bytes asked = IpOf(world.Forwarded(longest));  // the TTL had been decremented
    const size_t quoted = 548 - kind.front;
    CHECK_EQ(Part(told, 28, quoted), Part(asked, 0, quoted));
    // Outgoing twice, nothing incoming; no timer and no state moves.
    CHECK_EQ(total.out_packets - before.out_packets, 2);
    CHECK_EQ(total.out_bytes - before.out_bytes, quoted + told.size());
    CHECK_EQ(total.in_packets, before.in_packets);
    CHECK_EQ(world.Only()->in_packets, packets);
    CHECK_EQ(world.Only()->expires, due);

    // From now on the director knows.
    const std::vector<Sent> again = world.Pass(longest);
    REQUIRE(again.size() == 1);
    CHECK_EQ(again[0].port, 0);
    CHECK_EQ(Get32(again[0].ip, 24), 1400 - kind.front);
    const std::vector<Sent> fits = world.Pass(BigRequest(world, 1400 - kind.front));
    REQUIRE(fits.size() == 1);
    CHECK_EQ(fits[0].port, 1);
    CHECK_EQ(fits[0].ip.size(), 1400);
    CHECK_EQ(Open(fits[0].ip).wrong, "");
    // Without DF it is cut to fit.
    Text loose = longest;
    loose.fragment = 0;
    const std::vector<Sent> cut = world.Pass(loose);
    CHECK_EQ(cut.size(), 2);
    for (const Sent& each : cut) CHECK(each.ip.size() <= 1400);
    // Another router further on.
    world.Pass(RouterError(fits[0].ip, 3, 4, 1300), 1);
    CHECK_EQ(Get32(world.Pass(longest).at(0).ip, 24), 1300 - kind.front);
    // Ten minutes later the path is tried again.
    world.rig.pass_ms(kPathMtuMs);
    CHECK_EQ(world.Pass(longest).at(0).ip.size(), 1500);
  }
}

// A client that does not look for the path's MTU hears nothing; the packet is cut from now on.
TEST(path_mtu_of_a_client_that_does_not_ask) {
  World world(kMethodTunnel);
  Configure(world, kKinds[0]);
  Text text = BigRequest(world, 1480);
  text.fragment = 0;
  const Bytes outer = world.Pass(text).at(0).ip;
  const uint64_t out = world.blocks.total.get()->out_packets;
  CHECK_EQ(world.Pass(RouterError(outer, 3, 4, 1400), 1).size(), 0);
  CHECK_EQ(world.blocks.total.get()->out_packets, out);
  CHECK_EQ(world.Pass(text).size(), 2);
}

TEST(path_mtu_of_super_packets_and_a_lying_router) {
  World world(kMethodTunnel);
  Configure(world, kKinds[0]);
  const Bytes outer = world.Pass(BigRequest(world, 1480)).at(0).ip;
  const Bytes told = world.Pass(RouterError(outer, 3, 4, 60), 1).at(0).ip;
  CHECK_EQ(Get32(told, 24), 552 - 20);
  Text text = world.Request();
  text.partial = true;
  text.gso_size = 493;
  text.payload = Bytes(4000, 1);
  CHECK_EQ(world.Pass(text).at(0).port, 0);
  text.gso_size = 492;
  CHECK_EQ(world.Pass(text).size(), 9);
}

TEST(tunnel_errors_of_other_kinds_are_passed_on) {
  struct Row {
    uint8_t type, code;
    uint16_t rest;
  };
  for (const Kind& kind : kKinds) {
    for (const Row& row : {Row{3, 1, 0}, Row{3, 13, 7}, Row{11, 0, 0}, Row{4, 0, 9}}) {
      World world(kMethodTunnel);
      Configure(world, kind);
      const Bytes outer = world.Pass(BigRequest(world, 1000)).at(0).ip;
      const std::vector<Sent> sent =
          world.Pass(RouterError(outer, row.type, row.code, row.rest, 96), 1);
      REQUIRE(sent.size() == 1);
      CHECK_EQ(test::WrongIn(sent[0].ip), "");
      CHECK_EQ(sent[0].ip[20], row.type);
      CHECK_EQ(sent[0].ip[21], row.code);
      CHECK_EQ(Get32(sent[0].ip, 24), row.rest);
      CHECK_EQ(sent[0].ip.size(), 28 + 96 - kind.front);
      CHECK_EQ(world.Pass(BigRequest(world, 1500 - kind.front)).at(0).ip.size(), 1500);
    }
  }
}

// A tunnel inside the tunnel: ESP finds its connection by its key exchange.
TEST(tunnel_errors_about_ipsec_are_passed_on) {
  for (const Kind& kind : kKinds) {
    for (const uint8_t protocol : {kProtoEsp, kProtoAh}) {
      World world(kMethodTunnel, false, kProtoUdp);
      world.config.services[0].port = 500;
      Configure(world, kind);
      Text keys = world.Request();
      keys.source_port = keys.destination_port = 500;
      REQUIRE(world.Pass(keys).size() == 1);
      Text text = world.Request();
      text.protocol = protocol;
      Bytes frame = test::Hex("020000000001 020000000002 0800");
      test::PutAll(frame, test::Ip4Packet(text, Bytes(1400, 5)));
      world.rig.port(0).inject(frame.data(), static_cast<uint32_t>(frame.size()));
      world.rig.run([](const MissRecord&) { return 0; });
      const std::vector<Sent> outer = world.Taken();
      REQUIRE(CHECK_EQ(outer.size(), 1));
      const std::vector<Sent> sent = world.Pass(RouterError(outer[0].ip, 3, 4, 1400), 1);
      REQUIRE(CHECK_EQ(sent.size(), 1));
      CHECK_EQ(sent[0].port, 0);
      CHECK_EQ(test::WrongIn(sent[0].ip), "");
      CHECK_EQ(Part(sent[0].ip, 16, 4), test::AddressBytes(world.ends.client));
      CHECK_EQ(Get32(sent[0].ip, 24), 1400 - kind.front);
    }
  }
}

TEST(tunnel_error_with_a_wrong_checksum_is_dropped) {
  World world(kMethodTunnel);
  Configure(world, kKinds[0]);
  const Bytes outer = world.Pass(BigRequest(world, 1480)).at(0).ip;
  test::Built built = Build(RouterError(outer, 3, 4, 1400));
  built.bytes.back() ^= 1;
  world.rig.port(1).inject(built.bytes.data(), static_cast<uint32_t>(built.bytes.size()));
  world.rig.run([](const MissRecord&) { return 0; });
  CHECK_EQ(world.Taken().size(), 0);
  CHECK_EQ(world.rig.reason(Reason::kIcmpBadChecksum), 1);
  CHECK_EQ(world.Pass(BigRequest(world, 1480)).at(0).ip.size(), 1500);
}

// Every way in which an error is not about a tunnel packet of ours: nothing is believed, nothing
// leaves, and the host's own copy goes on.
TEST(tunnel_errors_that_are_not_ours_change_nothing) {
  struct Row {
    const char* what;
    uint32_t kind;  // index into kKinds
    std::function<void(World&, Text&)> change;
  };
  constexpr size_t kQuote = 4;  // in Text::payload
  const Row table[] = {
      {"not to the director", 0, [](World&, Text& t) { t.destination = "198.18.255.9"; }},
      {"to another real server", 0, [](World&, Text& t) { t.payload[kQuote + 19] ^= 4; }},
      {"a later fragment", 0, [](World&, Text& t) { t.payload[kQuote + 7] = 1; }},
      {"of another flow", 0, [](World&, Text& t) { t.payload[kQuote + 40] ^= 1; }},
      {"inner version", 0, [](World&, Text& t) { t.payload[kQuote + 20] = 0x65; }},
      {"inner later fragment", 0, [](World&, Text& t) { t.payload[kQuote + 27] = 1; }},
      {"cut off before the ports", 0, [](World&, Text& t) { t.payload.resize(kQuote + 43); }},
      {"GRE with a key", 1, [](World&, Text& t) { t.payload[kQuote + 20] = 0x20; }},
      {"GRE of IPv6", 1, [](World&, Text& t) { test::Set16(t.payload, kQuote + 22, 0x86dd); }},
      {"GRE cut off", 1, [](World&, Text& t) { t.payload.resize(kQuote + 23); }},
      {"GUE version", 3, [](World&, Text& t) { t.payload[kQuote + 28] = 0x40; }},
      {"GUE control", 3, [](World&, Text& t) { t.payload[kQuote + 28] = 0x20; }},
      {"GUE of IPv6", 3, [](World&, Text& t) { t.payload[kQuote + 29] = 41; }},
      {"GUE to another port", 3, [](World&, Text& t) { t.payload[kQuote + 23] ^= 1; }},
      {"GUE longer than its quote", 3, [](World&, Text& t) { t.payload[kQuote + 28] = 31; }},
      {"IPIP where GRE is used now", 0,
       [](World& w, Text&) {
         w.config.destinations[0].tunnel_type = kTunnelGre;
         w.Adopt();
       }},
      {"destination gone", 0,
       [](World& w, Text&) {
         w.config.destinations[0].available = false;
         w.Adopt();
       }},
      {"no tunnel any more", 0,
       [](World& w, Text&) {
         w.config.destinations[0].method = kMethodDirect;
         w.Adopt();
       }},
      {"another type of ICMP", 0, [](World&, Text& t) { t.icmp_type = 12; }},
  };
  for (const Row& row : table) {
    World world(kMethodTunnel);
    Configure(world, kKinds[row.kind]);
    const Bytes outer = world.Pass(BigRequest(world, 1400)).at(0).ip;
    Text error = RouterError(outer, 3, 4, 1300, 150);
    row.change(world, error);
    const uint64_t out = world.blocks.total.get()->out_packets;
    const size_t sent = world.Pass(error, 1).size();
    CHECK_EQ(sent, 0);
    CHECK_EQ(world.rig.reason(Reason::kIcmpUnrelated), 1);
    CHECK_EQ(world.blocks.total.get()->out_packets, out);
    if (sent != 0) std::printf("  # %s\n", row.what);
  }
}

// The host has its own copy of what it was sent about a tunnel: it must not get a second one.
TEST(tunnel_errors_of_nobody_are_not_given_to_the_host_again) {
  rig::Blocks blocks(8);
  rig::CoreRig rig(blocks, 0, 1, Link::kEthernet, 1);
  World names(kMethodTunnel);
  REQUIRE(rig.adopt(names.config));
  names.Open();
  const Bytes outer = names.Pass(BigRequest(names, 1400)).at(0).ip;
  const test::Built built = Build(RouterError(outer, 3, 4, 1300));
  rig.port(0).inject(built.bytes.data(), static_cast<uint32_t>(built.bytes.size()));
  rig.run([](const MissRecord&) { return 0; });
  CHECK_EQ(rig.port(1).take_sent().size(), 0);
  CHECK_EQ(rig.reason(Reason::kIcmpUnrelated), 1);
}

// --- Bypass (spec 5.4, 2)

// A mark service beside the address service; what sorts packets to it is not of this test.
class MarkWorld : public World {
 public:
  explicit MarkWorld(bool six, uint8_t protocol = kProtoTcp, uint32_t fwmark = 7)
      : World(kMethodMasquerade, six, protocol) {
    rig::ServiceText mark;
    mark.address = config.services[0].address;
    mark.fwmark = fwmark;
    mark.port = 0;
    config.services.push_back(mark);
    config.cache_bypass = 1;
    Adopt();
  }

  // A packet that was sorted to the mark service and that no destination takes.
  std::vector<Sent> Refused(const Text& text, uint16_t flags = 0) {
    Inject(text);
    rig.run([&](const MissRecord& miss) {
      auto& record = const_cast<MissRecord&>(miss);
      record.service_slot = 1;
      record.fwmark = 7;
      record.flags |= flags;
      return kVerdictNone;
    });
    return Taken();
  }
};

TEST(bypass_goes_where_it_is_addressed_to) {
  for (const bool six : {false, true}) {
    for (const uint8_t protocol : {kProtoTcp, kProtoUdp}) {
      MarkWorld world(six, protocol);
      Text text = world.Request(kTcpSyn);
      for (int i = 0; i < 3; i++) {
        const std::vector<Sent> sent = i == 0 ? world.Refused(text) : world.Pass(text);
        REQUIRE(sent.size() == 1);
        CHECK_EQ(sent[0].port, 0);  // where the service's address lies
        Text want = text;
        want.ttl--;
        CHECK_EQ(sent[0].ip, IpOf(want));
        text.tcp_flags = kTcpAck;
      }
      const Conn* conn = world.Only();
      REQUIRE(conn != nullptr);
      CHECK_EQ(conn->method, kMethodBypass);
      CHECK_EQ(conn->in_packets, 3);
      CHECK_EQ(conn->destination_port.host(), 0);
      CHECK(world.rig.core().table().address(conn->destination_index).is_zero());
      CHECK_EQ(conn->state, protocol == kProtoTcp ? kTcpEstablished : 0);
      CHECK_EQ(world.blocks.total.get()->connections, 0);
      CHECK_EQ(world.blocks.total.get()->in_packets, 0);
      CHECK_EQ(world.rig.reason(Reason::kNoDestination), 0);
      world.rig.pass_ms(1000 * 1000);
      CHECK_EQ(world.Size(), 0);
    }
  }
}

TEST(bypass_of_one_packet_keeps_no_entry) {
  MarkWorld world(false, kProtoUdp);
  CHECK_EQ(world.Refused(world.Request(), kMissOnePacket).size(), 1);
  CHECK_EQ(world.Size(), 0);
}

// Several packets of a flow in one burst follow the first.
TEST(bypass_of_a_burst) {
  MarkWorld world(false);
  world.Inject(world.Request(kTcpSyn));
  world.Inject(world.Request(kTcpAck));
  CHECK_EQ(world.Refused(world.Request(kTcpAck)).size(), 3);
  CHECK_EQ(world.Only()->in_packets, 3);
}

TEST(bypass_only_where_the_rule_says) {
  const auto unreachable = [](MarkWorld& world) {
    const std::vector<Sent> sent = world.Refused(world.Request(kTcpSyn));
    return sent.size() == 1 && Get16(sent[0].ip, 20) == 0x0303 && world.Size() == 0;
  };
  MarkWorld off(false);
  off.config.cache_bypass = 0;
  off.Adopt();
  CHECK(unreachable(off));
  MarkWorld by_address(false);
  by_address.Inject(by_address.Request(kTcpSyn));
  by_address.rig.run([](const MissRecord&) { return kVerdictNone; });
  CHECK_EQ(by_address.Taken().size(), 1);
  CHECK_EQ(by_address.Size(), 0);
  MarkWorld local(false);
  local.rig.hops().set_state(rig::RigHops::kOut4, HopState::kLocal);
  local.Refused(local.Request(kTcpSyn));
  CHECK_EQ(local.Size(), 0);
  CHECK_EQ(local.rig.reason(Reason::kNoDestination), 1);
  // Not out of an ICMP error, which ends here without an answer (spec 5.4, 2 and 4).
  MarkWorld icmp(false);
  icmp.config.schedule_icmp = 1;
  icmp.Adopt();
  Text reply = icmp.Request();
  std::swap(reply.source, reply.destination);
  std::swap(reply.source_port, reply.destination_port);
  Text error = RouterError(IpOf(reply), 3, 3, 0);
  error.destination = icmp.ends.service;
  CHECK_EQ(icmp.Refused(error).size(), 0);
  CHECK_EQ(icmp.Size(), 0);
  CHECK_EQ(icmp.rig.reason(Reason::kNoDestination), 1);
}

// Spec 5.5.7: what was bypassed must never end on this host.
TEST(bypass_whose_address_became_local_is_dropped) {
  MarkWorld world(false);
  CHECK_EQ(world.Refused(world.Request(kTcpSyn)).size(), 1);
  world.rig.hops().set_state(rig::RigHops::kOut4, HopState::kLocal);
  CHECK_EQ(world.Pass(world.Request(kTcpAck)).size(), 0);
  CHECK_EQ(world.rig.reason(Reason::kRouteRefused), 1);
}

TEST(bypass_needs_no_link_layer_and_survives_the_sweep) {
  MarkWorld world(false);
  NextHop hop = world.rig.hops().at(rig::RigHops::kOut4);
  hop.link_bytes = 0;
  world.rig.hops().set(rig::RigHops::kOut4, hop);
  world.Inject(world.Request(kTcpSyn));
  world.rig.run([](const MissRecord& miss) {
    const_cast<MissRecord&>(miss).service_slot = 1;
    return kVerdictNone;
  });
  CHECK_EQ(world.rig.port(0).take_sent().size(), 1);
  world.config.expire_nodest_conn = 1;
  world.config.destinations[1].available = false;
  world.Adopt();
  world.rig.pass_ms(100);
  CHECK_EQ(world.Size(), 1);
}

// Spec 5.5.7: a packet with a loopback source must not leave.
TEST(loopback_sources_open_no_connection) {
  for (const bool six : {false, true}) {
    World world(kMethodDirect, six);
    Text text = world.Request(kTcpSyn);
    text.source = six ? "::1" : "127.0.0.1";
    CHECK_EQ(world.Pass(text).size(), 0);
    CHECK_EQ(world.Size(), 0);
    CHECK_EQ(world.rig.reason(Reason::kSourceBad), 1);
  }
}

}  // namespace
}  // namespace uvs
