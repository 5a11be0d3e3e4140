// The interface between the core and a source and sink of frames.
//
// A port gives frames in bursts, lent until release(), and takes frames in bursts. Every frame
// travels with its offload metadata (virtio_net_hdr: partial checksum, GSO), so that a 64 KB
// super-packet is received, rewritten and sent as one frame.
//
// One burst, in the order the core calls it:
//   rx_burst -> (parse, lookup, rewrite in place) -> tx_burst of any port -> release
// Frames lent by one port may be handed to tx_burst of another: tx_burst is synchronous, the
// bytes are not needed after it returns.
#pragma once
#include <cstdint>

#include "limits.h"

namespace uvs {

// struct virtio_net_hdr (linux/virtio_net.h), host byte order, as PACKET_VNET_HDR and
// IFF_VNET_HDR use it on little-endian machines.
struct VnetHdr {
  uint8_t flags = 0;     // kVnetNeedsCsum
  uint8_t gso_type = 0;  // kVnetGso*
  uint16_t hdr_len = 0;  // link + network + transport header bytes, a hint
  uint16_t gso_size = 0;
  uint16_t csum_start = 0;  // from the first byte of the frame
  uint16_t csum_offset = 0;
};
static_assert(sizeof(VnetHdr) == kVnetHeaderBytes);

constexpr uint8_t kVnetNeedsCsum = 1;
constexpr uint8_t kVnetGsoNone = 0;
constexpr uint8_t kVnetGsoTcp4 = 1;
constexpr uint8_t kVnetGsoUdp = 3;
constexpr uint8_t kVnetGsoTcp6 = 4;
constexpr uint8_t kVnetGsoUdpL4 = 5;
constexpr uint8_t kVnetGsoEcn = 0x80;

enum class Link : uint8_t { kEthernet, kIp };  // what a frame of this port starts with

// A frame: lent by rx_burst, or made by the core in scratch memory.
struct Frame {
  uint8_t* data = nullptr;  // first byte of the Ethernet header (Link::kIp: of the IP header)
  uint32_t length = 0;      // bytes from `data`
  uint32_t headroom = 0;    // writable bytes in front of `data`
  VnetHdr vnet;             // all zero: complete checksum, no GSO
  uint16_t port = 0;        // index of the port in the core that received it
};

class Port {
 public:
  virtual ~Port() = default;

  // Takes at most `max` frames. Each has kHeadroom writable bytes in front. Returns how many;
  // 0 when nothing waits. Never blocks.
  virtual uint32_t rx_burst(Frame* out, uint32_t max) = 0;

  // Gives back every frame that rx_burst lent since the last release().
  virtual void release() = 0;

  // Sends `count` frames in order. A frame has at least kVnetHeaderBytes of headroom, which the
  // port may overwrite. Returns how many the kernel took; the rest were not sent, and
  // `*error` tells why (errno; EAGAIN or ENOBUFS: full). Never blocks.
  virtual uint32_t tx_burst(const Frame* frames, uint32_t count, int* error) = 0;

  virtual Link link() const = 0;
  virtual int poll_fd() const = 0;       // readable when rx_burst would give frames; -1: none
  virtual uint32_t ifindex() const = 0;  // kernel interface, 0 for memory and replay ports
  virtual uint64_t rx_dropped() = 0;     // frames lost before rx_burst since the last call
};

}  // namespace uvs
