// In: a packet that leaves in fragments. Does: cuts it (RFC 791 2.3, 3.2; RFC 8200 4.5).
// Next: transmit.cc sends the pieces.
#include <algorithm>
#include <cassert>

#include "forward/forward.h"
#include "parse/checksum.h"
#include "parse/ip4.h"
#include "parse/ip6.h"

namespace uvs {
namespace {

constexpr uint8_t kOptionEnd = 0;
constexpr uint8_t kOptionNop = 1;
constexpr uint8_t kOptionCopied = 0x80;  // goes into every fragment (RFC 791 3.1)
constexpr uint32_t kUnit = 8;            // fragment offsets count in these

// The header that later fragments carry: without the options that only the first one keeps.
// Returns its length.
uint32_t later_header(const uint8_t* first, uint32_t first_bytes, uint8_t* out) {
  std::memcpy(out, first, kIp4Bytes);
  uint32_t bytes = kIp4Bytes;
  for (uint32_t at = kIp4Bytes; at < first_bytes;) {
    const uint8_t type = first[at];
    if (type == kOptionEnd) break;
    if (type == kOptionNop) {
      at++;
      continue;
    }
    if (at + 1 >= first_bytes) break;
    const uint32_t length = first[at + 1];
    if (length < 2 || at + length > first_bytes) break;  // broken list: nothing more to copy
    if ((type & kOptionCopied) != 0) {
      std::memcpy(out + bytes, first + at, length);
      bytes += length;
    }
    at += length;
  }
  while (bytes % 4 != 0) out[bytes++] = kOptionEnd;
  out[0] = static_cast<uint8_t>(0x40 | bytes / 4);
  return bytes;
}

// Payload bytes that fit beside a header of `header` bytes; a multiple of 8.
uint32_t payload_room(uint32_t mtu, uint32_t header) {
  const uint32_t limit = std::min(mtu, kFrameSlotBytes - kHeadroom);
  return limit <= header ? 0 : (limit - header) / kUnit * kUnit;
}

// Bytes of the headers that every fragment repeats: up to the last that routers look at, and the
// byte in them that names the next header (ip6_output.c ip6_find_1stfragopt). Destination options
// belong there unless they follow a routing header.
uint32_t unfragmentable(const uint8_t* ip, uint32_t bytes, uint32_t* named_at) {
  *named_at = 6;
  uint32_t at = kIp6Bytes;
  bool routed = false;
  for (;;) {
    const uint8_t header = ip[*named_at];
    const bool repeated =
        header == kIp6HopByHop || header == kIp6Routing || (header == kIp6Options && !routed);
    if (!repeated) return at;
    routed |= header == kIp6Routing;
    const uint32_t length = (ip[at + 1] + 1u) * kUnit;
    assert(at + length <= bytes);  // parse() has walked them
    *named_at = at;
    at += length;
  }
}

void write_fragment(Frame& out, const uint8_t* header, uint32_t header_bytes,
                    const uint8_t* payload, uint32_t bytes, uint16_t offset_and_flags) {
  std::memcpy(out.data, header, header_bytes);
  std::memcpy(out.data + header_bytes, payload, bytes);
  Ip4 ip(out.data);
  ip.set_total_bytes(header_bytes + bytes);
  ip.set_flags_and_offset(offset_and_flags);
  ip.set_checksum(0);
  ip.set_checksum(checksum_of(out.data, header_bytes));
  out.length = header_bytes + bytes;
  out.vnet = VnetHdr{};
}

}  // namespace

uint32_t fragment_ip4(const Packet& packet, uint32_t mtu, Frame* out, uint32_t max) {
  assert(!packet.checksum_partial());
  const uint8_t* header = packet.ip();
  uint32_t header_bytes = Ip4(header).header_bytes();
  const uint8_t* payload = header + header_bytes;
  uint32_t left = packet.l3_bytes - header_bytes;
  uint8_t later[kIp4MaxHeaderBytes];
  const uint32_t later_bytes = later_header(header, header_bytes, later);

  // DF goes: what is cut here was allowed to be (spec 5.5.1). It stays where the fragments had it,
  // so that the path's MTU is still found (ip_output.c ip_frag_next).
  const bool came_so = packet.fragment_bytes != 0 && packet.dont_fragment;
  const uint32_t keep = came_so ? kIp4DontFragment : 0;

  uint32_t offset = 0;
  for (uint32_t count = 0; count < max;) {
    const uint32_t room = payload_room(mtu, header_bytes);
    if (room == 0) return 0;
    const bool last = left <= room;
    const uint32_t bytes = last ? left : room;
    const uint32_t more = last ? 0 : kIp4MoreFragments;
    write_fragment(out[count], header, header_bytes, payload, bytes,
                   static_cast<uint16_t>(offset / kUnit | more | keep));
    out[count].port = packet.frame.port;
    count++;
    if (last) return count;
    payload += bytes;
    offset += bytes;
    left -= bytes;
    header = later;
    header_bytes = later_bytes;
  }
  return 0;
}

uint32_t fragment_ip6(const Packet& packet, uint32_t mtu, uint32_t id, Frame* out, uint32_t max) {
  assert(!packet.checksum_partial());
  const uint8_t* ip = packet.ip();
  uint32_t named_at;
  const uint32_t header = unfragmentable(ip, packet.l3_bytes, &named_at);
  const uint32_t room = payload_room(mtu, header + kIp6FragmentBytes);
  if (room == 0) return 0;
  const uint32_t all = packet.l3_bytes - header;
  const uint32_t count = (all + room - 1) / room;
  if (count > max) return 0;
  for (uint32_t i = 0; i < count; i++) {
    const uint32_t offset = i * room;
    const uint32_t bytes = std::min(room, all - offset);
    uint8_t* to = out[i].data;
    std::memcpy(to, ip, header);
    to[named_at] = kIp6Fragment;
    to[header] = ip[named_at];
    to[header + 1] = 0;
    store16(to + header + 2, Be16::of(static_cast<uint16_t>(offset | (i + 1 < count ? 1 : 0))));
    store32(to + header + 4, Be32::of(id));
    std::memcpy(to + header + kIp6FragmentBytes, ip + header + offset, bytes);
    Ip6(to).set_payload_bytes(header - kIp6Bytes + kIp6FragmentBytes + bytes);
    out[i].length = header + kIp6FragmentBytes + bytes;
    out[i].vnet = VnetHdr{};
    out[i].port = packet.frame.port;
  }
  return count;
}

}  // namespace uvs
