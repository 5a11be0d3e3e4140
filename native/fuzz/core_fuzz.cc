// Fuzz target: a whole core under any order of frames, verdicts, time, configurations, hops and
// ports that refuse. Whatever happens: loads say what the table holds, templates count their
// slaves, keys lead to one connection each, every frame lent is given back, nothing is sent that no
// description could have made longer than its buffer, and no assertion fails.
//
// Input: operations of eight bytes; a raw frame takes as many more bytes as it says.
#include <cerrno>
#include <cstring>
#include <memory>
#include <vector>

#include "fuzz/core_rig.h"
#include "parse/checksum.h"

namespace {

using namespace uvs;

constexpr uint32_t kConnections = 24;
constexpr uint32_t kDestinations = 8;

void require(bool holds) {
  if (!holds) __builtin_trap();
}

struct Operation {
  uint8_t what;
  uint8_t a;
  uint8_t b;
  uint8_t c;
  uint16_t d;
  uint16_t e;
};
static_assert(sizeof(Operation) == 8);

Addr address(bool six, bool inside, uint8_t last) {
  if (!six) return Addr::v4(Be32::of((inside ? 0xc6130000u : 0xc6120000u) + last));
  const uint8_t bytes[16] = {0x20, 1, 0x0d, 0xb8, 0, inside, 0, 0, 0, 0, 0, 0, 0, 0, 0, last};
  return Addr::v6(bytes);
}

constexpr uint8_t kService = 200;
constexpr uint8_t kLocal = 99;
constexpr uint8_t kFragmentHeader = 44;
constexpr uint16_t kGuePort = 6080;
constexpr uint32_t kMarkService = 4;  // slot, behind those by address

rig::ConfigText config_by(const Operation& op) {
  rig::ConfigText config;
  const bool nat64 = (op.e & 8) != 0;  // FULLNAT from IPv6 to IPv4
  constexpr uint8_t kProtocols[] = {kProtoTcp, kProtoUdp,  kProtoTcp,
                                    kProtoUdp, kProtoSctp, kProtoSctp};
  for (uint32_t i = 0; i < 6; i++) {
    const bool six = i == 2 || i == 3 || i == 5;
    rig::ServiceText service;
    service.address = address(six, false, kService);
    service.protocol = kProtocols[i];
    service.flags = i < 4 && (op.a >> i & 1) != 0 ? kServiceOnePacket : 0;
    if ((op.a & 32) != 0) service.flags |= kServiceSip;
    if ((op.a & 128) != 0) service.flags |= kServicePersistent;
    service.flags |= (op.e & 3) * kServiceProxyV1 | (op.e >> 2 & 1) * kServiceProxyInsecure;
    if ((op.a & 16) == 0) service.local = {address(six, true, kLocal)};
    if (nat64 && six) service.local.push_back(address(false, true, kLocal));
    config.services.push_back(service);
  }
  constexpr uint8_t kMethods[] = {kMethodMasquerade, kMethodTunnel, kMethodDirect, kMethodFullnat};
  for (uint8_t i = 0; i < kDestinations; i++) {
    rig::DestinationText destination;
    destination.method = kMethods[i % 4];
    const bool six = i / 4 != 0;
    // Tunnels lead across the families when bit 6 says so.
    const bool across = (destination.method == kMethodTunnel && (op.a & 64) != 0) ||
                        (destination.method == kMethodFullnat && six && nat64);
    destination.address = address(six != across, true, static_cast<uint8_t>(i + 1));
    // Real servers of UDP begin connections with the engine.
    destination.service = (six ? 2u : 0u) + ((op.a & 32) != 0 ? 1u : 0u);
    destination.weight = (op.c >> i & 1) == 0;
    destination.available = (op.b >> i & 1) == 0;
    destination.tunnel_type = static_cast<uint8_t>((op.e >> i) % 3);
    destination.tunnel_flags = static_cast<uint8_t>(op.e >> (i + 3) & 3);
    destination.tunnel_port = kGuePort;
    config.destinations.push_back(destination);
  }
  config.fullnat_flags = op.e >> 4 & 3;
  config.uoa_mode = op.e >> 6 & 1;
  config.uoa_trail = op.e >> 7 & 3;
  config.conn_reuse_mode = op.d & 3;
  config.expire_nodest_conn = op.d >> 2 & 1;
  config.sloppy_tcp = op.d >> 3 & 1;
  config.pmtu_disc = op.d >> 4 & 1;
  config.secure_tcp = op.d >> 5 & 3;
  config.sloppy_sctp = op.d >> 7 & 1;
  config.drop_entry = op.e & 3;
  config.schedule_icmp = op.d >> 11 & 1;
  config.nat_icmp_send = op.d >> 12 & 1;
  if ((op.a & 128) != 0) {
    for (const bool six : {false, true}) {
      AnnounceRecord record{};
      record.address = address(six, false, kService);
      config.announces.push_back(record);
    }
  }
  config.cache_bypass = op.d >> 7 & 1;
  rig::ServiceText mark;
  mark.address = address(false, false, kService);
  mark.fwmark = 1;
  config.services.push_back(mark);
  config.local_port_last = static_cast<uint16_t>(1025 + (op.d >> 8 & 7));
  return config;
}

void put16(std::vector<uint8_t>& to, uint32_t value) {
  to.push_back(static_cast<uint8_t>(value >> 8));
  to.push_back(static_cast<uint8_t>(value));
}

void put_ip(std::vector<uint8_t>& frame, const FlowKey& key, uint8_t ttl, uint32_t payload) {
  const size_t start = frame.size();
  if (key.source.is_v4()) {
    const auto total = static_cast<uint16_t>(20 + payload);
    const uint8_t header[12] = {0x45,
                                0,
                                static_cast<uint8_t>(total >> 8),
                                static_cast<uint8_t>(total),
                                0,
                                1,
                                0x00,
                                0,
                                ttl,
                                key.protocol};
    frame.insert(frame.end(), header, header + 12);
    frame.insert(frame.end(), key.source.bytes + 12, key.source.bytes + 16);
    frame.insert(frame.end(), key.destination.bytes + 12, key.destination.bytes + 16);
    const uint16_t sum = checksum_of(&frame[start], 20);
    std::memcpy(&frame[start + 10], &sum, 2);
    return;
  }
  frame.insert(frame.end(), {0x60, 0, 0, 0});
  put16(frame, payload);
  frame.insert(frame.end(), {key.protocol, ttl});
  frame.insert(frame.end(), key.source.bytes, key.source.bytes + 16);
  frame.insert(frame.end(), key.destination.bytes, key.destination.bytes + 16);
}

// With ECE set a segment has 40 bytes of options, good and bad ones.
uint32_t options_by(uint8_t flags) { return (flags & 0x40) != 0 ? 40 : 0; }

void put_transport(std::vector<uint8_t>& frame, const FlowKey& key, uint8_t flags,
                   uint32_t payload) {
  put16(frame, key.source_port.host());
  put16(frame, key.destination_port.host());
  if (key.protocol == kProtoUdp) {
    put16(frame, 8 + payload);
    put16(frame, 0);
  } else if (key.protocol == kProtoSctp) {
    frame.insert(frame.end(), {0, 0, 0, 1, 0, 0, 0, 0, flags, 0, 0, 8});
  } else {
    const uint32_t options = options_by(flags);
    const auto words = static_cast<uint8_t>((20 + options) / 4 << 4);
    const uint8_t step = (flags & (kTcpAck | kTcpSyn)) == kTcpAck ? 1 : 0;
    frame.insert(frame.end(), {0, 0, 0, static_cast<uint8_t>(1 + step), 0, 0, 0, 2, words, flags,
                               0xff, 0xff, 0, 0, 0, 0});
    constexpr uint8_t kKinds[] = {1, 2, 4, 5, 18, 8, 10, 254, 8, 3, 3, 30, 0, 34};
    for (uint32_t i = 0; i < options; i++) {
      frame.push_back(kKinds[(payload + i * (1 + flags % 5)) % sizeof kKinds]);
    }
  }
  const size_t start = frame.size();
  frame.resize(start + payload, 0x5a);
  // Of a call of its own length, as SIP (spec 4.5).
  constexpr char kHeader[] = "\r\ni: ";
  if (payload < sizeof kHeader + 1) return;
  std::memcpy(&frame[start], kHeader, sizeof kHeader - 1);
  frame.back() = '\r';
}

// A packet between ends that matter: requests, replies to any destination, strays.
FlowKey key_by(const Operation& op) {
  const bool six = op.a & 1;
  const uint8_t protocol = op.a & 2 ? kProtoUdp : op.a & 128 ? kProtoSctp : kProtoTcp;
  const Be16 client_port = Be16::of(static_cast<uint16_t>(2000 + op.b % 16));
  const Addr client = address(six, false, static_cast<uint8_t>(1 + op.b / 64));
  if ((op.a & 4) == 0) {
    return FlowKey{client, address(six, false, kService), client_port, Be16::of(80), protocol};
  }
  const bool full = op.a & 8;
  const auto destination = static_cast<uint8_t>(1 + op.c % kDestinations);
  return FlowKey{address(six, true, destination), full ? address(six, true, kLocal) : client,
                 Be16::of(8080),
                 full ? Be16::of(static_cast<uint16_t>(1025 + op.b % 8)) : client_port, protocol};
}

class World {
 public:
  World() : blocks_(kConnections) {
    start();
    adopt(Operation{});
  }

