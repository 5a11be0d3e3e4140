// In: an ICMP error. Does: finds the client's packet inside the tunnel packet that it quotes.
// Kernel: ip_vs_core.c ip_vs_in_icmp, ipvs_udp_decap, ipvs_gre_decap. Next: core_tunnels.cc.
#include "forward/tunnel_error.h"

#include "parse/ether.h"
#include "parse/icmp.h"
#include "parse/ip4.h"
#include "parse/parse.h"
#include "parse/udp.h"

namespace uvs {
namespace {

constexpr uint8_t kGueHeaderWords = 0x1f;  // first byte of GUE; above them version and control bit

// Length of the GRE header at `at` of an IPv4 packet; 0 if it is none of ours. Of its flags only
// the checksum may be set.
uint32_t gre_bytes(const uint8_t* at, uint32_t bytes) {
  if (bytes < kGreBytes || (at[0] & ~kGreChecksumFlag) != 0 || at[1] != 0) return 0;
  if (load16(at + 2) != kEtherIp4) return 0;
  return kGreBytes + ((at[0] & kGreChecksumFlag) != 0 ? kGreChecksumBytes : 0);
}

// The same for UDP and GUE: version 0, no control message.
uint32_t gue_bytes(const uint8_t* at, uint32_t bytes, Tunnel* tunnel) {
  if (bytes < kUdpBytes + kGueBytes) return 0;
  const uint8_t* gue = at + kUdpBytes;
  if ((gue[0] & ~kGueHeaderWords) != 0 || gue[1] != kProtoIpip) return 0;
  tunnel->port = Udp(at).destination();
  return kUdpBytes + kGueBytes + 4u * (gue[0] & kGueHeaderWords);
}

// Bytes between the outer header and the client's packet; false: no tunnel.
bool read_middle(uint8_t protocol, const uint8_t* at, uint32_t left, Tunnel* tunnel,
                 uint32_t* bytes) {
  *tunnel = Tunnel{};
  *bytes = 0;
  switch (protocol) {
    case kProtoIpip: tunnel->type = kTunnelIpip; return true;
    case kProtoGre:
      tunnel->type = kTunnelGre;
      *bytes = gre_bytes(at, left);
      break;
    case kProtoUdp:
      tunnel->type = kTunnelGue;
      *bytes = gue_bytes(at, left, tunnel);
      break;
    default: return false;
  }
  return *bytes != 0 && *bytes <= left;
}

}  // namespace

bool quoted_tunnel(const Packet& packet, QuotedTunnel* out) {
  if (packet.family != 4 || !is_related_error(packet)) return false;
  const uint8_t* quote = Icmp(packet.transport()).quote();
  const uint32_t left = packet.l3 + packet.l3_bytes - packet.l4 - kIcmpBytes;
  if (left < kIp4Bytes) return false;
  const Ip4 outer(quote);
  const uint32_t header = outer.header_bytes();
  if (outer.version() != 4 || header < kIp4Bytes || header > left) return false;
  if ((outer.flags_and_offset().host() & kIp4OffsetMask) != 0) return false;
  uint32_t middle;
  if (!read_middle(outer.protocol(), quote + header, left - header, &out->tunnel, &middle)) {
    return false;
  }
  out->remote = Addr::v4(outer.destination());
  out->header_bytes = header + middle;
  const uint8_t* inner = quote + out->header_bytes;
  Packet& client = out->client;
  client = Packet{};
  client.l3_bytes = left - out->header_bytes;
  if (!parse_quoted(inner, client.l3_bytes, 4, &client.key, &client.l4)) return false;
  client.frame = packet.frame;
  client.frame.vnet = VnetHdr{};
  client.l3 = static_cast<uint16_t>(inner - packet.frame.data);
  client.l4 = static_cast<uint16_t>(client.l4 + client.l3);
  client.kind = PacketKind::kFlow;
  client.family = 4;
  client.ttl = Ip4(inner).ttl();
  client.dont_fragment = (Ip4(inner).flags_and_offset().host() & kIp4DontFragment) != 0;
  return true;
}

}  // namespace uvs
