// The kernel's routes, neighbours, links and addresses over NETLINK_ROUTE (rtnetlink(7)), without
// a library: a few requests, each answered at once, and a socket that tells of changes.
#pragma once
#include <cstdint>

#include "io/rtnetlink_parse.h"

namespace uvs {

enum class RtCode : uint8_t {
  kOk,
  kPermission,   // the kernel refuses: CAP_NET_ADMIN is missing
  kNotFound,     // no such link, neighbour or object
  kUnreachable,  // no route, or one that says no (unreachable, blackhole, prohibit)
  kOverrun,      // notifications were lost: treat everything as changed
  kNothing,      // no message waits
  kTimeout,      // the kernel did not answer in time
  kInterrupted,  // a list changed while it was read, so it may lack entries: ask again
  kMalformed,    // an answer that makes no sense
  kSystem,       // anything else: see `error`
};

// How a request went. `error` is the errno behind it, 0 if there was none.
struct RtStatus {
  RtCode code = RtCode::kOk;
  int error = 0;
  bool ok() const { return code == RtCode::kOk; }
};

// One sentence for people: what went wrong and what to do.
const char* rt_text(RtCode code);

class RtSocket {
 public:
  RtSocket() = default;
  ~RtSocket();
  RtSocket(const RtSocket&) = delete;
  RtSocket& operator=(const RtSocket&) = delete;

  // Opens a socket for requests, in the network namespace of the calling thread.
  RtStatus open_requests();

  // Opens a socket that is told of changes: links, neighbours, and IPv4 and IPv6 addresses,
  // routes, rules and next-hop objects. Never blocks.
  RtStatus open_events();

  int fd() const { return fd_; }

  // The route the kernel takes to `destination` for a packet of its own. kUnreachable when there
  // is none; route types other than unicast come as they are.
  RtStatus route(const Addr& destination, RouteInfo* out);

  // The neighbour entry of `address` on an interface; kNotFound when there is none.
  RtStatus neighbour(uint32_t ifindex, const Addr& address, NeighbourInfo* out);

  // One interface by its index; kNotFound when there is none.
  RtStatus link(uint32_t ifindex, LinkInfo* out);

  // Calls visit(context, item) for every link, address or neighbour of the namespace, or for some
  // of them when the list changes meanwhile (kInterrupted).
  RtStatus links(void (*visit)(void* context, const LinkInfo& link), void* context);
  RtStatus addresses(void (*visit)(void* context, const AddressInfo& address), void* context);
  RtStatus neighbours(void (*visit)(void* context, const NeighbourInfo& neighbour), void* context);

  // Makes the kernel resolve `address`, or check it when its entry is stale, as if it sent a
  // packet there (NTF_USE; net/core/neighbour.c neigh_add). Does not wait for the outcome.
  RtStatus ask(uint32_t ifindex, const Addr& address);

  // Reads waiting notifications, one datagram, and calls visit(context, message) for each message
  // in it. kNothing when none waits; kOverrun when some were lost.
  RtStatus read_events(void (*visit)(void* context, const RtMessage& message), void* context);

 private:
  // A dump fills datagrams up to this size (net/netlink/af_netlink.c netlink_dump).
  static constexpr uint32_t kBufferBytes = 32768;
  static constexpr uint32_t kEventBufferBytes = 4 * 1024 * 1024;  // kernel memory for bursts
  static constexpr uint32_t kAnswerTimeoutSec = 1;

  RtStatus open(int flags);
  RtStatus send(uint8_t* request, uint32_t bytes);
  RtStatus receive(uint32_t* bytes, int flags);
  RtStatus exchange(uint8_t* request, uint32_t bytes,
                    void (*visit)(void* context, const RtMessage& message), void* context);

  int fd_ = -1;
  uint32_t sequence_ = 0;
  alignas(8) uint8_t buffer_[kBufferBytes];
};

}  // namespace uvs
