// In: packets that no connection knows. Does: stops 4 and 5, and creation by the verdicts of
// stop 6. Next: core.cc forwards them like every other packet of their connection.
#include <cassert>

#include "classify/classify.h"
#include "core.h"
#include "parse/sctp.h"

namespace uvs {
namespace {

constexpr uint16_t kFtpPort = 21;
constexpr uint16_t kFtpDataPort = 20;

FlowKey flow_of(const MissRecord& miss) {
  return FlowKey{miss.client_address, miss.virtual_address, Be16::of(miss.client_port),
                 Be16::of(miss.virtual_port), miss.protocol};
}

// 127.0.0.0/8, ::1.
bool is_loopback(const Addr& address) {
  const uint8_t one[16] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1};
  return address.is_v4() ? address.bytes[12] == 127 : address == Addr::v6(one);
}

}  // namespace

// Stops 4 and 5: no connection; spec 5.3. What the kernel would leave to the host's own stack is
// answered here, because the host is kept quiet about virtual addresses (decision 7).
void Core::miss(uint16_t number) {
  Packet& packet = packets_[number];
  if (snapshot_.has_sip() && begin_outbound(number)) [[unlikely]]
    return;
  if (snapshot_.sysctl(kSysctlNatIcmpSend) != 0 && answer_unknown_reply(packet)) [[unlikely]]
    return;
  const uint32_t mark = snapshot_.marks().mark_of(packet.key, packet.frame.port);
  const uint16_t slot = find_service(snapshot_, packet.key, mark);
  if (slot == kNoSlot) {
    leave_to_host(packet, Reason::kNoService);
    return;
  }
  if (is_hosts(packet, slot)) {
    leave_to_host(packet, Reason::kNoService);
    return;
  }
  // Such a packet must not leave (spec 5.5.7), and nobody could be answered.
  if (is_loopback(packet.key.source)) {
    counters_.count(Reason::kSourceBad);
    return;
  }
  const auto now = static_cast<uint32_t>(now_ms_);
  const bool tcp = packet.key.protocol == kProtoTcp;
  const bool sctp = packet.key.protocol == kProtoSctp;
  if (synproxy_used_ && tcp) [[unlikely]] {
    if (intercept(number, slot, mark)) return;
  }
  const bool one_packet =
      !tcp && !sctp && (snapshot_.service(slot)->flags & kServiceOnePacket) != 0;
  if (tcp && ((packet.tcp_flags & kTcpRst) != 0 ||
              ((packet.tcp_flags & kTcpSyn) == 0 && snapshot_.sysctl(kSysctlSloppyTcp) == 0))) {
    if (batch_.join(packet, number)) return;  // its SYN is in this burst
    counters_.count(Reason::kNotSyn);
    egress_.reset(packet, now);
    return;
  }
  if (sctp && (packet.sctp_first == kChunkAbort ||
               (packet.sctp_first != kChunkInit && snapshot_.sysctl(kSysctlSloppySctp) == 0))) {
    if (batch_.join(packet, number)) return;
    if (!left_to_own_host(packet, Reason::kNotInit)) counters_.count(Reason::kNotInit);
    return;
  }
  if (shared::lane_load(memory_.words->drop_rate) != 0) [[unlikely]] {
    // Another packet of a flow that this burst has let in would find its entry in the kernel.
    if (!one_packet && batch_.join(packet, number)) return;
    if (gives_up_new()) {
      counters_.count(Reason::kLoadDropped);
      return;
    }
  }
  if (packet.key.source_port == Be16::of(kFtpDataPort)) {
    if (left_to_own_host(packet, Reason::kFtpDataSource)) return;
    counters_.count(Reason::kFtpDataSource);
    if (tcp) {
      egress_.reset(packet, now);
    } else if (!sctp) {
      egress_.answer(packet, IcmpError::kPortUnreachable, 0, packet.key.destination, now);
    }
    return;
  }
  uint16_t flags = 0;
  if (tcp) {
    if (packet.tcp_flags & kTcpSyn) flags |= kMissTcpSyn;
    if (packet.tcp_flags & kTcpAck) flags |= kMissTcpAck;
    if (packet.tcp_flags & kTcpFin) flags |= kMissTcpFin;
  }
  if (one_packet) flags |= kMissOnePacket;
  if (asks_sip(*snapshot_.service(slot))) [[unlikely]]
    return add_call(number, slot, flags, mark);
  batch_.add(packet, number, slot, flags, mark);
}

