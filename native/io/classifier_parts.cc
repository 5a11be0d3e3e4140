// In: offsets of addresses and ports on the stack. Does: emits the look-up of marked ends.
// Next: classifier_program.cc puts it into its programs.
#include "io/classifier_parts.h"

#include <cstddef>

#include "io/classifier_program.h"
#include "io/marked_ends.h"

namespace uvs {
namespace {

using Label = BpfAssembler::Label;

constexpr int32_t kMappedPrefix = static_cast<int32_t>(0xffff0000);  // ::ffff:0:0/96, third word

// The chunk's key, then the prefix's, whose address is aligned to 8.
constexpr int16_t kPrefixKey = 12;
static_assert(sizeof(MarkChunkKey) <= kPrefixKey);
static_assert(kPrefixKey + sizeof(MarkPrefixKey) == kMarkKeyBytes);

int16_t at(int base, size_t offset) {
  return static_cast<int16_t>(base + static_cast<int>(offset));
}

}  // namespace

void MarkLookup::find(BpfAssembler& a, int16_t address, int16_t port, Label found) const {
  const Label none = a.label();
  const int16_t key = at(keys, kPrefixKey);
  a.load(Size::k32, Reg::r1, config, offsetof(ClassifierConfig, marked_prefixes));
  a.jump_if(Jump::kEqual, Reg::r1, 0, none);
  a.store(Size::k32, Reg::fp, at(key, offsetof(MarkPrefixKey, bits)), 128);
  for (size_t half = 0; half < sizeof(Addr); half += 8) {
    a.load(Size::k64, Reg::r1, Reg::fp, at(address, half));
    a.store(Size::k64, Reg::fp, at(key, offsetof(MarkPrefixKey, address) + half), Reg::r1);
  }
  a.load_map(Reg::r1, prefixes_map);
  a.move(Reg::r2, Reg::fp);
  a.op(Alu::kAdd, Reg::r2, key);
  a.call(BPF_FUNC_map_lookup_elem);
  a.jump_if(Jump::kEqual, Reg::r0, 0, none);
  a.load(Size::k32, Reg::r1, Reg::r0, 0);
  find_port(a, port, found, none);
  a.bind(none);
}

void MarkLookup::find_anywhere(BpfAssembler& a, int16_t address, int16_t port, Label found) const {
  const Label ip6 = a.label();
  const Label search = a.label();
  const Label none = a.label();
  a.load(Size::k64, Reg::r2, Reg::fp, address);
  a.jump_if(Jump::kNotEqual, Reg::r2, 0, ip6);
  a.load(Size::k32, Reg::r2, Reg::fp, at(address, 8));
  a.move64(Reg::r3, static_cast<uint32_t>(kMappedPrefix));
  a.jump_if(Jump::kNotEqual, Reg::r2, Reg::r3, ip6);
  a.load(Size::k32, Reg::r1, config, offsetof(ClassifierConfig, marked_any4));
  a.jump(search);
  a.bind(ip6);
  a.load(Size::k32, Reg::r1, config, offsetof(ClassifierConfig, marked_any6));
  a.bind(search);
  a.jump_if(Jump::kEqual, Reg::r1, 0, none);
  find_port(a, port, found, none);
  a.bind(none);
}

// Looks for a port of the packet's protocol in the group of r1.
void MarkLookup::find_port(BpfAssembler& a, int16_t port, Label found, Label none) const {
  static_assert(kMarkChunkPorts == 1 << 11);
  a.store(Size::k32, Reg::fp, at(keys, offsetof(MarkChunkKey, group)), Reg::r1);
  a.store(Size::k8, Reg::fp, at(keys, offsetof(MarkChunkKey, protocol)), protocol);
  a.load(Size::k16, Reg::r1, Reg::fp, port);
  a.to_host16(Reg::r1);
  a.op(Alu::kShiftRight, Reg::r1, 11);
  a.store(Size::k8, Reg::fp, at(keys, offsetof(MarkChunkKey, chunk)), Reg::r1);
  a.store(Size::k16, Reg::fp, at(keys, offsetof(MarkChunkKey, zero)), 0);
  a.load_map(Reg::r1, chunks_map);
  a.move(Reg::r2, Reg::fp);
  a.op(Alu::kAdd, Reg::r2, keys);
  a.call(BPF_FUNC_map_lookup_elem);
  a.jump_if(Jump::kEqual, Reg::r0, 0, none);
  a.load(Size::k16, Reg::r1, Reg::fp, port);
  a.to_host16(Reg::r1);
  a.move(Reg::r2, Reg::r1);
  a.op(Alu::kShiftRight, Reg::r2, 3);
  a.op(Alu::kAnd, Reg::r2, static_cast<int32_t>(kMarkChunkPorts / 8 - 1));
  a.op(Alu::kAdd, Reg::r0, Reg::r2);
  a.load(Size::k8, Reg::r3, Reg::r0, 0);
  a.op(Alu::kAnd, Reg::r1, 7);
  a.op(Alu::kShiftRight, Reg::r3, Reg::r1);
  a.jump_if(Jump::kAnyBit, Reg::r3, 1, found);
}

}  // namespace uvs
