// In: the maps. Does: writes the classifier (table in classifier_program.h) as eBPF.
// Next: classifier.cc loads it; the kernel runs it once or twice per frame.
//
// Offsets count from the network header, which is set at all three hooks while the start of the
// data differs (socket filter: Ethernet header; fanout and TUN: IP header; tc: Ethernet header).
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/pkt_cls.h>
#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <netinet/ip_icmp.h>

#include <cstddef>
#include <utility>

#include "io/classifier_writer.h"
#include "io/steering_program.h"

namespace uvs::classifier {

BpfProgram Writer::write() {
  unwanted_ = a_.label();
  const Label is_ip4 = a_.label();
  const Label is_ip6 = a_.label();
  const Label is_flow = a_.label();
  const Label is_icmp6 = a_.label();
  const Label is_fragment = a_.label();
  const Label is_ipsec = a_.label();
  const Label in_fragments4 = a_.label();
  const Label in_fragments6 = a_.label();
  a_.move(kContext, Reg::r1);
  if (use_ != ClassifierUse::kSteer) {
    a_.load(Size::k32, Reg::r0, kContext, offsetof(__sk_buff, vlan_present));
    a_.jump_if(Jump::kNotEqual, Reg::r0, 0, unwanted_);
    // From here on PACKET_HOST, BROADCAST, MULTICAST; not what merely passes by or leaves.
    a_.load(Size::k32, Reg::r0, kContext, offsetof(__sk_buff, pkt_type));
    a_.jump_if(Jump::kGreaterEqual, Reg::r0, PACKET_OTHERHOST, unwanted_);
  }
  a_.store(Size::k32, Reg::fp, kKeyZero, 0);
  a_.move(kOffset, 0);
  a_.load(Size::k32, Reg::r0, kContext, offsetof(__sk_buff, protocol));
  a_.jump_if(Jump::kEqual, Reg::r0, network16(ETH_P_IP), is_ip4);
  a_.jump_if(Jump::kEqual, Reg::r0, network16(ETH_P_IPV6), is_ip6);
  a_.jump_if(Jump::kNotEqual, Reg::r0, network16(ETH_P_ARP), unwanted_);
  arp();

  a_.bind(is_ip4);
  if (use_ == ClassifierUse::kQuiet) drop_announced(20, 16, 4);
  ip4(unwanted_, &in_fragments4);
  a_.jump_if(Jump::kEqual, kProtocol, IPPROTO_TCP, is_flow);
  a_.jump_if(Jump::kEqual, kProtocol, IPPROTO_UDP, is_flow);
  a_.jump_if(Jump::kEqual, kProtocol, IPPROTO_SCTP, is_flow);
  a_.jump_if(Jump::kEqual, kProtocol, IPPROTO_ESP, is_ipsec);
  a_.jump_if(Jump::kEqual, kProtocol, IPPROTO_AH, is_ipsec);
  a_.jump_if(Jump::kNotEqual, kProtocol, IPPROTO_ICMP, unwanted_);
  icmp4();

  a_.bind(is_ip6);
  if (use_ == ClassifierUse::kQuiet) drop_announced(40, 24, 16);
  ip6(unwanted_, &in_fragments6);
  a_.jump_if(Jump::kEqual, kProtocol, IPPROTO_TCP, is_flow);
  a_.jump_if(Jump::kEqual, kProtocol, IPPROTO_UDP, is_flow);
  a_.jump_if(Jump::kEqual, kProtocol, IPPROTO_SCTP, is_flow);
  a_.jump_if(Jump::kEqual, kProtocol, IPPROTO_ICMPV6, is_icmp6);
  a_.jump_if(Jump::kEqual, kProtocol, IPPROTO_ESP, is_ipsec);
  a_.jump(unwanted_);
  a_.bind(is_icmp6);
  icmp6();

  parts(in_fragments4, in_fragments6, is_fragment, is_ipsec);

  a_.bind(is_ipsec);
  ipsec();
  a_.bind(is_flow);
  flow();

  a_.bind(is_fragment);
  fragment();

  a_.bind(unwanted_);
  unwanted();
  return a_.finish();
}

// Copies `bytes` at kOffset to the stack.
void Writer::read(int16_t to, int32_t bytes, Label fail) {
  a_.move(Reg::r1, kContext);
  a_.move(Reg::r2, kOffset);
  a_.move(Reg::r3, Reg::fp);
  a_.op(Alu::kAdd, Reg::r3, to);
  a_.move(Reg::r4, bytes);
  a_.move(Reg::r5, kNetworkHeader);
  a_.call(BPF_FUNC_skb_load_bytes_relative);
  a_.jump_if(Jump::kNotEqual, Reg::r0, 0, fail);
}

// ARP for IPv4 over Ethernet, a request (RFC 826): all eight bytes in one comparison.
void Writer::arp() {
  read(kHeader, 28, unwanted_);
  a_.load(Size::k64, Reg::r1, Reg::fp, kHeader);
  a_.move64(Reg::r2, 0x0100040600080100ull);
  a_.jump_if(Jump::kNotEqual, Reg::r1, Reg::r2, unwanted_);
  a_.store(Size::k64, Reg::fp, kKey, 0);
  a_.store(Size::k32, Reg::fp, kKey + 8, kMappedPrefix);
  a_.load(Size::k32, Reg::r1, Reg::fp, kHeader + 24);
  a_.store(Size::k32, Reg::fp, kKey + 12, Reg::r1);
  a_.store(Size::k16, Reg::fp, kKeyPort, 0);
  a_.store(Size::k8, Reg::fp, kKeyProtocol, 0);
  find(EntryKind::kAnnounce);
  a_.jump_if(Jump::kEqual, Reg::r0, 0, unwanted_);
  wanted(Action::kKeep);
}

// An announced address is on no interface of the host, so nothing sent to it is for the host:
// routing it would put redirects, ARP questions and unreachables for the service's address on the
// wire. `address`: where the destination stands in a header of `header` bytes.
void Writer::drop_announced(int32_t header, int16_t address, int16_t bytes) {
  const Label none = a_.label();
  read(kHeader, header, unwanted_);
  a_.store(Size::k64, Reg::fp, kKey, 0);
  a_.store(Size::k32, Reg::fp, kKey + 8, kMappedPrefix);
  for (int16_t at = 0; at < bytes; at = static_cast<int16_t>(at + 4)) {
    a_.load(Size::k32, Reg::r1, Reg::fp, static_cast<int16_t>(kHeader + address + at));
    a_.store(Size::k32, Reg::fp, static_cast<int16_t>(kKey + 16 - bytes + at), Reg::r1);
  }
  a_.store(Size::k16, Reg::fp, kKeyPort, 0);
  a_.store(Size::k8, Reg::fp, kKeyProtocol, 0);
  find(EntryKind::kAnnounce);
  a_.jump_if(Jump::kEqual, Reg::r0, 0, none);
  leave(TC_ACT_SHOT);
  a_.bind(none);
}

// The IPv4 header at kOffset: ends, protocol and ports; kOffset moves to the transport header.
void Writer::ip4(Label fail, const Label* part) {
  const Label plain = a_.label();
  // 20 bytes and the ports behind them when there are no options. Every packet we want has more.
  read(kHeader, 24, fail);
  a_.load(Size::k8, Reg::r1, Reg::fp, kHeader);
  a_.move(kConfig, Reg::r1);
  a_.op(Alu::kShiftRight, Reg::r1, 4);
  a_.jump_if(Jump::kNotEqual, Reg::r1, 4, fail);
  a_.op(Alu::kAnd, kConfig, 15);
  a_.op(Alu::kShiftLeft, kConfig, 2);
  a_.jump_if(Jump::kLess, kConfig, 20, fail);
  a_.load(Size::k8, kProtocol, Reg::fp, kHeader + 9);
  for (const auto& [to, from] : {std::pair{kSourceEnd, int16_t{kHeader + 12}},
                                 std::pair{kDestinationEnd, int16_t{kHeader + 16}}}) {
    a_.store(Size::k64, Reg::fp, to, 0);
    a_.store(Size::k32, Reg::fp, to + 8, kMappedPrefix);
    a_.load(Size::k32, Reg::r1, Reg::fp, from);
    a_.store(Size::k32, Reg::fp, to + 12, Reg::r1);
  }
  a_.load(Size::k16, Reg::r1, Reg::fp, kHeader + 6);
  a_.jump_if(Jump::kAnyBit, Reg::r1, network16(part == nullptr ? 0x1fff : 0x3fff),
             part == nullptr ? fail : *part);
  a_.load(Size::k32, Reg::r1, Reg::fp, kHeader + 20);
  a_.store(Size::k32, Reg::fp, kPorts, Reg::r1);
  a_.op(Alu::kAdd, kOffset, kConfig);
  a_.jump_if(Jump::kEqual, kConfig, 20, plain);
  read(kPorts, 4, fail);
  a_.bind(plain);
}

// The same for IPv6 (RFC 8200), over the extension headers.
void Writer::ip6(Label fail, const Label* part) {
  const Label plain = a_.label();
  read(kHeader, 44, fail);
  a_.load(Size::k8, Reg::r1, Reg::fp, kHeader);
  a_.op(Alu::kShiftRight, Reg::r1, 4);
  a_.jump_if(Jump::kNotEqual, Reg::r1, 6, fail);
  a_.load(Size::k8, kProtocol, Reg::fp, kHeader + 6);
  for (const auto& [to, from] : {std::pair{kSourceEnd, int16_t{kHeader + 8}},
                                 std::pair{kDestinationEnd, int16_t{kHeader + 24}}}) {
    for (int16_t half = 0; half < 16; half += 8) {
      a_.load(Size::k64, Reg::r1, Reg::fp, static_cast<int16_t>(from + half));
      a_.store(Size::k64, Reg::fp, static_cast<int16_t>(to + half), Reg::r1);
    }
  }
  a_.load(Size::k32, Reg::r1, Reg::fp, kHeader + 40);
  a_.store(Size::k32, Reg::fp, kPorts, Reg::r1);
  a_.op(Alu::kAdd, kOffset, 40);
  extensions(plain, fail, part);
  read(kPorts, 4, fail);
  a_.bind(plain);
}

// Walks to the transport header; jumps to `plain` when there was nothing to walk.
void Writer::extensions(Label plain, Label fail, const Label* part) {
  const Label done = a_.label();
  for (uint32_t i = 0; i <= kClassifierExtensionsMax; i++) {
    const Label found = i == 0 ? plain : done;
    a_.jump_if(Jump::kEqual, kProtocol, IPPROTO_TCP, found);
    a_.jump_if(Jump::kEqual, kProtocol, IPPROTO_UDP, found);
    a_.jump_if(Jump::kEqual, kProtocol, IPPROTO_ICMPV6, found);
    a_.jump_if(Jump::kEqual, kProtocol, IPPROTO_SCTP, found);
    a_.jump_if(Jump::kEqual, kProtocol, IPPROTO_ESP, found);
    if (i == kClassifierExtensionsMax) break;
    const Label authentication = a_.label();
    const Label fragment = a_.label();
    const Label options = a_.label();
    const Label next = a_.label();
    read(kHeader, 8, fail);
    a_.load(Size::k8, Reg::r1, Reg::fp, kHeader + 1);
    a_.op(Alu::kAdd, Reg::r1, 1);
    a_.op(Alu::kShiftLeft, Reg::r1, 3);
    a_.jump_if(Jump::kEqual, kProtocol, IPPROTO_HOPOPTS, options);
    a_.jump_if(Jump::kEqual, kProtocol, IPPROTO_DSTOPTS, options);
    a_.jump_if(Jump::kEqual, kProtocol, IPPROTO_FRAGMENT, fragment);
    a_.jump_if(Jump::kEqual, kProtocol, IPPROTO_AH, authentication);
    a_.jump_if(Jump::kNotEqual, kProtocol, IPPROTO_ROUTING, fail);
    // Segments left: the destination is not the final one (RFC 8200 4.4).
    a_.load(Size::k8, Reg::r2, Reg::fp, kHeader + 3);
    a_.jump_if(Jump::kNotEqual, Reg::r2, 0, fail);
    a_.jump(next);
    a_.bind(authentication);
    a_.load(Size::k8, Reg::r1, Reg::fp, kHeader + 1);  // in units of four, less two (RFC 4302 2.2)
    a_.op(Alu::kAdd, Reg::r1, 2);
    a_.op(Alu::kShiftLeft, Reg::r1, 2);
    a_.jump(next);
    a_.bind(fragment);
    a_.load(Size::k16, Reg::r2, Reg::fp, kHeader + 2);
    a_.load(Size::k8, kProtocol, Reg::fp, kHeader);
    a_.jump_if(Jump::kAnyBit, Reg::r2, network16(part == nullptr ? 0xfff8 : 0xfff9),
               part == nullptr ? fail : *part);
    a_.move(Reg::r1, 8);
    a_.bind(options);
    a_.bind(next);
    a_.load(Size::k8, kProtocol, Reg::fp, kHeader);
    a_.op(Alu::kAdd, kOffset, Reg::r1);
  }
  a_.jump(fail);
  a_.bind(done);
}

// Goes on when what is quoted has ports, or is taken for a packet that has.
void Writer::unless_transport(Label fail) {
  const Label is_ipsec = a_.label();
  const Label good = a_.label();
  a_.jump_if(Jump::kEqual, kProtocol, IPPROTO_TCP, good);
  a_.jump_if(Jump::kEqual, kProtocol, IPPROTO_UDP, good);
  a_.jump_if(Jump::kEqual, kProtocol, IPPROTO_SCTP, good);
  a_.jump_if(Jump::kEqual, kProtocol, IPPROTO_ESP, is_ipsec);
  a_.jump_if(Jump::kNotEqual, kProtocol, IPPROTO_AH, fail);
  a_.bind(is_ipsec);
  ipsec();
  a_.bind(good);
}

void Writer::key_address(int16_t from) {
  for (int16_t half = 0; half < 16; half += 8) {
    a_.load(Size::k64, Reg::r1, Reg::fp, static_cast<int16_t>(from + half));
    a_.store(Size::k64, Reg::fp, static_cast<int16_t>(kKey + half), Reg::r1);
  }
}

void Writer::key_port(int16_t from) {
  if (from == kNoPort) {
    a_.store(Size::k16, Reg::fp, kKeyPort, 0);
    return;
  }
  a_.load(Size::k16, Reg::r1, Reg::fp, from);
  a_.store(Size::k16, Reg::fp, kKeyPort, Reg::r1);
}

// Looks the key up; r0 is the entry's flags word or null.
void Writer::find(EntryKind kind) {
  a_.store(Size::k8, Reg::fp, kKeyKind, static_cast<int32_t>(kind));
  a_.load_map(Reg::r1, maps_.entries);
  a_.move(Reg::r2, Reg::fp);
  a_.op(Alu::kAdd, Reg::r2, kKey);
  a_.call(BPF_FUNC_map_lookup_elem);
}

// An entry that is an address alone.
void Writer::find_address(int16_t address, EntryKind kind) {
  key_address(address);
  key_port(kNoPort);
  a_.store(Size::k8, Reg::fp, kKeyProtocol, 0);
  find(kind);
}

// Jumps to `found`, with r0 at the entry's flags, when requests to these ends are ours.
void Writer::find_request(int16_t address, int16_t port, Label found) {
  const Label own_ports = a_.label();
  key_address(address);
  key_port(port);
  a_.store(Size::k8, Reg::fp, kKeyProtocol, kProtocol);
  find(EntryKind::kService);
  a_.jump_if(Jump::kNotEqual, Reg::r0, 0, found);
  a_.load(Size::k32, Reg::r1, kConfig, offsetof(ClassifierConfig, all_port_services));
  a_.jump_if(Jump::kEqual, Reg::r1, 0, own_ports);
  key_port(kNoPort);
  find(EntryKind::kService);
  a_.jump_if(Jump::kNotEqual, Reg::r0, 0, found);
  a_.bind(own_ports);
  find_ftp_data(port, found);
}

// Whether this is a port that an FTP service takes beside its own; the key holds its address and
// protocol. Kernel: ip_vs_ctl.c ip_vs_service_find.
void Writer::find_ftp_data(int16_t at, Label found) {
  const Label port = a_.label();
  const Label none = a_.label();
  a_.load(Size::k32, Reg::r1, kConfig, offsetof(ClassifierConfig, ftp_services));
  a_.jump_if(Jump::kEqual, Reg::r1, 0, none);
  a_.load(Size::k16, Reg::r1, Reg::fp, at);
  a_.to_host16(Reg::r1);
  a_.jump_if(Jump::kEqual, Reg::r1, kFtpDataPort, port);
  a_.load(Size::k32, Reg::r2, kConfig, offsetof(ClassifierConfig, ftp_data_first));
  a_.jump_if(Jump::kLess, Reg::r1, Reg::r2, none);
  a_.bind(port);
  key_port(kNoPort);
  find(EntryKind::kFtpData);
  a_.jump_if(Jump::kNotEqual, Reg::r0, 0, found);
  a_.bind(none);
}

// kFlags becomes what the kSource entries of exact port and of all ports say together, about the
// worker what the first of them says.
void Writer::find_source(int16_t address, int16_t port, Label none) {
  const Label all_ports = a_.label();
  const Label only = a_.label();
  const Label no_more = a_.label();
  a_.move(kFlags, 0);
  key_address(address);
  key_port(port);
  a_.store(Size::k8, Reg::fp, kKeyProtocol, kProtocol);
  find(EntryKind::kSource);
  a_.jump_if(Jump::kEqual, Reg::r0, 0, all_ports);
  a_.load(Size::k32, kFlags, Reg::r0, 0);
  a_.bind(all_ports);
  a_.load(Size::k32, Reg::r1, kConfig, offsetof(ClassifierConfig, all_port_sources));
  a_.jump_if(Jump::kEqual, Reg::r1, 0, no_more);
  key_port(kNoPort);
  find(EntryKind::kSource);
  a_.jump_if(Jump::kEqual, Reg::r0, 0, no_more);
  a_.load(Size::k32, Reg::r1, Reg::r0, 0);
  a_.jump_if(Jump::kEqual, kFlags, 0, only);
  a_.op(Alu::kAnd, Reg::r1, static_cast<int32_t>(~kEntryByAddress));
  a_.bind(only);
  a_.op(Alu::kOr, kFlags, Reg::r1);
  a_.bind(no_more);
  a_.jump_if(Jump::kEqual, kFlags, 0, none);
}

void Writer::read_config() {
  a_.store(Size::k32, Reg::fp, kConfigKey, 0);
  a_.load_map(Reg::r1, maps_.config);
  a_.move(Reg::r2, Reg::fp);
  a_.op(Alu::kAdd, Reg::r2, kConfigKey);
  a_.call(BPF_FUNC_map_lookup_elem);
  a_.jump_if(Jump::kEqual, Reg::r0, 0, unwanted_);  // never: the verifier wants it said
  a_.move(kConfig, Reg::r0);
}

// Goes on when kFlags has kEntryFullnat and the port is a FULLNAT local port.
void Writer::unless_fullnat(int16_t port, Label none) {
  const Label fullnat = a_.label();
  a_.jump_if(Jump::kAnyBit, kFlags, static_cast<int32_t>(kEntryFullnat), fullnat);
  a_.jump(none);
  a_.bind(fullnat);
  a_.load(Size::k16, Reg::r1, Reg::fp, port);
  a_.to_host16(Reg::r1);
  a_.load(Size::k32, Reg::r2, kConfig, offsetof(ClassifierConfig, local_port_first));
  a_.jump_if(Jump::kLess, Reg::r1, Reg::r2, none);
  a_.load(Size::k32, Reg::r2, kConfig, offsetof(ClassifierConfig, local_port_last));
  a_.jump_if(Jump::kGreater, Reg::r1, Reg::r2, none);
}

// kFlags becomes what the entry of requests to these ends says, for who steers by it; 0 for none.
void Writer::request_flags(int16_t address, int16_t port) {
  if (use_ != ClassifierUse::kSteer) return;
  const Label known = a_.label();
  const Label marked = a_.label();
  const Label done = a_.label();
  find_request(address, port, known);
  marks_.find(a_, address, port, marked);
  marks_.find_anywhere(a_, address, port, marked);
  a_.move(kFlags, 0);
  a_.jump(done);
  a_.bind(marked);
  a_.move(kFlags, static_cast<int32_t>(kEntryByAddress));
  a_.jump(done);
  a_.bind(known);
  a_.load(Size::k32, kFlags, Reg::r0, 0);
  a_.bind(done);
}

// Goes on when kFlags has kEntryMasquerade, else to `none`.
void Writer::unless_masquerade(Label none) {
  const Label masquerade = a_.label();
  a_.jump_if(Jump::kAnyBit, kFlags, static_cast<int32_t>(kEntryMasquerade), masquerade);
  a_.jump(none);
  a_.bind(masquerade);
}

// Only what was sent to our own link address; the kernel too takes nothing else (RFC 1122 3.3.6).
void Writer::require_host_frame() {
  if (use_ == ClassifierUse::kSteer) return;
  a_.load(Size::k32, Reg::r0, kContext, offsetof(__sk_buff, pkt_type));
  a_.jump_if(Jump::kNotEqual, Reg::r0, PACKET_HOST, unwanted_);
}

// AH, ESP and their parts, which need no ports: as a packet of their key exchange (spec 3.2).
void Writer::ipsec() {
  constexpr int32_t kIkePorts = network16(500) | network16(500) << 16;
  a_.move(kProtocol, IPPROTO_UDP);
  a_.store(Size::k32, Reg::fp, kPorts, kIkePorts);
}

void Writer::flow() {
  const Label request = a_.label();
  const Label reply = a_.label();
  const Label masquerade = a_.label();
  const Label other = a_.label();
  const Label marked = a_.label();
  require_host_frame();
  read_config();
  find_request(kDestinationEnd, kDestinationPort, request);
  marks_.find(a_, kDestinationEnd, kDestinationPort, marked);
  a_.jump(reply);
  a_.bind(request);
  a_.load(Size::k32, kFlags, Reg::r0, 0);
  by_client(kSourceEnd, kSourcePort, Action::kTake);

  a_.bind(reply);
  find_source(kSourceEnd, kSourcePort, other);
  unless_fullnat(kDestinationPort, masquerade);
  find_address(kDestinationEnd, EntryKind::kLocalAddress);
  a_.jump_if(Jump::kEqual, Reg::r0, 0, masquerade);
  by_local_port(kDestinationPort, Action::kTake);

  a_.bind(masquerade);
  unless_masquerade(other);
  find_address(kDestinationEnd, EntryKind::kHost);
  a_.jump_if(Jump::kNotEqual, Reg::r0, 0, other);
  by_client(kDestinationEnd, kDestinationPort, Action::kTake);

  a_.bind(other);
  marks_.find_anywhere(a_, kDestinationEnd, kDestinationPort, marked);
  a_.jump(unwanted_);
  a_.bind(marked);
  a_.move(kFlags, static_cast<int32_t>(kEntryByAddress));
  by_client(kSourceEnd, kSourcePort, Action::kTake);
}

void Writer::icmp4() {
  const Label error = a_.label();
  const Label question = a_.label();
  a_.load(Size::k8, Reg::r1, Reg::fp, kPorts);  // where the ports would be: type, code, checksum
  a_.jump_if(Jump::kEqual, Reg::r1, ICMP_ECHO, question);
  for (const int32_t type : {ICMP_DEST_UNREACH, ICMP_SOURCE_QUENCH, ICMP_TIME_EXCEEDED}) {
    a_.jump_if(Jump::kEqual, Reg::r1, type, error);
  }
  a_.jump(unwanted_);
  a_.bind(question);
  echo();
  a_.bind(error);
  open_quote();
  ip4(unwanted_, nullptr);
  tunnel_error();
  icmp_error();
}

void Writer::icmp6() {
  const Label error = a_.label();
  const Label question = a_.label();
  a_.load(Size::k8, Reg::r1, Reg::fp, kPorts);
  a_.jump_if(Jump::kLess, Reg::r1, 128, error);
  a_.jump_if(Jump::kEqual, Reg::r1, ICMP6_ECHO_REQUEST, question);
  a_.jump_if(Jump::kNotEqual, Reg::r1, ND_NEIGHBOR_SOLICIT, unwanted_);
  a_.op(Alu::kAdd, kOffset, 8);
  read(kHeader, 16, unwanted_);  // the target (RFC 4861 4.3)
  find_address(kHeader, EntryKind::kAnnounce);
  a_.jump_if(Jump::kEqual, Reg::r0, 0, unwanted_);
  wanted(Action::kKeep);
  a_.bind(question);
  echo();
  a_.bind(error);
  open_quote();
  ip6(unwanted_, nullptr);
  icmp_error();
}

// Remembers where the error goes; kOffset moves to the packet that it quotes.
void Writer::open_quote() {
  require_host_frame();
  for (int16_t half = 0; half < 16; half += 8) {
    a_.load(Size::k64, Reg::r1, Reg::fp, static_cast<int16_t>(kDestinationEnd + half));
    a_.store(Size::k64, Reg::fp, static_cast<int16_t>(kOuter + half), Reg::r1);
  }
  a_.op(Alu::kAdd, kOffset, 8);
}

// The ends and ports on the stack are those of the quoted packet, which went the other way.
void Writer::icmp_error() {
  const Label to_client = a_.label();
  const Label to_local = a_.label();
  const Label from_client = a_.label();
  const Label other = a_.label();
  const Label marked = a_.label();
  unless_transport(unwanted_);
  read_config();
  find_address(kOuter, EntryKind::kVirtual);
  a_.jump_if(Jump::kNotEqual, Reg::r0, 0, to_client);
  marks_.find(a_, kOuter, kSourcePort, to_client);
  find_source(kDestinationEnd, kDestinationPort, other);
  unless_fullnat(kSourcePort, from_client);
  find_address(kOuter, EntryKind::kLocalAddress);
  a_.jump_if(Jump::kNotEqual, Reg::r0, 0, to_local);
  a_.bind(from_client);
  unless_masquerade(other);
  find_address(kOuter, EntryKind::kHost);
  a_.jump_if(Jump::kNotEqual, Reg::r0, 0, other);
  by_client(kSourceEnd, kSourcePort, Action::kTake);
  a_.bind(other);
  marks_.find_anywhere(a_, kDestinationEnd, kSourcePort, marked);
  a_.jump(unwanted_);

  // About a reply V:p -> C:q: the client end is where it went.
  a_.bind(to_client);
  request_flags(kSourceEnd, kSourcePort);
  by_client(kDestinationEnd, kDestinationPort, Action::kKeep);
  a_.bind(to_local);
  by_local_port(kSourcePort, Action::kTake);
  // Not known to be of a virtual address: the core gives it back when no connection knows it.
  a_.bind(marked);
  a_.move(kFlags, static_cast<int32_t>(kEntryByAddress));
  by_client(kDestinationEnd, kDestinationPort, Action::kTake);
}

void Writer::leave(int32_t result) {
  a_.move(Reg::r0, result);
  a_.exit();
}

void Writer::wanted(Action action) {
  switch (use_) {
    case ClassifierUse::kFilter: leave(-1); break;  // the whole frame
    case ClassifierUse::kSteer: leave(0); break;
    case ClassifierUse::kQuiet:
      if (action == Action::kTake) {
        leave(TC_ACT_SHOT);
      } else {
        unwanted();
      }
      break;
  }
}

// kFlags: of the entry that has decided.
void Writer::by_client(int16_t address, int16_t port, Action action) {
  if (use_ != ClassifierUse::kSteer) {
    wanted(action);
    return;
  }
  if (port == kNoPort) return steer_by_client(a_, address, port, workers_);
  const Label with_port = a_.label();
  const Label whole = a_.label();
  a_.jump_if(Jump::kAnyBit, kFlags, static_cast<int32_t>(kEntryByAddress), whole);
  a_.jump(with_port);
  a_.bind(whole);
  a_.store(Size::k16, Reg::fp, port, 0);
  a_.bind(with_port);
  steer_by_client(a_, address, port, workers_);
}

void Writer::by_local_port(int16_t port, Action action) {
  if (use_ != ClassifierUse::kSteer) {
    wanted(action);
    return;
  }
  steer_by_local_port(a_, port, workers_);
}

// kQuiet answers TC_ACT_UNSPEC, not TC_ACT_OK: filters of others behind ours still get their turn
// (cls_bpf_classify in net/sched/cls_bpf.c), and when there is none the frame goes on.
void Writer::unwanted() { leave(use_ == ClassifierUse::kQuiet ? TC_ACT_UNSPEC : 0); }

}  // namespace uvs::classifier

namespace uvs {

BpfProgram classifier_program(ClassifierUse use, const ClassifierMaps& maps, uint32_t workers) {
  return classifier::Writer(use, maps, workers).write();
}

}  // namespace uvs
