// eBPF without libraries: a small assembler with labels, and the few bpf(2) commands uvs needs.
// Instruction set: Documentation/bpf/standardization/instruction-set.rst.
#pragma once
#include <linux/bpf.h>

#include <cstddef>
#include <cstdint>
#include <vector>

#include "io/io_error.h"
#include "io/unique_fd.h"

namespace uvs {

// A finished program: instructions ready for bpf(2).
struct BpfProgram {
  std::vector<bpf_insn> instructions;
};

// Registers: r0 result, r1-r5 arguments (lost at calls), r6-r9 kept, fp end of the 512-byte stack.
enum class Reg : uint8_t { r0, r1, r2, r3, r4, r5, r6, r7, r8, r9, fp };

enum class Size : uint8_t { k8 = BPF_B, k16 = BPF_H, k32 = BPF_W, k64 = BPF_DW };

enum class Alu : uint8_t {
  kAdd = BPF_ADD,
  kSub = BPF_SUB,
  kMul = BPF_MUL,
  kMod = BPF_MOD,
  kAnd = BPF_AND,
  kOr = BPF_OR,
  kXor = BPF_XOR,
  kShiftLeft = BPF_LSH,
  kShiftRight = BPF_RSH,
  kMove = BPF_MOV,
};

// Unsigned comparisons of 64-bit values; immediates are sign-extended from 32 bits.
enum class Jump : uint8_t {
  kEqual = BPF_JEQ,
  kNotEqual = BPF_JNE,
  kLess = BPF_JLT,
  kLessEqual = BPF_JLE,
  kGreater = BPF_JGT,
  kGreaterEqual = BPF_JGE,
  kAnyBit = BPF_JSET,
};

class BpfAssembler {
 public:
  // A place to jump to: made with label(), put somewhere with bind(), jumped to from anywhere
  // before. Every label that is jumped to must be bound (finish() asserts it).
  struct Label {
    uint32_t id;
  };
  Label label();
  void bind(Label label);

  void op(Alu op, Reg destination, Reg source);         // 64 bits
  void op(Alu op, Reg destination, int32_t immediate);  // 64 bits, sign-extended
  void move(Reg destination, Reg source) { op(Alu::kMove, destination, source); }
  void move(Reg destination, int32_t immediate) { op(Alu::kMove, destination, immediate); }
  void move64(Reg destination, uint64_t immediate);
  void load_map(Reg destination, int map);  // address of a map, by borrowed descriptor
  void to_host16(Reg reg);                  // network order to host order
  void load(Size size, Reg destination, Reg base, int16_t offset);
  void store(Size size, Reg base, int16_t offset, Reg source);
  void store(Size size, Reg base, int16_t offset, int32_t immediate);
  void jump(Label target);
  void jump_if(Jump test, Reg left, int32_t right, Label target);
  void jump_if(Jump test, Reg left, Reg right, Label target);
  void call(int32_t helper);  // BPF_FUNC_*
  void exit();

  BpfProgram finish();

 private:
  void emit(uint8_t code, uint8_t destination, uint8_t source, int16_t offset, int32_t immediate);
  void emit_jump(uint8_t code, uint8_t destination, uint8_t source, int32_t immediate,
                 Label target);

  static constexpr uint32_t kUnbound = UINT32_MAX;
  struct Fixup {
    uint32_t at;
    Label target;
  };
  std::vector<bpf_insn> instructions_;
  std::vector<uint32_t> labels_;  // instruction number, kUnbound
  std::vector<Fixup> fixups_;
};

// Loads a program; `name` at most 15 of [A-Za-z0-9_.]. On refusal by the verifier the error's
// sentence ends with the verifier's last words.
UniqueFd bpf_load(const BpfProgram& program, bpf_prog_type type, const char* name, IoError* error);

UniqueFd bpf_create_map(bpf_map_type type, uint32_t key_bytes, uint32_t value_bytes,
                        uint32_t entries, const char* name, IoError* error,
                        uint32_t flags = 0);  // BPF_F_*

// Sets or adds an element; E2BIG: the map is full.
bool bpf_set(int map, const void* key, const void* value, IoError* error);

// Removes an element; one that is not there is no error.
bool bpf_remove(int map, const void* key, IoError* error);

// Runs a loaded program once over an Ethernet frame of at least 14 bytes (BPF_PROG_TEST_RUN).
// False: the kernel refused; errno says why.
bool bpf_run(int program, const uint8_t* frame, size_t bytes, uint32_t* result);

}  // namespace uvs
