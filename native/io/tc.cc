// In: an interface and the quiet program. Does: attaches, finds and removes the tc filter by
// rtnetlink, one socket per call, since it happens only at start and end. Next: the kernel runs it.
#include "io/tc.h"

#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/pkt_cls.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>
#include <functional>

#include "io/unique_fd.h"

namespace uvs {
namespace {

constexpr uint32_t kClsactHandle = TC_H_MAKE(TC_H_CLSACT, 0);
constexpr uint32_t kIngress = TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_INGRESS);
constexpr uint32_t kEgress = TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_EGRESS);

// Priority and protocol as tcm_info has them.
uint32_t filter_info() { return TC_H_MAKE(uint32_t{kQuietPriority} << 16, htons(ETH_P_ALL)); }

// One request with its attributes; small and of fixed size.
struct Request {
  nlmsghdr header;
  tcmsg message;
  uint8_t attributes[256];

  Request(uint16_t type, uint16_t flags, uint32_t ifindex) : header{}, message{}, attributes{} {
    header.nlmsg_type = type;
    header.nlmsg_flags = static_cast<uint16_t>(NLM_F_REQUEST | flags);
    header.nlmsg_len = NLMSG_LENGTH(sizeof message);
    header.nlmsg_seq = 1;
    message.tcm_family = AF_UNSPEC;
    message.tcm_ifindex = static_cast<int>(ifindex);
  }
  uint8_t* end() { return reinterpret_cast<uint8_t*>(this) + header.nlmsg_len; }
  rtattr* add(uint16_t type, const void* data, size_t bytes) {
    auto* attribute = reinterpret_cast<rtattr*>(end());
    attribute->rta_type = type;
    attribute->rta_len = static_cast<uint16_t>(RTA_LENGTH(bytes));
    if (bytes != 0) std::memcpy(RTA_DATA(attribute), data, bytes);
    header.nlmsg_len += RTA_ALIGN(attribute->rta_len);
    return attribute;
  }
  void add_text(uint16_t type, const char* text) { add(type, text, std::strlen(text) + 1); }
  void add_u32(uint16_t type, uint32_t value) { add(type, &value, sizeof value); }
  void close_nest(rtattr* nest) {
    nest->rta_len = static_cast<uint16_t>(end() - reinterpret_cast<uint8_t*>(nest));
  }
};

using Visit = std::function<void(const nlmsghdr&)>;

// Reads answers until the acknowledgement or the end of a dump; returns 0 or an errno.
int read_answers(int fd, const Visit& visit) {
  alignas(nlmsghdr) uint8_t buffer[32768];
  for (;;) {
    const ssize_t got = ::recv(fd, buffer, sizeof buffer, 0);
    if (got < 0) {
      if (errno == EINTR) continue;
      return errno;
    }
    auto left = static_cast<uint32_t>(got);
    for (auto* m = reinterpret_cast<nlmsghdr*>(buffer); NLMSG_OK(m, left);
         m = NLMSG_NEXT(m, left)) {
      if (m->nlmsg_type == NLMSG_DONE) return 0;
      if (m->nlmsg_type == NLMSG_ERROR) return -static_cast<nlmsgerr*>(NLMSG_DATA(m))->error;
      visit(*m);
    }
  }
}

// Sends a request and waits for its end; returns 0 or an errno.
int ask(
    Request& request, const Visit& visit = [](const nlmsghdr&) {}) {
  const UniqueFd fd(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE));
  if (!fd.open()) return errno;
  sockaddr_nl kernel{};
  kernel.nl_family = AF_NETLINK;
  if (::sendto(fd.get(), &request, request.header.nlmsg_len, 0,
               reinterpret_cast<sockaddr*>(&kernel), sizeof kernel) < 0) {
    return errno;
  }
  return read_answers(fd.get(), visit);
}

// Whether nothing is there to be removed any more: no such filter (ENOENT), no such qdisc (ENOENT,
// EINVAL) or no such interface (ENODEV). Others may remove them before us.
bool is_gone(int number) { return number == ENOENT || number == EINVAL || number == ENODEV; }

bool make_clsact(uint32_t ifindex, const std::string& name, bool* made, IoError* error) {
  Request request(RTM_NEWQDISC, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL, ifindex);
  request.message.tcm_parent = TC_H_CLSACT;
  request.message.tcm_handle = kClsactHandle;
  request.add_text(TCA_KIND, "clsact");
  const int number = ask(request);
  *made = number == 0;
  if (number == 0 || number == EEXIST) return true;
  *error = system_error(number, "rtnetlink RTM_NEWQDISC clsact", name);
  return false;
}

