// A client and a real server that speak TCP with each other through a FULLNAT core, over a network
// that loses, repeats and reorders: both must receive what the other sent, byte for byte, whatever
// the director changes in between. Every random run states its seed.
#include <algorithm>
#include <map>
#include <optional>

#include "check.h"
#include "core_world.h"
#include "forward/client_address.h"
#include "forward/forward.h"
#include "parse/parse.h"
#include "parse/tcp.h"

namespace uvs {
namespace {

using test::Bytes;
using test::Get16;
using test::Get32;
using test::Random;
using test::Text;

// What one run uses.
struct Setting {
  std::string name;
  std::string client, service, local, destination;
  uint32_t service_flags = 0;
  uint8_t fullnat_flags = kFullnatToa | kFullnatRandomise;
  Bytes own_header = {};  // what the client says first, a PROXY header of its own
  Bytes want_first = {};  // what the server must see in its place
};

// A TCP segment as it arrived: read here, not by the code under test.
struct Seen {
  uint32_t sequence, acknowledgement;
  uint8_t flags;
  Bytes options, payload;
};

Seen Read(const Bytes& ip) {
  const size_t header = ip.at(0) >> 4 == 4 ? (ip.at(0) & 15) * 4u : 40;
  const size_t tcp = (ip.at(header + 12) >> 4) * 4u;
  return {Get32(ip, header + 4), Get32(ip, header + 8), ip.at(header + 13),
          test::Part(ip, header + 20, tcp - 20),
          test::Part(ip, header + tcp, ip.size() - header - tcp)};
}

// One end of a connection: numbers, a stream to send, what was received. It knows nothing of
// timers: the run says when it sends, and what.
class End {
 public:
  End(uint32_t isn, Bytes stream) : isn_(isn), una_(isn), stream_(std::move(stream)) {}

  bool open() const { return open_; }
  bool done() const { return open_ && acknowledged() == stream_.size(); }
  const Bytes& received() const { return received_; }
  // Bytes of its stream that the other end has.
  uint32_t acknowledged() const { return una_ == isn_ ? 0 : una_ - isn_ - 1; }
  uint32_t sent() const { return sent_; }

  // Takes a segment in. What cannot be, is a failure.
  void Take(const Seen& seen) {
    if (seen.flags & kTcpSyn) {
      if (!peer_) peer_ = seen.sequence;
      CHECK_EQ(seen.sequence, *peer_);
    }
    if (!peer_) return;
    if (seen.flags & kTcpAck) Acknowledge(seen);
    const uint32_t start = seen.sequence - *peer_ - 1;
    for (uint32_t i = 0; i < seen.payload.size(); i++) Store(start + i, seen.payload[i]);
    while (!early_.empty() && early_.begin()->first == received_.size()) {
      received_.push_back(early_.begin()->second);
      early_.erase(early_.begin());
    }
  }

  // A segment with `bytes` of the stream from `from` on.
  Text Say(Text text, uint32_t from, uint32_t bytes, uint8_t flags) {
    text.sequence = isn_ + ((flags & kTcpSyn) ? 0 : 1 + from);
    text.acknowledgement = peer_ ? *peer_ + 1 + static_cast<uint32_t>(received_.size()) : 0;
    text.tcp_flags = static_cast<uint8_t>(flags | (peer_ ? kTcpAck : 0));
    text.payload = test::Part(stream_, from, bytes);
    text.tcp_options = (flags & kTcpSyn) ? Bytes{2, 4, 5, 0xb4} : Sack();
    sent_ = std::max(sent_, from + bytes);
    return text;
  }

  // Bytes at the start that the director replaces: what is sent again when they were acknowledged
  // long ago may differ, and no TCP looks at it.
  uint32_t replaced = 0;

  uint32_t left() const { return static_cast<uint32_t>(stream_.size()) - sent_; }

 private:
  void Acknowledge(const Seen& seen) {
    const uint32_t ack = seen.acknowledgement - isn_;
    CHECK_LE(ack, sent_ + 1);  // nothing is acknowledged that was not sent
    if (ack >= 1) open_ = true;
    if (ack > una_ - isn_ && ack <= sent_ + 1) una_ = seen.acknowledgement;
    for (size_t at = 0; at + 1 < seen.options.size();) {
      if (seen.options[at] == 0) break;
      if (seen.options[at] == 1) {
        at++;
        continue;
      }
      if (seen.options[at] == 5) {
        for (size_t edge = at + 2; edge + 4 <= at + seen.options[at + 1]; edge += 4) {
          const uint32_t relative = Get32(seen.options, edge) - isn_;
          CHECK(relative >= 1 && relative <= sent_ + 1);
        }
      }
      at += seen.options[at + 1];
    }
  }

