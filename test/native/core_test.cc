// The packet path as a whole, first part: lives of connections. States, timers to the tick, loads
// after every packet, reuse, destinations that go, tables that are full (spec 3.5 to 3.10, 12.8).
#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>

#include "core_world.h"
#include "io/unique_fd.h"

namespace uvs {
namespace {

using test::Bytes;
using test::IpOf;
using test::kFinAck;
using test::kMethods;
using test::kSynAck;
using test::Sent;
using test::Text;
using test::World;

// One packet of a walk and what must be true behind it.
struct Step {
  bool reply;
  uint8_t flags;
  uint8_t state;
  bool active;
  uint32_t timeout_sec;
};

void CheckLoad(const World& world, int32_t active, int32_t inactive, uint32_t slot = 0) {
  CHECK_EQ(world.rig.load(slot).active, active);
  CHECK_EQ(world.rig.load(slot).inactive, inactive);
}

// The connection is there one tick before it is due, and gone with the tick itself.
void CheckExpiry(World& world) {
  const uint32_t due = world.DueTicks();
  REQUIRE(due > 0);
  world.rig.pass_ms(uint64_t{due - 1} * kTickMs);
  CHECK_EQ(world.Size(), 1);
  world.rig.pass_ms(kTickMs);
  CHECK_EQ(world.Size(), 0);
  CheckLoad(world, 0, 0);
}

void Walk(uint8_t method, std::initializer_list<Step> steps, uint32_t secure_tcp = 0) {
  for (const bool six : {false, true}) {
    World world(method, six);
    world.config.secure_tcp = secure_tcp;
    world.Adopt();
    int number = 0;
    for (const Step& step : steps) {
      const std::vector<Sent> sent = step.reply ? world.Back(step.flags) : world.In(step.flags);
      CHECK_EQ(sent.size(), 1);
      CHECK_EQ(world.State(), step.state);
      CheckLoad(world, step.active ? 1 : 0, step.active ? 0 : 1);
      CHECK_EQ(world.DueTicks(), step.timeout_sec * kTicksPerSec);
      if (world.State() != step.state) std::printf("  # method %d, step %d\n", method, number);
      number++;
      world.rig.pass_ms(700);
    }
    CheckExpiry(world);
  }
}

TEST(core_bell_ends_a_wait_and_is_heard) {
  const UniqueFd bell(::eventfd(1, EFD_NONBLOCK | EFD_CLOEXEC));
  REQUIRE(bell.open());
  rig::Blocks blocks(64);
  blocks.bell = bell.get();
  rig::CoreRig rig(blocks);
  CHECK(rig.adopt(rig::ConfigText{}));
  // Rung before: the wait is over at once, and a further one would not be.
  rig.core().poll(kTickMs * 1000);
  uint64_t rings = 0;
  CHECK(::read(bell.get(), &rings, sizeof rings) < 0 && errno == EAGAIN);
}

TEST(core_masquerade_lives) {
  Walk(kMethodMasquerade, {{false, kTcpSyn, kTcpSynRecv, true, 60},
                           {true, kSynAck, kTcpSynRecv, true, 60},
                           {false, kTcpAck, kTcpEstablished, true, 900},
                           {false, kFinAck, kTcpCloseWait, false, 60},
                           {true, kTcpAck, kTcpCloseWait, false, 60},
                           {true, kFinAck, kTcpTimeWait, false, 120},
                           {false, kTcpAck, kTcpTimeWait, false, 120}});
  Walk(kMethodMasquerade, {{false, kTcpSyn, kTcpSynRecv, true, 60},
                           {true, kSynAck, kTcpSynRecv, true, 60},
                           {false, kTcpAck, kTcpEstablished, true, 900},
                           {true, kFinAck, kTcpFinWait, false, 120},
                           {false, kTcpAck, kTcpFinWait, false, 120},
                           {false, kFinAck, kTcpTimeWait, false, 120},
                           {true, kTcpAck, kTcpTimeWait, false, 120}});
  Walk(kMethodMasquerade,
       {{false, kTcpSyn, kTcpSynRecv, true, 60}, {true, kTcpRst | kTcpAck, kTcpClose, false, 10}});
  Walk(kMethodMasquerade, {{false, kTcpSyn, kTcpSynRecv, true, 60},
                           {true, kTcpFin, kTcpTimeWait, false, 120},
                           {true, kTcpSyn, kTcpSynSent, true, 120},
                           {true, kTcpAck, kTcpSynSent, true, 120}});
}

TEST(core_direct_and_tunnel_lives) {
  for (const uint8_t method : {kMethodDirect, kMethodTunnel}) {
    Walk(method, {{false, kTcpSyn, kTcpSynRecv, true, 60},
                  {false, kTcpAck, kTcpEstablished, true, 900},
                  {false, kFinAck, kTcpFinWait, false, 120},
                  {false, kTcpAck, kTcpFinWait, false, 120}});
    Walk(method, {{false, kTcpSyn, kTcpSynRecv, true, 60},
                  {false, kTcpAck, kTcpEstablished, true, 900},
                  {false, kTcpRst, kTcpClose, false, 10}});
    Walk(method, {{false, kTcpSyn, kTcpSynRecv, true, 60}, {false, 0, kTcpClose, false, 10}});
  }
}

TEST(core_fullnat_lives) {
  Walk(kMethodFullnat, {{false, kTcpSyn, kTcpSynRecv, false, 30},
                        {true, kSynAck, kTcpSynRecv, false, 30},
                        {false, kTcpAck, kTcpEstablished, true, 90},
                        {false, kFinAck, kTcpCloseWait, false, 7},
                        {true, kTcpAck, kTcpCloseWait, false, 7},
                        {true, kFinAck, kTcpTimeWait, false, 7}});
  Walk(kMethodFullnat,
       {{false, kTcpSyn, kTcpSynRecv, false, 30}, {true, kTcpRst | kTcpAck, kTcpClose, false, 3}});
}

TEST(core_secure_tcp_lives) {
  Walk(kMethodMasquerade,
       {{false, kTcpSyn, kTcpSynRecv, true, 60},
        {true, kSynAck, kTcpSynack, true, 120},
        {false, kTcpAck, kTcpSynack, true, 120},
        {true, kTcpAck, kTcpEstablished, true, 900}},
       3);
  Walk(kMethodDirect,
       {{false, kTcpSyn, kTcpSynack, true, 120}, {false, kTcpAck, kTcpEstablished, true, 900}}, 2);
  // 1 is "automatic, idle": the normal table.
  Walk(kMethodDirect, {{false, kTcpSyn, kTcpSynRecv, true, 60}}, 1);
}

TEST(core_udp_lives) {
  for (const uint8_t method : kMethods) {
    for (const bool six : {false, true}) {
      World world(method, six, kProtoUdp);
      CHECK_EQ(world.In(0).size(), 1);
      CheckLoad(world, 0, 1);
      CHECK_EQ(world.DueTicks(), 300 * kTicksPerSec);
      world.rig.pass_ms(100'000);
      CHECK_EQ((has_reply_key(method) ? world.Back(0) : world.In(0)).size(), 1);
      CheckLoad(world, 0, 1);
      CHECK_EQ(world.DueTicks(), 300 * kTicksPerSec);
      CheckExpiry(world);
    }
  }
}

TEST(core_timeouts_of_a_new_snapshot_act_with_the_next_packet) {
  World world(kMethodDirect);
  world.Open();
  world.config.tcp_sec[kTcpEstablished] = 5;
  world.Adopt();
  CHECK_EQ(world.DueTicks(), 900 * kTicksPerSec);
  world.In(kTcpAck);
  CHECK_EQ(world.DueTicks(), 5 * kTicksPerSec);
  CheckExpiry(world);
}

TEST(core_sloppy_tcp_takes_any_first_packet_but_rst) {
  for (const uint8_t flags : {kTcpAck, kTcpFin, uint8_t{0}}) {
    World world(kMethodDirect);
    CHECK_EQ(world.In(flags).size(), 1);  // a RST back
    CHECK_EQ(world.Size(), 0);
    world.config.sloppy_tcp = 1;
    world.Adopt();
    CHECK_EQ(world.In(kTcpRst).size(), 0);
    CHECK_EQ(world.Size(), 0);
    CHECK_EQ(world.In(flags).size(), 1);
    CHECK_EQ(world.State(), flags == kTcpAck ? kTcpEstablished : kTcpClose);
  }
}

// Spec 3.9, row by row: what a SYN on an old entry does.
struct Reuse {
  uint8_t method;
  std::vector<std::pair<bool, uint8_t>> packets;  // (reply, flags) before the SYN
  uint32_t mode;
  bool slave;
  bool fresh;
};

TEST(core_reuse_by_state) {
  const std::vector<std::pair<bool, uint8_t>> time_wait = {
      {false, kTcpSyn}, {true, kSynAck}, {false, kTcpAck}, {true, kFinAck}, {false, kFinAck}};
  const std::vector<std::pair<bool, uint8_t>> nat_close = {{false, kTcpSyn}, {true, kTcpRst}};
  const std::vector<std::pair<bool, uint8_t>> nat_fin_wait = {
      {false, kTcpSyn}, {true, kSynAck}, {false, kTcpAck}, {true, kFinAck}};
  const std::vector<std::pair<bool, uint8_t>> direct_close = {
      {false, kTcpSyn}, {false, kTcpAck}, {false, kTcpRst}};
  const std::vector<std::pair<bool, uint8_t>> direct_fin_wait = {
      {false, kTcpSyn}, {false, kTcpAck}, {false, kFinAck}};
  const Reuse table[] = {
      {kMethodMasquerade, time_wait, 0, false, false},
      {kMethodMasquerade, time_wait, 1, false, true},
      {kMethodMasquerade, time_wait, 3, false, true},
      {kMethodMasquerade, time_wait, 1, true, false},
      {kMethodFullnat, time_wait, 1, false, true},
      {kMethodMasquerade, nat_close, 1, false, true},
      {kMethodMasquerade, nat_close, 0, false, false},
      // FIN_WAIT counts only where no reply was seen.
      {kMethodMasquerade, nat_fin_wait, 3, false, false},
      {kMethodDirect, direct_close, 1, false, true},
      {kMethodDirect, direct_close, 1, true, false},
      {kMethodDirect, direct_fin_wait, 1, false, false},
      {kMethodDirect, direct_fin_wait, 2, false, true},
      {kMethodDirect, direct_fin_wait, 3, false, true},
      {kMethodDirect, direct_fin_wait, 3, true, false},
      {kMethodTunnel, direct_fin_wait, 3, false, true},
      {kMethodDirect, {{false, kTcpSyn}, {false, kTcpAck}}, 3, false, false},
  };
  for (const Reuse& row : table) {
    World world(row.method);
    world.config.conn_reuse_mode = row.mode;
    world.Adopt();
    for (const auto& [reply, flags] : row.packets) {
      world.Inject(reply ? world.Reply(flags) : world.Request(flags), reply ? 1 : 0);
      world.rig.run([&](const MissRecord& miss) {
        if (row.slave) const_cast<MissRecord&>(miss).template_ref = 1;
        return 0;
      });
    }
    world.Taken();
    world.verdict = 1;
    for (const uint8_t flags : {kTcpSyn, kSynAck}) {
      const std::vector<Sent> sent = world.In(flags);
      CHECK_EQ(sent.size(), 1);
      if (flags == kTcpSyn) CHECK_EQ(world.misses, row.fresh ? 1 : 0);
    }
    REQUIRE(world.Only() != nullptr);
    CHECK_EQ(world.Only()->destination_slot, row.fresh ? 1 : 0);
    CHECK_EQ(world.rig.load(0).active + world.rig.load(0).inactive, row.fresh ? 0 : 1);
    CHECK_EQ(world.rig.load(1).active + world.rig.load(1).inactive, row.fresh ? 1 : 0);
  }
}

// A connection in CLOSE that the next SYN of its client replaces.
void OpenAndReset(World& world) {
  world.Open();
  world.In(kTcpRst);
  REQUIRE(world.State() == kTcpClose);
}

// The kernel's timer of the old entry runs out behind the packet that made it due.
TEST(core_a_replaced_connection_counts_until_the_new_one_is_scheduled) {
  for (const int32_t verdict : {1, kVerdictNone}) {
    World world(kMethodDirect);
    OpenAndReset(world);
    world.Inject(world.Request(kTcpSyn));
    world.Inject(world.Request(kTcpSyn));  // in the same burst, with the same guess
    world.Inject(world.Request(kTcpAck));
    int32_t seen = -1;
    const uint32_t misses = world.rig.run([&](const MissRecord& miss) {
      CHECK_EQ(miss.packets, 3);
      seen = world.rig.load(0).active + world.rig.load(0).inactive;
      return verdict;
    });
    CHECK_EQ(misses, 1);
    CHECK_EQ(seen, 1);
    CHECK_EQ(world.Taken().size(), 3);
    CHECK_EQ(world.Size(), verdict == 1 ? 1 : 0);
    CheckLoad(world, 0, 0);
    CheckLoad(world, verdict == 1 ? 1 : 0, 0, 1);
  }
}

TEST(core_a_replaced_connection_makes_room_for_the_new_one) {
  World world(kMethodFullnat, false, kProtoTcp, 1);
  OpenAndReset(world);
  CHECK_EQ(world.In(kTcpSyn).size(), 1);
  CHECK_EQ(world.rig.reason(Reason::kTableFull), 0);
  CHECK_EQ(world.State(), kTcpSynRecv);
}

TEST(core_a_replaced_connection_of_a_dead_worker_ends_by_its_timer) {
  World world(kMethodDirect);
  OpenAndReset(world);
  world.Inject(world.Request(kTcpSyn));
  CHECK_EQ(world.rig.core().poll(0), 1);
  rig::CoreRig next(world.blocks);
  REQUIRE(next.adopt(world.config));
  CHECK_EQ(next.core().table().size(), 1);
  next.pass_ms(12'000);
  CHECK_EQ(next.core().table().size(), 0);
  CHECK_EQ(next.load(0).inactive, 0);
}

TEST(core_reuse_of_a_quiesced_destination) {
  for (const uint32_t expire : {0u, 1u}) {
    for (const uint32_t mode : {0u, 1u}) {
      World world(kMethodMasquerade);
      world.Open();
      world.config.destinations[0].weight = 0;
      world.config.expire_nodest_conn = expire;
      world.config.conn_reuse_mode = mode;
      world.Adopt();
      world.verdict = 1;
      CHECK_EQ(world.In(kTcpAck).size(), 1);  // packets go on flowing
      CHECK_EQ(world.misses, 0);
      world.In(kTcpSyn);
      CHECK_EQ(world.misses, expire);  // whatever the mode (spec 3.9, kernels from 5.16)
      CHECK_EQ(world.Only()->destination_slot, expire);
    }
  }
}

TEST(core_destination_gone_is_silence) {
  for (const uint8_t method : kMethods) {
    World world(method);
    world.Open();
    const uint32_t due = world.DueTicks();
    world.config.destinations[0].available = false;
    world.Adopt();
    world.rig.pass_ms(1000);
    CHECK_EQ(world.In(kTcpAck).size(), 0);
    CHECK_EQ(world.rig.reason(Reason::kDestinationGone), 1);
    CHECK_EQ(world.DueTicks(), due - kTicksPerSec);  // its timer is untouched
    CHECK_EQ(world.Only()->in_packets, 2);
    if (has_reply_key(method)) {
      // What is under way from the destination still arrives, and counts nowhere.
      const uint64_t before = world.blocks.total.get()->out_packets;
      CHECK_EQ(world.Back(kTcpAck).size(), 1);
      CHECK_EQ(world.blocks.total.get()->out_packets, before);
    }
    world.config.destinations[0].available = true;
    world.Adopt();
    CHECK_EQ(world.In(kTcpAck).size(), 1);
  }
}

TEST(core_destination_gone_ends_where_asked_for) {
  for (const uint8_t flags : {kTcpSyn, kTcpAck}) {
    World world(kMethodDirect);
    world.Open();
    world.config.destinations[0].available = false;
    world.Adopt();
    world.config.expire_nodest_conn = 1;
    REQUIRE(world.rig.adopt(world.config));
    world.rig.core().poll(0);
    CHECK_EQ(world.Size(), 1);  // the setting alone sweeps nothing away
    world.verdict = 1;
    world.Inject(world.Request(flags));
    world.rig.core().poll(0);
    CheckLoad(world, 0, 0);
    if (flags == kTcpSyn) {
      REQUIRE(world.rig.core().open());
      world.blocks.misses.get()[0].verdict = 1;
      world.rig.core().resolve();
      CheckLoad(world, 1, 0, 1);
    } else {
      // Spec 3.10: as if there were no entry; here that means the RST a host would send.
      CHECK_EQ(world.rig.reason(Reason::kNotSyn), 1);
      CHECK_EQ(world.Taken().size(), 1);
    }
  }
}

TEST(core_sweep_ends_what_lost_its_destination) {
  World world(kMethodMasquerade, false, kProtoTcp, 3000);
  Text text = world.Request(kTcpSyn);
  for (uint16_t i = 0; i < 2500; i++) {
    text.source_port = static_cast<uint16_t>(2000 + i);
    world.verdict = i % 2;
    world.Pass(text);
  }
  CHECK_EQ(world.Size(), 2500);
  world.config.destinations[0].available = false;
  world.config.expire_nodest_conn = 1;
  world.Adopt();
  for (int i = 0; i < 4; i++) world.rig.core().poll(0);  // some at a time: see kSweepBudget
  CHECK_EQ(world.Size(), 1250);
  CheckLoad(world, 0, 0);
  CheckLoad(world, 1250, 0, 1);
}

TEST(core_table_full_keeps_the_old) {
  World world(kMethodMasquerade, false, kProtoTcp, 2);
  Text text = world.Request(kTcpSyn);
  for (uint16_t i = 0; i < 3; i++) {
    text.source_port = static_cast<uint16_t>(2000 + i);
    CHECK_EQ(world.Pass(text).size(), i < 2 ? 1 : 0);
  }
  CHECK_EQ(world.rig.reason(Reason::kTableFull), 1);
  CHECK_EQ(world.Size(), 2);
  CheckLoad(world, 2, 0);
  text.source_port = 2000;
  text.tcp_flags = kTcpAck;
  CHECK_EQ(world.Pass(text).size(), 1);
  CHECK_EQ(world.blocks.total.get()->connections, 2);
  world.rig.pass_ms(60'000);  // the one in SYN_RECV makes room
  text.source_port = 3000;
  text.tcp_flags = kTcpSyn;
  CHECK_EQ(world.Pass(text).size(), 1);
}

TEST(core_address_table_full) {
  constexpr uint32_t kMany = kAddressEntries + 10;
  World world(kMethodMasquerade, false, kProtoTcp, kMany + 10);
  world.config.destinations.clear();
  for (uint32_t i = 0; i < kMany; i++) {
    rig::DestinationText destination;
    destination.address = Addr::v4(Be32::of(0xc6130000 + i));
    world.config.destinations.push_back(destination);
  }
  world.Adopt();
  Text text = world.Request(kTcpSyn);
  uint32_t made = 0;
  for (uint32_t i = 0; i < kMany; i++) {
    text.source_port = static_cast<uint16_t>(1000 + i);
    world.verdict = static_cast<int32_t>(i);
    made += static_cast<uint32_t>(world.Pass(text).size());
  }
  CHECK_EQ(made, kAddressEntries - 1);  // the virtual address takes one
  CHECK_EQ(world.rig.reason(Reason::kAddressTableFull), kMany - made);
  CHECK_EQ(world.Size(), made);
}

// Spec 12.8: only a plain SYN begins a FULLNAT connection.
TEST(core_fullnat_begins_with_a_plain_syn) {
  World world(kMethodFullnat);
  CHECK_EQ(world.In(kTcpSyn | kTcpAck).size(), 0);
  CHECK_EQ(world.In(kTcpSyn | kTcpFin).size(), 0);
  CHECK_EQ(world.rig.reason(Reason::kNotSyn), 2);
  CHECK_EQ(world.Size(), 0);
  CHECK_EQ(world.In(kTcpSyn).size(), 1);
}

TEST(core_fullnat_ports) {
  World world(kMethodFullnat);
  world.config.local_port_first = 5000;
  world.config.local_port_last = 5003;
  world.Adopt();
  Text text = world.Request(kTcpSyn);
  std::vector<uint32_t> ports;
  for (uint16_t i = 0; i < 6; i++) {
    text.source_port = static_cast<uint16_t>(2000 + i);
    for (const Sent& sent : world.Pass(text)) ports.push_back(test::Get16(sent.ip, 20));
  }
  std::sort(ports.begin(), ports.end());
  CHECK_EQ(ports, (std::vector<uint32_t>{5000, 5001, 5002, 5003}));
  CHECK_EQ(world.rig.reason(Reason::kLocalPortExhausted), 2);
  world.verdict = 1;  // the same ports are free towards another destination
  text.source_port = 3000;
  CHECK_EQ(world.Pass(text).size(), 1);
  world.config.services[0].local.push_back(test::Address("198.19.9.2"));
  world.Adopt();
  world.verdict = 0;  // and at another local address
  text.source_port = 3001;
  const std::vector<Sent> sent = world.Pass(text);
  REQUIRE(sent.size() == 1);
  CHECK_EQ(test::Part(sent[0].ip, 12, 4), test::AddressBytes("198.19.9.2"));
  world.config.services[0].local.clear();
  world.Adopt();
  text.source_port = 3002;
  CHECK_EQ(world.Pass(text).size(), 0);
  CHECK_EQ(world.rig.reason(Reason::kLocalAddressNone), 1);
  CHECK_EQ(world.blocks.total.get()->connections, 6);
}

TEST(core_one_packet_scheduling) {
  for (const uint8_t method : kMethods) {
    World world(method, false, kProtoUdp);
    world.config.services[0].flags = kServiceOnePacket;
    world.Adopt();
    for (int i = 0; i < 3; i++) world.Inject(world.Request());
    std::vector<uint16_t> flags;
    CHECK_EQ(world.rig.run([&](const MissRecord& miss) {
      flags.push_back(miss.flags);
      CHECK_EQ(miss.packets, 1);
      return static_cast<int32_t>(flags.size() % 2);
    }),
             3);
    CHECK_EQ(flags, (std::vector<uint16_t>{kMissOnePacket, kMissOnePacket, kMissOnePacket}));
    CHECK_EQ(world.Taken().size(), 3);
    CHECK_EQ(world.Size(), 0);
    CheckLoad(world, 0, 0);
    CheckLoad(world, 0, 0, 1);
    CHECK_EQ(world.blocks.total.get()->connections, 3);
    CHECK_EQ(world.blocks.destinations.get()[1].in_packets, 2);
    // Replies find nothing.
    if (method == kMethodMasquerade) CHECK_EQ(world.Back(0).size(), 0);
  }
  // TCP of such a service is scheduled as ever (spec 3.8).
  World world(kMethodDirect);
  world.config.services[0].flags = kServiceOnePacket;
  world.Adopt();
  world.Open();
  CHECK_EQ(world.Size(), 1);
}

TEST(core_packets_of_a_new_flow_keep_their_order) {
  for (const uint8_t method : kMethods) {
    World world(method, false, kProtoUdp);
    Text other = world.Request();
    other.source_port = 50000;
    for (uint16_t i = 0; i < 20; i++) {
      Text text = i % 3 == 2 ? other : world.Request();
      text.id = i;
      world.Inject(text);
    }
    CHECK_EQ(world.rig.run([](const MissRecord& miss) { return miss.packets == 14 ? 0 : 1; }), 2);
    const std::vector<Sent> sent = world.Taken();
    CHECK_EQ(sent.size(), 20);
    const size_t at = method == kMethodTunnel ? 20 : 0;
    std::vector<uint32_t> first, second;
    for (const Sent& each : sent) {
      const uint32_t id = test::Get16(each.ip, at + 4);
      (id % 3 == 2 ? second : first).push_back(id);
    }
    CHECK(std::is_sorted(first.begin(), first.end()));
    CHECK(std::is_sorted(second.begin(), second.end()));
    CHECK_EQ(first.size(), 14);
    CheckLoad(world, 0, 1);
    CheckLoad(world, 0, 1, 1);
  }
}

// Found by reading: the RST was answered with a RST of its own, because its SYN had no entry yet.
TEST(core_packets_behind_their_syn_belong_to_it) {
  World world(kMethodDirect);
  world.Inject(world.Request(kTcpSyn));
  world.Inject(world.Request(kTcpAck));
  world.Inject(world.Request(kTcpRst));
  CHECK_EQ(world.rig.run([](const MissRecord& miss) {
    CHECK_EQ(miss.packets, 3);
    return 0;
  }),
           1);
  const std::vector<Sent> sent = world.Taken();
  REQUIRE(sent.size() == 3);
  for (const Sent& each : sent) CHECK_EQ(each.port, 1);
  CHECK_EQ(world.State(), kTcpClose);
  CHECK_EQ(world.rig.reason(Reason::kNotSyn), 0);
}

TEST(core_a_burst_of_different_misses) {
  for (const uint8_t method : kMethods) {
    World world(method, false, kProtoTcp, 200);
    Text text = world.Request(kTcpSyn);
    for (uint16_t i = 0; i < kBurst; i++) {
      text.source_port = static_cast<uint16_t>(2000 + i);
      world.Inject(text);
    }
    CHECK_EQ(world.rig.core().poll(0), kBurst);
    for (uint32_t i = 0; i < kBurst; i++) {
      CHECK_EQ(world.blocks.misses.get()[i].client_port, 2000 + i);
      world.blocks.misses.get()[i].verdict = static_cast<int32_t>(i % 2);
    }
    world.rig.core().resolve();
    CHECK_EQ(world.Taken().size(), kBurst);
    CHECK_EQ(world.Size(), kBurst);
    const bool active = method != kMethodFullnat;
    CheckLoad(world, active ? 32 : 0, active ? 0 : 32);
    CheckLoad(world, active ? 32 : 0, active ? 0 : 32, 1);
    CHECK_EQ(world.blocks.words.get()->misses, kBurst);
  }
}

// Found by reading: a slot that names nothing was an assertion.
TEST(core_nonsense_verdicts_are_counted_and_dropped) {
  World world(kMethodMasquerade);
  world.config.destinations.resize(3);
  world.config.destinations[2] = world.config.destinations[1];
  world.config.destinations[2].available = false;
  world.Adopt();
  world.blocks.templates.get()[0].connections = 5;
  uint64_t dropped = 0;
  for (const int32_t verdict : {2, 3, 65535, 32768, 0x7fffffff, -5, -2, INT32_MIN}) {
    world.Inject(world.Request(kTcpSyn));
    world.Inject(world.Request(kTcpSyn));
    world.rig.run([&](const MissRecord& miss) {
      if (verdict >= 0) const_cast<MissRecord&>(miss).template_ref = 1;
      return verdict;
    });
    dropped += 2;
    CHECK_EQ(world.rig.reason(Reason::kSchedulerFailed), dropped);
    CHECK_EQ(world.Taken().size(), 0);
    CHECK_EQ(world.Size(), 0);
  }
  CHECK_EQ(world.blocks.templates.get()[0].connections, 0);  // slaves that never were
}

TEST(core_a_verdict_of_another_family_is_nonsense_too) {
  World world(kMethodMasquerade);
  rig::ServiceText other;
  other.address = test::Address("2001:db8::1:10");
  world.config.services.push_back(other);
  world.config.destinations[1].address = test::Address("2001:db8:1::1");
  world.config.destinations[1].service = 1;
  world.Adopt();
  world.verdict = 1;
  CHECK_EQ(world.In(kTcpSyn).size(), 0);
  CHECK_EQ(world.rig.reason(Reason::kSchedulerFailed), 1);
}

TEST(core_other_verdicts) {
  World world(kMethodMasquerade);
  world.verdict = kVerdictPass;
  CHECK_EQ(world.In(kTcpSyn).size(), 0);
  CHECK_EQ(world.rig.reason(Reason::kNoService), 1);
  world.verdict = kVerdictDrop;
  CHECK_EQ(world.In(kTcpSyn).size(), 0);
  CHECK_EQ(world.rig.reason(Reason::kSchedulerFailed), 1);
  CHECK_EQ(world.Size(), 0);
}

// Found by review: a worker that died between verdict and resolve() kept its templates for ever.
TEST(core_successor_gives_unresolved_templates_back) {
  World world(kMethodMasquerade);
  TemplateRecord& row = world.blocks.templates.get()[3];
  row.connections = 2;  // one slave of the dead worker's last burst, one that lives elsewhere
  world.blocks.misses.get()[0].template_ref = 4;
  const rig::CoreRig successor(world.blocks, 0, 1);
  CHECK_EQ(row.connections, 1);
  const rig::CoreRig next(world.blocks, 0, 1);
  CHECK_EQ(row.connections, 1);
}

TEST(core_templates_hear_of_their_slaves) {
  for (const uint8_t method : {kMethodMasquerade, kMethodDirect}) {
    World world(method);
    TemplateRecord& row = world.blocks.templates.get()[3];
    row.connections = 1;  // the scheduler has counted this slave
    world.Inject(world.Request(kTcpSyn));
    world.rig.run([](const MissRecord& miss) {
      const_cast<MissRecord&>(miss).template_ref = 4;
      return 0;
    });
    CHECK_EQ(row.state & kTemplateAssured, 0);
    world.In(kTcpAck);
    CHECK_EQ(row.state & kTemplateAssured, kTemplateAssured);
    CHECK_EQ(row.connections, 1);
    CheckExpiry(world);
    CHECK_EQ(row.connections, 0);
  }
  // A UDP slave assures with its first reply; a slave that could not be made is given back.
  World world(kMethodMasquerade, false, kProtoUdp, 1);
  TemplateRecord& row = world.blocks.templates.get()[0];
  row.connections = 2;
  Text text = world.Request();
  for (const uint16_t port : {uint16_t{40000}, uint16_t{40001}}) {
    text.source_port = port;
    world.Inject(text);
  }
  world.rig.run([](const MissRecord& miss) {
    const_cast<MissRecord&>(miss).template_ref = 1;
    return 0;
  });
  CHECK_EQ(world.rig.reason(Reason::kTableFull), 1);
  CHECK_EQ(row.connections, 1);
  CHECK_EQ(row.state, 0);
  world.Back(0);
  CHECK_EQ(row.state, kTemplateAssured);
}

TEST(core_persistent_service_maps_its_own_port_only) {
  World world(kMethodMasquerade);
  world.config.services[0].port = 0;
  world.config.services[0].flags = kServicePersistent;
  world.Adopt();
  const std::vector<Sent> sent = world.In(kTcpSyn);
  REQUIRE(sent.size() == 1);
  CHECK_EQ(test::Get16(sent[0].ip, 22), 80);  // not the destination's 8080 (spec 4.2)
}

// Found by reading: the successor trusted hop slots that its predecessor had numbered.
TEST(core_successor_adopts_connections_and_asks_for_hops_anew) {
  World world(kMethodMasquerade);
  world.Open();
  const Text request = world.Request();
  {
    rig::CoreRig successor(world.blocks);
    successor.clock.us = world.rig.clock.us + 5'000'000;
    REQUIRE(successor.adopt(world.config));
    // The same address has another hop now, and another port.
    successor.hops().exceptions = {{test::Address(world.ends.destination), rig::RigHops::kOut4}};
    const test::Built built = Build(request);
    successor.port(0).inject(built.bytes.data(), static_cast<uint32_t>(built.bytes.size()));
    CHECK_EQ(successor.run([](const MissRecord&) { return 1; }), 0);
    CHECK_EQ(successor.port(0).take_sent().size(), 1);
    CHECK_EQ(successor.core().table().size(), 1);
    CheckLoad(world, 1, 0);
    successor.pass_ms(900'000);
    CheckLoad(world, 0, 0);
  }
}

TEST(core_idle_for_longer_than_the_wheel_turns) {
  World world(kMethodDirect);
  world.config.tcp_sec[kTcpEstablished] = 5000;
  world.Adopt();
  world.Open();
  world.rig.pass_ms(4'999'000);
  CHECK_EQ(world.Size(), 1);
  world.rig.pass_ms(1000);
  CHECK_EQ(world.Size(), 0);
}

}  // namespace
}  // namespace uvs
