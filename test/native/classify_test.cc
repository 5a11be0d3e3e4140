// Which service a new flow belongs to: exact, then the FTP rule, then port 0 (spec 1.2).
#include "classify/classify.h"

#include "check.h"
#include "fuzz/core_rig.h"
#include "packet_text.h"

namespace uvs {
namespace {

using test::Address;

constexpr char kAddress[] = "198.18.1.10";

// A service of the example: port and protocol on the one address.
struct Wanted {
  uint16_t port;
  uint8_t protocol;
};

// Slot found for a flow to `port` when the services are `wanted`, in this order.
uint16_t Found(std::initializer_list<Wanted> wanted, uint16_t port, uint8_t protocol,
               const char* address = kAddress, uint16_t unprivileged_start = 1024) {
  rig::ConfigText config;
  config.unprivileged_start = unprivileged_start;
  for (const Wanted& each : wanted) {
    rig::ServiceText service;
    service.address = Address(kAddress);
    service.port = each.port;
    service.protocol = each.protocol;
    config.services.push_back(service);
  }
  const std::vector<uint64_t> block = rig::block_of(config);
  Snapshot snapshot;
  snapshot.adopt(reinterpret_cast<const uint8_t*>(block.data()));
  const FlowKey key{Address("198.18.0.7"), Address(address), Be16::of(40000), Be16::of(port),
                    protocol};
  return find_service(snapshot, key, 0);
}

TEST(classify_exact_comes_first) {
  CHECK_EQ(Found({{0, 6}, {80, 6}, {80, 17}}, 80, 6), 1);
  CHECK_EQ(Found({{0, 6}, {80, 6}, {80, 17}}, 80, 17), 2);
  CHECK_EQ(Found({{80, 6}}, 81, 6), kNoSlot);
  CHECK_EQ(Found({{80, 6}}, 80, 6, "198.18.1.11"), kNoSlot);
  CHECK_EQ(Found({}, 80, 6), kNoSlot);
}

TEST(classify_ftp_rule_is_for_tcp_data_ports) {
  CHECK_EQ(Found({{21, 6}}, 20, 6), 0);
  CHECK_EQ(Found({{21, 6}}, 1024, 6), 0);
  CHECK_EQ(Found({{21, 6}}, 65535, 6), 0);
  CHECK_EQ(Found({{21, 6}}, 1023, 6), kNoSlot);
  CHECK_EQ(Found({{21, 6}}, 2000, 17), kNoSlot);
  CHECK_EQ(Found({{21, 17}}, 2000, 6), kNoSlot);   // an FTP service is a TCP one
  CHECK_EQ(Found({{0, 6}, {21, 6}}, 2000, 6), 1);  // before port 0
  CHECK_EQ(Found({{0, 6}, {21, 6}}, 1000, 6), 0);
}

TEST(classify_ftp_rule_begins_where_the_host_says) {
  const auto found = [](uint16_t port, uint16_t start) {
    return Found({{21, 6}}, port, 6, kAddress, start);
  };
  CHECK_EQ(found(1024, 2000), kNoSlot);
  CHECK_EQ(found(1999, 2000), kNoSlot);
  CHECK_EQ(found(2000, 2000), 0);
  CHECK_EQ(found(20, 2000), 0);
  CHECK_EQ(found(80, 0), 0);
  CHECK_EQ(found(65534, 65535), kNoSlot);
}

TEST(classify_port_zero_takes_the_rest_of_its_protocol) {
  CHECK_EQ(Found({{80, 6}, {0, 6}}, 81, 6), 1);
  CHECK_EQ(Found({{80, 6}, {0, 6}}, 81, 17), kNoSlot);
  CHECK_EQ(Found({{80, 6}, {0, 6}}, 0, 6), 1);
}

TEST(classify_mark_comes_before_the_address_and_falls_through) {
  rig::ConfigText config;
  rig::ServiceText web;
  web.address = Address(kAddress);
  rig::ServiceText marked;
  marked.address = Address("0.0.0.0");
  marked.port = marked.protocol = 0;
  marked.fwmark = 21;
  rig::ServiceText marked6 = marked;
  marked6.address = Address("2001:db8::");
  config.services = {web, marked, marked6};
  const std::vector<uint64_t> block = rig::block_of(config);
  const auto* bytes = reinterpret_cast<const uint8_t*>(block.data());
  REQUIRE(check_snapshot(bytes, block.size() * 8) == SnapshotError::kNone);
  Snapshot snapshot;
  snapshot.adopt(bytes);
  const auto found = [&](const char* to, uint16_t port, uint8_t protocol, uint32_t mark) {
    const char* from = Address(to).is_v4() ? "198.18.0.7" : "2001:db8::7";
    return find_service(
        snapshot, {Address(from), Address(to), Be16::of(40000), Be16::of(port), protocol}, mark);
  };
  CHECK_EQ(found(kAddress, 80, 6, 21), 1);
  CHECK_EQ(found("198.18.9.9", 7, 17, 21), 1);  // any address, port and protocol
  CHECK_EQ(found("2001:db8::9", 7, 17, 21), 2);
  CHECK_EQ(found(kAddress, 80, 6, 22), 0);  // no such mark service: by address
  CHECK_EQ(found(kAddress, 80, 6, 0), 0);
  CHECK_EQ(found(kAddress, 81, 6, 22), kNoSlot);
}

}  // namespace
}  // namespace uvs