// drop_packet (spec 3.11; kernel: ip_vs.h ip_vs_todrop): one of so many new connections goes. In
// automatic mode main starts the count anew every second.
bool Core::gives_up_new() {
  const int32_t rate = shared::lane_load(memory_.words->drop_rate);
  const uint32_t reloads = shared::lane_load(memory_.words->drop_reloads);
  if (reloads != drop_reloads_) {
    drop_reloads_ = reloads;
    drop_counter_ = rate;
  }
  if (--drop_counter_ > 0) return false;
  drop_counter_ = rate;
  return true;
}

// What begins nothing, where the host has the virtual address itself: its stack answers as it would
// in the kernel. False, and nothing is done: no stack is behind an announced address.
bool Core::left_to_own_host(Packet& packet, Reason reason) {
  if (!is_host_address(packet.key.destination)) return false;
  leave_to_host(packet, reason);
  return true;
}

bool Core::is_host_address(const Addr& address) {
  const uint16_t hop = hops_->find(address, static_cast<uint32_t>(now_ms_));
  return hops_->at(hop).state == HopState::kLocal;
}

// The kernel's ACCEPT (spec 5.2, 5.3): a reply of a masqueraded destination that is none, say a
// client's direct connection to it. The quiet filter has taken it from the host, so it is given
// back through the port to the host's stack, which routes it.
void Core::leave_to_host(Packet& packet, Reason reason) {
  counters_.count(reason);
  if (memory_.host_port < 0) return;
  if (packet.key.protocol == kProtoSctp && packet.checksum_partial()) [[unlikely]]
    complete_checksum(packet);
  if (packet.fragment_bytes == 0) [[likely]]
    return leave(packet, packet.frame, packet.l3);
  // As it came: the host may forward it, and would call the whole too big.
  uint32_t count;
  const Frame* pieces = transmitter_.pieces_of(packet, packet.fragment_bytes, &count);
  for (uint32_t i = 0; i < count; i++) leave(packet, pieces[i], 0);
}

// `frame` holds `packet` or a fragment of it, its IP header at `l3`.
void Core::leave(const Packet& packet, const Frame& frame, uint32_t l3) {
  if (packet.frame.port == memory_.host_port) {
    // Sent by the host itself, or routed to us: it goes where it would have gone without us. What
    // comes out of the port to the host's stack is not taken again (control/host/tun-rules.ts).
    const auto now = static_cast<uint32_t>(now_ms_);
    const uint16_t slot = hops_->find(packet.key.destination, now);
    egress_.send(frame, l3, packet.family, slot, now);
    return;
  }
  const NextHop bare{};
  Frame out = frame;
  put_link(out, l3, bare, packet.family);
  egress_.enqueue(static_cast<uint16_t>(memory_.host_port), out);
}

// Spec 5.3, 5.4: on a port that merely hits the FTP rule nothing begins without persistence. With
// it port 20 is the service's: a client answers a real server's call there, by direct routing past
// this director, with SYN and ACK. On the others only a plain SYN begins: the host's own
// connections use them where it has the address itself, and what else comes there is theirs.
bool Core::is_hosts(const Packet& packet, uint16_t slot) {
  const ServiceRecord& service = *snapshot_.service(slot);
  const Be16 port = packet.key.destination_port;
  if (service.port != kFtpPort || port == Be16::of(kFtpPort)) return false;
  const bool begins =
      port == Be16::of(kFtpDataPort) || (packet.tcp_flags & (kTcpSyn | kTcpAck)) == kTcpSyn;
  if (begins && (service.flags & kServicePersistent) != 0) return false;
  return is_host_address(packet.key.destination);
}

// Whether the same burst has announced this flow (FTP's PORT, spec 6.2): both are one connection,
// as they are where the announcement comes in a burst of its own.
bool Core::announced_meanwhile(const MissRecord& miss, uint32_t* id) {
  if (!snapshot_.has_ftp() || miss.protocol != kProtoTcp) [[likely]]
    return false;
  *id = table_.find_directed(flow_of(miss), false);
  // A bypass with these ends gives way: it has no destination.
  if (*id == kNoConn || table_.at(*id).method == kMethodBypass) return false;
  tracker_.release_template(miss.template_ref);
  return true;
}

