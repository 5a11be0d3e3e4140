// Walks over the options of a TCP header (RFC 9293 3.1): one file, because what ends a walk must be
// the same for everyone who edits by it.
#pragma once
#include <cstdint>

#include "parse/tcp.h"

namespace uvs {

enum TcpOptionKind : uint8_t {
  kTcpOptionEnd = 0,
  kTcpOptionNop = 1,
  kTcpOptionMss = 2,            // 4 bytes
  kTcpOptionWindowScale = 3,    // 3 bytes, RFC 7323
  kTcpOptionSackPermitted = 4,  // 2 bytes, RFC 2018
  kTcpOptionSack = 5,           // 2 bytes and 8 for each block, RFC 2018
  kTcpOptionTimestamps = 8,     // 10 bytes, RFC 7323
};
constexpr uint32_t kMssBytes = 4;
constexpr uint32_t kWindowScaleBytes = 3;
constexpr uint32_t kSackPermittedBytes = 2;
constexpr uint32_t kTimestampsBytes = 10;

// Calls `visit(option, length)` for each option of the header at `tcp`, NOP and the end aside;
// `option` points at the kind and `length` bytes are there. Returns where it stopped, as an offset
// from `tcp`: the end of the header, an End option, or an option whose length cannot be.
// Precondition: the whole header is there.
template <typename Byte, typename Visit>
uint32_t for_each_tcp_option(Byte* tcp, Visit visit) {
  const uint32_t end = Tcp(tcp).header_bytes();
  uint32_t at = kTcpBytes;
  while (at < end && tcp[at] != kTcpOptionEnd) {
    if (tcp[at] == kTcpOptionNop) {
      at++;
      continue;
    }
    if (at + 2 > end || tcp[at + 1] < 2 || at + tcp[at + 1] > end) break;
    const uint32_t length = tcp[at + 1];
    visit(tcp + at, length);
    at += length;
  }
  return at;
}

}  // namespace uvs
