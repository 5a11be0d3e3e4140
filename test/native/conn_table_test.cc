// The connection table: against a slow obvious map under random operations, adoption by a
// successor, full tables, and the timer wheel against a sorted list.
#include "conn/conn_table.h"

#include <algorithm>
#include <cstdlib>
#include <map>
#include <random>
#include <set>
#include <vector>

#include "check.h"

namespace uvs {
namespace {

using Key = std::vector<uint8_t>;

// Zeroed memory on a cache line, as a SharedArrayBuffer is.
struct Block {
  explicit Block(uint32_t connections)
      : bytes(ConnTable::bytes_needed(connections)),
        memory(static_cast<uint8_t*>(std::aligned_alloc(64, bytes))) {
    std::memset(memory, 0, bytes);
  }
  ~Block() { std::free(memory); }
  Block(const Block&) = delete;
  Block& operator=(const Block&) = delete;
  size_t bytes;
  uint8_t* memory;
};

Key key_bytes(const FlowKey& k) {
  Key out(k.source.bytes, k.source.bytes + 16);
  out.insert(out.end(), k.destination.bytes, k.destination.bytes + 16);
  const uint16_t ports[2] = {k.source_port.raw, k.destination_port.raw};
  out.insert(out.end(), reinterpret_cast<const uint8_t*>(ports),
             reinterpret_cast<const uint8_t*>(ports) + 4);
  out.push_back(k.protocol);
  return out;
}

Addr v4(uint32_t host) { return Addr::v4(Be32::of(host)); }

Addr v6(uint8_t last) {
  const uint8_t bytes[16] = {0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last};
  return Addr::v6(bytes);
}

NewConn make(uint32_t client, uint16_t port, uint8_t method, uint32_t destination) {
  NewConn n{};
  n.in = FlowKey{v4(0xc6120000 + client), v4(0xc6130001), Be16::of(port), Be16::of(80), kProtoTcp};
  n.destination = v4(0xc6130100 + destination);
  n.destination_port = Be16::of(8080);
  n.local = v4(0xc6130200);
  n.local_port = Be16::of(port);
  n.destination_slot = static_cast<uint16_t>(destination);
  n.method = method;
  return n;
}

TEST(addresses_of_one_network_are_not_in_one_chain) {
  for (const bool four : {true, false}) {
    std::set<uint32_t> buckets;
    for (uint32_t i = 0; i < 256; i++) {
      const uint8_t six[16] = {0x20, 0x01, 0x0d, 0xb8, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, uint8_t(i)};
      buckets.insert(AddressTable::bucket_of(four ? v4(0xc6120100 + i) : Addr::v6(six)));
    }
    CHECK(buckets.size() > 240);  // 254 on average, were they drawn at random
  }
}

TEST(sizes_hold_the_promises) {
  // Table, index, addresses and timers together: the figures of README and bench.
  const double all = static_cast<double>(ConnTable::bytes_needed(1 << 20)) / (1 << 20);
  const double per_conn = all - sizeof(ConnExtra);  // untouched by most
  CHECK(per_conn <= 96.0);
}

// A product with one factor 0 is 0: no address may make one without knowing the seed. These did.
TEST(no_chosen_addresses_share_a_hash) {
  for (const uint64_t seed : {uint64_t{1}, uint64_t{0x123456789abcdef}, ~uint64_t{0}}) {
    const Block block(64);
    ConnTable table;
    REQUIRE(table.attach(block.memory, block.bytes, 64, seed, 0));
    std::set<uint64_t> sources;
    std::set<uint64_t> destinations;
    for (uint32_t i = 0; i < 10'000; i++) {
      uint8_t source[16] = {0x2f, 0x64, 0xbd, 0x78, 0x64, 0x1d, 0x76, 0xa0};
      std::memcpy(source + 12, &i, 4);
      uint8_t client[16] = {0x20, 0x01, 0x0d, 0xb8, 0,    0,    0,    0,
                            0xdb, 0x28, 0xb4, 0xa0, 0xd1, 0x7e, 0x03, 0xe7};
      std::memcpy(client + 4, &i, 4);
      const Be16 port = Be16::of(40000);
      sources.insert(table.hash({Addr::v6(source), v6(1), port, port, kProtoTcp}));
      destinations.insert(table.hash({v6(1), Addr::v6(client), port, port, kProtoTcp}));
    }
    CHECK_EQ(sources.size(), 10'000);
    CHECK_EQ(destinations.size(), 10'000);
  }
}

TEST(random_operations_match_a_map) {
  constexpr uint32_t kMax = 600;
  Block block(kMax);
  ConnTable table;
  REQUIRE(table.attach(block.memory, block.bytes, kMax, 0x1234, 100));
  std::mt19937 random(7);
  std::map<Key, uint32_t> model;  // packet key -> entry
  std::map<uint32_t, NewConn> live;
  const uint8_t methods[] = {kMethodMasquerade, kMethodDirect, kMethodTunnel, kMethodFullnat};
  for (int step = 0; step < 60000; step++) {
    const NewConn wanted = make(random() % 40, static_cast<uint16_t>(1000 + random() % 40),
                                methods[random() % 4], random() % 5);
    const uint32_t found = table.find(wanted.in, table.hash(wanted.in));
    const auto expected = model.find(key_bytes(wanted.in));
    CHECK_EQ(found, expected == model.end() ? kNoEntry : expected->second);
    if (random() % 2 == 0 && found == kNoEntry) {
      uint32_t id = kNoConn;
      const CreateError error = table.create(wanted, 100 + random() % 3000, &id);
      CHECK_EQ(error == CreateError::kTableFull, live.size() == kMax);
      if (error != CreateError::kNone) continue;
      const FlowKey out = table.out_key(table.at(id));
      if (has_reply_key(wanted.method) && model.count(key_bytes(out)) != 0) {
        table.remove(id, true);  // the model holds one entry a key; the table would hold both
        continue;
      }
      model[key_bytes(wanted.in)] = id << 1;
      if (has_reply_key(wanted.method)) model[key_bytes(out)] = (id << 1) | 1;
      live[id] = wanted;
    } else if (found != kNoEntry && random() % 3 == 0) {
      const uint32_t id = found >> 1;
      const FlowKey out = table.out_key(table.at(id));
      const bool replies = has_reply_key(table.at(id).method);
      table.remove(id, true);
      model.erase(key_bytes(wanted.in));
      if (replies) model.erase(key_bytes(out));
      live.erase(id);
    }
    CHECK_EQ(table.size(), static_cast<uint32_t>(live.size()));
  }
  for (const auto& [id, wanted] : live) {
    CHECK(table.at(id).client == wanted.in.source);
    CHECK(table.address(table.at(id).destination_index) == wanted.destination);
    table.remove(id, true);
  }
  CHECK_EQ(table.size(), 0u);
}

TEST(reply_keys_find_their_connection_in_both_families) {
  Block block(8);
  ConnTable table;
  REQUIRE(table.attach(block.memory, block.bytes, 8, 1, 0));
  NewConn n{};
  n.in = FlowKey{v6(1), v6(2), Be16::of(4000), Be16::of(80), kProtoUdp};
  n.destination = v6(3);
  n.destination_port = Be16::of(8080);
  n.local = v6(4);
  n.local_port = Be16::of(5000);
  n.method = kMethodFullnat;
  uint32_t id;
  REQUIRE(table.create(n, 10, &id) == CreateError::kNone);
  const FlowKey reply{v6(3), v6(4), Be16::of(8080), Be16::of(5000), kProtoUdp};
  CHECK_EQ(table.find(reply, table.hash(reply)), (id << 1) | 1);
  FlowKey other = reply;
  other.protocol = kProtoTcp;
  CHECK_EQ(table.find(other, table.hash(other)), kNoEntry);
  // A one-way method has no reply key.
  n.in.source_port = Be16::of(4001);
  n.method = kMethodDirect;
  REQUIRE(table.create(n, 10, &id) == CreateError::kNone);
  const FlowKey none{v6(3), v6(1), Be16::of(8080), Be16::of(4001), kProtoUdp};
  CHECK_EQ(table.find(none, table.hash(none)), kNoEntry);
}

// Found by review: replies of a reused client port carried the port of the older service.
TEST(replies_belong_to_the_newer_of_two_connections) {
  Block block(8);
  ConnTable table;
  REQUIRE(table.attach(block.memory, block.bytes, 8, 1, 0));
  NewConn n = make(1, 4000, kMethodMasquerade, 0);
  uint32_t older;
  REQUIRE(table.create(n, 10, &older) == CreateError::kNone);
  n.in.destination_port = Be16::of(81);
  uint32_t newer;
  REQUIRE(table.create(n, 10, &newer) == CreateError::kNone);
  const FlowKey reply = table.out_key(table.at(newer));
  CHECK_EQ(table.find(reply, table.hash(reply)), (newer << 1) | 1);
  table.remove(older, true);
  CHECK_EQ(table.find(reply, table.hash(reply)), (newer << 1) | 1);
  table.remove(newer, true);
  CHECK_EQ(table.find(reply, table.hash(reply)), kNoEntry);
  CHECK_EQ(table.find(reply, table.hash(reply)), kNoEntry);
}

// Three connections with one reply key, ended in every order: the newest that is left has it.
TEST(a_reply_key_goes_back_to_the_one_before) {
  std::vector<size_t> order = {0, 1, 2};
  do {
    Block block(16);
    ConnTable table;
    REQUIRE(table.attach(block.memory, block.bytes, 16, 7, 0));
    std::vector<uint32_t> ids(3);
    NewConn n = make(1, 40000, kMethodMasquerade, 1);
    for (uint16_t i = 0; i < 3; i++) {
      n.in.destination_port = Be16::of(static_cast<uint16_t>(80 + i));
      REQUIRE(table.create(n, 10, &ids[i]) == CreateError::kNone);
    }
    const FlowKey reply = table.out_key(table.at(ids[0]));
    std::vector<bool> left(3, true);
    for (const size_t next : order) {
      table.remove(ids[next], true);
      left[next] = false;
      uint32_t expected = kNoEntry;
      for (size_t i = 0; i < 3; i++) {
        if (left[i]) expected = ids[i] << 1 | 1;
      }
      CHECK_EQ(table.find(reply, table.hash(reply)), expected);
    }
  } while (std::next_permutation(order.begin(), order.end()));
}

TEST(a_request_key_goes_back_to_the_one_before) {
  Block block(16);
  ConnTable table;
  REQUIRE(table.attach(block.memory, block.bytes, 16, 7, 0));
  const NewConn n = make(1, 40000, kMethodMasquerade, 1);
  uint32_t older;
  REQUIRE(table.create(n, 10, &older) == CreateError::kNone);
  uint32_t newer;
  REQUIRE(table.create(make(1, 40000, kMethodMasquerade, 2), 10, &newer) == CreateError::kNone);
  table.take_request_key(newer);
  CHECK_EQ(table.find(n.in, table.hash(n.in)), newer << 1);
  table.hide(newer);
  CHECK_EQ(table.find(n.in, table.hash(n.in)), older << 1);
  table.remove(newer, true);
  CHECK_EQ(table.find(n.in, table.hash(n.in)), older << 1);
  table.remove(older, true);
  CHECK_EQ(table.find(n.in, table.hash(n.in)), kNoEntry);
}

TEST(a_one_packet_connection_has_no_key) {
  Block block(16);
  ConnTable table;
  REQUIRE(table.attach(block.memory, block.bytes, 16, 7, 0));
  NewConn n = make(1, 40000, kMethodMasquerade, 1);
  uint32_t lasting;
  REQUIRE(table.create(n, 10, &lasting) == CreateError::kNone);
  const FlowKey reply = table.out_key(table.at(lasting));
  n.in.destination_port = Be16::of(53);
  n.flags = kConnOnePacket;
  uint32_t passing;
  REQUIRE(table.create(n, 10, &passing) == CreateError::kNone);
  CHECK_EQ(table.find(n.in, table.hash(n.in)), kNoEntry);
  CHECK_EQ(table.find(reply, table.hash(reply)), lasting << 1 | 1);
  table.take_request_key(passing);
  table.remove(passing, true);
  CHECK_EQ(table.find(reply, table.hash(reply)), lasting << 1 | 1);
}

TEST(a_successor_adopts_the_table) {
  Block block(100);
  std::vector<FlowKey> keys;
  {
    ConnTable table;
    REQUIRE(table.attach(block.memory, block.bytes, 100, 99, 5));
    for (uint16_t i = 0; i < 50; i++) {
      uint32_t id;
      const NewConn n = make(i, 2000, kMethodMasquerade, i % 3);
      REQUIRE(table.create(n, 5 + i, &id) == CreateError::kNone);
      keys.push_back(n.in);
    }
  }
  ConnTable successor;
  CHECK(!successor.attach(block.memory, block.bytes, 99, 0, 5));
  REQUIRE(successor.attach(block.memory, block.bytes, 100, 12345, 900));
  CHECK_EQ(successor.size(), 50u);
  for (const FlowKey& key : keys) {
    CHECK(successor.find(key, successor.hash(key)) != kNoEntry);
  }
  uint32_t budget = 100000, due = 0;
  while (successor.wheel().next_due(20, &budget) != kNoConn) due++;
  CHECK_EQ(due, 16u);  // due ticks 5..20, of which 5 was already due at the start
}

TEST(full_table_refuses_and_keeps) {
  Block block(3);
  ConnTable table;
  REQUIRE(table.attach(block.memory, block.bytes, 3, 1, 0));
  uint32_t id;
  for (uint16_t i = 0; i < 3; i++) {
    CHECK(table.create(make(i, 1, kMethodFullnat, 0), 1, &id) == CreateError::kNone);
  }
  CHECK(table.create(make(9, 1, kMethodFullnat, 0), 1, &id) == CreateError::kTableFull);
  table.remove(0, true);
  CHECK(table.create(make(9, 1, kMethodFullnat, 0), 1, &id) == CreateError::kNone);
  CHECK_EQ(table.size(), 3u);
}

TEST(address_table_counts_references) {
  Block block(kAddressEntries + 10);
  ConnTable table;
  REQUIRE(table.attach(block.memory, block.bytes, kAddressEntries + 10, 1, 0));
  // Every connection brings a new virtual address; one entry is the shared destination's.
  std::vector<uint32_t> ids;
  uint32_t id;
  CreateError error = CreateError::kNone;
  for (uint32_t i = 0; i < kAddressEntries + 1; i++) {
    NewConn n = make(1, 1, kMethodDirect, 0);
    n.in.destination = v4(0x0a000000 + i);
    error = table.create(n, 1, &id);
    if (error != CreateError::kNone) break;
    ids.push_back(id);
  }
  CHECK(error == CreateError::kAddressTableFull);
  CHECK_EQ(ids.size(), size_t{kAddressEntries - 1});
  for (const uint32_t each : ids) table.remove(each, true);
  NewConn n = make(1, 1, kMethodDirect, 0);
  n.in.destination = v4(0x0b000000);
  CHECK(table.create(n, 1, &id) == CreateError::kNone);
}

TEST(a_table_says_which_addresses_it_names) {
  Block block(4);
  ConnTable table;
  const auto names = [&](uint32_t address) {
    return ConnTable::names(block.memory, block.bytes, 4, v4(address));
  };
  CHECK(!names(0x0a000001));
  REQUIRE(table.attach(block.memory, block.bytes, 4, 1, 0));
  CHECK(!names(0x0a000001));
  uint32_t ids[2];
  for (uint32_t& id : ids) {
    NewConn n = make(&id - ids, 1, kMethodFullnat, 0);
    n.local = v4(0x0a000001);
    REQUIRE(table.create(n, 1, &id) == CreateError::kNone);
  }
  CHECK(names(0x0a000001));
  CHECK(!names(0x0a000002));
  table.remove(ids[0], true);
  CHECK(names(0x0a000001));
  table.remove(ids[1], true);
  CHECK(!names(0x0a000001));
  CHECK(!ConnTable::names(block.memory, block.bytes - 1, 4, v4(0x0a000001)));
}

TEST(wheel_expires_like_a_sorted_list) {
  constexpr uint32_t kMax = 300;
  Block block(kMax);
  ConnTable table;
  uint32_t now = 0xfffffe00u;  // the tick counter wraps during the test
  REQUIRE(table.attach(block.memory, block.bytes, kMax, 3, now));
  std::mt19937 random(11);
  std::map<uint32_t, uint32_t> due;  // id -> tick
  for (int step = 0; step < 30000; step++) {
    const uint32_t dice = random() % 10;
    if (dice < 4 && due.size() < kMax) {
      uint32_t id;
      const uint32_t when = now + 1 + random() % (random() % 5 == 0 ? 20000 : 300);
      if (table.create(make(static_cast<uint32_t>(step), 1, kMethodDirect, 0), when, &id) ==
          CreateError::kNone) {
        due[id] = when;
      }
    } else if (dice < 7 && !due.empty()) {
      auto it = due.begin();
      std::advance(it, random() % due.size());
      it->second = now + 1 + random() % 2000;
      table.wheel().refresh(it->first, it->second);
    } else {
      now += random() % 40;
      uint32_t budget = 1000000;
      for (uint32_t id; (id = table.wheel().next_due(now, &budget)) != kNoConn;) {
        REQUIRE(due.count(id) == 1);
        CHECK(static_cast<int32_t>(due[id] - now) <= 0);
        due.erase(id);
        table.remove(id, false);
      }
      for (const auto& [id, when] : due) CHECK(static_cast<int32_t>(when - now) > 0);
    }
  }
  CHECK(!due.empty());
}

TEST(wheel_keeps_its_budget) {
  Block block(1000);
  ConnTable table;
  REQUIRE(table.attach(block.memory, block.bytes, 1000, 3, 0));
  for (uint32_t i = 0; i < 1000; i++) {
    uint32_t id;
    REQUIRE(table.create(make(i, 1, kMethodDirect, 0), 4, &id) == CreateError::kNone);
  }
  uint32_t ended = 0;
  for (int poll = 0; poll < 1000 && ended < 1000; poll++) {
    uint32_t budget = 64;
    uint32_t here = 0;
    for (uint32_t id; (id = table.wheel().next_due(10, &budget)) != kNoConn; here++) {
      table.remove(id, false);
    }
    CHECK(here <= 64);
    ended += here;
  }
  CHECK_EQ(ended, 1000u);
}

}  // namespace
}  // namespace uvs
