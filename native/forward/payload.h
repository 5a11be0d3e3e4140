// What a helper does to the TCP payload of a packet: read it, replace part of it, number it anew.
// Each function edits one packet in place.
#pragma once
#include <cstdint>
#include <span>

#include "conn/sequence_fix.h"
#include "parse/packet.h"

namespace uvs {

// The payload of a TCP packet, of all segments of a super-packet.
std::span<const uint8_t> payload_of(const Packet& packet);

// Whether the TCP checksum is right; one that is left to the device counts as right.
bool tcp_checksum_good(const Packet& packet);

// Computes the TCP checksum again, unless it is left to the device.
void renew_tcp_checksum(Packet& packet);

// Writes the numbers of the other side: the sequence number by `own`, the edits of the packet's
// direction, acknowledgement and SACK blocks by `other`. True: something changed, the checksum is
// to be renewed.
bool renumber(Packet& packet, const SequenceFix& own, const SequenceFix& other);

// Replaces `bytes` bytes at `at` of the payload. Everything in front of them moves; lengths and the
// IPv4 header checksum follow, the TCP checksum is to be renewed. False, and nothing changed: no
// headroom for what it grows by, or longer than IP can say.
bool replace_payload(Packet& packet, uint32_t at, uint32_t bytes, std::span<const uint8_t> text);

// Lets a TCP packet that has outgrown `mtu` leave as a super-packet, which is cut into segments
// that fit, rather than into fragments (spec 5.5.1, 6; RFC 8200 knows no fragments on the way).
void split_to_mtu(Packet& packet, uint32_t mtu);

}  // namespace uvs
