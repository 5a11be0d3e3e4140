// Local ports of FULLNAT: the share of each worker, reuse distance, exhaustion (spec 12.2-12.4).
#include "conn/local_ports.h"

#include <set>
#include <vector>

#include "check.h"
#include "fuzz/core_rig.h"
#include "packet_text.h"

namespace uvs {
namespace {

using test::Address;

// A table and a worker's ports on it.
struct Rig {
  Rig(uint32_t worker, uint32_t workers, uint32_t capacity = 256)
      : blocks(capacity), ports(worker, workers) {
    CHECK(table.attach(blocks.table.get(), blocks.table.bytes(), capacity, 1, 0));
  }
  // Takes a port towards destination number `to`; 0 when there is none.
  uint16_t Take(uint8_t to = 1) {
    NewConn wanted{};
    wanted.in = FlowKey{Address("198.18.0.7"), Address("198.18.1.10"), Be16::of(++client),
                        Be16::of(80), kProtoTcp};
    wanted.destination = Addr::v4(Be32::of(0xc6130000u + to));
    wanted.destination_port = Be16::of(8080);
    wanted.local = Address("198.19.9.1");
    wanted.method = kMethodFullnat;
    budget = probes;
    if (!ports.find(table, wanted.local, wanted.destination, wanted.destination_port, kProtoTcp,
                    &budget, &wanted.local_port)) {
      return 0;
    }
    CHECK(table.create(wanted, 1, &last) == CreateError::kNone);
    return wanted.local_port.host();
  }
  rig::Blocks blocks;
  ConnTable table;
  LocalPorts ports;
  uint16_t client = 0;
  uint32_t last = 0;
  uint32_t probes = LocalPorts::kProbes;
  uint32_t budget = 0;
};

TEST(local_ports_workers_share_a_range_without_overlap) {
  for (const uint32_t workers : {1u, 2u, 3u, 4u, 5u, 16u}) {
    uint32_t mask = 1;
    while (mask < workers) mask *= 2;
    std::set<uint16_t> all;
    for (uint32_t worker = 0; worker < workers; worker++) {
      Rig rig(worker, workers);
      rig.ports.set_range(5001, 5064);
      for (uint16_t port; (port = rig.Take()) != 0;) {
        CHECK_EQ(port & (mask - 1), worker);
        CHECK(port >= 5001 && port <= 5064);
        CHECK(all.insert(port).second);
      }
    }
    CHECK_EQ(all.size(), 64 / mask * workers);
  }
}

// What docs/howto-fullnat.md says of one local address and one destination.
TEST(local_ports_of_the_whole_range) {
  const struct {
    uint32_t workers, ports;
  } shares[] = {{1, 60536}, {2, 60536}, {3, 45402}, {4, 60536}, {8, 60536}};
  const Rig rig(0, 1);
  const Addr local = Address("198.19.9.1");
  const Addr destination = Address("198.19.0.1");
  for (const auto& share : shares) {
    std::set<uint16_t> all;
    for (uint32_t worker = 0; worker < share.workers; worker++) {
      LocalPorts ports(worker, share.workers);
      ports.set_range(5000, 65535);
      uint32_t budget = 0x20000;
      Be16 port;
      do {
        REQUIRE(ports.find(rig.table, local, destination, Be16::of(80), kProtoTcp, &budget, &port));
      } while (all.insert(port.host()).second);
    }
    CHECK_EQ(all.size(), share.ports);
  }
}

TEST(local_ports_a_freed_port_comes_last) {
  Rig rig(0, 1);
  rig.ports.set_range(6000, 6009);
  CHECK_EQ(rig.Take(), 6000);
  rig.table.remove(rig.last, true);
  for (uint16_t i = 1; i < 10; i++) CHECK_EQ(rig.Take(), 6000 + i);
  CHECK_EQ(rig.Take(), 6000);
  CHECK_EQ(rig.Take(), 0);
  CHECK_EQ(rig.Take(2), 6000 + 1);  // free towards another destination; the turn goes on
}

// Found by review: an exhausted range cost milliseconds for every SYN of a flood.
TEST(local_ports_probe_no_more_than_their_budget) {
  Rig rig(0, 1, 2048);
  rig.ports.set_range(10000, 11023);
  for (int i = 0; i < 1024; i++) REQUIRE(rig.Take() != 0);
  rig.probes = 32;
  CHECK_EQ(rig.Take(), 0);
  CHECK_EQ(rig.budget, 0);
  CHECK_EQ(rig.Take(2) != 0, true);
}

TEST(local_ports_at_the_end_of_the_range) {
  Rig last(3, 4);
  last.ports.set_range(65533, 65534);
  CHECK_EQ(last.Take(), 0);  // 65535 would be its only one
  last.ports.set_range(65533, 65535);
  CHECK_EQ(last.Take(), 65535);
  CHECK_EQ(last.Take(), 0);
  last.ports.set_range(1025, 1025);
  CHECK_EQ(last.Take(), 0);
}

TEST(local_ports_addresses_take_turns) {
  LocalPorts ports(0, 1);
  std::vector<uint32_t> turns;
  for (int i = 0; i < 6; i++) turns.push_back(ports.next_address(1, 3));
  CHECK_EQ(turns, (std::vector<uint32_t>{0, 1, 2, 0, 1, 2}));
}

// Spec 12.2: what other services' connections take is no turn of this one.
TEST(local_ports_addresses_take_turns_per_service) {
  LocalPorts ports(0, 1);
  std::vector<uint32_t> turns;
  for (int i = 0; i < 4; i++) {
    turns.push_back(ports.next_address(1, 2));
    ports.next_address(2, 2);
  }
  CHECK_EQ(turns, (std::vector<uint32_t>{0, 1, 0, 1}));
}

// As many destinations in turn as local addresses: all pairs occur, about equally often.
TEST(local_ports_turns_are_not_in_step_with_the_schedulers) {
  constexpr uint32_t kSides = 4;
  constexpr uint32_t kConnections = 16000;
  LocalPorts ports(0, 1, 7);
  uint32_t seen[kSides][kSides] = {};
  uint32_t skips = 0;
  uint32_t last = kSides - 1;
  for (uint32_t i = 0; i < kConnections; i++) {
    ports.loosen(0);
    const uint32_t address = ports.next_address(0, kSides);
    if (address != (last + 1) % kSides) skips++;
    last = address;
    seen[i % kSides][address]++;
  }
  CHECK_LE(kConnections * 4 / 100, skips);
  CHECK_LE(skips, kConnections * 6 / 100);
  for (const auto& of_destination : seen) {
    for (const uint32_t times : of_destination) CHECK_LE(kConnections / 16 / 2, times);
  }
}

}  // namespace
}  // namespace uvs
