// The IPv6 header and its extension headers (RFC 8200 3, 4).
#pragma once
#include "parse/bytes.h"

namespace uvs {

constexpr uint32_t kIp6Bytes = 40;

constexpr uint8_t kIp6HopByHop = 0;
constexpr uint8_t kIp6Routing = 43;
constexpr uint8_t kIp6Fragment = 44;
constexpr uint8_t kIp6Authentication = 51;  // AH (RFC 4302), its length in units of four
constexpr uint8_t kIp6Options = 60;         // destination options

// View of an IPv6 header of which kIp6Bytes are known to be there.
template <typename Byte>
struct Ip6 {
  Byte* at;
  explicit Ip6(Byte* header) : at(header) {}

  uint8_t version() const { return at[0] >> 4; }
  uint8_t traffic_class() const { return static_cast<uint8_t>(at[0] << 4 | at[1] >> 4); }
  Be16 payload_bytes() const { return load16(at + 4); }
  uint8_t next_header() const { return at[6]; }
  uint8_t hop_limit() const { return at[7]; }
  Byte* source() const { return at + 8; }
  Byte* destination() const { return at + 24; }

  void set_payload_bytes(uint32_t bytes) {
    store16(at + 4, Be16::of(static_cast<uint16_t>(bytes)));
  }
  void set_hop_limit(uint8_t hops) { at[7] = hops; }
};

// What stands behind the extension headers.
enum class Ip6Chain : uint8_t {
  kWhole,          // a header that is no extension, of an unfragmented packet
  kFirstFragment,  // the same, of the first fragment
  kLaterFragment,  // no header at all: the middle of a packet
  kBroken,         // cut off, out of order, too long, or with an unfinished source route
};

constexpr uint32_t kIp6FragmentBytes = 8;  // the fragment header (RFC 8200 4.5)

// Where the fragment header stands, from the fixed header, and the next-header byte that names it.
struct Ip6Fragment {
  uint32_t at = 0;  // 0: there is none
  uint32_t named_at = 0;
  uint16_t offset_and_more = 0;  // host order; offset in the upper 13 bits

  uint32_t offset() const { return offset_and_more & 0xfff8u; }
  bool more() const { return (offset_and_more & 1) != 0; }
};

// Finds the fragment header; what comes in front of it must be complete, what follows need not be.
Ip6Fragment find_fragment(const uint8_t* ip, uint32_t bytes);

// Walks from the fixed header at `ip` over hop-by-hop, routing, fragment, authentication and
// destination options headers. `bytes` counts from `ip`. Sets the protocol and its offset from
// `ip`, which is at most `bytes`.
Ip6Chain walk_extensions(const uint8_t* ip, uint32_t bytes, uint8_t* protocol, uint32_t* offset);

}  // namespace uvs
