// AH and ESP through the whole core (spec 3.2, 5.5.2): found as the connection of their key
// exchange, never the first of one, new addresses and nothing else; errors about them likewise.
#include "core_world.h"

namespace uvs {
namespace {

using test::Bytes;
using test::Part;
using test::Sent;
using test::Text;
using test::World;

constexpr uint16_t kIke = 500;

// SPI, sequence number and what looks like nothing.
Bytes Body(size_t bytes) {
  Bytes body(bytes);
  for (size_t i = 0; i < bytes; i++) body[i] = static_cast<uint8_t>(i * 7 + 1);
  return body;
}

Bytes IpWith(const Text& text, const Bytes& body) {
  return text.six() ? test::Ip6Packet(text, body) : test::Ip4Packet(text, body);
}

// A service for keys, of `method`.
struct Gateway {
  Gateway(uint8_t method, bool six) : world(method, six, kProtoUdp) {
    world.config.services[0].port = kIke;
    for (auto& destination : world.config.destinations) destination.port = kIke;
    world.Adopt();
  }

  void Exchange() {
    Text text = world.Request();
    text.source_port = text.destination_port = kIke;
    REQUIRE(world.Pass(text).size() == 1);
    REQUIRE(world.Size() == 1);
  }

  Text Request(uint8_t protocol) const {
    Text text;
    text.source = world.ends.client;
    text.destination = world.ends.service;
    text.protocol = protocol;
    return text;
  }
  Text Reply(uint8_t protocol) const {
    Text text = Request(protocol);
    text.source = world.ends.destination;
    text.destination = world.ends.client;
    return text;
  }

  std::vector<Sent> Pass(const Text& text, const Bytes& body, uint32_t port = 0) {
    Bytes frame = test::Hex("020000000001 020000000002");
    test::Put16(frame, text.six() ? 0x86dd : 0x0800);
    test::PutAll(frame, IpWith(text, body));
    world.rig.port(port).inject(frame.data(), static_cast<uint32_t>(frame.size()));
    world.misses = world.rig.run([](const MissRecord&) { return 0; });
    CHECK_EQ(world.misses, 0);
    return world.Taken();
  }

  // A router's error about a packet that it saw, to the sender of that.
  std::vector<Sent> PassError(const Text& seen, uint32_t port) {
    return world.Pass(ErrorAbout(seen), port);
  }
  Text ErrorAbout(const Text& seen) const {
    Text text;
    text.source = seen.six() ? "2001:db8::99" : "198.18.0.99";
    text.destination = seen.source;
    text.protocol = seen.six() ? kProtoIcmp6 : kProtoIcmp;
    text.icmp_type = seen.six() ? 2 : 3;
    text.icmp_code = seen.six() ? 0 : 4;
    text.payload = test::Hex("0000 0578");
    test::PutAll(text.payload, IpWith(seen, Body(28)));
    text.ethernet = true;
    return text;
  }

