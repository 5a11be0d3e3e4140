// In: an address. Does: names one of a few fixed hops. Next: transmit.cc puts its link header on.
#include "forward/static_next_hops.h"

#include <algorithm>
#include <cassert>
#include <cstring>

namespace uvs {
namespace {

NextHop hop_of(uint16_t port, bool six) {
  NextHop hop{};
  const auto number = static_cast<uint8_t>(port);
  const uint8_t link[12] = {2, 0, 0, 0, 1, number, 2, 0, 0, 0, 0, number};
  std::memcpy(hop.link, link, sizeof link);
  hop.link_bytes = kEthernetBytes;
  hop.state = HopState::kReady;
  hop.port = port;
  hop.mtu = 1500;
  hop.ifindex = 0;
  uint8_t source[16] = {0x20, 0x01, 0x0d, 0xb8, 0xff, 0xff};
  source[15] = static_cast<uint8_t>(number + 1);
  hop.source = six ? Addr::v6(source) : Addr::v4(Be32::of(0xc612ff01u + number));
  return hop;
}

}  // namespace

StaticNextHops::StaticNextHops(uint16_t ports)
    : memory_(std::make_unique<NextHop[]>(kNextHops)), ports_(ports) {
  assert(ports >= 1 && ports <= kMaxPorts);
  hops_ = memory_.get();
  for (uint16_t port = 0; port < ports; port++) {
    hops_[2 * port] = hop_of(port, false);
    hops_[2 * port + 1] = hop_of(port, true);
  }
}

StaticNextHops::StaticNextHops(std::span<const NextHop> hops)
    : memory_(std::make_unique<NextHop[]>(kNextHops)) {
  assert(!hops.empty() && hops.size() <= kNextHops);
  hops_ = memory_.get();
  std::copy(hops.begin(), hops.end(), hops_);
}

void StaticNextHops::lead(const Addr& destination, uint16_t slot) {
  for (Lead& lead : leads_) {
    if (lead.destination == destination) {
      lead.slot = slot;
      return;
    }
  }
  leads_.push_back({destination, slot});
}

uint16_t StaticNextHops::find(const Addr& destination, uint32_t) {
  for (const Lead& lead : leads_) {
    if (lead.destination == destination) return lead.slot;
  }
  if (ports_ == 0) return 0;
  const uint32_t port = destination.bytes[15] % ports_;
  return static_cast<uint16_t>(2 * port + (destination.is_v4() ? 0 : 1));
}

// Nothing is ever resolved here, so nothing is worth keeping.
bool StaticNextHops::park(uint16_t, const Frame&, uint32_t) { return false; }

uint32_t StaticNextHops::service(uint32_t, Ready*, uint32_t) { return 0; }

const uint8_t* StaticNextHops::link_address(uint16_t port) const {
  for (uint32_t slot = 0; slot < kNextHops; slot++) {
    const NextHop& hop = hops_[slot];
    if (hop.link_bytes != 0 && hop.port == port) return hop.link + 6;
  }
  return nullptr;
}

}  // namespace uvs
