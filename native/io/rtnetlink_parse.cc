// In: a datagram from the kernel. Does: checks every length and picks out the attributes that
// matter. Next: rtnetlink.cc hands the values to whoever asked.
// Formats: rtnetlink(7), linux/rtnetlink.h, linux/neighbour.h, linux/if_link.h.
#include "io/rtnetlink_parse.h"

#include <linux/if_arp.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include <cstring>

namespace uvs {
namespace {

constexpr size_t aligned(size_t bytes) { return (bytes + 3) & ~size_t{3}; }

// One attribute: type, then `bytes` bytes of value.
struct Attribute {
  uint16_t type;
  const uint8_t* value;
  size_t bytes;

  uint32_t number() const {
    uint32_t v = 0;
    if (bytes >= sizeof v) std::memcpy(&v, value, sizeof v);
    return v;
  }
};

class AttributeWalk {
 public:
  AttributeWalk(const uint8_t* data, size_t bytes) : at_(data), left_(bytes) {}

  bool next(Attribute* out) {
    rtattr header;
    if (left_ < sizeof header) return false;
    std::memcpy(&header, at_, sizeof header);
    if (header.rta_len < sizeof header || header.rta_len > left_) return false;
    out->type = header.rta_type & 0x3fff;  // without NLA_F_NESTED and NLA_F_NET_BYTEORDER
    out->value = at_ + sizeof header;
    out->bytes = header.rta_len - sizeof header;
    const size_t step = aligned(header.rta_len) < left_ ? aligned(header.rta_len) : left_;
    at_ += step;
    left_ -= step;
    return true;
  }

