// Fuzz target: every edit of forward/ that its precondition allows, on any packet that parses. The
// result must parse again, and as what the edit says.
//
// Input: virtio header (10 bytes), parameters (44 bytes, see Parameters), then an IP packet. The
// IPv4 header checksum is put right first, because no fuzzer guesses it.
#include <algorithm>
#include <memory>
#include <vector>

#include "forward/forward.h"
#include "forward/related_icmp.h"
#include "forward/tunnel.h"
#include "forward/tunnel_error.h"
#include "parse/checksum.h"
#include "parse/crc32c.h"
#include "parse/icmp.h"
#include "parse/ip4.h"
#include "parse/ip6.h"
#include "parse/parse.h"
#include "parse/sctp.h"
#include "parse/tcp.h"
#include "parse/udp.h"

namespace {

using namespace uvs;

constexpr uint32_t kPieces = kSegmentsPerSuperFrame;

void require(bool holds) {
  if (!holds) __builtin_trap();
}

// What the edits are given; filled from the input.
struct Parameters {
  uint8_t source[16];
  uint8_t destination[16];
  Be16 source_port;
  Be16 destination_port;
  uint16_t mtu;
  uint16_t id;
  uint8_t error;
  uint8_t outer_six;
  uint8_t pmtu_disc;
  uint8_t tunnel;  // type in the low two bits, flags above
};
static_assert(sizeof(Parameters) == 44);

// An address that parse() takes from a packet of this family.
Addr usable(const uint8_t* bytes, bool six) {
  Be32 four;
  std::memcpy(&four.raw, bytes, 4);
  four = Be32::of((four.host() & 0x0001ffff) | 0xc6120000);  // 198.18.0.0/15
  if (!six) return Addr::v4(four);
  Addr address = Addr::v6(bytes);
  address.bytes[0] = 0x20;
  return address;
}

// A parsed copy of the input in memory that ends with it.
struct Work {
  std::unique_ptr<uint8_t[]> memory;
  Packet packet{};

  Work(const std::vector<uint8_t>& bytes, const VnetHdr& vnet)
      : memory(new uint8_t[kHeadroom + bytes.size()]) {
    std::memcpy(memory.get() + kHeadroom, bytes.data(), bytes.size());
    packet.frame.data = memory.get() + kHeadroom;
    packet.frame.length = static_cast<uint32_t>(bytes.size());
    packet.frame.headroom = kHeadroom;
    packet.frame.vnet = vnet;
    parse(packet, Link::kIp);
  }
};

Packet parsed(const Frame& frame) {
  Packet packet{};
  packet.frame = frame;
  parse(packet, Link::kIp);
  return packet;
}

// Frames for pieces, allocated once per input that needs them.
struct Pieces {
  std::unique_ptr<uint8_t[]> memory{new uint8_t[size_t{kPieces} * kFrameSlotBytes]};
  std::vector<Frame> frames{kPieces};

