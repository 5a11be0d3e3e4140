// In: a fragment. Does: puts it where it belongs in its datagram, or refuses it; says when the
// datagram is whole. Next: core.cc parses the whole datagram like a frame that came so.
#include "parse/reassembly.h"

#include <algorithm>
#include <cassert>

#include "address_hash.h"
#include "parse/checksum.h"
#include "parse/ether.h"
#include "parse/icmp.h"
#include "parse/ip4.h"
#include "parse/ip6.h"

namespace uvs {
namespace {

constexpr uint32_t kUnit = 8;  // every fragment but the last carries a multiple of this
constexpr uint8_t kEcnMask = 3;
constexpr uint8_t kEcnCe = 3;
constexpr uint8_t kSawNotEct = 1 << 0;
constexpr uint8_t kSawCe = 1 << kEcnCe;

uint8_t traffic_class(const Packet& packet) {
  return packet.family == 4 ? Ip4(packet.ip()).tos() : Ip6(packet.ip()).traffic_class();
}

// Fragments that disagree about being capable of ECN were tampered with (RFC 3168 5.3).
bool ecn_is_bad(uint8_t seen) { return (seen & kSawNotEct) != 0 && seen != kSawNotEct; }

// Makes the headers of the first fragment those of the datagram, whose payload is `bytes` long.
// The IPv4 header stands where it stood; `df`: every largest fragment had DF.
void finish_ip4(uint8_t* header, uint32_t header_bytes, uint32_t bytes, bool df, bool congested) {
  Ip4 ip(header);
  ip.set_total_bytes(header_bytes + bytes);
  ip.set_flags_and_offset(df ? kIp4DontFragment : 0);
  if (congested) header[1] |= kEcnCe;
  ip.set_checksum(0);
  ip.set_checksum(checksum_of(header, header_bytes));
}

// The same for IPv6: the fragment header at `found` goes, what is in front of it moves up to the
// payload (from `frame` on, the link header too).
void finish_ip6(uint8_t* frame, uint32_t l3, const Ip6Fragment& found, uint32_t bytes,
                bool congested) {
  uint8_t* ip = frame + l3;
  ip[found.named_at] = ip[found.at];
  if (congested) ip[1] |= kEcnCe << 4;
  Ip6(ip).set_payload_bytes(found.at - kIp6Bytes + bytes);
  std::memmove(frame + kIp6FragmentBytes, frame, l3 + found.at);
}

}  // namespace

// What one fragment says about its datagram.
struct Reassembly::Piece {
  uint32_t start;  // bytes from the start of what is fragmented
  uint32_t end;
  bool more;
  bool dont_fragment;
  uint32_t id;

