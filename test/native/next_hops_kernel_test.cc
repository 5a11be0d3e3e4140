// Next hops from the real kernel, in namespaces: resolved, unresolved, failed, moved, rerouted.
#include <net/if.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "check.h"
#include "forward/kernel_next_hops.h"
#include "net_namespace.h"
#include "packet_text.h"

namespace uvs {
namespace {

using test::Address;
using test::Bytes;
using test::FarSide;
using test::InNamespace;
using test::Shell;

constexpr uint16_t kWire = 0;
constexpr uint16_t kHost = 1;
constexpr uint32_t kReadyMax = 8;

// The table under test with a clock that can be set ahead.
struct Table {
  std::unique_ptr<KernelNextHops> hops;
  uint32_t ahead_ms = 0;
  uint32_t given_up = 0;
  std::vector<Bytes> ready;

  explicit Table(uint16_t host_port = kHost) {
    const HopPort ports[] = {{if_nametoindex("near0"), kWire, Link::kEthernet}};
    RtStatus status;
    hops = KernelNextHops::open(ports, host_port, &status);
    CHECK(hops != nullptr && status.ok());
    // Questions 50 ms apart instead of a second, but for longer: a fresh link may lose the first.
    for (const char* family : {"ipv4", "ipv6"}) {
      const std::string settings = std::string("/proc/sys/net/") + family + "/neigh/near0/";
      test::WriteFile(settings + "retrans_time_ms", "50");
      test::WriteFile(settings + "mcast_solicit", "80");
    }
  }

