// In: a target and a time. Does: makes minimum-size UDP frames of many flows, as fast as it can.
// Next: the interface; its peer sees them as received.
//
// The frames are made in the kernel: an XDP program that writes one frame of a random flow and
// redirects it to the interface is run in a loop (BPF_F_TEST_XDP_LIVE_FRAMES, Linux 5.18;
// Documentation/bpf/bpf_prog_run.rst). A packet socket with sendmmsg needs as much time per frame
// as the forwarders that are measured need, so that fast ones would only wait for it.
#include <linux/bpf.h>
#include <net/if.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <cstring>

#include "frame.h"
#include "io/bpf.h"
#include "parse/bytes.h"
#include "tool.h"

namespace uvs::bench {
namespace {

constexpr uint32_t kMillisMax = 60000;
constexpr uint32_t kBatch = 64;  // frames between two flushes of the redirect queue
// Runs per system call: each sets up its own pages, so many; the clock is read in between.
constexpr uint32_t kRunsPerCall = 1 << 16;

// Writes the pattern, whose source port is 0, and then the flow's own port and checksum. Frames are
// used again and again and come back changed, so that everything is written every time.
BpfProgram frame_maker(const uint8_t* pattern, uint32_t flows, uint32_t ifindex) {
  BpfAssembler code;
  const auto drop = code.label();
  const auto not_zero = code.label();
  code.load(Size::k32, Reg::r6, Reg::r1, offsetof(xdp_md, data));
  code.load(Size::k32, Reg::r7, Reg::r1, offsetof(xdp_md, data_end));
  code.move(Reg::r2, Reg::r6);
  code.op(Alu::kAdd, Reg::r2, static_cast<int32_t>(kFrameBytes));
  code.jump_if(Jump::kGreater, Reg::r2, Reg::r7, drop);
  for (uint32_t at = 0; at < kUdpChecksumAt; at += 4) {
    int32_t word = 0;
    std::memcpy(&word, pattern + at, sizeof word);
    code.store(Size::k32, Reg::r6, static_cast<int16_t>(at), word);
  }
  code.call(BPF_FUNC_get_prandom_u32);
  code.op(Alu::kMod, Reg::r0, static_cast<int32_t>(flows));
  code.op(Alu::kAdd, Reg::r0, static_cast<int32_t>(kFirstSourcePort));
  code.move(Reg::r8, Reg::r0);
  code.to_host16(Reg::r0);
  code.store(Size::k16, Reg::r6, kSourcePortAt, Reg::r0);
  // RFC 1071: the sum without the port is the complement of the pattern's checksum.
  const uint32_t sum = static_cast<uint16_t>(~load16(pattern + kUdpChecksumAt).host());
  code.op(Alu::kAdd, Reg::r8, static_cast<int32_t>(sum));
  code.move(Reg::r2, Reg::r8);
  code.op(Alu::kShiftRight, Reg::r2, 16);
  code.op(Alu::kAnd, Reg::r8, 0xffff);
  code.op(Alu::kAdd, Reg::r8, Reg::r2);
  code.op(Alu::kXor, Reg::r8, 0xffff);
  code.jump_if(Jump::kNotEqual, Reg::r8, 0, not_zero);
  code.move(Reg::r8, 0xffff);
  code.bind(not_zero);
  code.to_host16(Reg::r8);
  code.store(Size::k16, Reg::r6, kUdpChecksumAt, Reg::r8);
  code.move(Reg::r1, static_cast<int32_t>(ifindex));
  code.move(Reg::r2, 0);
  code.call(BPF_FUNC_redirect);
  code.exit();
  code.bind(drop);
  code.move(Reg::r0, XDP_DROP);
  code.exit();
  return code.finish();
}

// Makes kRunsPerCall frames.
void run(int program, const uint8_t* frame) {
  bpf_attr attribute{};
  attribute.test.prog_fd = static_cast<uint32_t>(program);
  attribute.test.data_in = reinterpret_cast<uint64_t>(frame);
  attribute.test.data_size_in = kFrameBytes;
  attribute.test.repeat = kRunsPerCall;
  attribute.test.flags = BPF_F_TEST_XDP_LIVE_FRAMES;
  attribute.test.batch_size = kBatch;
  if (::syscall(SYS_bpf, BPF_PROG_TEST_RUN, &attribute, sizeof attribute) == 0) return;
  if (errno != EINTR) fail_errno("bpf BPF_PROG_TEST_RUN (live frames need Linux 5.18)");
}

}  // namespace

int flood(const Arguments& arguments) {
  FlowTarget target{};
  const std::string device = arguments.text("device");
  own_mac(device, target.from_mac);
  parse_mac(arguments.text("to-mac"), target.to_mac);
  target.from = arguments.address("from");
  target.to = arguments.address("to");
  target.port = static_cast<uint16_t>(arguments.number("port", UINT16_MAX));
  const uint32_t flows = arguments.number("flows", kFlowsMax);
  const uint64_t limit_ns = uint64_t{arguments.number("millis", kMillisMax)} * 1'000'000;
  const uint32_t ifindex = ::if_nametoindex(device.c_str());
  if (ifindex == 0) fail_errno(device);

  uint8_t pattern[64];
  write_frame(pattern, target, 0);
  IoError error;
  const UniqueFd program =
      bpf_load(frame_maker(pattern, flows, ifindex), BPF_PROG_TYPE_XDP, "uvs_flood", &error);
  if (!program.open()) fail(error.sentence);
  const uint64_t start = now_ns();
  uint64_t made = 0;
  uint64_t end = start;
  while (end - start < limit_ns) {
    run(program.get(), pattern);
    made += kRunsPerCall;
    end = now_ns();
  }
  std::printf("{\"made\":%llu,\"seconds\":%.6f}\n", static_cast<unsigned long long>(made),
              static_cast<double>(end - start) / 1e9);
  return 0;
}

}  // namespace uvs::bench
