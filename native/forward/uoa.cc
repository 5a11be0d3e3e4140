// In: a datagram to a destination and its client. Does: adds the client's address.
// Next: transmit_fullnat.cc sends it.
#include "forward/uoa.h"

#include "forward/made_packets.h"
#include "forward/resize.h"
#include "parse/checksum.h"
#include "parse/ip4.h"
#include "parse/ip6.h"
#include "parse/udp.h"

namespace uvs {
namespace {

bool as_option(const ClientEnds& ends, bool four, uint8_t mode) {
  return mode == kUoaOption && four && ends.client.is_v4();
}

// UDP stays where it is while the frame begins earlier: offsets from its start grow.
void transport_moved(Packet& packet, uint32_t by) {
  packet.l4 = static_cast<uint16_t>(packet.l4 + by);
  VnetHdr& vnet = packet.frame.vnet;
  if (packet.checksum_partial()) vnet.csum_start = static_cast<uint16_t>(vnet.csum_start + by);
}

bool add_option(Packet& packet, const ClientEnds& ends) {
  uint8_t option[kToa6Bytes];
  const uint32_t bytes = write_uoa_option(ends, option);
  if (Ip4(packet.ip()).header_bytes() + bytes > kIp4MaxHeaderBytes) return false;
  move_headers(packet, kIp4Bytes, static_cast<int32_t>(bytes));
  uint8_t* ip = packet.ip();
  std::memcpy(ip + kIp4Bytes, option, bytes);
  ip[0] = static_cast<uint8_t>(ip[0] + bytes / 4);
  Ip4 header(ip);
  header.set_checksum(0);
  header.set_checksum(checksum_of(ip, header.header_bytes()));
  transport_moved(packet, bytes);
  return true;
}

void add_header(Packet& packet, const ClientEnds& ends) {
  uint8_t header[kUoaMaxBytes];
  const uint32_t bytes = write_uoa_header(ends, header);
  const uint32_t ip_bytes = packet.l4 - packet.l3;
  move_headers(packet, ip_bytes, static_cast<int32_t>(bytes));
  uint8_t* ip = packet.ip();
  std::memcpy(ip + ip_bytes, header, bytes);
  transport_moved(packet, bytes);
  if (packet.family == 6) {
    ip[6] = kProtoUoa;
    return;
  }
  ip[9] = kProtoUoa;
  Ip4 fixed(ip);
  fixed.set_checksum(0);
  fixed.set_checksum(checksum_of(ip, ip_bytes));
  Udp(packet.transport()).set_checksum(0);
  packet.frame.vnet = VnetHdr{};
}

}  // namespace

bool add_uoa(Packet& packet, const ClientEnds& ends, uint8_t mode, uint32_t mtu) {
  const bool option = as_option(ends, packet.family == 4, mode);
  const uint32_t bytes = address_option_bytes(ends.client) + (option ? 0 : kUoaHeaderBytes);
  if (packet.is_gso() || packet.l3_bytes + bytes > mtu || bytes > front_room(packet)) return false;
  if (option) return add_option(packet, ends);
  if (packet.family == 6 && packet.l4 - packet.l3 != kIp6Bytes) return false;
  add_header(packet, ends);
  return true;
}

void build_uoa(const ClientEnds& ends, const Ends& to, uint8_t mode, Frame* out) {
  uint8_t bytes[kUoaMaxBytes];
  MadeDatagram datagram;
  datagram.ends = to;
  if (as_option(ends, to.source->is_v4(), mode)) {
    datagram.options = bytes;
    datagram.option_bytes = write_uoa_option(ends, bytes);
    return build_empty_datagram(datagram, kProtoUdp, out);
  }
  datagram.head = bytes;
  datagram.head_bytes = write_uoa_header(ends, bytes);
  build_empty_datagram(datagram, kProtoUoa, out);
}

}  // namespace uvs
