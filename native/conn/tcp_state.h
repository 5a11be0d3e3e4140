// Stop 7 for TCP: which state a packet moves a connection to (spec 3.6; kernel:
// net/netfilter/ipvs/ip_vs_proto_tcp.c). Pure: tables only.
#pragma once
#include <cstdint>

#include "layout.gen.h"
#include "parse/packet.h"

namespace uvs {

constexpr uint32_t kTcpStates = 11;

// Which rows apply: kInputOnly while no reply of the destination was seen (DR, TUN).
enum class TcpRows : uint8_t { kInput, kOutput, kInputOnly };

// Next state for the flags of one packet. `secure`: the secure_tcp table; `fullnat`: an ACK in NONE
// goes to CLOSE (spec 12.8).
uint8_t tcp_next_state(uint8_t state, uint8_t tcp_flags, TcpRows rows, bool secure, bool fullnat);

// States in which a connection counts as active (spec 3.5; FULLNAT: ESTABLISHED only, 12.8).
constexpr bool tcp_is_active(uint8_t state, bool fullnat) {
  if (fullnat) return state == kTcpEstablished;
  return state == kTcpEstablished || state == kTcpSynSent || state == kTcpSynRecv ||
         state == kTcpSynack;
}

// Short name in listings, e.g. "SYN_RECV".
const char* tcp_state_name(uint8_t state);

}  // namespace uvs
