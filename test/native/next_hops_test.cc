// The pieces of the next-hop table that need no kernel: fixed hops, route cache, parked packets.
#include <map>
#include <memory>
#include <vector>

#include "check.h"
#include "forward/parked_packets.h"
#include "forward/route_cache.h"
#include "forward/static_next_hops.h"
#include "packet_text.h"

namespace uvs {
namespace {

using test::Address;
using test::Bytes;
using test::BytesOf;
using test::OwnFrame;

TEST(static_hops_by_port_and_family) {
  StaticNextHops hops(2);
  const uint16_t four = hops.find(Address("198.18.1.3"), 0);
  const uint16_t six = hops.find(Address("2001:db8::3"), 0);
  CHECK_EQ(hops.at(four).port, 1);
  CHECK_EQ(hops.at(six).port, 1);
  CHECK_NE(four, six);
  CHECK(hops.at(four).state == HopState::kReady && hops.at(four).link_bytes == 14);
  CHECK(hops.at(four).source == Address("198.18.255.2"));
  CHECK(hops.at(six).source == Address("2001:db8:ffff::2"));
  CHECK_EQ(hops.at(hops.find(Address("198.18.1.4"), 0)).port, 0);
  REQUIRE(hops.link_address(1) != nullptr);
  CHECK_EQ(hops.link_address(1)[5], 1);
  CHECK(hops.link_address(2) == nullptr);
}

TEST(static_hops_given) {
  NextHop given[2] = {};
  given[1].port = 3;
  StaticNextHops hops(given);
  hops.lead(Address("198.18.0.9"), 1);
  CHECK_EQ(hops.find(Address("198.18.0.8"), 0), 0);
  CHECK_EQ(hops.find(Address("198.18.0.9"), 0), 1);
  const uint8_t before = hops.generation();
  hops.change_routes();
  CHECK_NE(hops.generation(), before);
  CHECK_EQ(hops.service(0, nullptr, 0), 0u);
}

Addr Numbered(uint32_t n) { return Addr::v4(Be32::of(0xc6120000u + n)); }

TEST(route_cache_against_a_map) {
  RouteCache cache;
  std::map<uint32_t, uint16_t> truth;
  test::Random random(3);
  uint32_t known = 0;
  for (int i = 0; i < 200000; i++) {
    const auto n = static_cast<uint32_t>(random.Below(20000));
    if (random.Below(50000) == 0) {
      cache.clear();
      truth.clear();
    }
    const uint16_t slot = cache.find(Numbered(n));
    if (slot != kNoSlot) {
      REQUIRE(truth.count(n) == 1 && truth[n] == slot);
      known++;
    }
    truth[n] = static_cast<uint16_t>(random.Below(4096));
    cache.put(Numbered(n), truth[n]);
    CHECK_EQ(cache.find(Numbered(n)), truth[n]);
  }
  // 20 000 addresses in 32 768 entries: forgetting must stay the exception.
  CHECK_GT(known, 120000u);
}

TEST(parked_in_order_of_each_hop) {
  ParkedPackets parked;
  for (uint8_t i = 0; i < 6; i++) {
    OwnFrame one(Bytes{i, 1, 2, 3});
    CHECK(parked.put(i % 2, one.frame(), 100));
  }
  std::vector<int> lent;
  parked.lend([](uint16_t slot) { return slot == 1; },
              [&](uint16_t, const Frame& frame) {
                lent.push_back(frame.data[0]);
                CHECK_EQ(frame.headroom, kHeadroom);
                return true;
              });
  CHECK_EQ(lent, (std::vector<int>{1, 3, 5}));
  CHECK_EQ(parked.size(), 3u);
  parked.give_up(0);
  lent.clear();
  parked.lend([](uint16_t slot) { return slot == kNoSlot; },
              [&](uint16_t, const Frame& frame) {
                lent.push_back(frame.data[0]);
                return true;
              });
  CHECK_EQ(lent, (std::vector<int>{0, 2, 4}));
  CHECK_EQ(parked.size(), 0u);
  parked.free_lent();
}

TEST(parked_keeps_bytes_and_offload) {
  ParkedPackets parked;
  Bytes large(60000, 0x45);
  large[59999] = 7;
  VnetHdr vnet;
  vnet.gso_type = kVnetGsoTcp4;
  vnet.gso_size = 1448;
  OwnFrame frame(large, vnet);
  REQUIRE(parked.put(1, frame.frame(), 0));
  Bytes got;
  VnetHdr got_vnet;
  parked.lend([](uint16_t) { return true; },
              [&](uint16_t, const Frame& one) {
                got = BytesOf(one);
                got_vnet = one.vnet;
                return true;
              });
  CHECK(got == large);
  CHECK_EQ(got_vnet.gso_size, 1448);
}

TEST(parked_is_bounded_and_gives_memory_back) {
  ParkedPackets parked;
  OwnFrame large(Bytes(9000, 1));
  OwnFrame small(Bytes(100, 2));
  OwnFrame beyond(Bytes(70000, 3));
  CHECK(!parked.put(1, beyond.frame(), 0));
  for (int round = 0; round < 50; round++) {
    uint32_t larges = 0;
    while (parked.put(1, large.frame(), 0)) larges++;
    CHECK_EQ(larges, 16u);
    uint32_t smalls = 0;
    while (parked.put(2, small.frame(), 0)) smalls++;
    CHECK_EQ(larges + smalls, kNeighbourWaiting);
    // Lent memory is not used again before it is given back.
    uint32_t lent = 0;
    parked.lend([](uint16_t) { return true; },
                [&](uint16_t, const Frame&) { return ++lent <= kNeighbourWaiting; });
    CHECK_EQ(lent, kNeighbourWaiting);
    CHECK(!parked.put(2, small.frame(), 0));
    parked.free_lent();
  }
}

TEST(parked_grows_old) {
  ParkedPackets parked;
  OwnFrame one(Bytes(100, 2));
  const uint32_t start_ms = 0xfffffff0u;  // the clock comes round meanwhile
  parked.put(1, one.frame(), start_ms);
  parked.put(2, one.frame(), start_ms + 100);
  std::vector<int> gone;
  const auto note = [&](uint16_t slot) { gone.push_back(slot); };
  parked.give_up_old(start_ms + kNeighbourWaitMs - 1, note);
  CHECK_EQ(gone, std::vector<int>{});
  parked.give_up_old(start_ms + kNeighbourWaitMs, note);
  CHECK_EQ(gone, (std::vector<int>{1}));
  parked.give_up_old(start_ms + kNeighbourWaitMs + 100, note);
  CHECK_EQ(gone, (std::vector<int>{1, 2}));
  uint32_t lent = 0;
  parked.lend([](uint16_t slot) { return slot == kNoSlot; },
              [&](uint16_t, const Frame&) { return ++lent != 0; });
  CHECK_EQ(lent, 2u);
}

}  // namespace
}  // namespace uvs
