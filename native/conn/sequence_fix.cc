// In: sequence numbers of one side of an edited TCP direction. Does: turns them into those of the
// other side (sequence_fix.h). Next: forward/ftp_helper.cc writes them into the segment.
#include "conn/sequence_fix.h"

#include <algorithm>
#include <cassert>
#include <cstring>

#include "parse/tcp.h"

namespace uvs {
namespace {

constexpr uint8_t kOptionEnd = 0;
constexpr uint8_t kOptionNop = 1;
constexpr uint8_t kOptionSack = 5;
constexpr uint32_t kBlockBytes = 8;
constexpr uint32_t kFarBehind = 1u << 30;

// One SACK option of `length` bytes; what is left of it is filled with NOPs.
bool fix_blocks(const SequenceFix& fix, uint8_t* option, uint32_t length) {
  uint8_t kept[64];
  uint32_t bytes = 2;
  for (uint32_t at = 2; at + kBlockBytes <= length; at += kBlockBytes) {
    const uint32_t left = to_sender(fix, load32(option + at).host(), true);
    const uint32_t right = to_sender(fix, load32(option + at + 4).host(), false);
    if (!sequence_before(left, right)) continue;
    store32(kept + bytes, Be32::of(left));
    store32(kept + bytes + 4, Be32::of(right));
    bytes += kBlockBytes;
  }
  if (bytes == 2) {
    std::memset(option, kOptionNop, length);
    return true;
  }
  kept[0] = kOptionSack;
  kept[1] = static_cast<uint8_t>(bytes);
  const bool changed = bytes != length || std::memcmp(kept, option, bytes) != 0;
  std::memcpy(option, kept, bytes);
  std::memset(option + bytes, kOptionNop, length - bytes);
  return changed;
}

}  // namespace

Overlap overlap_of(const SequenceFix& fix, uint32_t sequence, uint32_t bytes) {
  const uint32_t end = sequence + bytes;
  if (bytes == 0 || fix.bytes == 0 || !sequence_before(fix.first, end) ||
      !sequence_before(sequence, edit_end(fix))) {
    return Overlap::kNone;
  }
  const bool whole = !sequence_before(fix.first, sequence) && !sequence_before(end, edit_end(fix));
  return whole ? Overlap::kWhole : Overlap::kPart;
}

uint32_t to_receiver(const SequenceFix& fix, uint32_t sequence, uint32_t bytes) {
  int32_t shift = sequence_before(fix.first, sequence) ? fix.delta : fix.previous_delta;
  if (overlap_of(fix, sequence, bytes) == Overlap::kPart) shift = std::min(shift, fix.delta);
  return sequence + static_cast<uint32_t>(shift);
}

uint32_t to_sender(const SequenceFix& fix, uint32_t number, bool up) {
  if (fix.bytes == 0) return number - static_cast<uint32_t>(fix.delta);
  const uint32_t first = fix.first + static_cast<uint32_t>(fix.previous_delta);
  const uint32_t end = edit_end(fix) + static_cast<uint32_t>(fix.delta);
  if (!sequence_before(first, number)) return number - static_cast<uint32_t>(fix.previous_delta);
  if (!sequence_before(number, end)) return number - static_cast<uint32_t>(fix.delta);
  return up ? edit_end(fix) : fix.first;
}

void record_edit(SequenceFix* fix, uint32_t first, uint32_t bytes, uint32_t now) {
  fix->first = first;
  fix->bytes = bytes;
  fix->previous_delta = fix->delta;
  fix->delta += static_cast<int32_t>(now - bytes);
}

void forget_old_edit(SequenceFix* fix, uint32_t number) {
  if (fix->bytes == 0 && fix->delta == fix->previous_delta) return;
  if (number - edit_end(*fix) < kFarBehind || sequence_before(number, edit_end(*fix))) return;
  fix->first = number;
  fix->bytes = 0;
  fix->previous_delta = fix->delta;
}

bool sack_to_sender(const SequenceFix& fix, uint8_t* tcp, uint32_t header_bytes) {
  bool changed = false;
  for (uint32_t at = kTcpBytes; at < header_bytes;) {
    const uint8_t kind = tcp[at];
    if (kind == kOptionEnd) break;
    if (kind == kOptionNop) {
      at++;
      continue;
    }
    if (at + 1 >= header_bytes) break;
    const uint32_t length = tcp[at + 1];
    if (length < 2 || at + length > header_bytes) break;  // broken list: its reader stops here too
    if (kind == kOptionSack) changed |= fix_blocks(fix, tcp + at, length);
    at += length;
  }
  return changed;
}

}  // namespace uvs
