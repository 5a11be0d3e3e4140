// The options of a TCP header as pointers into it, for edits that keep every size.
#pragma once
#include <cstdint>

#include "forward/tcp_options.h"

namespace uvs {

constexpr uint32_t kMssBytes = 4;
constexpr uint32_t kWindowScaleBytes = 3;
constexpr uint32_t kSackPermittedBytes = 2;
constexpr uint32_t kTimestampsBytes = 10;

// Calls `visit(option, length)` for each option of the header at `tcp`, NOPs aside; `option` points
// at the kind. Returns where it stopped, as an offset from `tcp`: the end of the header, an End
// option, or an option whose length cannot be. Precondition: the whole header is there.
template <typename Byte, typename Visit>
uint32_t for_each_tcp_option(Byte* tcp, Visit visit) {
  uint32_t stop = kTcpBytes;
  TcpOption option;
  for (TcpOptionWalk walk(tcp); walk.next(&option);) {
    stop = uint32_t{option.offset} + option.length;
    if (option.kind != kTcpOptionNop) visit(tcp + option.offset, uint32_t{option.length});
  }
  return stop;
}

}  // namespace uvs
