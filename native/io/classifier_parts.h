// The look-up of what mark rules select, a part of the classifier's programs that stands alone: it
// emits instructions and holds nothing.
#pragma once
#include <cstdint>

#include "io/bpf.h"

namespace uvs {

// Stack that MarkLookup needs, on a multiple of 8: its two keys.
constexpr int16_t kMarkKeyBytes = 32;

// Where the look-up finds what it needs; the two maps are those of io/marked_ends.h.
struct MarkLookup {
  int prefixes_map;
  int chunks_map;
  Reg config;    // ClassifierConfig
  Reg protocol;  // of the packet
  int16_t keys;  // offset of kMarkKeyBytes

  // Jumps to `found` when rules that name destinations select the Addr and port at these offsets.
  void find(BpfAssembler& a, int16_t address, int16_t port, BpfAssembler::Label found) const;
  // The same for rules that name none; `address` says which family it is.
  void find_anywhere(BpfAssembler& a, int16_t address, int16_t port,
                     BpfAssembler::Label found) const;

 private:
  void find_port(BpfAssembler& a, int16_t port, BpfAssembler::Label found,
                 BpfAssembler::Label none) const;
};

}  // namespace uvs
