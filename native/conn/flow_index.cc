// In: hash and entry of a connection's key. Does: insert into and erase from the buckets.
// Next: conn_table.cc, which knows what an entry means.
#include "conn/flow_index.h"

#include <cassert>

namespace uvs {

void FlowIndex::insert(uint64_t hash, uint32_t entry) {
  for (uint32_t at = home(hash);; at = next(at)) {
    IndexBucket& bucket = buckets_[at];
    const uint32_t empty = match(bucket, 0);
    if (empty != 0) {
      const int i = __builtin_ctz(empty);
      bucket.tags[i] = tag_of(hash);
      bucket.entries[i] = entry;
      return;
    }
    bucket.overflow++;
  }
}

void FlowIndex::erase(uint64_t hash, uint32_t entry) {
  const uint32_t tag = tag_of(hash);
  for (uint32_t at = home(hash);; at = next(at)) {
    IndexBucket& bucket = buckets_[at];
    for (uint32_t mask = match(bucket, tag); mask != 0; mask &= mask - 1) {
      const int i = __builtin_ctz(mask);
      if (bucket.entries[i] != entry) continue;
      bucket.tags[i] = 0;
      return;
    }
    // The key was inserted past this full bucket; it no longer counts as passing.
    assert(bucket.overflow > 0);
    bucket.overflow--;
  }
}

}  // namespace uvs