  explicit Piece(const Packet& packet) {
    const uint32_t bytes = packet.l3 + packet.l3_bytes - packet.l4;
    if (packet.family == 4) {
      const Ip4 ip(packet.ip());
      const uint16_t field = ip.flags_and_offset().host();
      start = (field & kIp4OffsetMask) * kUnit;
      more = (field & kIp4MoreFragments) != 0;
      dont_fragment = packet.dont_fragment;
      id = ip.id().host();
    } else {
      const Ip6Fragment found = find_fragment(packet.ip(), packet.l3_bytes);
      start = found.offset();
      more = found.more();
      dont_fragment = false;
      id = load32(packet.ip() + found.at + 4).host();
    }
    end = start + bytes;
    // IPv4: the odd rest is cut off, as ip_frag_queue() does. IPv6 refuses it (place()).
    if (more && packet.family == 4) end = end / kUnit * kUnit;
  }
};

Reassembly::Reassembly(uint64_t seed)
    : memory_(new uint8_t[size_t{kReassemblyDatagrams} * kReassemblySlotBytes]),
      datagrams_(new Datagram[kReassemblyDatagrams]),
      seed_(seed) {
  std::fill_n(buckets_, kBuckets, kNone);
  for (uint16_t i = 0; i < kReassemblyDatagrams; i++) free_[i] = i;
}

uint32_t Reassembly::bucket(const Key& key) const {
  const uint64_t more = hash_address(key.destination, key.id ^ static_cast<uint32_t>(seed_));
  return static_cast<uint32_t>((hash_address(key.source, key.protocol) ^ seed_) * (more | 1) >>
                               32) %
         kBuckets;
}

uint16_t Reassembly::find(const Key& key) const {
  uint16_t number = buckets_[bucket(key)];
  while (number != kNone && !(datagrams_[number].key == key)) {
    number = datagrams_[number].bucket_next;
  }
  return number;
}

Reassembly::Outcome Reassembly::add(Packet& packet, uint32_t now_ms, uint16_t* fragment_bytes) {
  assert(packet.kind == PacketKind::kFragment);
  const Piece piece(packet);
  const bool is4 = packet.family == 4;
  const auto refuse = [&packet](Reason reason) {
    packet.reason = reason;
    return Outcome::kRefused;
  };
  if (!is4 && piece.more && packet.l3_bytes < kIp6MinMtu) return refuse(Reason::kFragmentTiny);
  if (packet.l4 > kReassemblyHeaderBytes) return refuse(Reason::kIp6BadExtension);
  const Key key{packet.key.source, packet.key.destination, piece.id,
                is4 ? packet.key.protocol : uint8_t{0}, packet.family};
  uint16_t number = find(key);
  if (number == kNone) {
    // What fits no datagram takes no place from another.
    if (const Reason reason = impossible(piece); reason != Reason{}) return refuse(reason);
    number = open(key, packet, now_ms);
  }
  Datagram& datagram = datagrams_[number];
  datagram.ecn |= static_cast<uint8_t>(1 << (traffic_class(packet) & kEcnMask));
  const Reason reason = place(datagram, piece);
  if (reason == Reason::kFragmentDuplicate) return refuse(reason);
  if (reason != Reason{}) {
    drop(number);
    return refuse(reason);
  }
  keep(number, packet, piece);
  if (!datagram.first || !datagram.last || datagram.received != datagram.end) {
    return Outcome::kKept;
  }
  *fragment_bytes = datagram.largest;
  if (finish(number, packet)) return Outcome::kWhole;
  drop(number);
  return Outcome::kRefused;
}

uint16_t Reassembly::open(const Key& key, const Packet& packet, uint32_t now_ms) {
  const auto share = static_cast<uint16_t>(
      hash_address(key.source, static_cast<uint32_t>(seed_ >> 32)) % kReassemblyDatagrams);
  make_room(share);
  const uint16_t number = free_[--free_count_];
  Datagram& made = datagrams_[number];
  made.key = key;
  made.since_ms = now_ms;
  made.received = 0;
  made.end = made.largest = made.largest_df = 0;
  made.port = packet.frame.port;
  made.share = share;
  made.ecn = made.runs = made.pieces = 0;
  made.first = made.last = false;
  uint16_t& head = buckets_[bucket(key)];
  made.bucket_next = head;
  head = number;
  Ages& list = ages(made);
  made.older = list.newest;
  made.newer = kNone;
  (list.newest == kNone ? list.oldest : datagrams_[list.newest].newer) = number;
  list.newest = number;
  shares_[share]++;
  unfinished_++;
  return number;
}

void Reassembly::make_room(uint16_t share) {
  uint16_t victim = kNone;
  if (shares_[share] == kReassemblyPerSource) {
    victim = oldest_of(share);
  } else if (free_count_ == 0) {
    victim = oldest();
  } else {
    return;
  }
  assert(victim != kNone);
  drop(victim);
  given_up_++;
}

uint16_t Reassembly::oldest() const {
  const uint16_t four = ages_[0].oldest;
  const uint16_t six = ages_[1].oldest;
  if (four == kNone || six == kNone) return four == kNone ? six : four;
  const auto age = static_cast<int32_t>(datagrams_[four].since_ms - datagrams_[six].since_ms);
  return age <= 0 ? four : six;
}

uint16_t Reassembly::oldest_of(uint16_t share) const {
  for (const Ages& list : ages_) {
    for (uint16_t at = list.oldest; at != kNone; at = datagrams_[at].newer) {
      if (datagrams_[at].share == share) return at;
    }
  }
  return kNone;
}

// Takes a datagram out of the tables; its memory stays taken.
void Reassembly::unlink(uint16_t number) {
  Datagram& gone = datagrams_[number];
  uint16_t* link = &buckets_[bucket(gone.key)];
  while (*link != number) link = &datagrams_[*link].bucket_next;
  *link = gone.bucket_next;
  Ages& list = ages(gone);
  (gone.older == kNone ? list.oldest : datagrams_[gone.older].newer) = gone.newer;
  (gone.newer == kNone ? list.newest : datagrams_[gone.newer].older) = gone.older;
  shares_[gone.share]--;
  unfinished_--;
}

void Reassembly::drop(uint16_t number) {
  unlink(number);
  free_[free_count_++] = number;
}

// What is wrong with a fragment whatever its datagram; Reason{} is "nothing" here and below.
Reason Reassembly::impossible(const Piece& piece) {
  static_assert(Reason{} == Reason::kFrameTruncated, "no reason of this stage");
  if (piece.end > kMaxIpBytes) return Reason::kFragmentTooLong;
  const bool odd = piece.more && piece.end % kUnit != 0;
  return odd || piece.end == piece.start ? Reason::kFragmentBad : Reason{};
}

// The checks of ip_frag_queue().
Reason Reassembly::place(Datagram& datagram, const Piece& piece) {
  if (const Reason reason = impossible(piece); reason != Reason{}) return reason;
  if (!piece.more) {
    if (piece.end < datagram.end || (datagram.last && piece.end != datagram.end)) {
      return Reason::kFragmentBad;
    }
    datagram.last = true;
    datagram.end = static_cast<uint16_t>(piece.end);
  } else if (piece.end > datagram.end) {
    if (datagram.last) return Reason::kFragmentBad;
    datagram.end = static_cast<uint16_t>(piece.end);
  }
  if (ecn_is_bad(datagram.ecn)) return Reason::kFragmentBad;
  return insert(datagram, piece.start, piece.end);
}

// inet_frag_queue_insert(): runs are in order of their bytes, and only the last one grows.
Reason Reassembly::insert(Datagram& datagram, uint32_t start, uint32_t end) {
  if (datagram.pieces == kReassemblyPieces) return Reason::kFragmentTiny;
  const Run made{static_cast<uint16_t>(start), static_cast<uint16_t>(end)};
  uint32_t at = datagram.runs;
  if (at != 0 && datagram.run[at - 1].end < end) {
    Run& tail = datagram.run[at - 1];
    if (start < tail.end) return Reason::kFragmentOverlap;
    if (start == tail.end) {
      tail.end = made.end;
      datagram.pieces++;
      datagram.received += end - start;
      return Reason{};
    }
  } else {
    while (at != 0 && datagram.run[at - 1].start >= end) at--;
    // The run below begins before our end: it must end before our start.
    if (at != 0 && datagram.run[at - 1].end > start) {
      const Run& met = datagram.run[at - 1];
      return start >= met.start && end <= met.end ? Reason::kFragmentDuplicate
                                                  : Reason::kFragmentOverlap;
    }
  }
  std::copy_backward(datagram.run + at, datagram.run + datagram.runs,
                     datagram.run + datagram.runs + 1);
  datagram.run[at] = made;
  datagram.runs++;
  datagram.pieces++;
  datagram.received += end - start;
  return Reason{};
}

// Copies what the fragment carries, and of the first one everything in front of it too.
void Reassembly::keep(uint16_t number, const Packet& packet, const Piece& piece) {
  Datagram& datagram = datagrams_[number];
  std::memcpy(payload(number) + piece.start, packet.transport(), piece.end - piece.start);
  const auto bytes = static_cast<uint16_t>(packet.l3_bytes);
  datagram.largest = std::max(datagram.largest, bytes);
  if (piece.dont_fragment) datagram.largest_df = std::max(datagram.largest_df, bytes);
  if (piece.start != 0) return;
  datagram.first = true;
  datagram.first_bytes = static_cast<uint16_t>(piece.end);
  datagram.header = packet.l4;
  datagram.l3 = packet.l3;
  datagram.protocol = packet.key.protocol;
  datagram.port = packet.frame.port;
  std::memcpy(payload(number) - packet.l4, packet.frame.data, packet.l4);
}

// Turns packet.frame into the datagram. False: `packet.reason`.
bool Reassembly::finish(uint16_t number, Packet& packet) {
  const Datagram& datagram = datagrams_[number];
  uint8_t* frame = payload(number) - datagram.header;
  uint8_t* ip = frame + datagram.l3;
  const bool congested = (datagram.ecn & kSawCe) != 0;
  const uint32_t header = datagram.header - uint32_t{datagram.l3};
  if (datagram.key.family == 4) {
    if (header + datagram.end > kMaxIpBytes) {
      packet.reason = Reason::kFragmentTooLong;
      return false;
    }
    finish_ip4(ip, header, datagram.end, datagram.largest_df == datagram.largest, congested);
  } else {
    const Ip6Fragment found = find_fragment(ip, header);
    assert(found.at + kIp6FragmentBytes == header);
    if (found.at - kIp6Bytes + datagram.end > kMaxIpBytes) {
      packet.reason = Reason::kFragmentTooLong;
      return false;
    }
    finish_ip6(frame, datagram.l3, found, datagram.end, congested);
    frame += kIp6FragmentBytes;
  }
  packet.frame = Frame{};
  packet.frame.data = frame;
  packet.frame.length = static_cast<uint32_t>(payload(number) + datagram.end - frame);
  packet.frame.headroom = static_cast<uint32_t>(frame - (payload(number) - kPayloadAt));
  packet.frame.port = datagram.port;
  unlink(number);
  lent_[lent_count_++] = number;
  return true;
}

void Reassembly::release() {
  while (lent_count_ != 0) free_[free_count_++] = lent_[--lent_count_];
}

bool Reassembly::expire(uint32_t now_ms, Packet* first) {
  constexpr uint32_t kWaitMs[2] = {kReassemblyIp4Ms, kReassemblyIp6Ms};
  for (uint32_t family = 0; family < 2; family++) {
    const uint16_t number = ages_[family].oldest;
    if (number == kNone || now_ms - datagrams_[number].since_ms < kWaitMs[family]) continue;
    lend_first(number, first);
    drop(number);
    return true;
  }
  return false;
}

// Nobody may answer an ICMP error, so one that cannot be told apart is not answered either.
void Reassembly::lend_first(uint16_t number, Packet* first) const {
  const Datagram& datagram = datagrams_[number];
  *first = Packet{};
  first->kind = PacketKind::kBad;
  if (!datagram.first) return;
  first->frame.data = payload(number) - datagram.header;
  first->frame.length = uint32_t{datagram.header} + datagram.first_bytes;
  first->frame.port = datagram.port;
  first->l3 = datagram.l3;
  first->l4 = datagram.header;
  first->l3_bytes = first->frame.length - datagram.l3;
  first->family = datagram.key.family;
  first->key.source = datagram.key.source;
  first->key.destination = datagram.key.destination;
  first->key.protocol = datagram.protocol;
  first->ttl = 64;
  // Behind its fragment header may stand further ones.
  uint32_t l4 = 0;
  if (first->family == 6) {
    const Ip6Chain chain = walk_extensions(first->ip(), first->l3_bytes, &first->key.protocol, &l4);
    if (chain != Ip6Chain::kFirstFragment) return;
    first->l4 = static_cast<uint16_t>(first->l3 + l4);
  }
  switch (first->key.protocol) {
    case kProtoTcp:
    case kProtoUdp:
    case kProtoSctp: first->kind = PacketKind::kFlow; return;
    case kProtoEsp:
    case kProtoAh: first->kind = PacketKind::kIpsec; return;
    case kProtoIcmp:
    case kProtoIcmp6:
      if (first->frame.length >= first->l4 + kIcmpBytes) first->kind = PacketKind::kIcmp;
      return;
    default: return;
  }
}

uint32_t Reassembly::take_given_up() {
  const uint32_t count = given_up_;
  given_up_ = 0;
  return count;
}

}  // namespace uvs
