// One connection: 64 bytes, one cache line, no pointers, so that a table of them can outlive the
// thread that filled it. Kernel: struct ip_vs_conn (include/net/ip_vs.h).
//
// The client address stands in the record; virtual, destination and local addresses come from the
// configuration, are few, and are held as indexes into the shard's AddressTable. That is what
// makes IPv4 and IPv6 connections the same 64 bytes.
//
// Life of a record:
//
//   state     entered by            in index  in wheel  may be touched
//   free      remove(), start       no        no        `wheel_next` (free list)
//   live      create()              yes       yes       everything, by the owning core
//
// TCP states move only in tcp_state.cc, SCTP states in sctp_state.cc; UDP never moves (spec 3.6).
#pragma once
#include <cstdint>

#include "addr.h"
#include "conn/sequence_fix.h"
#include "layout.gen.h"
#include "parse/packet.h"

namespace uvs {

constexpr uint32_t kNoConn = 0xffffffffu;
constexpr uint8_t kConnFree = 0xff;  // `method` of a free record

// Flags with the kernel's values where the kernel has them (IP_VS_CONN_F_*, spec 3.4).
constexpr uint16_t kConnNoOutput = 0x0080;      // no reply seen by us so far
constexpr uint16_t kConnInactive = 0x0100;      // counted as inactive
constexpr uint16_t kConnIp6 = 0x0001;           // ours: family of client and virtual address
constexpr uint16_t kConnReplyTaken = 0x0002;    // ours: a newer connection has its reply key
constexpr uint16_t kConnExtra = 0x0004;         // ours: its ConnExtra is in use
constexpr uint16_t kConnHidden = 0x0008;        // ours: no packet finds it
constexpr uint16_t kConnHelped = 0x0010;        // ours: a helper reads and edits its payload
constexpr uint16_t kConnNoClientPort = 0x0800;  // the client's port is not known yet
constexpr uint16_t kConnRequestTaken = 0x0020;  // ours: a newer connection has its request key
constexpr uint16_t kConnNat64 = 0x0400;         // ours: IPv6 before, IPv4 behind us (FULLNAT)
constexpr uint16_t kConnAwaitsServer = 0x4000;  // ours: SYNPROXY has asked its real server
// Ours, in the place of HASHED, which would say nothing here.
constexpr uint16_t kConnSynproxy = 0x0040;  // opened by SYNPROXY: see ConnExtra.synproxy
constexpr uint16_t kConnOnePacket = 0x2000;
constexpr uint16_t kConnSameKey = 0x8000;  // ours: ConnExtra.same_key may say something
constexpr uint16_t kConnShifted = 0x0200;  // ours: a FULLNAT request needs nothing of ConnExtra

struct Conn {
  Addr client;
  Be16 client_port;
  Be16 virtual_port;
  Be16 destination_port;
  Be16 local_port;         // FULLNAT only
  uint16_t virtual_index;  // AddressTable
  uint16_t destination_index;
  uint16_t local_index;  // FULLNAT only
  uint8_t protocol;
  uint8_t state;   // kTcp* or kSctp*; UDP: a reply was seen
  uint16_t flags;  // kConn*
  uint16_t destination_slot;
  uint16_t shift_low;   // with kConnShifted: what a request's sequence number grows by, ...
  uint16_t wheel_slot;  // where the timer wheel holds it
  uint32_t wheel_next;  // conn ids; kNoConn ends the list
  uint32_t wheel_prev;
  uint32_t expires;  // tick at which it is due, see timer_wheel.h
  uint32_t in_packets;
  uint16_t hop_in;          // next hop towards the destination
  uint16_t hop_out;         // next hop towards the client; masquerade and FULLNAT
  uint16_t hop_generation;  // of both
  uint8_t method;           // kMethod*; kConnFree: the record is free
  uint8_t shift_high;       // ... in units of kShiftUnit, upper bits
};
static_assert(sizeof(Conn) == 64, "one cache line");

// Sequence numbers are shifted by multiples of this, so that the shift of most FULLNAT connections
// fits the record and their requests touch no second cache line.
constexpr uint32_t kShiftUnit = 256;
inline uint32_t shift_of(const Conn& conn) {
  return (conn.shift_low | static_cast<uint32_t>(conn.shift_high) << 16) * kShiftUnit;
}

// What only creation, expiry and listing need.
struct ConnCold {
  uint32_t template_ref;  // template index + 1, 0: none
  uint32_t fwmark;
};
static_assert(sizeof(ConnCold) == 8);

// What the FTP helper remembers of a control connection.
struct FtpMemory {
  uint8_t mode;        // FtpMode that the client has asked for last; kActive: nothing
  uint8_t edit;        // FtpMode of the reply that `out` was moved by; kActive: none yet
  uint8_t edit_acked;  // the client has acknowledged that reply
  uint8_t next_known;  // `next` is meaningful
  Be16 port;           // what that reply says
  uint16_t reserved;
  uint32_t next;  // sequence number behind the server's bytes so far, without gaps
};

// Packets that wait in a StoredPackets pool, oldest first: numbers + 1, 0: none.
struct StoredList {
  uint16_t first;
  uint16_t last;
  uint16_t count;
  uint16_t reserved;
};

// A connection whose handshake SYNPROXY answered (spec 12.9); kConnAwaitsServer until the real
// server has answered too.
struct SynproxyState {
  uint32_t isn;              // the cookie: what the client takes for the real server's ISN
  uint32_t delta;            // isn - the real server's ISN, mod 2^32; 0 until it answered
  uint32_t client_isn;       // as the client sent it
  uint32_t client_clock;     // TSval of the ACK that brought the cookie
  uint32_t client_echo;      // its TSecr: our clock when we answered
  uint32_t clock_delta;      // our clock - the real server's; with kSynproxyClocks
  uint32_t repeat_sequence;  // of the last reply with ACK, as it came
  uint32_t repeat_acknowledgement;
  uint32_t repeat_tick;
  uint16_t repeats;  // replies equal to the one before
  uint16_t mss;      // agreed with the client
  StoredList stored;
  uint8_t client_shift;  // window scale: of the client, that we told it, of the real server
  uint8_t own_shift;
  uint8_t server_shift;
  uint8_t flags;  // kSynproxy*
  uint8_t tos;
  uint8_t retries;  // SYNs sent again
  uint16_t reserved;
};
static_assert(sizeof(SynproxyState) == 56);

constexpr uint8_t kSynproxySack = 0x1;        // agreed with the client
constexpr uint8_t kSynproxyTimestamps = 0x2;  // agreed with the client
constexpr uint8_t kSynproxyClocks = 0x4;      // and with the real server

// Neighbours of a connection among those with the same key, in the order in which they got it; conn
// ids + 1, 0: none.
struct SameKey {
  uint32_t older;
  uint32_t newer;
};

// What the few connections need that control others or whose bytes are edited beyond their ends;
// with kConnExtra only, and then zeroed at its first use. The memory of all others is never
// touched, so it costs address space alone.
struct ConnExtra {
  uint32_t master;  // conn id + 1 of the connection that controls it (spec 3.3), 0: none
  uint32_t slaves;  // connections it controls (the kernel's n_control)

