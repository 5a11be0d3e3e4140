// A whole core in memory for the fuzz targets and for test/native: its blocks, a clock that stands
// still, two memory ports, next hops that follow a rule, configuration blocks from a description.
//
// Port 0 is the clients' network, port 1 the destinations'. Addresses of 198.19.0.0/16 and of
// 2001:db8:1::/48 lie behind port 1, all others behind port 0. Hop slots: 0 and 1 lead out (IPv4,
// IPv6), 2 and 3 lead in; a test may change them and add more.
#pragma once
#include <algorithm>
#include <cstdlib>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "core.h"
#include "forward/parked_packets.h"
#include "forward/static_next_hops.h"
#include "io/memory_port.h"

namespace uvs::rig {

class RigClock : public Clock {
 public:
  uint64_t now_us() override { return us; }
  uint64_t us = 1'000'000'000;
};

// Zeroed memory that starts on a cache line.
template <typename T>
class Zeroed {
 public:
  explicit Zeroed(size_t bytes)
      : bytes_((bytes + 63) & ~size_t{63}), raw_(std::calloc(bytes_ + 64, 1)) {
    const auto address = reinterpret_cast<uintptr_t>(raw_);
    start_ = reinterpret_cast<T*>((address + 63) & ~uintptr_t{63});
  }
  ~Zeroed() { std::free(raw_); }
  Zeroed(const Zeroed&) = delete;
  Zeroed& operator=(const Zeroed&) = delete;
  T* get() const { return start_; }
  size_t bytes() const { return bytes_; }

 private:
  size_t bytes_;
  void* raw_;
  T* start_;
};

// The blocks that main gives a worker; they outlive a core and can be given to its successor.
struct Blocks {
  explicit Blocks(uint32_t connections, uint32_t template_count = 16)
      : capacity(connections),
        templates_held(template_count),
        table(ConnTable::bytes_needed(connections)),
        misses(kBurst * sizeof(MissRecord)),
        miss_texts(kBurst * sizeof(MissText)),
        words(sizeof(WorkerWordsRecord)),
        port_words(kMaxPorts * sizeof(PortWordsRecord)),
        templates(template_count * sizeof(TemplateRecord)),
        loads(kMaxDestinations * sizeof(LoadRecord)),
        services(kMaxServices * sizeof(TrafficRecord)),
        destinations(kMaxDestinations * sizeof(TrafficRecord)),
        total(sizeof(TrafficRecord)),
        reasons(kReasonLaneWords * sizeof(uint64_t)) {}

  CoreMemory memory(uint32_t worker = 0, uint32_t workers = 1, int32_t host_port = -1) const {
    CoreMemory m;
    m.table = table.get();
    m.table_bytes = table.bytes();
    m.connections = capacity;
    m.misses = misses.get();
    m.miss_texts = miss_texts.get();
    m.words = words.get();
    m.port_words = port_words.get();
    m.templates = templates.get();
    m.template_count = templates_held;
    m.counters =
        Counters{loads.get(), services.get(), destinations.get(), total.get(), reasons.get()};
    m.worker = worker;
    m.workers = workers;
    m.host_port = host_port;
    m.bell = bell;
    m.handover = handover;
    return m;
  }

  uint32_t capacity;
  uint32_t templates_held;
  int bell = -1;          // given to the next core
  HandoverEnds handover;  // likewise
  Zeroed<uint8_t> table;
  Zeroed<MissRecord> misses;
  Zeroed<MissText> miss_texts;
  Zeroed<WorkerWordsRecord> words;
  Zeroed<PortWordsRecord> port_words;
  Zeroed<TemplateRecord> templates;
  Zeroed<LoadRecord> loads;
  Zeroed<TrafficRecord> services;
  Zeroed<TrafficRecord> destinations;
  Zeroed<TrafficRecord> total;
  Zeroed<uint64_t> reasons;
};

// A memory port that says how many frames it has lent and not got back, can lend frames with
// little room in front, and can claim frames lost by the kernel.
class RigPort : public MemoryPort {
 public:
  using MemoryPort::MemoryPort;

