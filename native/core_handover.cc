// In: packets that another worker may own. Does: hands them over, and takes what others hand over.
// Next: the other worker's core; core.cc for what comes.
#include "classify/classify.h"
#include "core.h"
#include "forward/related_icmp.h"
#include "io/steering.h"
#include "parse/sctp.h"
#include "parse/tcp.h"

namespace uvs {

// The worker that the classifier would have steered it to, had it come whole
// (io/classifier_program.cc). An ICMP error goes the way of the flow it speaks of.
uint32_t Core::owner_of(const Packet& packet) const {
  FlowKey key = packet.key;
  if (packet.kind == PacketKind::kIcmp && !quoted_flow(packet, &key)) return memory_.worker;
  key = connection_ends(key);
  const uint16_t slot =
      find_service(snapshot_, key, snapshot_.marks().mark_of(key, packet.frame.port));
  if (slot != kNoSlot) {
    const bool by_address = (snapshot_.service(slot)->flags & kServiceByAddress) != 0;
    return worker_of_client(key.source, by_address ? Be16{} : key.source_port, memory_.workers);
  }
  if (is_local_end(key)) return worker_of_local_port(key.destination_port, memory_.workers);
  if (snapshot_.was_virtual(key.destination)) {
    return worker_of_client(key.source, key.source_port, memory_.workers);
  }
  return worker_of_client(key.destination, key.destination_port, memory_.workers);
}

// Whether the destination may be the local end of a FULLNAT connection.
bool Core::is_local_end(const FlowKey& key) const {
  const SnapshotHeaderRecord& header = snapshot_.header();
  const uint16_t port = key.destination_port.host();
  if (port < header.taken_port_first || port > header.taken_port_last) return false;
  for (uint32_t i = 0; i < header.local_address_count; i++) {
    if (snapshot_.local_address(i) == key.destination) return true;
  }
  return false;
}

// What other workers handed over, as the first frames of a burst: looked for once a millisecond,
// because it costs a system call, and after every wait, which it ends.
uint32_t Core::take_handed() {
  if (!handover_.open() || handed_ms_ == now_ms_) return 0;
  handed_ms_ = now_ms_;
  return handover_.receive(frames_, static_cast<uint16_t>(ports_.size()));
}

// Steering has changed while there were connections, and the one with `key`, to which this packet
// belongs or of which it speaks, is not known here: the worker it would have gone to before may
// have it. True: it has been handed over, or back. What begins a connection by itself is not asked
// for: a flood of it would take the others' place.
bool Core::ask_other(uint16_t number, const FlowKey& key) {
  Packet& packet = packets_[number];
  const uint64_t hash = table_.hash(key);
  if (number < handed_) {
    switch (handover_.errand(number)) {
      case Errand::kDatagram: return false;
      case Errand::kNo: note_unknown(hash); return false;
      case Errand::kQuestion: break;
    }
    return handover_.send(handover_.sender(number), packet, Errand::kNo);
  }
  if (begins(packet) || is_unknown(hash)) return false;
  const uint32_t other = other_owner(packet, key);
  if (other == memory_.worker) return false;
  // To take it for a new flow, or refuse it, would end a connection that may be there.
  if (!handover_.send(other, packet, Errand::kQuestion)) counters_.count(Reason::kHandover);
  return true;
}

bool Core::begins(const Packet& packet) {
  if (packet.key.protocol == kProtoSctp) return packet.sctp_first == kChunkInit;
  return packet.key.protocol == kProtoTcp && (packet.tcp_flags & (kTcpSyn | kTcpAck)) == kTcpSyn;
}

// Flows of which no other worker knew anything lately.
void Core::note_unknown(uint64_t hash) {
  unknown_[hash % kUnknownFlows] = {hash, static_cast<uint32_t>(now_ms_)};
}

bool Core::is_unknown(uint64_t hash) const {
  const UnknownFlow& flow = unknown_[hash % kUnknownFlows];
  return flow.hash == hash && static_cast<uint32_t>(now_ms_) - flow.since_ms < kUnknownFlowMs;
}

// The owner by the rule that does not lead here: by the client's address alone, or with its port.
uint32_t Core::other_owner(const Packet& packet, const FlowKey& key) const {
  if (is_local_end(key)) return memory_.worker;
  const uint16_t slot =
      find_service(snapshot_, key, snapshot_.marks().mark_of(key, packet.frame.port));
  // Connections of one packet are over with it.
  if (slot != kNoSlot && (snapshot_.service(slot)->flags & kServiceOnePacket) != 0) {
    return memory_.worker;
  }
  const bool request = slot != kNoSlot || snapshot_.was_virtual(key.destination);
  const Addr& client = request ? key.source : key.destination;
  const Be16 port = request ? key.source_port : key.destination_port;
  const uint32_t by_port = worker_of_client(client, port, memory_.workers);
  if (by_port != memory_.worker) return by_port;
  return worker_of_client(client, Be16{}, memory_.workers);
}

}  // namespace uvs
