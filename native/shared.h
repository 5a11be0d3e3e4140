// The only code that touches words which more than one thread sees. Every word has one writer,
// except the template words, which are changed by atomic addition or or-ing
// (docs/shared-memory.md).
#pragma once
#include <atomic>
#include <cstdint>

namespace uvs::shared {

// A lane word: one writer, read by others at leisure; no ordering with anything else.
template <typename T>
inline void lane_add(T& word, T delta) {
  std::atomic_ref<T> ref(word);
  ref.store(static_cast<T>(ref.load(std::memory_order_relaxed) + delta), std::memory_order_relaxed);
}

template <typename T>
inline T lane_load(T& word) {
  return std::atomic_ref<T>(word).load(std::memory_order_relaxed);
}

// Control words: payload first, flag last.
template <typename T>
inline void publish(T& word, T value) {
  std::atomic_ref<T>(word).store(value, std::memory_order_release);
}

template <typename T>
inline T observe(T& word) {
  return std::atomic_ref<T>(word).load(std::memory_order_acquire);
}

// Takes a word that is 0 for nobody: 0 becomes 1. False: somebody has it.
inline bool claim(uint32_t& word) {
  uint32_t free = 0;
  return std::atomic_ref<uint32_t>(word).compare_exchange_strong(free, 1,
                                                                 std::memory_order_acq_rel);
}

// Words with several writers: template slave counts and flags, destination state.
inline int32_t add(int32_t& word, int32_t delta) {
  return std::atomic_ref<int32_t>(word).fetch_add(delta, std::memory_order_acq_rel);
}
inline void set_bits(uint32_t& word, uint32_t bits) {
  std::atomic_ref<uint32_t>(word).fetch_or(bits, std::memory_order_acq_rel);
}
inline void clear_bits(uint32_t& word, uint32_t bits) {
  std::atomic_ref<uint32_t>(word).fetch_and(~bits, std::memory_order_acq_rel);
}

}  // namespace uvs::shared
