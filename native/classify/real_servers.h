// Which (address, port, protocol) are masquerade destinations: what the kernel's rs_table is asked
// for nat_icmp_send (ip_vs_ctl.c ip_vs_has_real_service; spec 5.2).
#pragma once
#include <cstdint>
#include <memory>

#include "classify/snapshot.h"

namespace uvs {

class RealServers {
 public:
  RealServers();

  // Fills the table from a snapshot; does nothing while nat_icmp_send is off.
  void adopt(const Snapshot& snapshot);

  // Whether a masquerade destination of `snapshot`, the one adopted last, has this end.
  bool contains(const Snapshot& snapshot, const Addr& address, uint16_t port,
                uint8_t protocol) const;

 private:
  static constexpr uint32_t kEntries = 2 * kMaxDestinations;  // at most half full
  static uint32_t home(const Addr& address, uint16_t port);

  std::unique_ptr<uint16_t[]> entries_;  // destination slot + 1, open addressing
};

}  // namespace uvs
