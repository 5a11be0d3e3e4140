// FULLNAT between families: clients and virtual address IPv6, local address and destination IPv4
// (spec 12.1). Headers are translated as RFC 7915 says; there is no mapping of addresses, the
// connection knows both sides.
#pragma once
#include <cstdint>

#include "forward/forward.h"
#include "forward/related_icmp.h"

namespace uvs {

constexpr uint32_t kNat64Bytes = 20;  // by which the IPv6 header is longer

// Turns a TCP or UDP packet into one of the other family with the ends `to`; extension headers and
// IPv4 options are left behind. Checksums and virtio header follow; `covered` as for
// rewrite_ends(). `id` is for IPv4 packets that may be fragmented (RFC 7915 5.1: those up to 1260
// bytes) or were; it is not that of the IPv6 fragments, for clients behind one local address would
// have the same ones. TTL is taken over as it stands. False, and nothing changed: no room in front,
// or it would be longer than IP can say.
bool translate_family(Packet& packet, const Ends& to, uint64_t covered, uint16_t id);

// Builds an ICMP error about a translated connection into `out` (frame.data at the IP header, room
// for 1280 bytes) from one of the other family for which quoted_flow() said yes: type, code and MTU
// as RFC 7915 4.2 and 5.2, the quote translated and its sequence number and MTU moved as `to`
// says. `made` becomes the packet. False: it says nothing that the other family could.
bool translate_error(const Packet& packet, const RelatedEnds& to, Frame* out, Packet* made);

}  // namespace uvs
