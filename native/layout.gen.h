// Generated from src/dataplane/layout.ts by gen-layout.ts; do not edit.
#pragma once
#include <cstddef>
#include <cstdint>

#include "addr.h"

namespace uvs {

constexpr uint32_t kLayoutHash = 0x8c79e821u;
constexpr uint32_t kSnapshotMagic = 0x53565531u;
constexpr uint32_t kTableMagic = 0x54565531u;
constexpr uint16_t kNoSlot = 65535;
constexpr uint32_t kSysctlWords = 16;

constexpr uint32_t kMaxWorkers = 16;
constexpr uint32_t kMaxServices = 4096;
constexpr uint32_t kMaxDestinations = 32768;
constexpr uint32_t kMaxLocalAddresses = 1024;
constexpr uint32_t kMaxMarkRules = 2048;
constexpr uint32_t kMaxMarkPorts = 8192;
constexpr uint32_t kMaxMarkEnds = 8192;
constexpr uint32_t kMaxRemovedAddresses = 4096;
constexpr uint32_t kMaxBurst = 64;
constexpr uint32_t kMaxUoaTrail = 16;
constexpr uint32_t kMaxPorts = 8;
constexpr uint32_t kMaxFtpPorts = 8;
constexpr uint32_t kMaxTextSlot = 256;

constexpr int32_t kVerdictNone = -1;
constexpr int32_t kVerdictDrop = -2;
constexpr int32_t kVerdictPass = -3;
constexpr int32_t kVerdictNoTemplate = -4;

constexpr uint8_t kMethodMasquerade = 0;
constexpr uint8_t kMethodLocal = 1;
constexpr uint8_t kMethodTunnel = 2;
constexpr uint8_t kMethodDirect = 3;
constexpr uint8_t kMethodBypass = 4;
constexpr uint8_t kMethodFullnat = 5;

constexpr uint8_t kTunnelIpip = 0;
constexpr uint8_t kTunnelGue = 1;
constexpr uint8_t kTunnelGre = 2;

constexpr uint8_t kTunnelFlagCsum = 1;
constexpr uint8_t kTunnelFlagRemcsum = 2;

constexpr uint32_t kServicePersistent = 1;
constexpr uint32_t kServiceHashed = 2;
constexpr uint32_t kServiceOnePacket = 4;
constexpr uint32_t kServiceSched1 = 8;
constexpr uint32_t kServiceSched2 = 16;
constexpr uint32_t kServiceSched3 = 32;
constexpr uint32_t kServiceSip = 33554432;
constexpr uint32_t kServiceSynproxy = 32768;
constexpr uint32_t kServiceByAddress = 67108864;
constexpr uint32_t kServiceUnweighted = 16777216;
constexpr uint32_t kServiceProxyV1 = 65536;
constexpr uint32_t kServiceProxyV2 = 131072;
constexpr uint32_t kServiceProxyInsecure = 1048576;

constexpr uint8_t kFullnatToa = 1;
constexpr uint8_t kFullnatRandomise = 2;

constexpr uint8_t kUoaHeader = 0;
constexpr uint8_t kUoaOption = 1;

constexpr uint32_t kSchedulerNone = 0;
constexpr uint32_t kSchedulerRr = 1;
constexpr uint32_t kSchedulerWrr = 2;
constexpr uint32_t kSchedulerLc = 3;
constexpr uint32_t kSchedulerWlc = 4;
constexpr uint32_t kSchedulerLblc = 5;
constexpr uint32_t kSchedulerLblcr = 6;
constexpr uint32_t kSchedulerDh = 7;
constexpr uint32_t kSchedulerSh = 8;
constexpr uint32_t kSchedulerSed = 9;
constexpr uint32_t kSchedulerNq = 10;
constexpr uint32_t kSchedulerFo = 11;
constexpr uint32_t kSchedulerOvf = 12;
constexpr uint32_t kSchedulerMh = 13;
constexpr uint32_t kSchedulerTwos = 14;

constexpr uint32_t kDestinationAvailable = 1;

constexpr uint32_t kDestinationStateOverload = 1;

constexpr uint32_t kMarkNotSource = 1;
constexpr uint32_t kMarkNotDestination = 2;
constexpr uint32_t kMarkNotProtocol = 4;
constexpr uint32_t kMarkNotSourcePorts = 8;
constexpr uint32_t kMarkNotDestinationPorts = 16;
constexpr uint32_t kMarkNotPorts = 32;
constexpr uint32_t kMarkNotMark = 64;

constexpr uint16_t kMissTcpSyn = 1;
constexpr uint16_t kMissTcpAck = 2;
constexpr uint16_t kMissTcpFin = 4;
constexpr uint16_t kMissTcpRst = 8;
constexpr uint16_t kMissOnePacket = 16;
constexpr uint16_t kMissIcmp = 32;
constexpr uint16_t kMissOutbound = 64;
constexpr uint16_t kMissSynproxy = 4096;

constexpr uint32_t kTemplateUsed = 1;
constexpr uint32_t kTemplateAssured = 2;
constexpr uint32_t kTemplateInvalid = 4;

constexpr uint32_t kSysctlConnReuseMode = 0;
constexpr uint32_t kSysctlExpireNodestConn = 1;
constexpr uint32_t kSysctlExpireQuiescentTemplate = 2;
constexpr uint32_t kSysctlSloppyTcp = 3;
constexpr uint32_t kSysctlNatIcmpSend = 4;
constexpr uint32_t kSysctlPmtuDisc = 5;
constexpr uint32_t kSysctlSecureTcp = 6;
constexpr uint32_t kSysctlScheduleIcmp = 7;
constexpr uint32_t kSysctlLblcExpiration = 8;
constexpr uint32_t kSysctlLblcrExpiration = 9;
constexpr uint32_t kSysctlDropEntry = 10;
constexpr uint32_t kSysctlDropPacket = 11;
constexpr uint32_t kSysctlSloppySctp = 12;
constexpr uint32_t kSysctlCacheBypass = 15;

constexpr uint8_t kTcpNone = 0;
constexpr uint8_t kTcpEstablished = 1;
constexpr uint8_t kTcpSynSent = 2;
constexpr uint8_t kTcpSynRecv = 3;
constexpr uint8_t kTcpFinWait = 4;
constexpr uint8_t kTcpTimeWait = 5;
constexpr uint8_t kTcpClose = 6;
constexpr uint8_t kTcpCloseWait = 7;
constexpr uint8_t kTcpLastAck = 8;
constexpr uint8_t kTcpListen = 9;
constexpr uint8_t kTcpSynack = 10;

constexpr uint8_t kSctpNone = 0;
constexpr uint8_t kSctpInit1 = 1;
constexpr uint8_t kSctpInit = 2;
constexpr uint8_t kSctpCookieSent = 3;
constexpr uint8_t kSctpCookieReplied = 4;
constexpr uint8_t kSctpCookieWait = 5;
constexpr uint8_t kSctpCookie = 6;
constexpr uint8_t kSctpCookieEchoed = 7;
constexpr uint8_t kSctpEstablished = 8;
constexpr uint8_t kSctpShutdownSent = 9;
constexpr uint8_t kSctpShutdownReceived = 10;
constexpr uint8_t kSctpShutdownAckSent = 11;
constexpr uint8_t kSctpRejected = 12;
constexpr uint8_t kSctpClosed = 13;

constexpr uint32_t kWorkerStarting = 0;
constexpr uint32_t kWorkerReady = 1;
constexpr uint32_t kWorkerRunning = 2;
constexpr uint32_t kWorkerStopped = 3;
constexpr uint32_t kWorkerFailed = 4;

enum class Reason : uint8_t {
  kFrameTruncated,
  kNotIp,
  kIpTruncated,
  kIpBadVersion,
  kIpBadHeaderLength,
  kIpBadChecksum,
  kIpBadTotalLength,
  kIp6BadExtension,
  kFragmentDuplicate,
  kFragmentBad,
  kFragmentOverlap,
  kFragmentTiny,
  kFragmentTooLong,
  kFragmentTimeout,
  kFragmentOverflow,
  kHandover,
  kL4Truncated,
  kTcpBadOffset,
  kUdpBadLength,
  kSourceBad,
  kOffloadBad,
  kNoService,
  kNotSyn,
  kNotInit,
  kProtocolUnknown,
  kIcmpUnrelated,
  kFtpDataSource,
  kNoDestination,
  kLoadDropped,
  kSchedulerFailed,
  kDestinationGone,
  kTableFull,
  kAddressTableFull,
  kCallIdMissing,
  kTemplateTableFull,
  kLocalPortExhausted,
  kLocalAddressNone,
  kSynproxyAnswered,
  kSynproxyNoWeight,
  kSynproxyBadCookie,
  kSynproxyDeferred,
  kSynproxyWaiting,
  kSynproxyServerOdd,
  kSynproxyNoAnswer,
  kSynproxyAckStorm,
  kNoRoute,
  kNeighbourUnresolved,
  kNeighbourQueueFull,
  kTtlExceeded,
  kTooBig,
  kTooBigSilent,
  kFragmentNeeded,
  kNoHeadroom,
  kMethodUnsupported,
  kIcmpLimited,
  kIcmpBadChecksum,
  kTcpBadChecksum,
  kHelperOrder,
  kIcmp6Fragment,
  kEchoAnswered,
  kNatUnknown,
  kRouteRefused,
  kProxyUnplaced,
  kNat64Untranslatable,
  kTxFull,
  kTxError,
  kRxOverrun,
};
constexpr uint32_t kReasonCount = 67;
constexpr uint32_t kReasonLaneWords = 128;
static_assert(kReasonCount <= kReasonLaneWords);
constexpr const char* kReasonNames[kReasonCount] = {
    "frame_truncated",
    "not_ip",
    "ip_truncated",
    "ip_bad_version",
    "ip_bad_header_length",
    "ip_bad_checksum",
    "ip_bad_total_length",
    "ip6_bad_extension",
    "fragment_duplicate",
    "fragment_bad",
    "fragment_overlap",
    "fragment_tiny",
    "fragment_too_long",
    "fragment_timeout",
    "fragment_overflow",
    "handover",
    "l4_truncated",
    "tcp_bad_offset",
    "udp_bad_length",
    "source_bad",
    "offload_bad",
    "no_service",
    "not_syn",
    "not_init",
    "protocol_unknown",
    "icmp_unrelated",
    "ftp_data_source",
    "no_destination",
    "load_dropped",
    "scheduler_failed",
    "destination_gone",
    "table_full",
    "address_table_full",
    "call_id_missing",
    "template_table_full",
    "local_port_exhausted",
    "local_address_none",
    "synproxy_answered",
    "synproxy_no_weight",
    "synproxy_bad_cookie",
    "synproxy_deferred",
    "synproxy_waiting",
    "synproxy_server_odd",
    "synproxy_no_answer",
    "synproxy_ack_storm",
    "no_route",
    "neighbour_unresolved",
    "neighbour_queue_full",
    "ttl_exceeded",
    "too_big",
    "too_big_silent",
    "fragment_needed",
    "no_headroom",
    "method_unsupported",
    "icmp_limited",
    "icmp_bad_checksum",
    "tcp_bad_checksum",
    "helper_order",
    "icmp6_fragment",
    "echo_answered",
    "nat_unknown",
    "route_refused",
    "proxy_unplaced",
    "nat64_untranslatable",
    "tx_full",
    "tx_error",
    "rx_overrun",
};

struct MissRecord {
  Addr client_address;
  Addr virtual_address;
  uint16_t client_port;
  uint16_t virtual_port;
  uint32_t service_slot;
  uint32_t flow_hash;
  uint8_t protocol;
  uint8_t family;
  uint16_t flags;
  uint32_t fwmark;
  int32_t verdict;
  uint32_t packets;
  uint32_t template_ref;
};
static_assert(sizeof(MissRecord) == 64);
static_assert(offsetof(MissRecord, client_address) == 0);
static_assert(offsetof(MissRecord, virtual_address) == 16);
static_assert(offsetof(MissRecord, client_port) == 32);
static_assert(offsetof(MissRecord, virtual_port) == 34);
static_assert(offsetof(MissRecord, service_slot) == 36);
static_assert(offsetof(MissRecord, flow_hash) == 40);
static_assert(offsetof(MissRecord, protocol) == 44);
static_assert(offsetof(MissRecord, family) == 45);
static_assert(offsetof(MissRecord, flags) == 46);
static_assert(offsetof(MissRecord, fwmark) == 48);
static_assert(offsetof(MissRecord, verdict) == 52);
static_assert(offsetof(MissRecord, packets) == 56);
static_assert(offsetof(MissRecord, template_ref) == 60);

struct LoadRecord {
  int32_t active;
  int32_t inactive;
  int32_t persistent;
  int32_t reserved;
};
static_assert(sizeof(LoadRecord) == 16);
static_assert(offsetof(LoadRecord, active) == 0);
static_assert(offsetof(LoadRecord, inactive) == 4);
static_assert(offsetof(LoadRecord, persistent) == 8);
static_assert(offsetof(LoadRecord, reserved) == 12);

struct TrafficRecord {
  uint64_t connections;
  uint64_t in_packets;
  uint64_t out_packets;
  uint64_t in_bytes;
  uint64_t out_bytes;
  uint64_t reserved0;
  uint64_t reserved1;
  uint64_t reserved2;
};
static_assert(sizeof(TrafficRecord) == 64);
static_assert(offsetof(TrafficRecord, connections) == 0);
static_assert(offsetof(TrafficRecord, in_packets) == 8);
static_assert(offsetof(TrafficRecord, out_packets) == 16);
static_assert(offsetof(TrafficRecord, in_bytes) == 24);
static_assert(offsetof(TrafficRecord, out_bytes) == 32);
static_assert(offsetof(TrafficRecord, reserved0) == 40);
static_assert(offsetof(TrafficRecord, reserved1) == 48);
static_assert(offsetof(TrafficRecord, reserved2) == 56);

struct WorkerWordsRecord {
  uint32_t stop;
  uint32_t wanted_generation;
  uint32_t mail;
  int32_t drop_rate;
  uint32_t drop_reloads;
  uint8_t pad0[44];
  uint32_t state;
  uint32_t applied_generation;
  uint32_t heartbeat;
  uint8_t pad1[4];
  uint32_t connections;
  uint32_t longest_gap_us;
  uint8_t pad2[4];
  uint32_t garbage_collections;
  uint64_t misses;
  uint64_t bursts;
  uint32_t now_ms;
  uint32_t now_sec;
  uint32_t attached;
  uint8_t pad3[4];
};
static_assert(sizeof(WorkerWordsRecord) == 128);
static_assert(offsetof(WorkerWordsRecord, stop) == 0);
static_assert(offsetof(WorkerWordsRecord, wanted_generation) == 4);
static_assert(offsetof(WorkerWordsRecord, mail) == 8);
static_assert(offsetof(WorkerWordsRecord, drop_rate) == 12);
static_assert(offsetof(WorkerWordsRecord, drop_reloads) == 16);
static_assert(offsetof(WorkerWordsRecord, state) == 64);
static_assert(offsetof(WorkerWordsRecord, applied_generation) == 68);
static_assert(offsetof(WorkerWordsRecord, heartbeat) == 72);
static_assert(offsetof(WorkerWordsRecord, connections) == 80);
static_assert(offsetof(WorkerWordsRecord, longest_gap_us) == 84);
static_assert(offsetof(WorkerWordsRecord, garbage_collections) == 92);
static_assert(offsetof(WorkerWordsRecord, misses) == 96);
static_assert(offsetof(WorkerWordsRecord, bursts) == 104);
static_assert(offsetof(WorkerWordsRecord, now_ms) == 112);
static_assert(offsetof(WorkerWordsRecord, now_sec) == 116);
static_assert(offsetof(WorkerWordsRecord, attached) == 120);

struct SnapshotHeaderRecord {
  uint32_t magic;
  uint32_t layout_hash;
  uint32_t generation;
  uint32_t bytes;
  uint32_t service_count;
  uint32_t service_offset;
  uint32_t destination_count;
  uint32_t destination_offset;
  uint32_t order_count;
  uint32_t order_offset;
  uint32_t local_address_count;
  uint32_t local_address_offset;
  uint16_t local_port_first;
  uint16_t local_port_last;
  uint32_t announce_count;
  uint32_t announce_offset;
  uint32_t udp_timeout_sec;
  uint32_t tcp_timeout_sec[11];
  uint16_t ephemeral_port_first;
  uint16_t ephemeral_port_last;
  uint32_t fullnat_tcp_timeout_sec[11];
  uint8_t fullnat_flags;
  uint8_t uoa_mode;
  uint16_t uoa_trail;
  uint32_t sysctls[16];
  uint32_t mark_rule_count;
  uint32_t mark_rule_offset;
  uint32_t mark_port_count;
  uint32_t mark_port_offset;
  uint32_t mark_end_count;
  uint32_t mark_end_offset;
  uint16_t unprivileged_start;
  uint8_t steering_moved;
  uint8_t pad0[1];
  uint16_t taken_port_first;
  uint16_t taken_port_last;
  uint16_t ftp_ports[8];
  uint32_t synproxy_offset;
  uint32_t removed_address_count;
  uint32_t removed_address_offset;
  uint8_t pad1[100];
};
static_assert(sizeof(SnapshotHeaderRecord) == 384);
static_assert(offsetof(SnapshotHeaderRecord, magic) == 0);
static_assert(offsetof(SnapshotHeaderRecord, layout_hash) == 4);
static_assert(offsetof(SnapshotHeaderRecord, generation) == 8);
static_assert(offsetof(SnapshotHeaderRecord, bytes) == 12);
static_assert(offsetof(SnapshotHeaderRecord, service_count) == 16);
static_assert(offsetof(SnapshotHeaderRecord, service_offset) == 20);
static_assert(offsetof(SnapshotHeaderRecord, destination_count) == 24);
static_assert(offsetof(SnapshotHeaderRecord, destination_offset) == 28);
static_assert(offsetof(SnapshotHeaderRecord, order_count) == 32);
static_assert(offsetof(SnapshotHeaderRecord, order_offset) == 36);
static_assert(offsetof(SnapshotHeaderRecord, local_address_count) == 40);
static_assert(offsetof(SnapshotHeaderRecord, local_address_offset) == 44);
static_assert(offsetof(SnapshotHeaderRecord, local_port_first) == 48);
static_assert(offsetof(SnapshotHeaderRecord, local_port_last) == 50);
static_assert(offsetof(SnapshotHeaderRecord, announce_count) == 52);
static_assert(offsetof(SnapshotHeaderRecord, announce_offset) == 56);
static_assert(offsetof(SnapshotHeaderRecord, udp_timeout_sec) == 60);
static_assert(offsetof(SnapshotHeaderRecord, tcp_timeout_sec) == 64);
static_assert(offsetof(SnapshotHeaderRecord, ephemeral_port_first) == 108);
static_assert(offsetof(SnapshotHeaderRecord, ephemeral_port_last) == 110);
static_assert(offsetof(SnapshotHeaderRecord, fullnat_tcp_timeout_sec) == 112);
static_assert(offsetof(SnapshotHeaderRecord, fullnat_flags) == 156);
static_assert(offsetof(SnapshotHeaderRecord, uoa_mode) == 157);
static_assert(offsetof(SnapshotHeaderRecord, uoa_trail) == 158);
static_assert(offsetof(SnapshotHeaderRecord, sysctls) == 160);
static_assert(offsetof(SnapshotHeaderRecord, mark_rule_count) == 224);
static_assert(offsetof(SnapshotHeaderRecord, mark_rule_offset) == 228);
static_assert(offsetof(SnapshotHeaderRecord, mark_port_count) == 232);
static_assert(offsetof(SnapshotHeaderRecord, mark_port_offset) == 236);
static_assert(offsetof(SnapshotHeaderRecord, mark_end_count) == 240);
static_assert(offsetof(SnapshotHeaderRecord, mark_end_offset) == 244);
static_assert(offsetof(SnapshotHeaderRecord, unprivileged_start) == 248);
static_assert(offsetof(SnapshotHeaderRecord, steering_moved) == 250);
static_assert(offsetof(SnapshotHeaderRecord, taken_port_first) == 252);
static_assert(offsetof(SnapshotHeaderRecord, taken_port_last) == 254);
static_assert(offsetof(SnapshotHeaderRecord, ftp_ports) == 256);
static_assert(offsetof(SnapshotHeaderRecord, synproxy_offset) == 272);
static_assert(offsetof(SnapshotHeaderRecord, removed_address_count) == 276);
static_assert(offsetof(SnapshotHeaderRecord, removed_address_offset) == 280);

struct ServiceRecord {
  Addr address;
  uint16_t port;
  uint8_t protocol;
  uint8_t family;
  uint32_t fwmark;
  uint32_t flags;
  uint8_t scheduler_id;
  uint8_t used;
  uint16_t reserved;
  uint32_t order_first;
  uint32_t order_count;
  uint32_t persistent_sec;
  uint32_t netmask;
  uint32_t local_first;
  uint32_t local_count;
  uint32_t changes;
  uint32_t incarnation;
};
static_assert(sizeof(ServiceRecord) == 64);
static_assert(offsetof(ServiceRecord, address) == 0);
static_assert(offsetof(ServiceRecord, port) == 16);
static_assert(offsetof(ServiceRecord, protocol) == 18);
static_assert(offsetof(ServiceRecord, family) == 19);
static_assert(offsetof(ServiceRecord, fwmark) == 20);
static_assert(offsetof(ServiceRecord, flags) == 24);
static_assert(offsetof(ServiceRecord, scheduler_id) == 28);
static_assert(offsetof(ServiceRecord, used) == 29);
static_assert(offsetof(ServiceRecord, reserved) == 30);
static_assert(offsetof(ServiceRecord, order_first) == 32);
static_assert(offsetof(ServiceRecord, order_count) == 36);
static_assert(offsetof(ServiceRecord, persistent_sec) == 40);
static_assert(offsetof(ServiceRecord, netmask) == 44);
static_assert(offsetof(ServiceRecord, local_first) == 48);
static_assert(offsetof(ServiceRecord, local_count) == 52);
static_assert(offsetof(ServiceRecord, changes) == 56);
static_assert(offsetof(ServiceRecord, incarnation) == 60);

struct DestinationRecord {
  Addr address;
  uint16_t port;
  uint8_t method;
  uint8_t family;
  int32_t weight;
  int32_t last_weight;
  uint32_t upper_threshold;
  uint32_t lower_threshold;
  uint32_t service_slot;
  uint32_t flags;
  uint8_t tunnel_type;
  uint8_t tunnel_flags;
  uint16_t tunnel_port;
  uint32_t used;
  uint32_t incarnation;
  uint32_t inserted;
  uint32_t hashed;
};
static_assert(sizeof(DestinationRecord) == 64);
static_assert(offsetof(DestinationRecord, address) == 0);
static_assert(offsetof(DestinationRecord, port) == 16);
static_assert(offsetof(DestinationRecord, method) == 18);
static_assert(offsetof(DestinationRecord, family) == 19);
static_assert(offsetof(DestinationRecord, weight) == 20);
static_assert(offsetof(DestinationRecord, last_weight) == 24);
static_assert(offsetof(DestinationRecord, upper_threshold) == 28);
static_assert(offsetof(DestinationRecord, lower_threshold) == 32);
static_assert(offsetof(DestinationRecord, service_slot) == 36);
static_assert(offsetof(DestinationRecord, flags) == 40);
static_assert(offsetof(DestinationRecord, tunnel_type) == 44);
static_assert(offsetof(DestinationRecord, tunnel_flags) == 45);
static_assert(offsetof(DestinationRecord, tunnel_port) == 46);
static_assert(offsetof(DestinationRecord, used) == 48);
static_assert(offsetof(DestinationRecord, incarnation) == 52);
static_assert(offsetof(DestinationRecord, inserted) == 56);
static_assert(offsetof(DestinationRecord, hashed) == 60);

struct SynproxyRecord {
  uint32_t secret[8];
  uint32_t minute_start;
  uint16_t init_mss;
  uint16_t dup_ack;
  uint16_t max_ack_saved;
  uint16_t reuse_states;
  uint8_t window_scale;
  uint8_t sack;
  uint8_t timestamps;
  uint8_t ttl;
  uint8_t defer;
  uint8_t syn_retry;
  uint8_t close_client_window;
  uint8_t reserved;
  uint8_t pad0[12];
};
static_assert(sizeof(SynproxyRecord) == 64);
static_assert(offsetof(SynproxyRecord, secret) == 0);
static_assert(offsetof(SynproxyRecord, minute_start) == 32);
static_assert(offsetof(SynproxyRecord, init_mss) == 36);
static_assert(offsetof(SynproxyRecord, dup_ack) == 38);
static_assert(offsetof(SynproxyRecord, max_ack_saved) == 40);
static_assert(offsetof(SynproxyRecord, reuse_states) == 42);
static_assert(offsetof(SynproxyRecord, window_scale) == 44);
static_assert(offsetof(SynproxyRecord, sack) == 45);
static_assert(offsetof(SynproxyRecord, timestamps) == 46);
static_assert(offsetof(SynproxyRecord, ttl) == 47);
static_assert(offsetof(SynproxyRecord, defer) == 48);
static_assert(offsetof(SynproxyRecord, syn_retry) == 49);
static_assert(offsetof(SynproxyRecord, close_client_window) == 50);
static_assert(offsetof(SynproxyRecord, reserved) == 51);

struct AnnounceRecord {
  Addr address;
  uint32_t port;
  uint32_t reserved;
  uint8_t pad0[8];
};
static_assert(sizeof(AnnounceRecord) == 32);
static_assert(offsetof(AnnounceRecord, address) == 0);
static_assert(offsetof(AnnounceRecord, port) == 16);
static_assert(offsetof(AnnounceRecord, reserved) == 20);

struct MarkRuleRecord {
  Addr source;
  Addr destination;
  uint32_t clear_mask;
  uint32_t flip_bits;
  uint32_t mark_mask;
  uint32_t mark_value;
  uint32_t interfaces;
  uint32_t is_not;
  uint32_t skip;
  uint16_t source_port_first;
  uint16_t source_port_count;
  uint16_t destination_port_first;
  uint16_t destination_port_count;
  uint16_t port_first;
  uint16_t port_count;
  uint8_t source_bits;
  uint8_t destination_bits;
  uint8_t protocol;
  uint8_t family;
  uint32_t reserved;
};
static_assert(sizeof(MarkRuleRecord) == 80);
static_assert(offsetof(MarkRuleRecord, source) == 0);
static_assert(offsetof(MarkRuleRecord, destination) == 16);
static_assert(offsetof(MarkRuleRecord, clear_mask) == 32);
static_assert(offsetof(MarkRuleRecord, flip_bits) == 36);
static_assert(offsetof(MarkRuleRecord, mark_mask) == 40);
static_assert(offsetof(MarkRuleRecord, mark_value) == 44);
static_assert(offsetof(MarkRuleRecord, interfaces) == 48);
static_assert(offsetof(MarkRuleRecord, is_not) == 52);
static_assert(offsetof(MarkRuleRecord, skip) == 56);
static_assert(offsetof(MarkRuleRecord, source_port_first) == 60);
static_assert(offsetof(MarkRuleRecord, source_port_count) == 62);
static_assert(offsetof(MarkRuleRecord, destination_port_first) == 64);
static_assert(offsetof(MarkRuleRecord, destination_port_count) == 66);
static_assert(offsetof(MarkRuleRecord, port_first) == 68);
static_assert(offsetof(MarkRuleRecord, port_count) == 70);
static_assert(offsetof(MarkRuleRecord, source_bits) == 72);
static_assert(offsetof(MarkRuleRecord, destination_bits) == 73);
static_assert(offsetof(MarkRuleRecord, protocol) == 74);
static_assert(offsetof(MarkRuleRecord, family) == 75);
static_assert(offsetof(MarkRuleRecord, reserved) == 76);

struct MarkEndRecord {
  Addr address;
  uint16_t port_first;
  uint16_t port_last;
  uint8_t protocol;
  uint8_t bits;
  uint8_t family;
  uint8_t reserved;
};
static_assert(sizeof(MarkEndRecord) == 24);
static_assert(offsetof(MarkEndRecord, address) == 0);
static_assert(offsetof(MarkEndRecord, port_first) == 16);
static_assert(offsetof(MarkEndRecord, port_last) == 18);
static_assert(offsetof(MarkEndRecord, protocol) == 20);
static_assert(offsetof(MarkEndRecord, bits) == 21);
static_assert(offsetof(MarkEndRecord, family) == 22);
static_assert(offsetof(MarkEndRecord, reserved) == 23);

struct PortWordsRecord {
  uint32_t rx_index;
  uint32_t reserved;
  uint64_t rx_frames;
  uint64_t tx_frames;
  uint64_t rx_bytes;
  uint64_t tx_bytes;
  uint8_t pad0[24];
};
static_assert(sizeof(PortWordsRecord) == 64);
static_assert(offsetof(PortWordsRecord, rx_index) == 0);
static_assert(offsetof(PortWordsRecord, reserved) == 4);
static_assert(offsetof(PortWordsRecord, rx_frames) == 8);
static_assert(offsetof(PortWordsRecord, tx_frames) == 16);
static_assert(offsetof(PortWordsRecord, rx_bytes) == 24);
static_assert(offsetof(PortWordsRecord, tx_bytes) == 32);

struct TemplateRecord {
  Addr client_address;
  Addr virtual_address;
  uint16_t virtual_port;
  uint8_t protocol;
  uint8_t family;
  uint32_t state;
  uint32_t destination_slot;
  uint32_t service_slot;
  int32_t connections;
  uint32_t timeout_sec;
  uint32_t expires_sec;
  uint32_t next;
  uint16_t destination_port;
  uint16_t text_bytes;
  uint32_t fwmark;
  uint32_t packets;
  uint32_t service_incarnation;
  uint32_t destination_incarnation;
  uint32_t bucket;
  uint64_t reserved3;
};
static_assert(sizeof(TemplateRecord) == 96);
static_assert(offsetof(TemplateRecord, client_address) == 0);
static_assert(offsetof(TemplateRecord, virtual_address) == 16);
static_assert(offsetof(TemplateRecord, virtual_port) == 32);
static_assert(offsetof(TemplateRecord, protocol) == 34);
static_assert(offsetof(TemplateRecord, family) == 35);
static_assert(offsetof(TemplateRecord, state) == 36);
static_assert(offsetof(TemplateRecord, destination_slot) == 40);
static_assert(offsetof(TemplateRecord, service_slot) == 44);
static_assert(offsetof(TemplateRecord, connections) == 48);
static_assert(offsetof(TemplateRecord, timeout_sec) == 52);
static_assert(offsetof(TemplateRecord, expires_sec) == 56);
static_assert(offsetof(TemplateRecord, next) == 60);
static_assert(offsetof(TemplateRecord, destination_port) == 64);
static_assert(offsetof(TemplateRecord, text_bytes) == 66);
static_assert(offsetof(TemplateRecord, fwmark) == 68);
static_assert(offsetof(TemplateRecord, packets) == 72);
static_assert(offsetof(TemplateRecord, service_incarnation) == 76);
static_assert(offsetof(TemplateRecord, destination_incarnation) == 80);
static_assert(offsetof(TemplateRecord, bucket) == 84);
static_assert(offsetof(TemplateRecord, reserved3) == 88);

struct ConnectionRowRecord {
  Addr client_address;
  Addr virtual_address;
  Addr destination_address;
  Addr local_address;
  uint16_t client_port;
  uint16_t virtual_port;
  uint16_t destination_port;
  uint16_t local_port;
  uint8_t protocol;
  uint8_t state;
  uint8_t method;
  uint8_t family;
  uint32_t flags;
  uint32_t expires_ms;
  uint16_t service_slot;
  uint16_t destination_slot;
  uint32_t in_packets;
  uint32_t template_ref;
};
static_assert(sizeof(ConnectionRowRecord) == 96);
static_assert(offsetof(ConnectionRowRecord, client_address) == 0);
static_assert(offsetof(ConnectionRowRecord, virtual_address) == 16);
static_assert(offsetof(ConnectionRowRecord, destination_address) == 32);
static_assert(offsetof(ConnectionRowRecord, local_address) == 48);
static_assert(offsetof(ConnectionRowRecord, client_port) == 64);
static_assert(offsetof(ConnectionRowRecord, virtual_port) == 66);
static_assert(offsetof(ConnectionRowRecord, destination_port) == 68);
static_assert(offsetof(ConnectionRowRecord, local_port) == 70);
static_assert(offsetof(ConnectionRowRecord, protocol) == 72);
static_assert(offsetof(ConnectionRowRecord, state) == 73);
static_assert(offsetof(ConnectionRowRecord, method) == 74);
static_assert(offsetof(ConnectionRowRecord, family) == 75);
static_assert(offsetof(ConnectionRowRecord, flags) == 76);
static_assert(offsetof(ConnectionRowRecord, expires_ms) == 80);
static_assert(offsetof(ConnectionRowRecord, service_slot) == 84);
static_assert(offsetof(ConnectionRowRecord, destination_slot) == 86);
static_assert(offsetof(ConnectionRowRecord, in_packets) == 88);
static_assert(offsetof(ConnectionRowRecord, template_ref) == 92);

}  // namespace uvs
