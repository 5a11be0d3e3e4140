// Packets that grow or shrink between their headers and their payload: what is in front of the
// change moves towards the start of the frame, because there every frame has room and a
// super-packet's 64 KB stay where they are.
#pragma once
#include <cstdint>

#include "parse/packet.h"

namespace uvs {

// Bytes that may be added in front of a packet: its headroom without what the link header and the
// port take when it leaves.
inline uint32_t front_room(const Packet& packet) {
  const uint32_t room = packet.frame.headroom + packet.l3;
  constexpr uint32_t kTaken = kEthernetBytes + kVnetHeaderBytes;
  return room > kTaken ? room - kTaken : 0;
}

// Moves the first `upto` bytes of the IP packet `grow` bytes towards the front (negative: towards
// the end, over bytes that go), and brings the IP lengths and the IPv4 header checksum in order.
// The bytes of the gap are for the caller to write, transport lengths and checksums too.
// Preconditions: `grow` is at most front_room(), and the packet grows to at most kMaxIpBytes.
void move_headers(Packet& packet, uint32_t upto, int32_t grow);

// Adds what edits did to the sum that the transport checksum covers: `covered` in header and
// payload, `pseudo` in the pseudo-header, which is all that a partial checksum holds. No checksum
// of UDP stays none.
void add_to_checksum(Packet& packet, uint64_t covered, uint64_t pseudo);

// Replaces the first `remove` bytes of the payload (TCP or UDP) by `count` others; lengths and
// checksums follow, a wrong checksum stays wrong. False, and nothing changed: no room in front of
// the packet, or it would be longer than IP can say. Precondition: `remove` bytes of payload are
// there, and a datagram is no super-packet.
bool splice_payload(Packet& packet, uint32_t remove, const uint8_t* bytes, uint32_t count);

// TCP or UDP header bytes, options included.
uint32_t transport_header_bytes(const Packet& packet);

// Bytes behind the transport header; of a super-packet all of them.
inline uint32_t payload_bytes(const Packet& packet) {
  return packet.l3_bytes - (packet.l4 - packet.l3) - transport_header_bytes(packet);
}

}  // namespace uvs
