// The Ethernet II header (IEEE 802.3 3.1.1; RFC 894 for IPv4, RFC 2464 for IPv6).
#pragma once
#include "limits.h"
#include "parse/bytes.h"

namespace uvs {

constexpr Be16 kEtherIp4 = Be16::of(0x0800);
constexpr Be16 kEtherArp = Be16::of(0x0806);
constexpr Be16 kEtherIp6 = Be16::of(0x86dd);

// View of an Ethernet header of which kEthernetBytes are known to be there.
template <typename Byte>
struct Ether {
  Byte* at;
  explicit Ether(Byte* header) : at(header) {}

  Byte* destination() const { return at; }
  Byte* source() const { return at + 6; }
  Be16 type() const { return load16(at + 12); }
  // Sent to a group (multicast or broadcast), IEEE 802 address bit I/G.
  bool to_group() const { return at[0] & 1; }
};

}  // namespace uvs
