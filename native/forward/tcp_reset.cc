// In: a TCP packet without connection. Does: the answer a host with a closed port gives.
// Next: egress.cc sends it.
#include "forward/tcp_reset.h"

#include <cstring>

#include "parse/checksum.h"
#include "parse/ip4.h"
#include "parse/ip6.h"

namespace uvs {
namespace {

constexpr uint32_t kTcpBytes = 20;
constexpr uint8_t kTtl = 64;

uint32_t read32(const uint8_t* p) {
  uint32_t raw;
  std::memcpy(&raw, p, 4);
  return Be32{raw}.host();
}
void write32(uint8_t* p, uint32_t host) {
  const uint32_t raw = Be32::of(host).raw;
  std::memcpy(p, &raw, 4);
}
void write16(uint8_t* p, uint16_t host) {
  const uint16_t raw = Be16::of(host).raw;
  std::memcpy(p, &raw, 2);
}

// Sequence space the segment takes: payload, SYN and FIN (RFC 9293 3.4).
uint32_t segment_length(const Packet& packet) {
  const uint32_t header = packet.transport()[12] >> 4;
  const uint32_t before = static_cast<uint32_t>(packet.l4 - packet.l3) + header * 4;
  uint32_t length = packet.l3_bytes > before ? packet.l3_bytes - before : 0;
  length += (packet.tcp_flags & kTcpSyn) != 0;
  length += (packet.tcp_flags & kTcpFin) != 0;
  return length;
}

// The DS field of the packet that is answered, without its ECN (tcp_v4_send_reset, ip6_xmit).
constexpr uint8_t kDsMask = 0xfc;

void write_ip(uint8_t* ip, const Packet& packet) {
  const FlowKey& key = packet.key;
  if (packet.family == 4) {
    std::memset(ip, 0, kIp4Bytes);
    ip[0] = 0x45;
    ip[1] = Ip4(packet.ip()).tos() & kDsMask;
    write16(ip + 2, kIp4Bytes + kTcpBytes);
    write16(ip + 6, 0x4000);  // DF
    ip[8] = kTtl;
    ip[9] = kProtoTcp;
    std::memcpy(ip + 12, key.destination.bytes + 12, 4);
    std::memcpy(ip + 16, key.source.bytes + 12, 4);
    const uint16_t sum = checksum_of(ip, kIp4Bytes);
    std::memcpy(ip + 10, &sum, 2);
    return;
  }
  std::memset(ip, 0, kIp6Bytes);
  const uint32_t ds = Ip6(packet.ip()).traffic_class() & kDsMask;
  write32(ip, 6u << 28 | ds << 20);
  write16(ip + 4, kTcpBytes);
  ip[6] = kProtoTcp;
  ip[7] = kTtl;
  std::memcpy(ip + 8, key.destination.bytes, 16);
  std::memcpy(ip + 24, key.source.bytes, 16);
}

}  // namespace

void build_tcp_reset(const Packet& packet, Frame* out) {
  const uint32_t ip_bytes = packet.family == 4 ? kIp4Bytes : kIp6Bytes;
  uint8_t* tcp = out->data + ip_bytes;
  const uint8_t* seen = packet.transport();
  write_ip(out->data, packet);
  std::memset(tcp, 0, kTcpBytes);
  std::memcpy(tcp, &packet.key.destination_port.raw, 2);
  std::memcpy(tcp + 2, &packet.key.source_port.raw, 2);
  tcp[12] = (kTcpBytes / 4) << 4;
  tcp[13] = kTcpRst;
  if (packet.tcp_flags & kTcpAck) {
    std::memcpy(tcp + 4, seen + 8, 4);
  } else {
    write32(tcp + 8, read32(seen + 4) + segment_length(packet));
    tcp[13] |= kTcpAck;
  }
  const uint16_t sum =
      transport_checksum(packet.key.destination, packet.key.source, kProtoTcp, tcp, kTcpBytes);
  std::memcpy(tcp + 16, &sum, 2);
  out->length = ip_bytes + kTcpBytes;
  out->vnet = VnetHdr{};
}

}  // namespace uvs
