// ARP and neighbour discovery for addresses that no interface of the host has (decision 7): uvs
// answers for them itself, and says so to the neighbours when an address is new.
//
// Only addresses of the adopted list are answered for, each only on the port it is listed with.
#pragma once
#include <cstdint>
#include <memory>

#include "forward/next_hops.h"
#include "parse/packet.h"

namespace uvs {

// One address per service and local address at the most, each on one port.
constexpr uint32_t kAnnouncedMax = kMaxServices + kMaxLocalAddresses;

class Announcer {
 public:
  // `hops` knows the link addresses of the ports; it must outlive this object.
  explicit Announcer(const NextHops& hops);

  // Takes over the list; the records are copied. Addresses that were not in the list before are
  // announced. Records beyond kAnnouncedMax and ports that do not exist are ignored.
  void adopt(const AnnounceRecord* records, uint32_t count);

  // Answers an ARP request or a neighbour solicitation for an announced address. True: the packet
  // was turned into the reply, a complete frame to be sent on the port it came from
  // (packet.frame.port); its other offsets are no longer valid. False: nothing was changed.
  // Precondition: kind is kArp or kIcmp, from an Ethernet port for an answer.
  bool answer(Packet& packet);

  // Whether the address is in the list, on whatever port.
  bool owns(const Addr& address) const;

  // Announcements that are still to be made; each address is announced kRounds times. Of several
  // workers one is enough to make them (worker 0).
  uint32_t pending() const { return pending_; }

  // Builds announcements that are due (gratuitous ARP, RFC 5227 2.3; unsolicited neighbour
  // advertisements, RFC 4861 7.2.6) into at most `max` frames of kFrameSlotBytes with kHeadroom;
  // sets data, length and port of each. Returns how many; 0 while the next round is not due.
  uint32_t build(Frame* out, uint32_t max, uint32_t now_ms);

  uint32_t size() const { return count_; }

 private:
  static constexpr uint8_t kRounds = 3;             // RFC 4861 MAX_NEIGHBOR_ADVERTISEMENT
  static constexpr uint32_t kRoundMs = 1000;        // RFC 4861 RetransTimer
  static constexpr uint32_t kIndexEntries = 16384;  // power of two
  static_assert(kAnnouncedMax <= kIndexEntries / 2);

  struct Entry {
    Addr address;
    uint16_t port;
    uint8_t rounds_left;
  };

  const Entry* find(const Addr& address, uint16_t port) const;
  void add(const Addr& address, uint16_t port);
  bool answer_arp(Packet& packet);
  bool answer_solicitation(Packet& packet);
  static void build_one(const Entry& entry, const uint8_t* own, Frame* out);

  const NextHops& hops_;
  std::unique_ptr<Entry[]> entries_;   // kAnnouncedMax, in list order
  std::unique_ptr<Entry[]> previous_;  // the list before, while a new one is taken over
  std::unique_ptr<uint16_t[]> index_;  // number of the entry + 1, by hash of the address
  uint32_t count_ = 0;
  uint32_t pending_ = 0;
  uint32_t cursor_ = 0;    // entry the current round goes on with
  uint32_t round_ms_ = 0;  // when the current round may begin
  bool timed_ = false;     // round_ms_ is set
};

}  // namespace uvs
