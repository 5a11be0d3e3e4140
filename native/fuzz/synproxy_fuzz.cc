// Fuzz target: SYNPROXY with any TCP options, numbers and order of events between a client and a
// real server, its parameters and flag changing meanwhile, workers dying. Whatever happens: what is
// sent has right lengths and checksums, loads say what the table holds, nothing waits for a
// connection that has ended, and no assertion fails.
//
// Input: operations of six bytes; a packet takes as many more bytes, its options and data, as it
// says. Cookies that the core has sent come back in later packets, so that handshakes are found.
#include <cstring>
#include <memory>
#include <vector>

#include "fuzz/core_rig.h"
#include "parse/checksum.h"
#include "parse/tcp.h"

namespace {

using namespace uvs;

constexpr uint32_t kClients = 4;
constexpr uint16_t kServerPort = 8080;

void require(bool holds) {
  if (!holds) __builtin_trap();
}

struct Operation {
  uint8_t what;
  uint8_t a;
  uint8_t b;
  uint8_t c;
  uint8_t options;  // in words, at most ten
  uint8_t payload;
};
static_assert(sizeof(Operation) == 6);

Addr address(uint32_t host) { return Addr::v4(Be32::of(host)); }
const Addr kVirtual = address(0xc61200c8);
const Addr kServer = address(0xc6130001);
const Addr kLocal = address(0xc6130063);

class World {
 public:
  World() : blocks_(16) {
    adopt_next(Operation{});
    start();
  }

  size_t step(const Operation& op, const uint8_t* rest, size_t left) {
    switch (op.what % 8) {
      case 0:
      case 1: return packet(op, true, rest, left);
      case 2:
      case 3: return packet(op, false, rest, left);
      case 4: rig_->clock.us += uint64_t{op.a} * op.b * 1000; break;
      case 5:
        adopt_next(op);
        require(rig_->adopt(config_));
        break;
      case 6:
        if (op.a % 8 == 0) start();
        break;
      default: break;
    }
    drain(op.c % 8 == 7 ? -1 : 0);
    return 0;
  }

  void finish() {
    drain(0);
    // A jump is one look at each timer; one that waits may be asked three times after it.
    for (int i = 0; i < 5; i++) rig_->pass_ms(2'000'000);
    check();
    require(rig_->core().table().size() == 0);
  }

 private:
  void drain(int32_t verdict) {
    rig_->run([&](const MissRecord&) { return verdict; });
    check();
  }

  // A core on the blocks: the first, or a successor.
  void start() {
    if (rig_) drain(0);
    const uint64_t now_us = rig_ ? rig_->clock.us : 1'000'000'000;
    rig_ = std::make_unique<rig::CoreRig>(blocks_);
    rig_->clock.us = now_us;
    require(rig_->adopt(config_));
  }

  void adopt_next(const Operation& op) {
    config_ = rig::ConfigText{};
    rig::ServiceText service;
    service.address = kVirtual;
    service.flags = (op.a & 1) != 0 ? 0 : uint32_t{kServiceSynproxy};
    service.local = {kLocal};
    config_.services = {service};
    rig::DestinationText destination;
    destination.address = kServer;
    destination.method = (op.a & 2) != 0 ? kMethodFullnat : kMethodMasquerade;
    destination.available = (op.a & 12) != 12;
    config_.destinations = {destination};
    config_.fullnat_flags = op.a >> 4 & 3;
    config_.expire_nodest_conn = op.a >> 6 & 1;
    SynproxyRecord& rules = config_.synproxy;
    rules.window_scale = op.b % 15;
    rules.sack = op.b >> 4 & 1;
    rules.timestamps = op.b >> 5 & 1;
    rules.defer = op.b >> 6 == 3;
    rules.close_client_window = op.c & 1;
    rules.max_ack_saved = op.c >> 1 & 3;
    rules.syn_retry = op.c >> 3 & 3;
    rules.reuse_states = static_cast<uint16_t>(op.c >> 5 << 4 | 0x60);
    rules.dup_ack = op.options;
    rules.init_mss = static_cast<uint16_t>(1 + op.payload * 8);
  }

  // The local end of the only FULLNAT connection towards this client's port.
  Be16 local_port(Be16 client_port) const {
    const ConnTable& table = rig_->core().table();
    for (uint32_t id = 0; id < table.high_water(); id++) {
      const Conn& conn = table.at(id);
      if (!table.live(id) || conn.client_port != client_port) continue;
      return conn.method == kMethodFullnat ? conn.local_port : client_port;
    }
    return client_port;
  }

