// In: an ARP request or a neighbour solicitation. Does: turns it into the reply when it asks for
// an announced address; also builds announcements. Next: egress.cc sends the frame.
#include "forward/announce.h"

#include <algorithm>
#include <cstring>

#include "address_hash.h"
#include "parse/arp.h"
#include "parse/checksum.h"
#include "parse/ether.h"
#include "parse/icmp.h"
#include "parse/ip6.h"

namespace uvs {
namespace {

constexpr uint8_t kSolicitation = 135;   // RFC 4861 4.3
constexpr uint8_t kAdvertisement = 136;  // RFC 4861 4.4
constexpr uint8_t kHopLimit = 255;       // RFC 4861 7.1: nobody beyond the link can send it
constexpr uint32_t kMessageBytes = 24;   // ICMPv6 header and target address
constexpr uint32_t kOptionBytes = 8;     // a link-layer address option for Ethernet
constexpr uint8_t kSourceLinkOption = 1;
constexpr uint8_t kTargetLinkOption = 2;
constexpr uint32_t kReplyBytes = kMessageBytes + kOptionBytes;
constexpr uint32_t kFlagSolicited = 0x40000000;
constexpr uint32_t kFlagOverride = 0x20000000;
constexpr uint8_t kBroadcast[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
constexpr uint8_t kAllNodesLink[6] = {0x33, 0x33, 0, 0, 0, 1};
constexpr uint8_t kAllNodes[16] = {0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1};

bool is_group(const uint8_t* link) { return link[0] & 1; }
bool is_multicast6(const uint8_t* address) { return address[0] == 0xff; }

// The group ff02::1:ff00:0/104 with the last three bytes of the target (RFC 4291 2.7.1).
bool is_solicited_node(const uint8_t* address, const uint8_t* target) {
  constexpr uint8_t kPrefix[13] = {0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff};
  return std::memcmp(address, kPrefix, 13) == 0 && std::memcmp(address + 13, target + 13, 3) == 0;
}

void write_ether(uint8_t* frame, const uint8_t* destination, const uint8_t* source, Be16 type) {
  std::memcpy(frame, destination, 6);
  std::memcpy(frame + 6, source, 6);
  store16(frame + 12, type);
}

// An ARP packet behind `frame`'s Ethernet header; all addresses in network order.
void write_arp(uint8_t* arp, Be16 operation, const uint8_t* sender_link, Be32 sender,
               const uint8_t* target_link, Be32 target) {
  store32(arp, Be32::of(0x00010800));
  store16(arp + 4, Be16::of(0x0604));
  store16(arp + 6, operation);
  std::memcpy(arp + 8, sender_link, 6);
  store32(arp + 14, sender);
  std::memcpy(arp + 18, target_link, 6);
  store32(arp + 24, target);
}

// A neighbour advertisement of `target` at `link`, from `target` itself, as an Ethernet frame of
// kAdvertisementBytes.
constexpr uint32_t kAdvertisementBytes = kEthernetBytes + kIp6Bytes + kReplyBytes;
void write_advertisement(uint8_t* frame, const uint8_t* to_link, const uint8_t* to,
                         const uint8_t* link, const uint8_t* target, uint32_t flags) {
  write_ether(frame, to_link, link, kEtherIp6);
  uint8_t* ip = frame + kEthernetBytes;
  store32(ip, Be32::of(0x60000000));
  Ip6(ip).set_payload_bytes(kReplyBytes);
  ip[6] = kProtoIcmp6;
  Ip6(ip).set_hop_limit(kHopLimit);
  std::memcpy(ip + 8, target, 16);
  std::memcpy(ip + 24, to, 16);
  uint8_t* message = ip + kIp6Bytes;
  message[0] = kAdvertisement;
  message[1] = 0;
  store32(message + 4, Be32::of(flags));
  std::memcpy(message + 8, target, 16);
  message[kMessageBytes] = kTargetLinkOption;
  message[kMessageBytes + 1] = kOptionBytes / 8;
  std::memcpy(message + kMessageBytes + 2, link, 6);
  Icmp(message).set_checksum(0);
  Icmp(message).set_checksum(
      transport_checksum(Addr::v6(target), Addr::v6(to), kProtoIcmp6, message, kReplyBytes));
}

// What a valid neighbour solicitation asks; RFC 4861 7.1.1 lists what makes it valid.
struct Solicitation {
  uint8_t source[16];
  uint8_t target[16];
  uint8_t link[6];  // where the answer goes
  bool probe;       // duplicate address detection: from the unspecified address
};

// Walks the options; false when one is broken. Copies a source link-layer address to `link`.
bool read_options(const uint8_t* at, uint32_t bytes, uint8_t* link, bool* has_link) {
  *has_link = false;
  while (bytes != 0) {
    if (bytes < 2 || at[1] == 0 || at[1] * 8u > bytes) return false;
    const uint32_t length = at[1] * 8u;
    if (at[0] == kSourceLinkOption && length == kOptionBytes) {
      std::memcpy(link, at + 2, 6);
      *has_link = true;
    }
    at += length;
    bytes -= length;
  }
  return true;
}

bool read_solicitation(const Packet& packet, Solicitation* out) {
  const Ip6 ip(packet.ip());
  const uint32_t header = static_cast<uint32_t>(packet.l4 - packet.l3);
  if (packet.l3_bytes < header + kMessageBytes) return false;
  const uint32_t bytes = packet.l3_bytes - header;
  const uint8_t* message = packet.transport();
  if (message[0] != kSolicitation || message[1] != 0 || ip.hop_limit() != kHopLimit) return false;
  std::memcpy(out->source, ip.source(), 16);
  std::memcpy(out->target, message + 8, 16);
  std::memcpy(out->link, Ether(packet.frame.data).source(), 6);
  if (is_multicast6(out->target) || is_multicast6(out->source)) return false;
  bool has_link = false;
  if (!read_options(message + kMessageBytes, bytes - kMessageBytes, out->link, &has_link)) {
    return false;
  }
  out->probe = Addr::v6(out->source).is_zero();
  if (out->probe && (has_link || !is_solicited_node(ip.destination(), out->target))) return false;
  if (is_group(out->link)) return false;
  if (packet.checksum_partial()) return true;  // the sender's hardware would have filled it in
  const uint64_t sum = sum_pseudo(packet.key.source, packet.key.destination, kProtoIcmp6, bytes);
  return fold(add_sums(sum, sum_bytes(message, bytes))) == 0xffff;
}

// The frame was sent to `own` or to a group, not to a third station (promiscuous mode).
bool meant_for(const uint8_t* frame, const uint8_t* own) {
  return is_group(frame) || std::memcmp(frame, own, 6) == 0;
}

uint32_t index_of(const Addr& address, uint32_t entries) {
  return static_cast<uint32_t>(hash_address(address) % entries);
}

}  // namespace

Announcer::Announcer(const NextHops& hops)
    : hops_(hops),
      entries_(std::make_unique<Entry[]>(kAnnouncedMax)),
      previous_(std::make_unique<Entry[]>(kAnnouncedMax)),
      index_(std::make_unique<uint16_t[]>(kIndexEntries)) {}

const Announcer::Entry* Announcer::find(const Addr& address, uint16_t port) const {
  for (uint32_t i = index_of(address, kIndexEntries); index_[i] != 0; i = (i + 1) % kIndexEntries) {
    const Entry& entry = entries_[index_[i] - 1];
    if (entry.address == address && entry.port == port) return &entry;
  }
  return nullptr;
}

bool Announcer::owns(const Addr& address) const {
  if (count_ == 0) return false;
  for (uint32_t i = index_of(address, kIndexEntries); index_[i] != 0; i = (i + 1) % kIndexEntries) {
    if (entries_[index_[i] - 1].address == address) return true;
  }
  return false;
}

void Announcer::add(const Addr& address, uint16_t port) {
  if (count_ == kAnnouncedMax || port >= kMaxPorts || find(address, port) != nullptr) return;
  entries_[count_++] = Entry{address, port, kRounds};
  uint32_t i = index_of(address, kIndexEntries);
  while (index_[i] != 0) i = (i + 1) % kIndexEntries;
  index_[i] = static_cast<uint16_t>(count_);
}

void Announcer::adopt(const AnnounceRecord* records, uint32_t count) {
  std::swap(entries_, previous_);
  const uint32_t previous_count = count_;
  count_ = 0;
  std::fill_n(index_.get(), kIndexEntries, uint16_t{0});
  for (uint32_t i = 0; i < count; i++) {
    if (records[i].port < kMaxPorts) {
      add(records[i].address, static_cast<uint16_t>(records[i].port));
    }
  }
  for (uint32_t i = 0; i < previous_count; i++) {
    const Entry& old = previous_[i];
    if (const Entry* same = find(old.address, old.port)) {
      entries_[same - entries_.get()].rounds_left = old.rounds_left;
    }
  }
  pending_ = 0;
  for (uint32_t i = 0; i < count_; i++) pending_ += entries_[i].rounds_left;
  cursor_ = 0;
}

bool Announcer::answer(Packet& packet) {
  if (count_ == 0 || packet.l3 != kEthernetBytes) return false;
  if (packet.kind == PacketKind::kArp) return answer_arp(packet);
  return packet.kind == PacketKind::kIcmp && packet.family == 6 && answer_solicitation(packet);
}

// RFC 826; a probe has sender 0.0.0.0 and gets the same reply (RFC 5227 2.1.1). Announcements
// (sender and target alike) are not contested: during a failover the new owner is right.
bool Announcer::answer_arp(Packet& packet) {
  uint8_t* frame = packet.frame.data;
  const Arp arp(packet.ip());
  const Be32 target = arp.target();
  const Be32 sender = arp.sender();
  const uint8_t* own = hops_.link_address(packet.frame.port);
  if (arp.operation() != kArpRequest || sender == target || own == nullptr) return false;
  if (is_group(arp.sender_link()) || !meant_for(frame, own)) return false;
  if (find(Addr::v4(target), packet.frame.port) == nullptr) return false;
  uint8_t asker[6];
  std::memcpy(asker, arp.sender_link(), 6);
  write_arp(packet.ip(), kArpReply, own, target, asker, sender);
  write_ether(frame, asker, own, kEtherArp);
  packet.frame.vnet = VnetHdr{};
  return true;
}

// RFC 4861 7.2.4. A probe is answered to all nodes, for the one who asks has no address yet.
bool Announcer::answer_solicitation(Packet& packet) {
  const uint8_t* own = hops_.link_address(packet.frame.port);
  Solicitation asked;
  if (own == nullptr || !meant_for(packet.frame.data, own)) return false;
  if (!read_solicitation(packet, &asked)) return false;
  if (find(Addr::v6(asked.target), packet.frame.port) == nullptr) return false;
  // The reply ends where the solicitation ends: one without options is shorter, so it begins in
  // the headroom.
  const uint32_t end = packet.l3 + packet.l3_bytes;
  const int32_t earlier = static_cast<int32_t>(kAdvertisementBytes) - static_cast<int32_t>(end);
  if (earlier > static_cast<int32_t>(packet.frame.headroom)) return false;
  const uint32_t headroom = packet.frame.headroom;
  if (earlier > 0) {
    packet.frame.data -= earlier;
    packet.frame.headroom = headroom - static_cast<uint32_t>(earlier);
  }
  packet.frame.length = kAdvertisementBytes;
  packet.frame.vnet = VnetHdr{};
  const uint8_t* to = asked.probe ? kAllNodes : asked.source;
  write_advertisement(packet.frame.data, asked.probe ? kAllNodesLink : asked.link, to, own,
                      asked.target, kFlagOverride | (asked.probe ? 0 : kFlagSolicited));
  return true;
}

uint32_t Announcer::build(Frame* out, uint32_t max, uint32_t now_ms) {
  // A round that has begun goes on over as many calls as it takes.
  if (pending_ == 0 || (cursor_ == 0 && timed_ && now_ms - round_ms_ < kRoundMs)) return 0;
  if (cursor_ == 0) round_ms_ = now_ms;
  timed_ = true;
  uint32_t built = 0;
  for (; cursor_ < count_ && built < max; cursor_++) {
    Entry& entry = entries_[cursor_];
    if (entry.rounds_left == 0) continue;
    entry.rounds_left--;
    pending_--;
    const uint8_t* own = hops_.link_address(entry.port);
    if (own != nullptr) build_one(entry, own, &out[built++]);
  }
  if (cursor_ == count_) cursor_ = 0;
  return built;
}

void Announcer::build_one(const Entry& entry, const uint8_t* own, Frame* out) {
  out->port = entry.port;
  out->vnet = VnetHdr{};
  if (!entry.address.is_v4()) {
    out->length = kAdvertisementBytes;
    write_advertisement(out->data, kAllNodesLink, kAllNodes, own, entry.address.bytes,
                        kFlagOverride);
    return;
  }
  constexpr uint8_t kNobody[6] = {};
  const Be32 address = entry.address.v4_part();
  out->length = kEthernetBytes + kArpBytes;
  write_ether(out->data, kBroadcast, own, kEtherArp);
  write_arp(out->data + kEthernetBytes, kArpRequest, own, address, kNobody, address);
}

}  // namespace uvs