  uint32_t now() const { return test::MonotonicMs() + ahead_ms; }
  const NextHop& find(const std::string& address) {
    return hops->at(hops->find(Address(address), now()));
  }
  bool park(const std::string& address) {
    test::Text text;
    if (address.find(':') != std::string::npos) text.source = "2001:db8:1::1";
    text.destination = address;
    const test::OwnFrame frame(test::Build(text));
    return hops->park(hops->find(Address(address), now()), frame.frame(), now());
  }
  void service() {
    NextHops::Ready out[kReadyMax];
    uint32_t count;
    do {
      count = hops->service(now(), out, kReadyMax);
      for (uint32_t i = 0; i < count; i++) {
        if (out[i].slot == kNoSlot) {
          given_up++;
        } else {
          ready.push_back(test::BytesOf(out[i].frame));
        }
      }
    } while (count == kReadyMax);
  }
  // Serves news until `done`, for five seconds at the most.
  bool wait(const std::function<bool()>& done) {
    const uint32_t start_ms = test::MonotonicMs();
    for (;;) {
      service();
      if (done()) return true;
      if (test::MonotonicMs() - start_ms > 5000) return false;
      pollfd fd{hops->poll_fd(), POLLIN, 0};
      poll(&fd, 1, 20);
    }
  }
};

TEST(unresolved_neighbour_is_asked_for_and_packets_wait) {
  InNamespace([] {
    FarSide far;
    Table table;
    for (const std::string address : {"198.18.0.2", "2001:db8::2"}) {
      table.ready.clear();
      CHECK(table.find(address).state == HopState::kUnresolved);
      for (int i = 0; i < 3; i++) CHECK(table.park(address));
      CHECK(table.wait([&] { return table.ready.size() == 3; }));
      const NextHop& hop = table.find(address);
      CHECK(hop.state == HopState::kReady);
      CHECK_EQ(hop.waiting, 0u);
      CHECK_EQ(hop.mtu, 1500);
      REQUIRE(table.ready.size() == 3);
      const bool six = address.find(':') != std::string::npos;
      const Bytes link =
          test::Hex(six ? "02000000000b 02000000000a 86dd" : "02000000000b 02000000000a 0800");
      CHECK_EQ(test::Part(table.ready[0], 0, 14), link);
      CHECK(table.ready[0][14] >> 4 == (six ? 6 : 4));
    }
    CHECK_EQ(table.given_up, 0u);
    CHECK_EQ(table.hops->parked(), 0u);
  });
}

TEST(known_neighbour_is_ready_at_once) {
  InNamespace([] {
    FarSide far;
    Shell("ip neigh add 198.18.0.2 lladdr 02:00:00:00:00:77 dev near0 nud permanent");
    Table table;
    const NextHop& hop = table.find("198.18.0.2");
    CHECK(hop.state == HopState::kReady);
    CHECK_EQ(hop.link[5], 0x77);
    CHECK(hop.source == Address("198.18.0.1"));
  });
}

TEST(permanent_neighbour_stays_permanent) {
  InNamespace([] {
    FarSide far;
    const auto permanent = [](const char* address) {
      const std::string show = std::string("ip neigh show ") + address + " nud permanent";
      Shell("test -n \"$(" + show + ")\"");
    };
    for (const std::string address : {"198.18.0.2", "2001:db8::2"}) {
      Shell("ip neigh add " + address + " lladdr 02:00:00:00:00:77 dev near0 nud permanent");
    }
    Table table;
    for (const char* address : {"198.18.0.2", "2001:db8::2"}) {
      CHECK(table.find(address).state == HopState::kReady);
      permanent(address);
      // In use for longer than any neighbour is trusted without a new question.
      for (int i = 0; i < 100; i++) {
        table.ahead_ms += 1000;
        table.hops->touch(table.hops->find(Address(address), table.now()), table.now());
        table.service();
      }
      permanent(address);
      CHECK_EQ(table.find(address).link[5], 0x77);
    }
  });
}

TEST(addresses_behind_one_gateway_share_a_slot) {
  InNamespace([] {
    FarSide far;
    Shell("ip route add default via 198.18.0.2");
    Shell("ip route add 198.19.9.0/24 via 198.18.0.2 mtu 1300");
    Shell("ip -6 route add default via fe80::b dev near0");
    Table table;
    const uint16_t one = table.hops->find(Address("198.19.1.1"), table.now());
    CHECK_EQ(table.hops->find(Address("198.19.2.2"), table.now()), one);
    CHECK(table.hops->at(one).gateway == Address("198.18.0.2"));
    const uint16_t narrow = table.hops->find(Address("198.19.9.9"), table.now());
    CHECK_NE(narrow, one);
    CHECK_EQ(table.hops->at(narrow).mtu, 1300);
    CHECK(table.find("2001:db8:77::1").gateway == Address("fe80::b"));
    // One answer makes both ready.
    CHECK(table.park("198.19.1.1"));
    CHECK(table.wait([&] { return table.ready.size() == 1; }));
    CHECK(table.hops->at(narrow).state == HopState::kReady);
  });
}

TEST(silent_neighbour_fails_and_is_asked_again) {
  InNamespace([] {
    FarSide far;
    Table table;
    test::WriteFile("/proc/sys/net/ipv4/neigh/near0/mcast_solicit", "3");
    CHECK(table.park("198.18.0.9"));
    CHECK(table.park("198.18.0.9"));
    const uint16_t slot = table.hops->find(Address("198.18.0.9"), table.now());
    CHECK(table.wait([&] { return table.hops->at(slot).state == HopState::kUnreachable; }));
    CHECK_EQ(table.given_up, 2u);
    CHECK_EQ(table.hops->at(slot).waiting, 0u);
    // It comes up; after a second the next packet asks again.
    test::WriteFile("/proc/sys/net/ipv4/neigh/near0/mcast_solicit", "80");
    far.Run("ip addr add 198.18.0.9/24 dev far0");
    table.service();
    CHECK(table.hops->at(slot).state == HopState::kUnreachable);
    table.ahead_ms += 1100;
    table.service();
    CHECK(table.hops->at(slot).state == HopState::kUnresolved);
    CHECK(table.park("198.18.0.9"));
    CHECK(table.wait([&] { return table.ready.size() == 1; }));
    CHECK(table.hops->at(slot).state == HopState::kReady);
  });
}

TEST(few_packets_wait_and_not_forever) {
  InNamespace([] {
    FarSide far;
    Table table;  // the kernel asks for longer than packets wait
    for (uint32_t i = 0; i < kNeighbourWaitingEach; i++) CHECK(table.park("198.18.0.9"));
    CHECK(!table.park("198.18.0.9"));
    CHECK(table.park("198.18.0.8"));
    table.ahead_ms += kNeighbourWaitMs;
    table.service();
    CHECK_EQ(table.given_up, kNeighbourWaitingEach + 1);
    CHECK_EQ(table.hops->parked(), 0u);
    CHECK(table.park("198.18.0.9"));
  });
}

TEST(moved_neighbour_changes_in_place) {
  InNamespace([] {
    FarSide far;
    Table table;
    CHECK(table.park("198.18.0.2"));
    CHECK(table.wait([&] { return table.ready.size() == 1; }));
    const uint16_t slot = table.hops->find(Address("198.18.0.2"), table.now());
    const uint16_t generation = table.hops->generation();
    Shell("ip neigh replace 198.18.0.2 lladdr 02:00:00:00:00:cc dev near0 nud reachable");
    CHECK(table.wait([&] { return table.hops->at(slot).link[5] == 0xcc; }));
    CHECK(table.hops->at(slot).state == HopState::kReady);
    CHECK_EQ(table.hops->generation(), generation);
  });
}

// Nobody tells: the far side simply has another address. The refresh makes the kernel look.
TEST(silently_moved_neighbour_is_noticed) {
  InNamespace([] {
    FarSide far;
    for (const char* name : {"base_reachable_time_ms", "delay_first_probe_time"}) {
      const bool delay = std::string(name) == "delay_first_probe_time";
      test::WriteFile(std::string("/proc/sys/net/ipv4/neigh/near0/") + name, delay ? "0" : "1000");
    }
    Table table;
    CHECK(table.park("198.18.0.2"));
    CHECK(table.wait([&] { return table.ready.size() == 1; }));
    const uint16_t slot = table.hops->find(Address("198.18.0.2"), table.now());
    far.Run("ip link set far0 address 02:00:00:00:00:dd");
    Shell("ip neigh change 198.18.0.2 lladdr 02:00:00:00:00:0b dev near0 nud stale");
    table.service();
    CHECK_EQ(table.hops->at(slot).link[5], 0x0b);
    table.ahead_ms += 20000;
    table.hops->touch(slot, table.now());
    CHECK(table.wait([&] { return table.hops->at(slot).link[5] == 0xdd; }));
  });
}

TEST(deleted_neighbour_in_use_is_asked_for_again) {
  InNamespace([] {
    FarSide far;
    Table table;
    CHECK(table.park("198.18.0.2"));
    CHECK(table.wait([&] { return table.ready.size() == 1; }));
    const uint16_t slot = table.hops->find(Address("198.18.0.2"), table.now());
    far.Run("ip link set far0 address 02:00:00:00:00:ee");
    Shell("ip neigh del 198.18.0.2 dev near0");
    CHECK(table.wait([&] { return table.hops->at(slot).link[5] == 0xee; }));
    CHECK(table.hops->at(slot).state == HopState::kReady);
  });
}

TEST(routes_that_change_move_the_generation_on) {
  InNamespace([] {
    FarSide far;
    Table table;
    CHECK(table.find("198.19.1.1").state == HopState::kUnreachable);
    const uint16_t before = table.hops->generation();
    Shell("ip route add default via 198.18.0.2");
    CHECK(table.wait([&] { return table.hops->generation() != before; }));
    CHECK(table.find("198.19.1.1").gateway == Address("198.18.0.2"));
    const uint8_t middle = table.hops->generation();
    Shell("ip route del default");
    CHECK(table.wait([&] { return table.hops->generation() != middle; }));
    CHECK(table.find("198.19.1.1").state == HopState::kUnreachable);
  });
}

TEST(link_that_goes_down_or_changes) {
  InNamespace([] {
    FarSide far;
    Shell("ip neigh add 198.18.0.2 lladdr 02:00:00:00:00:0b dev near0 nud permanent");
    Table table;
    CHECK_EQ(table.find("198.18.0.2").mtu, 1500);
    CHECK_EQ(table.hops->link_address(kWire)[5], 0x0a);
    CHECK(table.hops->link_address(kHost) == nullptr);
    uint8_t before = table.hops->generation();
    const uint16_t slot = table.hops->find(Address("198.18.0.2"), table.now());
    Shell("ip link set near0 mtu 1400 address 02:00:00:00:00:5a");
    CHECK(table.wait([&] { return table.hops->generation() != before; }));
    CHECK(table.wait([&] { return table.hops->at(slot).link[11] == 0x5a; }));
    CHECK_EQ(table.hops->link_address(kWire)[5], 0x5a);
    CHECK(table.wait([&] { return table.find("198.18.0.2").mtu == 1400; }));
    before = table.hops->generation();
    Shell("ip link set near0 down");
    CHECK(table.wait([&] { return table.hops->generation() != before; }));
    CHECK(table.find("198.18.0.2").state == HopState::kUnreachable);
  });
}

TEST(local_broadcast_multicast_and_refused) {
  InNamespace([] {
    FarSide far;
    Shell("ip route add blackhole 198.18.8.0/24");
    Table table;
    const NextHop& local = table.find("198.18.0.1");
    CHECK(local.state == HopState::kLocal);
    CHECK_EQ(local.port, kHost);
    CHECK_EQ(local.link_bytes, 0);
    CHECK(table.find("2001:db8::1").state == HopState::kLocal);
    CHECK(table.find("127.0.0.1").state == HopState::kLocal);
    for (const char* address : {"198.18.0.255", "224.0.0.1", "ff02::1", "198.18.8.1", "0.0.0.0"}) {
      CHECK(table.find(address).state != HopState::kReady);
      CHECK(table.find(address).state != HopState::kUnresolved);
    }
    Table without(KernelNextHops::kNoPort);
    CHECK(without.find("198.18.0.1").state == HopState::kUnreachable);
  });
}

TEST(interface_that_is_no_port) {
  InNamespace([] {
    FarSide far;
    Shell("ip link add other0 type veth peer name other1 && ip link set other0 up");
    Shell("ip route add 198.19.0.0/16 dev other0");
    Table table;
    CHECK(table.find("198.19.0.1").state == HopState::kUnreachable);
    CHECK(table.find("198.19.0.2").state == HopState::kUnreachable);
    REQUIRE(table.hops->strays().size() == 1);
    CHECK_EQ(table.hops->strays()[0].ifindex, if_nametoindex("other0"));
    CHECK_EQ(table.hops->strays()[0].addresses, 2u);
  });
}

// TUN I/O: what uvs writes is routed by the kernel, so no neighbour is needed.
TEST(host_port_alone_takes_everything) {
  InNamespace([] {
    FarSide far;
    Shell("ip link set near0 mtu 1420");
    Shell("ip tuntap add uvst0 mode tun && ip link set uvst0 up");
    const HopPort ports[] = {{if_nametoindex("uvst0"), 0, Link::kIp}};
    RtStatus status;
    const auto hops = KernelNextHops::open(ports, 0, &status);
    REQUIRE(hops != nullptr);
    const NextHop& away = hops->at(hops->find(Address("198.18.0.77"), 5));
    CHECK(away.state == HopState::kReady);
    CHECK_EQ(away.link_bytes, 0);
    CHECK_EQ(away.port, 0);
    CHECK_EQ(away.mtu, 1420);
    // No slot for each address of a subnet.
    CHECK_EQ(hops->find(Address("198.18.0.78"), 5), hops->find(Address("198.18.0.77"), 5));
    CHECK(hops->at(hops->find(Address("198.18.0.1"), 5)).state == HopState::kLocal);
    CHECK(hops->at(hops->find(Address("198.19.0.1"), 5)).state == HopState::kUnreachable);
  });
}

// More neighbours than slots: the unused ones go, and connections learn of it.
TEST(slots_are_reclaimed_with_a_new_generation) {
  InNamespace([] {
    FarSide far;
    Shell("ip addr add 198.19.0.1/16 dev near0");
    Table table;
    const uint32_t now = 1000000;
    std::vector<bool> taken(kNextHops);
    for (uint32_t i = 0; i < kNextHops - 1; i++) {
      const uint16_t slot = table.hops->find(Addr::v4(Be32::of(0xc6130100u + i)), now);
      CHECK(slot != 0 && !taken[slot]);
      taken[slot] = true;
    }
    const Addr one_more = Addr::v4(Be32::of(0xc6137000u));
    const uint16_t before = table.hops->generation();
    CHECK_EQ(table.hops->find(one_more, now + 1000), 0);
    CHECK_EQ(table.hops->generation(), before);
    const uint16_t slot = table.hops->find(one_more, now + 70000);
    CHECK_NE(slot, 0);
    CHECK_NE(table.hops->generation(), before);
    CHECK(table.hops->at(slot).gateway == one_more);
  });
}

TEST(missing_port_is_told) {
  InNamespace([] {
    const HopPort ports[] = {{4711, 0, Link::kEthernet}};
    RtStatus status;
    CHECK(KernelNextHops::open(ports, KernelNextHops::kNoPort, &status) == nullptr);
    CHECK(status.code == RtCode::kNotFound);
  });
}

}  // namespace
}  // namespace uvs
