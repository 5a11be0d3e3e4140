// What the kernel decides for uvs before a frame is copied: the eBPF classifier.
//
// Theory of operation. One classification, made from one map of entries, is used in three places:
//   kFilter  socket filter of every AF_PACKET socket: only frames that uvs wants are copied, so the
//            host's own traffic (ssh, the control plane) never reaches it;
//   kSteer   fanout and TUN queue selection: both directions of a flow go to one worker, by the
//            client end, or for FULLNAT replies by the local port (io/steering.h has the same
//            rule);
//   kQuiet   tc filter at ingress: what uvs wants is dropped after the AF_PACKET tap has seen it,
//            so the host's stack neither answers nor forwards it; all else goes on.
// Main changes entries in the map while the programs run; they are never reloaded.
//
//   frame                                            entry that decides         wanted  quiet
//   ARP request, target T                            {T, kAnnounce}             yes     goes on
//   ND neighbour solicitation, target T              {T, kAnnounce}             yes     goes on
//   TCP/UDP to V:p                                   {V, p or 0, kService}      yes     dropped
//   TCP to V:20, or V:1024 and above                 {V, kFtpData}              yes     dropped
//   TCP/UDP to M:p                                   M:p in `marked`            yes     dropped
//   any other IP packet to A                         {A, kAnnounce}             no*     dropped
//   TCP/UDP from D:p to L:q, q a local port,         {L, kLocalAddress}         yes     dropped
//     {D, p or 0, kSource} with kEntryFullnat
//   TCP/UDP from D:p to H                            {H, kHost}                 no      goes on
//   TCP/UDP from D:p                                 {D, p or 0, kSource}       yes     dropped
//                                                      with kEntryMasquerade
//   TCP/UDP to any address, port p                   p in `marked_any*`         yes     dropped
//   ICMP error to V                                  {V, kVirtual}              yes     goes on
//   ICMP error to M about M:p -> C:q                 M:p in `marked`            yes     goes on
//   ICMP error to L about L:q -> D:p, as above       {L, kLocalAddress}         yes     dropped
//   ICMP error to H                                  {H, kHost}                 no      goes on
//   ICMP error about C:q -> D:p                      {D, p or 0, kSource}       yes     dropped
//                                                      with kEntryMasquerade
//   ICMP error about V:p -> C:q                      p in `marked_any*`         yes     dropped
//   anything else; VLAN-tagged; later fragments;                                no      goes on
//     unicast to another link address
// The first line that fits decides. An ICMP error is ICMP type 3, 4, 11 or ICMPv6 type below 128
// (spec 5.7) that quotes TCP or UDP with ports; "about C:q -> D:p" is what it quotes. `marked` is
// what mark rules select by destination prefix, protocol and port (io/marked_ends.h); a rule that
// names no destination comes behind the replies, which are steered by their other end.
#pragma once
#include <cstdint>

#include "addr.h"
#include "io/bpf.h"

namespace uvs {

// Values are part of the record that TypeScript writes (src/dataplane).
enum class EntryKind : uint8_t {
  kService = 1,       // virtual address, port (0: all) and protocol
  kSource = 2,        // destination's address, port (0: all) and protocol; flags say which methods
  kLocalAddress = 3,  // FULLNAT local address; port and protocol 0
  kHost = 4,          // address of the director itself; port and protocol 0
  kVirtual = 5,       // address of any service; port and protocol 0
  kAnnounce = 6,      // address that uvs answers ARP/ND for; port and protocol 0
  kFtpData = 7,       // address of a persistent service of port 21, which takes connections to the
                      //   ports of FTP's data too (spec 1.2); port 0, protocol TCP
};

constexpr uint32_t kEntryMasquerade = 1;  // kSource: a masquerade destination
constexpr uint32_t kEntryFullnat = 2;     // kSource: a FULLNAT destination

// Key of the map `entries`. IPv4 addresses are IPv4-mapped (addr.h).
struct ClassifierKey {
  Addr address;
  Be16 port;
  uint8_t protocol;
  EntryKind kind;
  uint32_t zero;
};
static_assert(sizeof(ClassifierKey) == 24);

// One record of PortSet.setEntries(): key and value of the map.
struct ClassifierEntry {
  ClassifierKey key;
  uint32_t flags;
};
static_assert(sizeof(ClassifierEntry) == 28);

// Only element of the map `config`. The counts spare a look-up per frame when there is nothing
// to find: look-ups are most of what the programs cost.
struct ClassifierConfig {
  uint32_t local_port_first;   // FULLNAT local ports, both ends included, host order;
  uint32_t local_port_last;    //   first > last: none
  uint32_t all_port_services;  // kService entries with port 0
  uint32_t all_port_sources;   // kSource entries with port 0
  uint32_t ftp_services;       // kFtpData entries
  uint32_t marked_prefixes;    // destinations in the map of marked prefixes
  uint32_t marked_any4;        // group of ports (io/marked_ends.h) of rules without destination,
  uint32_t marked_any6;        //   by family; 0: no such rule
};

constexpr uint32_t kClassifierEntriesMax = 65536;
constexpr uint32_t kClassifierExtensionsMax = 4;  // IPv6 extension headers walked

enum class ClassifierUse : uint8_t { kFilter, kSteer, kQuiet };

// Borrowed descriptors of the maps that the programs share.
struct ClassifierMaps {
  int entries;
  int config;
  int marked_prefixes;
  int marked_chunks;
};

// The program for `use` over the maps. `workers` matters to kSteer only.
BpfProgram classifier_program(ClassifierUse use, const ClassifierMaps& maps, uint32_t workers);

}  // namespace uvs
