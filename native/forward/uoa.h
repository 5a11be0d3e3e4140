// UOA: the client of a FULLNAT connection, told in its first datagrams (spec 12.10).
#pragma once
#include <cstdint>

#include "forward/client_address.h"
#include "forward/forward.h"

namespace uvs {

// Puts the client's address into a datagram whose ends are rewritten: a header between IP and UDP
// (kUoaHeader), or an IPv4 option (kUoaOption; an IPv6 packet or client gets the header). Over IPv4
// the header takes the UDP checksum away. False, and nothing changed: no room in the MTU, the IP
// header or in front of the packet, or an IPv6 packet with extension headers, or a super-packet.
bool add_uoa(Packet& packet, const ClientEnds& ends, uint8_t mode, uint32_t mtu);

// The same information in an empty datagram of its own from `to.source` to `to.destination`, into
// `out` (frame.data at the IP header, room for 100 bytes).
void build_uoa(const ClientEnds& ends, const Ends& to, uint8_t mode, Frame* out);

}  // namespace uvs
