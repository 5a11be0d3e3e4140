// Packets for tests: built from a readable description, checked by slow and obvious code.
//
// Nothing here uses native/parse/ or native/forward/: bytes are put together one after the other in
// network order and checksums are added up two bytes at a time, so that the code under test and
// its tests cannot share a mistake. Buffers end exactly where the frame ends, so that the address
// sanitizer sees every read behind it.
#pragma once

#include <arpa/inet.h>

#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "io/port.h"
#include "limits.h"
#include "parse/packet.h"

namespace uvs::test {

using Bytes = std::vector<uint8_t>;

inline void Put16(Bytes& to, uint32_t v) {
  to.push_back(static_cast<uint8_t>(v >> 8));
  to.push_back(static_cast<uint8_t>(v));
}
inline void Put32(Bytes& to, uint32_t v) {
  Put16(to, v >> 16);
  Put16(to, v & 0xffff);
}
inline void PutAll(Bytes& to, const Bytes& more) { to.insert(to.end(), more.begin(), more.end()); }

inline uint32_t Get16(const Bytes& from, size_t at) { return from.at(at) * 256u + from.at(at + 1); }
inline uint32_t Get32(const Bytes& from, size_t at) {
  return Get16(from, at) << 16 | Get16(from, at + 2);
}
inline void Set16(Bytes& to, size_t at, uint32_t v) {
  to.at(at) = static_cast<uint8_t>(v >> 8);
  to.at(at + 1) = static_cast<uint8_t>(v);
}

inline Bytes Part(const Bytes& from, size_t at, size_t bytes) {
  return Bytes(from.begin() + static_cast<std::ptrdiff_t>(at),
               from.begin() + static_cast<std::ptrdiff_t>(at + bytes));
}

// "4500 0028 aa*20": hexadecimal digits in pairs, blanks anywhere between them; XX*N repeats.
inline Bytes Hex(std::string_view text) {
  Bytes out;
  int high = -1;
  for (size_t i = 0; i < text.size(); i++) {
    const char c = text[i];
    if (c == ' ' || c == '\n') continue;
    if (c == '*') {
      const size_t count = std::stoul(std::string(text.substr(i + 1)));
      const uint8_t last = out.at(out.size() - 1);
      out.insert(out.end(), count - 1, last);
      while (i + 1 < text.size() && text[i + 1] >= '0' && text[i + 1] <= '9') i++;
      continue;
    }
    const int digit = c >= 'a' ? c - 'a' + 10 : c - '0';
    if (high < 0) {
      high = digit;
    } else {
      out.push_back(static_cast<uint8_t>(high * 16 + digit));
      high = -1;
    }
  }
  return out;
}

// An address as it stands in a packet: 4 or 16 bytes.
inline Bytes AddressBytes(const std::string& text) {
  const bool six = text.find(':') != std::string::npos;
  Bytes out(six ? 16 : 4);
  if (inet_pton(six ? AF_INET6 : AF_INET, text.c_str(), out.data()) != 1) out.clear();
  return out;
}

inline Addr Address(const std::string& text) {
  const Bytes bytes = AddressBytes(text);
  if (bytes.size() == 16) return Addr::v6(bytes.data());
  Be32 four;
  std::memcpy(&four.raw, bytes.data(), 4);
  return Addr::v4(four);
}

// RFC 1071 to the letter: 16-bit words, carry after carry; not complemented.
inline uint32_t SlowSum(const Bytes& data, uint32_t sum = 0) {
  for (size_t i = 0; i < data.size(); i += 2) {
    sum += data[i] * 256u + (i + 1 < data.size() ? data[i + 1] : 0);
    if (sum > 0xffff) sum -= 0xffff;
  }
  return sum;
}

// Pseudo-header of both families (RFC 9293 3.1, RFC 8200 8.1) before a transport message.
inline Bytes Pseudo(const Bytes& source, const Bytes& destination, uint32_t protocol,
                    uint32_t length) {
  Bytes out = source;
  PutAll(out, destination);
  if (source.size() == 16) Put16(out, length >> 16);
  Put16(out, source.size() == 16 ? length & 0xffff : protocol);
  if (source.size() == 16) Put16(out, 0);
  Put16(out, source.size() == 16 ? protocol : length);
  return out;
}

// An IPv6 extension header: its number and its bytes without the next-header byte.
struct Extension {
  uint8_t number;
  Bytes rest;
};

// A packet in words. The family is that of the addresses.
struct Text {
  std::string source = "198.18.0.7";
  std::string destination = "198.18.1.10";
  uint16_t source_port = 40000;
  uint16_t destination_port = 80;
  uint8_t protocol = 6;
  uint8_t ttl = 64;
  uint8_t tos = 0;
  uint16_t id = 0x1234;
  uint16_t fragment = 0x4000;  // flags and offset, IPv4
  Bytes ip_options = {};       // IPv4, a multiple of 4 bytes
  std::vector<Extension> extensions = {};
  uint32_t sequence = 1;
  uint32_t acknowledgement = 0x01020304;
  uint8_t tcp_flags = 0x10;
  uint16_t window = 64240;
  Bytes tcp_options = {};  // a multiple of 4 bytes
  Bytes payload = {};      // ICMP: everything after type, code and checksum; SCTP: of the chunk
  uint8_t icmp_type = 8;
  uint8_t icmp_code = 0;
  uint8_t sctp_chunk = 1;   // type of the first chunk; the default is INIT
  Bytes sctp_more = {};     // chunks behind it
  bool sctp_wrong = false;  // a checksum that does not fit
  bool udp_checksum = true;
  bool partial = false;   // leaves the pseudo-header sum in the checksum field
  uint16_t gso_size = 0;  // with `partial`
  bool ethernet = false;

