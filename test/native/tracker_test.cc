// The tracker alone: loads, budgets, templates out of range. Its life cycles are in core_test.cc.
#include "conn/tracker.h"

#include "check.h"
#include "fuzz/core_rig.h"
#include "packet_text.h"

namespace uvs {
namespace {

using test::Address;

struct Rig {
  explicit Rig(uint32_t capacity = 2000)
      : blocks(capacity), counters(blocks.memory().counters), tracker(table, counters, snapshot) {
    CHECK(table.attach(blocks.table.get(), blocks.table.bytes(), capacity, 1, 0));
    rig::ServiceText service;
    service.address = Address("198.18.1.10");
    config.services = {service};
    for (uint8_t i = 0; i < 2; i++) {
      rig::DestinationText destination;
      destination.address = Addr::v4(Be32::of(0xc6130001u + i));
      config.destinations.push_back(destination);
    }
    Adopt();
    tracker.attach_templates(blocks.templates.get(), blocks.templates_held);
  }
  void Adopt() {
    block = rig::block_of(config);
    snapshot.adopt(reinterpret_cast<const uint8_t*>(block.data()));
    tracker.adopt();
  }
  uint32_t Create(uint32_t number, uint16_t slot, uint32_t tick, uint32_t template_ref = 0) {
    NewConn wanted{};
    wanted.in = FlowKey{Addr::v4(Be32::of(0xc6120000u + number)), Address("198.18.1.10"),
                        Be16::of(1), Be16::of(80), kProtoTcp};
    wanted.destination = config.destinations[slot].address;
    wanted.destination_slot = slot;
    wanted.method = kMethodMasquerade;
    wanted.template_ref = template_ref;
    uint32_t id = kNoConn;
    CHECK(tracker.create(wanted, tick, &id) == CreateError::kNone);
    return id;
  }
  void Track(uint32_t id, uint8_t flags, bool reply, uint32_t tick) {
    Packet packet{};
    packet.tcp_flags = flags;
    tracker.track(id, packet, reply, tick);
  }

