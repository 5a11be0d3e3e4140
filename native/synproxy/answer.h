// Steps 1 and 2 of SYNPROXY without a connection (spec 12.9): a client's SYN becomes our SYN+ACK,
// an ACK that nobody asked for becomes a RST, in place and back to whoever sent it.
#pragma once
#include "synproxy/cookie.h"

namespace uvs {

// Edits the options of the SYN at `packet` as the table of 12.9 says: what was agreed on stays, the
// rest becomes NOPs. `clock_ms` is our timestamp clock. The TCP checksum is not touched.
HandshakeOptions answer_options(Packet& packet, const SynproxyRecord& rules, uint32_t clock_ms);

// Turns a SYN of `packet.key` into the SYN+ACK that goes back: cookie, ends and link addresses
// swapped, checksums right; a partial checksum stays partial. Data that came with the SYN is cut
// off: it is not acknowledged and comes again.
void turn_into_syn_ack(Packet& packet, const SynproxyRecord& rules, const CookieKeys& keys,
                       uint32_t minutes, uint32_t clock_ms);

// Turns a segment with ACK into the RST+ACK that refuses it (spec 12.9, DPVS): its acknowledgement
// as sequence, its sequence with its data acknowledged, no window, no options.
void turn_into_reset(Packet& packet, uint8_t ttl);

}  // namespace uvs