  void Store(uint32_t at, uint8_t byte) {
    if (at > 0x7fffffff) return;
    if (at < received_.size()) {
      if (at >= replaced) CHECK_EQ(received_[at], byte);
      return;
    }
    const auto [place, fresh] = early_.emplace(at, byte);
    if (!fresh) CHECK_EQ(place->second, byte);
  }

  // Up to two blocks of what came early, padded to words.
  Bytes Sack() const {
    Bytes blocks;
    auto at = early_.begin();
    while (at != early_.end() && blocks.size() < 16) {
      uint32_t end = at->first;
      const uint32_t start = end;
      while (at != early_.end() && at->first == end) {
        end++;
        ++at;
      }
      test::Put32(blocks, *peer_ + 1 + start);
      test::Put32(blocks, *peer_ + 1 + end);
    }
    if (blocks.empty()) return {};
    Bytes out = {1, 1, 5, static_cast<uint8_t>(blocks.size() + 2)};
    test::PutAll(out, blocks);
    return out;
  }

  uint32_t isn_;
  uint32_t una_;
  uint32_t sent_ = 0;  // bytes of the stream, ever
  bool open_ = false;
  std::optional<uint32_t> peer_;
  Bytes stream_;
  Bytes received_;
  std::map<uint32_t, uint8_t> early_;
};

Bytes RandomBytes(Random& random, size_t count) {
  Bytes out(count);
  for (uint8_t& byte : out) byte = static_cast<uint8_t>(random.Next());
  return out;
}

class Run {
 public:
  Run(const Setting& setting, uint64_t seed)
      : setting_(setting),
        random_(seed),
        blocks_(8),
        rig_(blocks_),
        // Half of the runs begin just before the number space does anew.
        client_(seed % 2 == 0 ? 0xffffffff - static_cast<uint32_t>(random_.Below(2000))
                              : static_cast<uint32_t>(random_.Next()),
                ClientStream()),
        server_(static_cast<uint32_t>(random_.Next()),
                RandomBytes(random_, 1 + random_.Below(6000))) {
    rig::ServiceText service;
    service.address = test::Address(setting.service);
    service.local = {test::Address(setting.local)};
    service.flags = setting.service_flags;
    rig::DestinationText destination;
    destination.address = test::Address(setting.destination);
    destination.method = kMethodFullnat;
    rig::ConfigText config;
    config.services = {service};
    config.destinations = {destination};
    config.fullnat_flags = setting.fullnat_flags;
    port_ = destination.port;
    if (!setting.own_header.empty()) {
      server_.replaced = static_cast<uint32_t>(setting.want_first.size());
    }
    CHECK(rig_.adopt(config));
  }

  // True when both streams came through whole.
  bool Go() {
    for (uint32_t step = 0; step < 200'000; step++) {
      if (client_.done() && server_.done() && client_.open()) return Judge();
      Step();
    }
    return CHECK(!"both streams come to their end");
  }

  Bytes sent;  // of the client, without a header of its own

 private:
  Bytes ClientStream() {
    Bytes stream = setting_.own_header;
    sent = RandomBytes(random_, 1 + random_.Below(9000));
    test::PutAll(stream, sent);
    return stream;
  }

  bool Judge() {
    Bytes want = setting_.want_first;
    test::PutAll(want, sent);
    bool good = CHECK(server_.received() == want);
    good &= CHECK(client_.received().size() > 0);
    return good;
  }

  void Step() {
    rig_.clock.us += 200;
    switch (random_.Below(6)) {
      case 0: return Speak(client_, true);
      case 1: return Speak(server_, false);
      default: Deliver();
    }
  }

  void Speak(End& end, bool client) {
    if (flying_.size() > 12) return;
    if (client && !client_.open()) return Send(client, end.Say(Ends(client), 0, 0, kTcpSyn));
    if (!client && !server_heard_) return;
    if (!client && !server_.open()) return Send(client, end.Say(Ends(client), 0, 0, kTcpSyn));
    const bool again = end.left() == 0 || random_.Below(3) == 0;
    const uint32_t from = again ? end.acknowledged() : end.sent();
    const uint32_t there = (again ? end.sent() : end.sent() + end.left()) - from;
    // The first segment of a client's own header has all of it.
    const uint32_t least = client && from == 0 && !setting_.own_header.empty() ? 120 : 1;
    const uint32_t most = random_.Below(8) == 0 ? 4000 : 1460 - 36;
    const auto wanted = std::max<uint32_t>(least, static_cast<uint32_t>(random_.Below(most)) + 1);
    const uint32_t bytes = random_.Below(9) == 0 ? 0 : std::min(there, wanted);
    Send(client, end.Say(Ends(client), from, bytes, random_.Below(2) ? kTcpPsh : 0));
  }

  Text Ends(bool client) const {
    Text text;
    text.ethernet = true;
    text.source = client ? setting_.client : setting_.destination;
    text.destination = client ? setting_.service : setting_.local;
    text.source_port = client ? 40000 : port_;
    text.destination_port = client ? 80 : local_port_;
    return text;
  }

