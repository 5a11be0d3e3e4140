// One service, a client and destinations around a core in memory: what the tests of the whole
// packet path say their packets in. Forwarded packets are compared with packets built from their
// description, so that nothing of the code under test is used to judge it.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "check.h"
#include "conn/tcp_state.h"
#include "fuzz/core_rig.h"
#include "packet_text.h"

namespace uvs::test {

constexpr uint8_t kSynAck = kTcpSyn | kTcpAck;
constexpr uint8_t kFinAck = kTcpFin | kTcpAck;

// A frame that the core sent: its port, its link header and its IP packet.
struct Sent {
  uint32_t port;
  Bytes link;
  Bytes ip;
  VnetHdr vnet;
};

// Names of the ends, by family.
struct Ends4or6 {
  std::string client, service, destination, second, local, hop;
};
inline Ends4or6 EndsOf(bool six) {
  if (six) {
    return {"2001:db8::7",   "2001:db8::1:10", "2001:db8:1::1",
            "2001:db8:1::2", "2001:db8:1::99", "2001:db8:ffff::2"};
  }
  return {"198.18.0.7", "198.18.1.10", "198.19.0.1", "198.19.0.2", "198.19.9.1", "198.18.255.2"};
}

class World {
 public:
  explicit World(uint8_t method_, bool six_ = false, uint8_t protocol_ = kProtoTcp,
                 uint32_t capacity = 64)
      : blocks(capacity),
        rig(blocks),
        method(method_),
        six(six_),
        protocol(protocol_),
        ends(EndsOf(six_)) {
    rig::ServiceText service;
    service.address = Address(ends.service);
    service.protocol = protocol;
    service.local = {Address(ends.local)};
    config.services = {service};
    for (const std::string& each : {ends.destination, ends.second}) {
      rig::DestinationText destination;
      destination.address = Address(each);
      destination.method = method;
      config.destinations.push_back(destination);
    }
    Adopt();
  }

  void Adopt() { CHECK(rig.adopt(config)); }

  // A packet of the client to the service.
  Text Request(uint8_t flags = kTcpAck) const {
    Text text;
    text.source = ends.client;
    text.destination = ends.service;
    text.protocol = protocol;
    text.tcp_flags = flags;
    text.ethernet = true;
    return text;
  }

  // The answer of destination `slot` to the only connection.
  Text Reply(uint8_t flags = kTcpAck, uint32_t slot = 0) const {
    Text text = Request(flags);
    text.source = slot == 0 ? ends.destination : ends.second;
    text.source_port = config.destinations[slot].port;
    text.destination = method == kMethodFullnat ? ends.local : ends.client;
    text.destination_port = method == kMethodFullnat ? LocalPort() : Request().source_port;
    return text;
  }

  // How a request leaves towards destination `slot`.
  Text Forwarded(Text text, uint32_t slot = 0) const {
    text.ttl--;
    if (method == kMethodMasquerade || method == kMethodFullnat) {
      text.destination = slot == 0 ? ends.destination : ends.second;
      text.destination_port = config.destinations[slot].port;
    }
    if (method == kMethodFullnat) {
      text.source = ends.local;
      text.source_port = LocalPort();
    }
    return text;
  }

  // How a reply leaves towards the client.
  Text Returned(Text text) const {
    text.ttl--;
    text.source = ends.service;
    text.source_port = config.services[0].port;
    text.destination = ends.client;
    text.destination_port = Request().source_port;
    return text;
  }

  void Inject(const Text& text, uint32_t port = 0) {
    const Built built = Build(text);
    rig.port(port).inject(built.bytes.data(), static_cast<uint32_t>(built.bytes.size()),
                          built.vnet);
  }

  // Everything sent since the last call, port by port.
  std::vector<Sent> Taken() {
    std::vector<Sent> out;
    for (uint32_t port = 0; port < 2; port++) {
      for (const SentFrame& frame : rig.port(port).take_sent()) {
        out.push_back({port, Part(frame.bytes, 0, 14),
                       Part(frame.bytes, 14, frame.bytes.size() - 14), frame.vnet});
      }
    }
    CHECK_EQ(rig.port(0).lent + rig.port(1).lent, 0);
    return out;
  }

  // Sends one packet through; misses get verdict `verdict`.
  std::vector<Sent> Pass(const Text& text, uint32_t port = 0) {
    Inject(text, port);
    misses = rig.run([this](const MissRecord&) { return verdict; });
    return Taken();
  }
  std::vector<Sent> In(uint8_t flags) { return Pass(Request(flags), 0); }
  std::vector<Sent> Back(uint8_t flags) { return Pass(Reply(flags), 1); }

  // Opens the connection; `established`: with the client's ACK (and the reply where it passes).
  void Open(bool established = true) {
    In(kTcpSyn);
    if (!established || protocol != kProtoTcp) return;
    if (has_reply_key(method)) Back(kSynAck);
    In(kTcpAck);
  }

  // The only connection; null when there is not exactly one.
  const Conn* Only() const {
    const ConnTable& table = rig.core().table();
    const Conn* found = nullptr;
    if (table.size() != 1) return nullptr;
    for (uint32_t id = 0; id < table.high_water(); id++) {
      if (table.live(id)) found = &table.at(id);
    }
    return found;
  }
  uint16_t LocalPort() const { return Only() == nullptr ? 0 : Only()->local_port.host(); }
  uint8_t State() const { return Only() == nullptr ? 0xff : Only()->state; }
  uint32_t Size() const { return rig.core().table().size(); }
  // Ticks until the only connection is due.
  uint32_t DueTicks() const { return Only() == nullptr ? 0 : Only()->expires - rig.core().tick(); }

  rig::Blocks blocks;
  mutable rig::CoreRig rig;
  uint8_t method;
  bool six;
  uint8_t protocol;
  Ends4or6 ends;
  rig::ConfigText config;
  int32_t verdict = 0;
  uint32_t misses = 0;
};

// The IP packet that a description stands for.
inline Bytes IpOf(const Text& text) {
  Text bare = text;
  bare.ethernet = false;
  return Build(bare).bytes;
}

constexpr uint8_t kMethods[] = {kMethodMasquerade, kMethodDirect, kMethodTunnel, kMethodFullnat};

}  // namespace uvs::test
