// Paths to destinations that are narrower than their route says: what routers told about tunnel
// packets (spec 5.7.3). One table for each worker: every worker hears of the packets of its own
// flows.
//
// As the kernel's exceptions of a route (net/ipv4/route.c, __ip_rt_update_pmtu): a path never gets
// wider by being told, is never taken for narrower than kMinPathMtu, and is forgotten after ten
// minutes, so that a path that has become wider is found.
#pragma once
#include <cstdint>
#include <memory>

#include "addr.h"
#include "limits.h"

namespace uvs {

class PathMtus {
 public:
  PathMtus() : entries_(std::make_unique<Entry[]>(kPathMtus)) {}

  // MTU of the path to `destination` where that of its route is `route_mtu`.
  uint32_t of(const Addr& destination, uint32_t route_mtu, uint32_t now_ms) const {
    return live_ == 0 ? route_mtu : narrowed(destination, route_mtu, now_ms);
  }

  // A router said that `told` bytes fit. Where all entries of a set are live the oldest goes.
  void tell(const Addr& destination, uint32_t route_mtu, uint32_t told, uint32_t now_ms);

  // Forgets what is too old, so that it is not believed again when now_ms comes round (49 days);
  // cheap to call often.
  void expire(uint32_t now_ms);

  uint32_t size() const { return live_; }

 private:
  static constexpr uint32_t kWays = 4;
  static constexpr uint32_t kSweepMs = 60'000;
  static_assert(kPathMtus % kWays == 0);

  struct Entry {
    Addr destination;
    uint32_t since_ms;
    uint16_t mtu;  // 0: empty
  };

  uint32_t narrowed(const Addr& destination, uint32_t route_mtu, uint32_t now_ms) const;
  Entry* set_of(const Addr& destination) const;
  static bool old(const Entry& entry, uint32_t now_ms) {
    return now_ms - entry.since_ms >= kPathMtuMs;
  }

  std::unique_ptr<Entry[]> entries_;
  uint32_t live_ = 0;  // entries that are not empty
  uint32_t swept_ms_ = 0;
};

}  // namespace uvs