 private:
  const uint8_t* at_;
  size_t left_;
};

// The fixed header of a message; attributes follow it.
template <typename Header>
bool fixed(const RtMessage& message, Header* out) {
  if (message.body_bytes < sizeof(Header)) return false;
  std::memcpy(out, message.body, sizeof(Header));
  return true;
}

template <typename Header>
AttributeWalk attributes(const RtMessage& message) {
  const size_t skip =
      aligned(sizeof(Header)) < message.body_bytes ? aligned(sizeof(Header)) : message.body_bytes;
  return AttributeWalk(message.body + skip, message.body_bytes - skip);
}

bool address_of(const uint8_t* value, size_t bytes, int family, Addr* out) {
  if (family == AF_INET && bytes == 4) {
    Be32 four;
    std::memcpy(&four.raw, value, 4);
    *out = Addr::v4(four);
    return true;
  }
  if (family != AF_INET6 || bytes != 16) return false;
  *out = Addr::v6(value);
  return true;
}

RouteType route_type(uint8_t type) {
  switch (type) {
    case RTN_UNICAST: return RouteType::kUnicast;
    case RTN_LOCAL: return RouteType::kLocal;
    case RTN_BLACKHOLE:
    case RTN_UNREACHABLE:
    case RTN_PROHIBIT:
    case RTN_THROW: return RouteType::kUnreachable;
    default: return RouteType::kOther;
  }
}

uint32_t mtu_metric(const Attribute& metrics) {
  Attribute metric;
  for (AttributeWalk walk(metrics.value, metrics.bytes); walk.next(&metric);) {
    if (metric.type == RTAX_MTU) return metric.number();
  }
  return 0;
}

// RTA_VIA: a gateway of any family (struct rtvia: u16 family, then the address).
bool via_of(const Attribute& via, Addr* out) {
  uint16_t family;
  if (via.bytes < sizeof family) return false;
  std::memcpy(&family, via.value, sizeof family);
  return address_of(via.value + sizeof family, via.bytes - sizeof family, family, out);
}

// Only IPv4 and IPv6: other families share the message types (bridge entries, for one).
bool known_family(int family) { return family == AF_INET || family == AF_INET6; }

NeighbourState neighbour_state(uint16_t state) {
  constexpr uint16_t kUsable =
      NUD_REACHABLE | NUD_STALE | NUD_DELAY | NUD_PROBE | NUD_PERMANENT | NUD_NOARP;
  if (state & kUsable) return NeighbourState::kUsable;
  return state & NUD_FAILED ? NeighbourState::kFailed : NeighbourState::kResolving;
}

// Devices that decapsulate (net/ipv4/ipip.c, ip_gre.c, net/ipv6/sit.c, ip6_tunnel.c, ip6_gre.c).
bool tunnel_link(uint16_t type) {
  switch (type) {
    case ARPHRD_TUNNEL:
    case ARPHRD_TUNNEL6:
    case ARPHRD_SIT:
    case ARPHRD_IPGRE:
    case ARPHRD_IP6GRE: return true;
    default: return false;
  }
}

}  // namespace

bool RtWalk::next() {
  nlmsghdr header;
  if (left_ == 0) return false;
  if (left_ < sizeof header) {
    malformed_ = true;
    return false;
  }
  std::memcpy(&header, at_, sizeof header);
  if (header.nlmsg_len < sizeof header || header.nlmsg_len > left_) {
    malformed_ = true;
    return false;
  }
  message_ = RtMessage{header.nlmsg_type, header.nlmsg_flags, header.nlmsg_seq, at_ + sizeof header,
                       static_cast<uint32_t>(header.nlmsg_len - sizeof header)};
  const size_t step = aligned(header.nlmsg_len) < left_ ? aligned(header.nlmsg_len) : left_;
  at_ += step;
  left_ -= step;
  return true;
}

bool parse_route(const RtMessage& message, RouteInfo* out) {
  rtmsg header;
  if (message.type != RTM_NEWROUTE && message.type != RTM_DELROUTE) return false;
  if (!fixed(message, &header) || !known_family(header.rtm_family)) return false;
  *out = RouteInfo{};
  out->type = route_type(header.rtm_type);
  out->cloned = (header.rtm_flags & RTM_F_CLONED) != 0;
  const int family = header.rtm_family;
  Attribute attribute;
  for (AttributeWalk walk = attributes<rtmsg>(message); walk.next(&attribute);) {
    const uint8_t* value = attribute.value;
    if (attribute.type == RTA_OIF) {
      out->ifindex = attribute.number();
    } else if (attribute.type == RTA_GATEWAY) {
      out->has_gateway = address_of(value, attribute.bytes, family, &out->gateway);
    } else if (attribute.type == RTA_VIA) {
      out->has_gateway = via_of(attribute, &out->gateway);
    } else if (attribute.type == RTA_PREFSRC) {
      out->has_source = address_of(value, attribute.bytes, family, &out->source);
    } else if (attribute.type == RTA_METRICS) {
      out->mtu = mtu_metric(attribute);
    }
  }
  return true;
}

bool parse_link(const RtMessage& message, LinkInfo* out) {
  ifinfomsg header;
  if (message.type != RTM_NEWLINK && message.type != RTM_DELLINK) return false;
  if (!fixed(message, &header) || header.ifi_family != AF_UNSPEC || header.ifi_index <= 0) {
    return false;
  }
  *out = LinkInfo{};
  out->ifindex = static_cast<uint32_t>(header.ifi_index);
  out->loopback = (header.ifi_flags & IFF_LOOPBACK) != 0;
  out->no_arp = (header.ifi_flags & IFF_NOARP) != 0;
  out->up = (header.ifi_flags & IFF_UP) != 0;
  out->tunnel = tunnel_link(header.ifi_type);
  Attribute attribute;
  for (AttributeWalk walk = attributes<ifinfomsg>(message); walk.next(&attribute);) {
    if (attribute.type == IFLA_IFNAME && attribute.bytes != 0) {
      const size_t most = sizeof out->name - 1;
      std::memcpy(out->name, attribute.value, attribute.bytes < most ? attribute.bytes : most);
    } else if (attribute.type == IFLA_MTU) {
      out->mtu = attribute.number();
    } else if (attribute.type == IFLA_ADDRESS && attribute.bytes == sizeof out->address &&
               header.ifi_type == ARPHRD_ETHER) {
      std::memcpy(out->address, attribute.value, sizeof out->address);
      out->ethernet = true;
    }
  }
  return true;
}

bool parse_neighbour(const RtMessage& message, NeighbourInfo* out) {
  ndmsg header;
  if (message.type != RTM_NEWNEIGH && message.type != RTM_DELNEIGH) return false;
  if (!fixed(message, &header) || !known_family(header.ndm_family)) return false;
  if (header.ndm_flags & NTF_PROXY) return false;  // an address answered for, not a neighbour
  *out = NeighbourInfo{};
  out->ifindex = static_cast<uint32_t>(header.ndm_ifindex);
  out->state = neighbour_state(header.ndm_state);
  out->permanent = (header.ndm_state & (NUD_PERMANENT | NUD_NOARP)) != 0;
  bool has_address = false;
  Attribute attribute;
  for (AttributeWalk walk = attributes<ndmsg>(message); walk.next(&attribute);) {
    if (attribute.type == NDA_DST) {
      has_address = address_of(attribute.value, attribute.bytes, header.ndm_family, &out->address);
    } else if (attribute.type == NDA_LLADDR && attribute.bytes == sizeof out->link) {
      std::memcpy(out->link, attribute.value, sizeof out->link);
      out->has_link = true;
    }
  }
  return has_address;
}

bool parse_address(const RtMessage& message, AddressInfo* out) {
  ifaddrmsg header;
  if (message.type != RTM_NEWADDR && message.type != RTM_DELADDR) return false;
  if (!fixed(message, &header) || !known_family(header.ifa_family)) return false;
  *out = AddressInfo{};
  out->ifindex = header.ifa_index;
  out->prefix_bits = header.ifa_prefixlen;
  uint32_t flags = header.ifa_flags;
  bool has_local = false;
  bool has_address = false;
  Attribute attribute;
  for (AttributeWalk walk = attributes<ifaddrmsg>(message); walk.next(&attribute);) {
    const int family = header.ifa_family;
    if (attribute.type == IFA_LOCAL) {
      // On point-to-point links IFA_ADDRESS is the other end.
      has_local = address_of(attribute.value, attribute.bytes, family, &out->address) || has_local;
    } else if (attribute.type == IFA_ADDRESS && !has_local) {
      has_address =
          address_of(attribute.value, attribute.bytes, family, &out->address) || has_address;
    } else if (attribute.type == IFA_FLAGS && attribute.bytes >= 4) {
      flags = attribute.number();
    }
  }
  out->tentative = (flags & IFA_F_TENTATIVE) != 0;
  return has_local || has_address;
}

bool parse_error(const RtMessage& message, int* error) {
  nlmsgerr header;
  if (message.type != NLMSG_ERROR) return false;
  if (message.body_bytes < sizeof header.error) return false;
  std::memcpy(&header.error, message.body, sizeof header.error);
  // INT_MIN has no positive counterpart; no kernel sends it.
  if (header.error > 0 || header.error == INT32_MIN) return false;
  *error = -header.error;
  return true;
}

}  // namespace uvs
