// Whole conversations through SYNPROXY over a network that loses, repeats and reorders, between two
// strict endpoints (tcp_peer.h): everything arrives, in order, and neither ever sees a number that
// the other could not have meant. Also the pool in which packets wait. Seeds stand with the tests.
#include "core_world.h"
#include "tcp_peer.h"

namespace uvs {
namespace {

using test::Bytes;
using test::Part;
using test::Random;
using test::Sent;
using test::TcpPeer;
using test::Text;
using test::World;

Bytes Noise(Random& random, size_t bytes) {
  Bytes out(bytes);
  for (uint8_t& byte : out) byte = static_cast<uint8_t>(random.Next());
  return out;
}

// Two endpoints and what lies between them.
class Conversation {
 public:
  Conversation(uint64_t seed, uint8_t method, bool six, uint32_t loss_percent)
      : random_(seed),
        loss_(loss_percent),
        world_(method, six),
        to_server_(Noise(random_, 1 + random_.Below(20000))),
        to_client_(Noise(random_, 1 + random_.Below(20000))),
        client_(static_cast<uint32_t>(random_.Next()), to_server_, 700),
        server_(static_cast<uint32_t>(random_.Next()), to_client_, 900) {
    world_.config.services[0].flags = kServiceSynproxy;
    // Half of them with FULLNAT's own count of the client's numbers, and its option.
    if (seed % 4 >= 2) world_.config.fullnat_flags = kFullnatToa | kFullnatRandomise;
    world_.Adopt();
    client_.Connect();
  }

  // False: not over after many rounds.
  bool Run() {
    for (int round = 0; round < 3000; round++) {
      if (client_.Done() && server_.Done()) return true;
      // The longest wait is that for a SYN that was lost on its way to the real server.
      world_.rig.pass_ms(250);
      Deliver(world_.Taken());
      for (const Text& text : Shuffled(client_.Send())) Pass(FromClient(text), 0);
      for (const Text& text : Shuffled(server_.Send())) {
        if (world_.Only() != nullptr) Pass(FromServer(text), 1);
      }
    }
    return false;
  }

  void Check() {
    CHECK(Run());
    CHECK_EQ(client_.wrong(), "");
    CHECK_EQ(server_.wrong(), "");
    CHECK(server_.Received() == to_server_);
    CHECK(client_.Received() == to_client_);
    CHECK_EQ(world_.Size(), 1);
    CHECK_EQ(world_.State(), kTcpEstablished);
  }

  uint32_t sack_blocks() const { return client_.sack_blocks_seen() + server_.sack_blocks_seen(); }

 private:
  bool Lost() { return random_.Below(100) < loss_; }

  std::vector<Text> Shuffled(std::vector<Text> texts) {
    for (size_t i = texts.size(); loss_ != 0 && i > 1; i--) {
      std::swap(texts[i - 1], texts[random_.Below(i)]);
    }
    return texts;
  }

  Text FromClient(const Text& text) const {
    Text out = world_.Request(text.tcp_flags);
    return With(out, text);
  }
  Text FromServer(const Text& text) const {
    Text out = world_.Reply(text.tcp_flags);
    return With(out, text);
  }
  static Text With(Text out, const Text& text) {
    out.sequence = text.sequence;
    out.acknowledgement = text.acknowledgement;
    out.tcp_options = text.tcp_options;
    out.payload = text.payload;
    return out;
  }

  void Pass(const Text& text, uint32_t port) {
    const uint64_t copies = loss_ != 0 && random_.Below(20) == 0 ? 2 : 1;
    for (uint64_t i = 0; i < copies; i++) {
      if (!Lost()) Deliver(world_.Pass(text, port));
    }
  }

  void Deliver(const std::vector<Sent>& sent) {
    const size_t header = world_.six ? 40 : 20;
    for (const Sent& each : sent) {
      if (Lost()) continue;
      CHECK_EQ(test::WrongIn(each.ip), "");
      const Bytes tcp = Part(each.ip, header, each.ip.size() - header);
      (each.port == 0 ? client_ : server_).Take(tcp);
    }
  }