void Core::resolve_one(uint32_t record) {
  const MissRecord& miss = batch_.record(record);
  uint16_t number = batch_.first(record);
  uint32_t id;
  const bool outbound = (miss.flags & kMissOutbound) != 0;
  const bool made =
      outbound ? made_meanwhile(miss, packets_[number], &id) : announced_meanwhile(miss, &id);
  if (!made && miss.verdict == kVerdictNone && bypass(miss, number)) return;
  if (!made && (miss.verdict < 0 || !create(miss, &id))) {
    for (; number != MissBatch::kEnd; number = batch_.next(number)) {
      refuse(miss, packets_[number]);
    }
    return;
  }
  if ((miss.flags & kMissSynproxy) != 0) [[unlikely]] {
    for (; number != MissBatch::kEnd; number = batch_.next(number)) {
      Packet& packet = packets_[number];
      // An error of its own burst, if the service has lost the flag since the cookie.
      if (packet.kind == PacketKind::kIcmp) {
        follow(packet, id << 1);
      } else {
        open_proxied(packet, id);
      }
    }
    return;
  }
  const DestinationRecord& destination = *snapshot_.destination(table_.at(id).destination_slot);
  if (outbound) [[unlikely]] {
    hit_out(packets_[number], id);
    number = batch_.next(number);  // those behind it are the client's
  }
  for (; number != MissBatch::kEnd; number = batch_.next(number)) {
    Packet& packet = packets_[number];
    if (packet.kind == PacketKind::kIcmp) [[unlikely]] {
      follow(packet, id << 1);
    } else {
      forward_in(packet, id, destination);
    }
  }
  if (!made && (miss.flags & kMissOnePacket) != 0) tracker_.end(id);  // spec 3.8
}

// A packet whose flow got no connection. create() has counted its own reasons.
void Core::refuse(const MissRecord& miss, Packet& packet) {
  switch (miss.verdict) {
    case kVerdictNone:
      if ((miss.flags & kMissSynproxy) != 0) {
        // Spec 12.9: to the client the connection stands; it gives up by itself.
        counters_.count(Reason::kNoDestination);
        break;
      }
      // Spec 5.4: a port that merely hit the FTP rule is the host's, which answers with RST.
      if (snapshot_.service(miss.service_slot)->port == kFtpPort && miss.virtual_port != kFtpPort) {
        if (packet.kind == PacketKind::kIcmp) {
          return leave_icmp(packet, snapshot_.is_virtual(packet.key.destination));
        }
        if (left_to_own_host(packet, Reason::kNoService)) break;
        counters_.count(Reason::kNoService);
        egress_.reset(packet, static_cast<uint32_t>(now_ms_));
        break;
      }
      // Spec 5.4: TCP clients too get the ICMP error, never a RST.
      counters_.count(Reason::kNoDestination);
      if (packet.kind == PacketKind::kIcmp) break;
      egress_.answer(packet, IcmpError::kPortUnreachable, 0, packet.key.destination,
                     static_cast<uint32_t>(now_ms_));
      break;
    case kVerdictPass: leave_to_host(packet, Reason::kNoService); break;
    case kVerdictNoTemplate: counters_.count(Reason::kTemplateTableFull); break;
    default:
      if (miss.verdict < 0) counters_.count(Reason::kSchedulerFailed);
  }
}