  // Through the director, and then into the network on the other side.
  void Send(bool client, Text text) {
    if (text.payload.size() + text.tcp_options.size() > 1460) {
      text.partial = true;
      text.gso_size = 1200;
    }
    const test::Built built = test::Build(text);
    rig_.port(client ? 0 : 1)
        .inject(built.bytes.data(), static_cast<uint32_t>(built.bytes.size()), built.vnet);
    rig_.run([](const MissRecord&) { return 0; });
    for (uint32_t port = 0; port < 2; port++) {
      for (const SentFrame& frame : rig_.port(port).take_sent()) Fly(frame, port == 1);
    }
  }

  void Fly(const SentFrame& frame, bool to_server) {
    test::OwnFrame own(frame.bytes, frame.vnet);
    Packet packet{};
    packet.frame = own.frame();
    parse(packet, Link::kEthernet);
    if (!CHECK(packet.kind == PacketKind::kFlow)) return;
    if (packet.is_gso()) {
      CHECK_LE(packet.l4 - 14 + (packet.transport()[12] >> 4) * 4 + frame.vnet.gso_size, 1500);
    } else {
      CHECK_LE(packet.l3_bytes, 1500u);
    }
    if (packet.checksum_partial()) complete_checksum(packet);
    const Bytes ip = test::IpBytes(packet);
    CHECK_EQ(test::WrongIn(ip), "");
    if (to_server) local_port_ = static_cast<uint16_t>(Get16(ip, packet.l4 - 14));
    if (random_.Below(6) == 0) return;  // lost
    flying_.push_back({to_server, Read(ip)});
    if (random_.Below(12) == 0) flying_.push_back(flying_.back());
  }

  void Deliver() {
    if (flying_.empty()) return;
    const size_t which = random_.Below(2) == 0 ? 0 : random_.Below(flying_.size());
    const auto [to_server, seen] = flying_[which];
    flying_.erase(flying_.begin() + static_cast<std::ptrdiff_t>(which));
    if (to_server) server_heard_ = true;
    (to_server ? server_ : client_).Take(seen);
  }

  const Setting& setting_;
  Random random_;
  rig::Blocks blocks_;
  rig::CoreRig rig_;
  End client_;
  End server_;
  uint16_t port_ = 80;
  uint16_t local_port_ = 0;
  bool server_heard_ = false;
  std::vector<std::pair<bool, Seen>> flying_;
};

Bytes Proxy(const std::string& client, const std::string& service, uint8_t version) {
  Bytes out(kProxyMaxBytes);
  const ClientEnds ends{test::Address(client), test::Address(service), Be16::of(40000),
                        Be16::of(80)};
  out.resize(write_proxy(ends, version, kProtoTcp, out.data()));
  return out;
}

Setting Four(const std::string& name) {
  return {name, "198.18.0.7", "198.18.1.10", "198.19.9.1", "198.19.0.1"};
}
Setting Six(const std::string& name) {
  return {name, "2001:db8::7", "2001:db8::1:10", "2001:db8:1::99", "2001:db8:1::1"};
}
Setting SixToFour(const std::string& name) {
  return {name, "2001:db8::7", "2001:db8::1:10", "198.19.9.1", "198.19.0.1"};
}

std::vector<Setting> Settings() {
  std::vector<Setting> all;
  for (Setting base : {Four("v4"), Six("v6"), SixToFour("nat64")}) {
    const std::string family = base.name;
    Setting plain = base;
    plain.name = family + " plain";
    plain.fullnat_flags = 0;
    all.push_back(plain);
    base.name = family + " toa";
    all.push_back(base);
    for (const uint8_t version : {1, 2}) {
      Setting proxy = base;
      proxy.name = family + " proxy " + std::to_string(version);
      proxy.service_flags = version == 1 ? kServiceProxyV1 : kServiceProxyV2;
      proxy.want_first = Proxy(base.client, base.service, version);
      all.push_back(proxy);
      // A client that lies is not believed, unless its service says so.
      for (const uint8_t own : {1, 2}) {
        Setting lied = proxy;
        lied.name += " own " + std::to_string(own);
        lied.own_header = Proxy("203.0.113.5", "203.0.113.6", own);
        all.push_back(lied);
        lied.name += " believed";
        lied.service_flags |= kServiceProxyInsecure;
        lied.want_first = Proxy("203.0.113.5", "203.0.113.6", version);
        all.push_back(lied);
      }
    }
  }
  return all;
}

TEST(both_streams_survive_whatever_the_director_inserts) {
  const std::vector<Setting> all = Settings();
  for (const Setting& setting : all) {
    for (uint64_t seed = 1; seed <= 12; seed++) {
      Run run(setting, seed);
      if (!run.Go()) {
        CHECK_EQ(setting.name + ", seed " + std::to_string(seed), "a good run");
        return;
      }
    }
  }
}

}  // namespace
}  // namespace uvs