  uint32_t rx_burst(Frame* out, uint32_t max) override {
    const uint32_t count = MemoryPort::rx_burst(out, max);
    for (uint32_t i = 0; i < count; i++) out[i].headroom = std::min(out[i].headroom, headroom);
    lent += count;
    return count;
  }
  void release() override {
    MemoryPort::release();
    lent = 0;
  }
  uint64_t rx_dropped() override { return std::exchange(lost, 0); }

  uint32_t lent = 0;
  uint32_t headroom = kHeadroom;
  uint64_t lost = 0;
};

// Hops by the rule above. Packets for an unresolved hop wait, at most `room` of them, until the
// hop becomes ready or kNeighbourWaitMs have passed.
class RigHops : public StaticNextHops {
 public:
  RigHops() : StaticNextHops(std::span<const NextHop>(initial().data(), kSlots)) {}

  static constexpr uint16_t kOut4 = 0, kOut6 = 1, kIn4 = 2, kIn6 = 3, kSlots = 4;

  static bool inside(const Addr& a) {
    if (a.is_v4()) return a.v4_part().host() >> 16 == 0xc613;
    const uint8_t net[6] = {0x20, 0x01, 0x0d, 0xb8, 0, 1};
    return std::memcmp(a.bytes, net, sizeof net) == 0;
  }

  uint16_t find(const Addr& destination, uint32_t) override {
    finds++;
    for (const auto& [address, slot] : exceptions) {
      if (address == destination) return slot;
    }
    return static_cast<uint16_t>((inside(destination) ? 2 : 0) + (destination.is_v4() ? 0 : 1));
  }

  bool park(uint16_t slot, const Frame& ip_packet, uint32_t now_ms) override {
    return parked.size() < room && parked.put(slot, ip_packet, now_ms);
  }

  uint32_t service(uint32_t now_ms, Ready* ready, uint32_t max) override {
    parked.free_lent();
    parked.give_up_old(now_ms, [](uint16_t) {});
    uint32_t count = 0;
    const auto leaves = [&](uint16_t slot) {
      return slot == kNoSlot || at(slot).state == HopState::kReady;
    };
    parked.lend(leaves, [&](uint16_t slot, Frame frame) {
      if (count == max) return false;
      if (slot != kNoSlot) put_link(frame, 0, at(slot), frame.data[0] >> 4);
      ready[count++] = Ready{frame, slot};
      return true;
    });
    return count;
  }

  void set_state(uint16_t slot, HopState state) {
    NextHop hop = at(slot);
    hop.state = state;
    set(slot, hop);
  }
  void set_mtu(uint16_t slot, uint16_t mtu) {
    NextHop hop = at(slot);
    hop.mtu = mtu;
    set(slot, hop);
  }

  std::vector<std::pair<Addr, uint16_t>> exceptions;
  uint32_t finds = 0;
  uint32_t room = kNeighbourWaiting;
  ParkedPackets parked;