  // `rest` is what follows in the input; returns how much of it was used.
  size_t step(const Operation& op, const uint8_t* rest, size_t left) {
    switch (op.what % 11) {
      case 0:
      case 1:
      case 2: packet(op); break;
      case 3: icmp(op); break;
      case 4: return raw(op, rest, left);
      case 5: burst(op); break;
      case 6: rig_->clock.us += uint64_t{op.d} * op.d * 100; break;
      case 7: adopt(op); break;
      case 8: hops(op); break;
      case 9: fragment(op); break;
      default: op.a % 4 == 0 ? start() : port(op);
    }
    return 0;
  }

  void finish() {
    burst(Operation{});
    rig_->pass_ms(2'000'000);
    check();
    require(rig_->core().table().size() == 0);
  }

 private:
  // A core on the blocks: the first, or a successor.
  void start() {
    const uint64_t now_us = rig_ ? rig_->clock.us : kStartUs;
    if (rig_) burst(Operation{});
    rig_ = std::make_unique<rig::CoreRig>(blocks_);
    rig_->clock.us = now_us;
    if (adopted_) require(rig_->adopt(config_by(last_)));
  }

  void adopt(const Operation& op) {
    last_ = op;
    adopted_ = true;
    blocks_.words.get()->drop_rate = op.e >> 2 & 3;
    blocks_.words.get()->drop_reloads += op.e >> 4 & 1;
    require(rig_->adopt(config_by(op)));
  }

