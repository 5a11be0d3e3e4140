// In: due ticks from the state machines. Does: keep, move, hand out what is due.
// Next: core.cc expires what next_due() returns.
#include "conn/timer_wheel.h"

namespace uvs {

// The slot of `due`, clamped to the turn that lies ahead: a tick in the past is due with the next
// slot, one beyond the turn waits in the furthest slot and is looked at again there.
uint32_t TimerWheel::slot_for(uint32_t due) const {
  const int32_t ahead = static_cast<int32_t>(due - memory_->now);
  const uint32_t steps = ahead < 1 ? 1
                         : ahead > static_cast<int32_t>(kWheelSlots - 1)
                             ? kWheelSlots - 1
                             : static_cast<uint32_t>(ahead);
  return (memory_->now + steps) % kWheelSlots;
}

void TimerWheel::insert(uint32_t id, uint32_t due) {
  Conn& conn = conns_[id];
  const uint32_t slot = slot_for(due);
  conn.expires = due;
  conn.wheel_slot = static_cast<uint16_t>(slot);
  const uint32_t head = memory_->heads[slot];
  conn.wheel_prev = kNoConn;
  conn.wheel_next = head == 0 ? kNoConn : head - 1;
  if (head != 0) conns_[head - 1].wheel_prev = id;
  memory_->heads[slot] = id + 1;
}

void TimerWheel::remove(uint32_t id) {
  Conn& conn = conns_[id];
  if (conn.wheel_prev == kNoConn) {
    memory_->heads[conn.wheel_slot] = conn.wheel_next == kNoConn ? 0 : conn.wheel_next + 1;
  } else {
    conns_[conn.wheel_prev].wheel_next = conn.wheel_next;
  }
  if (conn.wheel_next != kNoConn) conns_[conn.wheel_next].wheel_prev = conn.wheel_prev;
}

void TimerWheel::move_if_earlier(uint32_t id) {
  Conn& conn = conns_[id];
  const uint32_t held_for = (conn.wheel_slot - memory_->now) % kWheelSlots;
  const uint32_t wanted_for = (slot_for(conn.expires) - memory_->now) % kWheelSlots;
  if (wanted_for >= held_for) return;
  const uint32_t due = conn.expires;
  remove(id);
  insert(id, due);
}

uint32_t TimerWheel::next_due(uint32_t tick, uint32_t* budget) {
  while (static_cast<int32_t>(tick - memory_->now) > 0) {
    const uint32_t head = memory_->heads[(memory_->now + 1) % kWheelSlots];
    if (*budget == 0) return kNoConn;
    --*budget;
    if (head == 0) {
      memory_->now++;
      continue;
    }
    const uint32_t id = head - 1;
    const uint32_t due = conns_[id].expires;
    remove(id);
    if (static_cast<int32_t>(due - (memory_->now + 1)) <= 0) return id;
    // Refreshed since it was put here. `now` is still the tick before this slot, so one turn
    // ahead would be this very slot again: insert() clamps to one less.
    insert(id, due);
  }
  return kNoConn;
}

}  // namespace uvs