// Whether a filter message describes our filter: name and place.
bool is_ours(const nlmsghdr& m) {
  const auto* message = static_cast<const tcmsg*>(NLMSG_DATA(&m));
  if (message->tcm_handle != kQuietHandle || message->tcm_info != filter_info()) return false;
  auto left = static_cast<int>(m.nlmsg_len - NLMSG_LENGTH(sizeof *message));
  for (auto* a = TCA_RTA(message); RTA_OK(a, left); a = RTA_NEXT(a, left)) {
    if (a->rta_type != TCA_OPTIONS) continue;
    auto inner_left = static_cast<int>(RTA_PAYLOAD(a));
    for (auto* i = static_cast<rtattr*>(RTA_DATA(a)); RTA_OK(i, inner_left);
         i = RTA_NEXT(i, inner_left)) {
      if (i->rta_type == TCA_BPF_NAME) {
        return std::strncmp(static_cast<const char*>(RTA_DATA(i)), kQuietName, RTA_PAYLOAD(i)) == 0;
      }
    }
  }
  return false;
}

// Counts the filters below one parent of clsact: ours and all. Messages without a handle describe
// a priority, not a filter.
int count_filters(uint32_t ifindex, uint32_t parent, uint32_t* ours, uint32_t* all) {
  Request request(RTM_GETTFILTER, NLM_F_DUMP, ifindex);
  request.message.tcm_parent = parent;
  return ask(request, [&](const nlmsghdr& m) {
    if (m.nlmsg_type != RTM_NEWTFILTER) return;
    if (static_cast<const tcmsg*>(NLMSG_DATA(&m))->tcm_handle == 0) return;
    ++*all;
    if (is_ours(m)) ++*ours;
  });
}

}  // namespace

bool attach_quiet(uint32_t ifindex, const std::string& name, int program, bool* made_qdisc,
                  IoError* error) {
  if (!make_clsact(ifindex, name, made_qdisc, error)) return false;
  Request request(RTM_NEWTFILTER, NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE, ifindex);
  request.message.tcm_parent = kIngress;
  request.message.tcm_handle = kQuietHandle;
  request.message.tcm_info = filter_info();
  request.add_text(TCA_KIND, "bpf");
  rtattr* options = request.add(TCA_OPTIONS, nullptr, 0);
  request.add_u32(TCA_BPF_FD, static_cast<uint32_t>(program));
  request.add_text(TCA_BPF_NAME, kQuietName);
  request.add_u32(TCA_BPF_FLAGS, TCA_BPF_FLAG_ACT_DIRECT);
  request.close_nest(options);
  const int number = ask(request);
  if (number == 0) return true;
  *error = system_error(number, "rtnetlink RTM_NEWTFILTER", name);
  // One priority holds filters of one kind (tcf_proto_lookup in net/sched/cls_api.c).
  if (number == EINVAL || number == EEXIST) {
    error->sentence += ": another tc filter has priority 1 at ingress: move it to a later one";
  }
  if (*made_qdisc) {
    IoError ignored;
    detach_quiet(ifindex, name, true, nullptr, &ignored);
    *made_qdisc = false;
  }
  return false;
}

bool detach_quiet(uint32_t ifindex, const std::string& name, bool remove_qdisc, bool* found,
                  IoError* error) {
  uint32_t ours = 0;
  uint32_t all = 0;
  if (found != nullptr) *found = false;
  int number = count_filters(ifindex, kIngress, &ours, &all);
  if (is_gone(number)) return true;
  if (number == 0 && ours != 0) {
    Request request(RTM_DELTFILTER, NLM_F_ACK, ifindex);
    request.message.tcm_parent = kIngress;
    request.message.tcm_handle = kQuietHandle;
    request.message.tcm_info = filter_info();
    request.add_text(TCA_KIND, "bpf");
    number = ask(request);
    if (number == 0 && found != nullptr) *found = true;
  }
  if (number != 0 && !is_gone(number)) {
    *error = system_error(number, "rtnetlink RTM_DELTFILTER", name);
    return false;
  }
  if (!remove_qdisc || all > ours) return true;
  number = count_filters(ifindex, kEgress, &ours, &all);
  if (number == 0 && all == ours) {
    Request request(RTM_DELQDISC, NLM_F_ACK, ifindex);
    request.message.tcm_parent = TC_H_CLSACT;
    request.message.tcm_handle = kClsactHandle;
    request.add_text(TCA_KIND, "clsact");
    number = ask(request);
  }
  if (number == 0 || is_gone(number)) return true;
  *error = system_error(number, "rtnetlink RTM_DELQDISC clsact", name);
  return false;
}

}  // namespace uvs
