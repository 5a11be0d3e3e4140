// FULLNAT around a core in memory: its options, its handshake, and both families (NAT64).
#pragma once
#include "core_world.h"
#include "forward/fullnat.h"

namespace uvs::test {

constexpr uint8_t kPshAck = kTcpPsh | kTcpAck;
constexpr uint32_t kClientIsn = 0xfffffff0;  // near the end of the number space
constexpr uint32_t kServerIsn = 5000;

// A FULLNAT world with its options set; numbers pass as they are unless `flags` says otherwise.
class Full : public World {
 public:
  virtual ~Full() = default;
  explicit Full(uint8_t flags, uint32_t service_flags = 0, bool six = false,
                uint8_t protocol = kProtoTcp)
      : World(kMethodFullnat, six, protocol) {
    config.fullnat_flags = flags;
    config.services[0].flags = service_flags;
    Adopt();
  }

  Text Client(uint32_t sequence, uint32_t ack, uint8_t flags, const Bytes& payload = {}) const {
    Text text = Request(flags);
    text.sequence = sequence;
    text.acknowledgement = ack;
    text.payload = payload;
    return text;
  }
  Text Server(uint32_t sequence, uint32_t ack, uint8_t flags, const Bytes& payload = {}) const {
    Text text = Reply(flags);
    text.sequence = sequence;
    text.acknowledgement = ack;
    text.payload = payload;
    return text;
  }

  // The handshake up to the SYN+ACK. Returns the number that the server saw in the SYN.
  virtual uint32_t Shake() {
    const std::vector<Sent> syn = Pass(Client(kClientIsn, 0, kTcpSyn));
    if (!CHECK_EQ(syn.size(), 1u)) return 0;
    const uint32_t isn = Get32(syn[0].ip, six ? 44 : 24);
    Pass(Server(kServerIsn, isn + 1, kSynAck), 1);
    return isn;
  }

  const ConnExtra& Extra() const { return *rig.core().table().extra(*Only()); }
  uint64_t Counted(Reason reason) const { return rig.reason(reason); }
};

// One frame came out, and it is `want`.
inline void Gave(const std::vector<Sent>& sent, const Text& want) {
  if (!CHECK_EQ(sent.size(), 1u)) return;
  CHECK_EQ(sent[0].ip, IpOf(want));
}

// IPv6 before, IPv4 behind (spec 12.1; RFC 7915).
class Nat64 : public Full {
 public:
  explicit Nat64(uint8_t flags, uint32_t service_flags = 0, uint8_t protocol = kProtoTcp)
      : Full(flags, service_flags, true, protocol) {
    config.services[0].local = {Address(ends.local), Address("198.19.9.1")};
    config.destinations[0].address = Address("198.19.0.1");
    Adopt();
  }
  uint32_t Shake() override {
    const uint32_t isn = Get32(Pass(Client(kClientIsn, 0, kTcpSyn)).at(0).ip, 24);
    Pass(Answer(kServerIsn, isn + 1, kSynAck), 1);
    return isn;
  }
  // How a packet of the client leaves. Small ones may be fragmented, and have an id.
  Text Translated(Text text) const {
    text = Forwarded(text);
    text.source = "198.19.9.1";
    text.destination = "198.19.0.1";
    const size_t bytes = IpOf(text).size();
    text.fragment = bytes <= 1260 ? 0 : 0x4000;
    return text;
  }
  Text Answer(uint32_t sequence, uint32_t ack, uint8_t flags, const Bytes& payload = {}) const {
    Text text = Server(sequence, ack, flags, payload);
    text.source = "198.19.0.1";
    text.destination = "198.19.9.1";
    return text;
  }
};

// The same packet, with the id it happens to have.
inline void GaveAnyId(const std::vector<Sent>& sent, Text want) {
  if (!CHECK_EQ(sent.size(), 1u)) return;
  want.id = static_cast<uint16_t>(Get16(sent[0].ip, 4));
  CHECK_EQ(sent[0].ip, IpOf(want));
}

}  // namespace uvs::test
