// In: a parsed packet that no connection knows. Does: find its virtual service.
// Next: upcall/miss_batch.cc asks TypeScript for a destination.
#include "classify/classify.h"

namespace uvs {
namespace {

constexpr uint16_t kFtpPort = 21;
constexpr uint16_t kFtpDataPort = 20;

}  // namespace

uint16_t find_service(const Snapshot& snapshot, const FlowKey& key, uint32_t mark) {
  uint16_t slot = kNoSlot;
  if (mark != 0) slot = snapshot.find_marked(mark, key.destination.is_v4() ? 4 : 6);
  if (slot != kNoSlot) return slot;
  const uint16_t port = key.destination_port.host();
  slot = snapshot.find_exact(key.destination, port, key.protocol);
  if (slot == kNoSlot && key.protocol == kProtoTcp && snapshot.has_ftp() &&
      (port == kFtpDataPort || port >= snapshot.header().unprivileged_start)) {
    slot = snapshot.find_exact(key.destination, kFtpPort, kProtoTcp);
  }
  if (slot == kNoSlot && snapshot.has_port_zero()) {
    slot = snapshot.find_exact(key.destination, 0, key.protocol);
  }
  return slot;
}

}  // namespace uvs
