// Packets that the director makes itself for a connection it forwards: a TCP segment or a UDP
// datagram from nothing.
#pragma once
#include <cstdint>

#include "forward/forward.h"

namespace uvs {

struct MadeSegment {
  Ends ends;  // both of one family
  uint32_t sequence = 0;
  uint32_t acknowledgement = 0;
  uint8_t flags = 0;
  Be16 window = {};
  const uint8_t* payload = nullptr;
  uint32_t payload_bytes = 0;
};

// Builds the segment, without options, TTL 64, DF, id 0, into `out` (frame.data at the IP header,
// room for it).
void build_segment(const MadeSegment& segment, Frame* out);

// Builds an IP packet of protocol `protocol` (248 or 17) that carries `head` (a UOA header, may be
// empty) and then an empty UDP datagram; IPv4 options `options` (a multiple of 4 bytes) where there
// are some. Checksum of UDP: none over IPv4, full over IPv6.
struct MadeDatagram {
  Ends ends = {};
  const uint8_t* head = nullptr;
  uint32_t head_bytes = 0;
  const uint8_t* options = nullptr;
  uint32_t option_bytes = 0;
};
void build_empty_datagram(const MadeDatagram& datagram, uint8_t protocol, Frame* out);

}  // namespace uvs
