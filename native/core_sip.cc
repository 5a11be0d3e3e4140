// In: packets that no connection knows, while a service has the SIP engine. Does: the parts of
// stops 4 and 5 that only this engine needs (spec 4.5). Next: core_misses.cc resolves them.
// Kernel: ip_vs_pe_sip.c, ip_vs_core.c ip_vs_new_conn_out.
#include "classify/classify.h"
#include "core.h"
#include "upcall/sip.h"

namespace uvs {
namespace {

constexpr uint32_t kUdpHeaderBytes = 8;

// Empty where there is none, or no UDP to carry it. The kernel goes by the length of the IP packet.
std::span<const uint8_t> call_id_of(const Packet& packet) {
  if (packet.key.protocol != kProtoUdp) return {};
  const uint8_t* payload = packet.transport() + kUdpHeaderBytes;
  const uint8_t* end = packet.ip() + packet.l3_bytes;
  return call_id({payload, static_cast<size_t>(end - payload)});
}

}  // namespace

// A flow's first packet says of which call it is; those behind it in the burst need not. Without a
// Call-ID it is dropped: plain persistence would send the next message elsewhere.
void Core::add_call(uint16_t number, uint16_t service_slot, uint16_t flags, uint32_t mark) {
  const Packet& packet = packets_[number];
  if ((flags & kMissOnePacket) == 0 && batch_.join(packet, number)) return;
  const auto text = call_id_of(packet);
  if (text.empty()) {
    counters_.count(Reason::kCallIdMissing);
    return;
  }
  batch_.set_text(batch_.add(packet, number, service_slot, flags, mark), text);
}

// What a masquerade server sends of its own accord begins a connection from the other end: the
// client is where the packet goes, and answers to the service's address find the server. False: it
// is no such packet.
bool Core::begin_outbound(uint16_t number) {
  const Packet& packet = packets_[number];
  const FlowKey& key = packet.key;
  if (key.protocol != kProtoUdp || key.source_port.raw == 0) return false;
  const uint16_t slot =
      real_servers_.find(snapshot_, key.source, key.source_port.host(), key.protocol);
  if (slot == kNoSlot) return false;
  const uint32_t service_slot = snapshot_.destination(slot)->service_slot;
  const ServiceRecord& service = *snapshot_.service(service_slot);
  if ((service.flags & kServiceSip) == 0 || service.fwmark != 0 || service.port == 0) return false;
  // What the director itself is sent begins nothing (the kernel's LOCAL_IN).
  const uint16_t hop = hops_->find(key.destination, static_cast<uint32_t>(now_ms_));
  if (snapshot_.is_virtual(key.destination) || hops_->at(hop).state == HopState::kLocal) {
    return false;
  }
  const bool persistent = (service.flags & kServicePersistent) != 0;
  const auto text = persistent ? call_id_of(packet) : std::span<const uint8_t>{};
  if (persistent && text.empty()) return false;
  const FlowKey flow{key.destination, service.address, key.destination_port, Be16::of(service.port),
                     kProtoUdp};
  const bool one_packet = (service.flags & kServiceOnePacket) != 0;
  const auto flags = static_cast<uint16_t>(kMissOutbound | (one_packet ? kMissOnePacket : 0));
  const uint32_t record = batch_.add(flow, table_.hash(flow), packet.family, number,
                                     static_cast<uint16_t>(service_slot), flags, 0);
  if (persistent) batch_.set_text(record, text);
  batch_.set_verdict(record, slot);
  return true;
}

// Whether a packet before it in the burst has begun the connection that this one would begin.
bool Core::made_meanwhile(const MissRecord& miss, const Packet& packet, uint32_t* id) {
  const uint32_t entry = table_.find(packet.key, packet.hash);
  if (entry == kNoEntry || (entry & 1) == 0) return false;
  tracker_.release_template(miss.template_ref);
  *id = entry >> 1;
  return true;
}

}  // namespace uvs
