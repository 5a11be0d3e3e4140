// The UDP header (RFC 768).
#pragma once
#include "parse/bytes.h"

namespace uvs {

constexpr uint32_t kUdpBytes = 8;
constexpr uint32_t kUdpChecksumOffset = 6;

// View of a UDP header of which kUdpBytes are known to be there.
template <typename Byte>
struct Udp {
  Byte* at;
  explicit Udp(Byte* header) : at(header) {}

  Be16 source() const { return load16(at); }
  Be16 destination() const { return load16(at + 2); }
  Be16 bytes() const { return load16(at + 4); }
  Be16 checksum() const { return load16(at + kUdpChecksumOffset); }

  void set_bytes(uint32_t v) { store16(at + 4, Be16::of(static_cast<uint16_t>(v))); }
  void set_checksum(uint16_t raw) { store16(at + kUdpChecksumOffset, Be16{raw}); }
};

}  // namespace uvs
