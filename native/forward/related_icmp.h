// Errors that routers and hosts send about a flow we rewrite: found by the packet they quote,
// translated like that packet was, but backwards (spec 5.7.1, 5.7.2).
//
// A quoted packet went the other way: an error that a destination sends about a request comes in
// like a reply, so its quote, with the ends swapped, is looked up like a reply.
#pragma once
#include "forward/forward.h"
#include "parse/packet.h"

namespace uvs {

// Whether `packet` is an ICMP error that quotes a TCP, UDP, SCTP, AH or ESP packet (ICMP types 3,
// 4, 11; ICMPv6 types below 128); sets `inverse` to the quoted ends, swapped, of AH and ESP without
// ports. Needs `packet.kind == kIcmp`. False too for a quote that is cut off before its ports or
// quotes a later fragment.
bool quoted_flow(const Packet& packet, FlowKey* inverse);

// Whether the ICMP checksum is right; of a packet of kind kIcmp with a complete one.
bool icmp_checksum_good(const Packet& packet);

// What an ICMP error about a rewritten flow must say on the other side. An end that stays is given
// as it is.
struct RelatedEnds {
  const Addr* source;       // of the ICMP packet
  const Addr* destination;  // of the ICMP packet
  Ends quoted;              // of the packet it quotes, as it stands there (not swapped)
  // Of a quoted TCP segment, as far as it is there: FULLNAT counts anew (spec 12.6). Receivers
  // believe an error only if its number lies in their window (RFC 5927 4.1).
  uint32_t sequence_by = 0;
  uint32_t acknowledgement_by = 0;
  uint32_t mtu_less = 0;  // taken from the MTU of a "too big": what packets grow by on their way
};

// Writes the new ends into an ICMP error for which quoted_flow() said yes: outer and quoted
// addresses, quoted ports, both IPv4 header checksums, and the ICMP checksum over the whole
// message; the transport checksum inside the quote stays (spec 5.7.1). False, and nothing changed:
// its ICMP checksum is wrong. All ends are of the packet's family.
bool rewrite_related(Packet& packet, const RelatedEnds& to);

// Whether the checksum of an ICMP message is right; completes a partial one.
bool complete_and_check(Packet& packet);

// Ports and TCP numbers of a quoted transport header of which `bytes` are there, with the ports if
// `protocol` has any.
void rewrite_quoted_transport(uint8_t* at, uint32_t bytes, uint8_t protocol, const RelatedEnds& to);

// The sequence number of a quoted TCP segment; false: it is none, or cut off before it.
bool quoted_sequence(const Packet& packet, uint32_t* sequence);

}  // namespace uvs