 private:
  static std::vector<NextHop> initial() {
    const StaticNextHops two(2);
    return {two.at(0), two.at(1), two.at(2), two.at(3)};
  }
};

struct ServiceText {
  Addr address{};
  uint16_t port = 80;
  uint8_t protocol = kProtoTcp;
  uint32_t flags = 0;
  std::vector<Addr> local;
  uint32_t fwmark = 0;  // with port and protocol 0; the address gives the family
};

// Its slot is its place in the list.
struct DestinationText {
  Addr address{};
  uint16_t port = 8080;
  uint8_t method = kMethodMasquerade;
  uint32_t service = 0;
  int32_t weight = 1;
  bool available = true;
  uint8_t tunnel_type = kTunnelIpip;
  uint8_t tunnel_flags = 0;
  uint16_t tunnel_port = 0;
  uint32_t hashed = 1;
};

// The parameters of SYNPROXY as Alibaba's (spec 12.9), with secrets that are none.
inline SynproxyRecord default_synproxy() {
  SynproxyRecord r{};
  for (uint32_t i = 0; i < 8; i++) r.secret[i] = 0x9e3779b9u * (i + 1);
  r.minute_start = 0xfffffff0u;
  r.init_mss = 1452;
  r.dup_ack = 10;
  r.max_ack_saved = 3;
  r.reuse_states = 1u << kTcpClose | 1u << kTcpTimeWait;
  r.sack = 1;
  r.ttl = 63;
  r.syn_retry = 3;
  return r;
}

// A configuration in words; the values of a fresh kernel unless said otherwise.
struct ConfigText {
  std::vector<ServiceText> services;
  std::vector<DestinationText> destinations;
  uint32_t conn_reuse_mode = 1;
  uint32_t expire_nodest_conn = 0;
  uint32_t sloppy_tcp = 0;
  uint32_t sloppy_sctp = 0;
  uint32_t drop_entry = 0;
  uint32_t pmtu_disc = 1;
  uint32_t secure_tcp = 0;
  uint32_t nat_icmp_send = 0;
  uint32_t schedule_icmp = 0;
  uint16_t unprivileged_start = 1024;
  uint32_t cache_bypass = 0;
  uint16_t local_port_first = 1025;
  uint16_t local_port_last = 65535;
  uint16_t taken_port_first = 65535;  // and those above
  uint16_t taken_port_last = 1;
  std::vector<Addr> held_local;  // local addresses of connections from before
  uint16_t ftp_ports[kMaxFtpPorts] = {21};
  uint8_t fullnat_flags = 0;  // a director's default: both
  bool steering_moved = false;
  uint8_t uoa_mode = kUoaHeader;
  uint16_t uoa_trail = 0;
  uint32_t udp_sec = 300;
  uint32_t tcp_sec[11] = {2, 900, 120, 60, 120, 120, 10, 60, 30, 120, 120};
  uint32_t fullnat_sec[11] = {2, 90, 3, 30, 7, 7, 3, 7, 7, 120, 30};
  std::vector<AnnounceRecord> announces;
  std::vector<MarkRuleRecord> mark_rules;
  std::vector<uint32_t> mark_ports;  // first, last << 16
  std::vector<MarkEndRecord> mark_ends;
  std::vector<Addr> removed_addresses;
  SynproxyRecord synproxy = default_synproxy();
};

inline void write_service(ServiceRecord* record, const ServiceText& text, uint32_t local_first) {
  record->address = text.address;
  record->port = text.port;
  record->protocol = text.protocol;
  record->family = text.address.is_v4() ? 4 : 6;
  record->flags = text.flags;
  record->fwmark = text.fwmark;
  record->scheduler_id = kSchedulerRr;
  record->local_first = local_first;
  record->local_count = static_cast<uint32_t>(text.local.size());
  record->used = 1;
  record->incarnation = 1;
}

inline void write_destination(DestinationRecord* record, const DestinationText& text) {
  record->address = text.address;
  record->port = text.port;
  record->method = text.method;
  record->family = text.address.is_v4() ? 4 : 6;
  record->weight = text.weight;
  record->tunnel_type = text.tunnel_type;
  record->tunnel_flags = text.tunnel_flags;
  record->tunnel_port = text.tunnel_port;
  record->service_slot = text.available ? text.service : uint32_t{kNoSlot};
  record->flags = text.available ? kDestinationAvailable : 0;
  record->used = 1;
  record->incarnation = 1;
  record->hashed = text.hashed;
}

inline void write_settings(SnapshotHeaderRecord* h, const ConfigText& text) {
  h->sysctls[kSysctlConnReuseMode] = text.conn_reuse_mode;
  h->sysctls[kSysctlExpireNodestConn] = text.expire_nodest_conn;
  h->sysctls[kSysctlSloppyTcp] = text.sloppy_tcp;
  h->sysctls[kSysctlSloppySctp] = text.sloppy_sctp;
  h->sysctls[kSysctlDropEntry] = text.drop_entry;
  h->sysctls[kSysctlPmtuDisc] = text.pmtu_disc;
  h->sysctls[kSysctlSecureTcp] = text.secure_tcp;
  h->sysctls[kSysctlNatIcmpSend] = text.nat_icmp_send;
  h->sysctls[kSysctlScheduleIcmp] = text.schedule_icmp;
  h->sysctls[kSysctlCacheBypass] = text.cache_bypass;
}

inline void set_ports_and_fullnat(SnapshotHeaderRecord* h, const ConfigText& text) {
  h->fullnat_flags = text.fullnat_flags;
  h->uoa_mode = text.uoa_mode;
  h->uoa_trail = text.uoa_trail;
  std::copy(std::begin(text.fullnat_sec), std::end(text.fullnat_sec), h->fullnat_tcp_timeout_sec);
  h->local_port_first = text.local_port_first;
  h->local_port_last = text.local_port_last;
  h->taken_port_first = std::min(text.taken_port_first, text.local_port_first);
  h->taken_port_last = std::max(text.taken_port_last, text.local_port_last);
  h->ephemeral_port_first = 32768;
  h->ephemeral_port_last = 60999;
  h->unprivileged_start = text.unprivileged_start;
}

// The block that a description stands for; its length is in the header.
inline std::vector<uint64_t> block_of(const ConfigText& text) {
  size_t local = text.held_local.size();
  for (const ServiceText& service : text.services) local += service.local.size();
  const size_t services_at = sizeof(SnapshotHeaderRecord);
  const size_t destinations_at = services_at + text.services.size() * sizeof(ServiceRecord);
  const size_t local_at = destinations_at + text.destinations.size() * sizeof(DestinationRecord);
  const size_t announces_at = local_at + local * sizeof(Addr);
  const size_t rules_at = announces_at + text.announces.size() * sizeof(AnnounceRecord);
  const size_t ports_at = rules_at + text.mark_rules.size() * sizeof(MarkRuleRecord);
  const size_t ends_at = ports_at + text.mark_ports.size() * sizeof(uint32_t);
  const size_t synproxy_at = ends_at + text.mark_ends.size() * sizeof(MarkEndRecord);
  const size_t removed_at = synproxy_at + sizeof(SynproxyRecord);
  const size_t bytes = removed_at + text.removed_addresses.size() * sizeof(Addr);
  std::vector<uint64_t> block((bytes + 7) / 8, 0);
  auto* start = reinterpret_cast<uint8_t*>(block.data());
  auto* h = reinterpret_cast<SnapshotHeaderRecord*>(start);
  h->magic = kSnapshotMagic;
  h->layout_hash = kLayoutHash;
  h->generation = 1;
  h->bytes = static_cast<uint32_t>(block.size() * 8);
  h->service_count = static_cast<uint32_t>(text.services.size());
  h->service_offset = static_cast<uint32_t>(services_at);
  h->destination_count = static_cast<uint32_t>(text.destinations.size());
  h->destination_offset = static_cast<uint32_t>(destinations_at);
  h->local_address_count = static_cast<uint32_t>(local);
  h->local_address_offset = static_cast<uint32_t>(local_at);
  h->order_offset = static_cast<uint32_t>(bytes);
  h->announce_count = static_cast<uint32_t>(text.announces.size());
  h->announce_offset = static_cast<uint32_t>(announces_at);
  h->mark_rule_count = static_cast<uint32_t>(text.mark_rules.size());
  h->mark_rule_offset = static_cast<uint32_t>(rules_at);
  h->mark_port_count = static_cast<uint32_t>(text.mark_ports.size());
  h->mark_port_offset = static_cast<uint32_t>(ports_at);
  h->mark_end_count = static_cast<uint32_t>(text.mark_ends.size());
  h->mark_end_offset = static_cast<uint32_t>(ends_at);
  h->removed_address_count = static_cast<uint32_t>(text.removed_addresses.size());
  h->removed_address_offset = static_cast<uint32_t>(removed_at);
  std::copy(std::begin(text.ftp_ports), std::end(text.ftp_ports), h->ftp_ports);
  h->udp_timeout_sec = text.udp_sec;
  set_ports_and_fullnat(h, text);
  h->steering_moved = text.steering_moved ? 1 : 0;
  std::copy(std::begin(text.tcp_sec), std::end(text.tcp_sec), h->tcp_timeout_sec);
  write_settings(h, text);
  h->synproxy_offset = static_cast<uint32_t>(synproxy_at);
  std::memcpy(start + synproxy_at, &text.synproxy, sizeof text.synproxy);
  auto* services = reinterpret_cast<ServiceRecord*>(start + services_at);
  auto* addresses = reinterpret_cast<Addr*>(start + local_at);
  uint32_t local_first = 0;
  for (size_t i = 0; i < text.services.size(); i++) {
    write_service(&services[i], text.services[i], local_first);
    for (const Addr& each : text.services[i].local) addresses[local_first++] = each;
  }
  std::copy(text.held_local.begin(), text.held_local.end(), addresses + local_first);
  auto* destinations = reinterpret_cast<DestinationRecord*>(start + destinations_at);
  for (size_t i = 0; i < text.destinations.size(); i++) {
    write_destination(&destinations[i], text.destinations[i]);
  }
  auto* announces = reinterpret_cast<AnnounceRecord*>(start + announces_at);
  std::copy(text.announces.begin(), text.announces.end(), announces);
  std::copy(text.mark_rules.begin(), text.mark_rules.end(),
            reinterpret_cast<MarkRuleRecord*>(start + rules_at));
  std::copy(text.mark_ports.begin(), text.mark_ports.end(),
            reinterpret_cast<uint32_t*>(start + ports_at));
  std::copy(text.mark_ends.begin(), text.mark_ends.end(),
            reinterpret_cast<MarkEndRecord*>(start + ends_at));
  std::copy(text.removed_addresses.begin(), text.removed_addresses.end(),
            reinterpret_cast<Addr*>(start + removed_at));
  return block;
}

// One core over `blocks`. Verdicts are written by a function of the test.
class CoreRig {
 public:
  using Verdict = std::function<int32_t(const MissRecord&)>;

