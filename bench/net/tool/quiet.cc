// In: a frame at ingress. Does: lets ARP on, drops the rest. Next: the host's stack, or nothing.
#include "quiet.h"

#include <linux/if_ether.h>
#include <linux/pkt_cls.h>
#include <net/if.h>

#include <cstddef>

#include "io/bpf.h"
#include "io/tc.h"
#include "tool.h"

namespace uvs::bench {
namespace {

BpfProgram drop_all_but_arp() {
  BpfAssembler code;
  const auto drop = code.label();
  code.load(Size::k32, Reg::r2, Reg::r1, offsetof(__sk_buff, protocol));
  code.to_host16(Reg::r2);
  code.jump_if(Jump::kNotEqual, Reg::r2, ETH_P_ARP, drop);
  code.move(Reg::r0, TC_ACT_OK);
  code.exit();
  code.bind(drop);
  code.move(Reg::r0, TC_ACT_SHOT);
  code.exit();
  return code.finish();
}

}  // namespace

Quiet::Quiet(const std::string& device)
    : device_(device), ifindex_(::if_nametoindex(device.c_str())) {
  if (ifindex_ == 0) fail_errno(device);
  IoError error;
  program_ = bpf_load(drop_all_but_arp(), BPF_PROG_TYPE_SCHED_CLS, "uvs_bench", &error);
  if (!program_.open()) fail(error.sentence);
  if (!attach_quiet(ifindex_, device_, program_.get(), &made_qdisc_, &error)) fail(error.sentence);
}

Quiet::~Quiet() {
  // The namespace is removed next; what could not be detached goes with it.
  IoError ignored;
  detach_quiet(ifindex_, device_, made_qdisc_, nullptr, &ignored);
}

}  // namespace uvs::bench
