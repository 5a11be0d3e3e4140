// Stop 4, the data: the immutable configuration block that main publishes (layout.ts, `snapshot*`
// records), checked once and then read in place.
//
// The block is borrowed: main keeps it alive until every worker has acknowledged a newer one.
#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

#include "classify/mark_rules.h"
#include "layout.gen.h"

namespace uvs {

// Why a block was refused; kNone: it is good.
enum class SnapshotError : uint8_t {
  kNone,
  kMisaligned,  // does not start on a multiple of four bytes
  kTooShort,
  kBadMagic,
  kBadLayout,   // built from another layout.ts
  kBadLength,   // header length is not the block's
  kOutOfRange,  // a count or an offset points outside
  kBadService,  // a field of a service is out of range
  kBadDestination,
  kBadOrder,  // the order list names a hole
  kBadMark,   // a field of a mark rule or of what it selects is out of range
  kBadSynproxy,
};
const char* snapshot_error_text(SnapshotError error);

// Checks every count, offset and index; reads nothing outside [block, block + bytes).
SnapshotError check_snapshot(const uint8_t* block, size_t bytes);

// A checked block and the lookup built from it. adopt() may allocate; find_* do not.
class Snapshot {
 public:
  Snapshot();

  // Precondition: check_snapshot() said kNone and `block` stays.
  void adopt(const uint8_t* block);
  bool adopted() const { return header_ != nullptr; }

  const SnapshotHeaderRecord& header() const { return *header_; }
  uint32_t sysctl(uint32_t index) const { return header_->sysctls[index]; }

  // Null for a hole.
  const ServiceRecord* service(uint32_t slot) const {
    if (slot >= header_->service_count || services_[slot].used == 0) return nullptr;
    return &services_[slot];
  }
  const DestinationRecord* destination(uint32_t slot) const {
    if (slot >= header_->destination_count || destinations_[slot].used == 0) return nullptr;
    return &destinations_[slot];
  }
  // Null when no service has SYNPROXY.
  const SynproxyRecord* synproxy() const {
    if (header_->synproxy_offset == 0) return nullptr;
    const auto* block = reinterpret_cast<const uint8_t*>(header_);
    return reinterpret_cast<const SynproxyRecord*>(block + header_->synproxy_offset);
  }
  const Addr& local_address(uint32_t index) const { return local_addresses_[index]; }
  const AnnounceRecord* announces() const { return announces_; }
  uint32_t announce_count() const { return header_->announce_count; }

  // Service slot of an exact (address, port, protocol), kNoSlot when there is none.
  uint16_t find_exact(const Addr& address, uint16_t port, uint8_t protocol) const;

  // Service slot of a firewall mark other than 0, kNoSlot when there is none.
  uint16_t find_marked(uint32_t mark, uint8_t family) const;

  // The mark rules, and what they select.
  const MarkRules& marks() const { return marks_; }

  // True if `address` is the address of any service, or one that a mark rule selects by itself.
  bool is_virtual(const Addr& address) const {
    const uint32_t found = find_virtual(address);
    return found != 0 && found <= kMaxServices + kMaxMarkEnds;
  }

  // The same, or the address of a removed service of which connections may be left.
  bool was_virtual(const Addr& address) const { return find_virtual(address) != 0; }

  bool has_port_zero() const { return port_zero_; }
  bool has_ftp() const { return ftp_; }
  // True while any service has the SIP engine.
  bool has_sip() const { return sip_; }

  // True if the FTP helper reads connections to this virtual port (spec 6.1).
  bool is_ftp_port(uint16_t port) const {
    for (const uint16_t each : header_->ftp_ports) {
      if (each == port) return port != 0;
    }
    return false;
  }
  bool has_fullnat() const { return fullnat_; }

 private:
  static uint32_t hash(const Addr& address, uint16_t port, uint8_t protocol);
  static uint32_t hash(uint32_t mark, uint8_t family);
  void add_virtual(const Addr& address, uint32_t number);
  // The number of the address + 1, 0 for none.
  uint32_t find_virtual(const Addr& address) const;
  const Addr& virtual_address(uint32_t number) const;
  const SnapshotHeaderRecord* header_ = nullptr;
  const ServiceRecord* services_ = nullptr;
  const DestinationRecord* destinations_ = nullptr;
  const Addr* local_addresses_ = nullptr;
  const AnnounceRecord* announces_ = nullptr;
  const Addr* removed_ = nullptr;
  MarkRules marks_;
  std::vector<uint16_t> lookup_;   // open addressing, service slot + 1
  std::vector<uint16_t> marked_;   // the same by firewall mark
  std::vector<uint16_t> virtual_;  // by address alone: of a service (slot + 1), of a mark end (its
                                   //   number + 1 + kMaxServices), or a removed one (the same +
                                   //   kMaxMarkEnds)
  bool port_zero_ = false;
  bool ftp_ = false;
  bool sip_ = false;
  bool fullnat_ = false;
};

}  // namespace uvs
