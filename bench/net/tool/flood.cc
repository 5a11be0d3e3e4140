// In: a target and a load. Does: makes minimum-size frames: UDP of many flows, again and again, or
// a SYN of another client each time. Next: the interface (live_frames.h).
#include <linux/bpf.h>

#include "frame.h"
#include "live_frames.h"
#include "parse/bytes.h"
#include "tool.h"

namespace uvs::bench {
namespace {

// The sum behind the checksum of a pattern, which lacks what the program adds.
int32_t sum_at(const uint8_t* pattern, uint32_t at) {
  return static_cast<uint16_t>(~load16(pattern + at).host());
}

void store_folded(BpfAssembler& code, uint32_t at, Reg sum) {
  fold_checksum(code, sum);
  code.to_host16(sum);
  code.store(Size::k16, Reg::r6, static_cast<int16_t>(at), sum);
}

// Writes the pattern, whose source port is 0, and then the flow's own port and checksum.
BpfProgram datagram_maker(const uint8_t* pattern, uint32_t flows, uint32_t ifindex) {
  BpfAssembler code;
  const auto drop = code.label();
  const auto not_zero = code.label();
  start_frame(code, pattern, kUdpChecksumAt, drop);
  code.call(BPF_FUNC_get_prandom_u32);
  code.op(Alu::kMod, Reg::r0, static_cast<int32_t>(flows));
  code.op(Alu::kAdd, Reg::r0, static_cast<int32_t>(kFirstSourcePort));
  code.move(Reg::r8, Reg::r0);
  code.to_host16(Reg::r0);
  code.store(Size::k16, Reg::r6, kSourcePortAt, Reg::r0);
  code.op(Alu::kAdd, Reg::r8, sum_at(pattern, kUdpChecksumAt));
  fold_checksum(code, Reg::r8);
  code.jump_if(Jump::kNotEqual, Reg::r8, 0, not_zero);  // 0 would mean: none (RFC 768)
  code.move(Reg::r8, 0xffff);
  code.bind(not_zero);
  code.to_host16(Reg::r8);
  code.store(Size::k16, Reg::r6, kUdpChecksumAt, Reg::r8);
  return finish_frame(code, ifindex, drop);
}

// Writes the pattern, and then a client of its own: the lower half of its address and its port,
// 32 random bits but for the ports below kFirstSourcePort. Two in four billion are the same.
BpfProgram syn_maker(const uint8_t* pattern, uint32_t ifindex) {
  BpfAssembler code;
  const auto drop = code.label();
  start_frame(code, pattern, kFrameBytes, drop);
  code.call(BPF_FUNC_get_prandom_u32);
  code.move(Reg::r8, Reg::r0);
  code.op(Alu::kAnd, Reg::r8, 0xffff);  // address
  code.move(Reg::r9, Reg::r0);
  code.op(Alu::kShiftRight, Reg::r9, 16);
  code.op(Alu::kMod, Reg::r9, 0x10000 - kFirstSourcePort);
  code.op(Alu::kAdd, Reg::r9, kFirstSourcePort);  // port
  code.move(Reg::r1, Reg::r8);
  code.op(Alu::kAdd, Reg::r1, sum_at(pattern, kIpChecksumAt));
  store_folded(code, kIpChecksumAt, Reg::r1);
  code.move(Reg::r1, Reg::r8);
  code.op(Alu::kAdd, Reg::r1, Reg::r9);
  code.op(Alu::kAdd, Reg::r1, sum_at(pattern, kTcpChecksumAt));
  store_folded(code, kTcpChecksumAt, Reg::r1);
  code.to_host16(Reg::r8);
  code.store(Size::k16, Reg::r6, kSourceAddressAt + 2, Reg::r8);
  code.to_host16(Reg::r9);
  code.store(Size::k16, Reg::r6, kSourcePortAt, Reg::r9);
  return finish_frame(code, ifindex, drop);
}

FlowTarget target_of(const Arguments& arguments, const std::string& device) {
  FlowTarget target{};
  own_mac(device, target.from_mac);
  parse_mac(arguments.text("to-mac"), target.to_mac);
  target.from = arguments.address("from");
  target.to = arguments.address("to");
  target.port = static_cast<uint16_t>(arguments.number("port", UINT16_MAX));
  return target;
}

}  // namespace

int flood(const Arguments& arguments) {
  const std::string device = arguments.text("device");
  const uint32_t flows = arguments.number("flows", kFlowsMax);
  uint8_t pattern[64];
  write_frame(pattern, target_of(arguments, device), 0);
  return send_frames(datagram_maker(pattern, flows, index_of(device)), load_of(arguments));
}

int syn_flood(const Arguments& arguments) {
  const std::string device = arguments.text("device");
  uint8_t pattern[64];
  write_syn(pattern, target_of(arguments, device));
  return send_frames(syn_maker(pattern, index_of(device)), load_of(arguments));
}

}  // namespace uvs::bench
