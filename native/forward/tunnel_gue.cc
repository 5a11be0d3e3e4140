// In: a packet that has room in front. Does: writes UDP and GUE header (draft-ietf-intarea-gue 3,
// remote checksum: draft-herbert-remotecsumoffload; kernel: ip_vs_xmit.c, ipvs_gue_encap; spec
// 5.5.4). Next: tunnel.cc puts the outer header in front.
#include "forward/tunnel.h"
#include "parse/checksum.h"
#include "parse/udp.h"

namespace uvs {
namespace {

constexpr uint16_t kPrivateFlags = 0x0001;             // of the GUE header: a word of them follows
constexpr uint32_t kRemoteChecksumFlag = 0x8000'0000;  // of that word: two offsets follow

}  // namespace

void write_gue(uint8_t* at, const Tunnel& tunnel, const TunnelEnds& ends,
               const RemoteChecksum& remote, uint8_t protocol, uint32_t bytes) {
  const uint32_t options = remote.wanted ? kGueRemoteChecksumBytes : 0;
  const uint32_t length = kUdpBytes + kGueBytes + options + bytes;
  uint8_t* gue = at + kUdpBytes;
  gue[0] = static_cast<uint8_t>(options / 4);  // version 0, no control message
  gue[1] = protocol;
  store16(gue + 2, Be16::of(remote.wanted ? kPrivateFlags : 0));
  if (remote.wanted) {
    store32(gue + 4, Be32::of(kRemoteChecksumFlag));
    store16(gue + 8, Be16::of(remote.start));
    store16(gue + 10, Be16::of(remote.field));
  }
  Udp udp(at);
  store16(at, ends.source_port);
  store16(at + 2, tunnel.port);
  udp.set_bytes(length);
  udp.set_checksum(0);  // without: allowed over IPv6 too, for tunnels (RFC 6935)
  if ((tunnel.flags & (kTunnelFlagCsum | kTunnelFlagRemcsum)) == 0) return;
  udp.set_checksum(transport_checksum(ends.local, ends.remote, kProtoUdp, at, length));
}

Be16 tunnel_source_port(uint64_t flow_hash, uint16_t first, uint16_t last) {
  // Not the bits that find a connection's bucket: those are nobody's to see.
  const auto mixed = static_cast<uint32_t>((flow_hash * 0x9e3779b97f4a7c15u) >> 32);
  const uint32_t ports = last - first + 1u;
  return Be16::of(static_cast<uint16_t>(first + (uint64_t{mixed} * ports >> 32)));
}

}  // namespace uvs
