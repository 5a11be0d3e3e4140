// ICMP through the whole core, beside core_path_test.cc: flows that begin with an error
// (schedule_icmp), servers that no connection knows (nat_icmp_send), echo requests to announced
// addresses, and every type of error for every method, family and direction.
#include "core_world.h"
#include "fragment_text.h"
#include "parse/sctp.h"

namespace uvs {
namespace {

using test::Bytes;
using test::EndsOf;
using test::IpOf;
using test::kMethods;
using test::kSynAck;
using test::Part;
using test::Sent;
using test::Text;
using test::World;
using test::WrongIn;

// An ICMP error of a router about `about`, to its sender.
Text ErrorAbout(const Text& about, const std::string& router, uint8_t type, uint8_t code) {
  Text text;
  text.source = router;
  text.destination = about.source;
  text.protocol = text.six() ? kProtoIcmp6 : kProtoIcmp;
  text.icmp_type = type;
  text.icmp_code = code;
  text.payload = test::Hex("0000 0578");
  test::PutAll(text.payload, IpOf(about));
  text.ethernet = true;
  return text;
}

// A packet of the service to the client, as its client's router saw it.
Text SeenReply(const World& world) {
  Text text = world.Request(kSynAck);
  std::swap(text.source, text.destination);
  std::swap(text.source_port, text.destination_port);
  return text;
}

Bytes Inner(const Bytes& ip, bool outer_six) {
  const size_t outer = outer_six ? 40 : 20;
  return Part(ip, outer, ip.size() - outer);
}

std::string Router(bool six) { return six ? "2001:db8::99" : "198.18.0.99"; }

struct TypeCode {
  uint8_t type;
  uint8_t code;
};

// Every type of spec 5.7, and one that is none.
std::vector<TypeCode> RelatedTypes(bool six) {
  if (six) return {{1, 0}, {1, 3}, {1, 4}, {2, 0}, {3, 0}, {3, 1}, {4, 1}, {100, 0}, {127, 0}};
  return {{3, 0}, {3, 1}, {3, 3}, {3, 4}, {3, 13}, {4, 0}, {11, 0}, {11, 1}};
}
std::vector<TypeCode> UnrelatedTypes(bool six) {
  if (six) return {{129, 0}, {134, 0}, {137, 0}};
  return {{0, 0}, {5, 1}, {12, 0}, {13, 0}};
}

}  // namespace

// From the client's side: to the destination, in the words that it knows.
TEST(icmp_every_type_from_the_client_side) {
  for (const uint8_t method : kMethods) {
    for (const bool six : {false, true}) {
      for (const uint8_t protocol : {kProtoTcp, kProtoUdp}) {
        World world(method, six, protocol);
        world.Open();
        if (protocol == kProtoUdp) world.Pass(world.Request());
        const uint32_t due = world.DueTicks();
        for (const TypeCode& each : RelatedTypes(six)) {
          const Text seen = SeenReply(world);
          const Text error = ErrorAbout(seen, Router(six), each.type, each.code);
          const std::vector<Sent> sent = world.Pass(error);
          REQUIRE(CHECK_EQ(sent.size(), 1));
          CHECK_EQ(sent[0].port, 1);
          Text want = error;
          want.ttl--;
          if (has_reply_key(method)) {
            Text quoted = seen;
            quoted.source = world.ends.destination;
            quoted.source_port = world.config.destinations[0].port;
            if (method == kMethodFullnat) {
              quoted.destination = world.ends.local;
              quoted.destination_port = world.LocalPort();
            }
            want.destination = world.ends.destination;
            want.payload = test::Hex("0000 0578");
            Bytes inside = IpOf(quoted);
            // The transport checksum of the quote stays what it was (spec 5.7.1).
            const Bytes before = IpOf(seen);
            const size_t at = (six ? 40 : 20) + test::ChecksumAt(protocol);
            test::Set16(inside, at, test::Get16(before, at));
            test::PutAll(want.payload, inside);
          }
          const Bytes got = method == kMethodTunnel ? Inner(sent[0].ip, six) : sent[0].ip;
          if (!CHECK_EQ(got, IpOf(want))) std::printf("  # method %u type %u\n", method, each.type);
        }
        CHECK_EQ(world.DueTicks(), due);  // state and timer are not touched
        for (const TypeCode& each : UnrelatedTypes(six)) {
          const Text error = ErrorAbout(SeenReply(world), Router(six), each.type, each.code);
          CHECK_EQ(world.Pass(error).size(), 0);
        }
      }
    }
  }
}

// From the destination's side: to the client, in the service's name.
TEST(icmp_every_type_from_the_destination_side) {
  for (const uint8_t method : {kMethodMasquerade, kMethodFullnat}) {
    for (const bool six : {false, true}) {
      for (const uint8_t protocol : {kProtoTcp, kProtoUdp}) {
        World world(method, six, protocol);
        world.Open();
        if (protocol == kProtoUdp) world.Pass(world.Request());
        for (const TypeCode& each : RelatedTypes(six)) {
          const Text seen = world.Forwarded(world.Request());
          const Text error = ErrorAbout(seen, world.ends.destination, each.type, each.code);
          const std::vector<Sent> sent = world.Pass(error, 1);
          REQUIRE(CHECK_EQ(sent.size(), 1));
          CHECK_EQ(sent[0].port, 0);
          Text quoted = world.Request();
          quoted.ttl--;
          Bytes inside = IpOf(quoted);
          const Bytes before = IpOf(seen);
          const size_t at = (six ? 40 : 20) + test::ChecksumAt(protocol);
          test::Set16(inside, at, test::Get16(before, at));
          Text want = error;
          want.ttl--;
          want.source = world.ends.service;
          want.destination = world.ends.client;
          want.payload = test::Hex("0000 0578");
          test::PutAll(want.payload, inside);
          CHECK_EQ(sent[0].ip, IpOf(want));
        }
      }
    }
  }
}

// What the host would not have forwarded is no packet of the service's: it is not counted (spec
// 5.7.1; the hook lies behind ip_forward.c, which drops a long one with DF and one without TTL).
TEST(icmp_from_the_destination_side_that_goes_no_further) {
  for (const uint8_t method : {kMethodMasquerade, kMethodFullnat}) {
    for (const bool six : {false, true}) {
      World world(method, six);
      world.Open();
      const uint16_t out = six ? rig::RigHops::kOut6 : rig::RigHops::kOut4;
      const TrafficRecord& total = *world.blocks.total.get();
      const uint64_t before = total.out_packets;
      Text long_one = world.Forwarded(world.Request());
      long_one.payload = Bytes(400, 1);
      const Text error = ErrorAbout(long_one, world.ends.destination, six ? 1 : 3, 1);
      Text tired = error;
      tired.ttl = 1;
      CHECK_EQ(world.Pass(tired, 1).size(), 0);
      CHECK_EQ(world.rig.reason(Reason::kTtlExceeded), 1);
      world.rig.hops().set_mtu(out, six ? 450 : 400);
      CHECK_EQ(world.Pass(error, 1).size(), 0);
      CHECK_EQ(world.rig.reason(Reason::kTooBig), 1);
      CHECK_EQ(total.out_packets, before);
      Text may_be_cut = error;
      may_be_cut.fragment = 0;
      CHECK_EQ(world.Pass(may_be_cut, 1).size(), six ? 0 : 2);
      CHECK_EQ(total.out_packets, before + (six ? 0 : 1));
      world.rig.hops().set_mtu(out, 1500);
      world.rig.hops().set_state(out, HopState::kUnreachable);
      CHECK_EQ(world.Pass(error, 1).size(), 0);
      CHECK_EQ(world.rig.reason(Reason::kNoRoute), 1);
      CHECK_EQ(total.out_packets, before + (six ? 0 : 1));
      // From the client's side IPVS has counted it before it asks, and cuts it whatever its DF
      // says.
      const uint64_t in = total.in_packets;
      const Text other = ErrorAbout(SeenReply(world), Router(six), six ? 1 : 3, 1);
      tired = other;
      tired.ttl = 1;
      CHECK_EQ(world.Pass(tired).size(), 0);
      world.rig.hops().set_mtu(rig::RigHops::kIn4, 60);
      CHECK_EQ(world.Pass(other).size(), six ? 1 : 2);
      CHECK_EQ(total.in_packets, in + 2);
    }
  }
}

// Of a packet that waited in vain an answer quotes no more than 1232 bytes (RFC 4443 2.4 c): its
// ports may lie behind them.
TEST(icmp_of_a_silent_next_hop_about_long_extension_headers) {
  for (const uint8_t method : {kMethodMasquerade, kMethodDirect, kMethodFullnat}) {
    for (const uint8_t protocol : {kProtoTcp, kProtoUdp}) {
      World world(method, true, protocol);
      world.Open();
      if (protocol == kProtoUdp) world.Pass(world.Request());
      world.rig.hops().set_state(rig::RigHops::kIn6, HopState::kUnresolved);
      Text text = world.Request();
      Bytes options(1199, 0);
      options[0] = 1200 / 8 - 1;
      text.extensions = {{60, options}};
      CHECK_EQ(world.Pass(text).size(), 0);
      world.rig.pass_ms(kNeighbourWaitMs);
      CHECK_EQ(world.Taken().size(), has_reply_key(method) ? 0 : 1);
      CHECK_EQ(world.rig.reason(Reason::kNeighbourUnresolved), 1);
    }
  }
}

// A quote of a later fragment has no ports (spec 5.7.1, 3 [L]).
TEST(icmp_quote_of_a_later_fragment_concerns_nobody) {
  for (const bool six : {false, true}) {
    World world(kMethodMasquerade, six);
    world.Open();
    Text seen = SeenReply(world);
    if (six) {
      seen.extensions = {{44, test::Hex("00 0008 0000 0001")}};
    } else {
      seen.fragment = 1;
    }
    CHECK_EQ(world.Pass(ErrorAbout(seen, Router(six), six ? 1 : 3, 3)).size(), 0);
    CHECK_EQ(world.rig.reason(Reason::kIcmpUnrelated), 1);
  }
}

// A 1500-byte packet with DF never fits an IPIP tunnel over a 1500-byte path: the client is told
// what does, and what does arrives.
TEST(icmp_too_big_for_a_tunnel_is_no_black_hole) {
  for (const bool six : {false, true}) {
    World world(kMethodTunnel, six);
    world.Open();
    Text text = world.Request();
    const size_t headers = (six ? 40 : 20) + 20;
    text.payload = Bytes(1500 - headers, 7);
    std::vector<Sent> sent = world.Pass(text);
    REQUIRE(CHECK_EQ(sent.size(), 1));
    const Bytes& ip = sent[0].ip;
    CHECK_EQ(WrongIn(ip), "");
    CHECK_EQ(ip[six ? 40 : 20], six ? 2 : 3);
    CHECK_EQ(ip[six ? 41 : 21], six ? 0 : 4);
    const uint32_t mtu = test::Get16(ip, six ? 46 : 26);
    CHECK_EQ(mtu, six ? 1460 : 1480);
    text.payload = Bytes(mtu - headers, 7);
    sent = world.Pass(text);
    REQUIRE(CHECK_EQ(sent.size(), 1));
    CHECK_EQ(sent[0].ip.size(), 1500);
    CHECK_EQ(Inner(sent[0].ip, six), IpOf(world.Forwarded(text)));
  }
}

TEST(icmp_begins_a_connection_when_it_may) {
  for (const uint8_t method : {kMethodMasquerade, kMethodDirect, kMethodTunnel}) {
    for (const bool six : {false, true}) {
      for (const uint8_t protocol : {kProtoTcp, kProtoUdp}) {
        World world(method, six, protocol);
        const Text error = ErrorAbout(SeenReply(world), Router(six), six ? 1 : 3, six ? 4 : 3);
        CHECK_EQ(world.Pass(error).size(), 0);
        CHECK_EQ(world.rig.reason(Reason::kIcmpUnrelated), 1);
        world.config.schedule_icmp = 1;
        world.Adopt();
        world.Inject(error, 0);
        MissRecord asked{};
        world.rig.run([&](const MissRecord& miss) {
          asked = miss;
          return 0;
        });
        CHECK(asked.client_address == test::Address(world.ends.client));
        CHECK(asked.virtual_address == test::Address(world.ends.service));
        CHECK_EQ(asked.client_port, world.Request().source_port);
        CHECK_EQ(asked.virtual_port, 80);
        CHECK_EQ(asked.flags, kMissIcmp);
        const std::vector<Sent> sent = world.Taken();
        REQUIRE(CHECK_EQ(sent.size(), 1));
        CHECK_EQ(sent[0].port, 1);
        REQUIRE(world.Only() != nullptr);
        CHECK(world.Only()->client == test::Address(world.ends.client));
        CHECK_EQ(world.Only()->in_packets, method == kMethodMasquerade ? 0 : 1);
        CHECK_EQ(world.DueTicks(), kInitialTimeoutSec * 1000 / kTickMs);  // no state was entered
        CHECK_EQ(world.blocks.total.get()->connections, 1);
        CHECK_EQ(world.blocks.total.get()->in_packets, 1);
        // The client's own packets find it.
        world.Pass(world.Request(kTcpSyn));
        CHECK_EQ(world.misses, 0);
        CHECK_EQ(world.Size(), 1);
      }
    }
  }
}

TEST(icmp_begins_no_connection_where_the_kernel_would_not) {
  World world(kMethodMasquerade);
  world.config.schedule_icmp = 1;
  world.Adopt();
  world.verdict = kVerdictNone;
  const Text error = ErrorAbout(SeenReply(world), Router(false), 3, 3);
  CHECK_EQ(world.Pass(error).size(), 0);  // spec 5.4, 4: dropped without an answer
  CHECK_EQ(world.rig.reason(Reason::kNoDestination), 1);
  world.verdict = 0;
  Text other = SeenReply(world);
  other.source_port = 81;
  world.Pass(ErrorAbout(other, Router(false), 3, 3));
  CHECK_EQ(world.misses, 0);
  other = SeenReply(world);
  other.destination_port = 20;
  world.Pass(ErrorAbout(other, Router(false), 3, 3));
  CHECK_EQ(world.misses, 0);
  CHECK_EQ(world.rig.reason(Reason::kIcmpUnrelated), 2);
  World fullnat(kMethodFullnat);
  fullnat.config.schedule_icmp = 1;
  fullnat.Adopt();
  CHECK_EQ(fullnat.Pass(error).size(), 0);
  CHECK_EQ(fullnat.Size(), 0);
}

TEST(icmp_and_a_packet_of_the_flow_in_one_burst_are_one_connection) {
  World world(kMethodMasquerade);
  world.config.schedule_icmp = 1;
  world.Adopt();
  world.Inject(ErrorAbout(SeenReply(world), Router(false), 3, 3), 0);
  world.Inject(world.Request(kTcpSyn), 0);
  CHECK_EQ(world.rig.run([](const MissRecord&) { return 0; }), 1);
  CHECK_EQ(world.Taken().size(), 2);
  CHECK_EQ(world.Size(), 1);
}

TEST(icmp_for_a_server_that_no_connection_knows) {
  for (const bool six : {false, true}) {
    for (const uint8_t protocol : {kProtoTcp, kProtoUdp, kProtoSctp}) {
      World world(kMethodMasquerade, six, protocol);
      Text text = world.Request(kSynAck);
      text.sctp_chunk = 0;  // DATA
      text.source = world.ends.destination;
      text.source_port = world.config.destinations[0].port;
      text.destination = world.ends.client;
      text.destination_port = 40000;
      CHECK_EQ(world.Pass(text, 1).size(), 0);
      CHECK_EQ(world.rig.reason(Reason::kNatUnknown), 0);
      world.config.nat_icmp_send = 1;
      world.Adopt();
      const std::vector<Sent> sent = world.Pass(text, 1);
      REQUIRE(CHECK_EQ(sent.size(), 1));
      CHECK_EQ(sent[0].port, 1);
      const Bytes& ip = sent[0].ip;
      CHECK_EQ(WrongIn(ip), "");
      CHECK_EQ(Part(ip, six ? 24 : 16, six ? 16 : 4), test::AddressBytes(text.source));
      CHECK_EQ(ip[six ? 40 : 20], six ? 1 : 3);
      CHECK_EQ(ip[six ? 41 : 21], six ? 4 : 3);
      Text quoted = text;
      quoted.ttl--;  // forwarded before it was refused
      CHECK_EQ(Part(ip, six ? 48 : 28, 28), Part(IpOf(quoted), 0, 28));
      CHECK_EQ(world.rig.reason(Reason::kNatUnknown), 1);
      // Not about a RST or ABORT, another port, another protocol, another method.
      Text reset = text;
      reset.tcp_flags = kTcpRst;
      reset.sctp_chunk = kChunkAbort;
      CHECK_EQ(world.Pass(reset, 1).size(), protocol == kProtoUdp ? 1 : 0);
      Text other = text;
      other.source_port++;
      CHECK_EQ(world.Pass(other, 1).size(), 0);
      other = text;
      other.protocol = protocol == kProtoTcp ? kProtoUdp : kProtoTcp;
      CHECK_EQ(world.Pass(other, 1).size(), 0);
      for (auto& each : world.config.destinations) each.method = kMethodDirect;
      world.Adopt();
      CHECK_EQ(world.Pass(text, 1).size(), 0);
    }
  }
}

namespace {

Text Echo(const World& world, size_t bytes) {
  Text text = world.Request();
  text.protocol = world.six ? kProtoIcmp6 : kProtoIcmp;
  text.icmp_type = world.six ? 128 : 8;
  text.payload = Bytes(bytes, 0x3c);
  text.fragment = 0;
  text.tos = 0x28;
  return text;
}

Bytes EchoReply(const World& world, Text text, uint32_t id) {
  std::swap(text.source, text.destination);
  text.icmp_type = world.six ? 129 : 0;
  text.ttl = 64;
  text.id = static_cast<uint16_t>(id);
  text.ip_options.clear();
  text.extensions.clear();
  return IpOf(text);
}

void Announce(World& world) {
  AnnounceRecord record{};
  record.address = test::Address(world.ends.service);
  record.port = 0;
  world.config.announces = {record};
  world.Adopt();
  for (int i = 0; i < 4; i++) world.rig.pass_ms(1000);
  world.Taken();
}

}  // namespace

TEST(icmp_echo_to_an_announced_address_is_answered) {
  for (const bool six : {false, true}) {
    World world(kMethodMasquerade, six);
    Text text = Echo(world, 60);
    CHECK_EQ(world.Pass(text).size(), 0);  // the host's own address: the host answers
    Announce(world);
    text.ttl = 3;
    if (!six) text.ip_options = test::Hex("01 01 01 01");
    if (six) {
      text.extensions = {{60, test::Hex("00 01 04 0000 0000")},
                         {51, test::Hex("04 0000 00001001 00000001 a5*12")}};
    }
    const std::vector<Sent> sent = world.Pass(text);
    REQUIRE(CHECK_EQ(sent.size(), 1));
    CHECK_EQ(sent[0].port, 0);
    CHECK_EQ(sent[0].ip, EchoReply(world, text, six ? 0 : test::Get16(sent[0].ip, 4)));
    CHECK_EQ(world.rig.reason(Reason::kEchoAnswered), 1);
    Text bad = text;
    test::Built built = Build(bad);
    built.bytes.back() ^= 1;
    world.rig.port(0).inject(built.bytes.data(), static_cast<uint32_t>(built.bytes.size()));
    world.rig.run([](const MissRecord&) { return 0; });
    CHECK_EQ(world.Taken().size(), 0);
    CHECK_EQ(world.rig.reason(Reason::kIcmpBadChecksum), 1);
  }
}

TEST(icmp_echo_in_fragments_is_answered_in_fragments) {
  for (const bool six : {false, true}) {
    World world(kMethodMasquerade, six);
    Announce(world);
    const Text text = Echo(world, 4000);
    for (const Bytes& ip : test::FragmentsOf(IpOf(text), 1400, text.id)) {
      Bytes frame = test::Hex("020000000002 020000000001");
      test::Put16(frame, six ? 0x86dd : 0x0800);
      test::PutAll(frame, ip);
      world.rig.port(0).inject(frame.data(), static_cast<uint32_t>(frame.size()));
    }
    world.rig.run([](const MissRecord&) { return 0; });
    std::vector<Bytes> sent;
    for (const Sent& each : world.Taken()) sent.push_back(each.ip);
    const std::optional<Bytes> whole = test::Joined(sent);
    REQUIRE(whole.has_value());
    CHECK_EQ(*whole, EchoReply(world, text, six ? 0 : test::Get16(*whole, 4)));
  }
}

TEST(icmp_echo_replies_are_limited_in_rate) {
  World world(kMethodMasquerade);
  Announce(world);
  size_t answered = 0;
  for (int i = 0; i < 200; i++) answered += world.Pass(Echo(world, 8)).size();
  CHECK_EQ(answered, 50);  // icmp_msgs_burst
  CHECK_EQ(world.rig.reason(Reason::kIcmpLimited), 150);
}

}  // namespace uvs
