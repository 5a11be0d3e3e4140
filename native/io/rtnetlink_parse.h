// rtnetlink messages as values: a walk over the messages of a datagram and over the attributes of
// a message. Every length is checked here, and only here; no input makes it read outside.
#pragma once
#include <cstddef>
#include <cstdint>

#include "addr.h"

namespace uvs {

// One netlink message: type, sequence number and what stands behind its header.
struct RtMessage {
  uint16_t type;
  uint16_t flags;
  uint32_t sequence;
  const uint8_t* body;
  uint32_t body_bytes;
};

// Route types (linux/rtnetlink.h RTN_*) as far as they matter here.
enum class RouteType : uint8_t {
  kUnicast,
  kLocal,
  kUnreachable,  // unreachable, blackhole, prohibit, throw
  kOther,        // broadcast, multicast, anycast...
};

struct RouteInfo {
  RouteType type;
  uint32_t ifindex;  // 0: none
  Addr gateway;      // meaningful with has_gateway; may be of the other family (RTA_VIA)
  bool has_gateway;
  Addr source;  // address the kernel would send from; meaningful with has_source
  bool has_source;
  uint32_t mtu;  // metric of the route or learned path MTU in bytes; 0: the link's
  bool cloned;   // a cache entry, not a route of a table
};

struct LinkInfo {
  uint32_t ifindex;
  char name[16];
  uint8_t address[6];  // Ethernet address; zero on other links
  bool ethernet;       // link type Ethernet with an address of 6 bytes
  bool loopback;
  bool no_arp;  // IFF_NOARP: neighbours are not asked for
  bool up;      // administratively up
  bool tunnel;  // a layer-3 tunnel: what comes out of it was inside other packets
  uint32_t mtu;
};

// What a neighbour entry is good for (NUD_* states).
enum class NeighbourState : uint8_t {
  kUsable,     // REACHABLE, STALE, DELAY, PROBE, PERMANENT, NOARP
  kResolving,  // INCOMPLETE, NONE
  kFailed,
};

struct NeighbourInfo {
  uint32_t ifindex;
  Addr address;
  NeighbourState state;
  bool has_link;
  bool permanent;  // set by the administrator: never asked for, never out of date
  uint8_t link[6];
};

struct AddressInfo {
  uint32_t ifindex;
  Addr address;
  uint8_t prefix_bits;
  bool tentative;  // duplicate address detection has not ended
};

// Walks the messages of one datagram. Usage: for (RtWalk walk(data, bytes); walk.next();) ...
class RtWalk {
 public:
  RtWalk(const uint8_t* data, size_t bytes) : at_(data), left_(bytes) {}
  // Moves to the next message; false at the end or at one that does not fit.
  bool next();
  const RtMessage& message() const { return message_; }
  // The walk ended at bytes that are no message.
  bool malformed() const { return malformed_; }

 private:
  const uint8_t* at_;
  size_t left_;
  RtMessage message_{};
  bool malformed_ = false;
};

// Each reads one message of its kind; false when it is of another kind, of another address family
// than IPv4 and IPv6, or too short. Unknown attributes are skipped.
bool parse_route(const RtMessage& message, RouteInfo* out);
bool parse_link(const RtMessage& message, LinkInfo* out);
bool parse_neighbour(const RtMessage& message, NeighbourInfo* out);
bool parse_address(const RtMessage& message, AddressInfo* out);

// The error number (errno, positive; 0 for an acknowledgement) of an NLMSG_ERROR message; false
// when it is too short.
bool parse_error(const RtMessage& message, int* error);

}  // namespace uvs
