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
//   part of a datagram of TCP, UDP, SCTP or ICMP...
//     to V                                           {V, kVirtual}              yes     dropped
//     from D to L                                    {D, kFragmentSource}       yes     dropped
//                                                      with kEntryFullnat,
//                                                      {L, kLocalAddress}
//     from D to H                                    {H, kHost}                 no      goes on
//     from D                                         {D, kFragmentSource}       yes     dropped
//                                                      with kEntryMasquerade
//   L4 to V:p                                        {V, p or 0, kService}      yes     dropped
//   TCP to V:20, or V:p, p a port of FTP data        {V, kFtpData}              yes     dropped
//   L4 to M:p                                        M:p in `marked`            yes     dropped
//   echo request to A, ICMP or ICMPv6                {A, kAnnounce}             yes     dropped
//   any other IP packet to A                         {A, kAnnounce}             no*     dropped
//   L4 from D:p to L:q, q a local port,              {L, kLocalAddress}         yes     dropped
//     {D, p or 0, kSource} with kEntryFullnat
//   L4 from D:p to H                                 {H, kHost}                 no      goes on
//   L4 from D:p                                      {D, p or 0, kSource}       yes     dropped
//                                                      with kEntryMasquerade
//   L4 to any address, port p                        p in `marked_any*`         yes     dropped
//   ICMP error to H about a tunnel packet to D       {H, kHost}                 yes     goes on
//                                                      and {D, t, kTunnel}
//   ICMP error to V                                  {V, kVirtual}              yes     goes on
//   ICMP error to M about M:p -> C:q                 M:p in `marked`            yes     goes on
//   ICMP error to L about L:q -> D:p, as above       {L, kLocalAddress}         yes     dropped
//   ICMP error to H                                  {H, kHost}                 no      goes on
//   ICMP error about C:q -> D:p                      {D, p or 0, kSource}       yes     dropped
//                                                      with kEntryMasquerade
//   ICMP error about V:p -> C:q                      p in `marked_any*`         yes     dropped
//   anything else; VLAN-tagged;                                                 no      goes on
//     unicast to another link address
// A packet belongs to the worker of its client end. Where the entry that decides has
// kEntryByAddress that end is the client's address alone, so that connections which one of them
// announces (FTP) reach the worker that knows of them; of kSource entries that of the exact port
// decides, if there is one. L4 is TCP, UDP or SCTP; AH (of IPv4) and ESP, whole or in parts, count
// as UDP from port 500 to port 500. All parts of another datagram go to one worker, by the client's
// address alone (of FULLNAT replies the local one). The first line that fits decides.
// An ICMP error is ICMP type 3, 4, 11 or ICMPv6 type below 128 (spec 5.7) that quotes L4 with
// ports, AH or ESP; "about C:q -> D:p" is what it quotes. "About a tunnel packet" is an ICMP (v4)
// error that quotes IPIP or GRE (t is 0), or GUE over UDP to port t, with an IPv4 packet of L4 with
// ports, AH or ESP inside (spec 5.7.3): steered like what is inside. `marked` is what mark rules
// select by destination prefix, protocol and port (io/marked_ends.h), and belongs to the worker of
// the client's address; a rule that names no destination comes behind the replies, which are
// steered by their other end.
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
  kFtpData = 7,       // address of an FTP service that takes data connections too: persistent (spec
                      //   1.2) or with a helper (spec 6); port 0, protocol TCP
  kFragmentSource = 8,  // destination's address; port and protocol 0; flags as of kSource
  kTunnel = 9,          // where a tunnel ends, IPv4; protocol IPIP, GRE or UDP, port for UDP only
};

constexpr uint32_t kEntryMasquerade = 1;  // kSource: a masquerade destination
constexpr uint32_t kEntryFullnat = 2;     // kSource: a FULLNAT destination
constexpr uint32_t kEntryByAddress = 4;   // kService, kFtpData, kSource: all ports of a client
                                          //   belong to one worker

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
  uint32_t ftp_data_first;     // first port of FTP data beside 20, host order
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
