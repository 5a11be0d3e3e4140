// Steps 2 and 3 of SYNPROXY (spec 12.9): the handshake with the real server, on behalf of a client
// that has shown that it is there.
#pragma once
#include "conn/conn.h"
#include "synproxy/cookie.h"

namespace uvs {

// The state of a connection that begins with `ack`, whose cookie said `options`.
SynproxyState begin_handshake(const Packet& ack, const HandshakeOptions& options,
                              const SynproxyRecord& rules);

// Builds the client's SYN as the real server should have seen it, in scratch memory: `out->frame`
// has `frame.data` at the IP header and room for 100 bytes.
void build_syn(const SynproxyState& state, const FlowKey& flow, const Frame& scratch, Packet* out);

// Takes what the real server's SYN+ACK says about numbers, clock and window.
void accept_syn_ack(const Packet& packet, SynproxyState& state);

// Turns the SYN+ACK into the pure ACK that opens the client's window
// (synproxy_close_client_window).
void turn_into_window_update(Packet& packet, const SynproxyState& state);

// Makes the RST of a real server that refused ours fit behind the cookie.
void turn_into_refusal(Packet& packet, SynproxyState& state);

}  // namespace uvs
