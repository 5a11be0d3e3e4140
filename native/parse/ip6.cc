// In: an IPv6 packet whose next header is no transport. Does: walks its extension headers.
// Next: parse.cc reads the transport header.
#include "parse/ip6.h"

#include "limits.h"

namespace uvs {
namespace {

bool is_extension(uint8_t header) {
  return header == kIp6HopByHop || header == kIp6Routing || header == kIp6Fragment ||
         header == kIp6Authentication || header == kIp6Options;
}

constexpr uint32_t kUnit = 8;  // no extension header is shorter (RFC 8200 4.2, RFC 4302 2.2)

// Bytes of the extension header at `at`, which is no fragment header. Kernel:
// net/ipv6/exthdrs_core.c ipv6_find_hdr.
uint32_t extension_bytes(uint8_t header, const uint8_t* at) {
  return header == kIp6Authentication ? (at[1] + 2u) * 4 : (at[1] + 1u) * kUnit;
}

}  // namespace

Ip6Fragment find_fragment(const uint8_t* ip, uint32_t bytes) {
  uint32_t named_at = 6;
  uint32_t at = kIp6Bytes;
  for (uint32_t walked = 0; is_extension(ip[named_at]) && walked < kIp6ExtensionsMax; walked++) {
    if (bytes - at < kUnit) break;
    if (ip[named_at] == kIp6Fragment) return {at, named_at, load16(ip + at + 2).host()};
    const uint32_t length = extension_bytes(ip[named_at], ip + at);
    if (bytes - at < length) break;
    named_at = at;
    at += length;
  }
  return {};
}

Ip6Chain walk_extensions(const uint8_t* ip, uint32_t bytes, uint8_t* protocol, uint32_t* offset) {
  Ip6Chain found = Ip6Chain::kWhole;
  uint8_t header = ip[6];
  uint32_t at = kIp6Bytes;
  for (uint32_t walked = 0; is_extension(header); walked++) {
    if (walked == kIp6ExtensionsMax || bytes - at < kUnit) return Ip6Chain::kBroken;
    const uint8_t* extension = ip + at;
    uint32_t length = extension_bytes(header, extension);
    if (header == kIp6HopByHop) {
      if (walked != 0) return Ip6Chain::kBroken;  // only as the first (RFC 8200 4.1)
    } else if (header == kIp6Routing) {
      // Segments left: another address than the one in the header is the final destination, and
      // the one that the transport checksum covers (RFC 8200 8.1).
      if (extension[3] != 0) return Ip6Chain::kBroken;
    } else if (header == kIp6Fragment) {
      length = kUnit;
      const uint16_t fragment = load16(extension + 2).host();
      if ((fragment & 0xfff8) != 0) return Ip6Chain::kLaterFragment;
      // Offset 0 and no more to come: a whole packet (atomic fragment, RFC 6946).
      if ((fragment & 1) != 0) found = Ip6Chain::kFirstFragment;
    }
    if (bytes - at < length) return Ip6Chain::kBroken;
    header = extension[0];
    at += length;
  }
  *protocol = header;
  *offset = at;
  return found;
}

}  // namespace uvs
