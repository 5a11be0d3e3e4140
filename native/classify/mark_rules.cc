// In: a packet that no connection knows. Does: find its firewall mark by the configured rules.
// Next: classify.cc looks the service of the mark up, before that of the address.
#include "classify/mark_rules.h"

#include <algorithm>

namespace uvs {
namespace {

bool prefix_ok(uint8_t family, const Addr& address, uint8_t bits) {
  return address.is_v4() == (family == 4) && bits >= (family == 4 ? 96 : 0) && bits <= 128;
}

bool ranges_ok(uint32_t first, uint32_t count, uint32_t all) { return first + count <= all; }

bool rule_ok(const MarkRuleRecord& rule, uint32_t number, const SnapshotHeaderRecord& h) {
  return (rule.family == 4 || rule.family == 6) &&
         prefix_ok(rule.family, rule.source, rule.source_bits) &&
         prefix_ok(rule.family, rule.destination, rule.destination_bits) &&
         ranges_ok(rule.source_port_first, rule.source_port_count, h.mark_port_count) &&
         ranges_ok(rule.destination_port_first, rule.destination_port_count, h.mark_port_count) &&
         ranges_ok(rule.port_first, rule.port_count, h.mark_port_count) &&
         rule.skip < h.mark_rule_count - number;
}

bool end_ok(const MarkEndRecord& end) {
  return (end.family == 4 || end.family == 6) && prefix_ok(end.family, end.address, end.bits) &&
         end.port_first <= end.port_last;
}

}  // namespace

bool same_prefix(const Addr& a, const Addr& b, uint8_t bits) {
  const uint64_t high = __builtin_bswap64(a.high() ^ b.high());
  if (bits <= 64) return bits == 0 || high >> (64 - bits) == 0;
  return high == 0 && __builtin_bswap64(a.low() ^ b.low()) >> (128 - bits) == 0;
}

bool MarkRules::good(const uint8_t* block) {
  const auto& h = *reinterpret_cast<const SnapshotHeaderRecord*>(block);
  const auto* rules = reinterpret_cast<const MarkRuleRecord*>(block + h.mark_rule_offset);
  for (uint32_t i = 0; i < h.mark_rule_count; i++) {
    if (!rule_ok(rules[i], i, h)) return false;
  }
  const auto* ends = reinterpret_cast<const MarkEndRecord*>(block + h.mark_end_offset);
  return ends_good({ends, h.mark_end_count});
}

bool MarkRules::ends_good(std::span<const MarkEndRecord> ends) {
  return std::all_of(ends.begin(), ends.end(), end_ok);
}

void MarkRules::adopt(const uint8_t* block) {
  const auto& h = *reinterpret_cast<const SnapshotHeaderRecord*>(block);
  rules_ = reinterpret_cast<const MarkRuleRecord*>(block + h.mark_rule_offset);
  ports_ = reinterpret_cast<const uint32_t*>(block + h.mark_port_offset);
  ends_ = reinterpret_cast<const MarkEndRecord*>(block + h.mark_end_offset);
  count_ = h.mark_rule_count;
  end_count_ = h.mark_end_count;
}

uint32_t MarkRules::mark_of(const FlowKey& key, uint32_t port) const {
  uint32_t mark = 0;
  for (uint32_t i = 0; i < count_; i++) {
    const MarkRuleRecord& rule = rules_[i];
    if (!matches(rule, key, port, mark)) continue;
    mark = (mark & ~rule.clear_mask) ^ rule.flip_bits;  // kernel: xt_mark.c mark_tg
    i += rule.skip;
  }
  return mark;
}

bool MarkRules::matches(const MarkRuleRecord& rule, const FlowKey& key, uint32_t port,
                        uint32_t mark) const {
  const auto holds = [&rule](uint32_t bit, bool is) { return is != ((rule.is_not & bit) != 0); };
  if (key.destination.is_v4() != (rule.family == 4)) return false;
  if (rule.protocol != 0 && !holds(kMarkNotProtocol, key.protocol == rule.protocol)) return false;
  if (!holds(kMarkNotDestination,
             same_prefix(key.destination, rule.destination, rule.destination_bits)) ||
      !holds(kMarkNotSource, same_prefix(key.source, rule.source, rule.source_bits)) ||
      !holds(kMarkNotMark, (mark & rule.mark_mask) == rule.mark_value) ||
      (rule.interfaces & 1u << port) == 0) {
    return false;
  }
  const uint16_t from = key.source_port.host();
  const uint16_t to = key.destination_port.host();
  if (rule.destination_port_count != 0 &&
      !holds(kMarkNotDestinationPorts,
             in_ranges(rule.destination_port_first, rule.destination_port_count, to))) {
    return false;
  }
  if (rule.source_port_count != 0 &&
      !holds(kMarkNotSourcePorts,
             in_ranges(rule.source_port_first, rule.source_port_count, from))) {
    return false;
  }
  return rule.port_count == 0 ||
         holds(kMarkNotPorts, in_ranges(rule.port_first, rule.port_count, from) ||
                                  in_ranges(rule.port_first, rule.port_count, to));
}

bool MarkRules::in_ranges(uint16_t first, uint16_t count, uint16_t port) const {
  for (uint32_t i = first; i < uint32_t{first} + count; i++) {
    if (port >= (ports_[i] & 0xffff) && port <= ports_[i] >> 16) return true;
  }
  return false;
}

bool MarkRules::selects(const Addr& destination, uint8_t protocol, uint16_t port) const {
  for (uint32_t i = 0; i < end_count_; i++) {
    const MarkEndRecord& end = ends_[i];
    if (end.protocol == protocol && port >= end.port_first && port <= end.port_last &&
        !is_any(end) && destination.is_v4() == (end.family == 4) &&
        same_prefix(destination, end.address, end.bits)) {
      return true;
    }
  }
  return false;
}

}  // namespace uvs
