// Hash index from packet keys to connections: buckets of one cache line.
//
// Theory of operation. A bucket has seven 32-bit tags, an overflow count and seven entries, so a
// lookup of a present key costs one cache line here and one in the connection. A full bucket
// spills to the next; `overflow` counts the keys that passed it on their way, so a lookup stops at
// the first bucket that nobody passed and removal needs no tombstones. The number of buckets need
// not be a power of two (multiply-shift of the hash), so memory is as wanted, not up to double.
//
// An entry is `conn id << 1 | direction`: a connection has an inbound key (client -> virtual) and,
// where replies come through the director, an outbound one (destination -> client or local).
#pragma once
#include <cstdint>
#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace uvs {

constexpr uint32_t kBucketEntries = 7;
constexpr uint32_t kNoEntry = 0xffffffffu;

struct IndexBucket {
  uint32_t tags[kBucketEntries];  // 0: empty
  uint32_t overflow;              // keys that live in a later bucket because this one was full
  uint32_t entries[kBucketEntries];
  uint32_t reserved;
};
static_assert(sizeof(IndexBucket) == 64);

class FlowIndex {
 public:
  void attach(IndexBucket* buckets, uint32_t count) {
    buckets_ = buckets;
    count_ = count;
  }

  void prefetch(uint64_t hash) const { __builtin_prefetch(&buckets_[home(hash)]); }

  // First entry whose tag equals that of `hash`, in the home bucket only: a guess to prefetch by.
  uint32_t peek(uint64_t hash) const {
    const IndexBucket& bucket = buckets_[home(hash)];
    const uint32_t mask = match(bucket, tag_of(hash));
    return mask == 0 ? kNoEntry : bucket.entries[__builtin_ctz(mask)];
  }

  // First entry with this hash for which `accept(entry)` is true; kNoEntry when there is none.
  template <typename Accept>
  uint32_t find(uint64_t hash, Accept accept) const {
    const uint32_t tag = tag_of(hash);
    for (uint32_t at = home(hash);; at = next(at)) {
      const IndexBucket& bucket = buckets_[at];
      for (uint32_t mask = match(bucket, tag); mask != 0; mask &= mask - 1) {
        const uint32_t entry = bucket.entries[__builtin_ctz(mask)];
        if (accept(entry)) return entry;
      }
      if (bucket.overflow == 0) return kNoEntry;
    }
  }

  // The table is sized so that there is always room (conn_table.cc).
  void insert(uint64_t hash, uint32_t entry);
  void erase(uint64_t hash, uint32_t entry);

 private:
  static uint32_t tag_of(uint64_t hash) { return static_cast<uint32_t>(hash) | 1; }
  uint32_t home(uint64_t hash) const {
    return static_cast<uint32_t>(((hash >> 32) * count_) >> 32);
  }
  uint32_t next(uint32_t at) const { return at + 1 == count_ ? 0 : at + 1; }

  // Bit i set: tags[i] == tag.
  static uint32_t match(const IndexBucket& bucket, uint32_t tag) {
#if defined(__SSE2__)
    const auto* words = reinterpret_cast<const __m128i*>(bucket.tags);
    const __m128i wanted = _mm_set1_epi32(static_cast<int>(tag));
    const __m128i low = _mm_cmpeq_epi32(_mm_load_si128(words), wanted);
    const __m128i high = _mm_cmpeq_epi32(_mm_load_si128(words + 1), wanted);
    const int bits =
        _mm_movemask_ps(_mm_castsi128_ps(low)) | (_mm_movemask_ps(_mm_castsi128_ps(high)) << 4);
    return static_cast<uint32_t>(bits) & ((1u << kBucketEntries) - 1);
#else
    uint32_t mask = 0;
    for (uint32_t i = 0; i < kBucketEntries; i++) mask |= (bucket.tags[i] == tag) << i;
    return mask;
#endif
  }

  IndexBucket* buckets_ = nullptr;
  uint64_t count_ = 0;
};

}  // namespace uvs
