// Fragments for tests, cut and put together by slow and obvious code (RFC 791 3.2, RFC 8200 4.5).
#pragma once
#include <map>
#include <optional>

#include "packet_text.h"

namespace uvs::test {

// Bytes of headers that every fragment repeats: all of IPv4's, IPv6's fixed header here.
inline size_t RepeatedBytes(const Bytes& ip) { return ip[0] >> 4 == 6 ? 40 : (ip[0] & 15u) * 4; }
inline size_t FragmentedBytes(const Bytes& ip) { return ip.size() - RepeatedBytes(ip); }

// The fragment that carries bytes [start, end) of what `ip` carries; `more`: others follow.
inline Bytes FragmentOf(const Bytes& ip, size_t start, size_t end, bool more, uint32_t id) {
  const size_t header = RepeatedBytes(ip);
  Bytes out = Part(ip, 0, header);
  if (ip[0] >> 4 == 6) {
    out[6] = 44;
    Put16(out, static_cast<uint32_t>(ip[6]) << 8);
    Put16(out, static_cast<uint32_t>(start | (more ? 1 : 0)));
    Put32(out, id);
  } else {
    Set16(out, 4, id);
    Set16(out, 6, (Get16(ip, 6) & 0x4000) | (more ? 0x2000 : 0) | static_cast<uint32_t>(start / 8));
  }
  PutAll(out, Part(ip, header + start, end - start));
  if (ip[0] >> 4 == 6) {
    Set16(out, 4, static_cast<uint32_t>(out.size() - 40));
  } else {
    Set16(out, 2, static_cast<uint32_t>(out.size()));
    Set16(out, 10, 0);
    Set16(out, 10, 0xffff - SlowSum(Part(out, 0, header)));
  }
  return out;
}

// All fragments of `ip` with at most `each` bytes of it (a multiple of 8), in order.
inline std::vector<Bytes> FragmentsOf(const Bytes& ip, size_t each, uint32_t id = 0x77) {
  std::vector<Bytes> out;
  const size_t all = FragmentedBytes(ip);
  for (size_t start = 0; start < all; start += each) {
    const size_t end = std::min(all, start + each);
    out.push_back(FragmentOf(ip, start, end, end != all, id));
  }
  return out;
}

// The packet that fragments of one datagram, in whatever order, make; nothing if some are missing,
// overlap, or differ in their headers. IPv4 keeps the id and loses DF.
inline std::optional<Bytes> Joined(const std::vector<Bytes>& fragments) {
  std::map<size_t, Bytes> parts;
  std::optional<size_t> end;
  Bytes header;
  uint32_t id = 0;
  for (const Bytes& fragment : fragments) {
    const bool six = fragment[0] >> 4 == 6;
    const size_t repeated = RepeatedBytes(fragment) + (six ? 8 : 0);
    const uint32_t field = Get16(fragment, six ? 42 : 6);
    const size_t start = six ? field & 0xfff8 : (field & 0x1fff) * 8;
    const bool more = (field & (six ? 1 : 0x2000)) != 0;
    const uint32_t its_id = six ? Get32(fragment, 44) : Get16(fragment, 4);
    if (parts.empty()) id = its_id;
    if ((six && fragment[6] != 44) || its_id != id) return std::nullopt;
    if (!parts.emplace(start, Part(fragment, repeated, fragment.size() - repeated)).second) {
      return std::nullopt;
    }
    if (!more) end = start + fragment.size() - repeated;
    if (start == 0) {
      header = Part(fragment, 0, RepeatedBytes(fragment));
      if (six) header[6] = fragment[40];
    }
  }
  Bytes body;
  for (const auto& [start, bytes] : parts) {
    if (start != body.size()) return std::nullopt;
    PutAll(body, bytes);
  }
  if (header.empty() || end != body.size()) return std::nullopt;
  const bool six = header[0] >> 4 == 6;
  if (six) {
    Set16(header, 4, static_cast<uint32_t>(body.size()));
  } else {
    Set16(header, 2, static_cast<uint32_t>(header.size() + body.size()));
    Set16(header, 6, 0);
    Set16(header, 10, 0);
    Set16(header, 10, 0xffff - SlowSum(header));
  }
  PutAll(header, body);
  return header;
}

}  // namespace uvs::test
