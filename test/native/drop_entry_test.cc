// drop_entry: whom it takes, against the rules of spec 3.11 written out slowly; how often each
// record is looked at; that masters go with their slaves.
#include "conn/drop_entry.h"

#include <map>
#include <random>

#include "check.h"
#include "conn/tracker.h"
#include "fuzz/core_rig.h"
#include "packet_text.h"

namespace uvs {
namespace {

constexpr int32_t kMinute = 60 * kTicksPerSec;

// The kernel's counters as they stand there: decremented before they are looked at.
class SlowLottery {
 public:
  bool takes(uint32_t packets, int32_t idle) {
    if (idle < kMinute || packets < 1 || packets > 8) return false;
    if (--counter_[packets] > 0) return false;
    counter_[packets] = static_cast<int>(packets);
    return true;
  }

 private:
  std::map<uint32_t, int> counter_;
};

bool slow_takes(SlowLottery& lottery, const Conn& conn, int32_t idle) {
  const uint32_t tcp[] = {0, 1, 0, 2, 0, 0, 0, 0, 0, 0, 2};  // 2: goes, 1: lottery, 0: stays
  const uint32_t sctp[] = {0, 2, 2, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0};
  uint32_t rule = 1;
  if (conn.protocol == 6) rule = tcp[conn.state];
  if (conn.protocol == 132) rule = sctp[conn.state];
  return rule == 2 || (rule == 1 && lottery.takes(conn.in_packets, idle));
}

TEST(drop_entry_takes_whom_the_rules_name) {
  std::mt19937 random(11);
  DropEntry defence(5);
  SlowLottery slow;
  uint32_t taken = 0;
  for (int i = 0; i < 200000; i++) {
    Conn conn{};
    const uint8_t protocols[] = {6, 17, 132};
    conn.protocol = protocols[random() % 3];
    conn.state = static_cast<uint8_t>(random() % (conn.protocol == 132 ? 14 : 11));
    if (conn.protocol != 17 && random() % 2 == 0) conn.state = conn.protocol == 6 ? 1 : 8;
    conn.in_packets = random() % 11;
    const auto idle = kMinute - 3 + static_cast<int32_t>(random() % 6);
    const bool want = slow_takes(slow, conn, idle);
    CHECK_EQ(defence.takes(conn, idle), want);
    taken += want ? 1 : 0;
  }
  CHECK(taken > 20000 && taken < 180000);
}

TEST(drop_entry_the_first_of_each_class_goes_then_one_of_so_many) {
  for (uint32_t packets = 1; packets <= 8; packets++) {
    DropEntry defence(1);
    Conn conn{};
    conn.protocol = 17;
    conn.in_packets = packets;
    for (uint32_t i = 0; i < packets * 4; i++) {
      CHECK_EQ(defence.takes(conn, kMinute), i % packets == 0);
    }
    CHECK(!defence.takes(conn, kMinute - 1));
    CHECK(!defence.takes(conn, -5));
  }
}

TEST(drop_entry_looks_at_a_32nd_of_the_records) {
  DropEntry defence(3);
  uint64_t all = 0;
  for (uint32_t second = 0; second < 32; second++) all += defence.draws(7);
  CHECK_EQ(all, 7);  // also of a few
  CHECK_EQ(defence.draws(64000), 2000);
  // Every record is as likely as every other: 64 000 draws of 64, a thousand each.
  std::vector<uint32_t> seen(64);
  for (uint32_t i = 0; i < 64000; i++) seen.at(defence.draw(64))++;
  for (const uint32_t count : seen) CHECK(count > 800 && count < 1200);
  CHECK_EQ(defence.draw(1), 0);
}

struct Rig {
  Rig() : blocks(100), counters(blocks.memory().counters), tracker(table, counters, snapshot) {
    CHECK(table.attach(blocks.table.get(), blocks.table.bytes(), 100, 1, 0));
    rig::ServiceText service;
    service.address = test::Address("198.18.1.10");
    config.services = {service};
    rig::DestinationText destination;
    destination.address = test::Address("198.19.0.1");
    config.destinations = {destination};
    block = rig::block_of(config);
    snapshot.adopt(reinterpret_cast<const uint8_t*>(block.data()));
    tracker.adopt();
    tracker.attach_templates(blocks.templates.get(), blocks.templates_held);
  }
  uint32_t Create(uint16_t port, uint32_t template_ref = 0) {
    NewConn wanted{};
    wanted.in = FlowKey{test::Address("198.18.0.7"), test::Address("198.18.1.10"), Be16::of(port),
                        Be16::of(80), kProtoTcp};
    wanted.destination = config.destinations[0].address;
    wanted.method = kMethodMasquerade;
    wanted.template_ref = template_ref;
    uint32_t id = kNoConn;
    CHECK(tracker.create(wanted, 0, &id) == CreateError::kNone);
    Packet syn{};
    syn.tcp_flags = kTcpSyn;
    tracker.track(id, syn, false, 0);
    return id;
  }
  void DropUntil(uint32_t left, uint32_t tick) {
    for (uint32_t second = 0; second < 10000 && table.size() > left; second++) {
      uint32_t draws = defence.draws(table.high_water());
      while (tracker.drop_random(defence, tick, &draws, 1)) continue;
    }
    CHECK_EQ(table.size(), left);
  }

  rig::Blocks blocks;
  rig::ConfigText config;
  std::vector<uint64_t> block;
  Counters counters;
  Snapshot snapshot;
  ConnTable table;
  Tracker tracker;
  DropEntry defence{9};
};

TEST(drop_entry_half_open_connections_vanish_and_masters_go_with_their_slaves) {
  Rig rig;
  const uint32_t master = rig.Create(1);
  for (uint16_t port = 2; port < 5; port++) rig.tracker.control(rig.Create(port), master);
  rig.Create(5, 3);
  TemplateRecord& row = rig.blocks.templates.get()[2];
  row.connections = 1;
  row.expires_sec = 99;
  rig.DropUntil(0, 4);
  CHECK_EQ(row.connections, 0);
  CHECK_EQ(row.expires_sec, 0);  // never assured: it goes too
  CHECK_EQ(rig.counters.loads[0].active + rig.counters.loads[0].inactive, 0);
}

TEST(drop_entry_keeps_what_was_used_within_a_minute) {
  Rig rig;
  const uint32_t id = rig.Create(1);
  Packet ack{};
  ack.tcp_flags = kTcpAck;
  rig.tracker.track(id, ack, false, 100);
  rig.table.at(id).in_packets = 2;
  for (uint32_t second = 0; second < 3200; second++) {
    uint32_t draws = rig.defence.draws(rig.table.high_water());
    rig.tracker.drop_random(rig.defence, 100 + kMinute - 1, &draws, 100);
  }
  CHECK_EQ(rig.table.size(), 1);
  rig.DropUntil(0, 100 + kMinute);
}

}  // namespace
}  // namespace uvs