  // FULLNAT (spec 12.5-12.8, forward/fullnat.h); all zero: sequence numbers pass as they are.
  uint32_t fnat_delta;       // client's sequence number + this = the destination's view of it
  uint32_t fnat_client_isn;  // of the client's first SYN
  uint32_t fnat_fdata;       // acknowledgement that covers nothing but the destination's SYN
  uint32_t fnat_rs_ack;      // last the destination sent, as it sent it
  uint32_t fnat_rs_end;      // sequence number behind the last byte the destination sent
  uint16_t fnat_removed;     // bytes at the start of the client's stream that are replaced ...
  uint16_t fnat_inserted;    // ... by so many, until fnat_delta takes the difference in
  uint8_t fnat_flags;        // kFnat*
  uint8_t fnat_header;       // PROXY header that the connection's service asks for (kProxy*)
  uint8_t uoa_left;          // datagrams that are still to say who the client is (spec 12.10)
  uint8_t reserved0;

  // Helpers (spec 6), behind the line that FULLNAT fetches ahead.
  SequenceFix in;   // client -> destination
  SequenceFix out;  // destination -> client
  FtpMemory ftp;

  SynproxyState synproxy;

  SameKey same_key[2];  // of the request key, of the reply key; with kConnSameKey
  uint32_t reserved[10];
};
static_assert(sizeof(ConnExtra) == 192);

// What packets of a FULLNAT connection still need beside the shift by fnat_delta.
constexpr uint8_t kFnatStarted = 0x01;  // a SYN was seen: fnat_client_isn and fnat_delta hold
constexpr uint8_t kFnatOpen = 0x02;     // its SYN+ACK was seen: fnat_fdata holds
constexpr uint8_t kFnatToa = 0x04;      // the client address goes into an option of its segments
constexpr uint8_t kFnatHeader = 0x08;   // the PROXY header is not acknowledged yet
constexpr uint8_t kFnatPlaced = 0x10;   // with kFnatHeader: fnat_removed and fnat_inserted hold
constexpr uint8_t kFnatSlow = kFnatToa | kFnatHeader;

// True if replies of the destination pass through this director and are found by a second key.
inline bool has_reply_key(uint8_t method) {
  return method == kMethodMasquerade || method == kMethodFullnat;
}

}  // namespace uvs
