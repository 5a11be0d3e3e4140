// Stop 8, the order of its steps: next hop, TTL, MTU, method, out (spec 5.5.1: time exceeded is
// decided before MTU). One function per direction; the methods are one switch.
#pragma once
#include "classify/snapshot.h"
#include "conn/conn_table.h"
#include "forward/client_address.h"
#include "forward/egress.h"
#include "forward/nat64.h"
#include "forward/related_icmp.h"

namespace uvs {

constexpr uint32_t kMinMtu4 = 68;  // spec 5.6
constexpr uint32_t kMinMtu6 = 1280;

class Transmitter {
 public:
  Transmitter(ConnTable& table, NextHops& hops, Egress& egress, Counters& counters,
              const Snapshot& snapshot, uint32_t worker, uint32_t workers)
      : table_(table),
        hops_(hops),
        egress_(egress),
        counters_(counters),
        snapshot_(snapshot),
        ip_id_(static_cast<uint16_t>(worker)),
        ip_id_step_(static_cast<uint16_t>(workers)) {}

  // Client -> destination, by the connection's method. The packet's memory must stay until flush.
  // Returns the bytes of the ICMP error that the client got instead, 0 where it got none.
  uint32_t request(Packet& packet, Conn& conn, uint32_t now_ms);

  // Destination -> client, masquerade and FULLNAT (spec 5.2). False: it goes no further, and the
  // kernel's outbound hook would not have seen it.
  bool reply(Packet& packet, Conn& conn, uint32_t now_ms);

  // An ICMP error about `conn`, seen from the client's side (`from_client`) or from the
  // destination's (spec 5.7). False: its checksum is wrong, nothing was sent.
  bool related(Packet& packet, Conn& conn, bool from_client, uint32_t now_ms);

  // What FULLNAT must know of a SYN+ACK that goes no further (spec 12.9, step 3).
  void note_syn_ack(const Packet& packet, Conn& conn);

  // RST to both sides of an established FULLNAT connection whose time is up (spec 12.8).
  void reset_expired(Conn& conn, uint32_t now_ms);

 private:
  uint16_t hop_in(Conn& conn, uint32_t now_ms);
  uint16_t hop_out(Conn& conn, uint32_t now_ms);
  void refresh_hops(Conn& conn);
  bool admit(Packet& packet, const NextHop& hop, uint32_t mtu, const Addr& answer_from,
             bool* fragment, uint32_t now_ms);
  bool admit_reply(Packet& packet, const NextHop& hop, const NextHop& back, uint32_t mtu,
                   bool* fragment, uint32_t now_ms);
  bool reaches(const Packet& packet, const NextHop& hop, bool own, const Addr& answer_from,
               uint32_t now_ms);
  bool fits(const Packet& packet, uint32_t mtu, const Addr& answer_from, bool* fragment,
            uint32_t now_ms);
  void out(Packet& packet, uint16_t slot, bool fragment, const Addr& answer_from, uint32_t now_ms);
  void answer(const Packet& packet, IcmpError error, uint32_t mtu, const Addr& from,
              uint32_t now_ms);
  void cut(Packet& packet, uint16_t slot, uint32_t now_ms);
  // FULLNAT beyond new ends: transmit_fullnat.cc.
  // A route's MTU as it is for the client's packets: those that change their family on the way
  // get shorter, and of 1280 bytes always pass, if need be in fragments (RFC 7915 1.4).
  static uint32_t request_mtu(const Conn& conn, uint32_t mtu) {
    if ((conn.flags & kConnNat64) == 0) [[likely]]
      return mtu;
    return mtu + kNat64Bytes > kMinMtu6 ? mtu + kNat64Bytes : kMinMtu6;
  }
  ClientEnds client_ends(const Conn& conn) const;
  Ends inner_ends(const Conn& conn) const {
    return Ends{&table_.address(conn.local_index), &table_.address(conn.destination_index),
                conn.local_port, conn.destination_port};
  }
  uint8_t proxy_of(const Conn& conn) const;
  void begin_fullnat(const Packet& packet, Conn& conn, uint32_t now_ms);
  bool open_fullnat(Packet& packet, Conn& conn, uint16_t slot, uint64_t* covered, uint32_t now_ms);
  bool head_datagram(Packet& packet, Conn& conn, uint16_t slot, uint8_t proxy, uint32_t now_ms);
  void split_datagrams(Packet& packet, Conn& conn, uint16_t slot, uint32_t now_ms);
  void tell_by_uoa(Packet& packet, Conn& conn, uint16_t slot, uint32_t now_ms);
  void send_made(const Frame& frame, const Ends& ends, uint16_t slot, uint32_t now_ms);
  void send_fullnat(Packet& packet, Conn& conn, uint16_t slot, bool fragment, uint32_t now_ms);
  bool translate(Packet& packet, const Ends& ends, uint64_t covered);
  static void note_shift(Conn& conn, const ConnExtra& extra);
  uint64_t reply_opening(Packet& packet, Conn& conn, ConnExtra& extra);
  void related_nat64(const Packet& packet, Conn& conn, const RelatedEnds& to, uint16_t slot,
                     uint32_t now_ms);
  void count_anew(const Packet& packet, Conn& conn, bool from_client, RelatedEnds* to);

  void tunnel(Packet& packet, Conn& conn, uint16_t slot, uint32_t now_ms);
  void tunnel_fitting(Packet& packet, const Addr& remote, uint16_t slot, uint32_t inner_mtu,
                      uint32_t now_ms);
  void tunnel_one(Packet& packet, const Addr& remote, uint16_t slot, uint32_t now_ms);

  ConnTable& table_;
  NextHops& hops_;
  Egress& egress_;
  Counters& counters_;
  const Snapshot& snapshot_;
  // Outer IPv4 ids: each worker counts its own, or fragments of two workers could mix.
  uint16_t ip_id_;
  uint16_t ip_id_step_;
  uint32_t answered_ = 0;  // bytes of ICMP errors since request() began
};

// One segment of `whole` as a packet of its own.
inline Packet piece_of(const Packet& whole, const Frame& frame) {
  Packet piece = whole;
  piece.frame = frame;
  piece.l4 = static_cast<uint16_t>(whole.l4 - whole.l3);
  piece.l3 = 0;
  piece.l3_bytes = frame.length;
  return piece;
}

}  // namespace uvs
