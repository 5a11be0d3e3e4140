// Fuzz target: the connection table and its timer wheel under any order of operations, against a
// slow list that cannot be wrong.
//
// Input: two bytes choose capacity and start tick, then operations of six bytes each: what to do
// and on which connection. Few addresses and ports, so that keys meet again and again.
#include <cstring>
#include <memory>
#include <vector>

#include "conn/conn_table.h"
#include "fuzz/core_rig.h"

namespace {

using namespace uvs;

void require(bool holds) {
  if (!holds) __builtin_trap();
}

struct Operation {
  uint8_t what;
  uint8_t client;
  uint8_t port;
  uint8_t method;
  uint16_t ticks;
};
static_assert(sizeof(Operation) == 6);

// One connection as the list remembers it.
struct Known {
  uint32_t id;
  uint32_t due;
  NewConn wanted;
  uint32_t number[2];  // in the order in which keys were got, of request and reply key
  bool hidden;
};

NewConn wanted_by(const Operation& op) {
  constexpr uint8_t kMethods[] = {kMethodMasquerade, kMethodDirect, kMethodTunnel, kMethodFullnat};
  NewConn wanted{};
  wanted.in = FlowKey{Addr::v4(Be32::of(0xc6120000u + op.client % 8)),
                      Addr::v4(Be32::of(0xc6120100u + op.client / 64)), Be16::of(op.port % 16),
                      Be16::of(80),
                      op.port & 128  ? kProtoUdp
                      : op.port & 64 ? kProtoSctp
                                     : kProtoTcp};
  wanted.destination = Addr::v4(Be32::of(0xc6130000u + op.method / 4 % 8));
  wanted.destination_port = Be16::of(8080);
  wanted.method = kMethods[op.method % 4];
  if (wanted.method == kMethodFullnat) {
    wanted.local = Addr::v4(Be32::of(0xc6130900u));
    wanted.local_port = Be16::of(static_cast<uint16_t>(op.ticks));
  }
  return wanted;
}

bool same(const FlowKey& a, const FlowKey& b) {
  return a.source == b.source && a.destination == b.destination && a.source_port == b.source_port &&
         a.destination_port == b.destination_port && a.protocol == b.protocol;
}

FlowKey reply_key(const NewConn& wanted) {
  const bool full = wanted.method == kMethodFullnat;
  return FlowKey{wanted.destination, full ? wanted.local : wanted.in.source,
                 wanted.destination_port, full ? wanted.local_port : wanted.in.source_port,
                 wanted.in.protocol};
}

class Model {
 public:
  Model(uint32_t capacity, uint32_t tick) : capacity_(capacity), tick_(tick), blocks_(capacity) {
    attach();
  }

  void step(const Operation& op) {
    switch (op.what % 12) {
      case 0:
      case 1:
      case 2: create(op); break;
      case 3: remove(op); break;
      case 4: refresh(op); break;
      case 5: advance(op.ticks % 64); break;
      case 6: advance(op.ticks); break;
      case 7: create_again(op); break;
      case 8: create_portless(op); break;
      case 9: call(op); break;
      case 10: hide(op); break;
      default: attach();  // a successor takes over
    }
    NewConn wanted = wanted_by(op);
    look_up(wanted);
    wanted.in.source_port = Be16{};
    look_up(wanted);
  }

  // Every connection is still there and ends when it must.
  void finish() {
    for (const Known& known : known_) require(table_->live(known.id));
    while (!known_.empty()) advance(5000);
    require(table_->size() == 0);
  }

 private:
  void attach() {
    table_ = std::make_unique<ConnTable>();
    require(table_->attach(blocks_.table.get(), blocks_.table.bytes(), capacity_, 42, tick_));
  }

  void create(const Operation& op) {
    const NewConn wanted = wanted_by(op);
    // The core asks first; one key comes twice only where the newer takes it.
    if (table_->find(wanted.in, table_->hash(wanted.in)) == kNoEntry) create(op, wanted);
  }

  bool create(const Operation& op, const NewConn& wanted) {
    const uint32_t due = tick_ + 1 + op.ticks;
    uint32_t id = kNoConn;
    const CreateError error = table_->create(wanted, due, &id);
    require((error == CreateError::kTableFull) == (known_.size() == capacity_));
    if (error != CreateError::kNone) return false;
    const bool hidden = (wanted.flags & kConnOnePacket) != 0;
    known_.push_back({id, due, wanted, {numbers_, numbers_}, hidden});
    numbers_++;
    return true;
  }

  // What a destination begins, or a datagram that is a connection of its own.
  void create_again(const Operation& op) {
    NewConn wanted = wanted_by(op);
    if ((op.what & 128) != 0) wanted.flags = kConnOnePacket;
    if (create(op, wanted)) table_->take_request_key(known_.back().id);
  }

