// Expiry of connections: one wheel of 4096 slots, a tick of 250 ms.
//
// Theory of operation. A packet only stores the new due tick in its connection; the list it hangs
// in does not change. When the wheel reaches a slot, each connection there is either due (expired)
// or was refreshed meanwhile and moves to the slot of its present due tick, at most one turn
// (1024 s) ahead. So a packet costs one store, and a connection moves about once per timeout.
// Only when the due tick becomes *earlier* (a state with a shorter timeout) must it move at once.
//
// Lists are doubly linked by connection id: removal needs no search. The heads live in the shard's
// memory with the connections.
#pragma once
#include <cstdint>

#include "conn/conn.h"

namespace uvs {

constexpr uint32_t kWheelSlots = 4096;
constexpr uint32_t kTickMs = 250;
constexpr uint32_t kTicksPerSec = 1000 / kTickMs;

class TimerWheel {
 public:
  struct Memory {
    uint32_t heads[kWheelSlots];  // conn id + 1, 0: empty
    uint32_t now;                 // ticks whose slot has been emptied, up to and including
    uint32_t reserved[15];
  };

  void attach(Memory* memory, Conn* conns) {
    memory_ = memory;
    conns_ = conns;
  }
  void start(uint32_t tick) { memory_->now = tick; }
  uint32_t now() const { return memory_->now; }

  void insert(uint32_t id, uint32_t due);
  void remove(uint32_t id);

  // Sets a new due tick; moves the connection only if it became due earlier than its slot.
  void refresh(uint32_t id, uint32_t due) {
    Conn& conn = conns_[id];
    const bool earlier = static_cast<int32_t>(due - conn.expires) < 0;
    conn.expires = due;
    if (earlier) [[unlikely]]
      move_if_earlier(id);
  }

  // Next connection that is due at `tick` or before, removed from the wheel; kNoConn when there
  // is none, or after `*budget` steps (each step looks at one connection or one slot).
  uint32_t next_due(uint32_t tick, uint32_t* budget);

 private:
  void move_if_earlier(uint32_t id);
  uint32_t slot_for(uint32_t due) const;
  Memory* memory_ = nullptr;
  Conn* conns_ = nullptr;
};

}  // namespace uvs
