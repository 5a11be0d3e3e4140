// Stop 9, out: frames wait here, one queue per port, until the burst is over; also the scratch
// memory for frames that the core makes itself, and its ICMP and RST answers.
#pragma once
#include <cstdint>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "forward/forward.h"
#include "forward/next_hops.h"
#include "io/port.h"
#include "report/counters.h"

namespace uvs {

class Egress {
 public:
  Egress(std::span<const std::unique_ptr<Port>> ports, NextHops& hops, Counters& counters);

  // Sends the IP packet at `l3` of `frame` to next hop `slot`: with link header when the hop is
  // ready, parked when its link address is not known yet. False: the hop is unreachable and nothing
  // was done. Frame memory must stay until flush().
  bool send(Frame frame, uint32_t l3, uint8_t family, uint16_t slot, uint32_t now_ms);

  // Queues a complete frame on a port.
  void enqueue(uint16_t port, const Frame& frame);

  // Scratch frames in a row, by what they are for; each has kHeadroom in front of data and room
  // for kFrameSlotBytes - kHeadroom bytes. They stay until the same kind is asked for again and
  // too few are left: then everything queued is sent and the kind starts from its first frame. So
  // a caller may hold segments while it asks for fragments, but must have queued the segments it
  // holds before it asks for more of them.
  enum class Scratch : uint8_t { kSegments, kFragments, kAnswers };
  Frame* scratch(Scratch kind, uint32_t count);

  // Hands every queue to its port. Frame memory, scratch too, is free afterwards.
  void flush();

  // ICMP error about `packet` to its source, from `local` (spec 5.4, 5.5.1, 5.6); limited in rate.
  // Returns the bytes of the IP packet made, 0 where none was.
  uint32_t answer(const Packet& packet, IcmpError error, uint32_t mtu, const Addr& local,
                  uint32_t now_ms);

  // The same answer, which is then the caller's to send before flush(); null where there is none.
  Frame* build_answer(const Packet& packet, IcmpError error, uint32_t mtu, const Addr& local,
                      uint32_t now_ms);

  // Each kind of answer has a limit of its own, so that no other traffic keeps path-MTU discovery
  // from working; the kernel limits kTooBig and kReset not at all (net/ipv4/icmp.c
  // icmpv4_mask_allow).
  enum class Answer : uint8_t { kTooBig, kReset, kOther };
  // Whether its limit of rate allows one more answer now; it is taken as given.
  bool allow(Answer kind, uint32_t now_ms);
  // IPv4 identification of the next packet that the core makes itself.
  uint16_t next_answer_id() { return ++answer_id_; }
  // Passes on to the sender of an IPv4 packet what a router said of it (spec 5.7.3); as answer().
  uint32_t relay(const Packet& packet, const IcmpWords& words, const Addr& local, uint32_t now_ms);

  // RST to the sender of a TCP packet that belongs to no connection (RFC 9293 3.10.7.1); the host
  // would send it, but it is kept quiet about virtual addresses.
  void reset(const Packet& packet, uint32_t now_ms);

  struct Sent {
    uint64_t frames = 0;
    uint64_t bytes = 0;
  };

  // What a port has sent since the last call. The sums lie in shared memory and outlive this
  // worker.
  Sent take_sent(uint16_t port) { return std::exchange(queues_[port].sent, Sent{}); }

  // Sends parked packets whose neighbour answered. `given_up(frame)` is called for each whose did
  // not, an IP packet without link header that is lent until the call returns.
  template <typename GivenUp>
  void serve_neighbours(uint32_t now_ms, GivenUp given_up) {
    uint32_t count;
    do {
      count = hops_.service(now_ms, ready_, kReadyMax);
      for (uint32_t i = 0; i < count; i++) {
        if (ready_[i].slot != kNoSlot) {
          enqueue(hops_.at(ready_[i].slot).port, ready_[i].frame);
          continue;
        }
        counters_.count(Reason::kNeighbourUnresolved);
        given_up(ready_[i].frame);
      }
      flush();  // the parked copies are lent only until the next call
    } while (count == kReadyMax);
  }

 private:
  static constexpr uint32_t kQueue = 2 * kBurst;
  static constexpr uint32_t kReadyMax = 64;
  // Answers per second and at once, as the kernel's icmp_msgs_per_sec and icmp_msgs_burst.
  static constexpr uint32_t kAnswersPerSec = 1000;
  static constexpr uint32_t kAnswersBurst = 50;

  struct Bucket {
    uint32_t tokens = kAnswersBurst;
    uint32_t filled_ms = 0;
  };

  struct Queue {
    Frame frames_waiting[kQueue];
    uint32_t count = 0;
    Sent sent;
  };

  // A pool of scratch frames of one kind.
  struct Arena {
    explicit Arena(uint32_t count);
    std::unique_ptr<uint8_t[]> memory;
    std::vector<Frame> frames;
    uint32_t used = 0;
  };

  void send_queues();
  void flush_port(uint16_t port);
  void answer_frame(Frame* frame, const Addr& to, uint32_t now_ms);

  std::span<const std::unique_ptr<Port>> ports_;
  NextHops& hops_;
  Counters& counters_;
  std::vector<Queue> queues_;
  Arena arenas_[3];         // by Scratch
  Bucket buckets_[3];       // by Answer
  uint16_t answer_id_ = 0;  // IPv4 identification of the last ICMP answer
  NextHops::Ready ready_[kReadyMax];
};

}  // namespace uvs
