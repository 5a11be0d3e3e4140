// The director's packet path for one worker: the table of contents. core.cc reads top to bottom in
// the order of the nine stops (docs/architecture.md).
//
// The owner's thread calls poll() and, when it says that misses wait, lets TypeScript write
// verdicts into the miss batch and calls resolve(). Nothing else runs on this thread meanwhile; a
// Core knows no Node-API, starts no threads and has no globals.
#pragma once
#include <cstdint>
#include <memory>
#include <vector>

#include "classify/real_servers.h"
#include "classify/snapshot.h"
#include "conn/conn_table.h"
#include "conn/local_ports.h"
#include "conn/tracker.h"
#include "forward/announce.h"
#include "forward/egress.h"
#include "forward/next_hops.h"
#include "forward/transmit.h"
#include "forward/tunnel_error.h"
#include "io/handover.h"
#include "io/port.h"
#include "parse/reassembly.h"
#include "report/counters.h"
#include "synproxy/cookie.h"
#include "synproxy/stored_packets.h"
#include "upcall/miss_batch.h"

namespace uvs {

// Every block that a worker borrows from main. Pointers stay valid until the Core is gone.
struct CoreMemory {
  uint8_t* table = nullptr;  // ConnTable::bytes_needed(connections)
  size_t table_bytes = 0;
  uint32_t connections = 0;
  MissRecord* misses = nullptr;    // kBurst
  MissText* miss_texts = nullptr;  // kBurst
  WorkerWordsRecord* words = nullptr;
  PortWordsRecord* port_words = nullptr;  // by port
  TemplateRecord* templates = nullptr;
  uint32_t template_count = 0;
  Counters counters;
  uint32_t worker = 0;
  uint32_t workers = 1;
  int32_t host_port = -1;  // port to the host's own stack; -1: none
  int bell = -1;           // eventfd that main rings to end a wait; -1: none
  HandoverEnds handover;   // to the other workers
};

// The clock of a core, monotonic microseconds; tests and benchmarks bring their own.
class Clock {
 public:
  virtual ~Clock() = default;
  virtual uint64_t now_us() = 0;
};

class Core {
 public:
  // `ports` and `hops` are owned; `clock` must outlive the core. `seed` keys the flow hash of a
  // fresh table.
  Core(const CoreMemory& memory, std::vector<std::unique_ptr<Port>> ports,
       std::unique_ptr<NextHops> hops, Clock& clock, uint64_t seed);

  // False: the table block belongs to another layout or size.
  bool table_attached() const { return attached_; }

  // Adopts a block that check_snapshot() accepted; only between poll() and the next poll(), with
  // no misses open.
  void adopt(const uint8_t* snapshot);

  // Takes one burst from the ports, forwards what is known, and returns how many misses want a
  // verdict. Waits at most `wait_us` when nothing is there.
  uint32_t poll(uint32_t wait_us);

  // Carries out the verdicts of the last poll().
  void resolve();

  // True between a poll() that returned misses and its resolve().
  bool open() const { return open_; }

  ConnTable& table() { return table_; }
  Tracker& tracker() { return tracker_; }
  const Snapshot& snapshot() const { return snapshot_; }
  uint32_t tick() const { return static_cast<uint32_t>(now_ms_ / kTickMs); }
  uint64_t now_ms() const { return now_ms_; }

 private:
  // Connections looked at by the timer and the sweep in one poll: bounds the pause.
  static constexpr uint32_t kExpireBudget = 256;
  static constexpr uint32_t kSweepBudget = 1024;
  static constexpr uint32_t kDropBudget = 256;
  // After traffic the core looks again for this long before it waits in ppoll().
  static constexpr uint32_t kSpinUs = 40;
  // Announcements that wait for their turn are looked at so often.
  static constexpr uint32_t kAnnounceUs = 10'000;

  // Packets between the lookup of one and its handling: covers a memory access.
  static constexpr uint32_t kAhead = 12;

  enum class Hit : uint8_t { kDone, kMiss };

