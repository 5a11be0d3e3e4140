// In: a SYN or an ACK of no connection. Does: turns it round, in place.
// Next: core_synproxy.cc queues it on the port it came from; nothing else is kept of it.
#include "synproxy/answer.h"

#include <algorithm>
#include <cassert>
#include <utility>

#include "parse/checksum.h"
#include "parse/ip4.h"
#include "parse/ip6.h"
#include "synproxy/tcp_option.h"

namespace uvs {
namespace {

constexpr uint16_t kMssUnsaid = 536;  // RFC 9293 3.7.1
constexpr uint8_t kShiftMax = 14;     // RFC 7323 2.3

void blank(uint8_t* option, uint32_t bytes) { std::memset(option, kTcpOptionNop, bytes); }

// One option of a SYN; each is agreed on once, what comes again is blanked.
class OptionEditor {
 public:
  OptionEditor(const SynproxyRecord& rules, uint32_t clock_ms)
      : rules_(rules), clock_ms_(clock_ms) {}

  void edit(uint8_t* option, uint32_t length) {
    const uint8_t kind = option[0];
    const bool first = kind < 32 && (seen_ & 1u << kind) == 0;
    if (!first || !agree(option, length)) return blank(option, length);
    seen_ |= 1u << kind;
  }

  HandshakeOptions agreed() const {
    HandshakeOptions options = options_;
    if (options.mss == 0) options.mss = std::min(kMssUnsaid, rules_.init_mss);
    return options;
  }

 private:
  bool agree(uint8_t* option, uint32_t length) {
    switch (option[0]) {
      case kTcpOptionMss: return length == kMssBytes && mss(option + 2);
      case kTcpOptionWindowScale: return length == kWindowScaleBytes && window_scale(option + 2);
      case kTcpOptionTimestamps: return length == kTimestampsBytes && timestamps(option + 2);
      case kTcpOptionSackPermitted:
        options_.sack = rules_.sack != 0 && length == kSackPermittedBytes;
        return options_.sack;
      default: return false;
    }
  }

  bool mss(uint8_t* value) {
    const uint16_t said = load16(value).host();
    options_.mss = std::min(said == 0 ? kMssUnsaid : said, rules_.init_mss);
    store16(value, Be16::of(options_.mss));
    return true;
  }

  // A cookie cannot tell a shift of 0 from none (spec 12.9), so there is no scaling either way
  // then.
  bool window_scale(uint8_t* shift) {
    if (rules_.window_scale == 0 || *shift == 0) return false;
    options_.shift = std::min(*shift, kShiftMax);
    *shift = rules_.window_scale;
    return true;
  }

  bool timestamps(uint8_t* values) {
    if (rules_.timestamps == 0) return false;
    options_.timestamps = true;
    std::memcpy(values + 4, values, 4);
    store32(values, Be32::of(clock_ms_));
    return true;
  }

  const SynproxyRecord& rules_;
  uint32_t clock_ms_;
  HandshakeOptions options_;
  uint32_t seen_ = 0;  // bit per kind
};

// Swaps link addresses and IP ends; sets TTL, TOS and the bytes behind the IP header.
void turn_ip(Packet& packet, uint8_t ttl, uint32_t transport_bytes) {
  uint8_t* frame = packet.frame.data;
  if (packet.l3 == kEthernetBytes) std::swap_ranges(frame, frame + 6, frame + 6);
  const uint32_t header = packet.l4 - packet.l3;
  packet.l3_bytes = header + transport_bytes;
  packet.frame.length = packet.l3 + packet.l3_bytes;
  uint8_t* at = packet.ip();
  if (packet.family == 4) {
    Ip4 ip(at);
    at[1] = 0;
    std::swap_ranges(at + 12, at + 16, at + 16);
    ip.set_ttl(ttl);
    ip.set_total_bytes(packet.l3_bytes);
    ip.set_checksum(0);
    ip.set_checksum(checksum_of(at, header));
    return;
  }
  Ip6 ip(at);
  at[0] = 0x60;
  at[1] &= 0x0f;
  std::swap_ranges(ip.source(), ip.source() + 16, ip.destination());
  ip.set_hop_limit(ttl);
  ip.set_payload_bytes(packet.l3_bytes - kIp6Bytes);
}

void swap_ports(uint8_t* tcp) { std::swap_ranges(tcp, tcp + 2, tcp + 2); }

void full_checksum(Packet& packet, uint32_t bytes) {
  Tcp tcp(packet.transport());
  tcp.set_checksum(0);
  tcp.set_checksum(
      transport_checksum(packet.key.source, packet.key.destination, kProtoTcp, tcp.at, bytes));
  packet.frame.vnet = VnetHdr{};
}

uint32_t transport_bytes(const Packet& packet) { return packet.l3 + packet.l3_bytes - packet.l4; }

}  // namespace

HandshakeOptions answer_options(Packet& packet, const SynproxyRecord& rules, uint32_t clock_ms) {
  uint8_t* tcp = packet.transport();
  OptionEditor editor(rules, clock_ms);
  const uint32_t stop = for_each_tcp_option(
      tcp, [&](uint8_t* option, uint32_t length) { editor.edit(option, length); });
  // Whatever an End or a broken option hides from us it must hide from the client too.
  std::memset(tcp + stop, kTcpOptionEnd, Tcp(tcp).header_bytes() - stop);
  return editor.agreed();
}

void turn_into_syn_ack(Packet& packet, const SynproxyRecord& rules, const CookieKeys& keys,
                       uint32_t minutes, uint32_t clock_ms) {
  assert(packet.kind == PacketKind::kFlow && packet.key.protocol == kProtoTcp);
  Tcp tcp(packet.transport());
  const uint32_t header = tcp.header_bytes();
  const uint64_t before = sum_bytes(tcp.at, header);
  const uint32_t sequence = tcp.sequence().host();
  const uint32_t data = cookie_data(answer_options(packet, rules, clock_ms));
  swap_ports(tcp.at);
  tcp.set_sequence(make_cookie(keys, packet.key, sequence, minutes, data));
  tcp.set_acknowledgement(sequence + 1);
  tcp.set_header_bytes(header);
  tcp.set_flags(kTcpSyn | kTcpAck);
  // The window that takes nothing yet would never be opened for one who has to speak first.
  if (rules.close_client_window != 0 && rules.defer == 0) tcp.set_window(0);
  const bool whole = transport_bytes(packet) == header && !packet.is_gso();
  turn_ip(packet, rules.ttl, header);
  if (!whole) return full_checksum(packet, header);
  // A partial checksum holds the sum of the pseudo-header, and that does not care who is who.
  if (packet.checksum_partial()) return;
  const uint64_t change =
      uint64_t{static_cast<uint16_t>(~fold(before))} + fold(sum_bytes(tcp.at, header));
  tcp.set_checksum(update_checksum(tcp.checksum().raw, change));
}

void turn_into_reset(Packet& packet, uint8_t ttl) {
  Tcp tcp(packet.transport());
  const uint32_t sequence = tcp.acknowledgement().host();
  const uint32_t payload = transport_bytes(packet) - tcp.header_bytes();
  swap_ports(tcp.at);
  tcp.set_acknowledgement(tcp.sequence().host() + payload);
  tcp.set_sequence(sequence);
  tcp.set_header_bytes(kTcpBytes);
  tcp.set_flags(kTcpRst | kTcpAck);
  tcp.set_window(0);
  store16(tcp.at + 18, Be16{});  // urgent pointer
  turn_ip(packet, ttl, kTcpBytes);
  full_checksum(packet, kTcpBytes);
}

}  // namespace uvs
