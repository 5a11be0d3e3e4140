// The load defences through the whole packet path (spec 3.11): when drop_packet is asked and what
// it answers, and that drop_entry runs once a second in modes 2 and 3 only.
#include "core_world.h"

namespace uvs {
namespace {

using test::Text;
using test::World;

// Sends a new connection from the next port; whether it was let in.
class Client {
 public:
  explicit Client(World& world) : world_(world) {}
  bool Connect() {
    Text text = world_.Request(kTcpSyn);
    text.source_port = port_++;
    return !world_.Pass(text).empty();
  }

 private:
  World& world_;
  uint16_t port_ = 1000;
};

void SetRate(World& world, int32_t rate) { world.blocks.words.get()->drop_rate = rate; }

TEST(drop_packet_takes_one_of_so_many) {
  for (const int32_t rate : {-1, 1, 2, 3, 10}) {
    World world(kMethodMasquerade, false, kProtoTcp, 1000);
    Client client(world);
    SetRate(world, rate);
    // Kernel: `if (--counter > 0) return 0; counter = rate; return 1;`, the counter 0 at first.
    int64_t counter = 0;
    for (int i = 0; i < 60; i++) {
      const bool drop = --counter <= 0;
      if (drop) counter = rate;
      CHECK_EQ(client.Connect(), !drop);
    }
    CHECK_EQ(world.Size() + world.rig.reason(Reason::kLoadDropped), 60);
  }
}

TEST(drop_packet_counter_outlives_a_pause_and_is_reloaded_by_main) {
  World world(kMethodMasquerade, false, kProtoTcp, 1000);
  Client client(world);
  SetRate(world, 5);
  CHECK(!client.Connect());
  CHECK(client.Connect());
  CHECK(client.Connect());
  SetRate(world, 0);
  for (int i = 0; i < 20; i++) CHECK(client.Connect());
  SetRate(world, 5);
  for (int i = 0; i < 2; i++) CHECK(client.Connect());  // the third and the fourth
  CHECK(!client.Connect());
  for (int i = 0; i < 3; i++) CHECK(client.Connect());
  world.blocks.words.get()->drop_reloads++;
  for (int i = 0; i < 4; i++) CHECK(client.Connect());
  CHECK(!client.Connect());
}

TEST(drop_packet_is_asked_about_new_connections_of_services_only) {
  World world(kMethodMasquerade, false, kProtoTcp, 1000);
  world.Open();
  SetRate(world, 1);
  CHECK_EQ(world.In(kTcpAck).size(), 1);
  Text stranger = world.Request(kTcpSyn);
  stranger.destination_port = 81;
  world.Pass(stranger);
  CHECK_EQ(world.rig.reason(Reason::kNoService), 1);
  Text ack = world.Request(kTcpAck);
  ack.source_port = 5;
  world.Pass(ack);
  CHECK_EQ(world.rig.reason(Reason::kNotSyn), 1);
  CHECK_EQ(world.rig.reason(Reason::kLoadDropped), 0);
  Text data = world.Request(kTcpSyn);
  data.source_port = 20;
  world.Pass(data);  // dropped before the rule of FTP's data port
  CHECK_EQ(world.rig.reason(Reason::kLoadDropped), 1);
  CHECK_EQ(world.rig.reason(Reason::kFtpDataSource), 0);
}

// In the kernel the second packet of a flow finds the entry of the first, if that was let in.
TEST(drop_packet_asks_once_for_a_flow_within_a_burst) {
  World world(kMethodMasquerade, false, kProtoTcp, 1000);
  SetRate(world, 2);
  for (uint16_t port = 1; port <= 4; port++) {
    Text text = world.Request(kTcpSyn);
    text.source_port = port;
    world.Inject(text);
    world.Inject(text);
  }
  world.rig.run([](const MissRecord&) { return 0; });
  // Asked: 1 no, 1 yes; 2 no, 2 yes; 3 no, 3 yes; 4 no, 4 yes.
  CHECK_EQ(world.rig.reason(Reason::kLoadDropped), 4);
  CHECK_EQ(world.Size(), 4);
  CHECK_EQ(world.Taken().size(), 4);
}

TEST(drop_packet_asks_for_every_packet_of_one_packet_scheduling) {
  World world(kMethodMasquerade, false, kProtoUdp, 1000);
  world.config.services[0].flags = kServiceOnePacket;
  world.Adopt();
  SetRate(world, 3);
  for (int i = 0; i < 9; i++) world.Inject(world.Request());
  world.rig.run([](const MissRecord&) { return 0; });
  CHECK_EQ(world.rig.reason(Reason::kLoadDropped), 3);
  CHECK_EQ(world.Taken().size(), 6);
}

// schedule_icmp: an ICMP error that would begin a connection is asked about like its first packet.
TEST(drop_packet_is_asked_about_errors_that_begin_a_connection) {
  World world(kMethodMasquerade, false, kProtoTcp, 1000);
  world.config.schedule_icmp = 1;
  world.Adopt();
  SetRate(world, 2);
  const auto error = [&](uint16_t client_port) {
    Text reply = world.Request();
    std::swap(reply.source, reply.destination);
    std::swap(reply.source_port, reply.destination_port);
    reply.destination_port = client_port;
    Text text;
    text.source = "198.18.0.99";
    text.destination = world.ends.service;
    text.protocol = kProtoIcmp;
    text.icmp_type = 3;
    text.icmp_code = 3;
    text.payload = test::Bytes(4, 0);
    test::PutAll(text.payload, test::IpOf(reply));
    text.ethernet = true;
    return text;
  };
  for (uint16_t i = 0; i < 6; i++) {
    const size_t sent = world.Pass(error(static_cast<uint16_t>(1000 + i))).size();
    CHECK_EQ(sent, i % 2);  // no, yes, no, yes
  }
  CHECK_EQ(world.rig.reason(Reason::kLoadDropped), 3);
  CHECK_EQ(world.Size(), 3);
  world.Pass(error(20));  // before the rule of FTP's data port
  CHECK_EQ(world.rig.reason(Reason::kLoadDropped), 4);
  CHECK_EQ(world.rig.reason(Reason::kIcmpUnrelated), 0);
  world.Pass(error(1001));  // known by now
  CHECK_EQ(world.rig.reason(Reason::kLoadDropped), 4);
  // Two about one flow in a burst: the second would find the connection of the first.
  for (int i = 0; i < 2; i++) world.Inject(error(2000));
  world.rig.run([](const MissRecord&) { return 0; });
  CHECK_EQ(world.rig.reason(Reason::kLoadDropped), 4);
  CHECK_EQ(world.Taken().size(), 2);
}

TEST(drop_entry_runs_in_modes_2_and_3) {
  for (const uint32_t mode : {0u, 1u, 2u, 3u}) {
    World world(kMethodMasquerade, false, kProtoTcp, 1000);
    Client client(world);
    world.config.tcp_sec[kTcpSynRecv] = 100000;
    world.config.drop_entry = mode;
    world.Adopt();
    for (int i = 0; i < 320; i++) client.Connect();
    world.rig.pass_ms(1000);
    world.rig.core().poll(0);
    // 10 records were drawn; each was a connection that goes, or gone already.
    if (mode < 2) {
      CHECK_EQ(world.Size(), 320);
      continue;
    }
    CHECK(world.Size() >= 310 && world.Size() <= 319);
    const uint32_t left = world.Size();
    world.rig.core().poll(0);
    CHECK_EQ(world.Size(), left);  // not again in this second
    for (int second = 0; second < 400; second++) world.rig.pass_ms(1000);
    CHECK_EQ(world.Size(), 0);
  }
}

}  // namespace
}  // namespace uvs
