// Stop 7: what happens to a connection besides being found: bound to its destination, moved by its
// packets, expired. Keeps the loads that schedulers compare (spec 3.5); the overload flag follows
// from them in src/dataplane/load-view.ts.
#pragma once
#include <cstdint>

#include "classify/snapshot.h"
#include "conn/conn_table.h"
#include "conn/drop_entry.h"
#include "conn/tcp_state.h"
#include "report/counters.h"
#include "synproxy/stored_packets.h"

namespace uvs {

// Told of a connection just before its time ends it.
class Farewell {
 public:
  virtual ~Farewell() = default;
  virtual void expiring(Conn& conn) = 0;
  // Of one that waits for its real server: true if that was asked again, and has its time again.
  virtual bool asks_again(uint32_t id) = 0;
};

class Tracker {
 public:
  Tracker(ConnTable& table, Counters& counters, const Snapshot& snapshot)
      : table_(table), counters_(counters), snapshot_(snapshot) {}

  // The shared template table; slaves are counted there. `count` records.
  void attach_templates(TemplateRecord* templates, uint32_t count) {
    templates_ = templates;
    template_count_ = count;
  }

  // Creates and binds a connection; it starts inactive with the initial 3 s timeout (spec 3.1).
  // On failure the template's slave count is given back.
  CreateError create(const NewConn& wanted, uint32_t tick, uint32_t* id);

  // Gives back one slave of a template: the connection ended, or could not be made.
  void release_template(uint32_t template_ref);

  // Moves state and restarts the timer for one packet (spec 3.6 to 3.6.2). `reply`: it came from
  // the destination.
  void track(uint32_t id, const Packet& packet, bool reply, uint32_t tick) {
    Conn& conn = table_.at(id);
    if (conn.protocol == kProtoTcp) {
      track_tcp(id, conn, packet.tcp_flags, reply, tick);
    } else if (conn.protocol != kProtoSctp) [[likely]] {
      track_udp(id, conn, reply, tick);
    } else {
      track_sctp(id, conn, packet.sctp_chunk, reply, tick);
    }
  }

  // Makes `master` live at least as long as `slave` (spec 3.3, 3.7).
  void control(uint32_t slave, uint32_t master);

  // A data connection that is to come: LISTEN, with its timeout (kernel: ip_vs_tcp_conn_listen).
  void listen(uint32_t id, uint32_t tick) {
    table_.at(id).state = kTcpListen;
    table_.wheel().refresh(id, tick + tcp_ticks_[kTcpListen]);
  }

  bool has_master(const Conn& conn) const { return master_of(conn) != 0; }
  bool has_slaves(const Conn& conn) const {
    const ConnExtra* extra = table_.extra(conn);
    return extra != nullptr && extra->slaves != 0;
  }

  // Ends a connection now: unbinds, gives its template or its master back, frees it. Nothing may
  // name it as its master.
  void end(uint32_t id) { end(id, true); }

  // Ends a connection, and every master of which it was the last slave, up to a template that no
  // slave ever assured (the kernel's forced deletion, spec 3.7).
  void end_chain(uint32_t id);

  // A new connection takes this one's place: it ends, or hides until its slaves are gone (3.9).
  void give_way(uint32_t id);

  // Expires what is due at `tick`, looking at no more than `budget` entries, and asks or tells
  // `farewell` of it. Returns how many.
  uint32_t expire(uint32_t tick, uint32_t budget, Farewell* farewell = nullptr);

  // Where packets wait for real servers; a connection that ends gives up its own.
  void attach_stored(StoredPackets* stored) { stored_ = stored; }

  // Moves a TCP connection by decree, not by a packet: loads and timer follow (spec 12.9).
  void move(uint32_t id, uint8_t state, uint32_t tick);

  // Ends every connection whose destination is gone (spec 3.10, expire_nodest_conn), in steps:
  // looks at `budget` records from `*cursor` on; false when the table's end was reached.
  bool sweep_gone(uint32_t* cursor, uint32_t budget);

  // Draws up to `budget` of `*draws` records at random and ends those that drop_entry takes (spec
  // 3.11), with their masters; false when all were drawn.
  bool drop_random(DropEntry& defence, uint32_t tick, uint32_t* draws, uint32_t budget);

  // A new snapshot was adopted: timeouts in ticks are read from it.
  void adopt();

 private:
  void track_tcp(uint32_t id, Conn& conn, uint8_t tcp_flags, bool reply, uint32_t tick);
  void track_sctp(uint32_t id, Conn& conn, uint8_t chunk, bool reply, uint32_t tick);
  TcpRows rows_for(Conn& conn, bool reply);
  void track_udp(uint32_t id, Conn& conn, bool reply, uint32_t tick);
  void end(uint32_t id, bool in_wheel);
  uint32_t master_of(const Conn& conn) const {
    const ConnExtra* extra = table_.extra(conn);
    return extra == nullptr ? 0 : extra->master;
  }
  uint32_t timeout_ticks(const Conn& conn) const;
  // Null for a connection without destination (spec 5.4, 2).
  LoadRecord* load_of(const Conn& conn) const {
    return conn.destination_slot == kNoSlot ? nullptr : &counters_.loads[conn.destination_slot];
  }
  void set_active(Conn& conn, bool active);
  void assure_template(uint32_t id);
  void expire_template(uint32_t template_ref);

  ConnTable& table_;
  Counters& counters_;
  const Snapshot& snapshot_;
  StoredPackets* stored_ = nullptr;
  TemplateRecord* templates_ = nullptr;
  uint32_t template_count_ = 0;
  uint32_t tcp_ticks_[16] = {};
  uint32_t fullnat_ticks_[16] = {};
  uint32_t udp_ticks_ = 0;
  bool secure_tcp_ = false;
};

constexpr uint32_t kInitialTimeoutSec = 3;  // spec 3.1
constexpr uint32_t kServerAnswerSec = 3;    // spec 12.9: until a real server is asked again

}  // namespace uvs
