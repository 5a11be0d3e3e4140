// In: a packet and the MTU of its path. Does: decides whether it fits, must be cut or must be
// answered (spec 5.6). Next: transmit.cc.
#include "forward/forward.h"
#include "parse/icmp.h"
#include "parse/tcp.h"
#include "parse/udp.h"

namespace uvs {
namespace {

// IP bytes of the largest packet this one becomes on the wire.
uint32_t wire_bytes(const Packet& packet) {
  if (!packet.is_gso()) [[likely]]
    return packet.l3_bytes;
  const uint32_t transport =
      packet.key.protocol == kProtoTcp ? Tcp(packet.transport()).header_bytes() : kUdpBytes;
  const uint32_t segment = packet.l4 - packet.l3 + transport + packet.frame.vnet.gso_size;
  return segment < packet.l3_bytes ? segment : packet.l3_bytes;
}

// Whether an IPv4 packet may be cut. An ICMP error on its way passes whatever its DF says, because
// an error about it may not be sent (ip_vs_xmit.c ensure_mtu_is_adequate); ip_forward.c has no such
// rule.
bool may_cut(const Packet& packet, bool forwarded) {
  return !packet.dont_fragment ||
         (!forwarded && packet.kind == PacketKind::kIcmp && is_icmp_error(packet));
}

// A datagram that came in fragments (ip_vs_xmit.c ensure_mtu_is_adequate, ip6_output.c
// ip6_finish_output): of IPv6 the largest fragment counts, of IPv4 the whole, and it leaves in
// fragments again even where it would fit.
Fit fit_reassembled(const Packet& packet, uint32_t mtu, bool forwarded) {
  if (packet.family == 6) {
    if (packet.fragment_bytes > mtu) return Fit::kTooBig;
    return packet.l3_bytes > packet.fragment_bytes ? Fit::kFragment : Fit::kFits;
  }
  const bool refused = packet.l3_bytes > mtu && !may_cut(packet, forwarded);
  return refused ? Fit::kTooBig : Fit::kFragment;
}

}  // namespace

Fit fit_to_mtu(const Packet& packet, uint32_t mtu, bool forwarded) {
  if (packet.fragment_bytes != 0) [[unlikely]]
    return fit_reassembled(packet, mtu, forwarded);
  if (wire_bytes(packet) <= mtu) [[likely]]
    return Fit::kFits;
  if (packet.family == 6) return Fit::kTooBig;
  return may_cut(packet, forwarded) ? Fit::kFragment : Fit::kTooBig;
}

}  // namespace uvs
