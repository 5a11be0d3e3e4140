// Next hops that never change, for tests and the in-memory benchmarks: every address leads to one
// of a few given hops and the kernel is not asked.
#pragma once
#include <memory>
#include <span>
#include <vector>

#include "forward/next_hops.h"

namespace uvs {

class StaticNextHops : public NextHops {
 public:
  // One ready hop per port and family on Ethernet ports: slot 2 * port for IPv4, 2 * port + 1 for
  // IPv6; MTU 1500; from link address 02:00:00:00:00:PP to 02:00:00:00:01:PP; source addresses
  // 198.18.255.(port + 1) and 2001:db8:ffff::(port + 1). An address leads to port
  // (its last byte modulo `ports`). Precondition: 1 <= ports <= kMaxPorts.
  explicit StaticNextHops(uint16_t ports);

  // The given hops as slots 0, 1...; every address leads to slot 0 until lead() says otherwise.
  // Precondition: 1 <= hops.size() <= kNextHops.
  explicit StaticNextHops(std::span<const NextHop> hops);

  // From now on `destination` leads to `slot`.
  void lead(const Addr& destination, uint16_t slot);

  // Replaces a hop in place, as a changed neighbour does.
  void set(uint16_t slot, const NextHop& hop) { hops_[slot] = hop; }

  // As if the routes had changed: slots must be found again.
  void change_routes() { generation_++; }

  uint16_t find(const Addr& destination, uint32_t now_ms) override;
  bool park(uint16_t slot, const Frame& ip_packet, uint32_t now_ms) override;
  uint32_t service(uint32_t now_ms, Ready* ready, uint32_t max) override;
  int poll_fd() const override { return -1; }
  const uint8_t* link_address(uint16_t port) const override;

 private:
  struct Lead {
    Addr destination;
    uint16_t slot;
  };
  std::unique_ptr<NextHop[]> memory_;
  std::vector<Lead> leads_;
  uint16_t ports_ = 0;  // 0: hops were given
};

}  // namespace uvs
