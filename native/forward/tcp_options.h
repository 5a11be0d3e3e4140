// TCP options of a packet on its way (RFC 9293 3.1): found, overwritten, inserted, dropped.
//
// Two kinds of edits. Those in place keep the size of the header; they see the TCP header alone
// and return what they add to the sum that the transport checksum covers, which the caller hands
// to rewrite_ends() or add_to_checksum() together with everything else. Those that change the size
// take the packet and leave lengths, checksums and virtio header in order.
//
// A TCP header given here has all its header_bytes() (parse() has checked that). Options are walked
// as far as they can be understood: a length that leaves the header ends the list.
#pragma once
#include <cstdint>

#include "forward/resize.h"
#include "parse/checksum.h"
#include "parse/tcp.h"

namespace uvs {

constexpr uint8_t kTcpOptionEnd = 0;
constexpr uint8_t kTcpOptionNop = 1;
constexpr uint8_t kTcpOptionMss = 2;
constexpr uint8_t kTcpOptionWindowScale = 3;
constexpr uint8_t kTcpOptionSackPermitted = 4;
constexpr uint8_t kTcpOptionSack = 5;
constexpr uint8_t kTcpOptionTimestamps = 8;
constexpr uint8_t kTcpOptionMptcp = 30;
constexpr uint8_t kTcpOptionFastOpen = 34;
constexpr uint8_t kTcpOptionAddress = 254;  // TOA, spec 12.7

struct TcpOption {
  uint8_t kind;
  uint8_t length;   // kind and length bytes included; 1 for a NOP
  uint16_t offset;  // from the first byte of the TCP header
};

// Visits the options of a header in order.
class TcpOptionWalk {
 public:
  explicit TcpOptionWalk(const uint8_t* tcp) : tcp_(tcp), end_(Tcp(tcp).header_bytes()) {}

  // False where the list ends: at the end of the header, at kind 0, or at a length that cannot be.
  bool next(TcpOption* option) {
    if (at_ >= end_ || tcp_[at_] == kTcpOptionEnd) return false;
    uint32_t length = 1;
    if (tcp_[at_] != kTcpOptionNop) {
      if (at_ + 2 > end_) return false;
      length = tcp_[at_ + 1];
      if (length < 2 || at_ + length > end_) return false;
    }
    *option = TcpOption{tcp_[at_], static_cast<uint8_t>(length), static_cast<uint16_t>(at_)};
    at_ += length;
    return true;
  }

 private:
  const uint8_t* tcp_;
  uint32_t at_ = kTcpBytes;
  uint32_t end_;
};

// The first option of `kind` that is `length` bytes long; false when there is none.
bool find_option(const uint8_t* tcp, uint8_t kind, uint8_t length, TcpOption* option);

// Edits in place; each returns its part of the sum, 0 where nothing was to be done.

inline uint64_t shift_sequence(uint8_t* tcp, uint32_t by) {
  const Be32 old = Tcp(tcp).sequence();
  const Be32 now = Be32::of(old.host() + by);
  store32(tcp + 4, now);
  return difference32(old.raw, now.raw);
}
inline uint64_t shift_acknowledgement(uint8_t* tcp, uint32_t by) {
  const Be32 old = Tcp(tcp).acknowledgement();
  const Be32 now = Be32::of(old.host() + by);
  store32(tcp + 8, now);
  return difference32(old.raw, now.raw);
}

// Writes `count` bytes at `offset` of the header, which may be odd.
uint64_t overwrite(uint8_t* tcp, uint32_t offset, const uint8_t* bytes, uint32_t count);

// Overwrites every option of `kind` with NOPs.
uint64_t blank_options(uint8_t* tcp, uint8_t kind);

// Takes `by` from the MSS of every MSS option that is larger.
uint64_t reduce_mss(uint8_t* tcp, uint16_t by);

// Both edges of every SACK block (RFC 2018 3) through `map(sequence number) -> sequence number`.
template <typename Map>
uint64_t map_sack(uint8_t* tcp, Map&& map) {
  uint64_t sum = 0;
  TcpOption option;
  for (TcpOptionWalk walk(tcp); walk.next(&option);) {
    if (option.kind != kTcpOptionSack) continue;
    for (uint32_t at = 2; at + 8 <= option.length; at += 8) {
      const uint32_t offset = option.offset + at;
      const uint32_t left = map(load32(tcp + offset).host());
      const uint32_t right = map(load32(tcp + offset + 4).host());
      uint8_t edges[8];
      store32(edges, Be32::of(left));
      store32(edges + 4, Be32::of(right));
      sum += overwrite(tcp, offset, edges, sizeof edges);
    }
  }
  return sum;
}

// Whether a header may hold SACK blocks: a first look that most segments pass without a walk. The
// 12 bytes that every segment of a connection with timestamps has (RFC 7323 appendix A) are none.
inline bool may_have_sack(const uint8_t* tcp) {
  const uint32_t header = Tcp(tcp).header_bytes();
  if (header == kTcpBytes) return false;
  return header != kTcpBytes + 12 || load32(tcp + kTcpBytes) != Be32::of(0x0101080a);
}

// Edits that change the size.

// Puts `option` (`count` bytes, a multiple of 4) right behind the fixed header, in front of all
// other options (spec 12.7). A packet must not get longer than `mtu`; the segments of a
// super-packet become shorter instead. False, and nothing changed: it does not fit the MTU, the 60
// bytes of a header, the 65535 of IP, or the room in front of the packet.
bool insert_option(Packet& packet, const uint8_t* option, uint32_t count, uint32_t mtu);

// Makes the header at least `bytes` shorter (0: as short as the first step makes it), as DPVS does
// (spec 12.7): NOPs and what a client says in option 254 go first; if that is not enough, options
// from the front, but not those that the connection's set-up needs (`syn`) or its timestamps.
// Returns by how much.
uint32_t prune_options(Packet& packet, uint32_t bytes, bool syn);

}  // namespace uvs
