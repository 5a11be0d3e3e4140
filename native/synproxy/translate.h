// SYNPROXY for the rest of a connection's life (spec 12.9, afterwards): the client counts from our
// cookie, the real server from its own number, and each keeps its own idea of clock and window.
#pragma once
#include "conn/conn.h"
#include "parse/checksum.h"
#include "parse/packet.h"
#include "parse/tcp.h"

namespace uvs {

// Client -> real server: acknowledgement, SACK edges and echoed clock.
void translate_request(Packet& packet, const SynproxyState& state);

// Real server -> client: sequence, clock and window.
void translate_reply(Packet& packet, const SynproxyState& state);

// True from the `limit`th repetition of a reply on, as long as it goes on: both sides answer what
// they cannot place with an ACK that the other cannot place. A second of silence ends a count, so
// that the answers to keepalives are none. `limit` 0: never.
bool is_ack_storm(const Packet& packet, SynproxyState& state, uint16_t limit, uint32_t tick);

// Lets `edit(tcp)` change anything in a TCP header but its length, and makes its checksum follow. A
// partial one does not cover the header yet.
template <typename Edit>
void edit_tcp(Packet& packet, Edit edit) {
  Tcp tcp(packet.transport());
  if (packet.checksum_partial()) return edit(tcp);
  const uint32_t header = tcp.header_bytes();
  const uint16_t before = fold(sum_bytes(tcp.at, header));
  edit(tcp);
  const uint16_t after = fold(sum_bytes(tcp.at, header));
  const uint64_t change = uint64_t{static_cast<uint16_t>(~before)} + after;
  tcp.set_checksum(update_checksum(tcp.checksum().raw, change));
}

}  // namespace uvs