  // Takes `rest` for options and data; returns how much.
  size_t packet(const Operation& op, bool request, const uint8_t* rest, size_t left) {
    const uint32_t client = op.a % kClients;
    const Be16 port = Be16::of(static_cast<uint16_t>(2000 + client));
    const bool full = config_.destinations[0].method == kMethodFullnat;
    const uint32_t options = op.options % 11 * 4;
    const uint32_t bytes = static_cast<uint32_t>(std::min<size_t>(left, options + op.payload));
    const uint32_t transport = 20 + options + op.payload;
    const Addr peer = address(0xc6120001 + client);
    const Addr source = request ? peer : kServer;
    const Addr target = request ? kVirtual : full ? kLocal : peer;
    std::vector<uint8_t> frame(14 + 20 + transport, 0);
    frame[12] = 8;
    uint8_t* ip = &frame[14];
    const uint8_t header[10] = {0x45, 0,  0, static_cast<uint8_t>(20 + transport), 0, 1, 0,
                                0,    64, 6};
    std::memcpy(ip, header, sizeof header);
    ip[2] = static_cast<uint8_t>((20 + transport) >> 8);
    std::memcpy(ip + 12, source.bytes + 12, 4);
    std::memcpy(ip + 16, target.bytes + 12, 4);
    const uint16_t sum = checksum_of(ip, 20);
    std::memcpy(ip + 10, &sum, 2);
    Tcp tcp(ip + 20);
    store16(tcp.at, request ? port : Be16::of(kServerPort));
    store16(tcp.at + 2, request ? Be16::of(80) : full ? local_port(port) : port);
    // Numbers near those that were said, so that they often fit.
    tcp.set_sequence((request ? 1000 : 5000) + (op.b & 15));
    tcp.set_acknowledgement((request ? cookie_[client] : asked_) + 1 + (op.b >> 4 & 3));
    tcp.set_header_bytes(20 + options);
    tcp.set_flags(op.c);
    tcp.set_window(0x1234);
    std::memcpy(tcp.at + 20, rest, bytes);
    tcp.set_checksum(transport_checksum(source, target, kProtoTcp, tcp.at, transport));
    rig_->port(request ? 0 : 1)
        .inject(frame.data(), static_cast<uint32_t>(frame.size()), VnetHdr{});
    return bytes;
  }

  void check() {
    require(rig_->port(0).lent == 0 && rig_->port(1).lent == 0);
    const std::vector<rig::Held> held = rig::held(rig_->core().table(), 1);
    require(rig_->load(0).active == held[0].active && rig_->load(0).inactive == held[0].inactive);
    for (uint32_t port = 0; port < 2; port++) {
      for (const SentFrame& sent : rig_->port(port).take_sent()) look_at(sent.bytes, port);
    }
  }

  void look_at(const std::vector<uint8_t>& frame, uint32_t port) {
    require(frame.size() >= 14 + 40 || frame[14 + 9] != kProtoTcp);
    const uint8_t* ip = &frame[14];
    const uint32_t total = load16(ip + 2).host();
    require(total == frame.size() - 14);
    require(fold(sum_bytes(ip, 20)) == 0xffff);
    if (ip[9] != kProtoTcp) return;
    const Tcp tcp(ip + 20);
    require(tcp.header_bytes() >= 20 && 20 + tcp.header_bytes() <= total);
    const uint64_t pseudo =
        sum_pseudo(Addr::v4(load32(ip + 12)), Addr::v4(load32(ip + 16)), kProtoTcp, total - 20);
    require(fold(add_sums(pseudo, sum_bytes(tcp.at, total - 20))) == 0xffff);
    const uint32_t client = load16(tcp.at + 2).host() - 2000u;
    if (port == 0 && client < kClients) cookie_[client] = tcp.sequence().host();
    if (port == 1 && (tcp.flags() & kTcpSyn) != 0) asked_ = tcp.sequence().host();
  }

  rig::Blocks blocks_;
  rig::ConfigText config_;
  std::unique_ptr<rig::CoreRig> rig_;
  uint32_t cookie_[kClients] = {};
  uint32_t asked_ = 0;  // the last SYN's number at the real server
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size > 4096) return 0;
  World world;
  for (size_t at = 0; at + sizeof(Operation) <= size;) {
    Operation op;
    std::memcpy(&op, data + at, sizeof op);
    at += sizeof op;
    at += world.step(op, data + at, size - at);
  }
  world.finish();
  return 0;
}
