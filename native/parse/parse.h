// Stop 2: bytes become a Packet; the only place where lengths are checked.
#pragma once
#include "parse/packet.h"

namespace uvs {

// Parses the frame in `packet.frame` and fills every other field (not `hash`). Sets `kind`, and
// `reason` for kBad and kHost. Reads only inside frame.data[0 .. frame.length). A frame longer
// than its IP packet (Ethernet padding) is trimmed. The IPv4 header checksum is verified; the L4
// checksum is not (spec 5.5.2: a wrong one is carried through). IP options are allowed; IPv6
// extension headers are walked. A fragment of TCP, UDP or ICMP is kFragment, with addresses,
// protocol and `l4` at what it carries; parse/reassembly.h makes datagrams of them.
void parse(Packet& packet, Link link);

// Parses an IP packet that is quoted inside an ICMP error: as parse(), but the quote may be cut
// short after the ports; AH and ESP have none. False: not usable.
bool parse_quoted(const uint8_t* data, uint32_t length, uint8_t family, FlowKey* key,
                  uint16_t* l4_offset);

}  // namespace uvs
