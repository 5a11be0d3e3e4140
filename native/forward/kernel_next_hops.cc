// In: an address, a packet without link header, or news from the kernel. Does: keeps the table of
// next hops true. Next: transmit.cc and egress.cc read the hops; parked packets go to egress.cc.
#include "forward/kernel_next_hops.h"

#include <linux/rtnetlink.h>

#include <cassert>
#include <cstring>

#include "address_hash.h"
#include "forward/forward.h"

namespace uvs {
namespace {

// No particular neighbour, in the family of `like`.
Addr any_of(const Addr& like) {
  const uint8_t none[16] = {};
  return like.is_v4() ? Addr::v4(Be32{0}) : Addr::v6(none);
}

bool same_way(const NextHop& a, const NextHop& b) {
  return a.gateway == b.gateway && a.ifindex == b.ifindex && a.mtu == b.mtu && a.port == b.port &&
         a.source == b.source && (a.state == HopState::kLocal) == (b.state == HopState::kLocal);
}

}  // namespace

// --- Start

std::unique_ptr<KernelNextHops> KernelNextHops::open(std::span<const HopPort> ports,
                                                     uint16_t host_port, RtStatus* status) {
  assert(ports.size() <= kMaxPorts);
  std::unique_ptr<KernelNextHops> hops(new KernelNextHops(ports, host_port));
  *status = hops->events_.open_events();
  if (status->ok()) *status = hops->requests_.open_requests();
  if (status->ok()) *status = hops->learn_links();
  if (!status->ok()) return nullptr;
  return hops;
}

KernelNextHops::KernelNextHops(std::span<const HopPort> ports, uint16_t host_port)
    : memory_(std::make_unique<NextHop[]>(kNextHops)),
      meta_(std::make_unique<HopMeta[]>(kNextHops)),
      buckets_(std::make_unique<uint16_t[]>(kIndexEntries)),
      host_port_(host_port) {
  hops_ = memory_.get();
  for (const HopPort& port : ports) ports_[port_count_++] = PortState{port, {}};
  host_routes_ = port_count_ == 1 && ports_[0].port.port == host_port;
  for (uint32_t i = 0; i < kIndexEntries; i++) buckets_[i] = kEnd;
  hops_[kNoRouteSlot].state = HopState::kUnreachable;
}

RtStatus KernelNextHops::learn_links() {
  for (uint32_t i = 0; i < port_count_; i++) {
    PortState& port = ports_[i];
    const RtStatus status = requests_.link(port.port.ifindex, &port.link);
    if (!status.ok()) return status;
  }
  return {};
}

// --- Finding a hop

uint16_t KernelNextHops::find(const Addr& destination, uint32_t now_ms) {
  const uint16_t known = routes_.find(destination);
  return known != kNoSlot ? known : resolve(destination, now_ms);
}

uint16_t KernelNextHops::resolve(const Addr& destination, uint32_t now_ms) {
  RouteInfo route;
  const RtStatus status = requests_.route(destination, &route);
  NextHop wanted{};
  uint16_t slot = kNoRouteSlot;
  bool passing = !status.ok() && status.code != RtCode::kUnreachable;
  if (status.ok() && describe(destination, route, &wanted)) {
    slot = slot_of(wanted, now_ms);
    passing = slot == kNoRouteSlot;
  }
  // A final answer is remembered, "no route" too; a passing failure is not.
  if (passing) {
    failed_once_ = true;
  } else {
    routes_.put(destination, slot);
  }
  return slot;
}

// Turns the kernel's answer into a hop; false when packets cannot go there.
bool KernelNextHops::describe(const Addr& destination, const RouteInfo& route, NextHop* hop) {
  const Addr any = any_of(destination);
  hop->ifindex = route.ifindex;
  hop->gateway = any;
  hop->source = route.has_source ? route.source : any;
  hop->state = HopState::kReady;
  if (route.type == RouteType::kLocal) {
    if (host_port_ == kNoPort) return false;
    hop->state = HopState::kLocal;
    hop->port = host_port_;
    hop->mtu = UINT16_MAX;
    return true;
  }
  if (route.type != RouteType::kUnicast) return false;
  const PortState* port = port_of(route.ifindex);
  const uint32_t mtu = mtu_of(route, port);
  hop->mtu = static_cast<uint16_t>(mtu < UINT16_MAX ? mtu : UINT16_MAX);
  if (host_routes_) {
    hop->port = host_port_;
    return true;
  }
  if (port == nullptr) {
    count_stray(route.ifindex);
    return false;
  }
  hop->port = port->port.port;
  if (port->port.link == Link::kIp) return true;
  hop->link_bytes = kEthernetBytes;
  hop->gateway = route.has_gateway ? route.gateway : destination;
  hop->state = HopState::kUnresolved;
  return true;
}

uint32_t KernelNextHops::mtu_of(const RouteInfo& route, const PortState* port) {
  if (route.mtu != 0) return route.mtu;
  if (port != nullptr) return port->link.mtu;
  LinkInfo link;
  // An interface that is just going away: its routes change in a moment.
  return requests_.link(route.ifindex, &link).ok() ? link.mtu : 0;
}

const KernelNextHops::PortState* KernelNextHops::port_of(uint32_t ifindex) const {
  for (uint32_t i = 0; i < port_count_; i++) {
    if (ports_[i].port.ifindex == ifindex) return &ports_[i];
  }
  return nullptr;
}

void KernelNextHops::count_stray(uint32_t ifindex) {
  for (uint32_t i = 0; i < stray_count_; i++) {
    if (strays_[i].ifindex != ifindex) continue;
    strays_[i].addresses++;
    return;
  }
  if (stray_count_ < kStraysMax) strays_[stray_count_++] = Stray{ifindex, 1};
}

// --- The table of hops

uint32_t KernelNextHops::bucket_of(const Addr& gateway, uint32_t ifindex) {
  return static_cast<uint32_t>(hash_address(gateway, ifindex) % kIndexEntries);
}

uint16_t KernelNextHops::slot_of(const NextHop& wanted, uint32_t now_ms) {
  uint16_t slot = buckets_[bucket_of(wanted.gateway, wanted.ifindex)];
  for (; slot != kEnd; slot = meta_[slot].chain) {
    if (same_way(hops_[slot], wanted)) return slot;
  }
  slot = free_slot(now_ms);
  if (slot == kNoRouteSlot) return slot;
  hops_[slot] = wanted;
  start_hop(slot, now_ms);
  return slot;
}

// kNoRouteSlot when every hop is in use.
uint16_t KernelNextHops::free_slot(uint32_t now_ms) {
  if (free_ == kEnd && high_water_ < kNextHops) return static_cast<uint16_t>(high_water_++);
  if (free_ == kEnd && now_ms - reclaimed_ms_ >= kAskAgainMs) reclaim(now_ms);
  if (free_ == kEnd) return kNoRouteSlot;
  const uint16_t slot = free_;
  free_ = meta_[slot].chain;
  return slot;
}

// Frees every hop that was not used lately. Connections may still hold those slots, so generation()
// steps before any of them means something else.
void KernelNextHops::reclaim(uint32_t now_ms) {
  reclaimed_ms_ = now_ms;
  for (uint32_t slot = 1; slot < high_water_; slot++) {
    const NextHop& hop = hops_[slot];
    // Whoever did not answer goes first: made-up sources must not keep real ones out.
    const uint32_t keep_ms = hop.state == HopState::kReady ? kInUseMs : kNeighbourWaitMs;
    if (!meta_[slot].used || hop.waiting != 0 || now_ms - hop.last_used_ms < keep_ms) continue;
    unlink(static_cast<uint16_t>(slot));
    meta_[slot].used = false;
    meta_[slot].chain = free_;
    free_ = static_cast<uint16_t>(slot);
  }
  if (free_ != kEnd) forget_routes(now_ms);
}

void KernelNextHops::start_hop(uint16_t slot, uint32_t now_ms) {
  NextHop& hop = hops_[slot];
  hop.last_used_ms = now_ms;
  HopMeta& meta = meta_[slot];
  meta = HopMeta{};
  meta.used = true;
  meta.asked_ms = now_ms - kAskAgainMs;
  uint16_t& bucket = buckets_[bucket_of(hop.gateway, hop.ifindex)];
  meta.chain = bucket;
  bucket = slot;
  const PortState* port = port_of(hop.ifindex);
  if (hop.link_bytes == 0 || port == nullptr) return;
  std::memcpy(hop.link + 6, port->link.address, 6);
  if (port->link.no_arp) {
    // net/ipv4/arp.c arp_constructor: such a device takes frames for its own address.
    std::memcpy(hop.link, port->link.address, 6);
    hop.state = HopState::kReady;
    return;
  }
  meta.ethernet = true;
  NeighbourInfo neighbour;
  // Anything but a usable entry is asked for when the first packet comes.
  if (!requests_.neighbour(hop.ifindex, hop.gateway, &neighbour).ok()) return;
  if (neighbour.state != NeighbourState::kUsable) return;
  apply_neighbour(slot, neighbour, now_ms);
  ask(slot, now_ms);  // it may be stale
}

void KernelNextHops::unlink(uint16_t slot) {
  uint16_t* link = &buckets_[bucket_of(hops_[slot].gateway, hops_[slot].ifindex)];
  while (*link != slot) link = &meta_[*link].chain;
  *link = meta_[slot].chain;
}

// --- Packets that wait

bool KernelNextHops::park(uint16_t slot, const Frame& ip_packet, uint32_t now_ms) {
  NextHop& hop = hops_[slot];
  hop.last_used_ms = now_ms;
  if (now_ms - meta_[slot].asked_ms >= kAskAgainMs) ask(slot, now_ms);
  if (hop.waiting >= kNeighbourWaitingEach) return false;
  if (!parked_.put(slot, ip_packet, now_ms)) return false;
  hop.waiting++;
  return true;
}

uint32_t KernelNextHops::service(uint32_t now_ms, Ready* ready, uint32_t max) {
  parked_.free_lent();
  read_events(now_ms);
  step_generation(now_ms);
  sweep(now_ms);
  uint32_t count = 0;
  if (parked_.size() != 0) {
    const auto leaves = [this](uint16_t slot) {
      return slot == kNoSlot || hops_[slot].state == HopState::kReady;
    };
    parked_.give_up_old(now_ms, [this](uint16_t slot) { hops_[slot].waiting--; });
    parked_.lend(leaves, [&](uint16_t slot, const Frame& frame) {
      if (count == max) return false;
      Ready& out = ready[count++];
      out.slot = slot;
      out.frame = frame;
      if (slot == kNoSlot) return true;
      NextHop& hop = hops_[slot];
      hop.waiting--;
      put_link(out.frame, 0, hop, frame.data[0] >> 4 == 4 ? 4 : 6);
      return true;
    });
  }
  return count;
}

const uint8_t* KernelNextHops::link_address(uint16_t port) const {
  for (uint32_t i = 0; i < port_count_; i++) {
    if (ports_[i].port.port != port) continue;
    return ports_[i].link.ethernet ? ports_[i].link.address : nullptr;
  }
  return nullptr;
}

// --- News from the kernel

void KernelNextHops::read_events(uint32_t now_ms) {
  struct Context {
    KernelNextHops* hops;
    uint32_t now_ms;
  } context{this, now_ms};
  const auto visit = [](void* at, const RtMessage& message) {
    const auto* wanted = static_cast<const Context*>(at);
    wanted->hops->on_message(message, wanted->now_ms);
  };
  for (uint32_t i = 0; i < kEventsMax; i++) {
    const RtStatus status = events_.read_events(visit, &context);
    if (status.code == RtCode::kOverrun) relearn(now_ms);
    if (!status.ok() && status.code != RtCode::kOverrun) return;
  }
}

void KernelNextHops::on_message(const RtMessage& message, uint32_t now_ms) {
  RouteInfo route;
  NeighbourInfo neighbour;
  switch (message.type) {
    case RTM_NEWNEIGH:
    case RTM_DELNEIGH:
      if (parse_neighbour(message, &neighbour)) {
        on_neighbour(neighbour, message.type == RTM_DELNEIGH, now_ms);
      }
      return;
    case RTM_NEWLINK:
    case RTM_DELLINK: on_link(message); return;
    case RTM_NEWROUTE:
    case RTM_DELROUTE:
      if (parse_route(message, &route) && !route.cloned) routes_changed_ = true;
      return;
    case RTM_NEWADDR:
    case RTM_DELADDR:
    case RTM_NEWRULE:
    case RTM_DELRULE:
    case RTM_NEWNEXTHOP:
    case RTM_DELNEXTHOP: routes_changed_ = true; return;
    default: return;
  }
}

// A link that goes down takes its IPv4 routes with it without telling of each (net/ipv4/
// fib_frontend.c fib_disable_ip), so every change of a link counts as a change of routes.
void KernelNextHops::on_link(const RtMessage& message) {
  LinkInfo link;
  if (!parse_link(message, &link)) return;
  routes_changed_ = true;
  if (message.type == RTM_DELLINK) return;
  for (uint32_t i = 0; i < port_count_; i++) {
    if (ports_[i].port.ifindex == link.ifindex) adopt_link(&ports_[i], link);
  }
}

void KernelNextHops::adopt_link(PortState* port, const LinkInfo& link) {
  const bool moved = std::memcmp(port->link.address, link.address, 6) != 0;
  port->link = link;
  if (!moved) return;
  for (uint32_t slot = 1; slot < high_water_; slot++) {
    NextHop& hop = hops_[slot];
    if (meta_[slot].used && hop.link_bytes != 0 && hop.ifindex == link.ifindex) {
      std::memcpy(hop.link + 6, link.address, 6);
    }
  }
}

// One neighbour may be the gateway of several hops that differ in MTU or source address.
void KernelNextHops::on_neighbour(const NeighbourInfo& neighbour, bool gone, uint32_t now_ms) {
  uint16_t slot = buckets_[bucket_of(neighbour.address, neighbour.ifindex)];
  for (; slot != kEnd; slot = meta_[slot].chain) {
    NextHop& hop = hops_[slot];
    const bool is_it = meta_[slot].ethernet && hop.ifindex == neighbour.ifindex &&
                       hop.gateway == neighbour.address;
    if (!is_it) continue;
    if (gone) meta_[slot].permanent = false;
    if (!gone) {
      apply_neighbour(slot, neighbour, now_ms);
    } else if (now_ms - hop.last_used_ms < kRefreshMs) {
      // The kernel tidied up or somebody flushed: the old address serves until it fails.
      ask(slot, now_ms);
    } else if (hop.state == HopState::kReady) {
      hop.state = HopState::kUnresolved;
      meta_[slot].asked_ms = now_ms - kAskAgainMs;
    }
  }
}

void KernelNextHops::apply_neighbour(uint16_t slot, const NeighbourInfo& neighbour,
                                     uint32_t now_ms) {
  NextHop& hop = hops_[slot];
  meta_[slot].permanent = neighbour.permanent;
  if (neighbour.state == NeighbourState::kUsable && neighbour.has_link) {
    std::memcpy(hop.link, neighbour.link, 6);
    hop.state = HopState::kReady;
  } else if (neighbour.state == NeighbourState::kFailed) {
    if (hop.state == HopState::kReady && now_ms - hop.last_used_ms < kRefreshMs) {
      // Its old link address does not answer any more; it may have another one, so all are asked.
      hop.state = HopState::kUnresolved;
      ask(slot, now_ms);
      return;
    }
    hop.state = HopState::kUnreachable;
    meta_[slot].failed_ms = now_ms;
    parked_.give_up(slot);
    hop.waiting = 0;
  }
}

// Notifications were lost: whatever they said is read again.
void KernelNextHops::relearn(uint32_t now_ms) {
  for (uint32_t i = 0; i < port_count_; i++) {
    LinkInfo link;
    if (requests_.link(ports_[i].port.ifindex, &link).ok()) adopt_link(&ports_[i], link);
  }
  struct Context {
    KernelNextHops* hops;
    uint32_t now_ms;
  } context{this, now_ms};
  const auto visit = [](void* at, const NeighbourInfo& neighbour) {
    const auto* wanted = static_cast<const Context*>(at);
    wanted->hops->on_neighbour(neighbour, false, wanted->now_ms);
  };
  // Should this fail, the sweep notices moved neighbours later.
  dumping_ = true;
  requests_.neighbours(visit, &context);
  dumping_ = false;
  routes_changed_ = true;
}

// When the kernel refuses, packets that wait are given up after their time. To ask for a permanent
// neighbour would end its permanence (net/core/neighbour.c __neigh_update, NEIGH_UPDATE_F_USE).
void KernelNextHops::ask(uint16_t slot, uint32_t now_ms) {
  // Two exchanges at once on one socket would take each other's answers: it is asked for later.
  if (dumping_) {
    meta_[slot].asked_ms = now_ms - kAskAgainMs;
    return;
  }
  meta_[slot].asked_ms = now_ms;
  if (meta_[slot].permanent) return;
  requests_.ask(hops_[slot].ifindex, hops_[slot].gateway);
}

// --- Timers

void KernelNextHops::sweep(uint32_t now_ms) {
  if (now_ms - swept_ms_ < kSweepMs) return;
  swept_ms_ = now_ms;
  for (uint32_t i = 0; i < kSweepHops && i < high_water_; i++) {
    if (++sweep_cursor_ >= high_water_) sweep_cursor_ = 1;
    if (sweep_cursor_ < high_water_) sweep_hop(static_cast<uint16_t>(sweep_cursor_), now_ms);
  }
}

void KernelNextHops::sweep_hop(uint16_t slot, uint32_t now_ms) {
  NextHop& hop = hops_[slot];
  HopMeta& meta = meta_[slot];
  if (!meta.used || !meta.ethernet) return;
  const uint32_t asked_ms_ago = now_ms - meta.asked_ms;
  switch (hop.state) {
    case HopState::kReady:
      if (now_ms - hop.last_used_ms < kRefreshMs &&
          asked_ms_ago >= kRefreshMs + slot % kRefreshSpreadMs) {
        ask(slot, now_ms);
      }
      return;
    case HopState::kUnresolved:
      if (hop.waiting != 0 && asked_ms_ago >= kAskAgainMs) ask(slot, now_ms);
      return;
    case HopState::kUnreachable:
      if (now_ms - meta.failed_ms < kAskAgainMs) return;
      hop.state = HopState::kUnresolved;
      meta.asked_ms = now_ms - kAskAgainMs;
      return;
    case HopState::kLocal: return;
  }
}

void KernelNextHops::forget_routes(uint32_t now_ms) {
  routes_.clear();
  generation_++;
  changed_ms_ = now_ms;
  routes_changed_ = false;
  failed_once_ = false;
}

// Changes often come in crowds, and generation() must not come round while a connection sleeps, so
// it steps once for all that came within kGenerationMs.
void KernelNextHops::step_generation(uint32_t now_ms) {
  const uint32_t since_ms = now_ms - changed_ms_;
  if ((routes_changed_ && since_ms >= kGenerationMs) || (failed_once_ && since_ms >= kAskAgainMs)) {
    forget_routes(now_ms);
  }
}

}  // namespace uvs
