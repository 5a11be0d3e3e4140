// In: main's options. Does: opens everything that port_set.h describes, in an order that leaves
// nothing behind on failure, and gives it back. Next: workers borrow the descriptors (factory.cc).
#include "io/port_set.h"

#include <net/if.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cassert>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <utility>

#include "io/tc.h"

namespace uvs {
namespace {

// A director's exclusive hold on an interface: a UNIX socket with an abstract name (unix(7)). Such
// names belong to the network namespace, and the kernel frees them when the process ends in any
// way. EADDRINUSE: another director has it.
UniqueFd hold_interface(const Interface& interface, IoError* error) {
  UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const std::string name = "uvs-interface-" + std::to_string(interface.index);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path + 1, name.data(), name.size());
  const auto bytes = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size());
  if (fd.open() && ::bind(fd.get(), reinterpret_cast<sockaddr*>(&address), bytes) == 0) return fd;
  const int number = errno;
  *error = system_error(number, "bind AF_UNIX", interface.name);
  if (number == EADDRINUSE) {
    error->sentence = interface.name +
                      ": another director runs on this interface: stop it first, or choose "
                      "another interface";
  }
  return UniqueFd();
}

// Removes the quiet filter of a killed director; the interface must be held.
bool clean_interface(const Interface& interface, IoError* error) {
  bool found = false;
  bool good = uvs::detach_quiet(interface.index, interface.name, false, &found, error);
  // The qdisc was ours to make most likely, and when it is empty nobody misses it.
  if (found) good &= uvs::detach_quiet(interface.index, interface.name, true, nullptr, error);
  return good;
}

}  // namespace

std::unique_ptr<PortSet> PortSet::open(const PortSetOptions& options, IoError* error) {
  assert(options.workers >= 1 && options.workers <= kMaxWorkers);
  const bool packets = options.kind == PortKind::kAfPacket;
  const size_t ports = packets ? options.interfaces.size() + (options.host_port ? 1 : 0) : 1;
  if (ports == 0 || ports > kMaxPorts || (packets && options.interfaces.empty())) {
    *error = refusal("ERR_ARGUMENT", "give 1 to " + std::to_string(kMaxPorts - 1) + " interfaces");
    return nullptr;
  }
  std::unique_ptr<PortSet> made(new PortSet());
  made->workers_ = options.workers;
  made->classifier_ = Classifier::open(options.workers, error);
  if (made->classifier_ == nullptr || !made->open_bells(error)) return nullptr;
  if (!made->open_handovers(error)) return nullptr;
  if (packets && !made->open_sockets(options, error)) return nullptr;
  if ((!packets || options.host_port) && !made->open_tun_queues(options, error)) return nullptr;
  // Not before everything is open: a filter found earlier may be that of a living director.
  for (const Interface& interface : made->interfaces_) {
    if (!clean_interface(interface, error)) return nullptr;
  }
  if (!packets && !clean_leftovers(options.interfaces, error)) return nullptr;
  return made;
}

bool PortSet::open_sockets(const PortSetOptions& options, IoError* error) {
  for (const std::string& name : options.interfaces) {
    Interface interface;
    if (!find_interface(name, &interface, error)) return false;
    for (const Interface& other : interfaces_) {
      if (other.index != interface.index) continue;
      *error = refusal("ERR_ARGUMENT", name + ": the interface is named twice");
      return false;
    }
    holds_.push_back(hold_interface(interface, error));
    if (!holds_.back().open()) return false;
    std::vector<UniqueFd> sockets;
    for (uint32_t worker = 0; worker < workers_; worker++) {
      PacketSocketOptions socket;
      socket.ring_frames = options.ring_frames;
      socket.filter_program = classifier_->filter_program();
      socket.steering_program = classifier_->steering_program();
      socket.workers = workers_;
      socket.worker = worker;
      socket.first_socket = worker == 0 ? -1 : sockets[0].get();
      sockets.push_back(open_packet_socket(interface, socket, error));
      if (!sockets.back().open()) return false;
    }
    descriptors_.push_back(std::move(sockets));
    ifindexes_.push_back(interface.index);
    interfaces_.push_back(std::move(interface));
    quiet_.emplace_back();
  }
  return true;
}

bool PortSet::open_tun_queues(const PortSetOptions& options, IoError* error) {
  TunOptions tun;
  tun.name = options.tun_name;
  tun.queues = workers_;
  tun.steering_program = classifier_->steering_program();
  TunDevice device;
  if (!open_tun(tun, &device, error)) return false;
  descriptors_.push_back(std::move(device.queues));
  ifindexes_.push_back(device.ifindex);
  tun_name_ = options.tun_name;
  return true;
}

bool PortSet::open_bells(IoError* error) {
  for (uint32_t worker = 0; worker < workers_; worker++) {
    bells_.emplace_back(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
    if (bells_.back().open()) continue;
    *error = system_error("eventfd", "a worker's bell");
    return false;
  }
  return true;
}

bool PortSet::open_handovers(IoError* error) {
  handovers_.resize(workers_);
  if (workers_ == 1) return true;
  for (HandoverPair& pair : handovers_) {
    if (!open_handover(&pair, error)) return false;
  }
  return true;
}

void PortSet::ring(uint32_t worker) {
  assert(worker < bells_.size());
  const uint64_t once = 1;
  // EAGAIN: it has been rung 2^64 - 2 times without being heard, and is readable.
  if (::write(bells_[worker].get(), &once, sizeof once) < 0) assert(errno == EAGAIN);
}

int PortSet::descriptor(uint32_t worker, uint32_t port) const {
  assert(port < descriptors_.size() && worker < workers_);
  return descriptors_[port][worker].get();
}

bool PortSet::lost(uint32_t port) const {
  assert(port < ports());
  const std::string& name = port < interfaces_.size() ? interfaces_[port].name : tun_name_;
  const uint32_t index = ::if_nametoindex(name.c_str());
  // 0 without ENODEV: the question failed, say for want of a descriptor, and says nothing.
  return index == 0 ? errno == ENODEV : index != ifindexes_[port];
}

bool PortSet::attach_quiet(IoError* error) {
  for (size_t i = 0; i < interfaces_.size(); i++) {
    if (quiet_[i].attached) continue;
    if (!uvs::attach_quiet(interfaces_[i].index, interfaces_[i].name, classifier_->quiet_program(),
                           &quiet_[i].made_qdisc, error)) {
      IoError ignored;
      detach_quiet(&ignored);
      return false;
    }
    quiet_[i].attached = true;
  }
  return true;
}

bool PortSet::detach_quiet(IoError* error) {
  bool good = true;
  for (size_t i = 0; i < interfaces_.size(); i++) {
    if (!quiet_[i].attached) continue;
    good &= uvs::detach_quiet(interfaces_[i].index, interfaces_[i].name, quiet_[i].made_qdisc,
                              nullptr, error);
    quiet_[i] = Quiet{};
  }
  return good;
}

void PortSet::close() {
  IoError ignored;
  detach_quiet(&ignored);
  descriptors_.clear();
  bells_.clear();
  handovers_.clear();
  classifier_.reset();
  holds_.clear();
}

bool PortSet::clean_leftovers(const std::vector<std::string>& interfaces, IoError* error) {
  bool good = true;
  for (const std::string& name : interfaces) {
    Interface interface;
    IoError absent;
    if (!find_interface(name, &interface, &absent)) continue;
    const UniqueFd hold = hold_interface(interface, &absent);
    if (!hold.open()) continue;
    good &= clean_interface(interface, error);
  }
  return good;
}

}  // namespace uvs
