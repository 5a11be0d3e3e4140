// In: connections drawn at random. Does: says which of them goes. Next: tracker.cc ends it, and its
// masters with it.
#include "conn/drop_entry.h"

#include "conn/timer_wheel.h"

namespace uvs {
namespace {

// Refreshed within this time: a normal connection gets through.
constexpr int32_t kGraceTicks = 60 * kTicksPerSec;

}  // namespace

uint32_t DropEntry::draws(uint32_t records) {
  const uint64_t due = uint64_t{records} + remainder_;
  remainder_ = static_cast<uint32_t>(due % kShare);
  return static_cast<uint32_t>(due / kShare);
}

bool DropEntry::takes(const Conn& conn, int32_t idle) {
  if (conn.protocol == kProtoTcp) {
    if (conn.state == kTcpSynRecv || conn.state == kTcpSynack) return true;
    return conn.state == kTcpEstablished && lottery(conn.in_packets, idle);
  }
  if (conn.protocol == kProtoSctp) {
    if (conn.state == kSctpInit1 || conn.state == kSctpInit) return true;
    return conn.state == kSctpEstablished && lottery(conn.in_packets, idle);
  }
  return lottery(conn.in_packets, idle);
}

// One of `packets`: the less a connection has brought, the sooner it goes. The first of each number
// always does.
bool DropEntry::lottery(uint32_t packets, int32_t idle) {
  if (idle < kGraceTicks || packets < 1 || packets > kPacketsMax) return false;
  if (counters_[packets] > 1) {
    counters_[packets]--;
    return false;
  }
  counters_[packets] = packets;
  return true;
}

}  // namespace uvs
