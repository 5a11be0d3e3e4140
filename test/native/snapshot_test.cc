// Configuration blocks: what check_snapshot() refuses, field by field, and that a good block is
// read back as it was described.
#include "classify/snapshot.h"

#include "check.h"
#include "fuzz/core_rig.h"
#include "packet_text.h"

namespace uvs {
namespace {

using test::Address;

rig::ConfigText Example() {
  rig::ConfigText config;
  rig::ServiceText web;
  web.address = Address("198.18.1.10");
  web.local = {Address("198.19.9.1"), Address("198.19.9.2")};
  rig::ServiceText web6;
  web6.address = Address("2001:db8::1:10");
  web6.protocol = kProtoUdp;
  config.services = {web, web6};
  rig::DestinationText four;
  four.address = Address("198.19.0.1");
  rig::DestinationText six;
  six.address = Address("2001:db8:1::1");
  six.service = 1;
  rig::DestinationText across;  // IPv6 service, IPv4 tunnel
  across.address = Address("198.19.0.2");
  across.service = 1;
  across.method = kMethodTunnel;
  rig::DestinationText gone = four;
  gone.available = false;
  config.destinations = {four, six, across, gone};
  MarkRuleRecord rule{};
  rule.source = Address("198.18.0.0");
  rule.source_bits = 96 + 16;
  rule.destination = Address("0.0.0.0");
  rule.destination_bits = 96;
  rule.family = 4;
  rule.destination_port_count = 2;
  rule.clear_mask = 0xffffffff;
  rule.flip_bits = 21;
  rule.interfaces = 0xffffffff;
  config.mark_rules = {rule, rule};
  config.mark_ports = {20 | 21 << 16, 10000 | 20000 << 16};
  MarkEndRecord end{Address("198.18.1.77"), 20, 21, kProtoTcp, 128, 4, 0};
  MarkEndRecord net{Address("2001:db8:5::"), 80, 80, kProtoTcp, 48, 6, 0};
  config.mark_ends = {end, net};
  config.removed_addresses = {Address("198.18.1.98"), Address("2001:db8::98")};
  return config;
}

// A block that one may damage, with its check.
struct Block {
  Block() : words(rig::block_of(Example())) {}
  uint8_t* bytes() { return reinterpret_cast<uint8_t*>(words.data()); }
  size_t size() const { return words.size() * 8; }
  SnapshotHeaderRecord& header() { return *reinterpret_cast<SnapshotHeaderRecord*>(bytes()); }
  ServiceRecord& service(uint32_t i) {
    return reinterpret_cast<ServiceRecord*>(bytes() + header().service_offset)[i];
  }
  DestinationRecord& destination(uint32_t i) {
    return reinterpret_cast<DestinationRecord*>(bytes() + header().destination_offset)[i];
  }
  Addr& local(uint32_t i) {
    return reinterpret_cast<Addr*>(bytes() + header().local_address_offset)[i];
  }
  MarkRuleRecord& rule(uint32_t i) {
    return reinterpret_cast<MarkRuleRecord*>(bytes() + header().mark_rule_offset)[i];
  }
  MarkEndRecord& end(uint32_t i) {
    return reinterpret_cast<MarkEndRecord*>(bytes() + header().mark_end_offset)[i];
  }
  SynproxyRecord& synproxy() {
    return *reinterpret_cast<SynproxyRecord*>(bytes() + header().synproxy_offset);
  }
  SnapshotError check() { return check_snapshot(bytes(), size()); }
  std::vector<uint64_t> words;
};

TEST(snapshot_good_block_reads_back) {
  Block block;
  REQUIRE(block.check() == SnapshotError::kNone);
  Snapshot snapshot;
  CHECK(!snapshot.adopted());
  snapshot.adopt(block.bytes());
  CHECK_EQ(snapshot.find_exact(Address("198.18.1.10"), 80, kProtoTcp), 0);
  CHECK_EQ(snapshot.find_exact(Address("2001:db8::1:10"), 80, kProtoUdp), 1);
  CHECK_EQ(snapshot.find_exact(Address("198.18.1.10"), 80, kProtoUdp), kNoSlot);
  CHECK_EQ(snapshot.find_exact(Address("198.18.1.10"), 81, kProtoTcp), kNoSlot);
  CHECK(snapshot.is_virtual(Address("198.18.1.10")));
  CHECK(!snapshot.is_virtual(Address("198.18.1.11")));
  REQUIRE(snapshot.destination(3) != nullptr);
  CHECK_EQ(snapshot.destination(3)->flags, 0);
  CHECK(snapshot.destination(4) == nullptr && snapshot.service(2) == nullptr);
  CHECK(snapshot.local_address(1) == Address("198.19.9.2"));
  CHECK(snapshot.is_virtual(Address("198.18.1.77")));
  CHECK(!snapshot.is_virtual(Address("2001:db8:5::1")));
  for (const char* removed : {"198.18.1.98", "2001:db8::98"}) {
    CHECK(!snapshot.is_virtual(Address(removed)));
    CHECK(snapshot.was_virtual(Address(removed)));
  }
  CHECK(snapshot.was_virtual(Address("198.18.1.10")));
  CHECK(snapshot.was_virtual(Address("198.18.1.77")));
  CHECK(!snapshot.was_virtual(Address("198.18.1.99")));
}

TEST(snapshot_marks_and_what_they_select) {
  Block block;
  Snapshot snapshot;
  snapshot.adopt(block.bytes());
  const MarkRules& marks = snapshot.marks();
  const auto mark = [&](const char* from, const char* to, uint16_t port) {
    return marks.mark_of({Address(from), Address(to), Be16::of(40000), Be16::of(port), 6}, 0);
  };
  CHECK_EQ(mark("198.18.0.7", "198.18.1.77", 21), 21);
  CHECK_EQ(mark("198.18.0.7", "198.18.1.77", 15000), 21);
  CHECK_EQ(mark("198.18.0.7", "198.18.1.77", 22), 0);
  CHECK_EQ(mark("198.19.0.7", "198.18.1.77", 21), 0);
  CHECK_EQ(mark("2001:db8::7", "2001:db8::1", 21), 0);
  CHECK(marks.selects(Address("198.18.1.77"), 6, 20));
  CHECK(!marks.selects(Address("198.18.1.77"), 17, 20));
  CHECK(!marks.selects(Address("198.18.1.77"), 6, 22));
  CHECK(marks.selects(Address("2001:db8:5:1::9"), 6, 80));
  CHECK(!marks.selects(Address("2001:db8:6::9"), 6, 80));
}

TEST(snapshot_lengths_and_headers) {
  Block block;
  for (size_t bytes = 0; bytes < block.size(); bytes++) {
    const SnapshotError want =
        bytes < sizeof(SnapshotHeaderRecord) ? SnapshotError::kTooShort : SnapshotError::kBadLength;
    CHECK_EQ(check_snapshot(block.bytes(), bytes), want);
  }
  std::vector<uint64_t> shifted(block.words.size() + 1);
  auto* start = reinterpret_cast<uint8_t*>(shifted.data()) + 1;
  std::memcpy(start, block.bytes(), block.size());
  CHECK_EQ(check_snapshot(start, block.size()), SnapshotError::kMisaligned);
  block.header().magic++;
  CHECK_EQ(block.check(), SnapshotError::kBadMagic);
  Block other;
  other.header().layout_hash++;
  CHECK_EQ(other.check(), SnapshotError::kBadLayout);
}

// One thing that is wrong with a block.
struct Fault {
  SnapshotError want;
  void (*harm)(Block&);
};

void try_faults(std::span<const Fault> faults) {
  int number = 0;
  for (const Fault& fault : faults) {
    Block block;
    fault.harm(block);
    CHECK_EQ(block.check(), fault.want);
    if (block.check() != fault.want) std::printf("  # fault %d\n", number);
    CHECK(std::string_view(snapshot_error_text(fault.want)) != "unknown");
    number++;
  }
}

TEST(snapshot_faults) {
  using B = Block;
  constexpr auto kRange = SnapshotError::kOutOfRange;
  constexpr auto kService = SnapshotError::kBadService;
  constexpr auto kDestination = SnapshotError::kBadDestination;
  const Fault faults[] = {
      {kRange, [](B& b) { b.header().service_count = kMaxServices + 1; }},
      {kRange, [](B& b) { b.header().destination_count = 0xffffffff; }},
      {kRange, [](B& b) { b.header().destination_count += 40; }},
      {kRange, [](B& b) { b.header().service_offset = 0xfffffffc; }},
      {kRange, [](B& b) { b.header().service_offset += 1; }},
      {kRange, [](B& b) { b.header().order_count = 1000; }},
      {kRange, [](B& b) { b.header().announce_count = 1u << 31; }},
      {kRange, [](B& b) { b.header().local_address_count = 1u << 28; }},
      {kRange, [](B& b) { b.header().local_port_first = 0; }},
      {kRange, [](B& b) { b.header().removed_address_count = kMaxRemovedAddresses + 1; }},
      {kRange, [](B& b) { b.header().removed_address_offset = b.header().bytes - 12; }},
      {kRange, [](B& b) { b.header().local_port_last = 1; }},
      {kRange, [](B& b) { b.header().taken_port_first = b.header().local_port_first + 1; }},
      {kRange, [](B& b) { b.header().taken_port_last = b.header().local_port_last - 1; }},
      {kRange, [](B& b) { b.header().synproxy_offset = 0xfffffffc; }},
      {kRange, [](B& b) { b.header().synproxy_offset = b.header().bytes - 4; }},
      {kService,
       [](B& b) {
         b.header().synproxy_offset = 0;
         b.service(0).flags = kServiceSynproxy;
       }},
      {SnapshotError::kBadSynproxy, [](B& b) { b.synproxy().window_scale = 15; }},
      {SnapshotError::kBadSynproxy, [](B& b) { b.synproxy().ttl = 0; }},
      {SnapshotError::kBadSynproxy, [](B& b) { b.synproxy().init_mss = 0; }},
      {kService, [](B& b) { b.service(0).protocol = 33; }},
      {kService, [](B& b) { b.service(0).family = 5; }},
      {kService, [](B& b) { b.service(0).family = 6; }},
      {kService, [](B& b) { b.service(0).local_count = 3; }},
      {kService, [](B& b) { b.service(0).local_first = 0xffffffff; }},
      {kService, [](B& b) { b.local(1) = Address("2001:db8::1"); }},
      {kService, [](B& b) { b.service(1).order_count = 1; }},
      {kDestination, [](B& b) { b.destination(0).method = 6; }},
      {kDestination, [](B& b) { b.destination(0).weight = -1; }},
      {kDestination, [](B& b) { b.destination(0).family = 6; }},
      {kDestination, [](B& b) { b.destination(0).service_slot = 2; }},
      {kDestination, [](B& b) { b.destination(0).service_slot = kNoSlot; }},
      {kDestination, [](B& b) { b.destination(0).service_slot = 1; }},
      {kDestination, [](B& b) { b.destination(2).method = kMethodMasquerade; }},
      {kRange, [](B& b) { b.header().mark_rule_count = kMaxMarkRules + 1; }},
      {kRange, [](B& b) { b.header().mark_port_count = kMaxMarkPorts + 1; }},
      {kRange, [](B& b) { b.header().mark_end_count = kMaxMarkEnds + 1; }},
      {kRange, [](B& b) { b.header().mark_rule_offset += 2; }},
      {kRange, [](B& b) { b.header().mark_port_offset = 0xfffffffc; }},
      {kRange, [](B& b) { b.header().mark_end_count += 100; }},
      {SnapshotError::kBadOrder,
       [](B& b) {
         b.header().order_offset = b.header().local_address_offset;
         b.header().order_count = 4;  // the bytes of an address name no destination
       }},
  };
  try_faults(faults);
  // Holes are not looked at: what is in them does not matter.
  Block block;
  std::memset(&block.destination(3), 0xff, sizeof(DestinationRecord));
  block.destination(3).used = 0;
  CHECK_EQ(block.check(), SnapshotError::kNone);
}

TEST(snapshot_faults_of_marks) {
  using B = Block;
  constexpr auto kMark = SnapshotError::kBadMark;
  const Fault faults[] = {
      {kMark, [](B& b) { b.rule(0).family = 5; }},
      {kMark, [](B& b) { b.rule(0).family = 6; }},
      {kMark, [](B& b) { b.rule(0).source_bits = 129; }},
      {kMark, [](B& b) { b.rule(0).destination_bits = 95; }},
      {kMark, [](B& b) { b.rule(0).skip = 2; }},
      {kMark, [](B& b) { b.rule(1).skip = 1; }},
      {kMark, [](B& b) { b.rule(1).destination_port_first = 1; }},
      {kMark, [](B& b) { b.rule(1).source_port_count = 0xffff; }},
      {kMark, [](B& b) { b.rule(1).port_count = 3; }},
      {kMark, [](B& b) { b.end(0).family = 0; }},
      {kMark, [](B& b) { b.end(0).bits = 129; }},
      {kMark, [](B& b) { b.end(1).family = 4; }},
      {kMark, [](B& b) { b.end(1).port_first = 81; }},
  };
  try_faults(faults);
}

TEST(snapshot_with_every_service_slot_finds_each) {
  rig::ConfigText config;
  for (uint32_t i = 0; i < kMaxServices; i++) {
    rig::ServiceText service;
    service.address = Addr::v4(Be32::of(0xc6120000 + i % 700));
    service.port = static_cast<uint16_t>(80 + i / 700);
    config.services.push_back(service);
  }
  const std::vector<uint64_t> block = rig::block_of(config);
  const auto* bytes = reinterpret_cast<const uint8_t*>(block.data());
  REQUIRE(check_snapshot(bytes, block.size() * 8) == SnapshotError::kNone);
  Snapshot snapshot;
  snapshot.adopt(bytes);
  for (uint32_t i = 0; i < kMaxServices; i++) {
    const rig::ServiceText& service = config.services[i];
    CHECK_EQ(snapshot.find_exact(service.address, service.port, kProtoTcp), i);
  }
  // Adopting another forgets the first.
  const std::vector<uint64_t> second = rig::block_of(Example());
  snapshot.adopt(reinterpret_cast<const uint8_t*>(second.data()));
  CHECK_EQ(snapshot.find_exact(config.services[5].address, 80, kProtoTcp), kNoSlot);
  CHECK(!snapshot.is_virtual(config.services[5].address));
}

}  // namespace
}  // namespace uvs