  Random random_;
  uint32_t loss_;
  World world_;
  Bytes to_server_;
  Bytes to_client_;
  TcpPeer client_;
  TcpPeer server_;
};

TEST(transfer_over_a_good_network) {
  for (const uint8_t method : {kMethodMasquerade, kMethodFullnat}) {
    for (const bool six : {false, true}) Conversation(0x5eed10, method, six, 0).Check();
    Conversation(0x5eed13, method, false, 0).Check();
  }
}

TEST(transfer_over_bad_networks) {
  uint32_t sack_blocks = 0;
  for (uint64_t seed = 0; seed < 60; seed++) {
    Conversation conversation(0x5eed20 + seed, seed % 2 == 0 ? kMethodMasquerade : kMethodFullnat,
                              seed % 3 == 0, static_cast<uint32_t>(1 + seed % 20));
    conversation.Check();
    sack_blocks += conversation.sack_blocks();
  }
  CHECK_GT(sack_blocks, 100);  // they were among what was translated
}

Packet OfBytes(Bytes& bytes) {
  Packet packet{};
  packet.frame.data = bytes.data();
  packet.frame.length = static_cast<uint32_t>(bytes.size());
  return packet;
}

TEST(stored_packets_have_a_maximum) {
  StoredPackets pool;
  pool.allocate();
  Bytes bytes(100, 1);
  const Packet packet = OfBytes(bytes);
  StoredList many{};
  for (uint32_t i = 0; i < kSynproxyStored; i++) CHECK(pool.append(many, packet));
  StoredList other{};
  CHECK(!pool.append(other, packet));
  CHECK_EQ(many.count, kSynproxyStored);
  CHECK_EQ(pool.size(), kSynproxyStored);
  pool.drop(many);
  CHECK_EQ(pool.size(), 0);
  CHECK(pool.append(other, packet));
  pool.drop(other);
}

TEST(stored_super_packets_have_a_maximum_of_their_own) {
  StoredPackets pool;
  pool.allocate();
  Bytes bytes(kFrameSlotBytes - kHeadroom + 1, 1);
  StoredList list{};
  for (uint32_t i = 0; i < kSynproxyStoredLarge; i++) CHECK(pool.append(list, OfBytes(bytes)));
  CHECK(!pool.append(list, OfBytes(bytes)));
  bytes.pop_back();
  CHECK(pool.append(list, OfBytes(bytes)));
  pool.drop(list);
  Bytes huge(kSuperFrameBytes + 1, 1);
  CHECK(!pool.append(list, OfBytes(huge)));
  huge.pop_back();
  CHECK(pool.append(list, OfBytes(huge)));
  pool.drop(list);
  CHECK_EQ(pool.size(), 0);
}

// Against lists of bytes: random connections store, take and give up.
TEST(stored_packets_against_plain_lists) {
  Random random(0x5eed30);
  StoredPackets pool;
  pool.allocate();
  StoredList lists[8]{};
  std::vector<Bytes> plain[8];
  size_t all = 0;
  for (int i = 0; i < 20000; i++) {
    const uint64_t which = random.Below(8);
    const uint64_t what = random.Below(8);
    if (what < 4) {
      Bytes bytes = Noise(random, 1 + random.Below(i % 50 == 0 ? 60000 : 200));
      if (!pool.append(lists[which], OfBytes(bytes))) continue;
      plain[which].push_back(bytes);
      all++;
    } else if (what < 7) {
      const Packet* packet = pool.take_first(lists[which]);
      CHECK_EQ(packet == nullptr, plain[which].empty());
      if (packet == nullptr) continue;
      CHECK(test::BytesOf(packet->frame) == plain[which].front());
      CHECK_EQ(packet->frame.headroom, kHeadroom);
      plain[which].erase(plain[which].begin());
      if (random.Below(2) == 0) pool.free_lent();
      all--;
    } else {
      all -= plain[which].size();
      plain[which].clear();
      pool.drop(lists[which]);
    }
    CHECK_EQ(lists[which].count, plain[which].size());
    if (i % 100 == 0) {
      pool.free_lent();
      CHECK_EQ(pool.size(), all);
    }
  }
}

}  // namespace
}  // namespace uvs
