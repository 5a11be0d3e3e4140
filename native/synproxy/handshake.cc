// In: an ACK with a good cookie, later the real server's answer. Does: builds the SYN for the real
// server, reads its answer. Next: core_synproxy.cc sends, waits and sends again.
#include "synproxy/handshake.h"

#include <algorithm>

#include "parse/ip4.h"
#include "parse/ip6.h"
#include "synproxy/tcp_option.h"
#include "synproxy/translate.h"

namespace uvs {
namespace {

constexpr uint16_t kWindow = 5000;  // spec 12.9
constexpr uint8_t kTtl = 64;
constexpr uint8_t kTosMask = 0x1e;  // without precedence, as Linux' RT_TOS
constexpr uint8_t kShiftMax = 14;   // RFC 7323 2.3
constexpr uint32_t kOptionsMax = 20;

uint8_t tos_of(const Packet& packet) {
  if (packet.family == 4) return Ip4(packet.ip()).tos();
  return Ip6(packet.ip()).traffic_class();
}

// Writes the SYN's options; returns their bytes, a multiple of four.
uint32_t write_options(const SynproxyState& state, uint8_t* at) {
  const uint8_t* start = at;
  *at++ = kTcpOptionMss;
  *at++ = kMssBytes;
  store16(at, Be16::of(state.mss));
  at += 2;
  const bool sack = (state.flags & kSynproxySack) != 0;
  const bool timestamps = (state.flags & kSynproxyTimestamps) != 0;
  if (sack || timestamps) {
    const uint8_t pair[2][2] = {{kTcpOptionNop, kTcpOptionNop},
                                {kTcpOptionSackPermitted, kSackPermittedBytes}};
    std::memcpy(at, pair[timestamps && sack], 2);
    at += 2;
    if (!timestamps) {
      std::memcpy(at, pair[1], 2);
      at += 2;
    }
  }
  if (timestamps) {
    *at++ = kTcpOptionTimestamps;
    *at++ = kTimestampsBytes;
    store32(at, Be32::of(state.client_clock));
    store32(at + 4, Be32{});
    at += 8;
  }
  if (state.client_shift != 0) {
    *at++ = kTcpOptionNop;
    *at++ = kTcpOptionWindowScale;
    *at++ = kWindowScaleBytes;
    *at++ = state.client_shift;
  }
  return static_cast<uint32_t>(at - start);
}

void write_ip(const FlowKey& flow, uint8_t tos, uint32_t transport, uint8_t* at) {
  if (flow.destination.is_v4()) {
    std::memset(at, 0, kIp4Bytes);
    Ip4 ip(at);
    at[0] = 0x45;
    at[1] = tos;
    at[9] = kProtoTcp;
    ip.set_total_bytes(kIp4Bytes + transport);
    ip.set_flags_and_offset(kIp4DontFragment);
    ip.set_ttl(kTtl);
    ip.set_source(flow.source.v4_part());
    ip.set_destination(flow.destination.v4_part());
    ip.set_checksum(checksum_of(at, kIp4Bytes));
    return;
  }
  std::memset(at, 0, kIp6Bytes);
  Ip6 ip(at);
  at[0] = static_cast<uint8_t>(0x60 | tos >> 4);
  at[1] = static_cast<uint8_t>(tos << 4);
  at[6] = kProtoTcp;
  ip.set_payload_bytes(transport);
  ip.set_hop_limit(kTtl);
  std::memcpy(ip.source(), flow.source.bytes, 16);
  std::memcpy(ip.destination(), flow.destination.bytes, 16);
}

// Blanks what belongs into a SYN only.
void blank_syn_options(uint8_t* tcp) {
  for_each_tcp_option(tcp, [](uint8_t* option, uint32_t length) {
    if (option[0] != kTcpOptionTimestamps) std::memset(option, kTcpOptionNop, length);
  });
}

}  // namespace

SynproxyState begin_handshake(const Packet& ack, const HandshakeOptions& options,
                              const SynproxyRecord& rules) {
  const Tcp tcp(ack.transport());
  SynproxyState state{};
  state.isn = tcp.acknowledgement().host() - 1;
  state.client_isn = tcp.sequence().host() - 1;
  state.mss = options.mss;
  state.client_shift = options.shift;
  // What was advertised may have changed since; then the client's windows are off until it closes.
  state.own_shift = options.shift != 0 ? rules.window_scale : 0;
  state.flags = options.sack ? kSynproxySack : 0;
  state.tos = tos_of(ack) & kTosMask;
  if (!options.timestamps) return state;
  for_each_tcp_option(tcp.at, [&](const uint8_t* option, uint32_t length) {
    if (option[0] != kTcpOptionTimestamps || length != kTimestampsBytes) return;
    state.client_clock = load32(option + 2).host();
    state.client_echo = load32(option + 6).host();
    state.flags |= kSynproxyTimestamps;
  });
  return state;
}

void build_syn(const SynproxyState& state, const FlowKey& flow, const Frame& scratch, Packet* out) {
  const bool six = !flow.destination.is_v4();
  const uint32_t ip_bytes = six ? kIp6Bytes : kIp4Bytes;
  uint8_t* start = scratch.data;
  Tcp tcp(start + ip_bytes);
  std::memset(tcp.at, 0, kTcpBytes);
  const uint32_t bytes = kTcpBytes + write_options(state, tcp.at + kTcpBytes);
  static_assert(kTcpBytes + kOptionsMax <= kTcpMaxHeaderBytes);
  store16(tcp.at, flow.source_port);
  store16(tcp.at + 2, flow.destination_port);
  tcp.set_sequence(state.client_isn);
  tcp.set_header_bytes(bytes);
  tcp.set_flags(kTcpSyn);
  tcp.set_window(kWindow);
  tcp.set_checksum(transport_checksum(flow.source, flow.destination, kProtoTcp, tcp.at, bytes));
  write_ip(flow, state.tos, bytes, start);

  *out = Packet{};
  out->frame = scratch;
  out->frame.length = ip_bytes + bytes;
  out->key = flow;
  out->l4 = static_cast<uint16_t>(ip_bytes);
  out->l3_bytes = out->frame.length;
  out->kind = PacketKind::kFlow;
  out->family = six ? 6 : 4;
  out->tcp_flags = kTcpSyn;
  out->ttl = kTtl;
  out->dont_fragment = true;
}

void accept_syn_ack(const Packet& packet, SynproxyState& state) {
  const Tcp tcp(packet.transport());
  state.delta = state.isn - tcp.sequence().host();
  for_each_tcp_option(tcp.at, [&](const uint8_t* option, uint32_t length) {
    if (option[0] == kTcpOptionWindowScale && length == kWindowScaleBytes) {
      state.server_shift = option[2] > kShiftMax ? 0 : option[2];
    }
    if (option[0] == kTcpOptionTimestamps && length == kTimestampsBytes &&
        (state.flags & kSynproxyTimestamps) != 0) {
      state.clock_delta = state.client_echo - load32(option + 2).host();
      state.flags |= kSynproxyClocks;
    }
  });
}

void turn_into_window_update(Packet& packet, const SynproxyState& state) {
  edit_tcp(packet, [&](Tcp<uint8_t> tcp) {
    tcp.set_sequence(tcp.sequence().host() + 1);
    tcp.set_flags(kTcpAck);
    // A SYN's window counts bytes; translate_reply() takes it for one of the real server's others.
    tcp.set_window(static_cast<uint16_t>(tcp.window().host() >> state.server_shift));
    blank_syn_options(tcp.at);
  });
  packet.tcp_flags = kTcpAck;
}

void turn_into_refusal(Packet& packet, SynproxyState& state) {
  state.delta = state.isn - Tcp(packet.transport()).sequence().host();
  edit_tcp(packet, [](Tcp<uint8_t> tcp) { tcp.set_sequence(tcp.sequence().host() + 1); });
}

}  // namespace uvs
