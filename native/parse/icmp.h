// The ICMP and ICMPv6 header (RFC 792, RFC 4443 2.1): the same eight bytes.
#pragma once
#include "parse/bytes.h"
#include "parse/packet.h"

namespace uvs {

constexpr uint32_t kIcmpBytes = 8;
constexpr uint32_t kIcmpChecksumOffset = 2;

constexpr uint8_t kIcmpEchoReply = 0;
constexpr uint8_t kIcmpUnreachable = 3;
constexpr uint8_t kIcmpFragmentationNeeded = 4;  // code of it
constexpr uint8_t kIcmpQuench = 4;
constexpr uint8_t kIcmpRedirect = 5;
constexpr uint8_t kIcmpEcho = 8;
constexpr uint8_t kIcmpTimeExceeded = 11;
constexpr uint8_t kIcmpParameter = 12;

constexpr uint8_t kIcmp6Unreachable = 1;
constexpr uint8_t kIcmp6TooBig = 2;
constexpr uint8_t kIcmp6TimeExceeded = 3;
constexpr uint8_t kIcmp6Informational = 128;  // types from here on are not errors
constexpr uint8_t kIcmp6Echo = 128;
constexpr uint8_t kIcmp6EchoReply = 129;
constexpr uint8_t kIcmp6Redirect = 137;

// View of an ICMP or ICMPv6 header of which kIcmpBytes are known to be there.
template <typename Byte>
struct Icmp {
  Byte* at;
  explicit Icmp(Byte* header) : at(header) {}

  uint8_t type() const { return at[0]; }
  uint8_t code() const { return at[1]; }
  Be16 checksum() const { return load16(at + kIcmpChecksumOffset); }
  Be32 rest() const { return load32(at + 4); }
  Byte* quote() const { return at + kIcmpBytes; }

  void set_checksum(uint16_t raw) { store16(at + kIcmpChecksumOffset, Be16{raw}); }
};

// An ICMP error that may concern a connection (spec 5.7). Redirects and parameter problems of
// ICMPv4 are not considered, as in the kernel. Precondition: kind == kIcmp.
inline bool is_related_error(const Packet& packet) {
  const uint8_t type = Icmp(packet.transport()).type();
  if (packet.family == 6) return type < kIcmp6Informational;
  return type == kIcmpUnreachable || type == kIcmpQuench || type == kIcmpTimeExceeded;
}

// Somebody asks whether the destination is alive. Precondition: kind == kIcmp.
inline bool is_echo_request(const Packet& packet) {
  const Icmp icmp(packet.transport());
  return icmp.type() == (packet.family == 6 ? kIcmp6Echo : kIcmpEcho) && icmp.code() == 0;
}

// An ICMP message that must never be answered with an error (RFC 1122 3.2.2, RFC 4443 2.4 e.1-2).
// Precondition: kind == kIcmp.
inline bool is_icmp_error(const Packet& packet) {
  const uint8_t type = Icmp(packet.transport()).type();
  if (packet.family == 6) return type < kIcmp6Informational || type == kIcmp6Redirect;
  return is_related_error(packet) || type == kIcmpRedirect || type == kIcmpParameter;
}

}  // namespace uvs
