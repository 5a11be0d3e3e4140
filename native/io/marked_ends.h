// What mark rules select, as maps of the kernel: from the destination address by longest prefix to
// a group, and from group, protocol and port to a bit.
//
// A group is a set of ports by protocol, kept as chunks of kMarkChunkPorts bits; a chunk that is
// not there has no port. Prefixes with equal ports share a group. Groups never change: another set
// of ports is another group, so that no packet meets half of a change. A prefix's group holds the
// ports of every shorter prefix around it too.
#pragma once
#include <array>
#include <cstdint>
#include <map>
#include <span>
#include <utility>
#include <vector>

#include "io/bpf.h"
#include "layout.gen.h"

namespace uvs {

constexpr uint32_t kMarkChunkPorts = 2048;
constexpr uint32_t kMarkChunksMax = 4096;    // in the map; a change needs room for both sides
constexpr uint32_t kMarkPrefixesMax = 8192;  // the same
static_assert(kMarkPrefixesMax >= 2 * kMaxMarkRules, "a rule names one destination");
static_assert(65536 % kMarkChunkPorts == 0 && 65536 / kMarkChunkPorts <= 256);

// Key of the map `prefixes`; the value is a group.
struct MarkPrefixKey {
  uint32_t bits;  // of the address that count, host order
  Addr address;
};
static_assert(sizeof(MarkPrefixKey) == 20);

// Key of the map `chunks`.
struct MarkChunkKey {
  uint32_t group;
  uint8_t protocol;
  uint8_t chunk;  // port / kMarkChunkPorts
  uint16_t zero;
};
static_assert(sizeof(MarkChunkKey) == 8);

using MarkChunk = std::array<uint8_t, kMarkChunkPorts / 8>;

class MarkedEnds {
 public:
  bool open(IoError* error);

  // Adds what `ends` (checked, MarkRules::good) need and is not there; nothing goes away, and
  // any4() and any6() are those of `ends`. On failure calling again goes on from there.
  bool add(std::span<const MarkEndRecord> ends, IoError* error);
  // Removes what the last add() did not need.
  bool forget(IoError* error);

  // Prefixes in the map: none, and no packet need be looked up.
  uint32_t prefixes() const { return static_cast<uint32_t>(prefixes_.size()); }
  // Groups of rules that name no destination, by family; 0: none.
  uint32_t any4() const { return any4_; }
  uint32_t any6() const { return any6_; }

  // Borrowed descriptors.
  int prefixes_map() const { return prefixes_map_.get(); }
  int chunks_map() const { return chunks_map_.get(); }

 private:
  using Ports = std::map<uint16_t, MarkChunk>;  // by protocol << 8 | chunk
  using Prefix = std::pair<uint8_t, std::array<uint8_t, 16>>;

  struct Wanted {
    std::map<Prefix, Ports> prefixes;
    Ports any4, any6;
  };
  static Wanted wanted(std::span<const MarkEndRecord> ends);
  bool group_of(const Ports& ports, uint32_t* group, IoError* error);
  bool remove_group(uint32_t group, const Ports& ports, IoError* error);

  UniqueFd prefixes_map_;
  UniqueFd chunks_map_;
  std::map<Ports, uint32_t> groups_;
  std::map<Prefix, uint32_t> prefixes_;  // what the map holds
  std::map<Prefix, uint32_t> needed_;    // what the last add() was for
  std::vector<MarkEndRecord> last_;      // the ends of the last add() that succeeded
  uint32_t any4_ = 0;
  uint32_t any6_ = 0;
  uint32_t next_group_ = 1;
};

}  // namespace uvs
