// Which (address, port, protocol) are masquerade destinations: what the kernel's rs_table is asked
// for nat_icmp_send and by the SIP engine (ip_vs_ctl.c ip_vs_find_real_service; spec 5.2, 4.5).
#pragma once
#include <cstdint>
#include <memory>

#include "classify/snapshot.h"

namespace uvs {

class RealServers {
 public:
  RealServers();

  // Fills the table from a snapshot; does nothing while nobody asks it.
  void adopt(const Snapshot& snapshot);

  // The newest masquerade destination of `snapshot`, the one adopted last, that has this end: its
  // slot, kNoSlot when there is none.
  uint16_t find(const Snapshot& snapshot, const Addr& address, uint16_t port,
                uint8_t protocol) const;

 private:
  static constexpr uint32_t kEntries = 2 * kMaxDestinations;  // at most half full
  static uint32_t home(const Addr& address, uint16_t port);

  std::unique_ptr<uint16_t[]> entries_;  // destination slot + 1, open addressing
};

}  // namespace uvs
