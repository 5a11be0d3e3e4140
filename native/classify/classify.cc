// In: a parsed packet that no connection knows. Does: find its virtual service.
// Next: upcall/miss_batch.cc asks TypeScript for a destination.
#include "classify/classify.h"

namespace uvs {
namespace {

constexpr uint16_t kFtpPort = 21;
constexpr uint16_t kFtpDataPort = 20;
// Default of net.ipv4.ip_unprivileged_port_start (spec 1.2).
constexpr uint16_t kUnprivilegedStart = 1024;

}  // namespace

uint16_t find_service(const Snapshot& snapshot, const FlowKey& key, uint32_t mark) {
  uint16_t slot = kNoSlot;
  if (mark != 0) slot = snapshot.find_marked(mark, key.destination.is_v4() ? 4 : 6);
  if (slot != kNoSlot) return slot;
  const uint16_t port = key.destination_port.host();
  slot = snapshot.find_exact(key.destination, port, key.protocol);
  if (slot == kNoSlot && key.protocol == kProtoTcp && snapshot.has_ftp() &&
      (port == kFtpDataPort || port >= kUnprivilegedStart)) {
    slot = snapshot.find_exact(key.destination, kFtpPort, kProtoTcp);
  }
  if (slot == kNoSlot && snapshot.has_port_zero()) {
    slot = snapshot.find_exact(key.destination, 0, key.protocol);
  }
  return slot;
}

}  // namespace uvs
