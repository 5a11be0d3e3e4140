// The TCP header (RFC 9293 3.1; CWR and ECE: RFC 3168 6.1).
#pragma once
#include "parse/bytes.h"

namespace uvs {

constexpr uint32_t kTcpBytes = 20;  // without options
constexpr uint32_t kTcpWindowOffset = 14;
constexpr uint32_t kTcpChecksumOffset = 16;
constexpr uint8_t kTcpPsh = 0x08;
constexpr uint8_t kTcpUrg = 0x20;
constexpr uint8_t kTcpCwr = 0x80;

// View of a TCP header of which kTcpBytes are known to be there.
template <typename Byte>
struct Tcp {
  Byte* at;
  explicit Tcp(Byte* header) : at(header) {}

  Be16 source() const { return load16(at); }
  Be16 destination() const { return load16(at + 2); }
  Be32 sequence() const { return load32(at + 4); }
  Be32 acknowledgement() const { return load32(at + 8); }
  uint32_t header_bytes() const { return (at[12] >> 4) * 4u; }
  uint8_t flags() const { return at[13]; }
  Be16 window() const { return load16(at + kTcpWindowOffset); }
  Be16 checksum() const { return load16(at + kTcpChecksumOffset); }
  Be16 urgent() const { return load16(at + 18); }

  void set_sequence(uint32_t v) { store32(at + 4, Be32::of(v)); }
  void set_acknowledgement(uint32_t v) { store32(at + 8, Be32::of(v)); }
  void set_header_bytes(uint32_t v) {
    at[12] = static_cast<uint8_t>((at[12] & 0x0fu) | v / 4 << 4);
  }
  void set_flags(uint8_t v) { at[13] = v; }
  void set_window(uint16_t v) { store16(at + kTcpWindowOffset, Be16::of(v)); }
  void set_checksum(uint16_t raw) { store16(at + kTcpChecksumOffset, Be16{raw}); }
};

}  // namespace uvs
