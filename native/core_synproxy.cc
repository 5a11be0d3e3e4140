// In: SYNs and ACKs of SYNPROXY services, packets of connections that SYNPROXY opened. Does: the
// three steps of spec 12.9 around the stops of core.cc. Next: transmit.cc, or back where they came
// from.
//
//   client                 here                         real server
//   SYN ------------------> intercept: SYN+ACK, cookie; nothing is kept
//   ACK ------------------> intercept: good cookie, stop 5 asks for a destination
//                           open_proxied: entry, SYN ---------->
//   data -----------------> proxied_request: stored
//                           server_answers <------------ SYN+ACK
//                           release_stored ------------> ACK, data
//   ...                     translate.cc, both ways, for the connection's life
#include <cassert>

#include "core.h"
#include "forward/fullnat.h"
#include "parse/tcp.h"
#include "synproxy/answer.h"
#include "synproxy/handshake.h"
#include "synproxy/translate.h"

namespace uvs {
namespace {

constexpr uint64_t kMinuteMs = 60'000;
constexpr uint16_t kFtpDataPort = 20;

// The flags that say what a segment is for.
uint8_t kind_of(const Packet& packet) {
  return packet.tcp_flags & (kTcpSyn | kTcpAck | kTcpRst | kTcpFin);
}

bool has_payload(const Packet& packet) {
  const uint32_t transport = packet.l3 + packet.l3_bytes - packet.l4;
  return transport > Tcp(packet.frame.data + packet.l4).header_bytes();
}

}  // namespace

void Core::adopt_synproxy() {
  const SynproxyRecord* record = snapshot_.synproxy();
  if (record == nullptr) return;
  synproxy_ = *record;
  cookie_keys_ = cookie_keys(*record);
  for (uint32_t slot = 0; !synproxy_used_ && slot < snapshot_.header().service_count; slot++) {
    const ServiceRecord* service = snapshot_.service(slot);
    synproxy_used_ = service != nullptr && (service->flags & kServiceSynproxy) != 0;
  }
  if (synproxy_used_) stored_.allocate();
}

bool Core::good_cookie(const Packet& packet, HandshakeOptions* options) const {
  const Tcp tcp(packet.frame.data + packet.l4);
  const auto minutes = static_cast<uint32_t>(now_ms_ / kMinuteMs) + synproxy_.minute_start;
  return check_cookie(cookie_keys_, packet.key, tcp.sequence().host() - 1,
                      tcp.acknowledgement().host() - 1, minutes, options);
}

// A TCP packet without connection. False: it is not SYNPROXY's.
bool Core::intercept(uint16_t number, uint16_t slot, uint32_t mark) {
  Packet& packet = packets_[number];
  const ServiceRecord& service = *snapshot_.service(slot);
  // Only a persistent service takes ports that are not its own (spec 5.3): refused as without us.
  if (service.fwmark == 0 && packet.key.destination_port.host() != service.port &&
      (service.flags & kServicePersistent) == 0) {
    return false;
  }
  const bool wanted = (service.flags & kServiceSynproxy) != 0;
  const uint8_t kind = kind_of(packet);
  if (kind == kTcpSyn) {
    if (!wanted || packet.key.source_port == Be16::of(kFtpDataPort)) return false;
    answer_syn(packet, service);
    return true;
  }
  if (wanted && (kind & kTcpSyn) != 0) {
    counters_.count(Reason::kNotSyn);  // SYN with FIN or ACK must not open what a SYN cannot
    return true;
  }
  if (kind != kTcpAck) return false;
  if (batch_.join(packet, number)) return true;
  const bool deferred = synproxy_.defer != 0 && !has_payload(packet);
  HandshakeOptions options;
  const bool good = (!deferred || !wanted) && good_cookie(packet, &options);
  if (deferred && (wanted || good)) {
    counters_.count(Reason::kSynproxyDeferred);
  } else if (good) {
    batch_.add(packet, number, slot, kMissTcpSyn | kMissSynproxy, mark);
  } else if (!wanted) {
    return false;  // the flag may have been taken off since; this ACK is not from before
  } else {
    counters_.count(Reason::kSynproxyBadCookie);
    if (!egress_.allow(Egress::Answer::kReset, static_cast<uint32_t>(now_ms_))) return true;
    turn_into_reset(packet, synproxy_.ttl);
    egress_.enqueue(packet.frame.port, packet.frame);
  }
  return true;
}

// Step 1. The answer goes where the SYN came from: no route, no neighbour is looked up.
void Core::answer_syn(Packet& packet, const ServiceRecord& service) {
  if ((service.flags & kServiceUnweighted) != 0) {
    counters_.count(Reason::kSynproxyNoWeight);
    return;
  }
  counters_.count(Reason::kSynproxyAnswered);
  const auto minutes = static_cast<uint32_t>(now_ms_ / kMinuteMs) + synproxy_.minute_start;
  turn_into_syn_ack(packet, synproxy_, cookie_keys_, minutes, static_cast<uint32_t>(now_ms_));
  egress_.enqueue(packet.frame.port, packet.frame);
}

// A packet of the client on a connection of ours. False: it goes the way of all others.
bool Core::proxied_request(Packet& packet, uint32_t id, const DestinationRecord* destination) {
  if (kind_of(packet) == kTcpSyn && destination != nullptr &&
      destination->service_slot != kNoSlot) {
    // Stateless also here: who sent it may be lying about who it is.
    const ServiceRecord* service = snapshot_.service(destination->service_slot);
    if (service != nullptr && (service->flags & kServiceSynproxy) != 0) {
      answer_syn(packet, *service);
      return true;
    }
  }
  Conn& conn = table_.at(id);
  if ((conn.flags & kConnAwaitsServer) != 0) {
    store_request(packet, id);
    return true;
  }
  const bool usable = destination != nullptr && (destination->flags & kDestinationAvailable) != 0;
  HandshakeOptions options;
  if (!usable || !begins_anew(packet, conn, &options)) return false;
  ask_server(packet, id, options);
  return true;
}

// Spec 12.9, entry reuse: an ACK that answers another cookie of ours, on a connection that is over.
bool Core::begins_anew(const Packet& packet, const Conn& conn, HandshakeOptions* options) {
  if ((synproxy_.reuse_states >> conn.state & 1) == 0 || kind_of(packet) != kTcpAck) return false;
  const Tcp tcp(packet.frame.data + packet.l4);
  if (tcp.acknowledgement().host() - 1 == table_.extra(conn)->synproxy.isn) return false;
  return good_cookie(packet, options);
}

// Step 2, with the verdict: the packets of one burst for a new connection, one after the other.
void Core::open_proxied(Packet& packet, uint32_t id) {
  if ((table_.at(id).flags & kConnSynproxy) != 0) return store_request(packet, id);
  HandshakeOptions options;
  const bool good = good_cookie(packet, &options);
  assert(good);
  if (good) ask_server(packet, id, options);
}

void Core::ask_server(Packet& packet, uint32_t id, const HandshakeOptions& options) {
  Conn& conn = table_.at(id);
  ConnExtra& extra = table_.need_extra(conn);
  extra.fnat_flags = 0;  // FULLNAT begins anew with the SYN
  extra.synproxy = begin_handshake(packet, options, synproxy_);
  conn.flags |= kConnSynproxy | kConnAwaitsServer;
  tracker_.move(id, kTcpSynSent, tick());
  store_request(packet, id);
  send_syn(id);
}

void Core::send_syn(uint32_t id) {
  Conn& conn = table_.at(id);
  const Frame* frame = egress_.scratch(Egress::Scratch::kAnswers, 1);
  Packet syn;
  build_syn(table_.extra(conn)->synproxy, table_.in_key(conn), *frame, &syn);
  transmitter_.request(syn, conn, static_cast<uint32_t>(now_ms_));
}

// The timer of a connection that waits. False: asked often enough.
bool Core::ask_server_again(uint32_t id) {
  SynproxyState& state = table_.extra(table_.at(id))->synproxy;
  if (state.retries >= synproxy_.syn_retry) {
    counters_.count(Reason::kSynproxyNoAnswer);
    return false;
  }
  state.retries++;
  send_syn(id);
  return true;
}

void Core::store_request(const Packet& packet, uint32_t id) {
  StoredList& list = table_.extra(table_.at(id))->synproxy.stored;
  if ((packet.tcp_flags & kTcpAck) == 0 || list.count > synproxy_.max_ack_saved ||
      !stored_.append(list, packet)) {
    counters_.count(Reason::kSynproxyWaiting);
  }
}

// A packet of the real server on a connection of ours. False: it goes the way of all others.
bool Core::proxied_reply(Packet& packet, uint32_t id) {
  Conn& conn = table_.at(id);
  if ((conn.flags & kConnAwaitsServer) != 0) {
    server_answers(packet, id);
    return true;
  }
  SynproxyState& state = table_.extra(conn)->synproxy;
  if (!is_ack_storm(packet, state, synproxy_.dup_ack, tick())) return false;
  counters_.count(Reason::kSynproxyAckStorm);
  return true;
}

// What RFC 9293 3.10.7.3 says about a connection in SYN-SENT. An ACK of something else is from a
// connection that the real server has not forgotten: the RST ends that, and our next SYN is taken.
void Core::server_answers(Packet& packet, uint32_t id) {
  const ConnExtra& extra = *table_.extra(table_.at(id));
  const uint8_t kind = kind_of(packet);
  const uint32_t acknowledged = Tcp(packet.transport()).acknowledgement().host();
  const bool acknowledges =
      (kind & kTcpAck) != 0 && fnat_to_client(extra, acknowledged) == extra.synproxy.client_isn + 1;
  if (acknowledges && kind == (kTcpSyn | kTcpAck)) return server_accepts(packet, id);
  if (acknowledges && kind == (kTcpRst | kTcpAck)) return server_refuses(packet, id);
  counters_.count(Reason::kSynproxyServerOdd);
  if (!acknowledges && (kind & kTcpAck) != 0) {
    egress_.reset(packet, static_cast<uint32_t>(now_ms_));
  }
}

// Step 3.
void Core::server_accepts(Packet& packet, uint32_t id) {
  Conn& conn = table_.at(id);
  SynproxyState& state = table_.extra(conn)->synproxy;
  accept_syn_ack(packet, state);
  transmitter_.note_syn_ack(packet, conn);
  conn.flags = static_cast<uint16_t>(conn.flags & ~kConnAwaitsServer);
  tracker_.move(id, kTcpEstablished, tick());
  const bool update = synproxy_.close_client_window != 0 && state.stored.count <= 1;
  release_stored(id);
  if (!update) return;
  turn_into_window_update(packet, state);
  transmitter_.reply(packet, conn, static_cast<uint32_t>(now_ms_));
}

void Core::server_refuses(Packet& packet, uint32_t id) {
  Conn& conn = table_.at(id);
  SynproxyState& state = table_.extra(conn)->synproxy;
  stored_.drop(state.stored);
  conn.flags = static_cast<uint16_t>(conn.flags & ~kConnAwaitsServer);
  tracker_.move(id, kTcpClose, tick());
  turn_into_refusal(packet, state);
  if (!transmitter_.reply(packet, conn, static_cast<uint32_t>(now_ms_))) return;
  const DestinationRecord* destination = snapshot_.destination(conn.destination_slot);
  if (destination != nullptr && (destination->flags & kDestinationAvailable) != 0) {
    count_out(*destination, conn.destination_slot, packet.l3_bytes);
  }
}

// What has waited goes the way of every request, in order. A FIN among it may move the state.
void Core::release_stored(uint32_t id) {
  StoredList& list = table_.extra(table_.at(id))->synproxy.stored;
  const DestinationRecord* destination = snapshot_.destination(table_.at(id).destination_slot);
  const bool usable = destination != nullptr && (destination->flags & kDestinationAvailable) != 0;
  while (Packet* packet = stored_.take_first(list)) {
    if (usable) {
      forward_in(*packet, id, *destination);
    } else {
      counters_.count(Reason::kDestinationGone);
    }
  }
}

}  // namespace uvs
