// In: a snapshot; later the source of a packet that no connection knows. Does: says whether it is a
// masquerade destination. Next: core_icmp.cc answers it,
// or core_sip.cc begins a connection with it.
#include "classify/real_servers.h"

#include <algorithm>

#include "address_hash.h"

namespace uvs {
namespace {

bool is_real_server(const DestinationRecord* destination) {
  return destination != nullptr && destination->method == kMethodMasquerade &&
         (destination->flags & kDestinationAvailable) != 0 && destination->service_slot != kNoSlot;
}

}  // namespace

RealServers::RealServers() : entries_(new uint16_t[kEntries]()) {}

uint32_t RealServers::home(const Addr& address, uint16_t port) {
  return static_cast<uint32_t>(hash_address(address, port) % kEntries);
}

void RealServers::adopt(const Snapshot& snapshot) {
  if (snapshot.sysctl(kSysctlNatIcmpSend) == 0 && !snapshot.has_sip()) return;
  static_assert(kMaxDestinations < UINT16_MAX);
  std::fill_n(entries_.get(), kEntries, uint16_t{0});
  for (uint32_t slot = 0; slot < snapshot.header().destination_count; slot++) {
    const DestinationRecord* destination = snapshot.destination(slot);
    if (!is_real_server(destination)) continue;
    uint32_t at = home(destination->address, destination->port);
    while (entries_[at] != 0) at = (at + 1) % kEntries;
    entries_[at] = static_cast<uint16_t>(slot + 1);
  }
}

uint16_t RealServers::find(const Snapshot& snapshot, const Addr& address, uint16_t port,
                           uint8_t protocol) const {
  uint16_t found = kNoSlot;
  uint32_t newest = 0;
  for (uint32_t at = home(address, port); entries_[at] != 0; at = (at + 1) % kEntries) {
    const DestinationRecord& destination = *snapshot.destination(entries_[at] - 1u);
    if (destination.port != port || !(destination.address == address)) continue;
    const ServiceRecord* service = snapshot.service(destination.service_slot);
    if (service == nullptr || (service->protocol != protocol && service->fwmark == 0)) continue;
    if (found != kNoSlot && destination.hashed < newest) continue;
    found = static_cast<uint16_t>(entries_[at] - 1);
    newest = destination.hashed;
  }
  return found;
}

}  // namespace uvs
