// Datagrams from their fragments (spec 5.6), between parse and lookup: what comes in fragments is
// one packet to everything behind.
//
// Theory of operation. A datagram is gathered in one piece of memory that is as long as a datagram
// can be, at the place where it belongs: what is complete is a frame, without copying it again.
// The rules are those of Linux 6.1 (net/ipv4/inet_fragment.c, ip_fragment.c,
// net/ipv6/netfilter/nf_conntrack_reasm.c): any order; a fragment that lies within a run of what is
// there is a duplicate and is ignored; any other overlap gives the datagram up (RFC 5722), as does
// an end that contradicts another. A run is what came in one after the other at the far end.
//
// Memory is taken at the start. When all places are in use, or a source has its share of them, the
// oldest unfinished datagram (of that source) is given up: an honest one is complete within
// milliseconds, so that it is the remains of old losses and floods that go.
#pragma once
#include <cstdint>
#include <memory>

#include "parse/packet.h"

namespace uvs {

class Reassembly {
 public:
  // `seed` keys the hash of datagrams.
  explicit Reassembly(uint64_t seed);

  enum class Outcome : uint8_t {
    kKept,     // the bytes were copied, the packet is done with
    kWhole,    // packet.frame is the datagram now, to be parsed; lent until release()
    kRefused,  // `packet.reason` says why; the packet is done with
  };

  // Takes a packet of kind kFragment. `fragment_bytes` is set for kWhole (see Packet).
  Outcome add(Packet& packet, uint32_t now_ms, uint16_t* fragment_bytes);

  // Takes back the memory of every datagram that add() lent.
  void release();

  // Gives up the oldest datagram whose time is over; false: there is none. `*first` becomes its
  // first fragment as it was received, for an answer; its kind is kBad when that never came. Valid
  // until the next call.
  bool expire(uint32_t now_ms, Packet* first);

  // Datagrams given up unfinished to make room since the last call.
  uint32_t take_given_up();

  uint32_t size() const { return unfinished_; }

 private:
  static constexpr uint16_t kNone = 0xffff;
  static constexpr uint32_t kBuckets = 2 * kReassemblyDatagrams;
  static constexpr uint32_t kPayloadAt = kHeadroom + kReassemblyHeaderBytes;

  struct Key {
    Addr source;
    Addr destination;
    uint32_t id;
    uint8_t protocol;  // IPv4 only (RFC 791 3.2; RFC 8200 4.5)
    uint8_t family;
    bool operator==(const Key&) const = default;
  };

  // Bytes of a datagram that are there, from the start of what is fragmented.
  struct Run {
    uint16_t start;
    uint16_t end;
  };

  struct Datagram {
    Key key;
    uint32_t since_ms;
    uint32_t received;     // bytes
    uint16_t end;          // the highest known; of the datagram, once `last` is there
    uint16_t largest;      // IP bytes of the largest fragment
    uint16_t largest_df;   // of those with DF
    uint16_t header;       // bytes in front of the payload, from the frame's start; of the first
    uint16_t l3;           // offset of its IP header
    uint16_t first_bytes;  // payload of the first fragment
    uint16_t port;
    uint16_t share;    // of its source
    uint8_t protocol;  // as the first fragment says
    uint8_t ecn;       // bit 1 << ECN of every fragment
    uint8_t runs;
    uint8_t pieces;
    bool first;
    bool last;
    uint16_t bucket_next;
    uint16_t older;  // neighbours in the list of its family by age
    uint16_t newer;
    Run run[kReassemblyPieces];
  };

  // Unfinished datagrams of one family, oldest first: all have the same time.
  struct Ages {
    uint16_t oldest = kNone;
    uint16_t newest = kNone;
  };

  struct Piece;

  uint8_t* payload(uint16_t number) const {
    return &memory_[size_t{number} * kReassemblySlotBytes] + kPayloadAt;
  }
  Ages& ages(const Datagram& datagram) { return ages_[datagram.key.family == 6]; }
  uint32_t bucket(const Key& key) const;
  uint16_t find(const Key& key) const;
  uint16_t open(const Key& key, const Packet& packet, uint32_t now_ms);
  void make_room(uint16_t share);
  uint16_t oldest() const;
  uint16_t oldest_of(uint16_t share) const;
  void unlink(uint16_t number);
  void drop(uint16_t number);
  void keep(uint16_t number, const Packet& packet, const Piece& piece);
  void lend_first(uint16_t number, Packet* first) const;
  static Reason impossible(const Piece& piece);
  static Reason place(Datagram& datagram, const Piece& piece);
  static Reason insert(Datagram& datagram, uint32_t start, uint32_t end);
  bool finish(uint16_t number, Packet& packet);

  std::unique_ptr<uint8_t[]> memory_;      // kReassemblyDatagrams places
  std::unique_ptr<Datagram[]> datagrams_;  // by place
  uint16_t buckets_[kBuckets];
  uint16_t free_[kReassemblyDatagrams];
  uint16_t lent_[kReassemblyDatagrams];
  uint32_t free_count_ = kReassemblyDatagrams;
  uint32_t lent_count_ = 0;
  uint32_t unfinished_ = 0;
  uint32_t given_up_ = 0;
  uint16_t shares_[kReassemblyDatagrams] = {};  // unfinished datagrams, by hash of the source
  Ages ages_[2];                                // IPv4, IPv6
  uint64_t seed_;
};

}  // namespace uvs
