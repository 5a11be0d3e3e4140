// In: a program that makes frames. Does: runs it at the pace of a load. Next: the interface.
#include "live_frames.h"

#include <linux/bpf.h>
#include <net/if.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <cstring>
#include <ctime>

#include "frame.h"

namespace uvs::bench {
namespace {

constexpr uint32_t kMillisMax = 60000;
constexpr uint32_t kPpsMax = 100'000'000;
constexpr uint32_t kBatch = 64;  // frames between two flushes of the redirect queue
// Runs per system call: each sets up its own pages and waits for the kernel to be done with the
// ones before, so many.
constexpr uint32_t kRunsPerCall = 1 << 16;

void run(int program, uint32_t times) {
  const uint8_t frame[kFrameBytes] = {};
  bpf_attr attribute{};
  attribute.test.prog_fd = static_cast<uint32_t>(program);
  attribute.test.data_in = reinterpret_cast<uint64_t>(frame);
  attribute.test.data_size_in = kFrameBytes;
  attribute.test.repeat = times;
  attribute.test.flags = BPF_F_TEST_XDP_LIVE_FRAMES;
  attribute.test.batch_size = kBatch;
  if (::syscall(SYS_bpf, BPF_PROG_TEST_RUN, &attribute, sizeof attribute) == 0) return;
  if (errno != EINTR) fail_errno("bpf BPF_PROG_TEST_RUN (live frames need Linux 5.18)");
}

void sleep_until(uint64_t at_ns) {
  const timespec at{static_cast<time_t>(at_ns / 1'000'000'000),
                    static_cast<long>(at_ns % 1'000'000'000)};
  while (::clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, nullptr) == EINTR) continue;
}

}  // namespace

Load load_of(const Arguments& arguments) {
  return {arguments.number_or("millis", kMillisMax, kMillisMax),
          arguments.number_or("count", UINT32_MAX, UINT32_MAX),
          arguments.number_or("pps", kPpsMax, 0),
          arguments.number_or("burst", kRunsPerCall, kRunsPerCall)};
}

void start_frame(BpfAssembler& code, const uint8_t* pattern, uint32_t bytes,
                 BpfAssembler::Label drop) {
  code.load(Size::k32, Reg::r6, Reg::r1, offsetof(xdp_md, data));
  code.load(Size::k32, Reg::r7, Reg::r1, offsetof(xdp_md, data_end));
  code.move(Reg::r2, Reg::r6);
  code.op(Alu::kAdd, Reg::r2, static_cast<int32_t>(kFrameBytes));
  code.jump_if(Jump::kGreater, Reg::r2, Reg::r7, drop);
  for (uint32_t at = 0; at < bytes; at += 4) {
    int32_t word = 0;
    std::memcpy(&word, pattern + at, sizeof word);
    code.store(Size::k32, Reg::r6, static_cast<int16_t>(at), word);
  }
}

void fold_checksum(BpfAssembler& code, Reg reg) {
  for (int i = 0; i < 2; i++) {  // the first sum may carry
    code.move(Reg::r2, reg);
    code.op(Alu::kShiftRight, Reg::r2, 16);
    code.op(Alu::kAnd, reg, 0xffff);
    code.op(Alu::kAdd, reg, Reg::r2);
  }
  code.op(Alu::kXor, reg, 0xffff);
}

BpfProgram finish_frame(BpfAssembler& code, uint32_t ifindex, BpfAssembler::Label drop) {
  code.move(Reg::r1, static_cast<int32_t>(ifindex));
  code.move(Reg::r2, 0);
  code.call(BPF_FUNC_redirect);
  code.exit();
  code.bind(drop);
  code.move(Reg::r0, XDP_DROP);
  code.exit();
  return code.finish();
}

int send_frames(const BpfProgram& program, const Load& load) {
  IoError error;
  const UniqueFd fd = bpf_load(program, BPF_PROG_TYPE_XDP, "uvs_flood", &error);
  if (!fd.open()) fail(error.sentence);
  const uint64_t start = now_ns();
  uint64_t made = 0;
  uint64_t end = start;
  while (end - start < load.millis * 1'000'000 && made < load.count) {
    const uint64_t times = std::min<uint64_t>(load.burst, load.count - made);
    run(fd.get(), static_cast<uint32_t>(times));
    made += times;
    if (load.pps != 0) sleep_until(start + made * 1'000'000'000 / load.pps);
    end = now_ns();
  }
  std::printf("{\"made\":%llu,\"seconds\":%.6f}\n", static_cast<unsigned long long>(made),
              static_cast<double>(end - start) / 1e9);
  return 0;
}

uint32_t index_of(const std::string& device) {
  const uint32_t ifindex = ::if_nametoindex(device.c_str());
  if (ifindex == 0) fail_errno(device);
  return ifindex;
}

}  // namespace uvs::bench