  bool six() const { return source.find(':') != std::string::npos; }
};

// A frame in words' place: bytes and what the virtio header says.
struct Built {
  Bytes bytes;
  VnetHdr vnet;
  Link link = Link::kIp;
};

inline Bytes TransportHeader(const Text& text) {
  Bytes out;
  if (text.protocol == kProtoTcp) {
    Put16(out, text.source_port);
    Put16(out, text.destination_port);
    Put32(out, text.sequence);
    Put32(out, text.acknowledgement);
    out.push_back(static_cast<uint8_t>((20 + text.tcp_options.size()) / 4 * 16));
    out.push_back(text.tcp_flags);
    Put16(out, text.window);
    Put32(out, 0);
    PutAll(out, text.tcp_options);
  } else if (text.protocol == kProtoUdp) {
    Put16(out, text.source_port);
    Put16(out, text.destination_port);
    Put16(out, static_cast<uint32_t>(8 + text.payload.size()));
    Put16(out, 0);
  } else if (text.protocol == kProtoSctp) {
    Put16(out, text.source_port);
    Put16(out, text.destination_port);
    Put32(out, 0x0a0b0c0d);  // verification tag
    Put32(out, 0);
    out.push_back(text.sctp_chunk);
    out.push_back(0);
    Put16(out, static_cast<uint32_t>(4 + text.payload.size()));
  } else {
    out.push_back(text.icmp_type);
    out.push_back(text.icmp_code);
    Put16(out, 0);
  }
  PutAll(out, text.payload);
  if (text.protocol == kProtoSctp) {
    while (out.size() % 4 != 0) out.push_back(0);
    PutAll(out, text.sctp_more);
  }
  return out;
}

inline size_t ChecksumAt(uint8_t protocol) {
  return protocol == kProtoTcp ? 16 : protocol == kProtoUdp ? 6 : protocol == kProtoSctp ? 8 : 2;
}

// CRC32c as RFC 9260 appendix B says it, bit by bit, of a packet whose checksum field counts as 0.
inline uint32_t SlowCrc32c(const Bytes& sctp) {
  uint32_t crc = ~0u;
  for (size_t i = 0; i < sctp.size(); i++) {
    crc ^= i >= 8 && i < 12 ? 0 : sctp[i];
    for (int bit = 0; bit < 8; bit++) crc = (crc >> 1) ^ ((crc & 1) != 0 ? 0x82f63b78u : 0u);
  }
  return ~crc;
}
inline uint32_t SctpField(const Bytes& sctp) {
  return sctp.at(8) | sctp.at(9) << 8 | sctp.at(10) << 16 |
         static_cast<uint32_t>(sctp.at(11)) << 24;
}

// Transport header and payload with the checksum that `text` asks for.
inline Bytes Transport(const Text& text) {
  Bytes out = TransportHeader(text);
  if (text.protocol == kProtoSctp) {
    const uint32_t crc = text.partial ? 0 : SlowCrc32c(out) ^ (text.sctp_wrong ? 0x5a : 0);
    for (size_t i = 0; i < 4; i++) out[8 + i] = static_cast<uint8_t>(crc >> (8 * i));
    return out;
  }
  const Bytes pseudo = Pseudo(AddressBytes(text.source), AddressBytes(text.destination),
                              text.protocol, static_cast<uint32_t>(out.size()));
  const uint32_t before = text.protocol == kProtoIcmp ? 0 : SlowSum(pseudo);
  uint32_t sum = 0xffff - SlowSum(out, before);
  if (text.protocol == kProtoUdp && sum == 0) sum = 0xffff;
  if (text.protocol == kProtoUdp && !text.udp_checksum) sum = 0;
  if (text.partial) sum = before;
  Set16(out, ChecksumAt(text.protocol), sum);
  return out;
}

inline Bytes Ip4Packet(const Text& text, const Bytes& transport) {
  Bytes out;
  const size_t header = 20 + text.ip_options.size();
  out.push_back(static_cast<uint8_t>(0x40 + header / 4));
  out.push_back(text.tos);
  Put16(out, static_cast<uint32_t>(header + transport.size()));
  Put16(out, text.id);
  Put16(out, text.fragment);
  out.push_back(text.ttl);
  out.push_back(text.protocol);
  Put16(out, 0);
  PutAll(out, AddressBytes(text.source));
  PutAll(out, AddressBytes(text.destination));
  PutAll(out, text.ip_options);
  Set16(out, 10, 0xffff - SlowSum(out));
  PutAll(out, transport);
  return out;
}

inline Bytes Ip6Packet(const Text& text, const Bytes& transport) {
  Bytes chain;
  for (size_t i = 0; i < text.extensions.size(); i++) {
    const bool last = i + 1 == text.extensions.size();
    chain.push_back(last ? text.protocol : text.extensions[i + 1].number);
    PutAll(chain, text.extensions[i].rest);
  }
  PutAll(chain, transport);
  Bytes out;
  Put32(out, 6u << 28 | static_cast<uint32_t>(text.tos) << 20);
  Put16(out, static_cast<uint32_t>(chain.size()));
  out.push_back(text.extensions.empty() ? text.protocol : text.extensions[0].number);
  out.push_back(text.ttl);
  PutAll(out, AddressBytes(text.source));
  PutAll(out, AddressBytes(text.destination));
  PutAll(out, chain);
  return out;
}

inline Built Build(const Text& text) {
  const Bytes transport = Transport(text);
  const Bytes ip = text.six() ? Ip6Packet(text, transport) : Ip4Packet(text, transport);
  Built built;
  if (text.ethernet) {
    built.bytes = Hex("020000000002 020000000001");
    Put16(built.bytes, text.six() ? 0x86dd : 0x0800);
    built.link = Link::kEthernet;
  }
  PutAll(built.bytes, ip);
  if (text.partial) {
    const size_t start = built.bytes.size() - transport.size();
    built.vnet.flags = kVnetNeedsCsum;
    built.vnet.csum_start = static_cast<uint16_t>(start);
    built.vnet.csum_offset = static_cast<uint16_t>(ChecksumAt(text.protocol));
  }
  if (text.gso_size != 0) {
    built.vnet.gso_size = text.gso_size;
    built.vnet.gso_type = text.protocol == kProtoUdp ? kVnetGsoUdpL4
                          : text.six()               ? kVnetGsoTcp6
                                                     : kVnetGsoTcp4;
  }
  return built;
}

// A frame in memory of its own: kHeadroom bytes in front, nothing behind.
class OwnFrame {
 public:
  explicit OwnFrame(const Bytes& bytes, const VnetHdr& vnet = {})
      : memory_(new uint8_t[kHeadroom + bytes.size()]) {
    std::memset(memory_.get(), 0xee, kHeadroom);
    if (!bytes.empty()) std::memcpy(memory_.get() + kHeadroom, bytes.data(), bytes.size());
    frame_.data = memory_.get() + kHeadroom;
    frame_.length = static_cast<uint32_t>(bytes.size());
    frame_.headroom = kHeadroom;
    frame_.vnet = vnet;
  }
  explicit OwnFrame(const Built& built) : OwnFrame(built.bytes, built.vnet) {}
  const Frame& frame() const { return frame_; }

