// In: a packet of a known connection and its new ends. Does: rewrites addresses and ports, and the
// checksums that cover them. Next: transmit.cc sends it.
#include <cassert>

#include "forward/forward.h"
#include "parse/checksum.h"
#include "parse/crc32c.h"
#include "parse/ip4.h"
#include "parse/ip6.h"
#include "parse/sctp.h"
#include "parse/tcp.h"
#include "parse/udp.h"

namespace uvs {
namespace {

// Writes both addresses; returns what that adds to a sum over them.
uint64_t write_addresses(uint8_t* ip, uint8_t family, const Addr& source, const Addr& destination) {
  if (family == 4) [[likely]] {
    uint8_t* ends = ip + 12;  // source and destination, eight bytes in one
    const uint64_t now = source.v4_part().raw | static_cast<uint64_t>(destination.v4_part().raw)
                                                    << 32;
    const uint64_t difference = difference64(load_raw64(ends), now);
    store_raw64(ends, now);
    Ip4 header(ip);
    header.set_checksum(update_checksum(header.checksum().raw, difference));
    return difference;
  }
  Ip6 header(ip);
  const uint64_t difference = difference128(header.source(), source.bytes) +
                              difference128(header.destination(), destination.bytes);
  std::memcpy(header.source(), source.bytes, 16);
  std::memcpy(header.destination(), destination.bytes, 16);
  return difference;
}

// Writes both ports; returns what that adds to a sum over them.
uint64_t write_ports(uint8_t* transport, Be16 source, Be16 destination) {
  const uint32_t now = source.raw | static_cast<uint32_t>(destination.raw) << 16;
  const uint64_t difference = difference32(load32(transport).raw, now);
  store32(transport, Be32{now});
  return difference;
}

// A zero UDP checksum says that there was none; the kernel puts a full one in (spec 5.5.2).
void add_udp_checksum(const Packet& packet, const Ends& to) {
  Udp udp(packet.transport());
  udp.set_checksum(
      transport_checksum(*to.source, *to.destination, kProtoUdp, udp.at, udp.bytes().host()));
}

// SCTP, AH and ESP. No sum of theirs covers an address, and of the latter two nothing else is ours
// to change. That of SCTP is made anew only when a port really changed (spec 5.5.2), or when its
// sender left it to a network card.
void rewrite_uncovered(Packet& packet, const Ends& to) {
  write_addresses(packet.ip(), packet.family, *to.source, *to.destination);
  if (packet.kind == PacketKind::kIpsec) return;
  Sctp sctp(packet.transport());
  const bool same = sctp.source() == to.source_port && sctp.destination() == to.destination_port;
  write_ports(sctp.at, to.source_port, to.destination_port);
  if (packet.checksum_partial()) return complete_checksum(packet);
  if (same) return;
  sctp.set_checksum(sctp_checksum(sctp.at, packet.l3 + packet.l3_bytes - packet.l4));
}

}  // namespace

void rewrite_ends(Packet& packet, const Ends& to, uint64_t covered) {
  assert(packet.kind == PacketKind::kFlow || packet.kind == PacketKind::kIpsec);
  const bool udp = packet.key.protocol == kProtoUdp;
  if (!udp && packet.key.protocol != kProtoTcp) [[unlikely]]
    return rewrite_uncovered(packet, to);
  uint8_t* transport = packet.transport();
  const uint64_t addresses =
      write_addresses(packet.ip(), packet.family, *to.source, *to.destination);
  const uint64_t ports = covered + write_ports(transport, to.source_port, to.destination_port);
  uint8_t* field = transport + (udp ? kUdpChecksumOffset : kTcpChecksumOffset);
  const uint16_t old = load16(field).raw;

  if (packet.checksum_partial()) {
    // The field holds the pseudo-header sum, not complemented; who finishes it sums the ports too.
    store16(field, Be16{fold(addresses + old)});
    return;
  }
  if (udp && old == 0) [[unlikely]]
    return add_udp_checksum(packet, to);
  const uint16_t sum = update_checksum(old, addresses + ports);
  store16(field, Be16{udp && sum == 0 ? uint16_t{0xffff} : sum});
}

}  // namespace uvs
