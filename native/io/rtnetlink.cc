// In: a question. Does: asks the kernel and waits for its answer, which is there at once: requests
// are handled inside sendmsg(). Next: kernel_next_hops.cc.
#include "io/rtnetlink.h"

#include <linux/neighbour.h>
#include <linux/nexthop.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace uvs {
namespace {

// A request under construction: header, fixed part, attributes.
class Request {
 public:
  template <typename Fixed>
  Request(uint16_t type, uint16_t flags, const Fixed& fixed) {
    nlmsghdr header{};
    header.nlmsg_type = type;
    header.nlmsg_flags = static_cast<uint16_t>(flags | NLM_F_REQUEST);
    std::memcpy(data_, &header, sizeof header);
    std::memcpy(data_ + sizeof header, &fixed, sizeof fixed);
    bytes_ = NLMSG_ALIGN(sizeof header + sizeof fixed);
  }

  void attribute(uint16_t type, const void* value, uint16_t bytes) {
    const rtattr header{static_cast<uint16_t>(sizeof header + bytes), type};
    std::memcpy(data_ + bytes_, &header, sizeof header);
    std::memcpy(data_ + bytes_ + sizeof header, value, bytes);
    bytes_ += RTA_ALIGN(header.rta_len);
  }

  void address(uint16_t type, const Addr& address) {
    if (address.is_v4()) {
      attribute(type, address.bytes + 12, 4);
    } else {
      attribute(type, address.bytes, 16);
    }
  }

  uint8_t* data() { return data_; }
  uint32_t bytes() const { return bytes_; }

 private:
  alignas(8) uint8_t data_[128] = {};  // no request here is longer
  uint32_t bytes_ = 0;
};

uint8_t family_of(const Addr& address) { return address.is_v4() ? AF_INET : AF_INET6; }

RtStatus failure(int error) {
  switch (error) {
    case EPERM: return {RtCode::kPermission, error};
    case ENODEV:
    case ENXIO:
    case ENOENT: return {RtCode::kNotFound, error};
    case ENOBUFS: return {RtCode::kOverrun, error};
    case EAGAIN: return {RtCode::kTimeout, error};
    default: return {RtCode::kSystem, error};
  }
}

// What a visitor over a dump needs: the parsed item and the caller's visitor.
template <typename Item>
struct Visit {
  void (*visit)(void* context, const Item& item);
  void* context;
};

template <typename Item, bool (*parse)(const RtMessage&, Item*)>
void visit_parsed(void* context, const RtMessage& message) {
  const auto* wanted = static_cast<const Visit<Item>*>(context);
  Item item;
  if (parse(message, &item)) wanted->visit(wanted->context, item);
}

// A visitor that keeps the one answer to a request for one thing.
template <typename Item>
struct Kept {
  Item item;
  bool found;
};

template <typename Item, bool (*parse)(const RtMessage&, Item*)>
void keep_parsed(void* context, const RtMessage& message) {
  auto* kept = static_cast<Kept<Item>*>(context);
  if (parse(message, &kept->item)) kept->found = true;
}

void ignore(void*, const RtMessage&) {}

}  // namespace

const char* rt_text(RtCode code) {
  switch (code) {
    case RtCode::kOk: return "done";
    case RtCode::kPermission:
      return "the kernel refuses to manage neighbours: run as root or give CAP_NET_ADMIN";
    case RtCode::kNotFound: return "no such interface or neighbour";
    case RtCode::kUnreachable: return "the routing table has no way there: add a route";
    case RtCode::kOverrun: return "the kernel's notifications came too fast: all is read again";
    case RtCode::kNothing: return "no notification waits";
    case RtCode::kTimeout: return "the kernel did not answer in time; it is asked again";
    case RtCode::kInterrupted:
      return "interfaces or addresses change faster than they can be listed: try again";
    case RtCode::kMalformed: return "the kernel's answer makes no sense: report this as a bug";
    case RtCode::kSystem: break;
  }
  return "a netlink call failed: see the error number";
}

RtSocket::~RtSocket() {
  if (fd_ >= 0) close(fd_);
}

RtStatus RtSocket::open(int flags) {
  if (fd_ >= 0) close(fd_);
  fd_ = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | flags, NETLINK_ROUTE);
  return fd_ < 0 ? failure(errno) : RtStatus{};
}

