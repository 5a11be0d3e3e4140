// In: a TCP packet and what its options must become. Does: edits them with checksum, lengths and
// virtio header. Next: fullnat.cc, transmit.cc.
#include "forward/tcp_options.h"

#include <algorithm>
#include <cassert>

namespace uvs {
namespace {

// Sum of bytes that begin at `offset` of the header: at an odd place high and low bytes change
// their roles (RFC 1071 2 B).
uint16_t sum_at(const uint8_t* bytes, uint32_t count, uint32_t offset) {
  const uint16_t sum = fold(sum_bytes(bytes, count));
  return offset % 2 != 0 ? __builtin_bswap16(sum) : sum;
}

uint64_t difference(uint16_t old, uint16_t now) {
  return static_cast<uint64_t>(static_cast<uint16_t>(~old)) + now;
}

bool is_needed(uint8_t kind, bool syn) {
  if (kind == kTcpOptionTimestamps) return true;
  return syn &&
         (kind == kTcpOptionMss || kind == kTcpOptionWindowScale ||
          kind == kTcpOptionSackPermitted || kind == kTcpOptionMptcp || kind == kTcpOptionFastOpen);
}

// The options of a header without some of them.
struct Kept {
  uint8_t bytes[kTcpMaxHeaderBytes - kTcpBytes];
  uint32_t count = 0;

  void add(const uint8_t* from, uint32_t length) {
    std::memcpy(bytes + count, from, length);
    count += length;
  }
  uint32_t padded() const { return (count + 3) & ~3u; }
};

template <typename Drops>
Kept keep_all_but(const uint8_t* tcp, Drops&& drops) {
  Kept kept;
  TcpOption option;
  for (TcpOptionWalk walk(tcp); walk.next(&option);) {
    if (!drops(option)) kept.add(tcp + option.offset, option.length);
  }
  return kept;
}

// Header, pseudo-header length and virtio header after `grow` bytes of options came or went. `old`
// is the sum of the header as it was, `segment` the bytes of the TCP segment as it was.
void finish_header(Packet& packet, uint16_t old, uint32_t segment, int32_t grow) {
  Tcp tcp(packet.transport());
  const uint32_t header = tcp.header_bytes();
  const uint64_t covered = difference(old, fold(sum_bytes(tcp.at, header)));
  const auto before = static_cast<uint16_t>(segment);
  const auto after = static_cast<uint16_t>(static_cast<int32_t>(segment) + grow);
  add_to_checksum(packet, covered, difference16(Be16::of(before), Be16::of(after)));
  VnetHdr& vnet = packet.frame.vnet;
  if (packet.is_gso()) vnet.hdr_len = static_cast<uint16_t>(vnet.hdr_len + grow);
}

uint32_t segment_bytes(const Packet& packet) { return packet.l3_bytes - (packet.l4 - packet.l3); }

}  // namespace

bool find_option(const uint8_t* tcp, uint8_t kind, uint8_t length, TcpOption* option) {
  for (TcpOptionWalk walk(tcp); walk.next(option);) {
    if (option->kind == kind && option->length == length) return true;
  }
  return false;
}

uint64_t overwrite(uint8_t* tcp, uint32_t offset, const uint8_t* bytes, uint32_t count) {
  const uint16_t old = sum_at(tcp + offset, count, offset);
  std::memcpy(tcp + offset, bytes, count);
  return difference(old, sum_at(bytes, count, offset));
}

uint64_t blank_options(uint8_t* tcp, uint8_t kind) {
  uint8_t nops[kTcpMaxHeaderBytes - kTcpBytes];
  std::memset(nops, kTcpOptionNop, sizeof nops);
  uint64_t sum = 0;
  TcpOption option;
  for (TcpOptionWalk walk(tcp); walk.next(&option);) {
    if (option.kind == kind) sum += overwrite(tcp, option.offset, nops, option.length);
  }
  return sum;
}

uint64_t reduce_mss(uint8_t* tcp, uint16_t by) {
  uint64_t sum = 0;
  TcpOption option;
  for (TcpOptionWalk walk(tcp); walk.next(&option);) {
    if (option.kind != kTcpOptionMss || option.length != 4) continue;
    const uint16_t mss = load16(tcp + option.offset + 2).host();
    if (mss <= by) continue;
    uint8_t bytes[2];
    store16(bytes, Be16::of(static_cast<uint16_t>(mss - by)));
    sum += overwrite(tcp, option.offset + 2u, bytes, sizeof bytes);
  }
  return sum;
}

bool insert_option(Packet& packet, const uint8_t* option, uint32_t count, uint32_t mtu) {
  assert(count % 4 == 0 && count != 0 && packet.key.protocol == kProtoTcp);
  const uint32_t header = Tcp(packet.transport()).header_bytes();
  const uint32_t segment = segment_bytes(packet);
  if (header + count > kTcpMaxHeaderBytes || packet.l3_bytes + count > kMaxIpBytes) return false;
  if (count > front_room(packet)) return false;
  VnetHdr& vnet = packet.frame.vnet;
  const uint32_t headers = packet.l4 - packet.l3 + header + count;
  if (!packet.is_gso()) {
    if (packet.l3_bytes + count > mtu) return false;
  } else if (headers + vnet.gso_size > mtu) {
    if (headers >= mtu) return false;
    vnet.gso_size = static_cast<uint16_t>(mtu - headers);
  }
  const uint16_t old = fold(sum_bytes(packet.transport(), header));
  move_headers(packet, packet.l4 - packet.l3 + kTcpBytes, static_cast<int32_t>(count));
  std::memcpy(packet.transport() + kTcpBytes, option, count);
  Tcp(packet.transport()).set_header_bytes(header + count);
  finish_header(packet, old, segment, static_cast<int32_t>(count));
  return true;
}

uint32_t prune_options(Packet& packet, uint32_t bytes, bool syn) {
  uint8_t* tcp = packet.transport();
  const uint32_t header = Tcp(tcp).header_bytes();
  const uint32_t had = header - kTcpBytes;
  const auto is_filler = [](const TcpOption& option) {
    return option.kind == kTcpOptionNop || option.kind == kTcpOptionAddress;
  };
  Kept kept = keep_all_but(tcp, is_filler);
  if (kept.padded() + bytes > had) {
    uint32_t left = kept.count;
    kept = keep_all_but(tcp, [&](const TcpOption& option) {
      if (is_filler(option)) return true;
      if (((left + 3) & ~3u) + bytes <= had || is_needed(option.kind, syn)) return false;
      left -= option.length;
      return true;
    });
  }
  const uint32_t gone = had - kept.padded();
  if (gone == 0) return 0;
  const uint16_t old = fold(sum_bytes(tcp, header));
  const uint32_t segment = segment_bytes(packet);
  move_headers(packet, packet.l4 - packet.l3 + kTcpBytes, -static_cast<int32_t>(gone));
  uint8_t* options = packet.transport() + kTcpBytes;
  std::memcpy(options, kept.bytes, kept.count);
  std::memset(options + kept.count, kTcpOptionEnd, kept.padded() - kept.count);
  Tcp(packet.transport()).set_header_bytes(kTcpBytes + kept.padded());
  finish_header(packet, old, segment, -static_cast<int32_t>(gone));
  return gone;
}

}  // namespace uvs
