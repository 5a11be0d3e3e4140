// In: a TUN queue. Does: reads packets into its own buffers, writes packets from where they lie.
// Next: the core parses them; they start with the IP header.
#include "io/tun.h"

#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>

namespace uvs {
namespace {

constexpr uint32_t kBufferBytes = (kHeadroom + kMaxIpBytes + 63) & ~63u;

// UDP segmentation offload came with Linux 6.2 (linux/if_tun.h).
constexpr unsigned kOffloadUso = 0x20 | 0x40;
constexpr unsigned kOffloads = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN;

bool name_request(const std::string& name, ifreq* request, IoError* error) {
  *request = ifreq{};
  if (name.empty() || name.size() >= sizeof request->ifr_name) {
    *error = refusal("ERR_ARGUMENT", "'" + name + "' cannot be the name of a TUN device");
    return false;
  }
  std::memcpy(request->ifr_name, name.data(), name.size());
  return true;
}

UniqueFd open_queue(const std::string& name, IoError* error) {
  UniqueFd fd(::open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC));
  if (!fd.open()) {
    *error = system_error("open /dev/net/tun", name);
    return fd;
  }
  ifreq request;
  if (!name_request(name, &request, error)) return UniqueFd();
  request.ifr_flags = static_cast<short>(IFF_TUN | IFF_NO_PI | IFF_MULTI_QUEUE | IFF_VNET_HDR);
  if (::ioctl(fd.get(), TUNSETIFF, &request) != 0) {
    *error = system_error("ioctl TUNSETIFF", name);
    return UniqueFd();
  }
  const int header_bytes = kVnetHeaderBytes;
  if (::ioctl(fd.get(), TUNSETVNETHDRSZ, &header_bytes) != 0) {
    *error = system_error("ioctl TUNSETVNETHDRSZ", name);
    return UniqueFd();
  }
  return fd;
}

// What the kernel may hand to us unfinished: partial checksums and super-packets.
bool set_offloads(int fd, const std::string& name, IoError* error) {
  if (::ioctl(fd, TUNSETOFFLOAD, kOffloads | kOffloadUso) == 0) return true;
  if (errno == EINVAL && ::ioctl(fd, TUNSETOFFLOAD, kOffloads) == 0) return true;
  *error = system_error("ioctl TUNSETOFFLOAD", name);
  return false;
}

bool bring_up(const TunOptions& options, uint32_t* ifindex, IoError* error) {
  const UniqueFd fd(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  ifreq request;
  if (!name_request(options.name, &request, error)) return false;
  const auto control = [&](unsigned long command, const char* call) {
    if (::ioctl(fd.get(), command, &request) == 0) return true;
    *error = system_error(call, options.name);
    return false;
  };
  if (!control(SIOCGIFINDEX, "ioctl SIOCGIFINDEX")) return false;
  *ifindex = static_cast<uint32_t>(request.ifr_ifindex);
  request.ifr_mtu = static_cast<int>(options.mtu);
  if (!control(SIOCSIFMTU, "ioctl SIOCSIFMTU")) return false;
  request.ifr_qlen = static_cast<int>(options.queue_frames);
  if (!control(SIOCSIFTXQLEN, "ioctl SIOCSIFTXQLEN")) return false;
  if (!control(SIOCGIFFLAGS, "ioctl SIOCGIFFLAGS")) return false;
  request.ifr_flags = static_cast<short>(request.ifr_flags | IFF_UP);
  return control(SIOCSIFFLAGS, "ioctl SIOCSIFFLAGS");
}

bool exists(const std::string& name) {
  const UniqueFd fd(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  ifreq request;
  IoError ignored;
  return name_request(name, &request, &ignored) && ::ioctl(fd.get(), SIOCGIFINDEX, &request) == 0;
}

}  // namespace

bool open_tun(const TunOptions& options, TunDevice* device, IoError* error) {
  // Without this a queue could be added to a multi-queue device of somebody else.
  if (exists(options.name)) {
    *error = system_error(EEXIST, "ioctl TUNSETIFF", options.name);
    error->sentence = options.name +
                      ": an interface of this name exists: another director runs here, or choose "
                      "another name (--tun NAME)";
    return false;
  }
  TunDevice made;
  for (uint32_t i = 0; i < options.queues; i++) {
    made.queues.push_back(open_queue(options.name, error));
    if (!made.queues.back().open()) return false;
  }
  if (!set_offloads(made.queues[0].get(), options.name, error)) return false;
  if (options.queues > 1 && options.steering_program >= 0 &&
      ::ioctl(made.queues[0].get(), TUNSETSTEERINGEBPF, &options.steering_program) != 0) {
    *error = system_error("ioctl TUNSETSTEERINGEBPF", options.name);
    return false;
  }
  if (!bring_up(options, &made.ifindex, error)) return false;
  *device = std::move(made);
  return true;
}

TunPort::TunPort(int fd, uint32_t ifindex)
    : fd_(fd), ifindex_(ifindex), buffers_(new uint8_t[size_t{kBurst} * kBufferBytes]) {}

uint32_t TunPort::rx_burst(Frame* out, uint32_t max) {
  uint32_t count = 0;
  while (count < max && lent_ < kBurst) {
    uint8_t* data = &buffers_[size_t{lent_} * kBufferBytes] + kHeadroom;
    const ssize_t got = ::read(fd_, data - kVnetHeaderBytes, kVnetHeaderBytes + kMaxIpBytes);
    if (got < 0 && errno == EINTR) continue;
    if (got < static_cast<ssize_t>(kVnetHeaderBytes)) break;
    Frame& frame = out[count++];
    frame = Frame{};
    frame.data = data;
    frame.length = static_cast<uint32_t>(got) - kVnetHeaderBytes;
    frame.headroom = kHeadroom;
    std::memcpy(&frame.vnet, data - kVnetHeaderBytes, kVnetHeaderBytes);
    frame.vnet.flags &= kVnetNeedsCsum;
    lent_++;
  }
  return count;
}

uint32_t TunPort::tx_burst(const Frame* frames, uint32_t count, int* error) {
  for (uint32_t i = 0; i < count;) {
    uint8_t* start = frames[i].data - kVnetHeaderBytes;
    std::memcpy(start, &frames[i].vnet, kVnetHeaderBytes);
    if (::write(fd_, start, kVnetHeaderBytes + size_t{frames[i].length}) >= 0) {
      i++;
    } else if (errno != EINTR) {
      *error = errno;
      return i;
    }
  }
  return count;
}

}  // namespace uvs
