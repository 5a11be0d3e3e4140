// The SIP engine through the whole core (spec 4.5): what the scheduler is told of a call, what is
// dropped for want of one, and connections that real servers begin.
#include <string_view>

#include "core_world.h"

namespace uvs {
namespace {

using test::Bytes;
using test::IpOf;
using test::Sent;
using test::Text;
using test::World;
using test::WrongIn;

Bytes Message(std::string_view id) {
  std::string text = "OPTIONS sip:x SIP/2.0\r\n";
  if (!id.empty()) text += "Call-ID: " + std::string(id) + "\r\n";
  text += "CSeq: 1 OPTIONS\r\n\r\n";
  return Bytes(text.begin(), text.end());
}

constexpr uint32_t kPersistentSip = kServicePersistent | kServiceSip;

class SipWorld : public World {
 public:
  explicit SipWorld(uint32_t flags = kPersistentSip, bool six_ = false,
                    uint8_t method_ = kMethodMasquerade, uint8_t protocol_ = kProtoUdp)
      : World(method_, six_, protocol_) {
    config.services[0].flags = flags;
    Adopt();
  }

  Text Call(std::string_view id, uint16_t port = 40000) const {
    Text text = Request();
    text.source_port = port;
    text.payload = Message(id);
    return text;
  }

  // A message of server `slot` to the client.
  Text FromServer(std::string_view id, uint32_t slot = 0, uint16_t port = 40000) const {
    Text text = Reply(0, slot);
    text.destination_port = port;
    text.payload = Message(id);
    return text;
  }
  Text Out(Text text) const {
    const uint16_t port = text.destination_port;
    text = Returned(text);
    text.destination_port = port;
    return text;
  }

  std::string TextOf(uint32_t record) const {
    const uint8_t* slot = blocks.miss_texts.get()[record].bytes;
    return std::string(slot + 1, slot + 1 + slot[0]);
  }

  // Sends what was injected through; only flows that the client begins get `verdict`.
  std::vector<Sent> Run() {
    ids.clear();
    records.clear();
    misses = rig.run([this](const MissRecord& miss) {
      const auto i = static_cast<uint32_t>(&miss - blocks.misses.get());
      ids.push_back(TextOf(i));
      records.push_back(miss);
      if (template_ref != 0) {
        auto& record = const_cast<MissRecord&>(miss);
        record.template_ref = template_ref;
        blocks.templates.get()[template_ref - 1].connections++;
      }
      const bool outbound = (miss.flags & kMissOutbound) != 0;
      return outbound && verdict >= 0 ? miss.verdict : verdict;
    });
    return Taken();
  }
  std::vector<Sent> Send(const Text& text, uint32_t port = 0) {
    Inject(text, port);
    return Run();
  }
  int32_t Slaves() const { return blocks.templates.get()[template_ref - 1].connections; }
  uint64_t Count(Reason reason) const { return rig.reason(reason); }