  // What a destination announces.
  void create_portless(const Operation& op) {
    NewConn wanted = wanted_by(op);
    wanted.in.source_port = Be16{};
    wanted.flags = kConnNoClientPort;
    create(op, wanted);
  }

  // The client of an announced connection calls.
  void call(const Operation& op) {
    const FlowKey key = wanted_by(op).in;
    if (table_->find(key, table_->hash(key)) != kNoEntry) return;
    const uint32_t entry = table_->find_portless(key);
    Known* newest = nullptr;
    uint32_t portless = 0;
    for (Known& known : known_) {
      if ((known.wanted.flags & kConnNoClientPort) == 0) continue;
      portless++;
      FlowKey from_any = key;
      from_any.source_port = Be16{};
      if (known.hidden || !same(known.wanted.in, from_any)) continue;
      if (newest == nullptr || newest->number[0] < known.number[0]) newest = &known;
    }
    require(portless == table_->portless());
    require(entry == (newest == nullptr ? kNoEntry : newest->id << 1));
    if (newest == nullptr) return;
    table_->set_client_port(newest->id, key.source_port);
    newest->wanted.in.source_port = key.source_port;
    newest->wanted.flags = 0;
    newest->number[0] = newest->number[1] = numbers_++;
  }

  void hide(const Operation& op) {
    if (known_.empty()) return;
    Known& known = known_[op.ticks % known_.size()];
    table_->hide(known.id);
    known.hidden = true;
  }

  // A key belongs to the newest of those who have it.
  const Known* owner_of(const FlowKey& key, uint32_t direction) const {
    const Known* newest = nullptr;
    for (const Known& known : known_) {
      const NewConn& wanted = known.wanted;
      if (known.hidden || (direction == 1 && !has_reply_key(wanted.method))) continue;
      if (!same(direction == 0 ? wanted.in : reply_key(wanted), key)) continue;
      if (newest == nullptr || newest->number[direction] < known.number[direction]) {
        newest = &known;
      }
    }
    return newest;
  }

  void remove(const Operation& op) {
    if (known_.empty()) return;
    const size_t at = op.ticks % known_.size();
    table_->remove(known_[at].id, true);
    forget(at);
  }

  void refresh(const Operation& op) {
    if (known_.empty()) return;
    Known& known = known_[op.client % known_.size()];
    known.due = tick_ + 1 + op.ticks;
    table_->wheel().refresh(known.id, known.due);
  }

  void advance(uint32_t ticks) {
    tick_ += ticks;
    uint32_t budget = 1u << 20;
    for (uint32_t id; (id = table_->wheel().next_due(tick_, &budget)) != kNoConn;) {
      size_t at = 0;
      while (at < known_.size() && known_[at].id != id) at++;
      require(at < known_.size() && static_cast<int32_t>(known_[at].due - tick_) <= 0);
      table_->remove(id, false);
      forget(at);
    }
    for (const Known& known : known_) {
      require(static_cast<int32_t>(known.due - tick_) > 0);
    }
  }

  void forget(size_t at) {
    known_[at] = known_.back();
    known_.pop_back();
  }

  // The entry found is that of the key's owner, and there if there is one.
  void look_up(const NewConn& wanted) {
    for (const FlowKey& key : {wanted.in, reply_key(wanted)}) {
      const uint32_t entry = table_->find(key, table_->hash(key));
      const Known* in = owner_of(key, 0);
      const Known* out = owner_of(key, 1);
      const bool found = (in != nullptr && entry == in->id << 1) ||
                         (out != nullptr && entry == (out->id << 1 | 1));
      require(found == (in != nullptr || out != nullptr) && (entry == kNoEntry) == !found);
      for (const bool reply : {false, true}) {
        const Known* owner = reply ? out : in;
        require(table_->find_directed(key, reply) == (owner == nullptr ? kNoConn : owner->id));
      }
    }
    require(table_->size() == known_.size());
  }

  uint32_t capacity_;
  uint32_t tick_;
  uint32_t numbers_ = 0;
  rig::Blocks blocks_;
  std::unique_ptr<ConnTable> table_;
  std::vector<Known> known_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2 || size > 2 + 400 * sizeof(Operation)) return 0;
  // The tick counter wraps within reach of some inputs.
  Model model(1 + data[0] % 40, 0xffff0000u + data[1] * 512u);
  for (size_t at = 2; at + sizeof(Operation) <= size; at += sizeof(Operation)) {
    Operation op;
    std::memcpy(&op, data + at, sizeof op);
    model.step(op);
  }
  model.finish();
  return 0;
}
