// A parsed packet: the frame, where its headers are, and what the later stages decide about it.
#pragma once
#include <cstdint>

#include "addr.h"
#include "io/port.h"
#include "layout.gen.h"

namespace uvs {

constexpr uint8_t kProtoIcmp = 1;
constexpr uint8_t kProtoIpip = 4;
constexpr uint8_t kProtoTcp = 6;
constexpr uint8_t kProtoUdp = 17;
constexpr uint8_t kProtoIp6 = 41;
constexpr uint8_t kProtoEsp = 50;
constexpr uint8_t kProtoAh = 51;
constexpr uint8_t kProtoIcmp6 = 58;
constexpr uint8_t kProtoSctp = 132;

constexpr uint8_t kTcpFin = 0x01;
constexpr uint8_t kTcpSyn = 0x02;
constexpr uint8_t kTcpRst = 0x04;
constexpr uint8_t kTcpAck = 0x10;

// What a frame turned out to be.
enum class PacketKind : uint8_t {
  kBad,       // drop, `reason` says why
  kHost,      // well-formed but none of our business: the host's copy goes on, `reason` says why
  kFlow,      // TCP, UDP or SCTP with ports
  kIcmp,      // ICMP or ICMPv6, `l4` at its header
  kIpsec,     // ESP or AH: the host's, unless the key exchange of its ends goes through us
  kArp,       // ARP for IPv4 over Ethernet
  kFragment,  // part of a datagram, `l4` behind its IP or fragment header
};

// Addresses and ports of one direction of a flow, as the packet carries them.
struct FlowKey {
  Addr source;
  Addr destination;
  Be16 source_port;
  Be16 destination_port;
  uint8_t protocol;
};

// IKE (RFC 7296 2). AH and ESP are taken for packets of the connection from this port to this one.
constexpr Be16 kIkePort = Be16::of(500);

constexpr bool is_ipsec(uint8_t protocol) { return protocol == kProtoEsp || protocol == kProtoAh; }

// The ends by which the connection of a packet with `ends` is looked up (spec 3.2).
inline FlowKey connection_ends(const FlowKey& ends) {
  if (!is_ipsec(ends.protocol)) return ends;
  return {ends.source, ends.destination, kIkePort, kIkePort, kProtoUdp};
}

// Valid after parse(); stages from rewrite on may move `frame.data` (tunnel header, link header)
// and must keep the offsets relative to it true.
struct Packet {
  Frame frame;
  FlowKey key;        // kFlow: complete. kIcmp, kIpsec: addresses and protocol only
  uint64_t hash;      // of `key`, set by the lookup stage
  uint16_t l3;        // offset of the IP header from frame.data
  uint16_t l4;        // offset of the transport header from frame.data
  uint32_t l3_bytes;  // IP packet bytes, header included (a super-packet: all of it)
  PacketKind kind;
  Reason reason;       // for kBad and kHost
  uint8_t family;      // 4 or 6
  uint8_t tcp_flags;   // kTcp* bits, TCP only
  uint8_t ttl;         // or hop limit, as received
  bool dont_fragment;  // IPv4 DF; true for IPv6
  // IP bytes of the largest fragment that a datagram came in; 0: it came whole. Such a packet
  // leaves in fragments no larger than that (spec 5.6).
  uint16_t fragment_bytes;
  uint8_t sctp_first;  // type of the first chunk, SCTP only
  uint8_t sctp_chunk;  // type of the chunk that moves the state, SCTP only

  uint8_t* ip() const { return frame.data + l3; }
  uint8_t* transport() const { return frame.data + l4; }
  bool is_gso() const { return (frame.vnet.gso_type & ~kVnetGsoEcn) != kVnetGsoNone; }
  bool checksum_partial() const { return frame.vnet.flags & kVnetNeedsCsum; }
};

}  // namespace uvs
