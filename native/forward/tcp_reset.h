// The RST that answers a TCP segment of no connection.
#pragma once
#include "parse/packet.h"

namespace uvs {

// Builds the RST of RFC 9293 3.10.7.1 (state CLOSED) into `out` (frame.data at the IP header, room
// for 60 bytes): with ACK in the segment its acknowledgement number is the sequence number,
// without it the RST acknowledges the segment. Precondition: TCP, no RST flag.
void build_tcp_reset(const Packet& packet, Frame* out);

}  // namespace uvs