RtStatus RtSocket::open_requests() {
  if (const RtStatus status = open(0); !status.ok()) return status;
  const timeval limit{kAnswerTimeoutSec, 0};
  if (setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) != 0) return failure(errno);
  // Errors then come without a copy of the request.
  const int on = 1;
  if (setsockopt(fd_, SOL_NETLINK, NETLINK_CAP_ACK, &on, sizeof on) != 0) return failure(errno);
  return {};
}

RtStatus RtSocket::open_events() {
  if (const RtStatus status = open(SOCK_NONBLOCK); !status.ok()) return status;
  const int bytes = kEventBufferBytes;
  // Without CAP_NET_ADMIN the plain option, limited by net.core.rmem_max, must do.
  if (setsockopt(fd_, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof bytes) != 0) {
    if (setsockopt(fd_, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes) != 0) return failure(errno);
  }
  sockaddr_nl self{};
  self.nl_family = AF_NETLINK;
  if (bind(fd_, reinterpret_cast<const sockaddr*>(&self), sizeof self) != 0) {
    return failure(errno);
  }
  const int groups[] = {RTNLGRP_LINK,       RTNLGRP_NEIGH,     RTNLGRP_IPV4_IFADDR,
                        RTNLGRP_IPV4_ROUTE, RTNLGRP_IPV4_RULE, RTNLGRP_IPV6_IFADDR,
                        RTNLGRP_IPV6_ROUTE, RTNLGRP_IPV6_RULE, RTNLGRP_NEXTHOP};
  for (const int group : groups) {
    if (setsockopt(fd_, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &group, sizeof group) != 0) {
      // Kernels before 5.3 have no next-hop objects and no group for them.
      if (group != RTNLGRP_NEXTHOP) return failure(errno);
    }
  }
  return {};
}

RtStatus RtSocket::send(uint8_t* request, uint32_t bytes) {
  nlmsghdr header;
  std::memcpy(&header, request, sizeof header);
  header.nlmsg_len = bytes;
  header.nlmsg_seq = ++sequence_;
  std::memcpy(request, &header, sizeof header);
  sockaddr_nl kernel{};
  kernel.nl_family = AF_NETLINK;
  const ssize_t sent =
      sendto(fd_, request, bytes, 0, reinterpret_cast<const sockaddr*>(&kernel), sizeof kernel);
  return sent < 0 ? failure(errno) : RtStatus{};
}

RtStatus RtSocket::receive(uint32_t* bytes, int flags) {
  for (;;) {
    sockaddr_nl from{};
    socklen_t from_bytes = sizeof from;
    const ssize_t got = recvfrom(fd_, buffer_, sizeof buffer_, flags | MSG_TRUNC,
                                 reinterpret_cast<sockaddr*>(&from), &from_bytes);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return failure(errno);
    if (from.nl_pid != 0) continue;  // another process may write to this socket; believe none
    if (static_cast<size_t>(got) > sizeof buffer_) return {RtCode::kMalformed, EMSGSIZE};
    *bytes = static_cast<uint32_t>(got);
    return {};
  }
}

// Sends one request and visits what answers it, up to the acknowledgement, the end of a dump or
// an error. Answers to an older request that timed out are passed over.
RtStatus RtSocket::exchange(uint8_t* request, uint32_t bytes,
                            void (*visit)(void* context, const RtMessage& message), void* context) {
  if (const RtStatus status = send(request, bytes); !status.ok()) return status;
  bool interrupted = false;  // include/net/netlink.h nl_dump_check_consistent
  for (;;) {
    uint32_t got = 0;
    if (const RtStatus status = receive(&got, 0); !status.ok()) return status;
    RtWalk walk(buffer_, got);
    while (walk.next()) {
      const RtMessage& message = walk.message();
      if (message.sequence != sequence_) continue;
      interrupted = interrupted || (message.flags & NLM_F_DUMP_INTR) != 0;
      if (message.type == NLMSG_DONE) {
        return {interrupted ? RtCode::kInterrupted : RtCode::kOk, 0};
      }
      if (message.type == NLMSG_ERROR) {
        int error = 0;
        if (!parse_error(message, &error)) return {RtCode::kMalformed, 0};
        return error == 0 ? RtStatus{} : failure(error);
      }
      visit(context, message);
      // Without NLM_F_ACK the one answer is all there is.
      if ((message.flags & NLM_F_MULTI) == 0) return {};
    }
    if (walk.malformed()) return {RtCode::kMalformed, 0};
  }
}

