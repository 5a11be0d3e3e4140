// Fuzz target: any bytes, as an Ethernet frame, as an IP packet and as the quote of an ICMP error.
// Whatever parse() accepts must lie inside the frame, with headers in order.
//
// Input: a virtio header (10 bytes), then the frame. The frame is copied to memory that ends with
// it, so that the address sanitizer sees every read behind it.
#include <memory>

#include "forward/related_icmp.h"
#include "parse/ip6.h"
#include "parse/parse.h"

namespace {

using namespace uvs;

void require(bool holds) {
  if (!holds) __builtin_trap();
}

// A frame in memory of its own, with headroom in front and nothing behind.
struct Copy {
  std::unique_ptr<uint8_t[]> memory;
  Frame frame;

  Copy(const uint8_t* data, size_t size) : memory(new uint8_t[kHeadroom + size]) {
    if (size != 0) std::memcpy(memory.get() + kHeadroom, data, size);
    frame.data = memory.get() + kHeadroom;
    frame.length = static_cast<uint32_t>(size);
    frame.headroom = kHeadroom;
  }
};

void check_parse(const uint8_t* data, size_t size, Link link, const VnetHdr& vnet) {
  Copy copy(data, size);
  Packet packet{};
  packet.frame = copy.frame;
  packet.frame.vnet = vnet;
  parse(packet, link);
  require(packet.frame.data == copy.frame.data && packet.frame.length <= size);
  require(std::memcmp(copy.frame.data, data, size) == 0);
  if (packet.kind == PacketKind::kBad || packet.kind == PacketKind::kHost) {
    require(static_cast<uint32_t>(packet.reason) < kReasonCount);
    return;
  }
  if (packet.kind == PacketKind::kArp) return require(link == Link::kEthernet);
  require(packet.family == 4 || packet.family == 6);
  require(packet.l3 == (link == Link::kEthernet ? kEthernetBytes : 0));
  require(packet.l4 >= packet.l3 + (packet.family == 4 ? 20 : 40));
  require(packet.l3 + packet.l3_bytes == packet.frame.length);
  if (packet.kind == PacketKind::kFragment) {
    require(packet.l4 <= packet.frame.length && packet.fragment_bytes == 0);
    if (packet.family == 4) return;
    const Ip6Fragment found = find_fragment(packet.ip(), packet.l3_bytes);
    require(found.at >= kIp6Bytes && packet.l3 + found.at + kIp6FragmentBytes == packet.l4);
    return require(found.named_at < found.at && packet.ip()[found.named_at] == kIp6Fragment);
  }
  require(packet.l4 + 8u <= packet.frame.length);
  require(packet.key.source.is_v4() == (packet.family == 4));
  require(packet.key.destination.is_v4() == (packet.family == 4));
  if (packet.checksum_partial()) {
    require(vnet.csum_start + vnet.csum_offset + 2u <= packet.frame.length);
  }
  if (packet.kind == PacketKind::kIcmp) {
    FlowKey inverse;
    quoted_flow(packet, &inverse);
    require(!packet.is_gso());
  } else {
    require(!packet.is_gso() || (packet.checksum_partial() && vnet.gso_size != 0));
  }
}

void check_quote(const uint8_t* data, size_t size, uint8_t family) {
  const Copy copy(data, size);
  FlowKey key;
  uint16_t l4 = 0;
  if (!parse_quoted(copy.frame.data, copy.frame.length, family, &key, &l4)) return;
  require(l4 + (is_ipsec(key.protocol) ? 0u : 4u) <= size);
  require(l4 >= (family == 4 ? 20 : 40));
  require(key.protocol == kProtoTcp || key.protocol == kProtoUdp || key.protocol == kProtoSctp ||
          is_ipsec(key.protocol));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < sizeof(VnetHdr) || size > kSuperFrameBytes) return 0;
  VnetHdr vnet;
  std::memcpy(&vnet, data, sizeof vnet);
  data += sizeof vnet;
  size -= sizeof vnet;
  check_parse(data, size, Link::kEthernet, VnetHdr{});
  check_parse(data, size, Link::kEthernet, vnet);
  check_parse(data, size, Link::kIp, VnetHdr{});
  check_parse(data, size, Link::kIp, vnet);
  check_quote(data, size, 4);
  check_quote(data, size, 6);
  return 0;
}