bool Core::create(const MissRecord& miss, uint32_t* id) {
  const auto slot = static_cast<uint32_t>(miss.verdict);
  const DestinationRecord* destination = snapshot_.destination(slot);
  const ServiceRecord* service = snapshot_.service(miss.service_slot);
  assert(service != nullptr);
  // A scheduler is replaceable code: a slot that names nothing usable must not end the process.
  const bool outbound = (miss.flags & kMissOutbound) != 0;
  const bool usable = destination != nullptr && (destination->flags & kDestinationAvailable) != 0 &&
                      (destination->family == miss.family || destination->method == kMethodTunnel ||
                       (destination->method == kMethodFullnat && miss.family == 6 &&
                        miss.protocol != kProtoSctp)) &&
                      (!outbound || destination->method == kMethodMasquerade);
  if (!usable) [[unlikely]] {
    counters_.count(Reason::kSchedulerFailed, miss.packets);
    tracker_.release_template(miss.template_ref);
    return false;
  }
  // Spec 12.8: FULLNAT begins with a plain SYN only.
  constexpr uint16_t kNoPlainSyn = kMissTcpAck | kMissTcpFin | kMissIcmp;
  if (destination->method == kMethodFullnat && (miss.flags & kNoPlainSyn) != 0) {
    counters_.count(Reason::kNotSyn, miss.packets);
    tracker_.release_template(miss.template_ref);
    return false;
  }
  // Nobody but a director in the middle of both directions can move their numbers.
  if ((miss.flags & kMissSynproxy) != 0 && !has_reply_key(destination->method)) [[unlikely]] {
    counters_.count(Reason::kMethodUnsupported, miss.packets);
    tracker_.release_template(miss.template_ref);
    return false;
  }
  // In place: a copy of what was just written in pieces waits for each of them.
  NewConn wanted{.in = flow_of(miss), .destination = destination->address};
  wanted.destination_slot = static_cast<uint16_t>(slot);
  wanted.method = destination->method;
  wanted.template_ref = miss.template_ref;
  wanted.fwmark = miss.fwmark;
  if (!has_reply_key(wanted.method)) wanted.flags |= kConnNoOutput;
  if (miss.family == 6) wanted.flags |= kConnIp6;
  if (miss.flags & kMissOnePacket) wanted.flags |= kConnOnePacket;
  if (wanted.method == kMethodMasquerade && miss.protocol == kProtoTcp && service->fwmark == 0 &&
      snapshot_.is_ftp_port(miss.virtual_port)) {
    wanted.flags |= kConnHelped;  // spec 6.1
  }
  if (wanted.method == kMethodFullnat && destination->family != miss.family) {
    wanted.flags |= kConnNat64;
  }
  // Spec 4.2 and 5.3: a persistent service maps only its own port.
  const bool maps_port = destination->port != 0 && ((service->flags & kServicePersistent) == 0 ||
                                                    miss.virtual_port == service->port);
  wanted.destination_port = maps_port ? Be16::of(destination->port) : Be16::of(miss.virtual_port);
  if (wanted.method == kMethodFullnat && !choose_local(miss, *service, &wanted)) {
    tracker_.release_template(miss.template_ref);
    return false;
  }
  const CreateError error = tracker_.create(wanted, tick(), id);
  if (error != CreateError::kNone) {
    counters_.count(
        error == CreateError::kTableFull ? Reason::kTableFull : Reason::kAddressTableFull,
        miss.packets);
    return false;
  }
  if (wanted.method == kMethodFullnat && miss.protocol == kProtoUdp) [[unlikely]]
    transmitter_.begin_datagrams(table_.at(*id));
  if (miss.flags & kMissOutbound) [[unlikely]]
    table_.take_request_key(*id);
  shared::lane_add(counters_.destinations[slot].connections, uint64_t{1});
  shared::lane_add(counters_.services[miss.service_slot].connections, uint64_t{1});
  shared::lane_add(counters_.total->connections, uint64_t{1});
  return true;
}

// Spec 12.2, 12.3: the service's local addresses in turn, a free port of this worker on one. An
// IPv6 service may have addresses of both families: those of the destination's family count.
bool Core::choose_local(const MissRecord& miss, const ServiceRecord& service, NewConn* wanted) {
  if (service.local_count == 0) {
    counters_.count(Reason::kLocalAddressNone, miss.packets);
    return false;
  }
  const uint32_t tries = service.local_count < LocalPorts::kAddressAttempts
                             ? service.local_count
                             : LocalPorts::kAddressAttempts;
  const bool turns = service.scheduler_id == kSchedulerRr || service.scheduler_id == kSchedulerWrr;
  if (turns) local_ports_.loosen(miss.service_slot);
  uint32_t tried = 0;
  for (uint32_t i = 0; i < service.local_count && tried < tries; i++) {
    const uint32_t number = local_ports_.next_address(miss.service_slot, service.local_count);
    wanted->local = snapshot_.local_address(service.local_first + number);
    if (wanted->local.is_v4() != wanted->destination.is_v4()) continue;
    tried++;
    uint32_t budget = LocalPorts::kProbes / tries;
    if (local_ports_.find(table_, wanted->local, wanted->destination, wanted->destination_port,
                          wanted->in.protocol, &budget, &wanted->local_port)) {
      return true;
    }
  }
  counters_.count(tried == 0 ? Reason::kLocalAddressNone : Reason::kLocalPortExhausted,
                  miss.packets);
  return false;
}

}  // namespace uvs
