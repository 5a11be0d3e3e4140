// Where a packet leaves: one resolved (or not yet resolved) next hop.
#pragma once
#include <cstdint>

#include "addr.h"
#include "layout.gen.h"

namespace uvs {

enum class HopState : uint8_t {
  kUnresolved,   // the kernel has been asked for the link address; packets wait
  kReady,        // `link` is good
  kUnreachable,  // no route, or the neighbour did not answer; ICMP host unreachable
  kLocal,        // the host itself: goes to the TUN port of the host stack, without link header
};

// 64 bytes, read for every packet. Written between bursts only, by the owner of the table.
struct NextHop {
  uint8_t link[14];    // Ethernet destination and source; the type is put per packet
  uint8_t link_bytes;  // 14, or 0 on a port without link header
  HopState state;
  uint16_t port;  // index of the port in the core
  uint16_t mtu;   // IP bytes, of the route or the interface
  uint32_t ifindex;
  Addr gateway;           // the neighbour that is asked for: gateway, or the destination itself
  Addr source;            // address the kernel would send from: outer source of tunnels, ICMP
  uint32_t last_used_ms;  // so that neighbours in use are kept fresh
  uint32_t waiting;       // packets parked for this hop
};
static_assert(sizeof(NextHop) == 64);

}  // namespace uvs