 private:
  std::unique_ptr<uint8_t[]> memory_;
  Frame frame_;
};

inline Bytes BytesOf(const Frame& frame) { return Bytes(frame.data, frame.data + frame.length); }
inline Bytes IpBytes(const Packet& packet) {
  return Bytes(packet.ip(), packet.ip() + packet.l3_bytes);
}

// Frames for the pieces that segment() and others make: kFrameSlotBytes each, kHeadroom in front.
class Pieces {
 public:
  explicit Pieces(uint32_t count) : frames(count), memory_(count) {
    for (uint32_t i = 0; i < count; i++) {
      memory_[i].reset(new uint8_t[kFrameSlotBytes]);
      frames[i].data = memory_[i].get() + kHeadroom;
      frames[i].headroom = kHeadroom;
    }
  }
  std::vector<Frame> frames;

 private:
  std::vector<std::unique_ptr<uint8_t[]>> memory_;
};

inline std::string WrongIn(const Bytes& ip);

inline std::string WrongTransport(const Bytes& source, const Bytes& destination, uint32_t protocol,
                                  const Bytes& message) {
  if (protocol == 4 || protocol == 41) return WrongIn(message);
  if (protocol == 132) return SctpField(message) == SlowCrc32c(message) ? "" : "SCTP checksum";
  const bool known = protocol == 6 || protocol == 17 || protocol == 1 || protocol == 58;
  if (!known) return "transport " + std::to_string(protocol);
  const auto length = static_cast<uint32_t>(message.size());
  if (protocol == 17 && Get16(message, 4) != length) return "UDP length";
  if (protocol == 17 && Get16(message, 6) == 0) return "no UDP checksum";
  const uint32_t pseudo =
      protocol == 1 ? 0 : SlowSum(Pseudo(source, destination, protocol, length));
  return SlowSum(message, pseudo) == 0xffff ? "" : "transport checksum";
}

// What is wrong with an IP packet; empty when every length and checksum in it is right. Fragments
// are checked as far as their IP header.
inline std::string WrongIn(const Bytes& ip) {
  if (ip.size() < 20) return "short";
  if (ip[0] >> 4 == 6) {
    if (ip.size() != 40 + Get16(ip, 4)) return "IPv6 payload length";
    uint32_t next = ip[6];
    size_t at = 40;
    while (next == 0 || next == 43 || next == 51 || next == 60) {
      const size_t bytes = ip.at(at + 1) * (next == 51 ? 4u : 8u) + 8;
      next = ip.at(at);
      at += bytes;
    }
    return WrongTransport(Part(ip, 8, 16), Part(ip, 24, 16), next, Part(ip, at, ip.size() - at));
  }
  const size_t header = (ip[0] & 15u) * 4;
  if (ip[0] >> 4 != 4 || header < 20 || header > ip.size()) return "IPv4 version or header";
  if (Get16(ip, 2) != ip.size()) return "IPv4 total length";
  if (SlowSum(Part(ip, 0, header)) != 0xffff) return "IPv4 header checksum";
  if ((Get16(ip, 6) & 0x3fff) != 0) return "";
  return WrongTransport(Part(ip, 12, 4), Part(ip, 16, 4), ip[9],
                        Part(ip, header, ip.size() - header));
}

}  // namespace uvs::test
