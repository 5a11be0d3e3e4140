// In: a packet on its way. Does: counts its TTL down, which is all that happens to a packet in
// direct routing and bypass (spec 5.5.6) and what every other method starts with (spec 5.5.1).
// Next: transmit.cc.
#include <cassert>

#include "forward/forward.h"
#include "parse/checksum.h"
#include "parse/ip4.h"
#include "parse/ip6.h"

namespace uvs {

void decrement_ttl(Packet& packet) {
  if (packet.family == 6) {
    Ip6 ip(packet.ip());
    assert(ip.hop_limit() > 1);
    ip.set_hop_limit(static_cast<uint8_t>(ip.hop_limit() - 1));
    return;
  }
  Ip4 ip(packet.ip());
  assert(ip.ttl() > 1);
  ip.set_ttl(static_cast<uint8_t>(ip.ttl() - 1));
  // The TTL is the first byte of its word, so that the word always falls by the same.
  constexpr Be16 kBefore = Be16::of(0x0100);
  ip.set_checksum(update_checksum(ip.checksum().raw, difference16(kBefore, Be16{})));
}

}  // namespace uvs
