// The netlink client: messages taken apart (whole, cut short, damaged), and the real kernel asked.
#include "io/rtnetlink.h"

#include <linux/if_arp.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>

#include <cstring>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "check.h"
#include "net_namespace.h"
#include "packet_text.h"

namespace uvs {
namespace {

using test::Address;
using test::Bytes;

template <typename T>
void Append(Bytes& to, const T& value) {
  const auto* at = reinterpret_cast<const uint8_t*>(&value);
  to.insert(to.end(), at, at + sizeof value);
}

void Attribute(Bytes& to, uint16_t type, const Bytes& value) {
  Append(to, rtattr{static_cast<uint16_t>(4 + value.size()), type});
  test::PutAll(to, value);
  to.resize((to.size() + 3) & ~size_t{3});
}

Bytes Number(uint32_t value) {
  Bytes out;
  Append(out, value);
  return out;
}

template <typename Fixed>
Bytes Message(uint16_t type, const Fixed& fixed, const Bytes& attributes) {
  Bytes out;
  const auto bytes = static_cast<uint32_t>(sizeof(nlmsghdr) + sizeof fixed + attributes.size());
  Append(out, nlmsghdr{bytes, type, 0, 7, 0});
  Append(out, fixed);
  test::PutAll(out, attributes);
  return out;
}

Bytes RouteMessage() {
  Bytes metrics;
  Attribute(metrics, RTAX_MTU, Number(1400));
  Bytes attributes;
  Attribute(attributes, RTA_OIF, Number(5));
  Attribute(attributes, RTA_GATEWAY, test::AddressBytes("198.18.0.254"));
  Attribute(attributes, RTA_PREFSRC, test::AddressBytes("198.18.0.1"));
  Attribute(attributes, RTA_METRICS | NLA_F_NESTED, metrics);
  rtmsg fixed{};
  fixed.rtm_family = AF_INET;
  fixed.rtm_type = RTN_UNICAST;
  return Message(RTM_NEWROUTE, fixed, attributes);
}

TEST(route_message) {
  const Bytes bytes = RouteMessage();
  RtWalk walk(bytes.data(), bytes.size());
  REQUIRE(walk.next());
  RouteInfo route;
  REQUIRE(parse_route(walk.message(), &route));
  CHECK(route.type == RouteType::kUnicast);
  CHECK_EQ(route.ifindex, 5u);
  CHECK(route.has_gateway && route.gateway == Address("198.18.0.254"));
  CHECK(route.has_source && route.source == Address("198.18.0.1"));
  CHECK_EQ(route.mtu, 1400u);
  CHECK(!walk.next());
  CHECK(!walk.malformed());
}

TEST(gateway_of_the_other_family) {
  Bytes via;
  Append(via, static_cast<uint16_t>(AF_INET6));
  test::PutAll(via, test::AddressBytes("fe80::1"));
  Bytes attributes;
  Attribute(attributes, RTA_VIA, via);
  rtmsg fixed{};
  fixed.rtm_family = AF_INET;
  fixed.rtm_type = RTN_UNICAST;
  const Bytes bytes = Message(RTM_NEWROUTE, fixed, attributes);
  RtWalk walk(bytes.data(), bytes.size());
  REQUIRE(walk.next());
  RouteInfo route;
  REQUIRE(parse_route(walk.message(), &route));
  CHECK(route.has_gateway && route.gateway == Address("fe80::1"));
}

TEST(tunnel_links) {
  const struct {
    uint16_t type;
    bool wanted;
  } cases[] =
      {
          {ARPHRD_TUNNEL, true},    {ARPHRD_TUNNEL6, true}, {ARPHRD_SIT, true},
          {ARPHRD_IPGRE, true},     {ARPHRD_IP6GRE, true},  {ARPHRD_ETHER, false},
          {ARPHRD_NONE, false},  // TUN: what comes out of it was not inside anything
          {ARPHRD_LOOPBACK, false},
      };
  for (const auto& one : cases) {
    Bytes attributes;
    Attribute(attributes, IFLA_IFNAME, Bytes{'g', 'r', 'e', '1', 0});
    Attribute(attributes, IFLA_MTU, Number(1476));
    ifinfomsg fixed{};
    fixed.ifi_type = one.type;
    fixed.ifi_index = 4;
    const Bytes bytes = Message(RTM_NEWLINK, fixed, attributes);
    RtWalk walk(bytes.data(), bytes.size());
    REQUIRE(walk.next());
    LinkInfo link;
    REQUIRE(parse_link(walk.message(), &link));
    CHECK_EQ(link.tunnel, one.wanted);
    CHECK_EQ(std::string(link.name), "gre1");
    CHECK(link.mtu == 1476 && link.ifindex == 4 && !link.up);
  }
}

TEST(neighbour_states) {
  struct {
    uint16_t state;
    NeighbourState wanted;
  } const cases[] = {
      {NUD_NONE, NeighbourState::kResolving},   {NUD_INCOMPLETE, NeighbourState::kResolving},
      {NUD_REACHABLE, NeighbourState::kUsable}, {NUD_STALE, NeighbourState::kUsable},
      {NUD_DELAY, NeighbourState::kUsable},     {NUD_PROBE, NeighbourState::kUsable},
      {NUD_PERMANENT, NeighbourState::kUsable}, {NUD_NOARP, NeighbourState::kUsable},
      {NUD_FAILED, NeighbourState::kFailed},
  };
  for (const auto& one : cases) {
    Bytes attributes;
    Attribute(attributes, NDA_DST, test::AddressBytes("2001:db8::2"));
    Attribute(attributes, NDA_LLADDR, test::Hex("020000000002"));
    ndmsg fixed{};
    fixed.ndm_family = AF_INET6;
    fixed.ndm_ifindex = 3;
    fixed.ndm_state = one.state;
    const Bytes bytes = Message(RTM_NEWNEIGH, fixed, attributes);
    RtWalk walk(bytes.data(), bytes.size());
    REQUIRE(walk.next());
    NeighbourInfo neighbour;
    REQUIRE(parse_neighbour(walk.message(), &neighbour));
    CHECK(neighbour.state == one.wanted);
    CHECK(neighbour.has_link && neighbour.address == Address("2001:db8::2"));
    CHECK_EQ(neighbour.ifindex, 3u);
  }
}

TEST(other_families_and_kinds_are_refused) {
  ndmsg bridge{};
  bridge.ndm_family = AF_BRIDGE;
  const Bytes bytes = Message(RTM_NEWNEIGH, bridge, {});
  RtWalk walk(bytes.data(), bytes.size());
  REQUIRE(walk.next());
  NeighbourInfo neighbour;
  RouteInfo route;
  LinkInfo link;
  AddressInfo address;
  int error;
  CHECK(!parse_neighbour(walk.message(), &neighbour));
  CHECK(!parse_route(walk.message(), &route));
  CHECK(!parse_link(walk.message(), &link));
  CHECK(!parse_address(walk.message(), &address));
  CHECK(!parse_error(walk.message(), &error));
}

// The sanitizer sees a read behind the copy, which ends where the cut is.
TEST(cut_at_every_byte) {
  const Bytes whole = RouteMessage();
  for (size_t bytes = 0; bytes < whole.size(); bytes++) {
    const std::unique_ptr<uint8_t[]> copy(new uint8_t[bytes]);
    std::copy_n(whole.begin(), bytes, copy.get());
    RtWalk walk(copy.get(), bytes);
    CHECK(!walk.next());
    CHECK_EQ(walk.malformed(), bytes != 0);
    // The same with a header that tells the truth about the cut.
    if (bytes < sizeof(nlmsghdr)) continue;
    const auto length = static_cast<uint32_t>(bytes);
    std::memcpy(copy.get(), &length, 4);
    RtWalk honest(copy.get(), bytes);
    REQUIRE(honest.next());
    RouteInfo route;
    CHECK_EQ(parse_route(honest.message(), &route), bytes >= sizeof(nlmsghdr) + sizeof(rtmsg));
  }
}

TEST(random_damage) {
  test::Random random(11);
  for (int round = 0; round < 20000; round++) {
    Bytes bytes = RouteMessage();
    for (int i = 0; i < 4; i++) {
      bytes[random.Below(bytes.size())] = static_cast<uint8_t>(random.Next());
    }
    const std::unique_ptr<uint8_t[]> copy(new uint8_t[bytes.size()]);
    std::copy(bytes.begin(), bytes.end(), copy.get());
    RtWalk walk(copy.get(), bytes.size());
    for (int messages = 0; walk.next(); messages++) {
      REQUIRE(messages < 100);
      RouteInfo route;
      LinkInfo link;
      NeighbourInfo neighbour;
      AddressInfo address;
      parse_route(walk.message(), &route);
      parse_link(walk.message(), &link);
      parse_neighbour(walk.message(), &neighbour);
      parse_address(walk.message(), &address);
    }
  }
}

struct Seen {
  std::vector<LinkInfo> links;
  std::vector<AddressInfo> addresses;
  std::vector<NeighbourInfo> neighbours;
};

TEST(links_and_addresses_of_the_kernel) {
  test::InNamespace([] {
    test::FarSide far;
    const auto socket = std::make_unique<RtSocket>();
    REQUIRE(socket->open_requests().ok());
    Seen seen;
    CHECK(
        socket
            ->links([](void* at, const LinkInfo& l) { static_cast<Seen*>(at)->links.push_back(l); },
                    &seen)
            .ok());
    const LinkInfo* a = nullptr;
    bool loopback = false;
    for (const LinkInfo& link : seen.links) {
      if (std::string(link.name) == "near0") a = &link;
      loopback = loopback || (link.loopback && !link.ethernet);
    }
    CHECK(loopback);
    REQUIRE(a != nullptr);
    CHECK(a->ethernet && a->up && a->mtu == 1500 && a->address[5] == 0x0a);
    CHECK(socket
              ->addresses(
                  [](void* at, const AddressInfo& one) {
                    static_cast<Seen*>(at)->addresses.push_back(one);
                  },
                  &seen)
              .ok());
    int found = 0;
    for (const AddressInfo& one : seen.addresses) {
      if (one.ifindex != a->ifindex) continue;
      if (one.address == Address("198.18.0.1") && one.prefix_bits == 24) found++;
      if (one.address == Address("2001:db8::1") && one.prefix_bits == 64) found++;
    }
    CHECK_EQ(found, 2);
    LinkInfo one;
    CHECK(socket->link(a->ifindex, &one).ok());
    CHECK_EQ(std::string(one.name), "near0");
    CHECK(socket->link(4711, &one).code == RtCode::kNotFound);
  });
}

struct Interrupting {
  std::set<Bytes> addresses;
  bool change;  // at the next address
};

TEST(a_list_that_changes_while_it_is_read_is_told_apart) {
  test::InNamespace([] {
    test::FarSide far;
    // More than the kernel prepares before the first of them is read.
    test::Shell(
        "for i in $(seq 0 9); do for j in $(seq 0 199); do "
        "echo address add 198.19.$i.$j/32 dev near0; done; done | ip -batch -");
    const auto socket = std::make_unique<RtSocket>();
    REQUIRE(socket->open_requests().ok());
    const auto visit = [](void* at, const AddressInfo& one) {
      auto* seen = static_cast<Interrupting*>(at);
      seen->addresses.insert(Bytes(one.address.bytes, one.address.bytes + 16));
      if (!seen->change) return;
      seen->change = false;
      test::Shell("ip address add 198.19.10.1/32 dev near0");
    };
    Interrupting seen{{}, true};
    CHECK(socket->addresses(visit, &seen).code == RtCode::kInterrupted);
    // The next list is whole, and nothing of the last one is in it.
    seen = {{}, false};
    CHECK(socket->addresses(visit, &seen).ok());
    CHECK(seen.addresses.size() >= 2003);
  });
}

TEST(routes_of_the_kernel) {
  test::InNamespace([] {
    test::FarSide far;
    test::Shell("ip route add default via 198.18.0.2 mtu 1400");
    test::Shell("ip route add unreachable 198.18.9.0/24");
    test::Shell("ip route add blackhole 198.18.8.0/24");
    test::Shell("ip -6 route add unreachable 2001:db8:9::/48");
    const auto socket = std::make_unique<RtSocket>();
    REQUIRE(socket->open_requests().ok());
    RouteInfo route;
    REQUIRE(socket->route(Address("198.18.0.77"), &route).ok());
    CHECK(route.type == RouteType::kUnicast && !route.has_gateway);
    CHECK(route.has_source && route.source == Address("198.18.0.1"));
    REQUIRE(socket->route(Address("198.19.1.1"), &route).ok());
    CHECK(route.has_gateway && route.gateway == Address("198.18.0.2"));
    CHECK_EQ(route.mtu, 1400u);
    REQUIRE(socket->route(Address("198.18.0.1"), &route).ok());
    CHECK(route.type == RouteType::kLocal);
    CHECK(socket->route(Address("198.18.9.1"), &route).code == RtCode::kUnreachable);
    CHECK(socket->route(Address("198.18.8.1"), &route).code == RtCode::kUnreachable);
    REQUIRE(socket->route(Address("2001:db8::77"), &route).ok());
    CHECK(route.type == RouteType::kUnicast && !route.has_gateway);
    CHECK(route.has_source && route.source == Address("2001:db8::1"));
    const RtStatus six = socket->route(Address("2001:db8:9::1"), &route);
    CHECK(six.code == RtCode::kUnreachable || (six.ok() && route.type == RouteType::kUnreachable));
  });
}

TEST(neighbours_of_the_kernel) {
  test::InNamespace([] {
    test::FarSide far;
    const auto socket = std::make_unique<RtSocket>();
    const auto events = std::make_unique<RtSocket>();
    REQUIRE(events->open_events().ok());
    REQUIRE(socket->open_requests().ok());
    RouteInfo route;
    REQUIRE(socket->route(Address("198.18.0.2"), &route).ok());
    NeighbourInfo neighbour;
    CHECK(socket->neighbour(route.ifindex, Address("198.18.0.2"), &neighbour).code ==
          RtCode::kNotFound);
    CHECK(socket->ask(route.ifindex, Address("198.18.0.2")).ok());
    struct Wanted {
      bool seen = false;
    } wanted;
    const uint32_t start_ms = test::MonotonicMs();
    while (!wanted.seen && test::MonotonicMs() - start_ms < 5000) {
      pollfd fd{events->fd(), POLLIN, 0};
      poll(&fd, 1, 100);
      const auto visit = [](void* at, const RtMessage& message) {
        NeighbourInfo one;
        if (parse_neighbour(message, &one) && one.state == NeighbourState::kUsable &&
            one.address == Address("198.18.0.2")) {
          static_cast<Wanted*>(at)->seen = one.has_link && one.link[5] == 0x0b;
        }
      };
      while (events->read_events(visit, &wanted).ok()) {
      }
    }
    CHECK(wanted.seen);
    REQUIRE(socket->neighbour(route.ifindex, Address("198.18.0.2"), &neighbour).ok());
    CHECK(neighbour.state == NeighbourState::kUsable);
    Seen seen;
    CHECK(socket
              ->neighbours(
                  [](void* at, const NeighbourInfo& one) {
                    static_cast<Seen*>(at)->neighbours.push_back(one);
                  },
                  &seen)
              .ok());
    CHECK(!seen.neighbours.empty());
    CHECK(events->read_events([](void*, const RtMessage&) {}, nullptr).code == RtCode::kNothing);
  });
}

TEST(overrun_is_told) {
  test::InNamespace([] {
    const auto events = std::make_unique<RtSocket>();
    REQUIRE(events->open_events().ok());
    const int small = 1;
    setsockopt(events->fd(), SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    for (int i = 0; i < 20; i++) test::Shell("ip link set lo up && ip link set lo down");
    bool overrun = false;
    for (int i = 0; i < 200; i++) {
      const RtStatus status = events->read_events([](void*, const RtMessage&) {}, nullptr);
      overrun = overrun || status.code == RtCode::kOverrun;
      if (status.code == RtCode::kNothing) break;
    }
    CHECK(overrun);
  });
}

}  // namespace
}  // namespace uvs
