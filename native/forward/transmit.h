// Stop 8, the order of its steps: next hop, TTL, MTU, method, out (spec 5.5.1: time exceeded is
// decided before MTU). One function per direction; the methods are one switch.
#pragma once
#include "classify/snapshot.h"
#include "conn/conn_table.h"
#include "forward/egress.h"
#include "forward/path_mtus.h"
#include "forward/tunnel.h"

namespace uvs {

class Transmitter {
 public:
  Transmitter(ConnTable& table, NextHops& hops, Egress& egress, Counters& counters,
              const Snapshot& snapshot, uint32_t worker, uint32_t workers)
      : table_(table),
        hops_(hops),
        egress_(egress),
        counters_(counters),
        snapshot_(snapshot),
        ip_id_(worker),
        ip_id_step_(workers) {}

  // Client -> destination, by the connection's method. The packet's memory must stay until flush.
  // Returns the bytes of the ICMP error that the client got instead, 0 where it got none.
  uint32_t request(Packet& packet, Conn& conn, uint32_t now_ms);

  // Destination -> client, masquerade and FULLNAT (spec 5.2). False: it goes no further, and the
  // kernel's outbound hook would not have seen it.
  bool reply(Packet& packet, Conn& conn, uint32_t now_ms);

  // An ICMP error about `conn`, seen from the client's side (`from_client`) or from the
  // destination's (spec 5.7). False: its checksum is wrong, nothing was sent.
  bool related(Packet& packet, Conn& conn, bool from_client, uint32_t now_ms);

  // A router said that `told` bytes of tunnel packet fit on the way to the destination of `conn`.
  // Returns what fits from now on.
  uint32_t narrow_path(Conn& conn, uint32_t told, uint32_t now_ms);

  // The address that tunnel packets of `conn` leave from now.
  const Addr& tunnel_source(Conn& conn, uint32_t now_ms) {
    return hops_.at(hop_in(conn, now_ms)).source;
  }

  // Timers; call now and then.
  void service(uint32_t now_ms) { path_mtus_.expire(now_ms); }

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
  bool stays_as_it_is(const Conn& conn, const NextHop& hop);
  // `cut_to`: MTU for its fragments, kWhole where it is not cut.
  static constexpr uint32_t kWhole = UINT32_MAX;
  void out(Packet& packet, uint16_t slot, uint32_t cut_to, const Addr& answer_from,
           uint32_t now_ms);
  void answer(const Packet& packet, IcmpError error, uint32_t mtu, const Addr& from,
              uint32_t now_ms);
  void cut(Packet& packet, uint16_t slot, uint32_t mtu, uint32_t now_ms);

  // transmit_tunnel.cc
  struct TunnelWay;
  void tunnel(Packet& packet, Conn& conn, uint16_t slot, uint32_t now_ms);
  void tunnel_one(Packet& packet, const TunnelWay& way, uint32_t now_ms);
  Be16 source_port(const Conn& conn, const Tunnel& tunnel) const;

  ConnTable& table_;
  NextHops& hops_;
  Egress& egress_;
  Counters& counters_;
  const Snapshot& snapshot_;
  // Ids of outer packets (IPv4: the low 16 bits): each worker counts its own, or fragments of two
  // workers could mix.
  uint32_t ip_id_;
  uint32_t ip_id_step_;
  PathMtus path_mtus_;
  uint32_t answered_ = 0;  // bytes of ICMP errors since request() began
};

}  // namespace uvs
