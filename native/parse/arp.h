// ARP for IPv4 over Ethernet (RFC 826).
#pragma once
#include "parse/bytes.h"

namespace uvs {

constexpr uint32_t kArpBytes = 28;
constexpr Be16 kArpRequest = Be16::of(1);
constexpr Be16 kArpReply = Be16::of(2);

// View of an ARP packet of which kArpBytes are known to be there.
template <typename Byte>
struct Arp {
  Byte* at;
  explicit Arp(Byte* header) : at(header) {}

  // Hardware type 1 (Ethernet), protocol type IPv4, address lengths 6 and 4.
  bool is_ip4_over_ethernet() const {
    return load32(at) == Be32::of(0x00010800) && load16(at + 4) == Be16::of(0x0604);
  }
  Be16 operation() const { return load16(at + 6); }
  Byte* sender_link() const { return at + 8; }
  Be32 sender() const { return load32(at + 14); }
  Byte* target_link() const { return at + 18; }
  Be32 target() const { return load32(at + 24); }
};

}  // namespace uvs
