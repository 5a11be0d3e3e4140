// In: packets that no connection knows. Does: stops 4 and 5, and creation by the verdicts of
// stop 6. Next: core.cc forwards them like every other packet of their connection.
#include <cassert>

#include "classify/classify.h"
#include "core.h"

namespace uvs {
namespace {

constexpr uint16_t kFtpPort = 21;

}  // namespace

// Stops 4 and 5: no connection; spec 5.3. What the kernel would leave to the host's own stack is
// answered here, because the host is kept quiet about virtual addresses (decision 7).
void Core::miss(uint16_t number) {
  Packet& packet = packets_[number];
  const uint16_t slot = find_service(snapshot_, packet.key);
  if (slot == kNoSlot) {
    leave_to_host(packet, Reason::kNoService);
    return;
  }
  const auto now = static_cast<uint32_t>(now_ms_);
  const bool tcp = packet.key.protocol == kProtoTcp;
  if (synproxy_used_ && tcp) [[unlikely]] {
    if (intercept(number, slot)) return;
  }
  if (tcp && ((packet.tcp_flags & kTcpRst) != 0 ||
              ((packet.tcp_flags & kTcpSyn) == 0 && snapshot_.sysctl(kSysctlSloppyTcp) == 0))) {
    if (batch_.join(packet, number)) return;  // its SYN is in this burst
    counters_.count(Reason::kNotSyn);
    egress_.reset(packet, now);
    return;
  }
  if (packet.key.source_port == Be16::of(20)) {
    counters_.count(Reason::kFtpDataSource);
    if (tcp) {
      egress_.reset(packet, now);
    } else {
      egress_.answer(packet, IcmpError::kPortUnreachable, 0, packet.key.destination, now);
    }
    return;
  }
  uint16_t flags = 0;
  if (tcp) {
    if (packet.tcp_flags & kTcpSyn) flags |= kMissTcpSyn;
    if (packet.tcp_flags & kTcpAck) flags |= kMissTcpAck;
    if (packet.tcp_flags & kTcpFin) flags |= kMissTcpFin;
  } else if (snapshot_.service(slot)->flags & kServiceOnePacket) {
    flags |= kMissOnePacket;
  }
  batch_.add(packet, number, slot, flags);
}

// The kernel's ACCEPT (spec 5.2, 5.3): a reply of a masqueraded destination that is none, say a
// client's direct connection to it. The quiet filter has taken it from the host, so it is given
// back through the port to the host's stack, which routes it.
void Core::leave_to_host(Packet& packet, Reason reason) {
  counters_.count(reason);
  if (memory_.host_port < 0) return;
  if (packet.frame.port == memory_.host_port) {
    // Sent by the host itself, or routed to us: it goes where it would have gone without us. What
    // comes out of the port to the host's stack is not taken again (control/host/tun-rules.ts).
    const auto now = static_cast<uint32_t>(now_ms_);
    const uint16_t slot = hops_->find(packet.key.destination, now);
    egress_.send(packet.frame, packet.l3, packet.family, slot, now);
    return;
  }
  const NextHop bare{};
  Frame frame = packet.frame;
  put_link(frame, packet.l3, bare, packet.family);
  egress_.enqueue(static_cast<uint16_t>(memory_.host_port), frame);
}

void Core::resolve_one(uint32_t record) {
  const MissRecord& miss = batch_.record(record);
  uint16_t number = batch_.first(record);
  uint32_t id;
  if (miss.verdict < 0 || !create(miss, packets_[number], &id)) {
    for (; number != MissBatch::kEnd; number = batch_.next(number)) {
      refuse(miss, packets_[number]);
    }
    return;
  }
  if ((miss.flags & kMissSynproxy) != 0) [[unlikely]] {
    for (; number != MissBatch::kEnd; number = batch_.next(number)) {
      open_proxied(packets_[number], id);
    }
    return;
  }
  const DestinationRecord& destination = *snapshot_.destination(table_.at(id).destination_slot);
  for (; number != MissBatch::kEnd; number = batch_.next(number)) {
    forward_in(packets_[number], id, destination);
  }
  if (miss.flags & kMissOnePacket) tracker_.end(id);  // spec 3.8
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
        counters_.count(Reason::kNoService);
        egress_.reset(packet, static_cast<uint32_t>(now_ms_));
        break;
      }
      // Spec 5.4: TCP clients too get the ICMP error, never a RST.
      counters_.count(Reason::kNoDestination);
      egress_.answer(packet, IcmpError::kPortUnreachable, 0, packet.key.destination,
                     static_cast<uint32_t>(now_ms_));
      break;
    case kVerdictPass: leave_to_host(packet, Reason::kNoService); break;
    default:
      if (miss.verdict < 0) counters_.count(Reason::kSchedulerFailed);
  }
}

bool Core::create(const MissRecord& miss, const Packet& packet, uint32_t* id) {
  const auto slot = static_cast<uint32_t>(miss.verdict);
  const DestinationRecord* destination = snapshot_.destination(slot);
  const ServiceRecord* service = snapshot_.service(miss.service_slot);
  assert(service != nullptr);
  // A scheduler is replaceable code: a slot that names nothing usable must not end the process.
  const bool usable =
      destination != nullptr && (destination->flags & kDestinationAvailable) != 0 &&
      (destination->family == packet.family || destination->method == kMethodTunnel ||
       (destination->method == kMethodFullnat && packet.family == 6));
  if (!usable) [[unlikely]] {
    counters_.count(Reason::kSchedulerFailed, miss.packets);
    tracker_.release_template(miss.template_ref);
    return false;
  }
  // Spec 12.8: FULLNAT begins with a plain SYN only.
  if (destination->method == kMethodFullnat && (miss.flags & (kMissTcpAck | kMissTcpFin)) != 0) {
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
  NewConn wanted{};
  wanted.in = packet.key;
  wanted.destination = destination->address;
  wanted.destination_slot = static_cast<uint16_t>(slot);
  wanted.method = destination->method;
  wanted.template_ref = miss.template_ref;
  wanted.fwmark = miss.fwmark;
  if (!has_reply_key(wanted.method)) wanted.flags |= kConnNoOutput;
  if (packet.family == 6) wanted.flags |= kConnIp6;
  if (miss.flags & kMissOnePacket) wanted.flags |= kConnOnePacket;
  if (wanted.method == kMethodFullnat && destination->family != packet.family) {
    wanted.flags |= kConnNat64;
  }
  // Spec 4.2 and 5.3: a persistent service maps only its own port.
  const bool maps_port = destination->port != 0 && ((service->flags & kServicePersistent) == 0 ||
                                                    miss.virtual_port == service->port);
  wanted.destination_port = maps_port ? Be16::of(destination->port) : packet.key.destination_port;
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
  uint32_t tried = 0;
  for (uint32_t i = 0; i < service.local_count && tried < tries; i++) {
    wanted->local = snapshot_.local_address(service.local_first +
                                            local_ports_.next_address(service.local_count));
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
