// In: a frame whose IP header was read. Does: the part of the classifier (table in
// classifier_program.h) for parts of datagrams and for echo requests.
// Next: classifier_program.cc puts it into the program.
#include <netinet/in.h>

#include <initializer_list>

#include "io/classifier_writer.h"

namespace uvs::classifier {

// The protocols that parse/parse.cc keeps fragments of.
void Writer::parts(Label of_ip4, Label of_ip6, Label wanted, Label of_ipsec) {
  a_.bind(of_ip4);
  for (const int protocol : {IPPROTO_TCP, IPPROTO_UDP, IPPROTO_SCTP, IPPROTO_ICMP}) {
    a_.jump_if(Jump::kEqual, kProtocol, protocol, wanted);
  }
  a_.jump_if(Jump::kEqual, kProtocol, IPPROTO_AH, of_ipsec);
  a_.jump_if(Jump::kEqual, kProtocol, IPPROTO_ESP, of_ipsec);
  a_.jump(unwanted_);
  a_.bind(of_ip6);
  a_.jump_if(Jump::kEqual, kProtocol, IPPROTO_ESP, of_ipsec);
  for (const int protocol :
       std::initializer_list<int>{IPPROTO_TCP, IPPROTO_UDP, IPPROTO_SCTP, IPPROTO_ICMPV6,
                                  IPPROTO_ROUTING, IPPROTO_AH, IPPROTO_DSTOPTS}) {
    a_.jump_if(Jump::kEqual, kProtocol, protocol, wanted);
  }
  a_.jump(unwanted_);
}

// A part of a datagram: only the first would have ports, so addresses decide, and all parts go to
// one worker. What it was a part of is found out there (native/core_fragments.cc).
void Writer::fragment() {
  const Label request = a_.label();
  const Label reply = a_.label();
  const Label to_local = a_.label();
  require_host_frame();
  find_address(kDestinationEnd, EntryKind::kVirtual);
  a_.jump_if(Jump::kNotEqual, Reg::r0, 0, request);
  find_address(kSourceEnd, EntryKind::kFragmentSource);
  a_.jump_if(Jump::kEqual, Reg::r0, 0, unwanted_);
  a_.load(Size::k32, kFlags, Reg::r0, 0);
  const Label fullnat = a_.label();
  a_.jump_if(Jump::kAnyBit, kFlags, static_cast<int32_t>(kEntryFullnat), fullnat);
  a_.jump(reply);
  a_.bind(fullnat);
  find_address(kDestinationEnd, EntryKind::kLocalAddress);
  a_.jump_if(Jump::kNotEqual, Reg::r0, 0, to_local);
  a_.bind(reply);
  a_.op(Alu::kAnd, kFlags, static_cast<int32_t>(kEntryMasquerade));
  a_.jump_if(Jump::kEqual, kFlags, 0, unwanted_);
  find_address(kDestinationEnd, EntryKind::kHost);
  a_.jump_if(Jump::kNotEqual, Reg::r0, 0, unwanted_);
  a_.bind(to_local);
  by_client(kDestinationEnd, kNoPort, Action::kTake);
  a_.bind(request);
  by_client(kSourceEnd, kNoPort, Action::kTake);
}

// A question whether an announced address is alive: nobody but uvs can answer it.
void Writer::echo() {
  require_host_frame();
  find_address(kDestinationEnd, EntryKind::kAnnounce);
  a_.jump_if(Jump::kEqual, Reg::r0, 0, unwanted_);
  wanted(Action::kTake);
}

}  // namespace uvs::classifier
