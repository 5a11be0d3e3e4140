// In: ICMP errors about tunnel packets of this director, and flows of mark services that no
// destination takes. Does: path MTU and relay (spec 5.7.3); bypass (spec 5.4, 2). Next: core.cc.
#include "core.h"
#include "forward/related_icmp.h"
#include "parse/icmp.h"

namespace uvs {
namespace {

constexpr uint32_t kMinMtu = 68;  // RFC 791 3.2

// A tunnel packet of this connection would look like that. Kernel: ip_vs_find_tunnel.
bool sent_so(const QuotedTunnel& quoted, const Conn& conn, const DestinationRecord& destination,
             const Addr& remote) {
  const Tunnel now = tunnel_of(destination);
  return conn.method == kMethodTunnel && destination.method == kMethodTunnel &&
         (destination.flags & kDestinationAvailable) != 0 && remote == quoted.remote &&
         now.type == quoted.tunnel.type &&
         (now.type != kTunnelGue || now.port == quoted.tunnel.port);
}

// One host (kernel: inet_addr_type, ipv6_addr_type): neither a group nor nobody.
bool is_unicast(const Addr& address) {
  if (address.is_zero()) return false;
  if (!address.is_v4()) return address.bytes[0] != 0xff;
  return address.v4_part().host() >> 28 < 0xe;
}

}  // namespace

// Spec 5.7.3. False: it is about no tunnel packet of a connection here.
bool Core::tunnel_error(Packet& packet, const QuotedTunnel& quoted) {
  // The quoted packet is a request: nothing is swapped.
  const FlowKey key = connection_ends(quoted.client.key);
  const uint32_t entry = table_.find(key, table_.hash(key));
  if (entry == kNoEntry || (entry & 1) != 0) return false;
  Conn& conn = table_.at(entry >> 1);
  const auto now = static_cast<uint32_t>(now_ms_);
  const DestinationRecord* destination = snapshot_.destination(conn.destination_slot);
  if (destination == nullptr ||
      !sent_so(quoted, conn, *destination, table_.address(conn.destination_index)) ||
      !(transmitter_.tunnel_source(conn, now) == packet.key.destination)) {
    return false;
  }
  if (packet.checksum_partial()) complete_checksum(packet);
  if (!icmp_checksum_good(packet)) {
    counters_.count(Reason::kIcmpBadChecksum);
    return true;
  }
  const Icmp icmp(packet.transport());
  IcmpWords words{icmp.type(), icmp.code(), icmp.rest().host()};
  if (words.type == kIcmpUnreachable && words.code == kIcmpFragmentationNeeded) {
    const uint32_t path = transmitter_.narrow_path(conn, words.rest & 0xffff, now);
    if (!quoted.client.dont_fragment) return true;
    words.rest = path > kMinMtu + quoted.header_bytes ? path - quoted.header_bytes : path;
  }
  const Addr& from = table_.address(conn.virtual_index);
  const uint32_t answered = egress_.relay(quoted.client, words, from, now);
  // The kernel counts the client's packet as if it went out, and sees the error leave (LOCAL_OUT).
  count_out(*destination, conn.destination_slot, quoted.client.l3_bytes);
  if (answered != 0) count_out(*destination, conn.destination_slot, answered);
  return true;
}

// Spec 5.4, 2: a flow of a mark service that no destination takes goes on to where it is addressed
// to, by a connection without destination, which counts nothing. False: not by these rules.
bool Core::bypass(const MissRecord& miss, uint16_t number) {
  Packet& packet = packets_[number];
  if (snapshot_.sysctl(kSysctlCacheBypass) == 0 || packet.kind != PacketKind::kFlow ||
      (miss.flags & kMissSynproxy) != 0 ||  // its origin never saw the SYN
      snapshot_.service(miss.service_slot)->fwmark == 0 || !is_unicast(packet.key.destination)) {
    return false;
  }
  if (is_host_address(packet.key.destination)) return false;
  const uint8_t nobody[16] = {};
  NewConn wanted{};
  wanted.in = packet.key;
  wanted.destination = packet.family == 4 ? Addr::v4(Be32{}) : Addr::v6(nobody);
  wanted.destination_slot = kNoSlot;
  wanted.method = kMethodBypass;
  wanted.fwmark = miss.fwmark;
  if (packet.family == 6) wanted.flags |= kConnIp6;
  if (miss.flags & kMissOnePacket) wanted.flags |= kConnOnePacket;
  uint32_t id;
  const CreateError error = tracker_.create(wanted, tick(), &id);
  if (error != CreateError::kNone) {
    const bool full = error == CreateError::kTableFull;
    counters_.count(full ? Reason::kTableFull : Reason::kAddressTableFull, miss.packets);
    return true;
  }
  for (; number != MissBatch::kEnd; number = batch_.next(number)) {
    Packet& each = packets_[number];
    if (each.kind == PacketKind::kIcmp) {
      follow(each, id << 1);
    } else {
      forward_past(each, id);
    }
  }
  if (miss.flags & kMissOnePacket) tracker_.end(id);
  return true;
}

// A packet of a bypassed connection.
void Core::forward_past(Packet& packet, uint32_t id) {
  Conn& conn = table_.at(id);
  tracker_.track(id, packet, false, tick());
  conn.in_packets++;
  transmitter_.request(packet, conn, static_cast<uint32_t>(now_ms_));
}

}  // namespace uvs
