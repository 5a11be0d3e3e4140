// The miss batch against a list: one record per flow, packets in order, records as TypeScript
// reads them.
#include "upcall/miss_batch.h"

#include <algorithm>
#include <vector>

#include "check.h"
#include "packet_text.h"

namespace uvs {
namespace {

using test::Address;
using test::Random;

Packet Flow(uint32_t client, uint16_t port, uint64_t hash) {
  Packet packet{};
  packet.kind = PacketKind::kFlow;
  packet.family = 4;
  packet.key = FlowKey{Addr::v4(Be32::of(0xc6120000 + client)), Address("198.18.1.10"),
                       Be16::of(port), Be16::of(80), kProtoTcp};
  packet.hash = hash;
  return packet;
}

std::vector<uint16_t> Chain(const MissBatch& batch, uint32_t record) {
  std::vector<uint16_t> out;
  for (uint16_t n = batch.first(record); n != MissBatch::kEnd; n = batch.next(n)) out.push_back(n);
  return out;
}

TEST(miss_batch_record_says_what_the_packet_says) {
  MissRecord records[kBurst] = {};
  MissBatch batch;
  batch.attach(records);
  batch.add(Flow(7, 40000, 0x1234567890abcdef), 5, 9, kMissTcpSyn, 21);
  REQUIRE(batch.size() == 1);
  const MissRecord& r = records[0];
  CHECK(r.client_address == Address("198.18.0.7") && r.virtual_address == Address("198.18.1.10"));
  CHECK_EQ(r.client_port, 40000);
  CHECK_EQ(r.virtual_port, 80);
  CHECK_EQ(r.service_slot, 9);
  CHECK_EQ(r.flow_hash, 0x12345678);
  CHECK_EQ(r.protocol, kProtoTcp);
  CHECK_EQ(r.family, 4);
  CHECK_EQ(r.flags, kMissTcpSyn);
  CHECK_EQ(r.packets, 1);
  CHECK_EQ(r.verdict, kVerdictNone);
  CHECK_EQ(r.template_ref, 0);
  CHECK_EQ(r.fwmark, 21);
}

TEST(miss_batch_random_bursts) {
  Random random(21);
  MissRecord records[kBurst] = {};
  MissBatch batch;
  batch.attach(records);
  for (int round = 0; round < 3000; round++) {
    batch.clear();
    std::vector<std::pair<uint32_t, std::vector<uint16_t>>> model;  // flow -> packets
    const uint64_t flows = 1 + random.Below(kBurst);
    for (uint16_t n = 0; n < kBurst; n++) {
      // Few hash values: different flows often share a place, and sometimes the whole hash.
      const auto flow = static_cast<uint32_t>(random.Below(flows));
      const Packet packet = Flow(flow, 1, 250 + flow % (1 + flows / 2));
      auto known = std::find_if(model.begin(), model.end(),
                                [&](const auto& one) { return one.first == flow; });
      if (random.Below(4) == 0) {
        CHECK_EQ(batch.join(packet, n), known != model.end());
        if (known != model.end()) known->second.push_back(n);
        continue;
      }
      batch.add(packet, n, 0, 0, 0);
      if (known == model.end()) {
        model.push_back({flow, {n}});
      } else {
        known->second.push_back(n);
      }
    }
    REQUIRE(batch.size() == model.size());
    for (uint32_t i = 0; i < batch.size(); i++) {
      CHECK_EQ(Chain(batch, i), model[i].second);
      CHECK_EQ(batch.record(i).packets, model[i].second.size());
    }
  }
}

TEST(miss_batch_full_of_one_packet_flows_of_one_hash) {
  MissRecord records[kBurst] = {};
  MissBatch batch;
  batch.attach(records);
  for (int round = 0; round < 2; round++) {
    batch.clear();
    for (uint16_t n = 0; n < kBurst; n++) batch.add(Flow(1, 1, 255), n, 0, kMissOnePacket, 0);
    CHECK_EQ(batch.size(), kBurst);
    for (uint32_t i = 0; i < kBurst; i++) CHECK_EQ(Chain(batch, i).size(), 1);
  }
}

}  // namespace
}  // namespace uvs
