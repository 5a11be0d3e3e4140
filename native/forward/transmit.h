// Stop 8, the order of its steps: next hop, TTL, MTU, method, out (spec 5.5.1: time exceeded is
// decided before MTU). One function per direction; the methods are one switch.
#pragma once
#include "classify/snapshot.h"
#include "conn/conn_table.h"
#include "forward/client_address.h"
#include "forward/egress.h"
#include "forward/ftp_helper.h"
#include "forward/nat64.h"
#include "forward/path_mtus.h"
#include "forward/related_icmp.h"
#include "forward/tunnel.h"

namespace uvs {

// Below these a path is of no use (spec 5.6).
constexpr uint32_t kMinMtu4 = 68;
constexpr uint32_t kMinMtu6 = 1280;

// What became of an ICMP error about a connection.
enum class Related : uint8_t {
  kSeen,         // passed on, or stopped where IPVS has counted it already
  kUnseen,       // goes no further, and the kernel's outbound hook would not have seen it
  kBadChecksum,  // dropped
};

class Transmitter {
 public:
  Transmitter(ConnTable& table, NextHops& hops, Egress& egress, FtpHelper& ftp, Counters& counters,
              const Snapshot& snapshot, uint32_t worker, uint32_t workers, uint64_t seed)
      : table_(table),
        hops_(hops),
        egress_(egress),
        ftp_(ftp),
        counters_(counters),
        snapshot_(snapshot),
        ip_id_(worker),
        ip_id_step_(workers),
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
  // destination's (spec 5.7); `own`: the director has made it, it is not forwarded.
  Related related(Packet& packet, Conn& conn, bool from_client, bool own, uint32_t now_ms);

  // Answers an echo request to an address that only uvs answers for.
  void echo(Packet& packet, uint32_t now_ms);

  // Cuts a packet for `mtu` into scratch frames without link header, of which `*count` are lent
  // until more are asked for; one that came in fragments is cut no larger than it came. 0: it
  // cannot be cut so.
  Frame* pieces_of(const Packet& packet, uint32_t mtu, uint32_t* count);

  // A router said that `told` bytes of tunnel packet fit on the way to the destination of `conn`.
  // Returns what fits from now on.
  uint32_t narrow_path(Conn& conn, uint32_t told, uint32_t now_ms);

  // The address that tunnel packets of `conn` leave from now.
  const Addr& tunnel_source(Conn& conn, uint32_t now_ms) {
    return hops_.at(hop_in(conn, now_ms)).source;
  }

  // Timers; call now and then.
  void service(uint32_t now_ms) { path_mtus_.expire(now_ms); }

  // A FULLNAT connection of UDP was made.
  void begin_datagrams(Conn& conn);

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
  bool fits(const Packet& packet, uint32_t mtu, bool forwarded, const Addr& answer_from,
            bool* fragment, uint32_t now_ms);
  bool stays_as_it_is(const Conn& conn, const NextHop& hop);
  // `cut_to`: MTU for its fragments, kWhole where it is not cut.
  static constexpr uint32_t kWhole = UINT32_MAX;
  void out(Packet& packet, uint16_t slot, uint32_t cut_to, const Addr& answer_from,
           uint32_t now_ms);
  void answer(const Packet& packet, IcmpError error, uint32_t mtu, const Addr& from,
              uint32_t now_ms);
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
  bool head_datagram(Packet& packet, const Conn& conn, ConnExtra& extra, uint16_t slot,
                     uint32_t now_ms);
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

  uint32_t next_fragment_id();
  void cut(Packet& packet, uint16_t slot, uint32_t mtu, uint32_t now_ms);

  // transmit_tunnel.cc
  struct TunnelWay;
  void tunnel(Packet& packet, Conn& conn, uint16_t slot, uint32_t now_ms);
  void tunnel_one(Packet& packet, const TunnelWay& way, uint32_t now_ms);
  Be16 source_port(const Conn& conn, const Tunnel& tunnel) const;

  ConnTable& table_;
  NextHops& hops_;
  Egress& egress_;
  FtpHelper& ftp_;
  Counters& counters_;
  const Snapshot& snapshot_;
  // Outer IPv4 ids (the low 16 bits): each worker counts its own, or fragments of two workers could
  // mix.
  uint32_t ip_id_;
  uint32_t ip_id_step_;
  // IPv6 fragment ids: again each worker counts its own, and nobody can guess the next (RFC 7739).
  uint32_t fragment_count_;
  uint32_t fragment_step_;
  uint32_t fragment_key_;
  PathMtus path_mtus_;
  uint32_t answered_ = 0;  // bytes of ICMP errors since request() began
};

}  // namespace uvs
