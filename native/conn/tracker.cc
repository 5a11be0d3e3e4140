// In: connections and the packets that hit them. Does: states, timers, loads, expiry.
// Next: core.cc sends the packet.
#include "conn/tracker.h"

#include <cassert>

#include "conn/sctp_state.h"

namespace uvs {
namespace {

constexpr uint32_t kPostponedSec = 60;  // how long a master whose time is up waits for its slaves

}  // namespace

void Tracker::adopt() {
  const SnapshotHeaderRecord& h = snapshot_.header();
  for (uint32_t state = 0; state < kTcpStates; state++) {
    tcp_ticks_[state] = h.tcp_timeout_sec[state] * kTicksPerSec;
    fullnat_ticks_[state] = h.fullnat_tcp_timeout_sec[state] * kTicksPerSec;
  }
  udp_ticks_ = h.udp_timeout_sec * kTicksPerSec;
  secure_tcp_ = h.sysctls[kSysctlSecureTcp] >= 2;
}

CreateError Tracker::create(const NewConn& wanted, uint32_t tick, uint32_t* id) {
  const CreateError error = table_.create(wanted, tick + kInitialTimeoutSec * kTicksPerSec, id);
  if (error != CreateError::kNone) {
    release_template(wanted.template_ref);
    return error;
  }
  Conn& conn = table_.at(*id);
  conn.flags |= kConnInactive;
  if (LoadRecord* load = load_of(conn)) shared::lane_add(load->inactive, 1);
  return error;
}

void Tracker::release_template(uint32_t template_ref) {
  if (template_ref != 0 && template_ref <= template_count_) {
    shared::add(templates_[template_ref - 1].connections, -1);
  }
}

void Tracker::set_active(Conn& conn, bool active) {
  if (active != ((conn.flags & kConnInactive) != 0)) return;
  conn.flags ^= kConnInactive;
  LoadRecord* load = load_of(conn);
  if (load == nullptr) return;
  shared::lane_add(load->active, active ? 1 : -1);
  shared::lane_add(load->inactive, active ? -1 : 1);
}

void Tracker::assure_template(uint32_t id) {
  const uint32_t ref = table_.cold(id).template_ref;
  if (ref != 0 && ref <= template_count_) {
    shared::set_bits(templates_[ref - 1].state, kTemplateAssured);
  }
}

// Which rows a packet moves by; the first reply ends "input only" for good (spec 3.6).
TcpRows Tracker::rows_for(Conn& conn, bool reply) {
  if ((conn.flags & kConnNoOutput) == 0) return reply ? TcpRows::kOutput : TcpRows::kInput;
  if (!reply) return TcpRows::kInputOnly;
  conn.flags = static_cast<uint16_t>(conn.flags & ~kConnNoOutput);
  return TcpRows::kOutput;
}

void Tracker::track_tcp(uint32_t id, Conn& conn, uint8_t tcp_flags, bool reply, uint32_t tick) {
  const TcpRows rows = rows_for(conn, reply);
  const bool fullnat = conn.method == kMethodFullnat;
  const uint8_t next = tcp_next_state(conn.state, tcp_flags, rows, secure_tcp_, fullnat);
  if (next != conn.state) {
    conn.state = next;
    set_active(conn, tcp_is_active(next, fullnat));
    if (next == kTcpEstablished) assure_template(id);
  }
  table_.wheel().refresh(id, tick + (fullnat ? fullnat_ticks_ : tcp_ticks_)[next]);
}

void Tracker::track_sctp(uint32_t id, Conn& conn, uint8_t chunk, bool reply, uint32_t tick) {
  const uint8_t next = sctp_next_state(conn.state, chunk, rows_for(conn, reply));
  if (next != conn.state) {
    conn.state = next;
    set_active(conn, sctp_is_active(next));
    if (next == kSctpEstablished) assure_template(id);
  }
  table_.wheel().refresh(id, tick + sctp_timeout_sec(next) * kTicksPerSec);
}

void Tracker::track_udp(uint32_t id, Conn& conn, bool reply, uint32_t tick) {
  if (reply && (conn.flags & kConnNoOutput || conn.state == 0)) {
    // The first reply: `state` of a UDP connection only remembers that it was seen.
    conn.flags = static_cast<uint16_t>(conn.flags & ~kConnNoOutput);
    conn.state = 1;
    assure_template(id);
  }
  table_.wheel().refresh(id, tick + udp_ticks_);
}

void Tracker::control(uint32_t slave, uint32_t master) {
  ConnExtra& extra = table_.need_extra(table_.at(slave));
  assert(extra.master == 0 && table_.cold(slave).template_ref == 0);
  extra.master = master + 1;
  table_.need_extra(table_.at(master)).slaves++;
}

void Tracker::end_chain(uint32_t id) {
  for (;;) {
    const uint32_t master = master_of(table_.at(id));
    const uint32_t ref = table_.cold(id).template_ref;
    end(id, true);
    if (master == 0) return expire_template(ref);
    id = master - 1;
    if (has_slaves(table_.at(id))) return;
  }
}

// Its slaves are counted by all workers: one that comes meanwhile starts the timer anew.
void Tracker::expire_template(uint32_t template_ref) {
  if (template_ref == 0 || template_ref > template_count_) return;
  TemplateRecord& record = templates_[template_ref - 1];
  if (shared::lane_load(record.connections) <= 0 &&
      (shared::lane_load(record.state) & kTemplateAssured) == 0) {
    shared::publish(record.expires_sec, uint32_t{0});
  }
}

void Tracker::give_way(uint32_t id) {
  if (!has_slaves(table_.at(id))) {
    end(id, true);
  } else {
    table_.hide(id);
  }
}

void Tracker::end(uint32_t id, bool in_wheel) {
  assert(!has_slaves(table_.at(id)));
  Conn& conn = table_.at(id);
  if (LoadRecord* load = load_of(conn)) {
    shared::lane_add((conn.flags & kConnInactive) != 0 ? load->inactive : load->active, -1);
  }
  release_template(table_.cold(id).template_ref);
  if ((conn.flags & kConnSynproxy) != 0) [[unlikely]]
    stored_->drop(table_.extra(conn)->synproxy.stored);
  if (const uint32_t master = master_of(conn)) table_.extra(table_.at(master - 1))->slaves--;
  table_.remove(id, in_wheel);
}

void Tracker::move(uint32_t id, uint8_t state, uint32_t tick) {
  Conn& conn = table_.at(id);
  const bool fullnat = conn.method == kMethodFullnat;
  conn.state = state;
  const bool waits = (conn.flags & kConnAwaitsServer) != 0;
  set_active(conn, !waits && tcp_is_active(state, fullnat));
  if (state == kTcpEstablished) assure_template(id);
  const uint32_t ticks = (fullnat ? fullnat_ticks_ : tcp_ticks_)[state];
  table_.wheel().refresh(id, tick + (waits ? kServerAnswerSec * kTicksPerSec : ticks));
}

uint32_t Tracker::expire(uint32_t tick, uint32_t budget, Farewell* farewell) {
  uint32_t ended = 0;
  for (uint32_t id; (id = table_.wheel().next_due(tick, &budget)) != kNoConn;) {
    Conn& conn = table_.at(id);
    if (has_slaves(conn)) [[unlikely]] {
      table_.wheel().insert(id, conn.expires + kPostponedSec * kTicksPerSec);
      continue;
    }
    if (farewell != nullptr) {
      if ((conn.flags & kConnAwaitsServer) != 0 && farewell->asks_again(id)) {
        table_.wheel().insert(id, tick + kServerAnswerSec * kTicksPerSec);
        continue;
      }
      if (conn.method == kMethodFullnat && conn.protocol == kProtoTcp &&
          conn.state == kTcpEstablished) {
        farewell->expiring(conn);
      }
    }
    end(id, false);
    ended++;
  }
  return ended;
}

bool Tracker::sweep_gone(uint32_t* cursor, uint32_t budget) {
  const uint32_t stop = table_.high_water();
  for (; *cursor < stop && budget > 0; ++*cursor, --budget) {
    if (!table_.live(*cursor) || table_.at(*cursor).method == kMethodBypass) continue;
    const DestinationRecord* d = snapshot_.destination(table_.at(*cursor).destination_slot);
    const bool gone = d == nullptr || (d->flags & kDestinationAvailable) == 0;
    if (gone && !has_slaves(table_.at(*cursor))) end_chain(*cursor);
  }
  return *cursor < stop;
}

// What the timer was last set to, as far as the state still says it: the initial 3 s, a postponed
// master's 60 s and what --set changed meanwhile are not remembered.
uint32_t Tracker::timeout_ticks(const Conn& conn) const {
  if (conn.protocol == kProtoSctp) return sctp_timeout_sec(conn.state) * kTicksPerSec;
  if (conn.protocol != kProtoTcp) return udp_ticks_;
  return (conn.method == kMethodFullnat ? fullnat_ticks_ : tcp_ticks_)[conn.state];
}

bool Tracker::drop_random(DropEntry& defence, uint32_t tick, uint32_t* draws, uint32_t budget) {
  for (; *draws != 0 && budget != 0; --*draws, --budget) {
    const uint32_t id = defence.draw(table_.high_water());
    if (!table_.live(id)) continue;
    const Conn& conn = table_.at(id);
    if (has_slaves(conn)) continue;
    const auto idle = static_cast<int32_t>(tick + timeout_ticks(conn) - conn.expires);
    if (defence.takes(conn, idle)) end_chain(id);
  }
  return *draws != 0;
}

}  // namespace uvs