  Pieces() {
    for (uint32_t i = 0; i < kPieces; i++) {
      frames[i].data = memory.get() + size_t{i} * kFrameSlotBytes + kHeadroom;
      frames[i].headroom = kHeadroom;
    }
  }
};

uint16_t transport_field(const Packet& packet) {
  const bool udp = packet.key.protocol == kProtoUdp;
  return load16(packet.transport() + (udp ? kUdpChecksumOffset : kTcpChecksumOffset)).raw;
}

// Whether every checksum has one form only: 0 and 0xffff are the same sum.
bool unambiguous(const Packet& packet) {
  if (packet.key.protocol == kProtoSctp) return false;  // see check_sctp()
  const uint16_t field = transport_field(packet);
  if (packet.family == 4 && Ip4(packet.ip()).checksum().raw == 0xffff) return false;
  if (packet.checksum_partial()) return field != 0 && field != 0xffff;
  return field != (packet.key.protocol == kProtoUdp ? 0 : 0xffff);
}

bool sctp_good(const Packet& packet) {
  const Sctp sctp(packet.transport());
  return sctp.checksum() == sctp_checksum(sctp.at, packet.l3_bytes - (packet.l4 - packet.l3));
}

// The sum is right when it was, when a port changed, and when nobody had made it yet.
void check_sctp(Work work, const Parameters& with) {
  Packet& packet = work.packet;
  if (packet.key.protocol != kProtoSctp) return;
  const bool six = packet.family == 6;
  const bool was_good = packet.checksum_partial() || sctp_good(packet);
  const Addr source = usable(with.source, six);
  const Addr destination = usable(with.destination, six);
  const FlowKey key = packet.key;
  rewrite_ends(packet, Ends{&source, &destination, with.source_port, with.destination_port});
  require(!packet.checksum_partial());
  const bool same =
      key.source_port == with.source_port && key.destination_port == with.destination_port;
  require(sctp_good(packet) == (was_good || !same));
}

void check_rewrite(Work work, const Parameters& with) {
  Packet& packet = work.packet;
  const bool six = packet.family == 6;
  const std::vector<uint8_t> before(packet.ip(), packet.ip() + packet.l3_bytes);
  const bool same_again = unambiguous(packet);
  const Addr source = usable(with.source, six);
  const Addr destination = usable(with.destination, six);
  rewrite_ends(packet, Ends{&source, &destination, with.source_port, with.destination_port});
  const Packet seen = parsed(packet.frame);
  require(seen.kind == PacketKind::kFlow);
  require(seen.key.source == source && seen.key.destination == destination);
  require(seen.key.source_port == with.source_port);
  require(seen.key.destination_port == with.destination_port);
  const FlowKey key = packet.key;
  rewrite_ends(packet, Ends{&key.source, &key.destination, key.source_port, key.destination_port});
  if (same_again) require(std::memcmp(before.data(), packet.ip(), before.size()) == 0);
}

void check_ttl(Work work) {
  if (work.packet.ttl <= 1) return;
  decrement_ttl(work.packet);
  const Packet seen = parsed(work.packet.frame);
  require(seen.kind == work.packet.kind && seen.ttl == work.packet.ttl - 1);
}

// What stands between outer header and packet; every length that it says must be true.
uint32_t middle_of(const Packet& outer, uint8_t protocol) {
  const uint8_t* at = outer.transport();
  if (protocol == kProtoGre) return kGreBytes + ((at[0] & kGreChecksumFlag) != 0 ? 4 : 0);
  if (protocol != kProtoUdp) return 0;
  require(Udp(at).bytes().host() == outer.l3 + outer.l3_bytes - outer.l4);
  return kUdpBytes + kGueBytes + 4u * (at[kUdpBytes] & 0x1f);
}

void check_tunnel(Work work, const Parameters& with) {
  Packet& packet = work.packet;
  const Tunnel tunnel{static_cast<uint8_t>(with.tunnel % 3),
                      static_cast<uint8_t>(with.tunnel >> 2 & 3), Be16::of(6080)};
  if (packet.is_gso()) packet.frame.vnet.gso_type = kVnetGsoNone;
  const bool partial = leaves_checksum(tunnel, packet);
  if (packet.checksum_partial() && !partial) complete_checksum(packet);
  const uint32_t inner = packet.l3_bytes;
  const bool six = with.outer_six & 1;
  const uint32_t front = tunnel_bytes(tunnel, !six, partial);
  require(front + kEthernetBytes + kVnetHeaderBytes <= kHeadroom);
  const Addr local = usable(with.source, six);
  const Addr remote = usable(with.destination, six);
  const TunnelEnds ends{local, remote, with.source_port, with.id, (with.pmtu_disc & 1) != 0};
  if (!encapsulate(packet, tunnel, ends)) return require(inner + front > kMaxIpBytes);
  require(packet.l3 == 0 && packet.frame.length == inner + front);
  require(packet.frame.headroom == kHeadroom - front);
  Packet seen = parsed(packet.frame);
  const uint8_t protocol = seen.key.protocol;
  require(protocol == kProtoUdp ? seen.kind == PacketKind::kFlow
                                : seen.reason == Reason::kProtocolUnknown);
  require(seen.key.source == local && seen.key.destination == remote);
  require(seen.l4 + middle_of(seen, protocol) == front);
  seen.frame.data += front;
  seen.frame.length -= front;
  parse(seen, Link::kIp);
  require(seen.kind == packet.kind && seen.l3_bytes == inner);
}

// An ICMP error about the packet inside a tunnel is understood up to its ports, and passed on.
void check_tunnel_error(const Work& work, const Parameters& with) {
  QuotedTunnel quoted;
  if (!quoted_tunnel(work.packet, &quoted)) return;
  const Packet& client = quoted.client;
  require(client.l3 + client.l3_bytes == work.packet.l3 + work.packet.l3_bytes);
  require(client.l4 + 4u <= client.l3 + client.l3_bytes && client.family == 4);
  require(quoted.header_bytes >= kIp4Bytes);
  Pieces pieces;
  Frame& out = pieces.frames[0];
  const IcmpWords words{kIcmpUnreachable, 4, with.mtu};
  if (!build_icmp_relay(client, words, usable(with.source, false), with.id, &out)) return;
  const Packet seen = parsed(out);
  require(seen.kind == PacketKind::kIcmp && is_icmp_error(seen));
  require(seen.key.destination == client.key.source);
}

void check_segments(const Work& work) {
  if (!work.packet.is_gso()) return;
  Pieces pieces;
  const uint32_t count = segment(work.packet, pieces.frames.data(), kPieces);
  uint32_t payload = 0;
  for (uint32_t i = 0; i < count; i++) {
    const Packet seen = parsed(pieces.frames[i]);
    require(seen.kind == PacketKind::kFlow);
    require(seen.frame.length <= kFrameSlotBytes - kHeadroom);
    const uint32_t header =
        seen.key.protocol == kProtoTcp ? Tcp(seen.transport()).header_bytes() : kUdpBytes;
    payload += seen.l3_bytes - seen.l4 - header;
    const uint32_t bytes = seen.l3_bytes - seen.l4;
    const uint64_t sum =
        add_sums(sum_pseudo(seen.key.source, seen.key.destination, seen.key.protocol, bytes),
                 sum_bytes(seen.transport(), bytes));
    require(fold(sum) == 0xffff);
  }
  const Packet& whole = work.packet;
  const uint32_t header =
      whole.key.protocol == kProtoTcp ? Tcp(whole.transport()).header_bytes() : kUdpBytes;
  if (count != 0) require(payload == whole.l3_bytes - (whole.l4 - whole.l3) - header);
}

// A message from nobody, allowed where it asks for duplicate addresses, comes in no fragments; and
// what was the only fragment of a datagram already is nobody's in two.
void require_fragment(const Packet& seen) {
  require(seen.kind == PacketKind::kFragment ||
          (seen.kind == PacketKind::kBad && seen.reason == Reason::kSourceBad) ||
          (seen.kind == PacketKind::kHost && seen.reason == Reason::kProtocolUnknown));
}

void check_fragments6(const Packet& packet, const Parameters& with) {
  Pieces pieces;
  const uint32_t count = fragment_ip6(packet, with.mtu, with.id, pieces.frames.data(), kPieces);
  uint32_t payload = 0;
  for (uint32_t i = 0; i < count; i++) {
    const Frame& frame = pieces.frames[i];
    require(frame.length <= with.mtu);
    const Packet seen = parsed(frame);
    if (count > 1) require_fragment(seen);
    const Ip6Fragment found = find_fragment(frame.data, frame.length);
    require(found.at != 0 && found.offset() == payload && found.more() == (i + 1 < count));
    payload += frame.length - found.at - kIp6FragmentBytes;
    if (i + 1 == count) require(payload + found.at == packet.l3_bytes);
  }
}

void check_fragments(Work work, const Parameters& with) {
  Packet& packet = work.packet;
  const Fit fit = fit_to_mtu(packet, with.mtu);
  if (packet.checksum_partial()) complete_checksum(packet);
  if (packet.family != 4) {
    require(fit != Fit::kFragment);
    return check_fragments6(packet, with);
  }
  packet.fragment_bytes = with.outer_six & 2 ? with.mtu : 0;
  Pieces pieces;
  const uint32_t count = fragment_ip4(packet, with.mtu, pieces.frames.data(), kPieces);
  uint32_t payload = 0;
  for (uint32_t i = 0; i < count; i++) {
    const Frame& frame = pieces.frames[i];
    require(frame.length <= std::max<uint32_t>(with.mtu, packet.l3_bytes));
    require(frame.length <= with.mtu);
    const Packet seen = parsed(frame);
    if (count > 1) require_fragment(seen);
    payload += frame.length - Ip4(frame.data).header_bytes();
  }
  if (count != 0) require(payload == packet.l3_bytes - Ip4(packet.ip()).header_bytes());
}

void check_answer(const Work& work, const Parameters& with) {
  const Packet& packet = work.packet;
  const Addr local = usable(with.source, packet.family == 6);
  Pieces pieces;
  Frame& out = pieces.frames[0];
  const IcmpError error = static_cast<IcmpError>(with.error % 5);
  if (!build_icmp_error(packet, error, with.mtu, local, 7, &out)) return;
  const Packet seen = parsed(out);
  require(seen.kind == PacketKind::kIcmp && is_icmp_error(seen));
  require(seen.key.source == local && seen.key.destination == packet.key.source);
  require(!build_icmp_error(seen, error, with.mtu, packet.key.source, 7, &pieces.frames[1]));
}

// The ICMP checksum is put right first: no fuzzer guesses it.
void check_related(Work work, const Parameters& with) {
  Packet& packet = work.packet;
  FlowKey inverse;
  if (!quoted_flow(packet, &inverse)) return;
  const bool six = packet.family == 6;
  if (!packet.checksum_partial()) {
    const uint32_t bytes = packet.l3 + packet.l3_bytes - packet.l4;
    Icmp icmp(packet.transport());
    icmp.set_checksum(0);
    uint64_t sum = sum_bytes(icmp.at, bytes);
    if (six) {
      const uint64_t pseudo =
          sum_pseudo(packet.key.source, packet.key.destination, kProtoIcmp6, bytes);
      sum = add_sums(sum, pseudo);
    }
    icmp.set_checksum(static_cast<uint16_t>(~fold(sum)));
  }
  const Addr source = usable(with.source, six);
  const Addr destination = usable(with.destination, six);
  const Ends quoted{&destination, &source, with.destination_port, with.source_port};
  const bool partial = packet.checksum_partial();
  if (!rewrite_related(packet, RelatedEnds{&source, &destination, quoted})) {
    return require(partial);
  }
  const Packet seen = parsed(packet.frame);
  require(seen.kind == PacketKind::kIcmp && seen.key.source == source);
  require(quoted_flow(seen, &inverse));
  require(inverse.source == source && inverse.destination == destination);
  require(is_ipsec(inverse.protocol) || inverse.source_port == with.source_port);
}

void fix_header_checksum(std::vector<uint8_t>& bytes) {
  if (bytes.size() < kIp4Bytes || bytes[0] >> 4 != 4) return;
  Ip4 ip(bytes.data());
  if (ip.header_bytes() < kIp4Bytes || ip.header_bytes() > bytes.size()) return;
  ip.set_checksum(0);
  ip.set_checksum(checksum_of(bytes.data(), ip.header_bytes()));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < sizeof(VnetHdr) + sizeof(Parameters) || size > kSuperFrameBytes) return 0;
  VnetHdr vnet;
  Parameters with;
  std::memcpy(&vnet, data, sizeof vnet);
  std::memcpy(&with, data + sizeof vnet, sizeof with);
  std::vector<uint8_t> bytes(data + sizeof vnet + sizeof with, data + size);
  if (bytes.empty()) return 0;
  fix_header_checksum(bytes);

  const Work first(bytes, vnet);
  const PacketKind kind = first.packet.kind;
  if (kind != PacketKind::kFlow && kind != PacketKind::kIcmp) return 0;
  check_ttl(Work(bytes, vnet));
  check_tunnel(Work(bytes, vnet), with);
  check_fragments(Work(bytes, vnet), with);
  check_answer(first, with);
  if (kind == PacketKind::kIcmp) {
    check_related(Work(bytes, vnet), with);
    check_tunnel_error(first, with);
  } else {
    check_segments(first);
    check_rewrite(Work(bytes, vnet), with);
    check_sctp(Work(bytes, vnet), with);
  }
  return 0;
}
