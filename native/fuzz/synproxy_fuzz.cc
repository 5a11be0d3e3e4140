// Fuzz target: SYNPROXY with any TCP options, numbers and order of events between a client and a
// real server, its parameters and flag changing meanwhile, workers dying. Whatever happens: what is
// sent has right lengths and checksums, loads say what the table holds, nothing waits for a
// connection that has ended, and no assertion fails. Half of the clients are of IPv6, whose server
// may be of IPv4.
//
// Input: operations of six bytes; a packet takes as many more bytes, its options and data, as it
// says. Cookies that the core has sent come back in later packets, so that handshakes are found.
#include <cstring>
#include <memory>
#include <vector>

#include "fuzz/core_rig.h"
#include "parse/checksum.h"
#include "parse/ip4.h"
#include "parse/ip6.h"
#include "parse/tcp.h"

namespace {

using namespace uvs;

constexpr uint32_t kClients = 8;  // the second half of IPv6
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

Addr address(bool six, bool inside, uint8_t last) {
  if (!six) return Addr::v4(Be32::of((inside ? 0xc6130000u : 0xc6120000u) + last));
  const uint8_t bytes[16] = {0x20, 1, 0x0d, 0xb8, 0, inside, 0, 0, 0, 0, 0, 0, 0, 0, 0, last};
  return Addr::v6(bytes);
}
Addr virtual_of(bool six) { return address(six, false, 200); }
Addr server_of(bool six) { return address(six, true, 1); }
Addr local_of(bool six) { return address(six, true, 99); }

// An IP header and room for `transport` bytes behind it, in a frame.
std::vector<uint8_t> frame_of(const Addr& source, const Addr& target, uint32_t transport) {
  const bool six = !source.is_v4();
  std::vector<uint8_t> frame(14 + (six ? kIp6Bytes : kIp4Bytes) + transport, 0);
  uint8_t* at = &frame[14];
  store16(&frame[12], Be16::of(six ? 0x86dd : 0x0800));
  if (six) {
    at[0] = 0x60;
    at[6] = kProtoTcp;
    Ip6 ip(at);
    ip.set_payload_bytes(transport);
    ip.set_hop_limit(64);
    std::memcpy(ip.source(), source.bytes, 16);
    std::memcpy(ip.destination(), target.bytes, 16);
    return frame;
  }
  at[0] = 0x45;
  at[9] = kProtoTcp;
  Ip4 ip(at);
  ip.set_total_bytes(kIp4Bytes + transport);
  ip.set_id(1);
  ip.set_ttl(64);
  ip.set_source(source.v4_part());
  ip.set_destination(target.v4_part());
  ip.set_checksum(checksum_of(at, kIp4Bytes));
  return frame;
}

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
    rig_->run([&](const MissRecord& miss) {
      return verdict < 0 ? verdict : static_cast<int32_t>(miss.service_slot);
    });
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
    for (const bool six : {false, true}) {
      rig::ServiceText service;
      service.address = virtual_of(six);
      service.flags = (op.a & 1) != 0 ? 0 : uint32_t{kServiceSynproxy};
      service.local = {local_of(six), local_of(false)};
      if (!six) service.local.pop_back();
      config_.services.push_back(service);
      rig::DestinationText destination;
      destination.service = six ? 1 : 0;
      destination.method = (op.a & 2) != 0 ? kMethodFullnat : kMethodMasquerade;
      destination.address = server_of(six && (op.a & 0x82) != 0x82);
      destination.available = (op.a & 12) != 12;
      config_.destinations.push_back(destination);
    }
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
    const bool six = client >= kClients / 2;
    const Be16 port = Be16::of(static_cast<uint16_t>(2000 + client));
    const bool full = config_.destinations[0].method == kMethodFullnat;
    const uint32_t options = op.options % 11 * 4;
    const uint32_t bytes = static_cast<uint32_t>(std::min<size_t>(left, options + op.payload));
    const uint32_t transport = 20 + options + op.payload;
    const rig::DestinationText& destination = config_.destinations[six ? 1 : 0];
    const Addr peer = address(six, false, static_cast<uint8_t>(1 + client));
    const Addr source = request ? peer : destination.address;
    const Addr target = request ? virtual_of(six)
                        : full  ? local_of(!destination.address.is_v4())
                                : peer;
    std::vector<uint8_t> frame = frame_of(source, target, transport);
    Tcp tcp(&frame[frame.size() - transport]);
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
    const std::vector<rig::Held> held = rig::held(rig_->core().table(), 2);
    for (uint32_t slot = 0; slot < 2; slot++) {
      const LoadRecord& load = rig_->load(slot);
      require(load.active == held[slot].active && load.inactive == held[slot].inactive);
    }
    for (uint32_t port = 0; port < 2; port++) {
      for (const SentFrame& sent : rig_->port(port).take_sent()) look_at(sent.bytes, port);
    }
  }

  void look_at(const std::vector<uint8_t>& frame, uint32_t port) {
    const uint8_t* ip = &frame[14];
    const bool six = ip[0] >> 4 == 6;
    const uint32_t header = six ? kIp6Bytes : kIp4Bytes;
    require(frame.size() >= 14 + header);
    const uint32_t total =
        six ? kIp6Bytes + Ip6(ip).payload_bytes().host() : Ip4(ip).total_bytes().host();
    require(total == frame.size() - 14);
    require(six || fold(sum_bytes(ip, kIp4Bytes)) == 0xffff);
    if (ip[six ? 6 : 9] != kProtoTcp) return;
    const Tcp tcp(ip + header);
    const uint32_t transport = total - header;
    require(transport >= 20 && tcp.header_bytes() >= 20 && tcp.header_bytes() <= transport);
    const Addr source = six ? Addr::v6(Ip6(ip).source()) : Addr::v4(Ip4(ip).source());
    const Addr target = six ? Addr::v6(Ip6(ip).destination()) : Addr::v4(Ip4(ip).destination());
    const uint64_t pseudo = sum_pseudo(source, target, kProtoTcp, transport);
    require(fold(add_sums(pseudo, sum_bytes(tcp.at, transport))) == 0xffff);
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
