// In: an interface and the programs. Does: opens and sets up its packet sockets, packet(7) and
// Documentation/networking/packet_mmap.rst; everything is set before bind(), so that no frame
// passes an unfiltered socket. Next: a worker maps the ring (af_packet.cc).
#include "io/packet_socket.h"

#include <arpa/inet.h>
#include <linux/if_arp.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "limits.h"

// Newer than the headers of some distributions. Kernels that do not know the flag ignore it; then
// the filter program rejects outgoing frames, one call per frame later.
#ifndef PACKET_FANOUT_FLAG_IGNORE_OUTGOING
#define PACKET_FANOUT_FLAG_IGNORE_OUTGOING 0x4000
#endif

namespace uvs {
namespace {

constexpr uint32_t kBlockBytes = 65536;
constexpr uint32_t kSlotsPerBlock = kBlockBytes / kFrameSlotBytes;
static_assert(kBlockBytes % kFrameSlotBytes == 0);

// The kernel puts the frame kLinkOffset + PACKET_RESERVE bytes into its slot: the slot header,
// room for 16 bytes of link header less the 14 of Ethernet, and the virtio header (tpacket_rcv in
// net/packet/af_packet.c). What lies between the slot header and the frame is our headroom; this
// much leaves the IP header on an address that 16 divides.
constexpr uint32_t kReserveBytes = 86;
constexpr uint32_t kSlotHeaderBytes = TPACKET2_HDRLEN;
constexpr uint32_t kNetworkOffset =
    TPACKET_ALIGN(kSlotHeaderBytes + 16) + kReserveBytes + kVnetHeaderBytes;
static_assert(kNetworkOffset - kEthernetBytes - kSlotHeaderBytes >= kHeadroom);
static_assert(kNetworkOffset % 16 == 0);
static_assert(kFrameSlotBytes - kNetworkOffset >= 1600, "ordinary frames fit a slot");

// Super-packets wait in the socket's queue, not in the ring; and a burst of 64 of them must fit
// the send buffer. Bytes as the kernel accounts them, doubled by it.
constexpr int kSocketBufferBytes = 8 << 20;

bool set_option(int fd, int level, int option, const void* value, socklen_t bytes) {
  return ::setsockopt(fd, level, option, value, bytes) == 0;
}

bool set_int(int fd, int option, int value) {
  return set_option(fd, SOL_PACKET, option, &value, sizeof value);
}

bool configure_ring(int fd, uint32_t frames, const std::string& what, IoError* error) {
  const struct {
    int option;
    int value;
    const char* call;
  } settings[] = {
      {PACKET_VERSION, TPACKET_V2, "setsockopt PACKET_VERSION"},
      {PACKET_VNET_HDR, 1, "setsockopt PACKET_VNET_HDR"},
      {PACKET_RESERVE, static_cast<int>(kReserveBytes), "setsockopt PACKET_RESERVE"},
      {PACKET_COPY_THRESH, 1, "setsockopt PACKET_COPY_THRESH"},
      {PACKET_QDISC_BYPASS, 1, "setsockopt PACKET_QDISC_BYPASS"},
      {PACKET_IGNORE_OUTGOING, 1, "setsockopt PACKET_IGNORE_OUTGOING"},
  };
  for (const auto& setting : settings) {
    if (set_int(fd, setting.option, setting.value)) continue;
    *error = system_error(setting.call, what);
    return false;
  }
  const RingShape shape = ring_shape(frames);
  tpacket_req request{};
  request.tp_block_size = shape.block_bytes;
  request.tp_block_nr = shape.blocks;
  request.tp_frame_size = kFrameSlotBytes;
  request.tp_frame_nr = shape.frames;
  if (!set_option(fd, SOL_PACKET, PACKET_RX_RING, &request, sizeof request)) {
    *error = system_error("setsockopt PACKET_RX_RING", what);
    return false;
  }
  return true;
}

// Beyond net.core.rmem_max with CAP_NET_ADMIN, else as far as that allows.
void enlarge_buffers(int fd) {
  const int bytes = kSocketBufferBytes;
  if (!set_option(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof bytes)) {
    set_option(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes);
  }
  if (!set_option(fd, SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof bytes)) {
    set_option(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes);
  }
}

// Neighbour solicitations for announced addresses come to multicast link addresses that the
// interface did not subscribe to (RFC 4861 4.3).
bool receive_multicast(int fd, const Interface& interface, IoError* error) {
  packet_mreq membership{};
  membership.mr_ifindex = static_cast<int>(interface.index);
  membership.mr_type = PACKET_MR_ALLMULTI;
  if (set_option(fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &membership, sizeof membership)) {
    return true;
  }
  *error = system_error("setsockopt PACKET_ADD_MEMBERSHIP", interface.name);
  return false;
}

bool bind_to(int fd, const Interface& interface, IoError* error) {
  sockaddr_ll address{};
  address.sll_family = AF_PACKET;
  address.sll_protocol = htons(ETH_P_ALL);
  address.sll_ifindex = static_cast<int>(interface.index);
  if (::bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0) return true;
  *error = system_error("bind", interface.name);
  return false;
}

// Members are numbered in the order they join. The first asks the kernel for a free group id.
bool join_fanout(int fd, const Interface& interface, const PacketSocketOptions& options,
                 IoError* error) {
  uint32_t group = 0;
  if (options.worker > 0) {
    socklen_t bytes = sizeof group;
    if (::getsockopt(options.first_socket, SOL_PACKET, PACKET_FANOUT, &group, &bytes) != 0) {
      *error = system_error("getsockopt PACKET_FANOUT", interface.name);
      return false;
    }
    group &= 0xffff;
  }
  uint32_t type = PACKET_FANOUT_EBPF | PACKET_FANOUT_FLAG_IGNORE_OUTGOING;
  if (options.worker == 0) type |= PACKET_FANOUT_FLAG_UNIQUEID;
  if (!set_int(fd, PACKET_FANOUT, static_cast<int>(group | type << 16))) {
    *error = system_error("setsockopt PACKET_FANOUT", interface.name);
    return false;
  }
  if (options.worker > 0) return true;
  if (!set_int(fd, PACKET_FANOUT_DATA, options.steering_program)) {
    *error = system_error("setsockopt PACKET_FANOUT_DATA", interface.name);
    return false;
  }
  return true;
}

}  // namespace

RingShape ring_shape(uint32_t frames) {
  const uint32_t wanted = std::clamp(frames, kSlotsPerBlock, kRingFramesMax);
  const uint32_t blocks = (wanted + kSlotsPerBlock - 1) / kSlotsPerBlock;
  return RingShape{blocks * kSlotsPerBlock, blocks, kBlockBytes, uint64_t{blocks} * kBlockBytes};
}

bool find_interface(const std::string& name, Interface* found, IoError* error) {
  ifreq request{};
  if (name.empty() || name.size() >= sizeof request.ifr_name) {
    *error = refusal("ERR_ARGUMENT", "'" + name + "' cannot be the name of an interface");
    return false;
  }
  std::memcpy(request.ifr_name, name.data(), name.size());
  const UniqueFd fd(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!fd.open() || ::ioctl(fd.get(), SIOCGIFINDEX, &request) != 0) {
    *error = system_error("ioctl SIOCGIFINDEX", name);
    return false;
  }
  const auto index = static_cast<uint32_t>(request.ifr_ifindex);
  if (::ioctl(fd.get(), SIOCGIFHWADDR, &request) != 0) {
    *error = system_error("ioctl SIOCGIFHWADDR", name);
    return false;
  }
  const auto type = request.ifr_hwaddr.sa_family;
  if (type != ARPHRD_ETHER && type != ARPHRD_LOOPBACK) {
    *error = refusal("ERR_LINK", name + ": not an Ethernet device: use --io tun beside it");
    return false;
  }
  *found = Interface{name, index};
  return true;
}

UniqueFd open_packet_socket(const Interface& interface, const PacketSocketOptions& options,
                            IoError* error) {
  // Protocol 0: receives nothing until bind().
  UniqueFd fd(::socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd.open()) {
    *error = system_error("socket AF_PACKET", interface.name);
    return UniqueFd();
  }
  if (!configure_ring(fd.get(), options.ring_frames, interface.name, error)) return UniqueFd();
  enlarge_buffers(fd.get());
  if (options.filter_program >= 0 &&
      !set_option(fd.get(), SOL_SOCKET, SO_ATTACH_BPF, &options.filter_program, sizeof(int))) {
    *error = system_error("setsockopt SO_ATTACH_BPF", interface.name);
    return UniqueFd();
  }
  if (!receive_multicast(fd.get(), interface, error)) return UniqueFd();
  if (!bind_to(fd.get(), interface, error)) return UniqueFd();
  if (options.workers > 1 && !join_fanout(fd.get(), interface, options, error)) return UniqueFd();
  return fd;
}

}  // namespace uvs
