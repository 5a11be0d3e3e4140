// Fuzz target: damaged configuration blocks. A block is refused, or it can be worked with: every
// lookup, every record and a whole core running on it stay inside its bytes.
//
// Input: a byte that says how, then either a block of its own or changes (16-bit word number,
// 32-bit value) to a good one. Blocks lie at the end of an allocation of exactly their size.
#include <cstring>
#include <memory>
#include <vector>

#include "fuzz/core_rig.h"
#include "parse/checksum.h"
#include "parse/sctp.h"

namespace {

using namespace uvs;

void require(bool holds) {
  if (!holds) __builtin_trap();
}

Addr v6(uint8_t net, uint8_t last) {
  const uint8_t bytes[16] = {0x20, 1, 0x0d, 0xb8, 0, net, 0, 0, 0, 0, 0, 0, 0, 0, 0, last};
  return Addr::v6(bytes);
}

rig::ConfigText example() {
  rig::ConfigText config;
  rig::ServiceText web;
  web.address = Addr::v4(Be32::of(0xc612010a));
  web.local = {Addr::v4(Be32::of(0xc6130901)), Addr::v4(Be32::of(0xc6130902))};
  rig::ServiceText web6;
  web6.address = v6(0, 10);
  web6.local = {v6(1, 99)};
  config.services = {web, web6};
  constexpr uint8_t kMethods[] = {kMethodMasquerade, kMethodTunnel, kMethodDirect, kMethodFullnat};
  for (uint8_t i = 0; i < 8; i++) {
    rig::DestinationText destination;
    destination.address =
        i % 2 == 0 ? Addr::v4(Be32::of(0xc6130001u + i)) : v6(1, static_cast<uint8_t>(1 + i));
    destination.service = i % 2;
    destination.method = kMethods[i / 2];
    config.destinations.push_back(destination);
  }
  AnnounceRecord announce{};
  announce.address = web.address;
  config.announces = {announce};
  rig::ServiceText marked;
  marked.address = Addr::v4(Be32{});
  marked.port = marked.protocol = 0;
  marked.fwmark = 21;
  config.services.push_back(marked);
  MarkRuleRecord rule{};
  rule.source = rule.destination = Addr::v4(Be32{});
  rule.source_bits = rule.destination_bits = 96;
  rule.family = 4;
  rule.destination_port_count = rule.port_count = 1;
  rule.clear_mask = rule.interfaces = UINT32_MAX;
  rule.flip_bits = 21;
  config.mark_rules = {rule, rule, rule};
  config.mark_ports = {81 | 20000 << 16};
  config.mark_ends = {{Addr::v4(Be32::of(0xc612014d)), 20, 21, kProtoTcp, 128, 4, 0},
                      {v6(5, 0), 80, 80, kProtoTcp, 48, 6, 0}};
  return config;
}

std::vector<uint8_t> block_from(const uint8_t* data, size_t size) {
  if (data[0] % 2 == 0) return {data + 1, data + size};
  const std::vector<uint64_t> good = rig::block_of(example());
  const auto* start = reinterpret_cast<const uint8_t*>(good.data());
  std::vector<uint8_t> block(start, start + good.size() * 8);
  for (size_t at = 1; at + 6 <= size; at += 6) {
    uint16_t word;
    std::memcpy(&word, data + at, 2);
    std::memcpy(block.data() + word % (block.size() / 4) * 4, data + at + 2, 4);
  }
  return block;
}

// A TCP SYN, a UDP datagram or an SCTP INIT from a client to an address, as an Ethernet frame.
std::vector<uint8_t> request(const Addr& to, uint16_t port, uint8_t protocol) {
  std::vector<uint8_t> frame(14 + 60, 0);
  const bool six = !to.is_v4();
  uint8_t* ip = frame.data() + 14;
  uint8_t* l4 = ip + (six ? 40 : 20);
  frame[12] = six ? 0x86 : 0x08;
  frame[13] = six ? 0xdd : 0x00;
  if (six) {
    frame.resize(14 + 40 + 20);
    ip[0] = 0x60;
    ip[5] = 20;
    ip[6] = protocol;
    ip[7] = 64;
    std::memcpy(ip + 8, v6(0, 7).bytes, 16);
    std::memcpy(ip + 24, to.bytes, 16);
  } else {
    frame.resize(14 + 20 + 20);
    const uint8_t header[16] = {0x45, 0, 0, 40, 0, 1, 0x40, 0, 64, protocol, 0, 0, 198, 18, 0, 7};
    std::memcpy(ip, header, sizeof header);
    std::memcpy(ip + 16, to.bytes + 12, 4);
    const uint16_t sum = checksum_of(ip, 20);
    std::memcpy(ip + 10, &sum, 2);
  }
  const uint16_t ports[2] = {Be16::of(40000).raw, Be16::of(port).raw};
  std::memcpy(l4, ports, 4);
  if (protocol == kProtoTcp) {
    l4[12] = 0x50;
    l4[13] = kTcpSyn;
  } else if (protocol == kProtoUdp) {
    l4[5] = 20;
  } else {
    l4[12] = kChunkInit;
  }
  return frame;
}

// Sends a new flow to every service and every destination slot as its verdict.
void work_with(const uint8_t* block) {
  const auto& header = *reinterpret_cast<const SnapshotHeaderRecord*>(block);
  Snapshot snapshot;
  snapshot.adopt(block);
  rig::Blocks blocks(8);
  rig::CoreRig rig(blocks);
  rig.core().adopt(block);
  const uint32_t services = std::min<uint32_t>(header.service_count, 16);
  for (uint32_t slot = 0; slot < services; slot++) {
    const ServiceRecord* service = snapshot.service(slot);
    if (service == nullptr) continue;
    if (service->fwmark != 0) {
      require(snapshot.find_marked(service->fwmark, service->family) != kNoSlot);
      const auto frame = request(Addr::v4(Be32::of(0xc612014d)), 90, kProtoTcp);
      rig.port(0).inject(frame.data(), static_cast<uint32_t>(frame.size()));
      rig.run([&](const MissRecord&) { return 0; });
      continue;
    }
    require(snapshot.find_exact(service->address, service->port, service->protocol) != kNoSlot);
    for (int32_t verdict = -4; verdict < 12; verdict++) {
      const auto frame = request(service->address, service->port, service->protocol);
      rig.port(0).inject(frame.data(), static_cast<uint32_t>(frame.size()));
      rig.run([&](const MissRecord&) { return verdict; });
      rig.pass_ms(400);
    }
  }
  for (uint32_t i = 0; i < snapshot.marks().end_count(); i++) {
    const MarkEndRecord& end = snapshot.marks().end(i);
    if (!is_any(end)) {
      require(snapshot.marks().selects(end.address, end.protocol, end.port_first));
    }
    if (end.bits == 128) require(snapshot.is_virtual(end.address));
  }
  require(rig.port(0).lent == 0);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 1 || size > 16384) return 0;
  const std::vector<uint8_t> bytes = block_from(data, size);
  if (bytes.empty()) return 0;
  // Exactly as long as it is: the sanitizer sees every read beyond.
  std::unique_ptr<uint8_t[]> memory(new uint8_t[bytes.size()]);
  std::memcpy(memory.get(), bytes.data(), bytes.size());
  const SnapshotError error = check_snapshot(memory.get(), bytes.size());
  if (error == SnapshotError::kNone) work_with(memory.get());
  return 0;
}
