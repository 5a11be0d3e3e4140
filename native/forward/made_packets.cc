// In: what a packet must say. Does: builds it. Next: transmit.cc sends it.
#include "forward/made_packets.h"

#include "parse/checksum.h"
#include "parse/ip4.h"
#include "parse/ip6.h"
#include "parse/tcp.h"
#include "parse/udp.h"

namespace uvs {
namespace {

constexpr uint8_t kTtl = 64;

// Writes the IP header for `payload` bytes behind it and its options; returns the header's bytes.
uint32_t write_ip(uint8_t* at, const Ends& ends, uint8_t protocol, const uint8_t* options,
                  uint32_t option_bytes, uint32_t payload) {
  if (!ends.source->is_v4()) {
    Ip6 ip(at);
    store32(at, Be32::of(6u << 28));
    ip.set_payload_bytes(payload);
    at[6] = protocol;
    ip.set_hop_limit(kTtl);
    std::memcpy(ip.source(), ends.source->bytes, 16);
    std::memcpy(ip.destination(), ends.destination->bytes, 16);
    return kIp6Bytes;
  }
  const uint32_t header = kIp4Bytes + option_bytes;
  Ip4 ip(at);
  at[0] = static_cast<uint8_t>(0x40 | header / 4);
  at[1] = 0;
  ip.set_total_bytes(header + payload);
  ip.set_id(0);
  ip.set_flags_and_offset(kIp4DontFragment);
  ip.set_ttl(kTtl);
  at[9] = protocol;
  ip.set_source(ends.source->v4_part());
  ip.set_destination(ends.destination->v4_part());
  if (option_bytes != 0) std::memcpy(at + kIp4Bytes, options, option_bytes);
  ip.set_checksum(0);
  ip.set_checksum(checksum_of(at, header));
  return header;
}

}  // namespace

void build_segment(const MadeSegment& segment, Frame* out) {
  const uint32_t bytes = kTcpBytes + segment.payload_bytes;
  const uint32_t header = write_ip(out->data, segment.ends, kProtoTcp, nullptr, 0, bytes);
  uint8_t* at = out->data + header;
  Tcp tcp(at);
  std::memset(at, 0, kTcpBytes);
  store16(at, segment.ends.source_port);
  store16(at + 2, segment.ends.destination_port);
  tcp.set_sequence(segment.sequence);
  tcp.set_acknowledgement(segment.acknowledgement);
  tcp.set_header_bytes(kTcpBytes);
  tcp.set_flags(segment.flags);
  store16(at + 14, segment.window);
  if (segment.payload_bytes != 0) {
    std::memcpy(at + kTcpBytes, segment.payload, segment.payload_bytes);
  }
  tcp.set_checksum(
      transport_checksum(*segment.ends.source, *segment.ends.destination, kProtoTcp, at, bytes));
  out->length = header + bytes;
  out->vnet = VnetHdr{};
}

void build_empty_datagram(const MadeDatagram& datagram, uint8_t protocol, Frame* out) {
  const uint32_t bytes = datagram.head_bytes + kUdpBytes;
  const uint32_t header =
      write_ip(out->data, datagram.ends, protocol, datagram.options, datagram.option_bytes, bytes);
  uint8_t* at = out->data + header;
  if (datagram.head_bytes != 0) std::memcpy(at, datagram.head, datagram.head_bytes);
  at += datagram.head_bytes;
  store16(at, datagram.ends.source_port);
  store16(at + 2, datagram.ends.destination_port);
  Udp udp(at);
  udp.set_bytes(kUdpBytes);
  udp.set_checksum(0);
  if (!datagram.ends.source->is_v4()) {
    udp.set_checksum(transport_checksum(*datagram.ends.source, *datagram.ends.destination,
                                        kProtoUdp, at, kUdpBytes));
  }
  out->length = header + bytes;
  out->vnet = VnetHdr{};
}

}  // namespace uvs
