// Fragments through the whole core: every method, both families and directions; what is left to
// the host; what times out; the worker that puts a datagram together and the one that owns it.
#include <sys/socket.h>
#include <unistd.h>

#include "fragment_world.h"
#include "io/steering.h"

namespace uvs {
namespace {

using test::Bytes;
using test::Datagram;
using test::FragmentsOf;
using test::Get16;
using test::Inject;
using test::IpOf;
using test::Joined;
using test::kMethods;
using test::Long;
using test::Part;
using test::PassAll;
using test::Sent;
using test::Text;
using test::World;
using test::WrongIn;

std::vector<Bytes> Reversed(std::vector<Bytes> fragments) {
  std::reverse(fragments.begin(), fragments.end());
  return fragments;
}

}  // namespace

TEST(fragments_every_method_both_ways) {
  for (const uint8_t method : kMethods) {
    for (const bool six : {false, true}) {
      for (const uint8_t protocol : {kProtoTcp, kProtoUdp}) {
        for (const bool reversed : {false, true}) {
          World world(method, six, protocol);
          Text text = Long(world.Request(kTcpSyn));
          std::vector<Bytes> in = FragmentsOf(IpOf(text), 1400, text.id);
          std::vector<Sent> sent = PassAll(world, reversed ? Reversed(in) : in);
          CHECK_EQ(world.misses, 1);
          REQUIRE(world.Only() != nullptr);
          Bytes want = IpOf(world.Forwarded(text));
          CHECK_EQ(Datagram(sent, method == kMethodTunnel), want);
          // None is larger than the largest that came, unless IPv6 allows no smaller one.
          for (const Sent& each : sent) {
            CHECK(each.ip.size() <= in[0].size());
            CHECK_EQ(each.port, 1);
          }
          if (!has_reply_key(method)) continue;
          text = Long(world.Reply(test::kSynAck));
          in = FragmentsOf(IpOf(text), 1400, text.id);
          sent = PassAll(world, reversed ? Reversed(in) : in, 1);
          CHECK_EQ(Datagram(sent, false), IpOf(world.Returned(text)));
          CHECK_EQ(world.misses, 0);
        }
      }
    }
  }
}

// A datagram is one packet to statistics and connections.
TEST(fragments_count_as_one_packet) {
  World world(kMethodMasquerade, false, kProtoUdp);
  const Text text = Long(world.Request());
  PassAll(world, FragmentsOf(IpOf(text), 1480));
  CHECK_EQ(world.Only()->in_packets, 1);
  const TrafficRecord& total = *world.blocks.total.get();
  CHECK_EQ(total.in_packets, 1);
  CHECK_EQ(total.in_bytes, 20 + 8 + 4000);
}

TEST(fragments_without_udp_checksum_get_one) {
  World world(kMethodMasquerade, false, kProtoUdp);
  Text text = Long(world.Request());
  text.udp_checksum = false;
  const std::vector<Sent> sent = PassAll(world, FragmentsOf(IpOf(text), 1480, text.id));
  text.udp_checksum = true;
  CHECK_EQ(Datagram(sent, false), IpOf(world.Forwarded(text)));
}

// Spec 5.6: of IPv6 the largest fragment counts; of IPv4 the whole datagram where DF is set.
TEST(fragments_and_the_path) {
  for (const bool six : {false, true}) {
    for (const bool dont_fragment : {false, true}) {
      World world(kMethodMasquerade, six, kProtoUdp);
      const uint16_t slot = six ? rig::RigHops::kIn6 : rig::RigHops::kIn4;
      world.rig.hops().set_mtu(slot, 1300);
      Text text = Long(world.Request());
      if (dont_fragment) text.fragment = 0x4000;
      const bool refused = six || dont_fragment;
      std::vector<Sent> sent = PassAll(world, FragmentsOf(IpOf(text), 1400, text.id));
      CHECK_EQ(world.rig.reason(Reason::kTooBig), refused ? 1 : 0);
      if (refused) {
        REQUIRE(CHECK_EQ(sent.size(), 1));
        CHECK_EQ(sent[0].ip[six ? 40 : 20], six ? 2 : 3);
        CHECK_EQ(Get16(sent[0].ip, six ? 46 : 26), 1300);
        CHECK_EQ(WrongIn(sent[0].ip), "");
      } else {
        for (const Sent& each : sent) CHECK(each.ip.size() <= 1300);
        CHECK_EQ(Datagram(sent, false), IpOf(world.Forwarded(text)));
      }
      if (!six) continue;
      text.id++;
      sent = PassAll(world, FragmentsOf(IpOf(text), 1240, 0x99));
      CHECK_EQ(Datagram(sent, false), IpOf(world.Forwarded(text)));
    }
  }
}

// What came in fragments leaves in fragments even where it would fit, with the DF it had.
TEST(fragments_stay_as_small_as_they_came) {
  World world(kMethodMasquerade, false, kProtoUdp);
  Text text = Long(world.Request(), 1000);
  text.fragment = 0x4000;
  const std::vector<Sent> sent = PassAll(world, FragmentsOf(IpOf(text), 400, text.id));
  CHECK_EQ(sent.size(), 3);
  for (const Sent& each : sent) {
    CHECK(each.ip.size() <= 420);
    CHECK_EQ(Get16(each.ip, 6) & 0x4000, 0x4000);
  }
  text.fragment = 0;
  CHECK_EQ(Datagram(sent, false), IpOf(world.Forwarded(text)));
}

// IPv6 fragment ids are the director's own: those of two servers could be equal.
TEST(fragments_ip6_ids_are_new) {
  World world(kMethodMasquerade, true, kProtoUdp);
  const Bytes ip = IpOf(Long(world.Request()));
  std::vector<uint32_t> ids;
  for (int i = 0; i < 3; i++) {
    const std::vector<Sent> sent = PassAll(world, FragmentsOf(ip, 1400, 0x77));
    REQUIRE(!sent.empty());
    ids.push_back(test::Get32(sent[0].ip, 44));
  }
  CHECK(ids[0] != ids[1] && ids[1] != ids[2] && ids[0] != ids[2]);
}

TEST(fragments_of_others_are_the_hosts_in_fragments) {
  for (const bool six : {false, true}) {
    World names(kMethodMasquerade, six, kProtoUdp);
    rig::Blocks blocks(8);
    rig::CoreRig rig(blocks, 0, 1, Link::kEthernet, 1);
    REQUIRE(rig.adopt(names.config));
    // A server's own traffic; a port of the service's address without service; an echo request.
    Text own = Long(names.Request());
    own.source = names.ends.destination;
    own.destination = names.ends.hop;
    Text other = Long(names.Request());
    other.destination_port = 81;
    Text echo = Long(names.Request());
    echo.protocol = six ? kProtoIcmp6 : kProtoIcmp;
    echo.icmp_type = six ? 128 : 8;
    for (const Text& text : {own, other, echo}) {
      Inject(rig, 0, FragmentsOf(IpOf(text), 1400, text.id));
      CHECK_EQ(rig.run([](const MissRecord&) { return 0; }), 0);
      std::vector<Bytes> sent;
      for (const SentFrame& frame : rig.port(1).take_sent()) sent.push_back(frame.bytes);
      const std::optional<Bytes> whole = Joined(sent);
      REQUIRE(whole.has_value());
      CHECK_EQ(*whole, IpOf(text));
      for (const Bytes& each : sent) CHECK(each.size() <= 1448);
    }
    CHECK_EQ(rig.reason(Reason::kNoService), 2);
    CHECK_EQ(rig.reason(Reason::kIcmpUnrelated), 1);
  }
}

TEST(fragments_that_do_not_come_are_waited_for_and_told) {
  for (const uint8_t protocol : {kProtoUdp, kProtoSctp, kProtoEsp}) {
    for (const bool six : {false, true}) {
      for (const bool first : {false, true}) {
        World world(kMethodMasquerade, six, protocol == kProtoEsp ? kProtoUdp : protocol);
        Text text = Long(world.Request());
        text.protocol = protocol;
        const Bytes ipsec =
            six ? test::Ip6Packet(text, text.payload) : test::Ip4Packet(text, text.payload);
        const Bytes whole = protocol == kProtoEsp ? ipsec : IpOf(text);
        const std::vector<Bytes> in = FragmentsOf(whole, 1400);
        PassAll(world, {in[first ? 0 : 1]});
        world.rig.pass_ms(six ? 59'000 : 29'000);
        CHECK_EQ(world.Taken().size(), 0);
        world.rig.pass_ms(2'000);
        const std::vector<Sent> sent = world.Taken();
        CHECK_EQ(world.rig.reason(Reason::kFragmentTimeout), 1);
        REQUIRE(CHECK_EQ(sent.size(), first ? 1 : 0));
        if (!first) continue;
        const Bytes& ip = sent[0].ip;
        CHECK_EQ(WrongIn(ip), "");
        CHECK_EQ(Part(ip, six ? 8 : 12, six ? 16 : 4), test::AddressBytes(world.ends.service));
        CHECK_EQ(ip[six ? 40 : 20], six ? 3 : 11);
        CHECK_EQ(ip[six ? 41 : 21], 1);
        CHECK_EQ(Part(ip, six ? 48 : 28, 100), Part(in[0], 0, 100));
      }
    }
  }
}

TEST(fragments_of_a_removed_service_are_told_of_by_the_address_they_went_to) {
  for (const bool six : {false, true}) {
    World world(kMethodMasquerade, six, kProtoUdp);
    PassAll(world, {FragmentsOf(IpOf(Long(world.Request())), 1400)[0]});
    const uint16_t slot = six ? rig::RigHops::kIn6 : rig::RigHops::kIn4;
    world.rig.hops().exceptions.push_back({test::Address(world.ends.service), slot});
    world.rig.hops().set_state(slot, HopState::kLocal);
    REQUIRE(world.rig.adopt(rig::ConfigText{}));
    world.rig.pass_ms(61'000);
    const std::vector<Sent> sent = world.Taken();
    REQUIRE(CHECK_EQ(sent.size(), 1));
    CHECK_EQ(Part(sent[0].ip, six ? 8 : 12, six ? 16 : 4), test::AddressBytes(world.ends.service));
  }
}

// The first part tells whose it was, and is answered alone (RFC 1122 3.2.2).
TEST(fragments_whose_next_hop_is_silent_are_answered_once) {
  for (const uint8_t method : {kMethodMasquerade, kMethodDirect}) {
    for (const bool six : {false, true}) {
      World world(method, six, kProtoUdp);
      PassAll(world, {IpOf(world.Request())});
      world.rig.hops().set_state(six ? rig::RigHops::kIn6 : rig::RigHops::kIn4,
                                 HopState::kUnresolved);
      const std::vector<Bytes> parts = FragmentsOf(IpOf(Long(world.Request(), 3000)), 1400);
      CHECK_EQ(parts.size(), 3);
      CHECK_EQ(PassAll(world, parts).size(), 0);
      world.rig.pass_ms(kNeighbourWaitMs);
      const std::vector<Sent> sent = world.Taken();
      REQUIRE(CHECK_EQ(sent.size(), 1));
      CHECK_EQ(sent[0].port, 0);
      const Bytes& ip = sent[0].ip;
      CHECK_EQ(test::WrongIn(ip), "");
      const size_t header = six ? 40 : 20;
      const size_t at = six ? 24 : 16;
      CHECK_EQ(Part(ip, header, 2), six ? Bytes({1, 3}) : Bytes({3, 1}));
      CHECK_EQ(Part(ip, at, six ? 16 : 4), test::AddressBytes(world.ends.client));
      CHECK_EQ(Part(ip, header + 8 + at, six ? 16 : 4), test::AddressBytes(world.ends.service));
      CHECK_EQ(Get16(ip, header + 8 + header + (six ? 8 : 0) + 2), 80);
    }
  }
}

TEST(fragments_refused_are_counted) {
  World world(kMethodMasquerade, false, kProtoUdp);
  const Bytes ip = IpOf(Long(world.Request()));
  const auto piece = [&](size_t start, size_t end) {
    return test::FragmentOf(ip, start, end, true, 3);
  };
  PassAll(world, {piece(0, 1480), piece(0, 1480), piece(1472, 2960)});
  CHECK_EQ(world.rig.reason(Reason::kFragmentDuplicate), 1);
  CHECK_EQ(world.rig.reason(Reason::kFragmentOverlap), 1);
  PassAll(world, {piece(8, 8)});
  CHECK_EQ(world.rig.reason(Reason::kFragmentBad), 1);
  std::vector<Bytes> many;
  for (uint32_t id = 0; id < kReassemblyPerSource + 3; id++) {
    many.push_back(test::FragmentOf(ip, 0, 1480, true, 100 + id));
  }
  PassAll(world, many);
  world.rig.pass_ms(10);
  CHECK_EQ(world.rig.reason(Reason::kFragmentOverflow), 3);
  World six(kMethodMasquerade, true, kProtoUdp);
  const Bytes ip6 = IpOf(Long(six.Request()));
  PassAll(six, {test::FragmentOf(ip6, 0, 1000, true, 3)});
  CHECK_EQ(six.rig.reason(Reason::kFragmentTiny), 1);
  Bytes death = test::FragmentOf(ip6, 0, 1400, true, 3);
  test::Set16(death, 42, 0xfff9);
  PassAll(six, {death});
  CHECK_EQ(six.rig.reason(Reason::kFragmentTooLong), 1);
}

// An ICMPv6 error cannot be that long (spec 5.7.2).
TEST(fragments_of_an_icmp6_error_are_dropped) {
  World world(kMethodMasquerade, true, kProtoUdp);
  world.Open();
  PassAll(world, {IpOf(world.Request())});
  Text error = world.Request();
  error.source = world.ends.destination;
  error.destination = world.ends.client;
  error.protocol = kProtoIcmp6;
  error.icmp_type = 1;
  error.icmp_code = 4;
  error.payload = Bytes(4, 0);
  test::PutAll(error.payload, IpOf(world.Forwarded(Long(world.Request(), 2000))));
  CHECK_EQ(PassAll(world, FragmentsOf(IpOf(error), 1400), 1).size(), 0);
  CHECK_EQ(world.rig.reason(Reason::kIcmp6Fragment), 1);
}

// An IPv4 one of many words is followed like a short one, and leaves in fragments again.
TEST(fragments_of_an_icmp_error_are_one_error) {
  World world(kMethodMasquerade, false, kProtoUdp);
  PassAll(world, {IpOf(world.Request())});
  REQUIRE(world.Only() != nullptr);
  Text error = world.Request();
  error.source = world.ends.destination;
  error.destination = world.ends.client;
  error.protocol = kProtoIcmp;
  error.fragment = 0;
  error.icmp_type = 3;
  error.icmp_code = 3;
  error.payload = Bytes(4, 0);
  test::PutAll(error.payload, IpOf(world.Forwarded(Long(world.Request(), 2000))));
  const std::vector<Sent> sent = PassAll(world, FragmentsOf(IpOf(error), 1400, error.id), 1);
  const Bytes whole = Datagram(sent, false);
  REQUIRE(!whole.empty());
  CHECK_EQ(Part(whole, 12, 4), test::AddressBytes(world.ends.service));
  CHECK_EQ(Part(whole, 28 + 16, 4), test::AddressBytes(world.ends.service));
  CHECK_EQ(Get16(whole, 28 + 22), 80);
}

namespace {

// Workers that hand datagrams to each other.
class Workers {
 public:
  explicit Workers(const World& names, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
      CHECK_EQ(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, pairs_[i]), 0);
    }
    for (uint32_t i = 0; i < count; i++) {
      blocks.push_back(std::make_unique<rig::Blocks>(64));
      blocks[i]->handover.receive = pairs_[i][0];
      for (uint32_t to = 0; to < count; to++) {
        if (to != i) blocks[i]->handover.send[to] = pairs_[to][1];
      }
      rigs.push_back(std::make_unique<rig::CoreRig>(*blocks[i], i, count));
      CHECK(rigs[i]->adopt(names.config));
    }
  }
  ~Workers() {
    rigs.clear();
    for (const auto& pair : pairs_) {
      if (pair[0] >= 0) ::close(pair[0]), ::close(pair[1]);
    }
  }

  // Lets each worker look around once, with the clock going on.
  void Run() {
    for (auto& each : rigs) {
      each->clock.us += 1000;
      each->run([](const MissRecord&) { return 0; });
    }
  }

  // A packet to one worker, with time for a question to another and its answer.
  void Pass(uint32_t worker, uint32_t port, const Bytes& packet) {
    Inject(*rigs[worker], port, {packet});
    for (int i = 0; i < 4; i++) Run();
  }

  // From now on all connections of a client belong to one worker; those there are stay.
  void Move(World& names) {
    names.config.services[0].flags = kServiceByAddress;
    names.config.steering_moved = true;
    for (auto& each : rigs) REQUIRE(each->adopt(names.config));
  }

  std::vector<Bytes> Taken(uint32_t worker, uint32_t port) {
    std::vector<Bytes> out;
    for (const SentFrame& frame : rigs[worker]->port(port).take_sent()) {
      out.push_back(Part(frame.bytes, 14, frame.bytes.size() - 14));
    }
    return out;
  }

  std::vector<std::unique_ptr<rig::Blocks>> blocks;
  std::vector<std::unique_ptr<rig::CoreRig>> rigs;

 private:
  int pairs_[kMaxWorkers][2] = {{-1, -1}, {-1, -1}};
};

uint32_t OwnerOf(const std::string& client, uint16_t port) {
  return worker_of_client(test::Address(client), Be16::of(port), 2);
}

// Of two workers: whose a client's connection is by its port, and by its address alone. Gives the
// text a port by which they differ.
struct Owners {
  explicit Owners(Text& text) : by_address(OwnerOf(text.source, 0)), by_port(1 - by_address) {
    while (OwnerOf(text.source, text.source_port) == by_address) text.source_port++;
  }
  uint32_t by_address;
  uint32_t by_port;
};

}  // namespace

// Whichever worker gets the fragments, the flow's owner forwards the datagram, and short packets of
// the flow and long ones share a connection.
TEST(fragments_reach_the_worker_that_owns_the_flow) {
  for (const uint32_t number : {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}) {
    const bool six = number % 2 != 0;
    const bool by_address = number / 2 % 2 != 0;
    for (const uint8_t method : {kMethodMasquerade, kMethodDirect, kMethodFullnat}) {
      World names(method, six, kProtoUdp);
      names.config.services[0].flags = by_address ? kServiceByAddress : 0;
      Workers workers(names, 2);
      Text text = Long(names.Request());
      text.source_port = static_cast<uint16_t>(text.source_port + number / 4);
      const Be16 port = by_address ? Be16{} : Be16::of(text.source_port);
      const uint32_t owner = worker_of_client(test::Address(text.source), port, 2);
      const uint32_t other = 1 - owner;
      Inject(*workers.rigs[other], 0, FragmentsOf(IpOf(text), 1400, text.id));
      workers.Run();
      workers.Run();
      CHECK_EQ(workers.Taken(other, 1).size(), 0);
      const std::optional<Bytes> whole = Joined(workers.Taken(owner, 1));
      CHECK_EQ(whole.has_value(), true);
      ConnTable& table = workers.rigs[owner]->core().table();
      CHECK_EQ(table.size(), 1);
      CHECK_EQ(workers.rigs[other]->core().table().size(), 0);
      if (method == kMethodDirect) continue;
      // The reply comes to whichever worker too, or by the client's address where that decides.
      const uint32_t back_to = by_address ? owner : other;
      const Conn& conn = table.at(0);
      Text reply = Long(names.Request());
      reply.source = names.ends.destination;
      reply.source_port = names.config.destinations[0].port;
      reply.destination = method == kMethodFullnat ? names.ends.local : names.ends.client;
      reply.destination_port = method == kMethodFullnat ? conn.local_port.host() : text.source_port;
      Inject(*workers.rigs[back_to], 1, FragmentsOf(IpOf(reply), 1400, reply.id));
      workers.Run();
      workers.Run();
      const std::optional<Bytes> back = Joined(workers.Taken(owner, 0));
      REQUIRE(back.has_value());
      Text want = names.Returned(reply);
      want.destination_port = text.source_port;
      CHECK_EQ(*back, IpOf(want));
    }
  }
}

// A local address or port that new connections do not get any more is still that of older ones.
TEST(fragments_to_a_local_end_of_before_reach_its_worker) {
  for (const bool six : {false, true}) {
    World names(kMethodFullnat, six, kProtoUdp);
    names.config.local_port_first = 5000;
    names.config.local_port_last = 5001;
    Workers workers(names, 2);
    const Text text = names.Request();
    const uint32_t owner =
        worker_of_client(test::Address(text.source), Be16::of(text.source_port), 2);
    Inject(*workers.rigs[owner], 0, {IpOf(text)});
    workers.Run();
    REQUIRE(CHECK_EQ(workers.Taken(owner, 1).size(), 1));
    Text reply = Long(names.Request());
    reply.source = names.ends.destination;
    reply.source_port = names.config.destinations[0].port;
    reply.destination = names.ends.local;
    reply.destination_port = workers.rigs[owner]->core().table().at(0).local_port.host();

    names.config.services[0].local = {test::Address(six ? "2001:db8:1::98" : "198.19.9.2")};
    names.config.held_local = {test::Address(names.ends.local)};
    names.config.local_port_first = 6000;
    names.config.local_port_last = 6001;
    names.config.taken_port_first = 5000;
    for (auto& each : workers.rigs) REQUIRE(each->adopt(names.config));
    Inject(*workers.rigs[1 - owner], 1, FragmentsOf(IpOf(reply), 1400, reply.id));
    workers.Run();
    workers.Run();
    const std::optional<Bytes> back = Joined(workers.Taken(owner, 0));
    REQUIRE(CHECK_EQ(back.has_value(), true));
    CHECK_EQ(*back, IpOf(names.Returned(reply)));
  }
}

// A local address that a removed service had, too, is still a local address.
TEST(fragments_to_a_local_end_that_was_virtual_reach_its_worker) {
  World names(kMethodFullnat, false, kProtoUdp);
  Workers workers(names, 2);
  const Text text = names.Request();
  const uint32_t owner =
      worker_of_client(test::Address(text.source), Be16::of(text.source_port), 2);
  Inject(*workers.rigs[owner], 0, {IpOf(text)});
  workers.Run();
  REQUIRE(CHECK_EQ(workers.Taken(owner, 1).size(), 1));
  Text reply = Long(names.Request());
  reply.source = names.ends.destination;
  reply.source_port = names.config.destinations[0].port;
  reply.destination = names.ends.local;
  reply.destination_port = workers.rigs[owner]->core().table().at(0).local_port.host();
  names.config.removed_addresses = {test::Address(names.ends.local)};
  for (auto& each : workers.rigs) REQUIRE(each->adopt(names.config));
  Inject(*workers.rigs[1 - owner], 1, FragmentsOf(IpOf(reply), 1400, reply.id));
  workers.Run();
  workers.Run();
  CHECK_EQ(Joined(workers.Taken(owner, 0)).has_value(), true);
}

// What clients still send to a removed service belongs to their connections, wherever it comes to.
TEST(packets_to_a_removed_service_reach_the_worker_of_their_connection) {
  for (const bool moved : {false, true}) {
    World names(kMethodMasquerade, false, kProtoUdp);
    Text text = names.Request();
    const Owners owners(text);
    const auto [other, owner] = owners;
    // Taken for a reply it would go to the other one, by either rule.
    for (uint32_t i = 1; OwnerOf(text.destination, 0) == owner ||
                         OwnerOf(text.destination, text.destination_port) == owner;
         i++) {
      text.destination = "198.18.1." + std::to_string(i);
    }
    names.config.services[0].address = test::Address(text.destination);
    Workers workers(names, 2);
    workers.Pass(owner, 0, IpOf(text));
    REQUIRE(CHECK_EQ(workers.Taken(owner, 1).size(), 1));

    names.config.removed_addresses = {names.config.services[0].address};
    names.config.services[0].address = test::Address("198.18.1.99");
    for (auto& each : names.config.destinations) each.available = false;
    names.config.steering_moved = moved;
    for (auto& each : workers.rigs) REQUIRE(each->adopt(names.config));
    const std::vector<Bytes> packets =
        moved ? std::vector<Bytes>{IpOf(text)} : FragmentsOf(IpOf(Long(text)), 1400, 9);
    Inject(*workers.rigs[other], 0, packets);
    workers.Run();
    workers.Run();
    CHECK_EQ(workers.rigs[owner]->reason(Reason::kDestinationGone), 1);
    CHECK_EQ(workers.rigs[other]->reason(Reason::kNoService), 0);
  }
}

// A service has come to have a worker for each client: packets go to that one now, connections are
// where they were (decision 23).
TEST(connections_are_asked_for_where_steering_has_moved) {
  for (const uint32_t number : {0, 1, 2, 3}) {
    const bool six = number % 2 != 0;
    const uint8_t protocol = number / 2 != 0 ? kProtoTcp : kProtoUdp;
    World names(kMethodMasquerade, six, protocol);
    Workers workers(names, 2);
    Text text = names.Request(kTcpSyn);
    const Owners owners(text);
    const auto [after, before] = owners;
    workers.Pass(before, 0, IpOf(text));
    REQUIRE(CHECK_EQ(workers.Taken(before, 1).size(), 1));

    workers.Move(names);
    text.tcp_flags = kTcpAck;
    workers.Pass(after, 0, IpOf(text));
    CHECK_EQ(workers.Taken(before, 1).size(), 1);
    CHECK_EQ(workers.Taken(after, 1).size(), 0);
    Text reply = names.Reply(test::kSynAck);
    reply.destination_port = text.source_port;
    workers.Pass(after, 1, IpOf(reply));
    CHECK_EQ(workers.Taken(before, 0).size(), 1);
    // Errors about it go where it is, too.
    for (const bool from_client : {true, false}) {
      Text seen = from_client ? names.Returned(reply) : names.Forwarded(text);
      if (from_client) seen.destination_port = text.source_port;
      Text error = seen;
      error.source = six ? "2001:db8::99" : "198.18.0.99";
      error.destination = seen.source;
      error.protocol = six ? kProtoIcmp6 : kProtoIcmp;
      error.icmp_type = six ? 1 : 3;
      error.payload = Bytes(4, 0);
      test::PutAll(error.payload, IpOf(seen));
      workers.Pass(after, from_client ? 0 : 1, IpOf(error));
      CHECK_EQ(workers.Taken(before, from_client ? 1 : 0).size(), 1);
      CHECK_EQ(workers.Taken(after, from_client ? 1 : 0).size(), 0);
      CHECK_EQ(workers.rigs[after]->reason(Reason::kIcmpUnrelated), 0);
    }

    // A new connection is the worker's that its packets come to; only it answers what it is asked.
    text.source_port++;
    CHECK_EQ(Owners(text).by_address, after);
    text.tcp_flags = kTcpSyn;
    workers.Pass(after, 0, IpOf(text));
    CHECK_EQ(workers.Taken(after, 1).size(), 1);
    CHECK_EQ(workers.Taken(before, 1).size(), 0);
    CHECK_EQ(workers.rigs[after]->core().table().size(), 1);
    CHECK_EQ(workers.rigs[before]->core().table().size(), 1);
    if (protocol != kProtoTcp) continue;
    text.source_port++;
    CHECK_EQ(Owners(text).by_address, after);
    text.tcp_flags = kTcpAck;
    workers.Pass(after, 0, IpOf(text));
    CHECK_EQ(workers.Taken(after, 0).size(), 1);
    CHECK_EQ(workers.Taken(before, 0).size(), 0);
    CHECK_EQ(workers.rigs[after]->reason(Reason::kNotSyn), 1);
    CHECK_EQ(workers.rigs[before]->reason(Reason::kNotSyn), 0);
    // What is not known there is not asked for again at once.
    Inject(*workers.rigs[after], 0, {IpOf(text)});
    workers.rigs[after]->run([](const MissRecord&) { return 0; });
    CHECK_EQ(workers.rigs[after]->reason(Reason::kNotSyn), 2);
  }
}

// AH and ESP go where their keys went, and so do errors about them.
TEST(ipsec_is_asked_for_where_steering_has_moved) {
  World names(kMethodMasquerade, false, kProtoUdp);
  while (OwnerOf(names.ends.client, 500) == OwnerOf(names.ends.client, 0)) {
    const std::string& client = names.ends.client;
    names.ends.client = "198.18.0." + std::to_string(std::stoi(client.substr(9)) + 1);
  }
  names.config.services[0].port = 500;
  for (auto& each : names.config.destinations) each.port = 500;
  Workers workers(names, 2);
  const uint32_t before = OwnerOf(names.ends.client, 500);
  const uint32_t after = 1 - before;
  Text text = names.Request();
  text.source_port = text.destination_port = 500;
  workers.Pass(before, 0, IpOf(text));
  CHECK_EQ(workers.Taken(before, 1).size(), 1);

  workers.Move(names);
  text.protocol = kProtoEsp;
  const Bytes esp = test::Ip4Packet(text, Bytes(40, 9));
  workers.Pass(after, 0, esp);
  const std::vector<Bytes> sent = workers.Taken(before, 1);
  REQUIRE(CHECK_EQ(sent.size(), 1));
  CHECK_EQ(workers.Taken(after, 1).size(), 0);
  CHECK_EQ(workers.rigs[after]->reason(Reason::kNoService), 0);

  Text error = names.Request();
  error.source = names.ends.destination;
  error.destination = names.ends.client;
  error.protocol = kProtoIcmp;
  error.icmp_type = 3;
  error.payload = Bytes(4, 0);
  test::PutAll(error.payload, sent[0]);
  workers.Pass(after, 1, IpOf(error));
  CHECK_EQ(workers.Taken(before, 0).size(), 1);
  CHECK_EQ(workers.Taken(after, 0).size(), 0);

  // Of somebody whose keys went elsewhere: the worker that got it leaves it to the host.
  text.source = "198.18.77.1";
  while (OwnerOf(text.source, 0) != after || OwnerOf(text.source, 500) != before) {
    text.source = "198.18.77." + std::to_string(std::stoi(text.source.substr(10)) + 1);
  }
  workers.Pass(after, 0, test::Ip4Packet(text, Bytes(40, 9)));
  CHECK_EQ(workers.rigs[after]->reason(Reason::kNoService), 1);
  CHECK_EQ(workers.rigs[before]->reason(Reason::kNoService), 0);
}

// ESP behind AH over IPv6: parts of it are steered by the address alone, its keys by their port.
TEST(ipsec_in_fragments_reaches_its_worker) {
  World names(kMethodMasquerade, true, kProtoUdp);
  names.config.services[0].port = 500;
  for (auto& each : names.config.destinations) each.port = 500;
  Workers workers(names, 2);
  Text text = names.Request();
  text.source_port = text.destination_port = 500;
  const uint32_t owner = worker_of_client(test::Address(text.source), Be16::of(500), 2);
  Inject(*workers.rigs[owner], 0, {IpOf(text)});
  workers.Run();
  CHECK_EQ(workers.Taken(owner, 1).size(), 1);
  text.protocol = kProtoEsp;
  text.extensions = {{51, test::Hex("04 0000 00001001 00000001 a5*12")}};
  const Bytes whole = test::Ip6Packet(text, Bytes(2000, 9));
  Inject(*workers.rigs[1 - owner], 0, FragmentsOf(whole, 1400, 7));
  workers.Run();
  workers.Run();
  const std::optional<Bytes> sent = Joined(workers.Taken(owner, 1));
  REQUIRE(CHECK_EQ(sent.has_value(), true));
  CHECK_EQ(*sent, test::Ip6Packet(names.Forwarded(text), Bytes(2000, 9)));
  CHECK_EQ(workers.rigs[1 - owner]->reason(Reason::kNoService), 0);
}

// An error that quotes a tunnel packet to nowhere, about a connection that the other worker has:
// what follows on the connection is asked for all the same.
TEST(errors_about_no_tunnel_of_ours_do_not_hide_a_connection) {
  World names(kMethodTunnel, false, kProtoTcp);
  Workers workers(names, 2);
  Text text = names.Request(kTcpSyn);
  const Owners owners(text);
  const auto [after, before] = owners;
  workers.Pass(before, 0, IpOf(text));
  REQUIRE(CHECK_EQ(workers.Taken(before, 1).size(), 1));
  workers.Move(names);
  text.tcp_flags = kTcpAck;
  Text outer;
  outer.source = names.ends.hop;
  outer.destination = names.ends.second;
  outer.protocol = kProtoIpip;
  Text error = outer;
  error.source = "198.19.0.254";
  error.destination = outer.source;
  error.protocol = kProtoIcmp;
  error.icmp_type = 3;
  error.icmp_code = 1;
  error.payload = Bytes(4, 0);
  test::PutAll(error.payload, test::Ip4Packet(outer, IpOf(text)));
  workers.Pass(after, 1, IpOf(error));
  CHECK_EQ(workers.Taken(before, 0).size() + workers.Taken(after, 0).size(), 0);
  workers.Pass(after, 0, IpOf(text));
  CHECK_EQ(workers.Taken(before, 1).size(), 1);
  CHECK_EQ(workers.Taken(after, 0).size(), 0);  // no RST
}

// A question that cannot be asked ends no connection: the packet is dropped, and comes again.
TEST(packets_that_cannot_be_asked_for_are_dropped) {
  World names(kMethodMasquerade, false, kProtoTcp);
  names.config.services[0].flags = kServiceByAddress;
  names.config.steering_moved = true;
  Workers workers(names, 2);
  Text text = names.Request(kTcpAck);
  const uint32_t after = worker_of_client(test::Address(text.source), Be16{}, 2);
  uint32_t questions = 0;
  for (uint32_t burst = 0; burst < 800; burst++) {
    std::vector<Bytes> packets;
    for (uint32_t i = 0; i < 64; i++) {
      text.source_port++;
      if (worker_of_client(test::Address(text.source), Be16::of(text.source_port), 2) == after) {
        continue;
      }
      packets.push_back(IpOf(text));
    }
    questions += static_cast<uint32_t>(packets.size());
    Inject(*workers.rigs[after], 0, packets);
    workers.rigs[after]->run([](const MissRecord&) { return 0; });
  }
  const uint64_t dropped = workers.rigs[after]->reason(Reason::kHandover);
  CHECK(dropped > 0 && dropped < questions);
  CHECK_EQ(workers.rigs[after]->reason(Reason::kNotSyn), 0);
  CHECK_EQ(workers.Taken(after, 0).size(), 0);
}

TEST(fragments_that_nobody_takes_are_counted) {
  World names(kMethodMasquerade, false, kProtoUdp);
  Workers workers(names, 2);
  const Text text = Long(names.Request());
  const uint32_t other = 1 - worker_of_client(test::Address(text.source), Be16::of(40000), 2);
  for (uint32_t id = 0; id < 100; id++) {
    Inject(*workers.rigs[other], 0, FragmentsOf(IpOf(Long(text, 60000)), 1480, id));
    workers.rigs[other]->run([](const MissRecord&) { return 0; });
  }
  CHECK(workers.rigs[other]->reason(Reason::kHandover) > 0);
}

}  // namespace uvs
