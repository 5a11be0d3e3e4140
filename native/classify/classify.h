// Stop 4: which virtual service a packet without connection belongs to (spec 1.2, 5.3).
#pragma once
#include "classify/snapshot.h"
#include "parse/packet.h"

namespace uvs {

// Service slot for a new flow that carries `mark` (0: none), in the kernel's order: mark, exact,
// FTP rule, port 0; kNoSlot: none. Kernel: ip_vs_ctl.c ip_vs_service_find.
uint16_t find_service(const Snapshot& snapshot, const FlowKey& key, uint32_t mark);

// Whether new flows of the service need a Call-ID (spec 4.5): an engine is asked for templates
// only.
inline bool asks_sip(const ServiceRecord& service) {
  constexpr uint32_t kBoth = kServiceSip | kServicePersistent;
  return (service.flags & kBoth) == kBoth;
}

}  // namespace uvs
