// In: a packet whose checksum or segmentation was left to the device. Does: both in software, for
// paths no device can do it on (tunnels, fragments). Next: tunnel.cc, fragment_out.cc.
#include <algorithm>
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

// One super-packet being cut; all sizes in bytes.
struct Cut {
  const Packet& packet;
  bool tcp;
  uint32_t ip_header;  // with options or extension headers
  uint32_t transport;  // TCP or UDP header with options
  uint32_t payload;    // of the whole super-packet
  uint32_t each;       // payload of one segment, the last may have less
  bool partial;        // leave the checksums partial
};

void finish_ip(const Cut& cut, uint8_t* at, uint32_t total, uint32_t index) {
  if (cut.packet.family == 6) {
    Ip6(at).set_payload_bytes(total - kIp6Bytes);
    return;
  }
  Ip4 ip(at);
  ip.set_total_bytes(total);
  ip.set_id(static_cast<uint16_t>(ip.id().host() + index));
  ip.set_checksum(0);
  ip.set_checksum(checksum_of(at, cut.ip_header));
}

void finish_tcp(uint8_t* at, uint32_t offset, bool first, bool last) {
  Tcp tcp(at);
  tcp.set_sequence(tcp.sequence().host() + offset);
  uint8_t flags = tcp.flags();
  if (!last) flags &= static_cast<uint8_t>(~(kTcpFin | kTcpPsh));
  if (!first) flags &= static_cast<uint8_t>(~kTcpCwr);  // says once that the window was cut
  tcp.set_flags(flags);
  tcp.set_checksum(0);
}

// The checksum field of a segment whose own field is 0 now. Addresses as they stand in the packet;
// `key` may be from before a rewrite.
void finish_checksum(const Cut& cut, Frame& out, uint32_t bytes) {
  const uint8_t* ip = out.data;
  uint8_t* transport = out.data + cut.ip_header;
  const uint8_t protocol = cut.tcp ? kProtoTcp : kProtoUdp;
  const bool six = cut.packet.family == 6;
  const Addr source = six ? Addr::v6(Ip6(ip).source()) : Addr::v4(Ip4(ip).source());
  const Addr destination = six ? Addr::v6(Ip6(ip).destination()) : Addr::v4(Ip4(ip).destination());
  const uint32_t field = cut.tcp ? kTcpChecksumOffset : kUdpChecksumOffset;
  if (cut.partial) {
    out.vnet.flags = kVnetNeedsCsum;
    out.vnet.csum_start = static_cast<uint16_t>(cut.ip_header);
    out.vnet.csum_offset = static_cast<uint16_t>(field);
    store16(transport + field, Be16{fold(sum_pseudo(source, destination, protocol, bytes))});
    return;
  }
  const uint16_t sum = transport_checksum(source, destination, protocol, transport, bytes);
  store16(transport + field, Be16{sum});
}

void write_segment(const Cut& cut, uint32_t index, Frame& out) {
  const uint32_t offset = index * cut.each;
  const uint32_t payload = std::min(cut.each, cut.payload - offset);
  const uint32_t headers = cut.ip_header + cut.transport;
  const uint8_t* source = cut.packet.ip();
  std::memcpy(out.data, source, headers);
  std::memcpy(out.data + headers, source + headers + offset, payload);
  finish_ip(cut, out.data, headers + payload, index);

  uint8_t* transport = out.data + cut.ip_header;
  const uint32_t bytes = cut.transport + payload;
  if (cut.tcp) {
    finish_tcp(transport, offset, index == 0, offset + payload == cut.payload);
  } else {
    Udp udp(transport);
    udp.set_bytes(bytes);
    udp.set_checksum(0);
  }
  out.length = headers + payload;
  out.vnet = VnetHdr{};
  finish_checksum(cut, out, bytes);
  out.port = cut.packet.frame.port;
}

}  // namespace

void complete_checksum(Packet& packet) {
  VnetHdr& vnet = packet.frame.vnet;
  assert(packet.checksum_partial());
  assert(vnet.csum_start + vnet.csum_offset + 2u <= packet.frame.length);
  uint8_t* start = packet.frame.data + vnet.csum_start;
  if (packet.key.protocol == kProtoSctp) {
    Sctp(start).set_checksum(sctp_checksum(start, packet.frame.length - vnet.csum_start));
    vnet = VnetHdr{};
    return;
  }
  uint8_t* field = start + vnet.csum_offset;
  // The field already holds the pseudo-header sum, so that the plain sum of all is the right one.
  const uint16_t sum = checksum_of(start, packet.frame.length - vnet.csum_start);
  const bool udp = packet.key.protocol == kProtoUdp;
  store16(field, Be16{udp && sum == 0 ? uint16_t{0xffff} : sum});
  vnet = VnetHdr{};
}

uint32_t segment(const Packet& packet, Frame* out, uint32_t max, bool partial) {
  assert(packet.kind == PacketKind::kFlow && packet.is_gso());
  constexpr uint32_t kRoom = kFrameSlotBytes - kHeadroom;
  const bool tcp = packet.key.protocol == kProtoTcp;
  const uint32_t ip_header = packet.l4 - packet.l3;
  const uint32_t transport = tcp ? Tcp(packet.transport()).header_bytes() : kUdpBytes;
  const uint32_t headers = ip_header + transport;
  if (headers >= kRoom) return 0;
  uint32_t each = packet.frame.vnet.gso_size;
  if (headers + each > kRoom) {
    if (!tcp) return 0;  // datagrams have borders of their own
    each = kRoom - headers;
  }
  const Cut cut{packet, tcp, ip_header, transport, packet.l3_bytes - headers, each, partial};
  // A super-packet without payload still is one packet.
  const uint32_t count = std::max(1u, (cut.payload + each - 1) / each);
  if (count > max) return 0;
  for (uint32_t i = 0; i < count; i++) write_segment(cut, i, out[i]);
  return count;
}

}  // namespace uvs
