// The next hops of one worker, learned from the kernel's routes and neighbours.
//
// Theory of operation. A connection holds the slots of its two next hops, so an established
// packet costs one array read. A slot is found through a route cache keyed by address: on a miss
// the kernel is asked (RTM_GETROUTE, synchronously: about 3 us, once per new address), the answer
// names a gateway and an interface, and all addresses behind one gateway share one slot. Link
// addresses come from the kernel's neighbour table; where there is none the kernel is asked to
// resolve it (NTF_USE) and packets wait, few and briefly. Notifications of links, routes, rules
// and neighbours are read between bursts: a changed neighbour changes its slot in place; a changed
// route empties the route cache and moves `generation()` on, and connections look up again when
// they see it.
#pragma once
#include <cstdint>
#include <span>

#include "forward/next_hop.h"
#include "io/port.h"

namespace uvs {

class NextHops {
 public:
  virtual ~NextHops() = default;

  // Slot of the next hop towards `destination`. Always a valid slot: without a route it is one in
  // state kUnreachable. `now_ms` is the monotonic clock.
  virtual uint16_t find(const Addr& destination, uint32_t now_ms) = 0;

  // Keeps a copy of `frame` (IP packet without link header, offsets of vnet counted from it) until
  // the hop is resolved; false when too many wait (the caller counts neighbour_queue_full).
  virtual bool park(uint16_t slot, const Frame& ip_packet, uint32_t now_ms) = 0;

  // Reads notifications and runs timers; call between bursts. Parked packets whose hop became
  // ready are lent in `ready` (with link header; valid until the next call), at most `max`; so are
  // those given up, without link header and with slot kNoSlot.
  struct Ready {
    Frame frame;
    uint16_t slot;
  };
  virtual uint32_t service(uint32_t now_ms, Ready* ready, uint32_t max) = 0;

  virtual int poll_fd() const = 0;  // readable when service() has something to read; -1: none

  // The port's own Ethernet address, 6 bytes, as the kernel has it now; null on a port without.
  virtual const uint8_t* link_address(uint16_t /*port*/) const { return nullptr; }

  const NextHop& at(uint16_t slot) const { return hops_[slot]; }
  void touch(uint16_t slot, uint32_t now_ms) { hops_[slot].last_used_ms = now_ms; }

  // Moves on when routes changed: slots found under an older generation must be found again.
  uint16_t generation() const { return generation_; }

 protected:
  NextHop* hops_ = nullptr;  // kNextHops entries
  uint16_t generation_ = 0;
};

}  // namespace uvs
