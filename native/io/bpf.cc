// In: instructions by name, and wishes for bpf(2). Does: writes struct bpf_insn with its jumps
// filled in, and the few commands of union bpf_attr; no libbpf, which is larger than what is needed
// of it. Next: classifier.cc holds what came of it.
#include "io/bpf.h"

#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cassert>
#include <cerrno>
#include <cstring>
#include <string>

namespace uvs {
namespace {

constexpr uint32_t kLogBytes = 1 << 20;

long bpf(bpf_cmd command, bpf_attr* attribute) {
  return ::syscall(SYS_bpf, command, attribute, sizeof *attribute);
}

uint64_t pointer(const void* p) { return reinterpret_cast<uint64_t>(p); }

uint8_t number(Reg reg) { return static_cast<uint8_t>(reg); }

void set_name(char (&to)[BPF_OBJ_NAME_LEN], const char* name) {
  std::strncpy(to, name, sizeof to - 1);
}

// Before Linux 5.11 maps and programs count as locked memory, of which the default allows little.
void allow_locked_memory() {
  const rlimit unlimited{RLIM_INFINITY, RLIM_INFINITY};
  ::setrlimit(RLIMIT_MEMLOCK, &unlimited);
}

// The last lines of a verifier log: the instruction it stopped at and why.
std::string last_words(const std::string& log) {
  constexpr size_t kEnough = 400;
  const size_t from = log.size() > kEnough ? log.size() - kEnough : 0;
  return log.substr(from);
}

/**
 * BPF_PROG_LOAD with signals held back: the verifier gives up with EAGAIN as soon as one waits for
 * the thread (kernel/bpf/verifier.c do_check), and there is nothing wrong with the program then.
 */
UniqueFd load_undisturbed(bpf_attr* attribute) {
  sigset_t all;
  sigset_t before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  UniqueFd fd(static_cast<int>(bpf(BPF_PROG_LOAD, attribute)));
  const int number = errno;
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  errno = number;
  return fd;
}

}  // namespace

BpfAssembler::Label BpfAssembler::label() {
  labels_.push_back(kUnbound);
  return Label{static_cast<uint32_t>(labels_.size() - 1)};
}

void BpfAssembler::bind(Label label) {
  assert(labels_[label.id] == kUnbound);
  labels_[label.id] = static_cast<uint32_t>(instructions_.size());
}

void BpfAssembler::emit(uint8_t code, uint8_t destination, uint8_t source, int16_t offset,
                        int32_t immediate) {
  bpf_insn instruction{};
  instruction.code = code;
  instruction.dst_reg = destination & 0xf;
  instruction.src_reg = source & 0xf;
  instruction.off = offset;
  instruction.imm = immediate;
  instructions_.push_back(instruction);
}

void BpfAssembler::op(Alu op, Reg destination, Reg source) {
  emit(static_cast<uint8_t>(BPF_ALU64 | BPF_X | static_cast<uint8_t>(op)), number(destination),
       number(source), 0, 0);
}

void BpfAssembler::op(Alu op, Reg destination, int32_t immediate) {
  emit(static_cast<uint8_t>(BPF_ALU64 | BPF_K | static_cast<uint8_t>(op)), number(destination), 0,
       0, immediate);
}

void BpfAssembler::move64(Reg destination, uint64_t immediate) {
  emit(BPF_LD | BPF_DW | BPF_IMM, number(destination), 0, 0, static_cast<int32_t>(immediate));
  emit(0, 0, 0, 0, static_cast<int32_t>(immediate >> 32));
}

void BpfAssembler::load_map(Reg destination, int map) {
  emit(BPF_LD | BPF_DW | BPF_IMM, number(destination), BPF_PSEUDO_MAP_FD, 0, map);
  emit(0, 0, 0, 0, 0);
}

void BpfAssembler::to_host16(Reg reg) {
  emit(BPF_ALU | BPF_END | BPF_TO_BE, number(reg), 0, 0, 16);
}

void BpfAssembler::load(Size size, Reg destination, Reg base, int16_t offset) {
  emit(static_cast<uint8_t>(BPF_LDX | BPF_MEM | static_cast<uint8_t>(size)), number(destination),
       number(base), offset, 0);
}

void BpfAssembler::store(Size size, Reg base, int16_t offset, Reg source) {
  emit(static_cast<uint8_t>(BPF_STX | BPF_MEM | static_cast<uint8_t>(size)), number(base),
       number(source), offset, 0);
}

void BpfAssembler::store(Size size, Reg base, int16_t offset, int32_t immediate) {
  emit(static_cast<uint8_t>(BPF_ST | BPF_MEM | static_cast<uint8_t>(size)), number(base), 0, offset,
       immediate);
}

void BpfAssembler::emit_jump(uint8_t code, uint8_t destination, uint8_t source, int32_t immediate,
                             Label target) {
  fixups_.push_back({static_cast<uint32_t>(instructions_.size()), target});
  emit(code, destination, source, 0, immediate);
}

void BpfAssembler::jump(Label target) { emit_jump(BPF_JMP | BPF_JA, 0, 0, 0, target); }

void BpfAssembler::jump_if(Jump test, Reg left, int32_t right, Label target) {
  emit_jump(static_cast<uint8_t>(BPF_JMP | BPF_K | static_cast<uint8_t>(test)), number(left), 0,
            right, target);
}

void BpfAssembler::jump_if(Jump test, Reg left, Reg right, Label target) {
  emit_jump(static_cast<uint8_t>(BPF_JMP | BPF_X | static_cast<uint8_t>(test)), number(left),
            number(right), 0, target);
}

void BpfAssembler::call(int32_t helper) { emit(BPF_JMP | BPF_CALL, 0, 0, 0, helper); }

void BpfAssembler::exit() { emit(BPF_JMP | BPF_EXIT, 0, 0, 0, 0); }

BpfProgram BpfAssembler::finish() {
  for (const Fixup& fixup : fixups_) {
    const uint32_t target = labels_[fixup.target.id];
    assert(target != kUnbound && target > fixup.at && target - fixup.at - 1 <= INT16_MAX);
    instructions_[fixup.at].off = static_cast<int16_t>(target - fixup.at - 1);
  }
  return BpfProgram{instructions_};
}

UniqueFd bpf_load(const BpfProgram& program, bpf_prog_type type, const char* name, IoError* error) {
  bpf_attr attribute{};
  attribute.prog_type = type;
  attribute.insns = pointer(program.instructions.data());
  attribute.insn_cnt = static_cast<uint32_t>(program.instructions.size());
  attribute.license = pointer("Apache-2.0");
  set_name(attribute.prog_name, name);
  UniqueFd fd = load_undisturbed(&attribute);
  if (fd.open()) return fd;
  *error = system_error("bpf BPF_PROG_LOAD", name);
  if (error->number == EPERM) return fd;
  std::string log(kLogBytes, '\0');
  attribute.log_level = 1;
  attribute.log_buf = pointer(log.data());
  attribute.log_size = kLogBytes;
  fd = load_undisturbed(&attribute);
  if (fd.open()) return fd;
  error->sentence += ": " + last_words(std::string(log.c_str()));
  return fd;
}

UniqueFd bpf_create_map(bpf_map_type type, uint32_t key_bytes, uint32_t value_bytes,
                        uint32_t entries, const char* name, IoError* error, uint32_t flags) {
  allow_locked_memory();
  bpf_attr attribute{};
  attribute.map_type = type;
  attribute.key_size = key_bytes;
  attribute.value_size = value_bytes;
  attribute.max_entries = entries;
  attribute.map_flags = flags;
  set_name(attribute.map_name, name);
  UniqueFd fd(static_cast<int>(bpf(BPF_MAP_CREATE, &attribute)));
  if (!fd.open()) *error = system_error("bpf BPF_MAP_CREATE", name);
  return fd;
}

bool bpf_set(int map, const void* key, const void* value, IoError* error) {
  bpf_attr attribute{};
  attribute.map_fd = static_cast<uint32_t>(map);
  attribute.key = pointer(key);
  attribute.value = pointer(value);
  attribute.flags = BPF_ANY;
  if (bpf(BPF_MAP_UPDATE_ELEM, &attribute) == 0) return true;
  *error = system_error("bpf BPF_MAP_UPDATE_ELEM", "classifier");
  return false;
}

bool bpf_remove(int map, const void* key, IoError* error) {
  bpf_attr attribute{};
  attribute.map_fd = static_cast<uint32_t>(map);
  attribute.key = pointer(key);
  if (bpf(BPF_MAP_DELETE_ELEM, &attribute) == 0 || errno == ENOENT) return true;
  *error = system_error("bpf BPF_MAP_DELETE_ELEM", "classifier");
  return false;
}

bool bpf_run(int program, const uint8_t* frame, size_t bytes, uint32_t* result) {
  bpf_attr attribute{};
  attribute.test.prog_fd = static_cast<uint32_t>(program);
  attribute.test.data_in = pointer(frame);
  attribute.test.data_size_in = static_cast<uint32_t>(bytes);
  attribute.test.repeat = 1;
  if (bpf(BPF_PROG_TEST_RUN, &attribute) != 0) return false;
  *result = attribute.test.retval;
  return true;
}

}  // namespace uvs
