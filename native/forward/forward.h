// Stop 8: what can be done to a packet before it leaves. Each function edits one packet in place
// and says how it went; none of them sends, looks up or counts.
#pragma once
#include <cstdint>

#include "forward/next_hop.h"
#include "parse/packet.h"

namespace uvs {

// New ends of a packet; an end that stays is given as it is.
struct Ends {
  const Addr* source;
  const Addr* destination;
  Be16 source_port;
  Be16 destination_port;
};

// Rewrites addresses and ports (masquerade, FULLNAT; both directions), IPv4 or IPv6, TCP, UDP or
// SCTP; of AH and ESP the addresses alone. IPv4 header checksum and L4 checksum follow
// incrementally (RFC 1624); a partial checksum gets its pseudo-header sum adjusted; a zero UDP
// checksum becomes a full one; SCTP's is made anew if a port changed (spec 5.5.2). Needs a packet
// of kind kFlow or kIpsec; both families of old and new ends are equal. `covered`: what earlier
// edits of header and payload add to the sum.
void rewrite_ends(Packet& packet, const Ends& to, uint64_t covered = 0);

// Decrements TTL or hop limit with the IPv4 header checksum (RFC 1624). Precondition: ttl > 1.
void decrement_ttl(Packet& packet);

// How a packet of this size fits into `mtu` (spec 5.6, [L]: of a GSO packet each segment counts).
// kFragment: IPv4 with DF clear, and what came in fragments, however short.
enum class Fit : uint8_t { kFits, kTooBig, kFragment };
// `forwarded`: by the host, which cuts no ICMP error that has DF.
Fit fit_to_mtu(const Packet& packet, uint32_t mtu, bool forwarded = false);

// Finishes a partial checksum in software, so that the packet can be encapsulated, or because it is
// SCTP's: a port can be asked for the Internet checksum only (virtio 1.2, 5.1.6.2).
void complete_checksum(Packet& packet);

// Cuts a GSO super-packet (TCP v4/v6, UDP_L4) into segments with complete checksums, one after the
// other into `out` buffers (each with kHeadroom in front, frame.data at the IP header, no link
// header). Returns how many, 0 if `max` is too few. FIN/PSH only on the last, CWR on the first
// (RFC 3168), IPv4 id counts up. `partial`: their checksums are left partial, as the whole's was.
uint32_t segment(const Packet& packet, Frame* out, uint32_t max, bool partial = false);

// Cuts an IPv4 packet into fragments that fit `mtu` (RFC 791 2.3), as segment(). They have DF only
// if it came in fragments with DF.
uint32_t fragment_ip4(const Packet& packet, uint32_t mtu, Frame* out, uint32_t max);

// The same for IPv6 (RFC 8200 4.5); `id` is that of all fragments.
uint32_t fragment_ip6(const Packet& packet, uint32_t mtu, uint32_t id, Frame* out, uint32_t max);

// Turns an ICMP or ICMPv6 echo request into its reply (RFC 792, RFC 4443 4.2), without IPv4
// options and IPv6 extension headers, from the address that was asked; `id` is for IPv4. False, and
// nothing changed: its checksum is wrong. Precondition: is_echo_request().
bool build_echo_reply(Packet& packet, uint16_t id);

// Builds an ICMP or ICMPv6 error about `packet` into `out` (frame.data at the IP header, buffer of
// kFrameSlotBytes with kHeadroom): quotes as RFC 792 / RFC 4443 say (v4: up to 576 bytes in all,
// v6: up to 1280), TTL 64, checksums set. Source is `local`, destination the packet's source; `id`
// is for IPv4. Returns false where none may be sent: packet is itself an ICMP error, source not
// unicast (RFC 1122 3.2.2, RFC 4443 2.4).
enum class IcmpError : uint8_t {
  kPortUnreachable,  // 3/3, v6 1/4
  kHostUnreachable,  // 3/1, v6 1/3
  kTimeExceeded,     // 11/0, v6 3/0
  kPacketTooBig,     // 3/4 with mtu, v6 2/0 with mtu
  kReassemblyTime,   // 11/1, v6 3/1
};
bool build_icmp_error(const Packet& packet, IcmpError error, uint32_t mtu, const Addr& local,
                      uint16_t id, Frame* out);

// Type, code and second word of an ICMP error.
struct IcmpWords {
  uint8_t type;
  uint8_t code;
  uint32_t rest;
};

// Passes on to the sender of an IPv4 packet what a router said of it; as build_icmp_error().
bool build_icmp_relay(const Packet& packet, const IcmpWords& words, const Addr& local, uint16_t id,
                      Frame* out);

// Puts the link header of `hop` in front of the IP packet and makes vnet offsets count from it.
// The frame starts with its IP header at packet.l3 whatever the receiving port's link was.
// Precondition: link_bytes of headroom in front of the IP header.
inline void put_link(Frame& frame, uint32_t l3, const NextHop& hop, uint8_t family) {
  uint8_t* ip = frame.data + l3;
  uint8_t* start = ip - hop.link_bytes;
  if (hop.link_bytes != 0) {
    std::memcpy(start, hop.link, 12);
    start[12] = family == 4 ? 0x08 : 0x86;
    start[13] = family == 4 ? 0x00 : 0xdd;
  }
  const int32_t moved = static_cast<int32_t>(hop.link_bytes) - static_cast<int32_t>(l3);
  frame.length = static_cast<uint32_t>(static_cast<int32_t>(frame.length) + moved);
  frame.headroom = static_cast<uint32_t>(static_cast<int32_t>(frame.headroom) - moved);
  frame.data = start;
  // Only a partial checksum has a start, only a super-packet a header length (virtio 5.1.6.2).
  if (frame.vnet.flags & kVnetNeedsCsum) {
    frame.vnet.csum_start = static_cast<uint16_t>(frame.vnet.csum_start + moved);
  }
  if (frame.vnet.gso_type != kVnetGsoNone) {
    frame.vnet.hdr_len = static_cast<uint16_t>(frame.vnet.hdr_len + moved);
  }
}

}  // namespace uvs
