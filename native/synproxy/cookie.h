// SYN cookies of SYNPROXY (spec 12.9): what must be known of a client's SYN, in the initial
// sequence number of the answer, so that nothing is kept until the client has shown that it is
// where it says it is. Pure: keys and time are arguments.
//
//   cookie = H(0, base) + s + (minutes << 24) + ((H(minutes, minute) + data) & 0xffffff)
//
// s is the client's initial sequence number, H SipHash of the flow and the minute. A cookie is good
// for four minutes: the top byte says in which minute it was made.
#pragma once
#include <cstdint>

#include "forward/secure_isn.h"
#include "layout.gen.h"
#include "parse/packet.h"

namespace uvs {

struct CookieKeys {
  SipKey base;
  SipKey minute;
};
CookieKeys cookie_keys(const SynproxyRecord& record);

// What client and director agreed on in the handshake.
struct HandshakeOptions {
  uint16_t mss = 0;
  uint8_t shift = 0;  // the client's window scale, at most 14; 0: no window scaling
  bool timestamps = false;
  bool sack = false;
};

// The 24 bits of a cookie: bits 12-15 index of the largest known MSS that is not above, 16-19
// shift, 20 timestamps, 21 SACK.
uint32_t cookie_data(const HandshakeOptions& options);

// False: no cookie says so. `options->mss` is the one of the table.
bool read_cookie_data(uint32_t data, HandshakeOptions* options);

// The cookie for a SYN of `flow` (client -> virtual) with `sequence`.
uint32_t make_cookie(const CookieKeys& keys, const FlowKey& flow, uint32_t sequence,
                     uint32_t minutes, uint32_t data);

// Whether `cookie` was made for a SYN of `flow` with `sequence` in this minute or one of the three
// before; sets what was agreed on.
bool check_cookie(const CookieKeys& keys, const FlowKey& flow, uint32_t sequence, uint32_t cookie,
                  uint32_t minutes, HandshakeOptions* options);

}  // namespace uvs
