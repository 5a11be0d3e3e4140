// Stop 7 for SCTP: which state a packet moves an association to (spec 3.6.2; kernel:
// net/netfilter/ipvs/ip_vs_proto_sctp.c). Pure: tables only.
#pragma once
#include <cstdint>

#include "conn/tcp_state.h"
#include "layout.gen.h"

namespace uvs {

constexpr uint32_t kSctpStates = 14;

// Next state for the chunk that decides (parse/sctp.h); the rows are those of TCP.
uint8_t sctp_next_state(uint8_t state, uint8_t chunk, TcpRows rows);

// How long a state lasts without packets; no setting changes it.
uint32_t sctp_timeout_sec(uint8_t state);

// States in which an association counts as active (spec 3.5).
constexpr bool sctp_is_active(uint8_t state) { return state == kSctpEstablished; }

}  // namespace uvs