  World world;
};

std::vector<uint8_t> Protocols(bool six) {
  // Over IPv6 AH is an extension header.
  return six ? std::vector<uint8_t>{kProtoEsp} : std::vector<uint8_t>{kProtoEsp, kProtoAh};
}

TEST(ipsec_goes_where_its_keys_went) {
  for (const uint8_t method : {kMethodMasquerade, kMethodDirect, kMethodTunnel}) {
    for (const bool six : {false, true}) {
      for (const uint8_t protocol : Protocols(six)) {
        Gateway gateway(method, six);
        gateway.Exchange();
        const Text text = gateway.Request(protocol);
        const std::vector<Sent> sent = gateway.Pass(text, Body(60));
        REQUIRE(sent.size() == 1);
        CHECK_EQ(sent[0].port, 1);
        const size_t front = method != kMethodTunnel ? 0 : six ? 40 : 20;
        const Bytes inner = Part(sent[0].ip, front, sent[0].ip.size() - front);
        CHECK_EQ(inner, IpWith(gateway.world.Forwarded(text), Body(60)));
        CHECK_EQ(gateway.world.Only()->in_packets, 2);
        if (method != kMethodMasquerade) continue;
        const Text reply = gateway.Reply(protocol);
        const std::vector<Sent> back = gateway.Pass(reply, Body(33), 1);
        REQUIRE(back.size() == 1);
        CHECK_EQ(back[0].port, 0);
        CHECK_EQ(back[0].ip, IpWith(gateway.world.Returned(reply), Body(33)));
      }
    }
  }
}

TEST(ipsec_keeps_its_connection_and_counts) {
  Gateway gateway(kMethodMasquerade, false);
  gateway.Exchange();
  gateway.world.rig.pass_ms(100'000);
  gateway.Pass(gateway.Request(kProtoEsp), Body(60));
  CHECK_EQ(gateway.world.DueTicks(), 300 * kTicksPerSec);
  gateway.world.rig.pass_ms(100'000);
  gateway.Pass(gateway.Reply(kProtoAh), Body(60), 1);
  CHECK_EQ(gateway.world.DueTicks(), 300 * kTicksPerSec);
  CHECK_EQ(gateway.world.blocks.total.get()->in_packets, 2);
  CHECK_EQ(gateway.world.blocks.total.get()->out_packets, 1);
}

TEST(ipsec_begins_nothing) {
  for (const bool six : {false, true}) {
    for (const uint8_t protocol : Protocols(six)) {
      Gateway gateway(kMethodMasquerade, six);
      CHECK_EQ(gateway.Pass(gateway.Request(protocol), Body(60)).size(), 0);
      CHECK_EQ(gateway.world.rig.reason(Reason::kNoService), 1);  // the host's
      CHECK_EQ(gateway.world.Size(), 0);
      gateway.Exchange();
      Text other = gateway.Request(protocol);
      other.source = six ? "2001:db8::8" : "198.18.0.8";
      CHECK_EQ(gateway.Pass(other, Body(60)).size(), 0);
      CHECK_EQ(gateway.world.rig.reason(Reason::kNoService), 2);
    }
  }
}

TEST(ipsec_of_a_destination_that_is_gone) {
  for (const uint32_t expire : {0u, 1u}) {
    Gateway gateway(kMethodMasquerade, false);
    gateway.Exchange();
    gateway.world.config.destinations[0].available = false;
    gateway.world.Adopt();
    gateway.world.config.expire_nodest_conn = expire;
    gateway.world.Adopt();
    CHECK_EQ(gateway.Pass(gateway.Request(kProtoEsp), Body(60)).size(), 0);
    CHECK_EQ(gateway.world.rig.reason(Reason::kDestinationGone), expire == 0 ? 1 : 0);
    CHECK_EQ(gateway.world.rig.reason(Reason::kNoService), expire);
  }
}

TEST(ipsec_cannot_pass_fullnat) {
  Gateway gateway(kMethodFullnat, false);
  gateway.Exchange();
  CHECK_EQ(gateway.Pass(gateway.Request(kProtoEsp), Body(60)).size(), 0);
  CHECK_EQ(gateway.world.rig.reason(Reason::kMethodUnsupported), 1);
}

// Tunnel mode fills packets: they come in fragments, and leave as they came.
TEST(ipsec_in_fragments) {
  Gateway gateway(kMethodMasquerade, false);
  gateway.Exchange();
  const Bytes body = Body(1600);
  Text first = gateway.Request(kProtoEsp);
  first.fragment = 0x2000;
  Text second = first;
  second.fragment = 1480 / 8;
  CHECK_EQ(gateway.Pass(first, Part(body, 0, 1480)).size(), 0);
  const std::vector<Sent> sent = gateway.Pass(second, Part(body, 1480, 120));
  REQUIRE(sent.size() == 2);
  CHECK_EQ(sent[0].ip, IpWith(gateway.world.Forwarded(first), Part(body, 0, 1480)));
  CHECK_EQ(sent[1].ip, IpWith(gateway.world.Forwarded(second), Part(body, 1480, 120)));
}

// How a client's or a server's packets find the path's MTU.
TEST(ipsec_errors_follow_the_connection) {
  for (const uint8_t method : {kMethodMasquerade, kMethodDirect, kMethodTunnel}) {
    for (const bool six : {false, true}) {
      for (const uint8_t protocol : Protocols(six)) {
        Gateway gateway(method, six);
        Text seen = gateway.Request(protocol);
        std::swap(seen.source, seen.destination);
        CHECK_EQ(gateway.PassError(seen, 0).size(), 0);
        CHECK_EQ(gateway.world.rig.reason(Reason::kIcmpUnrelated), 1);
        gateway.Exchange();
        const std::vector<Sent> sent = gateway.PassError(seen, 0);
        REQUIRE(CHECK_EQ(sent.size(), 1));
        CHECK_EQ(sent[0].port, 1);
        const bool nat = method == kMethodMasquerade;
        Text at_server = seen;
        if (nat) at_server.source = gateway.world.ends.destination;
        Text want = gateway.ErrorAbout(at_server);
        want.ttl--;
        const size_t front = method != kMethodTunnel ? 0 : six ? 40 : 20;
        CHECK_EQ(Part(sent[0].ip, front, sent[0].ip.size() - front), test::IpOf(want));
        if (!nat) continue;
        const Text forwarded = gateway.world.Forwarded(gateway.Request(protocol));
        const std::vector<Sent> back = gateway.PassError(forwarded, 1);
        REQUIRE(CHECK_EQ(back.size(), 1));
        CHECK_EQ(back[0].port, 0);
        Text at_client = gateway.Request(protocol);
        at_client.ttl = forwarded.ttl;
        want = gateway.ErrorAbout(at_client);
        want.source = gateway.world.ends.service;
        want.ttl--;
        CHECK_EQ(back[0].ip, test::IpOf(want));
      }
    }
  }
}

// Only what begins connections may: AH and ESP never do.
TEST(ipsec_errors_begin_nothing) {
  Gateway gateway(kMethodMasquerade, false);
  gateway.world.config.schedule_icmp = 1;
  gateway.world.Adopt();
  Text seen = gateway.Request(kProtoEsp);
  std::swap(seen.source, seen.destination);
  CHECK_EQ(gateway.PassError(seen, 0).size(), 0);
  CHECK_EQ(gateway.world.misses, 0);
  CHECK_EQ(gateway.world.rig.reason(Reason::kIcmpUnrelated), 1);
}

TEST(ipsec_whose_next_hop_is_silent_is_answered) {
  for (const uint8_t method : {kMethodMasquerade, kMethodDirect}) {
    for (const bool six : {false, true}) {
      Gateway gateway(method, six);
      gateway.Exchange();
      World& world = gateway.world;
      world.rig.hops().set_state(six ? rig::RigHops::kIn6 : rig::RigHops::kIn4,
                                 HopState::kUnresolved);
      CHECK_EQ(gateway.Pass(gateway.Request(kProtoEsp), Body(60)).size(), 0);
      world.rig.pass_ms(kNeighbourWaitMs);
      const std::vector<Sent> sent = world.Taken();
      REQUIRE(CHECK_EQ(sent.size(), 1));
      CHECK_EQ(sent[0].port, 0);
      const Bytes& ip = sent[0].ip;
      const size_t header = six ? 40 : 20;
      const size_t at = six ? 24 : 16;
      CHECK_EQ(Part(ip, header, 2), six ? Bytes({1, 3}) : Bytes({3, 1}));
      CHECK_EQ(Part(ip, at, six ? 16 : 4), test::AddressBytes(world.ends.client));
      CHECK_EQ(Part(ip, header + 8 + at, six ? 16 : 4), test::AddressBytes(world.ends.service));
      CHECK_EQ(Part(ip, header + 8 + header, 60), Body(60));
    }
  }
}

// Nor where mark rules name them.
TEST(ipsec_errors_begin_nothing_by_marks) {
  for (const uint8_t protocol : {kProtoEsp, kProtoAh}) {
    World world(kMethodMasquerade, false, kProtoUdp);
    world.config.schedule_icmp = 1;
    rig::ServiceText service;
    service.address = world.config.services[0].address;
    service.fwmark = 5;
    service.port = 0;
    world.config.services.push_back(service);
    MarkRuleRecord rule{};
    rule.source = rule.destination = test::Address("0.0.0.0");
    rule.source_bits = rule.destination_bits = 96;
    rule.protocol = protocol;
    rule.family = 4;
    rule.clear_mask = 0xffffffff;
    rule.flip_bits = 5;
    rule.interfaces = 0xffffffff;
    world.config.mark_rules = {rule};
    world.Adopt();
    Gateway gateway(kMethodMasquerade, false);
    Text seen = gateway.Request(protocol);
    std::swap(seen.source, seen.destination);
    CHECK_EQ(world.Pass(gateway.ErrorAbout(seen)).size(), 0);
    CHECK_EQ(world.misses, 0);
    CHECK_EQ(world.Size(), 0);
  }
}

// AH and ESP are dropped there, so nobody can be told about them.
TEST(ipsec_errors_cannot_pass_fullnat) {
  Gateway gateway(kMethodFullnat, false);
  gateway.Exchange();
  Text seen = gateway.Request(kProtoEsp);
  std::swap(seen.source, seen.destination);
  CHECK_EQ(gateway.PassError(seen, 0).size(), 0);
  CHECK_EQ(gateway.world.rig.reason(Reason::kMethodUnsupported), 1);
}

// Over IPv6 AH is an extension header: what it protects has a connection of its own.
TEST(what_ah_protects_over_ipv6_is_forwarded) {
  for (const uint8_t method : test::kMethods) {
    World world(method, true, kProtoUdp);
    Text text = world.Request();
    text.extensions = {{51, test::Hex("04 0000 00001001 00000001 a5*12")}};
    const std::vector<Sent> sent = world.Pass(text);
    REQUIRE(CHECK_EQ(sent.size(), 1));
    CHECK_EQ(world.misses, 1);
    const size_t front = method == kMethodTunnel ? 40 : 0;
    CHECK_EQ(Part(sent[0].ip, front, sent[0].ip.size() - front), test::IpOf(world.Forwarded(text)));
    if (!has_reply_key(method)) continue;
    Text reply = world.Reply();
    reply.extensions = text.extensions;
    const std::vector<Sent> back = world.Pass(reply, 1);
    REQUIRE(CHECK_EQ(back.size(), 1));
    CHECK_EQ(back[0].ip, test::IpOf(world.Returned(reply)));
  }
}

TEST(ipsec_that_does_not_fit_is_answered) {
  Gateway gateway(kMethodMasquerade, false);
  gateway.Exchange();
  const std::vector<Sent> sent = gateway.Pass(gateway.Request(kProtoEsp), Body(1600));
  REQUIRE(sent.size() == 1);
  CHECK_EQ(sent[0].port, 0);
  CHECK_EQ(sent[0].ip[9], kProtoIcmp);
  CHECK_EQ(gateway.world.rig.reason(Reason::kTooBig), 1);
}

}  // namespace
}  // namespace uvs
