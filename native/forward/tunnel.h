// Tunnels: what a packet gets in front on its way to a destination of method tunnel.
//
//   IPIP   outer IP | packet                                      RFC 2003, RFC 2473, RFC 4213
//   GRE    outer IP | GRE 4, with checksum 8 | packet             RFC 2784
//   GUE    outer IP | UDP 8 | GUE 4, with options 12 | packet     draft-ietf-intarea-gue
//
// Outer and inner packet may each be IPv4 or IPv6 (spec 5.5.3 to 5.5.5, 5.5.8).
#pragma once
#include "parse/packet.h"

namespace uvs {

constexpr uint8_t kProtoGre = 47;

// What a destination says about its tunnel.
struct Tunnel {
  uint8_t type;   // kTunnelIpip, kTunnelGue, kTunnelGre
  uint8_t flags;  // kTunnelFlag*: GUE both, GRE CSUM
  Be16 port;      // GUE: where it is received
};

inline Tunnel tunnel_of(const DestinationRecord& destination) {
  return {destination.tunnel_type, destination.tunnel_flags, Be16::of(destination.tunnel_port)};
}

// Whether the far end is asked to finish this packet's checksum (remote checksum offload).
inline bool leaves_checksum(const Tunnel& tunnel, const Packet& packet) {
  return tunnel.type == kTunnelGue && (tunnel.flags & kTunnelFlagRemcsum) != 0 &&
         packet.checksum_partial();
}

// Bytes of everything in front of the packet. `remote_checksum`: as leaves_checksum() says.
uint32_t tunnel_bytes(const Tunnel& tunnel, bool outer4, bool remote_checksum);

// What is said of one packet beside the kind of its tunnel.
struct TunnelEnds {
  const Addr& local;  // both of one family, that of the outer header
  const Addr& remote;
  Be16 source_port;  // GUE
  uint16_t ip_id;    // IPv4
  bool pmtu_disc;    // outer DF is that of an IPv4 packet inside
};

// Puts the headers of `tunnel` in front of the IP packet. The TTL is already decremented.
// Afterwards packet.l3 is the outer header. The packet is no super-packet, and its checksum is
// complete unless leaves_checksum(). Precondition: headroom for tunnel_bytes(). False, and nothing
// changed: the result would be longer than IP can say (65535 bytes).
bool encapsulate(Packet& packet, const Tunnel& tunnel, const TunnelEnds& ends);

// The ephemeral port that a flow's GUE packets come from, `first` <= port <= `last`: from a hash of
// the flow, so that routers spread flows over paths and keep each on one. Kernel: udp_flow_src_port
// in include/net/udp.h.
Be16 tunnel_source_port(uint64_t flow_hash, uint16_t first, uint16_t last);

// --- The headers between outer and inner packet; each is written at `at`, in front of `bytes` of
// packet (tunnel_gre.cc, tunnel_gue.cc).

// Version 0; `protocol` is that of the packet, kProtoIpip or kProtoIp6.
void write_gre(uint8_t* at, bool checksum, uint8_t protocol, uint32_t bytes);

// What GUE says of a checksum that its receiver shall fill in: offsets from the packet's start.
struct RemoteChecksum {
  bool wanted;
  uint16_t start;
  uint16_t field;
};

// UDP and GUE header. The UDP checksum is computed when `tunnel` has one of its flags.
void write_gue(uint8_t* at, const Tunnel& tunnel, const TunnelEnds& ends,
               const RemoteChecksum& remote, uint8_t protocol, uint32_t bytes);

constexpr uint32_t kGreBytes = 4;
constexpr uint32_t kGreChecksumBytes = 4;   // checksum and a reserved word
constexpr uint8_t kGreChecksumFlag = 0x80;  // first byte
constexpr uint32_t kGueBytes = 4;
constexpr uint32_t kGueRemoteChecksumBytes = 8;  // private flags and two offsets

}  // namespace uvs
