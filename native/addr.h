// One address type for IPv4 and IPv6: 16 bytes in network order, IPv4 as IPv4-mapped IPv6
// (RFC 4291 2.5.5.2), so that no path forks on the family. Also the big-endian integer types
// that keep network order from being mixed up with host order.
#pragma once
#include <cstdint>
#include <cstring>

namespace uvs {

// 16-bit integer as it stands in a packet. `host()` converts; equality compares raw bytes.
struct Be16 {
  uint16_t raw = 0;
  static constexpr Be16 of(uint16_t host) { return Be16{__builtin_bswap16(host)}; }
  constexpr uint16_t host() const { return __builtin_bswap16(raw); }
  constexpr bool operator==(const Be16&) const = default;
};

// 32-bit integer as it stands in a packet.
struct Be32 {
  uint32_t raw = 0;
  static constexpr Be32 of(uint32_t host) { return Be32{__builtin_bswap32(host)}; }
  constexpr uint32_t host() const { return __builtin_bswap32(raw); }
  constexpr bool operator==(const Be32&) const = default;
};
static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "shared layouts are little-endian");

struct Addr {
  uint8_t bytes[16];

  // `network` is the 4-byte address as it stands in the packet.
  static Addr v4(Be32 network) {
    Addr a;
    const uint64_t high = 0;
    const uint64_t low = 0xffff0000u | (static_cast<uint64_t>(network.raw) << 32);
    std::memcpy(a.bytes, &high, 8);
    std::memcpy(a.bytes + 8, &low, 8);
    return a;
  }
  static Addr v6(const uint8_t* network) {
    Addr a;
    std::memcpy(a.bytes, network, 16);
    return a;
  }
  uint64_t high() const { return load(bytes); }
  uint64_t low() const { return load(bytes + 8); }
  bool is_v4() const { return high() == 0 && (low() & 0xffffffffu) == 0xffff0000u; }
  // The last four bytes as they stand in an IPv4 header. Meaningful only if is_v4().
  Be32 v4_part() const {
    Be32 v;
    std::memcpy(&v.raw, bytes + 12, 4);
    return v;
  }
  bool is_zero() const { return high() == 0 && (low() == 0 || low() == 0xffff0000u); }
  bool operator==(const Addr& o) const { return high() == o.high() && low() == o.low(); }

 private:
  static uint64_t load(const uint8_t* p) {
    uint64_t v;
    std::memcpy(&v, p, 8);
    return v;
  }
};
static_assert(sizeof(Addr) == 16);

}  // namespace uvs
