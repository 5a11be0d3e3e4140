// Every maximum of the native core, and the relations between them. Maxima that TypeScript must
// know too come from layout.gen.h (src/dataplane/layout.ts, LIMITS).
#pragma once
#include <cstdint>

#include "layout.gen.h"

namespace uvs {

constexpr uint32_t kBurst = kMaxBurst;  // frames taken from the ports at once

constexpr uint32_t kFrameSlotBytes = 2048;         // ring slot for ordinary frames
constexpr uint32_t kSuperFrameBytes = 65536 + 64;  // a GSO super-packet with its link header
constexpr uint32_t kMaxIpBytes = 65535;
constexpr uint32_t kEthernetBytes = 14;
constexpr uint32_t kRawMessageBytesMax = 1 << 20;  // one message of a control protocol
constexpr uint32_t kUnknownFlows = 1024;           // remembered as not known to another worker, ...
constexpr uint32_t kUnknownFlowMs = 1000;          // ... for so long
constexpr uint32_t kDumpAttempts = 10;             // of a list that changes while it is read
constexpr uint32_t kVnetHeaderBytes = 10;          // struct virtio_net_hdr, linux/virtio_net.h

// Room that a port keeps writable in front of every received frame: the largest tunnel header
// (outer IPv6 40 + UDP 8 + GUE 12) and a virtio header, rounded up.
constexpr uint32_t kHeadroom = 96;
static_assert(kHeadroom >= 40 + 8 + 12 + kVnetHeaderBytes);

constexpr uint32_t kTcpMaxHeaderBytes = 60;
constexpr uint32_t kProxyMaxBytes = 107;  // a PROXY v1 line; haproxy doc/proxy-protocol.txt 2.1
constexpr uint32_t kIp4MaxHeaderBytes = 60;
static_assert(kMaxUoaTrail < 256, "the first datagrams of a connection, not many");
constexpr uint32_t kIp6ExtensionsMax = 8;  // extension headers walked before giving up

// What an input of a fuzz target never fills is smaller there: memory is made ready anew for each.
#ifdef FUZZING_BUILD_MODE_UNSAFE_FOR_PRODUCTION
constexpr bool kFuzzing = true;
#else
constexpr bool kFuzzing = false;
#endif

constexpr uint32_t kNextHops = kFuzzing ? 64 : 16384;  // gateways and on-link neighbours
constexpr uint32_t kRouteCacheEntries = 32768;         // addresses whose route is remembered
constexpr uint32_t kNeighbourWaiting = 256;            // packets waiting for link addresses, in all
constexpr uint32_t kNeighbourWaitingEach = 16;         // of one neighbour
constexpr uint32_t kNeighbourWaitMs = 3000;  // then they are dropped, as the kernel's 3 probes
constexpr uint32_t kPathMtus = 1024;         // destinations whose path is narrower than its route
constexpr uint32_t kPathMtuMs = 600'000;     // how long that is believed (ip_rt_mtu_expires)
constexpr uint32_t kMinPathMtu = 552;        // no path is narrower (ip_rt_min_pmtu)
static_assert(kNextHops < kNoSlot, "a connection holds next hops as u16");
static_assert(kNeighbourWaitingEach <= kNeighbourWaiting);

// Packets of clients that wait until SYNPROXY has reached their real server, per worker: enough for
// 1300 new connections/s towards real servers that never answer. Most of the memory is never
// touched.
constexpr uint32_t kSynproxyStored = kFuzzing ? 64 : 16384;
constexpr uint32_t kSynproxyStoredLarge = 32;  // of them super-packets
static_assert(kSynproxyStored < 0xffff, "a connection names them by u16");

// Frames made by the core in one burst, by kind; when a kind runs out the burst so far is sent.
constexpr uint32_t kSegmentsPerSuperFrame = 128;  // 65535 / 512, the smallest MSS that is cut
constexpr uint32_t kFragmentsPerPacket = 128;     // 65535 / 520; more is refused
constexpr uint32_t kScratchSegments = 1024;
constexpr uint32_t kScratchFragments = 256;
constexpr uint32_t kScratchAnswers = 128;
static_assert(kScratchSegments >= kSegmentsPerSuperFrame);
static_assert(kScratchFragments >= kFragmentsPerPacket && kScratchAnswers >= kBurst);

// Reassembly, per worker. Each datagram has room for the longest one there is, so that what holds
// it never grows; the pages that nothing was written to cost address space alone: 16.1 MiB.
constexpr uint32_t kReassemblyDatagrams = kFuzzing ? 128 : 256;  // unfinished, or lent to a burst
constexpr uint32_t kReassemblyPerSource = kReassemblyDatagrams / 4;  // unfinished, of one source
constexpr uint32_t kReassemblyHeaderBytes = 320;  // link header, IP header, IPv6 extensions
constexpr uint32_t kReassemblyPieces = 128;       // fragments of one datagram
constexpr uint32_t kReassemblyIp4Ms = 30'000;     // net.ipv4.ipfrag_time
constexpr uint32_t kReassemblyIp6Ms = 60'000;     // net.netfilter.nf_conntrack_frag6_timeout
constexpr uint32_t kReassemblySlotBytes =
    (kHeadroom + kReassemblyHeaderBytes + kMaxIpBytes + 64) / 64 * 64;
constexpr uint32_t kIp6MinMtu = 1280;  // RFC 8200 5
static_assert(kReassemblyDatagrams >= 2 * kBurst, "a burst may finish as many as it has frames");
static_assert(kReassemblyPieces <= kFragmentsPerPacket, "what came in fragments may leave so");

constexpr uint32_t kHandoverFrames = 16;  // datagrams taken from other workers at once

}  // namespace uvs
