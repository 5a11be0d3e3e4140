// Errors that routers and hosts send about a flow we rewrite: found by the packet they quote,
// translated like that packet was, but backwards (spec 5.7.1, 5.7.2).
//
// A quoted packet went the other way: an error that a destination sends about a request comes in
// like a reply, so its quote, with the ends swapped, is looked up like a reply.
#pragma once
#include "forward/forward.h"
#include "parse/packet.h"

namespace uvs {

// Whether `packet` is an ICMP error that quotes a TCP or UDP packet (ICMP types 3, 4, 11; ICMPv6
// types below 128); sets `inverse` to the quoted ends, swapped. Needs `packet.kind == kIcmp`.
// False too for a quote that is cut off before its ports or quotes a later fragment.
bool quoted_flow(const Packet& packet, FlowKey* inverse);

// What an ICMP error about a rewritten flow must say on the other side. An end that stays is given
// as it is.
struct RelatedEnds {
  const Addr* source;       // of the ICMP packet
  const Addr* destination;  // of the ICMP packet
  Ends quoted;              // of the packet it quotes, as it stands there (not swapped)
  // Added to the sequence number of a quoted TCP packet: its sender ignores a report about one that
  // it did not send (RFC 5927 4).
  uint32_t sequence_shift = 0;
};

// Writes the new ends into an ICMP error for which quoted_flow() said yes: outer and quoted
// addresses, quoted ports, both IPv4 header checksums, and the ICMP checksum over the whole
// message; the transport checksum inside the quote stays (spec 5.7.1). False, and nothing changed:
// its ICMP checksum is wrong. All ends are of the packet's family.
bool rewrite_related(Packet& packet, const RelatedEnds& to);

}  // namespace uvs