  explicit CoreRig(Blocks& blocks, uint32_t worker = 0, uint32_t workers = 1,
                   Link link = Link::kEthernet, int32_t host_port = -1)
      : blocks_(blocks) {
    std::vector<std::unique_ptr<Port>> ports;
    for (RigPort*& port : port_) {
      auto made = std::make_unique<RigPort>(link);
      port = made.get();
      ports.push_back(std::move(made));
    }
    auto hops = std::make_unique<RigHops>();
    hops_ = hops.get();
    core_ = std::make_unique<Core>(blocks.memory(worker, workers, host_port), std::move(ports),
                                   std::move(hops), clock, 0x243f6a8885a308d3);
  }

  // False: check_snapshot() refuses the description.
  bool adopt(const ConfigText& text) {
    std::vector<uint64_t> block = block_of(text);
    const auto* bytes = reinterpret_cast<const uint8_t*>(block.data());
    if (check_snapshot(bytes, block.size() * 8) != SnapshotError::kNone) return false;
    core_->adopt(bytes);
    block_ = std::move(block);  // its memory does not move
    return true;
  }

  // Bursts until no frame waits; returns how many misses there were.
  uint32_t run(const Verdict& verdict) {
    uint32_t misses = 0;
    do {
      const uint32_t count = core_->poll(0);
      for (uint32_t i = 0; i < count; i++) {
        MissRecord& record = blocks_.misses.get()[i];
        record.verdict = verdict(record);
      }
      if (count != 0) core_->resolve();
      misses += count;
    } while (port_[0]->waiting() + port_[1]->waiting() != 0);
    return misses;
  }

