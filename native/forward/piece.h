// Pieces of a packet: what segment() and the fragment functions made, as packets again.
#pragma once
#include "parse/packet.h"

namespace uvs {

// One segment of `whole` as a packet of its own.
inline Packet piece_of(const Packet& whole, const Frame& frame) {
  Packet piece = whole;
  piece.frame = frame;
  piece.l4 = static_cast<uint16_t>(whole.l4 - whole.l3);
  piece.l3 = 0;
  piece.l3_bytes = frame.length;
  return piece;
}

}  // namespace uvs
