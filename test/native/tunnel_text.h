// A slow and obvious end of a tunnel, written from the RFCs: takes IPIP, GRE and GUE apart as a
// real server does and says what it saw. Nothing of native/forward/ is used.
#pragma once
#include <optional>
#include <string>

#include "packet_text.h"

namespace uvs::test {

// What stood in front of a packet. `wrong` says what no receiver would have taken.
struct Opened {
  std::string wrong;
  Bytes inner;       // with its checksum filled in where that was left to the receiver
  size_t front = 0;  // bytes before it
  bool outer_six = false;
  uint8_t tos = 0;
  uint8_t ttl = 0;
  bool dont_fragment = false;
  Bytes source, destination;
  uint8_t protocol = 0;   // of the outer header
  bool checksum = false;  // of GRE or UDP
  bool remote_checksum = false;
  uint32_t source_port = 0;
  uint32_t destination_port = 0;
};

inline Opened Refuse(Opened seen, const std::string& why) {
  seen.wrong = why;
  return seen;
}

// RFC 2784: no key, no sequence number.
inline Opened OpenGre(Opened seen, const Bytes& message) {
  if (message.size() < 4) return Refuse(seen, "GRE short");
  const uint32_t flags = Get16(message, 0);
  if ((flags & 0x7fff) != 0) return Refuse(seen, "GRE flags");
  seen.checksum = flags != 0;
  const size_t header = seen.checksum ? 8 : 4;
  if (seen.checksum && SlowSum(message) != 0xffff) return Refuse(seen, "GRE checksum");
  if (seen.checksum && Get16(message, 6) != 0) return Refuse(seen, "GRE reserved");
  seen.inner = Part(message, header, message.size() - header);
  const uint32_t want = seen.inner.at(0) >> 4 == 6 ? 0x86dd : 0x0800;
  if (Get16(message, 2) != want) return Refuse(seen, "GRE protocol");
  seen.front += header;
  return seen;
}

// draft-herbert-remotecsumoffload 2: the sum from `start` to the end, with what the field holds.
inline void FillChecksum(Bytes& packet, uint32_t start, uint32_t field) {
  Set16(packet, field, 0xffff - SlowSum(Part(packet, start, packet.size() - start)));
}

// draft-ietf-intarea-gue 3, as far as the kernel's IPVS sends it.
inline Opened OpenGue(Opened seen, const Bytes& message) {
  if (message.size() < 12 || Get16(message, 4) != message.size()) {
    return Refuse(seen, "UDP length");
  }
  seen.source_port = Get16(message, 0);
  seen.destination_port = Get16(message, 2);
  seen.checksum = Get16(message, 6) != 0;
  const Bytes pseudo =
      Pseudo(seen.source, seen.destination, 17, static_cast<uint32_t>(message.size()));
  if (seen.checksum && SlowSum(message, SlowSum(pseudo)) != 0xffff) {
    return Refuse(seen, "UDP checksum");
  }
  const size_t words = message[8];
  if (words != 0 && words != 2) return Refuse(seen, "GUE version, control or length");
  const size_t header = 12 + words * 4;
  seen.front += header;
  seen.inner = Part(message, header, message.size() - header);
  if (message[9] != (seen.inner.at(0) >> 4 == 6 ? 41 : 4)) return Refuse(seen, "GUE protocol");
  if (Get16(message, 10) != (words == 0 ? 0u : 1u)) return Refuse(seen, "GUE flags");
  if (words == 0) return seen;
  if (Get32(message, 12) != 0x80000000) return Refuse(seen, "GUE private flags");
  seen.remote_checksum = true;
  FillChecksum(seen.inner, Get16(message, 16), Get16(message, 18));
  return seen;
}

// Takes one tunnel packet apart; the packet inside must be right in every length and checksum
// unless `any_inner`.
inline Opened Open(const Bytes& ip, bool any_inner = false) {
  Opened seen;
  if (ip.size() < 40) return Refuse(seen, "short");
  seen.outer_six = ip[0] >> 4 == 6;
  seen.front = seen.outer_six ? 40 : 20;
  if (seen.outer_six) {
    seen.tos = static_cast<uint8_t>(Get16(ip, 0) >> 4);
    if ((Get32(ip, 0) & 0xfffff) != 0) return Refuse(seen, "flow label");
    if (Get16(ip, 4) + 40 != ip.size()) return Refuse(seen, "IPv6 payload length");
    seen.protocol = ip[6];
    seen.ttl = ip[7];
    seen.source = Part(ip, 8, 16);
    seen.destination = Part(ip, 24, 16);
  } else {
    if (ip[0] != 0x45) return Refuse(seen, "outer header has options");
    if (Get16(ip, 2) != ip.size()) return Refuse(seen, "IPv4 total length");
    if (SlowSum(Part(ip, 0, 20)) != 0xffff) return Refuse(seen, "IPv4 header checksum");
    if ((Get16(ip, 6) & 0xbfff) != 0) return Refuse(seen, "fragment");
    seen.dont_fragment = Get16(ip, 6) == 0x4000;
    seen.tos = ip[1];
    seen.ttl = ip[8];
    seen.protocol = ip[9];
    seen.source = Part(ip, 12, 4);
    seen.destination = Part(ip, 16, 4);
  }
  const Bytes message = Part(ip, seen.front, ip.size() - seen.front);
  if (seen.protocol == 47) {
    seen = OpenGre(seen, message);
  } else if (seen.protocol == 17) {
    seen = OpenGue(seen, message);
  } else {
    seen.inner = message;
    const int want = message.at(0) >> 4 == 6 ? 41 : 4;
    if (seen.protocol != want) return Refuse(seen, "protocol");
  }
  if (seen.wrong.empty() && !any_inner) seen.wrong = WrongIn(seen.inner);
  return seen;
}

}  // namespace uvs::test
