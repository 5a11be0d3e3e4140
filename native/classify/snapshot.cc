// In: a block of bytes from TypeScript. Does: check it, then read it in place.
// Next: classify.cc looks services up in it; core.cc asks it about destinations.
#include "classify/snapshot.h"

#include <algorithm>

namespace uvs {
namespace {

constexpr uint32_t kLookupSize = kMaxServices * 4;  // at most a quarter full
constexpr uint32_t kVirtualSize =
    (kMaxServices + kMaxMarkEnds + kMaxRemovedAddresses) * 2;  // at most half full
static_assert(kMaxServices + kMaxMarkEnds + kMaxRemovedAddresses < UINT16_MAX);
constexpr uint16_t kFtpPort = 21;

template <typename T>
bool in_range(uint32_t offset, uint32_t count, size_t bytes) {
  return offset % 4 == 0 && offset <= bytes && uint64_t{count} * sizeof(T) <= bytes - offset;
}

bool family_ok(uint8_t family, const Addr& address) {
  return (family == 4 || family == 6) && address.is_v4() == (family == 4);
}

bool service_ok(const ServiceRecord& s, const SnapshotHeaderRecord& h, const Addr* local) {
  const uint64_t order_end = uint64_t{s.order_first} + s.order_count;
  const uint64_t local_end = uint64_t{s.local_first} + s.local_count;
  if (order_end > h.order_count || local_end > h.local_address_count) return false;
  for (uint32_t i = s.local_first; i < local_end; i++) {
    // NAT64: an IPv6 service may reach IPv4 destinations from IPv4 addresses.
    if (!family_ok(s.family, local[i]) && !(s.family == 6 && local[i].is_v4())) return false;
  }
  if ((s.flags & kServiceSynproxy) != 0 && h.synproxy_offset == 0) return false;
  if (s.fwmark != 0) return s.family == 4 || s.family == 6;
  return (s.protocol == 6 || s.protocol == 17 || s.protocol == 132) &&
         family_ok(s.family, s.address);
}

// Only a tunnel leads to another family than its service's, and FULLNAT from IPv6 to IPv4.
bool destination_ok(const DestinationRecord& d, const SnapshotHeaderRecord& h,
                    const ServiceRecord* services) {
  if (d.method > kMethodFullnat || d.weight < 0 || !family_ok(d.family, d.address)) return false;
  if (d.service_slot == kNoSlot) return (d.flags & kDestinationAvailable) == 0;
  if (d.service_slot >= h.service_count) return false;
  const ServiceRecord& service = services[d.service_slot];
  if (service.used == 0 || d.method == kMethodTunnel || service.family == d.family) return true;
  return d.method == kMethodFullnat && service.family == 6;
}

// Values that a header or a shift could not hold, whoever wrote the block.
bool synproxy_ok(const SynproxyRecord& r) {
  return r.window_scale <= 14 && r.ttl != 0 && r.init_mss != 0;
}

}  // namespace

const char* snapshot_error_text(SnapshotError error) {
  switch (error) {
    case SnapshotError::kNone: return "good";
    case SnapshotError::kMisaligned: return "does not start on a multiple of four bytes";
    case SnapshotError::kTooShort: return "shorter than its header";
    case SnapshotError::kBadMagic: return "not a snapshot";
    case SnapshotError::kBadLayout: return "built from another layout";
    case SnapshotError::kBadLength: return "length does not match its header";
    case SnapshotError::kOutOfRange: return "a count or an offset is out of range";
    case SnapshotError::kBadService: return "a service record is out of range";
    case SnapshotError::kBadDestination: return "a destination record is out of range";
    case SnapshotError::kBadOrder: return "the order list names no destination";
    case SnapshotError::kBadMark: return "a mark rule is out of range";
    case SnapshotError::kBadSynproxy: return "a parameter of SYNPROXY is out of range";
  }
  return "unknown";
}

SnapshotError check_snapshot(const uint8_t* block, size_t bytes) {
  if (reinterpret_cast<uintptr_t>(block) % 4 != 0) return SnapshotError::kMisaligned;
  if (bytes < sizeof(SnapshotHeaderRecord)) return SnapshotError::kTooShort;
  const auto& h = *reinterpret_cast<const SnapshotHeaderRecord*>(block);
  if (h.magic != kSnapshotMagic) return SnapshotError::kBadMagic;
  if (h.layout_hash != kLayoutHash) return SnapshotError::kBadLayout;
  if (h.bytes != bytes) return SnapshotError::kBadLength;
  if (h.service_count > kMaxServices || h.destination_count > kMaxDestinations ||
      !in_range<ServiceRecord>(h.service_offset, h.service_count, bytes) ||
      !in_range<DestinationRecord>(h.destination_offset, h.destination_count, bytes) ||
      !in_range<uint32_t>(h.order_offset, h.order_count, bytes) ||
      !in_range<Addr>(h.local_address_offset, h.local_address_count, bytes) ||
      !in_range<AnnounceRecord>(h.announce_offset, h.announce_count, bytes) ||
      h.mark_rule_count > kMaxMarkRules || h.mark_port_count > kMaxMarkPorts ||
      h.mark_end_count > kMaxMarkEnds ||
      !in_range<MarkRuleRecord>(h.mark_rule_offset, h.mark_rule_count, bytes) ||
      !in_range<uint32_t>(h.mark_port_offset, h.mark_port_count, bytes) ||
      !in_range<MarkEndRecord>(h.mark_end_offset, h.mark_end_count, bytes) ||
      h.removed_address_count > kMaxRemovedAddresses ||
      !in_range<Addr>(h.removed_address_offset, h.removed_address_count, bytes) ||
      !in_range<SynproxyRecord>(h.synproxy_offset, h.synproxy_offset != 0, bytes) ||
      h.local_port_first == 0 || h.local_port_last < h.local_port_first ||
      h.taken_port_first > h.local_port_first || h.taken_port_last < h.local_port_last ||
      h.ephemeral_port_first == 0 || h.ephemeral_port_last < h.ephemeral_port_first ||
      h.uoa_mode > kUoaOption || h.uoa_trail > kMaxUoaTrail) {
    return SnapshotError::kOutOfRange;
  }
  const auto* services = reinterpret_cast<const ServiceRecord*>(block + h.service_offset);
  const auto* local = reinterpret_cast<const Addr*>(block + h.local_address_offset);
  for (uint32_t i = 0; i < h.service_count; i++) {
    if (services[i].used != 0 && !service_ok(services[i], h, local))
      return SnapshotError::kBadService;
  }
  const auto* destinations =
      reinterpret_cast<const DestinationRecord*>(block + h.destination_offset);
  for (uint32_t i = 0; i < h.destination_count; i++) {
    if (destinations[i].used != 0 && !destination_ok(destinations[i], h, services)) {
      return SnapshotError::kBadDestination;
    }
  }
  if (h.synproxy_offset != 0 &&
      !synproxy_ok(*reinterpret_cast<const SynproxyRecord*>(block + h.synproxy_offset))) {
    return SnapshotError::kBadSynproxy;
  }
  const auto* order = reinterpret_cast<const uint32_t*>(block + h.order_offset);
  for (uint32_t i = 0; i < h.order_count; i++) {
    if (order[i] >= h.destination_count || destinations[order[i]].used == 0) {
      return SnapshotError::kBadOrder;
    }
  }
  return MarkRules::good(block) ? SnapshotError::kNone : SnapshotError::kBadMark;
}

Snapshot::Snapshot()
    : lookup_(kLookupSize, 0), marked_(kLookupSize, 0), virtual_(kVirtualSize, 0) {}

uint32_t Snapshot::hash(const Addr& address, uint16_t port, uint8_t protocol) {
  const uint64_t key = address.high() ^ (address.low() * 0x9e3779b97f4a7c15u) ^
                       (uint64_t{port} << 8 | protocol) * 0xd6e8feb86659fd93u;
  return static_cast<uint32_t>((key * 0xa0761d6478bd642fu) >> 32);
}

uint32_t Snapshot::hash(uint32_t mark, uint8_t family) {
  return static_cast<uint32_t>(((uint64_t{family} << 32 | mark) * 0x9e3779b97f4a7c15u) >> 32);
}

void Snapshot::adopt(const uint8_t* block) {
  header_ = reinterpret_cast<const SnapshotHeaderRecord*>(block);
  services_ = reinterpret_cast<const ServiceRecord*>(block + header_->service_offset);
  destinations_ = reinterpret_cast<const DestinationRecord*>(block + header_->destination_offset);
  local_addresses_ = reinterpret_cast<const Addr*>(block + header_->local_address_offset);
  announces_ = reinterpret_cast<const AnnounceRecord*>(block + header_->announce_offset);
  removed_ = reinterpret_cast<const Addr*>(block + header_->removed_address_offset);
  marks_.adopt(block);
  port_zero_ = ftp_ = sip_ = fullnat_ = false;
  for (auto* table : {&lookup_, &marked_, &virtual_}) std::fill(table->begin(), table->end(), 0);
  for (uint32_t slot = 0; slot < header_->destination_count; slot++) {
    fullnat_ |= destinations_[slot].used != 0 && destinations_[slot].method == kMethodFullnat;
  }
  for (uint32_t slot = 0; slot < header_->service_count; slot++) {
    const ServiceRecord& s = services_[slot];
    if (s.used == 0) continue;
    port_zero_ |= s.port == 0;
    sip_ |= (s.flags & kServiceSip) != 0;
    ftp_ |= s.fwmark == 0 && s.port == kFtpPort;
    std::vector<uint16_t>& table = s.fwmark == 0 ? lookup_ : marked_;
    uint32_t at = (s.fwmark == 0 ? hash(s.address, s.port, s.protocol) : hash(s.fwmark, s.family)) %
                  kLookupSize;
    while (table[at] != 0) at = (at + 1) % kLookupSize;
    table[at] = static_cast<uint16_t>(slot + 1);
    if (s.fwmark == 0) add_virtual(s.address, slot);
  }
  for (uint32_t i = 0; i < marks_.end_count(); i++) {
    if (marks_.end(i).bits == 128) add_virtual(marks_.end(i).address, kMaxServices + i);
  }
  for (uint32_t i = 0; i < header_->removed_address_count; i++) {
    add_virtual(removed_[i], kMaxServices + kMaxMarkEnds + i);
  }
}

void Snapshot::add_virtual(const Addr& address, uint32_t number) {
  uint32_t at = hash(address, 0, 0) % kVirtualSize;
  for (; virtual_[at] != 0; at = (at + 1) % kVirtualSize) {
    if (virtual_address(virtual_[at] - 1u) == address) return;
  }
  virtual_[at] = static_cast<uint16_t>(number + 1);
}

const Addr& Snapshot::virtual_address(uint32_t number) const {
  if (number < kMaxServices) return services_[number].address;
  number -= kMaxServices;
  return number < kMaxMarkEnds ? marks_.end(number).address : removed_[number - kMaxMarkEnds];
}

uint32_t Snapshot::find_virtual(const Addr& address) const {
  uint32_t at = hash(address, 0, 0) % kVirtualSize;
  for (; virtual_[at] != 0; at = (at + 1) % kVirtualSize) {
    if (virtual_address(virtual_[at] - 1u) == address) return virtual_[at];
  }
  return 0;
}

uint16_t Snapshot::find_exact(const Addr& address, uint16_t port, uint8_t protocol) const {
  uint32_t at = hash(address, port, protocol) % kLookupSize;
  for (; lookup_[at] != 0; at = (at + 1) % kLookupSize) {
    const ServiceRecord& s = services_[lookup_[at] - 1];
    if (s.port == port && s.protocol == protocol && s.address == address) {
      return static_cast<uint16_t>(lookup_[at] - 1);
    }
  }
  return kNoSlot;
}

uint16_t Snapshot::find_marked(uint32_t mark, uint8_t family) const {
  uint32_t at = hash(mark, family) % kLookupSize;
  for (; marked_[at] != 0; at = (at + 1) % kLookupSize) {
    const ServiceRecord& s = services_[marked_[at] - 1];
    if (s.fwmark == mark && s.family == family) return static_cast<uint16_t>(marked_[at] - 1);
  }
  return kNoSlot;
}

}  // namespace uvs