  void inject(const std::vector<uint8_t>& frame, const VnetHdr& vnet, uint32_t port) {
    if (rig_->port(port).waiting() > 100) return;
    rig_->port(port).inject(frame.data(), static_cast<uint32_t>(frame.size()), vnet);
  }

  void packet(const Operation& op) {
    const FlowKey key = key_by(op);
    const bool super = op.a & 32;
    const uint32_t payload = super ? op.e : op.e % 1600;
    const bool sctp = key.protocol == kProtoSctp;
    const uint32_t transport = key.protocol == kProtoUdp ? 8
                               : sctp                    ? 16
                                      : 20 + options_by(static_cast<uint8_t>(op.d));
    if (payload + transport + 40 > kMaxIpBytes) return;
    std::vector<uint8_t> frame(12, 2);
    put16(frame, key.source.is_v4() ? 0x0800 : 0x86dd);
    put_ip(frame, key, static_cast<uint8_t>(op.d >> 8), transport + payload);
    const auto l4 = static_cast<uint16_t>(frame.size());
    put_transport(frame, key, static_cast<uint8_t>(op.d), payload);
    VnetHdr vnet;
    if (super) {
      vnet.flags = kVnetNeedsCsum;
      vnet.csum_start = l4;
      vnet.csum_offset = key.protocol == kProtoUdp ? 6 : sctp ? 8 : 16;
    }
    if (super && !sctp) {
      vnet.gso_size = static_cast<uint16_t>(1 + (op.c | 64u) * 6);
      vnet.gso_type = key.protocol == kProtoUdp ? kVnetGsoUdpL4
                      : key.source.is_v4()      ? kVnetGsoTcp4
                                                : kVnetGsoTcp6;
    }
    inject(frame, vnet, (op.a & 4) != 0 ? 1 : 0);
  }

