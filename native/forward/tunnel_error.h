// ICMP errors about tunnel packets that this director sent: the packet they quote carries a
// client's packet (spec 5.7.3). As in the kernel IPv4 in IPv4 only.
#pragma once
#include "forward/tunnel.h"

namespace uvs {

// What an error quotes.
struct QuotedTunnel {
  Addr remote;            // where the tunnel packet went
  Tunnel tunnel;          // what it looks like; flags are not said
  uint32_t header_bytes;  // in front of the client's packet
  Packet client;          // the client's packet, as it was sent; its end may be missing
};

// Whether `packet` is an ICMP error that quotes a tunnel packet with a packet inside that
// parse_quoted() can read. Needs `packet.kind == kIcmp`. A UDP packet may be one of no tunnel: who
// asks knows by `tunnel.port` and the connection.
bool quoted_tunnel(const Packet& packet, QuotedTunnel* out);

}  // namespace uvs
