// Load defence drop_entry: which connections go when memory is short (spec 3.11; kernel:
// ip_vs_conn.c, ip_vs_random_dropentry and todrop_entry).
//
// The kernel looks at the entries of a 32nd of its buckets, drawn at random with replacement, once
// a second. Here a 32nd of the records is drawn: each connection is looked at as often.
#pragma once
#include <cstdint>

#include "conn/conn.h"
#include "conn/random.h"

namespace uvs {

class DropEntry {
 public:
  // `seed`: of what is drawn.
  explicit DropEntry(uint64_t seed) : random_(seed) {}

  // How many records to draw in this second, of a table whose first `records` were ever used.
  uint32_t draws(uint32_t records);

  // A number below `below`, which is not 0.
  uint32_t draw(uint32_t below) { return random_.draw(below); }

  // Whether a connection without slaves goes, which was last refreshed `idle` ticks ago.
  bool takes(const Conn& conn, int32_t idle);

 private:
  bool lottery(uint32_t packets, int32_t idle);

  static constexpr uint32_t kShare = 32;
  static constexpr uint32_t kPacketsMax = 8;  // a connection with more is worth keeping

  Random random_;
  uint32_t remainder_ = 0;  // records not yet accounted for, in 32nds of a draw
  uint32_t counters_[kPacketsMax + 1] = {};
};

}  // namespace uvs
