// What FULLNAT changes in TCP beside the ends (spec 12.5-12.7, 12.11): sequence numbers, and what
// tells the destination who its client is.
//
// Theory of operation. Sequence numbers of the client and what the destination sees of them differ
// by `fnat_delta`, from the SYN on. Where a PROXY header is asked for, the destination's stream
// has bytes at its start that the client's has not:
//
//   client        isn | removed       | data ...            removed: a header of its own, or
//   nothing destination   isn'| inserted           | data ...       isn' = isn + fnat_delta
//
// Both lengths are known once the client's first segment has come (kFnatPlaced). Until the
// destination has acknowledged what was inserted, numbers are mapped by where they lie, and every
// segment that begins the client's stream, sent again or not, gets the header again. From then on
// fnat_delta has the difference in it, and a packet costs one addition.
//
// Who moves fnat_flags on:
//   kFnatStarted  the client's SYN; a new one before the handshake is over begins anew
//   kFnatOpen     the SYN+ACK that fits; sets kFnatToa where TOA is on and no header is asked for
//   kFnatToa      ends with the first segment that acknowledges data of the destination
//   kFnatHeader   from the SYN on; ends when the destination has acknowledged the header, or when
//                 the client's own is left alone. Of UDP from the creation to the first datagram
#pragma once
#include <cstdint>

#include "conn/conn.h"
#include "forward/client_address.h"
#include "forward/tcp_options.h"

namespace uvs {

constexpr uint8_t kProxyVersionMask = 0x0f;  // of ConnExtra::fnat_header; 0: no header
constexpr uint8_t kProxyInsecure = 0x10;     // a header of the client's own is believed

// Begins a connection, or begins it anew, with the client's first sequence number and the one that
// the destination shall see.
void fnat_begin(ConnExtra& extra, uint32_t client_isn, uint32_t isn, uint8_t header);

// A sequence number of the client as the destination counts, and the other way round. A number
// inside bytes that the other side has not is that of their end, or their start.
uint32_t fnat_to_destination(const ConnExtra& extra, uint32_t sequence);
uint32_t fnat_to_client(const ConnExtra& extra, uint32_t sequence);

// What became of a request.
struct FnatEdit {
  uint64_t covered = 0;  // for rewrite_ends()
  bool drop = false;     // ahead of the segment that the header goes in front of
  // A PROXY header that leaves first, in a segment of its own, at the destination's sequence
  // number.
  uint32_t lead_sequence = 0;
  uint32_t lead_bytes = 0;
  uint8_t lead[kProxyMaxBytes];
};

// Edits a segment of the client; called for those that need more than their number shifted: a SYN,
// one of a connection with a bit of kFnatSlow, or whose family changes. `mtu`: of the path to the
// destination, in the packet's own family.
void fnat_request(Packet& packet, ConnExtra& extra, const ClientEnds& ends, uint32_t mtu,
                  FnatEdit* edit);

// The same for a segment of the destination: a SYN, or one of a connection with kFnatHeader.
// Returns its part for rewrite_ends(). `toa`: whether clients are told by TOA.
uint64_t fnat_reply(Packet& packet, ConnExtra& extra, const Addr& client, bool toa);

// Remembers what the destination's SYN+ACK says, which may never reach the client (spec 12.9).
void fnat_note_syn_ack(const Packet& packet, ConnExtra& extra, bool toa);

// Whether fnat_request() or fnat_reply() is needed, and what does without.
inline bool fnat_request_is_slow(const Packet& packet, const ConnExtra& extra) {
  return ((packet.tcp_flags & kTcpSyn) | (extra.fnat_flags & kFnatSlow)) != 0;
}
inline bool fnat_reply_is_slow(const Packet& packet, const ConnExtra& extra) {
  return ((packet.tcp_flags & kTcpSyn) | (extra.fnat_flags & kFnatHeader)) != 0;
}
inline uint64_t fnat_shift_reply(uint8_t* tcp, uint32_t delta) {
  if ((Tcp(tcp).flags() & kTcpAck) == 0) [[unlikely]]
    return 0;
  uint64_t sum = shift_acknowledgement(tcp, 0 - delta);
  if (may_have_sack(tcp)) [[unlikely]] {
    sum += map_sack(tcp, [delta](uint32_t edge) { return edge - delta; });
  }
  return sum;
}

// Remembers how far the destination has come, for the RST at expiry (spec 12.8).
inline void fnat_note_progress(const Packet& packet, ConnExtra& extra) {
  if ((packet.tcp_flags & (kTcpRst | kTcpAck)) != kTcpAck) return;
  if ((extra.fnat_flags & kFnatOpen) == 0) return;
  const Tcp tcp(packet.transport());
  const uint32_t ack = tcp.acknowledgement().host();
  if (static_cast<int32_t>(ack - extra.fnat_rs_ack) < 0) return;
  extra.fnat_rs_ack = ack;
  const uint32_t end =
      tcp.sequence().host() + packet.l3_bytes - (packet.l4 - packet.l3) - tcp.header_bytes();
  if (static_cast<int32_t>(end - extra.fnat_rs_end) > 0) extra.fnat_rs_end = end;
}

// The PROXY header that a payload calls for (spec 12.11).
struct ProxyHeader {
  bool leave = false;    // the client's own stays as it is
  uint32_t removed = 0;  // bytes of a header of the client's that this one replaces
  uint32_t bytes = 0;
  uint8_t data[kProxyMaxBytes];
};
ProxyHeader make_proxy_header(const Packet& packet, uint8_t wanted, const ClientEnds& ends);

// Bytes that a packet of the client may still grow by on its way to the destination: what an error
// about its size must take from the MTU it reports.
uint32_t fnat_growth(const ConnExtra& extra, const Addr& client);

}  // namespace uvs
