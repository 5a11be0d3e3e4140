// In: ends on the stack of a program. Does: writes what names their worker, line by line as
// steering.cc does. Next: classifier_program.cc ends its programs with it.
#include "io/steering_program.h"

#include "io/steering.h"

namespace uvs {

void steer_by_client(BpfAssembler& a, int16_t address, int16_t port, uint32_t workers) {
  const auto fold = [&a] {
    a.move(Reg::r1, Reg::r0);
    a.op(Alu::kShiftRight, Reg::r1, 32);
    a.op(Alu::kXor, Reg::r0, Reg::r1);
  };
  const auto multiply = [&a](uint64_t by) {
    a.move64(Reg::r1, by);
    a.op(Alu::kMul, Reg::r0, Reg::r1);
  };
  a.load(Size::k64, Reg::r0, Reg::fp, address);
  multiply(kSteerMultiply[0]);
  fold();
  a.load(Size::k64, Reg::r1, Reg::fp, static_cast<int16_t>(address + 8));
  a.op(Alu::kXor, Reg::r0, Reg::r1);
  fold();
  multiply(kSteerMultiply[1]);
  fold();
  if (port != 0) {
    a.load(Size::k16, Reg::r1, Reg::fp, port);
    a.op(Alu::kAdd, Reg::r0, Reg::r1);
  }
  multiply(kSteerMultiply[2]);
  fold();
  a.op(Alu::kShiftLeft, Reg::r0, 32);
  a.op(Alu::kShiftRight, Reg::r0, 32);
  a.op(Alu::kMod, Reg::r0, static_cast<int32_t>(workers));
  a.exit();
}

void steer_by_local_port(BpfAssembler& a, int16_t port, uint32_t workers) {
  a.load(Size::k16, Reg::r0, Reg::fp, port);
  a.to_host16(Reg::r0);
  a.op(Alu::kAnd, Reg::r0, static_cast<int32_t>(local_port_mask(workers)));
  a.op(Alu::kMod, Reg::r0, static_cast<int32_t>(workers));
  a.exit();
}

}  // namespace uvs
