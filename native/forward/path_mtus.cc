// In: what a router said about a tunnel packet. Does: remembers it for a while.
// Next: transmit_tunnel.cc asks before it sends.
#include "forward/path_mtus.h"

#include <algorithm>

#include "address_hash.h"

namespace uvs {

PathMtus::Entry* PathMtus::set_of(const Addr& destination) const {
  const auto set = static_cast<uint32_t>(hash_address(destination) % (kPathMtus / kWays));
  return &entries_[set * kWays];
}

uint32_t PathMtus::narrowed(const Addr& destination, uint32_t route_mtu, uint32_t now_ms) const {
  const Entry* way = set_of(destination);
  for (uint32_t i = 0; i < kWays; i++) {
    if (way[i].mtu == 0 || !(way[i].destination == destination)) continue;
    return old(way[i], now_ms) ? route_mtu : std::min<uint32_t>(route_mtu, way[i].mtu);
  }
  return route_mtu;
}

void PathMtus::tell(const Addr& destination, uint32_t route_mtu, uint32_t told, uint32_t now_ms) {
  const uint32_t known = of(destination, route_mtu, now_ms);
  if (known == 0 || known < told) return;
  const uint32_t mtu = std::max(told, std::min(known, kMinPathMtu));
  Entry* way = set_of(destination);
  Entry* chosen = way;
  for (uint32_t i = 0; i < kWays; i++) {
    if (way[i].mtu != 0 && way[i].destination == destination) {
      // Told again and again it must run out all the same, but not while it is news.
      const bool fresh = now_ms - way[i].since_ms < kPathMtuMs / 2;
      if (way[i].mtu == mtu && fresh) return;
      chosen = &way[i];
      break;
    }
    const bool older = now_ms - way[i].since_ms > now_ms - chosen->since_ms;
    if (chosen->mtu != 0 && (way[i].mtu == 0 || older)) chosen = &way[i];
  }
  if (chosen->mtu == 0) live_++;
  *chosen = Entry{destination, now_ms, static_cast<uint16_t>(mtu)};
}

void PathMtus::expire(uint32_t now_ms) {
  if (live_ == 0 || now_ms - swept_ms_ < kSweepMs) return;
  swept_ms_ = now_ms;
  for (uint32_t i = 0; live_ != 0 && i < kPathMtus; i++) {
    if (entries_[i].mtu == 0 || !old(entries_[i], now_ms)) continue;
    entries_[i].mtu = 0;
    live_--;
  }
}

}  // namespace uvs
