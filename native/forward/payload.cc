// In: a TCP packet and what a helper wants of it. Does: reads, replaces and renumbers its payload.
// Next: transmit.cc rewrites the ends.
#include "forward/payload.h"

#include <cassert>
#include <cstring>

#include "parse/checksum.h"
#include "parse/ip4.h"
#include "parse/ip6.h"
#include "parse/tcp.h"

namespace uvs {
namespace {

uint32_t transport_bytes(const Packet& packet) { return packet.l3 + packet.l3_bytes - packet.l4; }

uint32_t header_bytes(const Packet& packet) { return Tcp(packet.transport()).header_bytes(); }

void set_ip_bytes(Packet& packet) {
  if (packet.family == 6) {
    Ip6(packet.ip()).set_payload_bytes(packet.l3_bytes - kIp6Bytes);
    return;
  }
  Ip4 ip(packet.ip());
  const Be16 before = ip.total_bytes();
  ip.set_total_bytes(packet.l3_bytes);
  ip.set_checksum(update_checksum(ip.checksum().raw, difference16(before, ip.total_bytes())));
}

}  // namespace

std::span<const uint8_t> payload_of(const Packet& packet) {
  const uint32_t header = header_bytes(packet);
  return {packet.transport() + header, transport_bytes(packet) - header};
}

bool tcp_checksum_good(const Packet& packet) {
  if (packet.checksum_partial()) return true;
  const uint32_t bytes = transport_bytes(packet);
  const uint64_t pseudo = sum_pseudo(packet.key.source, packet.key.destination, kProtoTcp, bytes);
  return fold(add_sums(pseudo, sum_bytes(packet.transport(), bytes))) == 0xffff;
}

void renew_tcp_checksum(Packet& packet) {
  if (packet.checksum_partial()) return;
  Tcp tcp(packet.transport());
  tcp.set_checksum(0);
  tcp.set_checksum(transport_checksum(packet.key.source, packet.key.destination, kProtoTcp, tcp.at,
                                      transport_bytes(packet)));
}

bool renumber(Packet& packet, const SequenceFix& own, const SequenceFix& other) {
  Tcp tcp(packet.transport());
  const auto bytes = static_cast<uint32_t>(payload_of(packet).size());
  const uint32_t sequence = tcp.sequence().host();
  const uint32_t moved = to_receiver(own, sequence, bytes);
  bool changed = moved != sequence;
  tcp.set_sequence(moved);
  if ((packet.tcp_flags & kTcpAck) == 0) return changed;
  const uint32_t acknowledged = tcp.acknowledgement().host();
  const uint32_t meant = to_sender(other, acknowledged, false);
  changed |= meant != acknowledged;
  tcp.set_acknowledgement(meant);
  return sack_to_sender(other, tcp.at, tcp.header_bytes()) || changed;
}

bool replace_payload(Packet& packet, uint32_t at, uint32_t bytes, std::span<const uint8_t> text) {
  assert(at + bytes <= payload_of(packet).size());
  const int32_t growth = static_cast<int32_t>(text.size()) - static_cast<int32_t>(bytes);
  const uint32_t limit = kMaxIpBytes + (packet.family == 6 ? kIp6Bytes : 0);
  if (growth > 0) {
    const auto room = static_cast<uint32_t>(growth);
    if (packet.frame.headroom + packet.l3 < room + kEthernetBytes + kVnetHeaderBytes) return false;
    if (packet.l3_bytes + room > limit) return false;
  }
  const uint32_t before = transport_bytes(packet);
  Frame& frame = packet.frame;
  const uint32_t front = packet.l4 + header_bytes(packet) + at;
  std::memmove(frame.data - growth, frame.data, front);
  frame.data -= growth;
  frame.headroom = static_cast<uint32_t>(static_cast<int32_t>(frame.headroom) - growth);
  frame.length = static_cast<uint32_t>(static_cast<int32_t>(frame.length) + growth);
  packet.l3_bytes = static_cast<uint32_t>(static_cast<int32_t>(packet.l3_bytes) + growth);
  std::memcpy(frame.data + front, text.data(), text.size());
  set_ip_bytes(packet);
  if (packet.checksum_partial()) {
    // The field holds the sum of the pseudo-header, of which the length is part.
    Tcp tcp(packet.transport());
    const uint64_t length =
        difference32(Be32::of(before).raw, Be32::of(transport_bytes(packet)).raw);
    tcp.set_checksum(fold(add_sums(length, tcp.checksum().raw)));
  }
  return true;
}

void split_to_mtu(Packet& packet, uint32_t mtu) {
  const uint32_t headers = packet.l4 - packet.l3 + header_bytes(packet);
  VnetHdr& vnet = packet.frame.vnet;
  assert(!packet.is_gso() && mtu > headers);
  if (!packet.checksum_partial()) {
    const uint64_t pseudo =
        sum_pseudo(packet.key.source, packet.key.destination, kProtoTcp, transport_bytes(packet));
    Tcp(packet.transport()).set_checksum(fold(pseudo));
    vnet.flags = kVnetNeedsCsum;
    vnet.csum_start = packet.l4;
    vnet.csum_offset = kTcpChecksumOffset;
  }
  vnet.gso_type = packet.family == 6 ? kVnetGsoTcp6 : kVnetGsoTcp4;
  vnet.gso_size = static_cast<uint16_t>(mtu - headers);
  vnet.hdr_len = static_cast<uint16_t>(packet.l3 + headers);
}

}  // namespace uvs