  // A part of one of few datagrams, which other parts may fit, overlap or contradict. IPv6 takes
  // long middles only.
  void fragment(const Operation& op) {
    FlowKey key = key_by(op);
    const bool six = !key.source.is_v4();
    const uint32_t unit = six ? 1280 : 8u << op.d % 4 * 2;
    const uint32_t start = op.d / 4 % 8 * unit;
    const uint32_t end = start + unit * (1 + op.d / 32 % 3) - (op.d & 0x8000 ? 0 : 4);
    const bool more = op.d & 0x8000;
    std::vector<uint8_t> datagram;
    if ((op.a & 16) != 0) key.protocol = six ? kProtoIcmp6 : kProtoIcmp;
    put_transport(datagram, key, static_cast<uint8_t>(op.c), end);
    std::vector<uint8_t> part;
    const auto offset = static_cast<uint16_t>(op.e & 0x4000 ? op.e * 8 : start);
    if (six) {
      part = {key.protocol, 0};
      put16(part, (offset & 0xfff8u) | more);
      part.insert(part.end(), {0, 0, 0, static_cast<uint8_t>(op.e % 3)});
      key.protocol = kFragmentHeader;
    }
    part.insert(part.end(), datagram.begin() + start, datagram.begin() + end);
    std::vector<uint8_t> frame(12, 2);
    put16(frame, six ? 0x86dd : 0x0800);
    const size_t ip = frame.size();
    put_ip(frame, key, 9, static_cast<uint32_t>(part.size()));
    if (!six) {
      frame[ip + 5] = static_cast<uint8_t>(op.e % 3);
      const uint16_t field = static_cast<uint16_t>(offset / 8 | (more ? 0x2000 : 0));
      frame[ip + 6] = static_cast<uint8_t>(field >> 8);
      frame[ip + 7] = static_cast<uint8_t>(field);
      frame[ip + 10] = frame[ip + 11] = 0;
      const uint16_t sum = checksum_of(&frame[ip], 20);
      std::memcpy(&frame[ip + 10], &sum, 2);
    }
    frame.insert(frame.end(), part.begin(), part.end());
    inject(frame, VnetHdr{}, (op.a & 4) != 0 ? 1 : 0);
  }

  // An error about the last IPv4 packet that went to the destinations, perhaps in a tunnel.
  void tunnel_error(const Operation& op) {
    if (last_sent_.size() < 34) return;
    std::vector<uint8_t> quote(last_sent_.begin() + 14, last_sent_.end());
    quote.resize(std::min<size_t>(quote.size(), 20 + op.e % 600));
    if (op.b & 1) quote[op.c % quote.size()] ^= static_cast<uint8_t>(1 << op.b % 8);
    FlowKey outer{};
    Be32 director;
    std::memcpy(&director.raw, &last_sent_[14 + 12], 4);
    outer.source = address(false, true, 200);
    outer.destination = Addr::v4(director);
    outer.protocol = kProtoIcmp;
    std::vector<uint8_t> frame(12, 2);
    put16(frame, 0x0800);
    put_ip(frame, outer, 9, static_cast<uint32_t>(8 + quote.size()));
    const size_t at = frame.size();
    frame.insert(frame.end(), {static_cast<uint8_t>(op.b & 2 ? 11 : 3), 4, 0, 0, 0, 0});
    put16(frame, op.d);
    frame.insert(frame.end(), quote.begin(), quote.end());
    const uint16_t sum = checksum_of(&frame[at], frame.size() - at);
    std::memcpy(&frame[at + 2], &sum, 2);
    inject(frame, VnetHdr{}, 1);
  }

  // An error that quotes a packet which went the other way.
  void icmp(const Operation& op) {
    if (op.a & 128) return tunnel_error(op);
    const FlowKey key = key_by(op);
    const bool six = !key.source.is_v4();
    std::vector<uint8_t> quote;
    const FlowKey quoted{key.destination, key.source, key.destination_port, key.source_port,
                         key.protocol};
    put_ip(quote, quoted, 5, 28);
    put_transport(quote, quoted, 0, 8);
    FlowKey outer = key;
    outer.protocol = six ? kProtoIcmp6 : kProtoIcmp;
    std::vector<uint8_t> frame(12, 2);
    put16(frame, six ? 0x86dd : 0x0800);
    put_ip(frame, outer, static_cast<uint8_t>(op.d), static_cast<uint32_t>(8 + quote.size()));
    const size_t at = frame.size();
    frame.insert(frame.end(),
                 {static_cast<uint8_t>(six ? 1 + op.c % 4 : 3), op.c, 0, 0, 0, 0, 0, 0});
    frame.insert(frame.end(), quote.begin(), quote.end());
    const auto bytes = static_cast<uint32_t>(frame.size() - at);
    const uint16_t sum =
        six ? transport_checksum(outer.source, outer.destination, kProtoIcmp6, &frame[at], bytes)
            : checksum_of(&frame[at], bytes);
    std::memcpy(&frame[at + 2], &sum, 2);
    inject(frame, VnetHdr{}, (op.a & 4) != 0 ? 1 : 0);
  }

