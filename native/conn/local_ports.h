// Local ends of FULLNAT connections: which local address, which local port (spec 12.2-12.4).
//
// Ports are found by probing the reply key, so no list of free ports is kept: a port is free if no
// connection uses it towards the same destination. Worker i of N owns the ports whose low bits are
// i (mask = 2^ceil(log2 N) - 1), so that replies can be steered to it by port alone.
#pragma once
#include <cstdint>
#include <memory>

#include "conn/conn_table.h"
#include "conn/random.h"

namespace uvs {

class LocalPorts {
 public:
  // `start`: where in the range to begin. A random one keeps a restarted director off the ports of
  // before, for which real servers may still hold sockets that would not take a new SYN. Also the
  // seed of what is drawn.
  LocalPorts(uint32_t worker, uint32_t workers, uint32_t start = 0);

  // Ports to choose from, both ends included.
  void set_range(uint16_t first, uint16_t last);

  // Finds a local port on `local` towards a destination that no connection uses; each probe takes
  // one from `*budget`. False: none found.
  bool find(const ConnTable& table, const Addr& local, const Addr& destination,
            Be16 destination_port, uint8_t protocol, uint32_t* budget, Be16* port);

  // Number of the next local address to try of a service with `count`: round robin per service.
  uint32_t next_address(uint32_t service_slot, uint32_t count) {
    return turns_[service_slot]++ % count;
  }

  // Called once for each connection of a service whose scheduler takes turns itself: in 5 % of the
  // calls its local addresses advance one more, or each destination might always see the same one.
  void loosen(uint32_t service_slot);

  static constexpr uint32_t kAddressAttempts = 16;  // spec 12.2, DPVS
  // Probes for one connection over all addresses. When nearly every port is taken a flood of new
  // clients must not cost the worker more than this: a probe is about 40 ns.
  static constexpr uint32_t kProbes = 512;

 private:
  uint32_t worker_;
  uint32_t step_;       // distance between two ports of one worker
  uint32_t first_ = 0;  // first port of this worker in the range
  uint32_t count_ = 0;  // ports of this worker in the range
  uint32_t position_;   // ever increasing: the longest possible time until a port comes again
  Random random_;
  std::unique_ptr<uint32_t[]> turns_;  // by service slot
};

}  // namespace uvs
