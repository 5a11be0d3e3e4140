// In: a packet of a connection that SYNPROXY opened. Does: moves its numbers from one side's count
// to the other's. Next: transmit.cc gives it its new ends.
#include "synproxy/translate.h"

#include <algorithm>

#include "conn/timer_wheel.h"
#include "synproxy/tcp_option.h"

namespace uvs {
namespace {

constexpr uint32_t kSackBlockBytes = 8;

void add32(uint8_t* at, uint32_t more) { store32(at, Be32::of(load32(at).host() + more)); }

bool is_timestamps(const uint8_t* option, uint32_t length) {
  return option[0] == kTcpOptionTimestamps && length == kTimestampsBytes;
}

}  // namespace

void translate_request(Packet& packet, const SynproxyState& state) {
  if ((packet.tcp_flags & kTcpAck) == 0) return;
  const bool clocks = (state.flags & kSynproxyClocks) != 0;
  edit_tcp(packet, [&](Tcp<uint8_t> tcp) {
    add32(tcp.at + 8, 0u - state.delta);
    if (tcp.header_bytes() == kTcpBytes) return;
    for_each_tcp_option(tcp.at, [&](uint8_t* option, uint32_t length) {
      if (option[0] == kTcpOptionSack) {
        for (uint32_t at = 2; at + kSackBlockBytes <= length; at += kSackBlockBytes) {
          add32(option + at, 0u - state.delta);
          add32(option + at + 4, 0u - state.delta);
        }
      } else if (clocks && is_timestamps(option, length)) {
        add32(option + 6, 0u - state.clock_delta);
      }
    });
  });
}

void translate_reply(Packet& packet, const SynproxyState& state) {
  const bool clocks = (state.flags & kSynproxyClocks) != 0;
  edit_tcp(packet, [&](Tcp<uint8_t> tcp) {
    add32(tcp.at + 4, state.delta);
    // The window of a SYN is never scaled (RFC 7323 2.2).
    if (state.server_shift != state.own_shift && (packet.tcp_flags & kTcpSyn) == 0) {
      const uint32_t bytes = uint32_t{tcp.window().host()} << state.server_shift;
      tcp.set_window(static_cast<uint16_t>(std::min(bytes >> state.own_shift, 65535u)));
    }
    if (!clocks) return;
    for_each_tcp_option(tcp.at, [&](uint8_t* option, uint32_t length) {
      if (is_timestamps(option, length)) add32(option + 2, state.clock_delta);
    });
  });
}

bool is_ack_storm(const Packet& packet, SynproxyState& state, uint16_t limit, uint32_t tick) {
  if (limit == 0 || (packet.tcp_flags & kTcpAck) == 0) return false;
  const Tcp tcp(packet.transport());
  const uint32_t sequence = tcp.sequence().host();
  const uint32_t acknowledgement = tcp.acknowledgement().host();
  const bool again = state.repeat_sequence == sequence &&
                     state.repeat_acknowledgement == acknowledgement &&
                     tick - state.repeat_tick <= kTicksPerSec;
  state.repeat_sequence = sequence;
  state.repeat_acknowledgement = acknowledgement;
  state.repeat_tick = tick;
  state.repeats = again ? std::min<uint16_t>(state.repeats, 0xfffe) + 1 : 0;
  return state.repeats >= limit;
}

}  // namespace uvs