  // Moves the clock and lets timers catch up.
  void pass_ms(uint64_t ms) {
    clock.us += ms * 1000;
    for (uint32_t i = 0; i < 100'000; i++) {
      core_->poll(0);
      if (core_->table().wheel().now() == core_->tick()) return;
    }
  }

  Core& core() { return *core_; }
  RigPort& port(uint32_t number) { return *port_[number]; }
  RigHops& hops() { return *hops_; }
  uint64_t reason(Reason reason) const {
    return blocks_.reasons.get()[static_cast<uint8_t>(reason)];
  }
  const LoadRecord& load(uint32_t slot) const { return blocks_.loads.get()[slot]; }

  RigClock clock;

 private:
  Blocks& blocks_;
  std::vector<uint64_t> block_;
  RigPort* port_[2] = {};  // owned by the core
  RigHops* hops_ = nullptr;
  std::unique_ptr<Core> core_;
};

// Connections by destination slot as the table holds them: what the load lanes must say.
struct Held {
  int32_t active = 0;
  int32_t inactive = 0;
};
inline std::vector<Held> held(const ConnTable& table, uint32_t slots) {
  std::vector<Held> out(slots);
  for (uint32_t id = 0; id < table.high_water(); id++) {
    if (!table.live(id) || table.at(id).destination_slot == kNoSlot) continue;
    Held& one = out.at(table.at(id).destination_slot);
    ((table.at(id).flags & kConnInactive) != 0 ? one.inactive : one.active)++;
  }
  return out;
}

}  // namespace uvs::rig
