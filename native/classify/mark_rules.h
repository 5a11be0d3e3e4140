// Firewall marks without a firewall: the mark that mangle PREROUTING would have given a new flow,
// by rules of the configuration (src/control/model/mark-rule.ts; iptables-extensions(8), MARK).
//
// Asked only about packets that no connection knows. The records lie in the configuration block and
// are read in place, in order, as netfilter does.
#pragma once
#include <cstdint>
#include <span>

#include "addr.h"
#include "layout.gen.h"
#include "parse/packet.h"

namespace uvs {

class MarkRules {
 public:
  // Whether every index and field of the rules in `block` is in range; counts and offsets of its
  // header are.
  static bool good(const uint8_t* block);
  static bool ends_good(std::span<const MarkEndRecord> ends);

  // Precondition: good(), and `block` stays.
  void adopt(const uint8_t* block);

  // The mark of a packet that came in by `port`; 0 where no rule gives one.
  uint32_t mark_of(const FlowKey& key, uint32_t port) const;

  // Whether rules that name destination addresses may give a mark to packets to this one. The eBPF
  // classifier decides the same by the same records (io/classifier_program.h, kMarked).
  bool selects(const Addr& destination, uint8_t protocol, uint16_t port) const;

  uint32_t end_count() const { return end_count_; }
  const MarkEndRecord& end(uint32_t i) const { return ends_[i]; }

 private:
  bool matches(const MarkRuleRecord& rule, const FlowKey& key, uint32_t port, uint32_t mark) const;
  bool in_ranges(uint16_t first, uint16_t count, uint16_t port) const;

  const MarkRuleRecord* rules_ = nullptr;
  const uint32_t* ports_ = nullptr;
  const MarkEndRecord* ends_ = nullptr;
  uint32_t count_ = 0;
  uint32_t end_count_ = 0;
};

// Whether the first `bits` bits of two addresses are equal.
bool same_prefix(const Addr& a, const Addr& b, uint8_t bits);

// Whether an end stands for every address of its family.
inline bool is_any(const MarkEndRecord& end) { return end.bits == (end.family == 4 ? 96 : 0); }

}  // namespace uvs
