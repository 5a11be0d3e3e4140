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
  uint32_t number;  // in the order of creation
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
    switch (op.what % 8) {
      case 0:
      case 1:
      case 2: create(op); break;
      case 3: remove(op); break;
      case 4: refresh(op); break;
      case 5: advance(op.ticks % 64); break;
      case 6: advance(op.ticks); break;
      default: attach();  // a successor takes over
    }
    look_up(wanted_by(op));
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
    // The core asks first; two entries of one key never come to be.
    if (table_->find(wanted.in, table_->hash(wanted.in)) != kNoEntry) return;
    const uint32_t due = tick_ + 1 + op.ticks;
    uint32_t id = kNoConn;
    const CreateError error = table_->create(wanted, due, &id);
    require((error == CreateError::kTableFull) == (known_.size() == capacity_));
    if (error != CreateError::kNone) return;
    known_.push_back({id, due, wanted, created_++});
  }

  // Replies belong to the newest of those whose reply key is the same.
  const Known* owner_of(const FlowKey& reply) const {
    const Known* newest = nullptr;
    for (const Known& known : known_) {
      if (!has_reply_key(known.wanted.method) || !same(reply_key(known.wanted), reply)) continue;
      if (newest == nullptr || newest->number < known.number) newest = &known;
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

  // The entry found belongs to a connection of this very key, and is found if there is one.
  void look_up(const NewConn& wanted) {
    for (const FlowKey& key : {wanted.in, reply_key(wanted)}) {
      const uint32_t entry = table_->find(key, table_->hash(key));
      const Known* owner = owner_of(key);
      bool found = false;
      bool expected = false;
      for (const Known& known : known_) {
        const bool in = same(known.wanted.in, key);
        const bool out = &known == owner;
        expected |= in || out;
        found |= (in && entry == known.id << 1) || (out && entry == (known.id << 1 | 1));
      }
      require(found == expected && (entry == kNoEntry) == !expected);
    }
    require(table_->size() == known_.size());
  }

  uint32_t capacity_;
  uint32_t tick_;
  uint32_t created_ = 0;
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