  std::vector<std::string> ids;
  std::vector<MissRecord> records;
  uint32_t template_ref = 0;
};

TEST(sip_core_tells_the_call_id) {
  for (const bool six : {false, true}) {
    SipWorld world(kPersistentSip, six);
    const Text text = world.Call("a@b");
    const auto sent = world.Send(text);
    REQUIRE(sent.size() == 1);
    CHECK_EQ(sent[0].ip, IpOf(world.Forwarded(text)));
    CHECK_EQ(world.ids.size(), 1);
    CHECK_EQ(world.ids[0], "a@b");
    // A shorter one in the same place leaves no rest in its last word.
    world.Send(world.Call("c", 40001));
    CHECK_EQ(world.ids[0], "c");
    const uint8_t* slot = world.blocks.miss_texts.get()[0].bytes;
    CHECK_EQ(slot[2] | slot[3], 0);
    // The connection is there: no further message is asked about, with or without Call-ID.
    CHECK_EQ(world.Send(world.Call("")).size(), 1);
    CHECK_EQ(world.misses, 0);
  }
}

TEST(sip_core_drops_without_call_id_and_says_nothing) {
  for (const bool six : {false, true}) {
    SipWorld world(kPersistentSip, six);
    CHECK_EQ(world.Send(world.Call("")).size(), 0);
    Text empty = world.Call("");
    empty.payload.clear();
    CHECK_EQ(world.Send(empty).size(), 0);
    CHECK_EQ(world.misses, 0);
    CHECK_EQ(world.Count(Reason::kCallIdMissing), 2);
    CHECK_EQ(world.Size(), 0);
  }
}

TEST(sip_core_drops_what_is_no_udp) {
  SipWorld world(kPersistentSip, false, kMethodMasquerade, kProtoTcp);
  Text text = world.Call("a");
  text.tcp_flags = kTcpSyn;
  CHECK_EQ(world.Send(text).size(), 0);
  CHECK_EQ(world.Count(Reason::kCallIdMissing), 1);
}

TEST(sip_core_asks_nothing_without_persistence) {
  SipWorld world(kServiceSip);
  CHECK_EQ(world.Send(world.Call("")).size(), 1);
  CHECK_EQ(world.misses, 1);
  CHECK_EQ(world.Count(Reason::kCallIdMissing), 0);
}

TEST(sip_core_asks_the_first_packet_of_a_burst) {
  SipWorld world;
  world.Inject(world.Call("a"));
  world.Inject(world.Call(""));
  CHECK_EQ(world.Run().size(), 2);
  CHECK_EQ(world.misses, 1);
  world.Inject(world.Call("", 40001));
  world.Inject(world.Call("b", 40001));
  CHECK_EQ(world.Run().size(), 1);
  CHECK_EQ(world.Count(Reason::kCallIdMissing), 1);
}

TEST(sip_core_asks_every_packet_of_a_one_packet_service) {
  SipWorld world(kPersistentSip | kServiceOnePacket);
  for (const std::string_view id : {"a", "", "b"}) world.Inject(world.Call(id));
  CHECK_EQ(world.Run().size(), 2);
  CHECK(world.ids == std::vector<std::string>({"a", "b"}));
  CHECK_EQ(world.Count(Reason::kCallIdMissing), 1);
  CHECK_EQ(world.Size(), 0);
}

TEST(sip_core_begins_nothing_from_an_icmp_error) {
  SipWorld world;
  world.config.schedule_icmp = 1;
  world.Adopt();
  const Bytes about = IpOf(world.Out(world.FromServer("a")));
  Text error;
  error.source = world.ends.client;
  error.destination = world.ends.service;
  error.protocol = kProtoIcmp;
  error.icmp_type = 3;
  error.icmp_code = 3;
  error.payload = Bytes(4, 0);
  test::PutAll(error.payload, about);
  error.ethernet = true;
  CHECK_EQ(world.Send(error).size(), 0);
  CHECK_EQ(world.misses, 0);
  CHECK_EQ(world.Count(Reason::kCallIdMissing), 1);
}

TEST(sip_core_drops_when_no_template_is_free) {
  SipWorld world;
  world.verdict = kVerdictNoTemplate;
  CHECK_EQ(world.Send(world.Call("a")).size(), 0);
  CHECK_EQ(world.Send(world.FromServer("a"), 1).size(), 0);
  CHECK_EQ(world.Count(Reason::kTemplateTableFull), 2);
  CHECK_EQ(world.Size(), 0);
}

TEST(sip_core_a_server_begins_a_connection) {
  for (const uint32_t flags : {uint32_t{kPersistentSip}, uint32_t{kServiceSip}}) {
    for (const bool six : {false, true}) {
      SipWorld world(flags, six);
      const Text text = world.FromServer("a", 1);
      auto sent = world.Send(text, 1);
      REQUIRE(sent.size() == 1);
      CHECK_EQ(sent[0].port, 0);
      CHECK_EQ(sent[0].ip, IpOf(world.Out(text)));
      CHECK_EQ(WrongIn(sent[0].ip), "");
      REQUIRE(world.records.size() == 1);
      const MissRecord& miss = world.records[0];
      CHECK_EQ(miss.client_port, 40000);
      CHECK_EQ(miss.virtual_port, 80);
      CHECK_EQ(miss.verdict, 1);
      CHECK_EQ(world.Size(), 1);
      CHECK_EQ(world.DueTicks(), 300 * kTicksPerSec);
      const TrafficRecord& traffic = world.blocks.destinations.get()[1];
      CHECK_EQ(traffic.connections, 1);
      CHECK_EQ(traffic.out_packets, 1);
      CHECK_EQ(traffic.in_packets, 0);
      // What the client answers finds the server, and nobody is asked.
      const Text answer = world.Call("");
      sent = world.Send(answer);
      REQUIRE(sent.size() == 1);
      CHECK_EQ(sent[0].ip, IpOf(world.Forwarded(answer, 1)));
      CHECK_EQ(world.misses, 0);
    }
  }
}

TEST(sip_core_one_packet_of_a_server_leaves_nothing) {
  SipWorld world(kPersistentSip | kServiceOnePacket);
  world.template_ref = 3;
  for (int i = 0; i < 2; i++) world.Inject(world.FromServer("a"), 1);
  const auto sent = world.Run();
  REQUIRE(sent.size() == 2);
  CHECK_EQ(sent[0].ip, IpOf(world.Out(world.FromServer("a"))));
  CHECK_EQ(world.misses, 2);
  CHECK_EQ(world.Size(), 0);
  CHECK_EQ(world.Slaves(), 0);
}

TEST(sip_core_two_packets_in_one_burst_begin_one_connection) {
  SipWorld world;
  world.template_ref = 2;
  world.Inject(world.FromServer("a"), 1);
  world.Inject(world.FromServer("a"), 1);
  CHECK_EQ(world.Run().size(), 2);
  CHECK_EQ(world.Size(), 1);
  CHECK_EQ(world.Slaves(), 1);
  CHECK_EQ(world.blocks.total.get()->out_packets, 2);
  CHECK_EQ(world.blocks.total.get()->connections, 1);
}

TEST(sip_core_both_ends_begin_in_one_burst) {
  for (const bool server_first : {false, true}) {
    SipWorld world;
    if (server_first) world.Inject(world.FromServer("a", 1));
    world.Inject(world.Call("b"));
    if (!server_first) world.Inject(world.FromServer("a", 1));
    CHECK_EQ(world.Run().size(), 2);
    // The client's packet belongs to the connection that the server's began; or it has chosen
    // another server, and the newer connection gets the packets to come.
    CHECK_EQ(world.misses, server_first ? 1 : 2);
    CHECK_EQ(world.Size(), server_first ? 1 : 2);
    const auto sent = world.Send(world.Call(""));
    REQUIRE(sent.size() == 1);
    CHECK_EQ(sent[0].ip, IpOf(world.Forwarded(world.Call(""), 1)));
    CHECK_EQ(world.misses, 0);
  }
}

TEST(sip_core_the_newer_of_two_servers_gets_the_client) {
  SipWorld world;
  world.Send(world.Call("a"));  // to server 0
  CHECK_EQ(world.Send(world.FromServer("b", 1), 1).size(), 1);
  CHECK_EQ(world.Size(), 2);
  auto sent = world.Send(world.Call(""));
  REQUIRE(sent.size() == 1);
  CHECK_EQ(sent[0].ip, IpOf(world.Forwarded(world.Call(""), 1)));
  // The older one still answers as the service.
  sent = world.Send(world.FromServer("", 0), 1);
  REQUIRE(sent.size() == 1);
  CHECK_EQ(sent[0].ip, IpOf(world.Out(world.FromServer("", 0))));
  CHECK_EQ(world.misses, 0);
  world.rig.pass_ms(301'000);
  CHECK_EQ(world.Size(), 0);
  CHECK_EQ(world.Send(world.Call("a")).size(), 1);
  CHECK_EQ(world.misses, 1);
  CHECK_EQ(world.Size(), 1);
}

TEST(sip_core_other_packets_of_servers_begin_nothing) {
  const auto nothing = [](SipWorld& world, const Text& text) {
    world.Send(text, 1);
    CHECK_EQ(world.misses, 0);
    CHECK_EQ(world.Size(), 0);
  };
  SipWorld world;
  nothing(world, world.FromServer(""));  // of no call
  Text text = world.FromServer("a");
  text.source_port++;  // no server has this port
  nothing(world, text);
  text = world.FromServer("a");
  text.source = "198.19.0.77";
  nothing(world, text);
  text = world.FromServer("a");
  text.destination = "198.19.9.9";  // the director itself
  auto hop = world.rig.hops().at(rig::RigHops::kIn4);
  hop.state = HopState::kLocal;
  world.rig.hops().set(rig::RigHops::kIn4, hop);
  nothing(world, text);
  SipWorld plain(kServicePersistent);
  nothing(plain, plain.FromServer("a"));
  SipWorld direct(kPersistentSip, false, kMethodDirect);
  nothing(direct, direct.FromServer("a"));
  // From a server to a service: it is a client there.
  SipWorld own;
  text = own.FromServer("a");
  text.destination = own.ends.service;
  text.destination_port = 80;
  own.Send(text, 1);
  REQUIRE(own.records.size() == 1);
  CHECK_EQ(own.records[0].flags & kMissOutbound, 0);
}

TEST(sip_core_the_newest_service_of_a_server_counts) {
  // The same server in a later service, without the engine: the kernel finds that one first.
  SipWorld world;
  rig::ServiceText other = world.config.services[0];
  other.address = test::Address("198.18.1.11");
  other.flags = 0;
  world.config.services.push_back(other);
  rig::DestinationText destination = world.config.destinations[0];
  destination.service = 1;
  destination.hashed = 2;
  world.config.destinations.push_back(destination);
  world.Adopt();
  world.Send(world.FromServer("a", 0), 1);
  CHECK_EQ(world.misses, 0);
  world.Send(world.FromServer("a", 1), 1);
  CHECK_EQ(world.misses, 1);
  // The first one was removed and came back: its slot is the old one, its place is new.
  world.config.destinations[0].hashed = 3;
  world.Adopt();
  world.Send(world.FromServer("a", 0), 1);
  CHECK_EQ(world.misses, 1);
}

TEST(sip_core_unknown_replies_are_answered_where_no_call_is_named) {
  SipWorld world;
  world.config.nat_icmp_send = 1;
  world.Adopt();
  CHECK_EQ(world.Send(world.FromServer(""), 1).size(), 1);
  CHECK_EQ(world.Count(Reason::kNatUnknown), 1);
  CHECK_EQ(world.Send(world.FromServer("a"), 1).size(), 1);
  CHECK_EQ(world.Count(Reason::kNatUnknown), 1);
}

}  // namespace
}  // namespace uvs