  void release_unresolved();
  void read_clock();
  bool removes_destination(const uint8_t* next) const;
  uint32_t take_burst();
  uint32_t idle_us() const;
  void wait(uint32_t wait_us);
  void hear_bell();
  void parse_burst(uint32_t count);
  void reassemble(Packet& packet);
  uint32_t owner_of(const Packet& packet) const;
  bool is_local_end(const FlowKey& key) const;
  uint32_t take_handed();
  bool ask_other(uint16_t number, const FlowKey& key);
  uint32_t other_owner(const Packet& packet, const FlowKey& key) const;
  static bool begins(const Packet& packet);
  void note_unknown(uint64_t hash);
  bool is_unknown(uint64_t hash) const;
  void expire_fragments();
  void count_own_error(const FlowKey& key, uint32_t bytes);
  void look_up(uint32_t number);
  // Where connections have more than their record: half way from look_up() to handle() the record
  // is there and says so. Inline as ConnTable::prefetch_extra() must be.
  [[gnu::always_inline]] inline void look_closer(uint32_t number) {
    const bool flow = packets_[number].kind == PacketKind::kFlow;
    if (flow && entries_[number] != kNoEntry) table_.prefetch_extra(entries_[number]);
  }
  void handle(uint16_t number);
  void ipsec(uint16_t number);
  Hit hit_in(Packet& packet, uint32_t id);
  Hit hit_unavailable(Packet& packet, uint32_t id);
  void forward_in(Packet& packet, uint32_t id, const DestinationRecord& destination);
  void hit_out(Packet& packet, uint32_t id);
  bool starts_over(const Packet& packet, uint32_t id, const DestinationRecord* destination);
  void replace(uint32_t id);
  void end_replaced();
  void miss(uint16_t number);
  void add_call(uint16_t number, uint16_t service_slot, uint16_t flags, uint32_t mark);
  bool begin_outbound(uint16_t number);
  bool made_meanwhile(const MissRecord& miss, const Packet& packet, uint32_t* id);
  bool announced_meanwhile(const MissRecord& miss, uint32_t* id);
  void resolve_one(uint32_t record);
  bool create(const MissRecord& miss, uint32_t* id);
  bool choose_local(const MissRecord& miss, const ServiceRecord& service, NewConn* wanted);
  void refuse(const MissRecord& miss, Packet& packet);
  void icmp(uint16_t number);
  void leave_icmp(Packet& packet, bool kept);
  void follow(Packet& packet, uint32_t entry, bool own = false);
  void neighbour_silent(const Frame& frame);
  bool schedule_related(uint16_t number, const FlowKey& flow);
  bool tunnel_error(Packet& packet, const QuotedTunnel& quoted);
  bool bypass(const MissRecord& miss, uint16_t number);
  void forward_past(Packet& packet, uint32_t id);
  void adopt_synproxy();
  bool intercept(uint16_t number, uint16_t slot, uint32_t mark);
  void answer_syn(Packet& packet, const ServiceRecord& service);
  bool proxied_request(Packet& packet, uint32_t id, const DestinationRecord* destination);
  bool begins_anew(const Packet& packet, const Conn& conn, HandshakeOptions* options);
  void open_proxied(Packet& packet, uint32_t id);
  void ask_server(Packet& packet, uint32_t id, const HandshakeOptions& options);
  void send_syn(uint32_t id);
  bool ask_server_again(uint32_t id);
  void store_request(const Packet& packet, uint32_t id);
  bool proxied_reply(Packet& packet, uint32_t id);
  void server_answers(Packet& packet, uint32_t id);
  void server_accepts(Packet& packet, uint32_t id);
  void server_refuses(Packet& packet, uint32_t id);
  void release_stored(uint32_t id);
  bool good_cookie(const Packet& packet, HandshakeOptions* options) const;
  bool answer_unknown_reply(Packet& packet);
  void leave_to_host(Packet& packet, Reason reason);
  bool is_hosts(const Packet& packet, uint16_t slot);
  void leave(const Packet& packet, const Frame& frame, uint32_t l3);
  void finish();
  void announce();
  void drop_entries();
  bool gives_up_new();
  bool left_to_own_host(Packet& packet, Reason reason);
  bool is_host_address(const Addr& address);
  void expire();
  void housekeeping();
  void count_in(const DestinationRecord& destination, uint16_t slot, uint32_t bytes);
  void count_out(const DestinationRecord& destination, uint16_t slot, uint32_t bytes);

  CoreMemory memory_;
  Counters counters_;
  std::vector<std::unique_ptr<Port>> ports_;
  std::unique_ptr<NextHops> hops_;
  Clock& clock_;
  Snapshot snapshot_;
  ConnTable table_;
  bool attached_;
  Tracker tracker_;
  Egress egress_;
  FtpHelper ftp_;
  Transmitter transmitter_;
  LocalPorts local_ports_;
  Announcer announcer_;
  MissBatch batch_;
  Reassembly reassembly_;
  Handover handover_;
  RealServers real_servers_;

  // SYNPROXY, from the first configuration on that has it: cookies are good also after the last
  // service has lost it. core_synproxy.cc.
  bool synproxy_used_ = false;
  SynproxyRecord synproxy_{};
  CookieKeys cookie_keys_{};
  StoredPackets stored_;

  uint64_t now_us_ = 0;
  uint64_t now_ms_ = 0;
  uint64_t last_poll_us_ = 0;
  uint64_t last_busy_us_ = 0;
  uint64_t served_ms_ = 0;
  uint64_t handed_ms_ = 0;       // when other workers' packets were last taken
  uint32_t handed_ = 0;          // how many of this burst are such; they come first
  bool steering_moved_ = false;  // the worker of the other rule is asked (core_handover.cc)
  uint32_t first_port_ = 0;      // whose turn it is to be read first
  uint32_t sweep_cursor_ = 0;    // expire_nodest_conn; at or beyond the end: nothing to sweep
  bool sweeping_ = false;
  DropEntry drop_entry_;
  uint64_t drop_second_ = 0;   // of the last draw
  uint32_t draws_ = 0;         // that drop_entry has yet to make in this second
  int32_t drop_counter_ = 0;   // new connections until drop_packet takes one
  uint32_t drop_reloads_ = 0;  // as the counter was last started anew
  bool open_ = false;          // poll() returned misses that are not resolved yet

  Frame frames_[kBurst];
  Packet packets_[kBurst];
  uint32_t entries_[kBurst];   // guess of the index, kNoEntry
  uint32_t replaced_[kBurst];  // connections that end when this burst's misses have verdicts
  uint32_t replaced_count_ = 0;
  uint32_t burst_ports_ = 0;  // bit per port that lent frames

  // Flows that another worker was asked for and did not know, by hash.
  struct UnknownFlow {
    uint64_t hash;
    uint32_t since_ms;
  };
  UnknownFlow unknown_[kUnknownFlows] = {};
};

}  // namespace uvs