  rig::Blocks blocks;
  rig::ConfigText config;
  std::vector<uint64_t> block;
  Counters counters;
  Snapshot snapshot;
  ConnTable table;
  Tracker tracker;
};

TEST(tracker_new_connections_are_inactive_for_three_seconds) {
  Rig rig;
  const uint32_t id = rig.Create(1, 0, 10);
  CHECK_EQ(rig.counters.loads[0].inactive, 1);
  CHECK_EQ(rig.counters.loads[0].active, 0);
  CHECK_EQ(rig.table.at(id).expires, 10 + 3 * kTicksPerSec);
  CHECK_EQ(rig.tracker.expire(21, 1000), 0);
  CHECK_EQ(rig.tracker.expire(22, 1000), 1);
  CHECK_EQ(rig.counters.loads[0].inactive, 0);
}

TEST(tracker_same_state_moves_no_load) {
  Rig rig;
  const uint32_t id = rig.Create(1, 1, 0);
  for (int i = 0; i < 3; i++) {
    rig.Track(id, kTcpSyn, false, 1);
    CHECK_EQ(rig.counters.loads[1].active, 1);
    CHECK_EQ(rig.counters.loads[1].inactive, 0);
  }
  rig.Track(id, kTcpRst, true, 1);
  CHECK_EQ(rig.counters.loads[1].active, 0);
  CHECK_EQ(rig.counters.loads[1].inactive, 1);
  rig.tracker.end(id);
  CHECK_EQ(rig.counters.loads[1].inactive, 0);
}

TEST(tracker_expiry_keeps_its_budget) {
  Rig rig;
  for (uint32_t i = 0; i < 1000; i++) rig.Create(i, i % 2, 0);
  uint32_t ended = 0;
  for (int polls = 0; rig.table.size() != 0 && polls < 100; polls++) {
    const uint32_t now = rig.tracker.expire(100, 64);
    CHECK_LE(now, 64);
    ended += now;
  }
  CHECK_EQ(ended, 1000);
  CHECK_EQ(rig.counters.loads[0].inactive + rig.counters.loads[1].inactive, 0);
}

TEST(tracker_sweep_goes_on_where_it_stopped) {
  Rig rig;
  for (uint32_t i = 0; i < 1000; i++) rig.Create(i, i % 2, 0);
  rig.config.destinations[1].available = false;
  rig.Adopt();
  uint32_t cursor = 0;
  uint32_t steps = 1;
  while (rig.tracker.sweep_gone(&cursor, 300)) {
    CHECK_EQ(cursor, steps * 300);
    steps++;
  }
  CHECK_EQ(steps, 4);
  CHECK_EQ(rig.table.size(), 500);
  CHECK_EQ(rig.counters.loads[1].inactive, 0);
  CHECK_EQ(rig.counters.loads[0].inactive, 500);
}

// Spec 3.3, 3.7: a master outlives its time in steps of a minute while it has slaves.
TEST(tracker_masters_wait_for_their_slaves) {
  Rig rig;
  const uint32_t master = rig.Create(1, 0, 0);
  const uint32_t slave = rig.Create(2, 0, 0);
  rig.tracker.control(slave, master);
  CHECK(rig.tracker.has_master(rig.table.at(slave)));
  CHECK(!rig.tracker.has_master(rig.table.at(master)));
  rig.Track(slave, kTcpSyn, false, 0);  // SYN_RECV, 60 s
  CHECK_EQ(rig.tracker.expire(59 * kTicksPerSec, 10000), 0u);
  CHECK(rig.table.live(master));
  CHECK_EQ(rig.tracker.expire(60 * kTicksPerSec, 10000), 1u);
  CHECK(!rig.table.live(slave));
  CHECK_EQ(rig.tracker.expire(62 * kTicksPerSec, 10000), 0u);  // 3 s + 60 s
  CHECK_EQ(rig.tracker.expire(63 * kTicksPerSec, 10000), 1u);
  CHECK_EQ(rig.table.size(), 0u);
}

// Spec 3.7: forced deletion climbs to a master whose last slave it was, and to a template that no
// slave assured.
TEST(tracker_forced_ends_climb) {
  Rig rig;
  TemplateRecord& record = rig.blocks.templates.get()[0];
  for (const bool assured : {false, true}) {
    record = TemplateRecord{};
    record.connections = 1;
    record.expires_sec = 100;
    record.state = assured ? kTemplateAssured : 0;
    const uint32_t control = rig.Create(1, 0, 0, 1);
    const uint32_t first = rig.Create(2, 0, 0);
    const uint32_t second = rig.Create(3, 0, 0);
    rig.tracker.control(first, control);
    rig.tracker.control(second, control);
    rig.tracker.end_chain(first);
    CHECK(rig.table.live(control) && rig.table.live(second));
    CHECK_EQ(record.connections, 1);
    rig.tracker.end_chain(second);
    CHECK_EQ(rig.table.size(), 0u);
    CHECK_EQ(record.connections, 0);
    CHECK_EQ(record.expires_sec, assured ? 100u : 0u);
  }
}

// Spec 3.9: a connection that a new one replaces ends, or is found no more while slaves need it.
TEST(tracker_replaced_masters_hide) {
  Rig rig;
  const uint32_t alone = rig.Create(1, 0, 0);
  rig.tracker.give_way(alone);
  CHECK(!rig.table.live(alone));
  const uint32_t master = rig.Create(1, 0, 0);
  const uint32_t slave = rig.Create(2, 0, 0);
  rig.tracker.control(slave, master);
  const FlowKey in = rig.table.in_key(rig.table.at(master));
  const FlowKey out = rig.table.out_key(rig.table.at(master));
  rig.tracker.give_way(master);
  CHECK(rig.table.live(master));
  CHECK_EQ(rig.table.find(in, rig.table.hash(in)), kNoEntry);
  CHECK_EQ(rig.table.find(out, rig.table.hash(out)), kNoEntry);
  const uint32_t next = rig.Create(1, 1, 0);
  CHECK_EQ(rig.table.find(in, rig.table.hash(in)), next << 1);
  rig.tracker.end_chain(slave);
  CHECK_EQ(rig.table.size(), 1u);
  CHECK_EQ(rig.table.find(out, rig.table.hash(out)), kNoEntry);  // of another destination
  rig.tracker.end(next);
  CHECK_EQ(rig.table.size(), 0u);
}

TEST(tracker_template_references_out_of_range_are_ignored) {
  Rig rig;
  const uint32_t last = rig.blocks.templates_held;
  for (const uint32_t ref : {0u, last + 1, 0xffffffffu}) {
    const uint32_t id = rig.Create(ref, 0, 0, ref);
    rig.Track(id, kTcpSyn, false, 0);
    rig.Track(id, kTcpAck, false, 0);
    rig.tracker.end(id);
  }
  for (uint32_t i = 0; i < last; i++) {
    CHECK_EQ(rig.blocks.templates.get()[i].connections, 0);
    CHECK_EQ(rig.blocks.templates.get()[i].state, 0);
  }
  const uint32_t id = rig.Create(1, 0, 0, last);
  rig.Track(id, kTcpAck, false, 0);
  CHECK_EQ(rig.blocks.templates.get()[last - 1].state, kTemplateAssured);
}

}  // namespace
}  // namespace uvs
