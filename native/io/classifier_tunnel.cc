// In: an ICMP error being read. Does: writes how the classifier recognises errors about tunnel
// packets of the director (table in classifier_program.h). Next: classifier_program.cc goes on.
#include <linux/if_ether.h>
#include <netinet/in.h>

#include "io/classifier_writer.h"

namespace uvs::classifier {

// Falls through when the error is not to the director or not about a packet to a tunnel's end.
// kOffset is behind the quoted IP header; the ends and ports stay then.
void Writer::tunnel_error() {
  const Label has_port = a_.label();
  const Label look = a_.label();
  const Label gre = a_.label();
  const Label opened = a_.label();
  const Label none = a_.label();
  a_.jump_if(Jump::kEqual, kProtocol, IPPROTO_UDP, has_port);
  a_.store(Size::k16, Reg::fp, kKeyPort, 0);
  a_.jump_if(Jump::kEqual, kProtocol, IPPROTO_IPIP, look);
  a_.jump_if(Jump::kNotEqual, kProtocol, IPPROTO_GRE, none);
  a_.jump(look);
  a_.bind(has_port);
  key_port(kDestinationPort);
  a_.bind(look);
  key_address(kDestinationEnd);
  a_.store(Size::k8, Reg::fp, kKeyProtocol, kProtocol);
  find(EntryKind::kTunnel);
  a_.jump_if(Jump::kEqual, Reg::r0, 0, none);
  find_address(kOuter, EntryKind::kHost);
  a_.jump_if(Jump::kEqual, Reg::r0, 0, none);
  a_.jump_if(Jump::kEqual, kProtocol, IPPROTO_IPIP, opened);
  a_.jump_if(Jump::kEqual, kProtocol, IPPROTO_GRE, gre);
  open_gue(none);
  a_.jump(opened);
  a_.bind(gre);
  open_gre(opened, none);
  a_.bind(opened);
  ip4(unwanted_, nullptr);
  unless_transport(unwanted_);
  read_config();
  request_flags(kDestinationEnd, kDestinationPort);
  by_client(kSourceEnd, kSourcePort, Action::kKeep);
  a_.bind(none);
}

// Moves kOffset over a GRE header of IPv4 that has at most a checksum (forward/tunnel_error.cc).
void Writer::open_gre(Label opened, Label none) {
  read(kHeader, 4, none);
  a_.op(Alu::kAdd, kOffset, 4);
  a_.load(Size::k16, Reg::r1, Reg::fp, kHeader + 2);
  a_.jump_if(Jump::kNotEqual, Reg::r1, network16(ETH_P_IP), none);
  a_.load(Size::k16, Reg::r1, Reg::fp, kHeader);
  a_.jump_if(Jump::kEqual, Reg::r1, 0, opened);
  a_.jump_if(Jump::kNotEqual, Reg::r1, network16(0x8000), none);
  a_.op(Alu::kAdd, kOffset, 4);
}

// The same over UDP and GUE: version 0, no control message, IPv4 inside.
void Writer::open_gue(Label none) {
  read(kHeader, 12, none);
  a_.load(Size::k8, Reg::r1, Reg::fp, kHeader + 9);
  a_.jump_if(Jump::kNotEqual, Reg::r1, IPPROTO_IPIP, none);
  a_.load(Size::k8, Reg::r1, Reg::fp, kHeader + 8);
  a_.jump_if(Jump::kGreater, Reg::r1, 0x1f, none);
  a_.op(Alu::kShiftLeft, Reg::r1, 2);  // option words
  a_.op(Alu::kAdd, kOffset, Reg::r1);
  a_.op(Alu::kAdd, kOffset, 12);
}

}  // namespace uvs::classifier