  size_t raw(const Operation& op, const uint8_t* rest, size_t left) {
    const size_t bytes = std::min<size_t>(left, op.a);
    if (bytes == 0) return 0;
    VnetHdr vnet;
    vnet.flags = op.b & 1;
    vnet.gso_type = op.b >> 4;
    vnet.csum_start = op.d;
    vnet.csum_offset = op.c;
    vnet.gso_size = op.e;
    inject(std::vector<uint8_t>(rest, rest + bytes), vnet, op.b >> 1 & 1);
    return bytes;
  }

  void burst(const Operation& op) {
    uint32_t turn = 0;
    rig_->run([&](const MissRecord& miss) {
      auto& record = const_cast<MissRecord&>(miss);
      const uint32_t dice = (op.a + op.b * ++turn) & 255;
      if (dice >= 240) return static_cast<int32_t>(dice * 0x01010101u);  // nonsense
      if (dice >= 224) {
        if (op.d & 1) record.service_slot = kMarkService;
        return -1 - static_cast<int32_t>(dice % 3);
      }
      if (op.c % 4 == 0) {
        record.template_ref = 1 + dice % 2;
        blocks_.templates.get()[dice % 2].connections++;
      }
      return static_cast<int32_t>(dice % (kDestinations + 1));
    });
    check();
  }

  void hops(const Operation& op) {
    const auto slot = static_cast<uint16_t>(op.a % rig::RigHops::kSlots);
    switch (op.b % 4) {
      case 0: rig_->hops().set_state(slot, static_cast<HopState>(op.c % 4)); break;
      case 1: rig_->hops().set_mtu(slot, op.d); break;
      case 2: rig_->hops().change_routes(); break;
      default: rig_->hops().room = op.c;
    }
  }

  void port(const Operation& op) {
    if (op.b % 2 == 0) return rig_->port(op.c % 2).unlimit_tx();
    rig_->port(op.c % 2).limit_tx(op.d % 8, op.e % 2 == 0 ? EAGAIN : EMSGSIZE);
  }

  // Each key leads to one connection, and those that do not have it know.
  static void check_keys(const ConnTable& table, uint32_t id) {
    const Conn& conn = table.at(id);
    if (conn.flags & kConnHidden) return;
    const uint32_t requests = table.find_directed(table.in_key(conn), false);
    require(requests != kNoConn && (requests == id) == ((conn.flags & kConnRequestTaken) == 0));
    if (!has_reply_key(conn.method)) return;
    const uint32_t replies = table.find_directed(table.out_key(conn), true);
    require(replies != kNoConn && (replies == id) == ((conn.flags & kConnReplyTaken) == 0));
  }

  void check() {
    require(rig_->port(0).lent == 0 && rig_->port(1).lent == 0);
    const ConnTable& table = rig_->core().table();
    const std::vector<rig::Held> held = rig::held(table, kDestinations);
    for (uint32_t slot = 0; slot < kDestinations; slot++) {
      require(rig_->load(slot).active == held[slot].active);
      require(rig_->load(slot).inactive == held[slot].inactive);
    }
    int32_t slaves[2] = {};
    for (uint32_t id = 0; id < table.high_water(); id++) {
      if (!table.live(id)) continue;
      check_keys(table, id);
      const uint32_t ref = rig_->core().table().cold(id).template_ref;
      if (ref != 0) slaves[ref - 1]++;
    }
    require(blocks_.templates.get()[0].connections == slaves[0]);
    require(blocks_.templates.get()[1].connections == slaves[1]);
    for (uint32_t port = 0; port < 2; port++) {
      for (const SentFrame& sent : rig_->port(port).take_sent()) {
        require(sent.bytes.size() >= 20 && sent.bytes.size() <= kSuperFrameBytes);
        if (port == 1 && sent.bytes[12] == 0x08) last_sent_ = sent.bytes;
      }
    }
  }

  static constexpr uint64_t kStartUs = 1'000'000'000;
  rig::Blocks blocks_;
  std::unique_ptr<rig::CoreRig> rig_;
  Operation last_{};
  bool adopted_ = false;
  std::vector<uint8_t> last_sent_;
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
