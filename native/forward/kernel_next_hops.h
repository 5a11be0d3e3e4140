// The next hops of one worker as the kernel knows them. The theory of operation is in next_hops.h.
//
// What decides the state of a hop:
//   route answer                          state
//   none, unreachable, blackhole, prohibit, multicast, broadcast
//                                         kUnreachable (slot 0, shared)
//   local                                 kLocal by the host port; kUnreachable if there is none
//   by an interface that is no port       kUnreachable; see strays()
//   by a Link::kIp port                   kReady, link_bytes 0
//   by an Ethernet port                   by the neighbour:
//     REACHABLE STALE DELAY PROBE PERMANENT NOARP       kReady
//     none, INCOMPLETE                    kUnresolved: asked (NTF_USE), packets wait
//     FAILED                              of a hop in use: kUnresolved, asked once more;
//                                         otherwise kUnreachable for 1 s, then kUnresolved: the
//                                         next packet asks
// When the host port is the only port (TUN I/O) the kernel routes what uvs writes into it, so
// every route that leaves the host leads there too, with the MTU of that route.
//
// IPv6 neighbours are asked for from the interface's link-local address (net/ipv6/ndisc.c
// ndisc_solicit), so an Ethernet port needs one.
//
// Slots are reused only together with a step of generation(): connections keep slots.
#pragma once
#include <memory>
#include <span>

#include "forward/next_hops.h"
#include "forward/parked_packets.h"
#include "forward/route_cache.h"
#include "io/rtnetlink.h"

namespace uvs {

// A port of the core as the kernel knows it.
struct HopPort {
  uint32_t ifindex;
  uint16_t port;  // index in the core
  Link link;
};

class KernelNextHops : public NextHops {
 public:
  static constexpr uint16_t kNoPort = 0xffff;

  // Opens two netlink sockets in the network namespace of the calling thread and learns the
  // links. `host_port` is the index of the port that leads to the host's own stack, kNoPort if
  // there is none. Null: `*status` says why. Needs CAP_NET_ADMIN (asking for neighbours).
  static std::unique_ptr<KernelNextHops> open(std::span<const HopPort> ports, uint16_t host_port,
                                              RtStatus* status);

  uint16_t find(const Addr& destination, uint32_t now_ms) override;
  bool park(uint16_t slot, const Frame& ip_packet, uint32_t now_ms) override;
  uint32_t service(uint32_t now_ms, Ready* ready, uint32_t max) override;
  int poll_fd() const override { return events_.fd(); }
  const uint8_t* link_address(uint16_t port) const override;

  // Interfaces that routes name but that are none of the ports. Packets that should leave there
  // are counted as no_route; the owner of the core logs each interface once.
  struct Stray {
    uint32_t ifindex;
    uint32_t addresses;  // addresses looked up whose route leaves there
  };
  std::span<const Stray> strays() const { return {strays_, stray_count_}; }

  // Packets that wait for a link address now.
  uint32_t parked() const { return parked_.size(); }

 private:
  static constexpr uint16_t kNoRouteSlot = 0;
  static constexpr uint32_t kRefreshMs = 15000;       // a hop in use is probed this often...
  static constexpr uint32_t kRefreshSpreadMs = 4096;  // ...later by as much as this, by slot
  static constexpr uint32_t kInUseMs = 60000;         // used within this time: not reused
  static constexpr uint32_t kAskAgainMs = 1000;       // an unanswered or failed question
  static constexpr uint32_t kSweepMs = 16;            // between two steps of the sweep
  static constexpr uint32_t kSweepHops = 64;          // hops looked at in one step: all within 1 s
  static constexpr uint32_t kGenerationMs = 250;      // between two steps of generation()
  static constexpr uint32_t kEventsMax = 64;          // datagrams read in one service()
  static constexpr uint32_t kStraysMax = 16;
  static constexpr uint32_t kIndexEntries = 2 * kNextHops;  // power of two
  static constexpr uint16_t kEnd = 0xffff;

  // What only the table itself needs to know of a hop; by slot.
  struct HopMeta {
    uint32_t asked_ms;   // last question to the kernel
    uint32_t failed_ms;  // when it became kUnreachable
    uint16_t chain;      // next hop of the same neighbour bucket, kEnd
    bool used;           // the slot names a hop
    bool ethernet;       // has a neighbour
    bool permanent;      // and the administrator says which
  };
  struct PortState {
    HopPort port;
    LinkInfo link;  // as the kernel last told
  };

  KernelNextHops(std::span<const HopPort> ports, uint16_t host_port);
  RtStatus learn_links();
  uint16_t resolve(const Addr& destination, uint32_t now_ms);
  bool describe(const Addr& destination, const RouteInfo& route, NextHop* hop);
  uint32_t mtu_of(const RouteInfo& route, const PortState* port);
  uint16_t slot_of(const NextHop& wanted, uint32_t now_ms);
  uint16_t free_slot(uint32_t now_ms);
  void reclaim(uint32_t now_ms);
  void start_hop(uint16_t slot, uint32_t now_ms);
  void unlink(uint16_t slot);
  static uint32_t bucket_of(const Addr& gateway, uint32_t ifindex);
  const PortState* port_of(uint32_t ifindex) const;
  void count_stray(uint32_t ifindex);

  void read_events(uint32_t now_ms);
  void on_message(const RtMessage& message, uint32_t now_ms);
  void on_link(const RtMessage& message);
  void adopt_link(PortState* port, const LinkInfo& link);
  void on_neighbour(const NeighbourInfo& neighbour, bool gone, uint32_t now_ms);
  void apply_neighbour(uint16_t slot, const NeighbourInfo& neighbour, uint32_t now_ms);
  void relearn(uint32_t now_ms);
  void ask(uint16_t slot, uint32_t now_ms);
  void sweep(uint32_t now_ms);
  void sweep_hop(uint16_t slot, uint32_t now_ms);
  void forget_routes(uint32_t now_ms);
  void step_generation(uint32_t now_ms);

  RtSocket requests_;
  RtSocket events_;
  std::unique_ptr<NextHop[]> memory_;
  std::unique_ptr<HopMeta[]> meta_;
  std::unique_ptr<uint16_t[]> buckets_;  // first slot by neighbour, kIndexEntries
  RouteCache routes_;
  ParkedPackets parked_;
  PortState ports_[kMaxPorts];
  uint32_t port_count_ = 0;
  uint16_t host_port_ = kNoPort;
  bool host_routes_ = false;  // the host port is the only one
  Stray strays_[kStraysMax];
  uint32_t stray_count_ = 0;
  uint32_t high_water_ = 1;  // slots below have been used; slot 0 is kNoRouteSlot
  uint16_t free_ = kEnd;     // unused slots below the high-water mark, chained
  uint32_t sweep_cursor_ = 0;
  uint32_t swept_ms_ = 0;
  uint32_t changed_ms_ = 0u - kAskAgainMs;  // last step of generation()
  uint32_t reclaimed_ms_ = 0u - kAskAgainMs;
  bool routes_changed_ = false;
  bool dumping_ = false;      // neighbours are being read, each as it comes
  bool failed_once_ = false;  // an address got slot 0 for want of an answer or a slot
};

}  // namespace uvs
