// Which worker a packet belongs to. Both directions of a flow must reach one worker; what they have
// in common is the client end (request: source; reply of a masquerade destination: destination),
// or, for FULLNAT replies, the local port, which each worker chooses from its own share.
//
// io/steering_program.cc has the same arithmetic as eBPF; test/native/bpf_test.cc holds them
// equal.
#pragma once
#include <cstdint>

#include "addr.h"

namespace uvs {

// Odd constants with well spread bits: the 64-bit golden ratio and two more Weyl increments.
constexpr uint64_t kSteerMultiply[3] = {0x9e3779b97f4a7c15ull, 0xd1b54a32d192ed03ull,
                                        0xabc98388fb8fac03ull};

// A number that is equal for both directions of a flow; spread evenly over clients and ports.
uint32_t steer(const Addr& client, Be16 port);

// The worker that owns flows of this client end, 0 .. workers - 1. Port 0: of the client with all
// its ports (kEntryByAddress).
uint32_t worker_of_client(const Addr& client, Be16 port, uint32_t workers);

// mask = 2^ceil(log2 workers) - 1 (spec 12.4).
uint32_t local_port_mask(uint32_t workers);

// The worker that owns a FULLNAT local port: its low bits. Worker i chooses ports whose low bits
// are i; ports whose low bits name no worker are never chosen, and fold back for strays.
uint32_t worker_of_local_port(Be16 port, uint32_t workers);

}  // namespace uvs