RtStatus RtSocket::route(const Addr& destination, RouteInfo* out) {
  rtmsg fixed{};
  fixed.rtm_family = family_of(destination);
  fixed.rtm_dst_len = destination.is_v4() ? 32 : 128;
  Request request(RTM_GETROUTE, 0, fixed);
  request.address(RTA_DST, destination);
  Kept<RouteInfo> kept{};
  const RtStatus status =
      exchange(request.data(), request.bytes(), keep_parsed<RouteInfo, parse_route>, &kept);
  if (status.ok()) {
    *out = kept.item;
    return kept.found ? status : RtStatus{RtCode::kMalformed, 0};
  }
  // The error is the kind of "no": none, unreachable, blackhole, prohibit (net/ipv4/fib_semantics.c
  // fib_props).
  if (status.error == ENETUNREACH || status.error == EHOSTUNREACH || status.error == EINVAL ||
      status.error == EACCES) {
    return {RtCode::kUnreachable, status.error};
  }
  return status;
}

RtStatus RtSocket::neighbour(uint32_t ifindex, const Addr& address, NeighbourInfo* out) {
  ndmsg fixed{};
  fixed.ndm_family = family_of(address);
  fixed.ndm_ifindex = static_cast<int>(ifindex);
  Request request(RTM_GETNEIGH, 0, fixed);
  request.address(NDA_DST, address);
  Kept<NeighbourInfo> kept{};
  const RtStatus status =
      exchange(request.data(), request.bytes(), keep_parsed<NeighbourInfo, parse_neighbour>, &kept);
  if (!status.ok()) return status;
  *out = kept.item;
  return kept.found ? status : RtStatus{RtCode::kMalformed, 0};
}

RtStatus RtSocket::link(uint32_t ifindex, LinkInfo* out) {
  ifinfomsg fixed{};
  fixed.ifi_family = AF_UNSPEC;
  fixed.ifi_index = static_cast<int>(ifindex);
  Request request(RTM_GETLINK, 0, fixed);
  Kept<LinkInfo> kept{};
  const RtStatus status =
      exchange(request.data(), request.bytes(), keep_parsed<LinkInfo, parse_link>, &kept);
  if (!status.ok()) return status;
  *out = kept.item;
  return kept.found ? status : RtStatus{RtCode::kMalformed, 0};
}

RtStatus RtSocket::links(void (*visit)(void* context, const LinkInfo& link), void* context) {
  Request request(RTM_GETLINK, NLM_F_DUMP, ifinfomsg{});
  Visit<LinkInfo> wanted{visit, context};
  return exchange(request.data(), request.bytes(), visit_parsed<LinkInfo, parse_link>, &wanted);
}

RtStatus RtSocket::addresses(void (*visit)(void* context, const AddressInfo& address),
                             void* context) {
  Request request(RTM_GETADDR, NLM_F_DUMP, ifaddrmsg{});
  Visit<AddressInfo> wanted{visit, context};
  return exchange(request.data(), request.bytes(), visit_parsed<AddressInfo, parse_address>,
                  &wanted);
}

RtStatus RtSocket::neighbours(void (*visit)(void* context, const NeighbourInfo& neighbour),
                              void* context) {
  Request request(RTM_GETNEIGH, NLM_F_DUMP, ndmsg{});
  Visit<NeighbourInfo> wanted{visit, context};
  return exchange(request.data(), request.bytes(), visit_parsed<NeighbourInfo, parse_neighbour>,
                  &wanted);
}

RtStatus RtSocket::ask(uint32_t ifindex, const Addr& address) {
  ndmsg fixed{};
  fixed.ndm_family = family_of(address);
  fixed.ndm_ifindex = static_cast<int>(ifindex);
  fixed.ndm_flags = NTF_USE;
  Request request(RTM_NEWNEIGH, NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE, fixed);
  request.address(NDA_DST, address);
  return exchange(request.data(), request.bytes(), ignore, nullptr);
}

RtStatus RtSocket::read_events(void (*visit)(void* context, const RtMessage& message),
                               void* context) {
  uint32_t got = 0;
  const RtStatus status = receive(&got, MSG_DONTWAIT);
  if (status.code == RtCode::kTimeout) return {RtCode::kNothing, 0};
  if (!status.ok()) return status;
  RtWalk walk(buffer_, got);
  while (walk.next()) visit(context, walk.message());
  // A damaged datagram may have said anything.
  return walk.malformed() ? RtStatus{RtCode::kOverrun, 0} : RtStatus{};
}

}  // namespace uvs
