// Sequence numbers of a TCP direction in which a helper has replaced some bytes by more or fewer
// (spec 6.4). Pure.
//
// Theory of operation. The sender counts its bytes, the receiver counts what arrives; both agree up
// to the edit, and behind it they differ by `delta`. The record holds the last edit:
//
//   sender    ...  first              first + bytes          ...
//   receiver  ...  first + previous   first + bytes + delta  ...
//
// The edit is one piece: numbers inside it have no counterpart. A segment goes on only if it holds
// the edit whole (then it is edited again, so a retransmission is as good as the first time) or not
// at all; an acknowledgement inside it becomes one of its beginning, a SACK block covers what is
// whole. A new edit needs the one before to be acknowledged, because one record tells two deltas
// apart and not three; what is older than both is a repetition of acknowledged bytes, which its
// receiver drops wherever it lands below.
//
// The kernel compares an acknowledgement with `first + delta` and would acknowledge bytes that were
// never received where the text got shorter; here it is `first + previous`, as in its connection
// tracking (net/netfilter/nf_conntrack_seqadj.c).
#pragma once
#include <cstdint>

namespace uvs {

struct SequenceFix {
  uint32_t first;          // of the replaced bytes, as their sender counts
  uint32_t bytes;          // how many there were; 0: no edit
  int32_t delta;           // behind the edit
  int32_t previous_delta;  // up to the edit
};

// `a` comes before `b` in the circle of sequence numbers (RFC 9293 3.4).
inline bool sequence_before(uint32_t a, uint32_t b) { return static_cast<int32_t>(a - b) < 0; }

inline uint32_t edit_end(const SequenceFix& fix) { return fix.first + fix.bytes; }

// How a segment lies to the edit.
enum class Overlap : uint8_t { kNone, kWhole, kPart };
Overlap overlap_of(const SequenceFix& fix, uint32_t sequence, uint32_t bytes);

// Where a segment starts for its receiver. One that holds part of the edit may only go on when the
// edit is acknowledged, and then lands where its receiver has everything up to its true end.
uint32_t to_receiver(const SequenceFix& fix, uint32_t sequence, uint32_t bytes);

// A number of the receiver as the sender counts; inside the edit: its beginning, or with `up` its
// end.
uint32_t to_sender(const SequenceFix& fix, uint32_t number, bool up);

// Records an edit behind the last one: `bytes` bytes at `first` became `now`.
void record_edit(SequenceFix* fix, uint32_t first, uint32_t bytes, uint32_t now);

// Forgets an acknowledged edit that lies far behind `number` of the sender, before the circle of
// numbers brings it in front again.
void forget_old_edit(SequenceFix* fix, uint32_t number);

// Turns the SACK blocks (RFC 2018 3) of a TCP header with `header_bytes` bytes, options included,
// into those of the sender. Blocks that hold nothing whole go. True: something changed.
bool sack_to_sender(const SequenceFix& fix, uint8_t* tcp, uint32_t header_bytes);

}  // namespace uvs
