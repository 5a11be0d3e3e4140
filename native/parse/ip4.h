// The IPv4 header (RFC 791 3.1; DS field and ECN: RFC 2474, RFC 3168).
#pragma once
#include "parse/bytes.h"

namespace uvs {

constexpr uint32_t kIp4Bytes = 20;  // without options
constexpr uint16_t kIp4DontFragment = 0x4000;
constexpr uint16_t kIp4MoreFragments = 0x2000;
constexpr uint16_t kIp4OffsetMask = 0x1fff;  // in units of 8 bytes

// View of an IPv4 header of which kIp4Bytes are known to be there. The options are known to be
// there only after header_bytes() was compared with what is left of the frame.
template <typename Byte>
struct Ip4 {
  Byte* at;
  explicit Ip4(Byte* header) : at(header) {}

  uint8_t version() const { return at[0] >> 4; }
  uint32_t header_bytes() const { return (at[0] & 0x0fu) * 4; }
  uint8_t tos() const { return at[1]; }
  Be16 total_bytes() const { return load16(at + 2); }
  Be16 id() const { return load16(at + 4); }
  Be16 flags_and_offset() const { return load16(at + 6); }
  uint8_t ttl() const { return at[8]; }
  uint8_t protocol() const { return at[9]; }
  Be16 checksum() const { return load16(at + 10); }
  Be32 source() const { return load32(at + 12); }
  Be32 destination() const { return load32(at + 16); }

  void set_total_bytes(uint32_t bytes) { store16(at + 2, Be16::of(static_cast<uint16_t>(bytes))); }
  void set_id(uint16_t id) { store16(at + 4, Be16::of(id)); }
  void set_flags_and_offset(uint16_t v) { store16(at + 6, Be16::of(v)); }
  void set_ttl(uint8_t ttl) { at[8] = ttl; }
  void set_checksum(uint16_t raw) { store16(at + 10, Be16{raw}); }
  void set_source(Be32 v) { store32(at + 12, v); }
  void set_destination(Be32 v) { store32(at + 16, v); }
};

}  // namespace uvs
