// In: a packet that goes no further. Does: builds the ICMP or ICMPv6 error for its sender.
// Next: egress.cc sends it.
#include <algorithm>

#include "forward/forward.h"
#include "parse/checksum.h"
#include "parse/icmp.h"
#include "parse/ip4.h"
#include "parse/ip6.h"

namespace uvs {
namespace {

constexpr uint32_t kMaxAnswer4 = 576;   // RFC 1812 4.3.2.3
constexpr uint32_t kMaxAnswer6 = 1280;  // RFC 4443 2.4 c
static_assert(kMaxAnswer6 <= kFrameSlotBytes - kHeadroom);
constexpr uint8_t kAnswerTtl = 64;
// Precedence "internetwork control", with the type of service of the packet (RFC 1812 4.3.2.5).
constexpr uint8_t kPrecedence = 0xc0;
constexpr uint8_t kServiceMask = 0x1e;

struct TypeCode {
  uint8_t type;
  uint8_t code;
};

TypeCode type_code4(IcmpError error) {
  switch (error) {
    case IcmpError::kPortUnreachable: return {kIcmpUnreachable, 3};
    case IcmpError::kHostUnreachable: return {kIcmpUnreachable, 1};
    case IcmpError::kPacketTooBig: return {kIcmpUnreachable, 4};
    case IcmpError::kReassemblyTime: return {kIcmpTimeExceeded, 1};
    case IcmpError::kTimeExceeded: break;
  }
  return {kIcmpTimeExceeded, 0};
}

TypeCode type_code6(IcmpError error) {
  switch (error) {
    case IcmpError::kPortUnreachable: return {kIcmp6Unreachable, 4};
    case IcmpError::kHostUnreachable: return {kIcmp6Unreachable, 3};
    case IcmpError::kPacketTooBig: return {kIcmp6TooBig, 0};
    case IcmpError::kReassemblyTime: return {kIcmp6TimeExceeded, 1};
    case IcmpError::kTimeExceeded: break;
  }
  return {kIcmp6TimeExceeded, 0};
}

// IPv4 source that is not one host: unspecified, loopback, multicast, reserved, broadcast.
bool is_one_host4(Be32 address) {
  const uint32_t first = address.host() >> 24;
  return first != 0 && first != 127 && first < 224;
}

// Whether an error about `packet` may be sent at all (RFC 1122 3.2.2, RFC 4443 2.4 e).
bool may_answer(const Packet& packet, IcmpError error, const Addr& local) {
  const FlowKey& key = packet.key;
  const bool known = packet.kind == PacketKind::kFlow || packet.kind == PacketKind::kIcmp ||
                     packet.kind == PacketKind::kIpsec;
  if (!known) return false;
  if (packet.kind == PacketKind::kIcmp && is_icmp_error(packet)) return false;
  const bool is4 = packet.family == 4;
  if (local.is_v4() != is4 || key.source.is_v4() != is4) return false;
  if (is4) {
    return is_one_host4(key.source.v4_part()) && key.destination.v4_part().host() >> 28 < 0xe;
  }
  if (key.source.is_zero() || key.source.bytes[0] == 0xff) return false;
  // The one answer that a multicast may get, so that its path MTU is found (RFC 4443 2.4 e.3).
  return key.destination.bytes[0] != 0xff || error == IcmpError::kPacketTooBig;
}

// Header and quote of the ICMP message at `at`; checksum still 0. Returns its bytes.
uint32_t write_message(uint8_t* at, TypeCode what, uint32_t rest, const Packet& packet,
                       uint32_t room) {
  const uint32_t quote = std::min(packet.l3_bytes, room - kIcmpBytes);
  at[0] = what.type;
  at[1] = what.code;
  store16(at + kIcmpChecksumOffset, Be16{});
  store32(at + 4, Be32::of(rest));
  std::memcpy(at + kIcmpBytes, packet.ip(), quote);
  return kIcmpBytes + quote;
}

uint32_t write_answer4(uint8_t* at, const Packet& packet, const IcmpWords& words, const Addr& local,
                       uint16_t id) {
  const uint32_t message = write_message(at + kIp4Bytes, {words.type, words.code}, words.rest,
                                         packet, kMaxAnswer4 - kIp4Bytes);
  Icmp(at + kIp4Bytes).set_checksum(checksum_of(at + kIp4Bytes, message));
  Ip4 ip(at);
  at[0] = 0x45;
  at[1] = static_cast<uint8_t>(kPrecedence | (Ip4(packet.ip()).tos() & kServiceMask));
  ip.set_total_bytes(kIp4Bytes + message);
  // Routers may cut it: net/ipv4/icmp.c icmp_sk_init asks for IP_PMTUDISC_DONT.
  ip.set_id(id);
  ip.set_flags_and_offset(0);
  ip.set_ttl(kAnswerTtl);
  at[9] = kProtoIcmp;
  ip.set_source(local.v4_part());
  ip.set_destination(packet.key.source.v4_part());
  ip.set_checksum(0);
  ip.set_checksum(static_cast<uint16_t>(~fold(sum_header20(at))));
  return kIp4Bytes + message;
}

uint32_t write_answer6(uint8_t* at, const Packet& packet, IcmpError error, uint32_t mtu,
                       const Addr& local) {
  const uint32_t rest = error == IcmpError::kPacketTooBig ? mtu : 0;
  uint8_t* icmp = at + kIp6Bytes;
  const uint32_t message =
      write_message(icmp, type_code6(error), rest, packet, kMaxAnswer6 - kIp6Bytes);
  Icmp(icmp).set_checksum(transport_checksum(local, packet.key.source, kProtoIcmp6, icmp, message));
  Ip6 ip(at);
  store32(at, Be32::of(6u << 28));
  ip.set_payload_bytes(message);
  at[6] = kProtoIcmp6;
  ip.set_hop_limit(kAnswerTtl);
  std::memcpy(ip.source(), local.bytes, 16);
  std::memcpy(ip.destination(), packet.key.source.bytes, 16);
  return kIp6Bytes + message;
}

}  // namespace

bool build_icmp_error(const Packet& packet, IcmpError error, uint32_t mtu, const Addr& local,
                      uint16_t id, Frame* out) {
  if (packet.family == 4) {
    const TypeCode what = type_code4(error);
    // Next-hop MTU in the lower half of the second word (RFC 1191 4).
    const uint32_t rest = error == IcmpError::kPacketTooBig ? std::min(mtu, kMaxIpBytes) : 0;
    return build_icmp_relay(packet, {what.type, what.code, rest}, local, id, out);
  }
  if (!may_answer(packet, error, local)) return false;
  out->length = write_answer6(out->data, packet, error, mtu, local);
  out->vnet = VnetHdr{};
  out->port = packet.frame.port;
  return true;
}

bool build_icmp_relay(const Packet& packet, const IcmpWords& words, const Addr& local, uint16_t id,
                      Frame* out) {
  // Which error it is matters to IPv6 alone.
  if (!may_answer(packet, IcmpError::kPacketTooBig, local)) return false;
  out->length = write_answer4(out->data, packet, words, local, id);
  out->vnet = VnetHdr{};
  out->port = packet.frame.port;
  return true;
}

}  // namespace uvs
