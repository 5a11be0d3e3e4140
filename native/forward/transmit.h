// Stop 8, the order of its steps: next hop, TTL, MTU, method, out (spec 5.5.1: time exceeded is
// decided before MTU). One function per direction; the methods are one switch.
#pragma once
#include "classify/snapshot.h"
#include "conn/conn_table.h"
#include "forward/egress.h"

namespace uvs {

class Transmitter {
 public:
  Transmitter(ConnTable& table, NextHops& hops, Egress& egress, Counters& counters,
              const Snapshot& snapshot, uint32_t worker, uint32_t workers, uint64_t seed)
      : table_(table),
        hops_(hops),
        egress_(egress),
        counters_(counters),
        snapshot_(snapshot),
        ip_id_(static_cast<uint16_t>(worker)),
        ip_id_step_(static_cast<uint16_t>(workers)),
        fragment_count_(worker),
        fragment_step_(workers),
        fragment_key_(static_cast<uint32_t>(seed >> 32)) {}

  // Client -> destination, by the connection's method. The packet's memory must stay until flush.
  // Returns the bytes of the ICMP error that the client got instead, 0 where it got none.
  uint32_t request(Packet& packet, Conn& conn, uint32_t now_ms);

  // Destination -> client, masquerade and FULLNAT (spec 5.2). False: it goes no further, and the
  // kernel's outbound hook would not have seen it.
  bool reply(Packet& packet, Conn& conn, uint32_t now_ms);

  // An ICMP error about `conn`, seen from the client's side (`from_client`) or from the
  // destination's (spec 5.7). False: its checksum is wrong, nothing was sent.
  bool related(Packet& packet, Conn& conn, bool from_client, uint32_t now_ms);

  // Answers an echo request to an address that only uvs answers for.
  void echo(Packet& packet, uint32_t now_ms);

  // Cuts a packet for `mtu` into scratch frames without link header, of which `*count` are lent
  // until more are asked for; one that came in fragments is cut no larger than it came. 0: it
  // cannot be cut so.
  Frame* pieces_of(const Packet& packet, uint32_t mtu, uint32_t* count);

 private:
  uint16_t hop_in(Conn& conn, uint32_t now_ms);
  uint16_t hop_out(Conn& conn, uint32_t now_ms);
  void refresh_hops(Conn& conn);
  bool admit(Packet& packet, const NextHop& hop, uint32_t mtu, const Addr& answer_from,
             bool* fragment, uint32_t now_ms);
  bool admit_reply(Packet& packet, const NextHop& hop, const NextHop& back, bool* fragment,
                   uint32_t now_ms);
  bool reaches(const Packet& packet, const NextHop& hop, bool own, const Addr& answer_from,
               uint32_t now_ms);
  bool fits(const Packet& packet, uint32_t mtu, const Addr& answer_from, bool* fragment,
            uint32_t now_ms);
  void out(Packet& packet, uint16_t slot, bool fragment, const Addr& answer_from, uint32_t now_ms);
  void answer(const Packet& packet, IcmpError error, uint32_t mtu, const Addr& from,
              uint32_t now_ms);
  uint32_t next_fragment_id();
  void cut(Packet& packet, uint16_t slot, uint32_t now_ms);
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
  // IPv6 fragment ids: again each worker counts its own, and nobody can guess the next (RFC 7739).
  uint32_t fragment_count_;
  uint32_t fragment_step_;
  uint32_t fragment_key_;
  uint32_t answered_ = 0;  // bytes of ICMP errors since request() began
};

}  // namespace uvs
