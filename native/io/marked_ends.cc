// In: what mark rules select (snapshot, `markEnd` records). Does: keeps the kernel's maps of
// prefixes and ports in line with it. Next: the classifier's programs look packets up there.
#include "io/marked_ends.h"

#include <algorithm>
#include <cstring>
#include <set>

#include "classify/mark_rules.h"

namespace uvs {
namespace {

// ::ffff:0:0/96, all of IPv4: an IPv6 prefix around it must not select it.
Addr mapped() { return Addr::v4(Be32{}); }

bool holds(const MarkEndRecord& outer, uint8_t family, const Addr& address, uint8_t bits) {
  return !is_any(outer) && outer.family == family && outer.bits <= bits &&
         same_prefix(outer.address, address, outer.bits);
}

MarkPrefixKey key_of(uint8_t bits, const std::array<uint8_t, 16>& bytes) {
  MarkPrefixKey key{bits, {}};
  std::memcpy(key.address.bytes, bytes.data(), bytes.size());
  return key;
}

MarkChunkKey key_of(uint32_t group, uint16_t chunk) {
  return {group, static_cast<uint8_t>(chunk >> 8), static_cast<uint8_t>(chunk), 0};
}

}  // namespace

bool MarkedEnds::open(IoError* error) {
  prefixes_map_ = bpf_create_map(BPF_MAP_TYPE_LPM_TRIE, sizeof(MarkPrefixKey), sizeof(uint32_t),
                                 kMarkPrefixesMax, "uvs_prefixes", error, BPF_F_NO_PREALLOC);
  if (!prefixes_map_.open()) return false;
  chunks_map_ = bpf_create_map(BPF_MAP_TYPE_HASH, sizeof(MarkChunkKey), sizeof(MarkChunk),
                               kMarkChunksMax, "uvs_chunks", error);
  return chunks_map_.open();
}

MarkedEnds::Wanted MarkedEnds::wanted(std::span<const MarkEndRecord> ends) {
  const auto put = [](Ports& ports, const MarkEndRecord& end) {
    for (uint32_t port = end.port_first; port <= end.port_last; port++) {
      const auto chunk = static_cast<uint16_t>(end.protocol << 8 | port / kMarkChunkPorts);
      const uint32_t bit = port % kMarkChunkPorts;
      ports[chunk][bit / 8] |= static_cast<uint8_t>(1u << bit % 8);
    }
  };
  Wanted all;
  for (const MarkEndRecord& end : ends) {
    if (is_any(end)) {
      put(end.family == 4 ? all.any4 : all.any6, end);
      continue;
    }
    Prefix prefix{end.bits, {}};
    std::memcpy(prefix.second.data(), end.address.bytes, 16);
    if (end.family == 6 && end.bits <= 96 && same_prefix(end.address, mapped(), end.bits)) {
      Prefix ip4{uint8_t{96}, {}};
      std::memcpy(ip4.second.data(), mapped().bytes, 16);
      all.prefixes.try_emplace(ip4);
    }
    if (!all.prefixes.try_emplace(prefix).second) continue;
    for (const MarkEndRecord& outer : ends) {
      if (holds(outer, end.family, end.address, end.bits)) put(all.prefixes[prefix], outer);
    }
  }
  return all;
}

bool MarkedEnds::add(std::span<const MarkEndRecord> ends, IoError* error) {
  const bool same =
      ends.size() == last_.size() &&
      (ends.empty() || std::memcmp(ends.data(), last_.data(), ends.size_bytes()) == 0);
  if (same) return true;
  last_.clear();
  const Wanted all = wanted(ends);
  std::set<Ports> sets{all.any4, all.any6};
  for (const auto& [prefix, ports] : all.prefixes) sets.insert(ports);
  size_t chunks = 0;
  for (const Ports& ports : sets) chunks += ports.size();
  if (chunks > kMarkChunksMax / 2) {
    *error = refusal("ERR_TOO_MANY_ENTRIES",
                     "mark rules select too many different sets of ports; name fewer ranges");
    return false;
  }
  needed_.clear();
  for (const auto& [prefix, ports] : all.prefixes) {
    uint32_t group = 0;
    if (!group_of(ports, &group, error)) return false;
    needed_[prefix] = group;
    const auto known = prefixes_.find(prefix);
    if (known != prefixes_.end() && known->second == group) continue;
    const MarkPrefixKey key = key_of(prefix.first, prefix.second);
    if (!bpf_set(prefixes_map_.get(), &key, &group, error)) return false;
    prefixes_[prefix] = group;
  }
  uint32_t any4 = 0;
  uint32_t any6 = 0;
  if (!group_of(all.any4, &any4, error) || !group_of(all.any6, &any6, error)) return false;
  any4_ = any4;
  any6_ = any6;
  last_.assign(ends.begin(), ends.end());
  return true;
}

bool MarkedEnds::group_of(const Ports& ports, uint32_t* group, IoError* error) {
  *group = 0;
  if (ports.empty()) return true;
  const auto known = groups_.find(ports);
  if (known != groups_.end()) {
    *group = known->second;
    return true;
  }
  const uint32_t made = next_group_++;
  for (const auto& [chunk, bits] : ports) {
    const MarkChunkKey key = key_of(made, chunk);
    if (bpf_set(chunks_map_.get(), &key, bits.data(), error)) continue;
    IoError second;
    remove_group(made, ports, &second);
    return false;
  }
  groups_[ports] = made;
  *group = made;
  return true;
}

bool MarkedEnds::remove_group(uint32_t group, const Ports& ports, IoError* error) {
  for (const auto& [chunk, bits] : ports) {
    const MarkChunkKey key = key_of(group, chunk);
    if (!bpf_remove(chunks_map_.get(), &key, error)) return false;
  }
  return true;
}

bool MarkedEnds::forget(IoError* error) {
  for (auto at = prefixes_.begin(); at != prefixes_.end();) {
    const auto& [bits, address] = at->first;
    const MarkPrefixKey key = key_of(bits, address);
    if (needed_.contains(at->first)) {
      ++at;
      continue;
    }
    if (!bpf_remove(prefixes_map_.get(), &key, error)) return false;
    at = prefixes_.erase(at);
  }
  std::set<uint32_t> used{any4_, any6_};
  for (const auto& [prefix, group] : prefixes_) used.insert(group);
  for (auto at = groups_.begin(); at != groups_.end();) {
    if (used.contains(at->second)) {
      ++at;
      continue;
    }
    if (!remove_group(at->second, at->first, error)) return false;
    at = groups_.erase(at);
  }
  return true;
}

}  // namespace uvs
