// SYNPROXY through the whole core, step by step (spec 12.9): what is answered, kept, sent, stored,
// given up and translated, with masquerading and FULLNAT, in both families.
#include "core_world.h"

namespace uvs {
namespace {

using test::Bytes;
using test::Get16;
using test::Get32;
using test::Hex;
using test::IpOf;
using test::kSynAck;
using test::Part;
using test::Sent;
using test::Text;
using test::World;
using test::WrongIn;

constexpr uint32_t kClientIsn = 0xfffffff0;  // so that numbers wrap
constexpr uint32_t kServerIsn = 0x70000000;
constexpr uint16_t kWindow = 64240;

// A world with SYNPROXY on its only service, and what the client knows.
class Proxied : public World {
 public:
  explicit Proxied(uint8_t method_ = kMethodMasquerade, bool six_ = false, uint8_t fullnat = 0)
      : World(method_, six_) {
    config.services[0].flags = kServiceSynproxy;
    config.fullnat_flags = fullnat;
    Adopt();
  }

  Text FromClient(uint8_t flags, uint32_t sequence, uint32_t acknowledgement = 0) const {
    Text text = Request(flags);
    text.sequence = sequence;
    text.acknowledgement = acknowledgement;
    return text;
  }
  Text FromServer(uint8_t flags, uint32_t sequence, uint32_t acknowledgement = 0) const {
    Text text = Reply(flags);
    text.sequence = sequence;
    text.acknowledgement = acknowledgement;
    return text;
  }

  // The client's SYN; `cookie` is then what the answer says.
  void Syn(const Bytes& options = Hex("020405b4 0402 0101")) {
    Text text = FromClient(kTcpSyn, kClientIsn);
    text.tcp_options = options;
    const std::vector<Sent> sent = Pass(text);
    CHECK_EQ(sent.size(), 1);
    if (sent.size() != 1) return;
    CHECK_EQ(WrongIn(sent[0].ip), "");
    CHECK_EQ(sent[0].port, 0);
    cookie = Get32(sent[0].ip, Tcp() + 4);
    CHECK_EQ(Get32(sent[0].ip, Tcp() + 8), kClientIsn + 1);
  }

  // An ACK of the handshake with `payload` behind it.
  Text Ack(const Bytes& payload = {}) const {
    Text text = FromClient(kTcpAck, kClientIsn + 1, cookie + 1);
    text.payload = payload;
    return text;
  }

  // SYN, ACK: now the real server has its SYN.
  std::vector<Sent> Ask(const Bytes& payload = {}) {
    Syn();
    return Pass(Ack(payload));
  }
  std::vector<Sent> Accept(const Bytes& options = {}) {
    Text text = FromServer(kSynAck, kServerIsn, kClientIsn + 1);
    text.tcp_options = options;
    return Pass(text, 1);
  }
  void Establish() {
    Ask();
    Accept();
  }

  size_t Tcp() const { return six ? 40 : 20; }
  uint64_t Why(Reason reason) const { return rig.reason(reason); }

  uint32_t cookie = 0;
};

template <typename Test>
void ForEach(Test test) {
  for (const uint8_t method : {kMethodMasquerade, kMethodFullnat}) {
    for (const bool six : {false, true}) {
      Proxied world(method, six);
      test(world);
    }
  }
}

TEST(synproxy_keeps_nothing_of_a_syn) {
  ForEach([](Proxied& world) {
    for (int i = 0; i < 200; i++) {
      world.Syn();
      CHECK_EQ(world.misses, 0);
    }
    CHECK_EQ(world.Size(), 0);
    CHECK_EQ(world.Why(Reason::kSynproxyAnswered), 200);
    CHECK_EQ(world.blocks.total.get()->connections, 0);
    CHECK_EQ(world.rig.hops().finds, 0);  // the way back was not looked up
  });
}

// Only a plain SYN is answered; what begins a connection elsewhere must not begin one past it.
TEST(synproxy_odd_syns_begin_nothing) {
  ForEach([](Proxied& world) {
    for (const uint8_t flags : {uint8_t{kTcpSyn | kTcpFin}, kSynAck}) {
      CHECK_EQ(world.Pass(world.FromClient(flags, kClientIsn, 1)).size(), 0);
    }
    CHECK_EQ(world.Size(), 0);
    CHECK_EQ(world.misses, 0);
    CHECK_EQ(world.Why(Reason::kNotSyn), 2);
  });
}

// A port that merely hits the FTP rule is not answered for (spec 5.3).
TEST(synproxy_answers_for_the_port_of_the_service_alone) {
  Proxied world;
  world.config.services[0].port = 21;
  world.Adopt();
  Text syn = world.FromClient(kTcpSyn, kClientIsn);
  syn.destination_port = 5000;
  world.Pass(syn);
  CHECK_EQ(world.Why(Reason::kSynproxyAnswered), 0);
  syn.destination_port = 21;
  world.Pass(syn);
  CHECK_EQ(world.Why(Reason::kSynproxyAnswered), 1);
}

TEST(synproxy_is_silent_when_no_destination_has_weight) {
  Proxied world;
  world.config.services[0].flags |= kServiceUnweighted;
  world.Adopt();
  CHECK_EQ(world.Pass(world.FromClient(kTcpSyn, 1)).size(), 0);
  CHECK_EQ(world.Why(Reason::kSynproxyNoWeight), 1);
}

TEST(synproxy_asks_the_real_server_when_the_client_is_there) {
  ForEach([](Proxied& world) {
    world.Syn(Hex("020405b4 0402 0101"));
    Text ack = world.Ack();
    ack.tos = 0xff;
    const std::vector<Sent> sent = world.Pass(ack);
    REQUIRE(sent.size() == 1);
    CHECK_EQ(sent[0].port, 1);
    Text syn = world.Forwarded(world.FromClient(kTcpSyn, kClientIsn));
    syn.id = 0;
    syn.window = 5000;
    syn.tos = 0x1e;
    syn.tcp_options = Hex("020405ac 0101 0402");
    CHECK_EQ(sent[0].ip, IpOf(syn));
    CHECK_EQ(world.misses, 1);
    CHECK_EQ(world.Size(), 1);
    CHECK_EQ(world.State(), kTcpSynSent);
    CHECK_EQ(world.DueTicks(), 3 * kTicksPerSec);
    CHECK_EQ(world.rig.load(0).inactive, 1);
    CHECK_EQ(world.rig.load(0).active, 0);
    CHECK_EQ(world.blocks.total.get()->connections, 1);
  });
}

TEST(synproxy_syn_carries_what_was_agreed_on) {
  const struct {
    bool timestamps;
    uint8_t scale;
    const char *in, *out;
  } kRows[] = {
      {false, 0, "", "02040218"},
      {false, 0, "020405b4", "020405ac"},
      {false, 7, "020405b4 01 030309", "020405ac 01 030309"},
      {true, 7, "020405b4 0402 080a 00000007 00000000 01 030309",
       "020405ac 0402 080a 00000009 00000000 01 030309"},
      {true, 0, "020405b4 0101 080a 00000007 00000000", "020405ac 0101 080a 00000009 00000000"},
      {false, 7, "020405b4 0402 01 030301 000000", "020405ac 0101 0402 01 030301"},
  };
  for (const auto& row : kRows) {
    Proxied world;
    world.config.synproxy.timestamps = row.timestamps;
    world.config.synproxy.window_scale = row.scale;
    world.Adopt();
    world.Syn(Hex(row.in));
    Text ack = world.Ack();
    if (row.timestamps) ack.tcp_options = Hex("0101 080a 00000009 00000001");
    const std::vector<Sent> sent = world.Pass(ack);
    REQUIRE(sent.size() == 1);
    CHECK_EQ(Part(sent[0].ip, 40, sent[0].ip.size() - 40), Hex(row.out));
    CHECK_EQ(WrongIn(sent[0].ip), "");
  }
}

TEST(synproxy_answers_what_nobody_asked_for_with_a_reset) {
  ForEach([](Proxied& world) {
    world.Syn();
    for (const uint32_t wrong : {0u, world.cookie, world.cookie + 2, ~world.cookie}) {
      Text ack = world.FromClient(kTcpAck, kClientIsn + 1, wrong);
      const std::vector<Sent> sent = world.Pass(ack);
      REQUIRE(sent.size() == 1);
      CHECK_EQ(WrongIn(sent[0].ip), "");
      CHECK_EQ(sent[0].ip[world.Tcp() + 13], kTcpRst | kTcpAck);
      CHECK_EQ(Get32(sent[0].ip, world.Tcp() + 4), wrong);
    }
    CHECK_EQ(world.Why(Reason::kSynproxyBadCookie), 4);
    CHECK_EQ(world.Size(), 0);
    // Limited in rate like every answer to a stranger.
    for (int i = 0; i < 100; i++) world.Pass(world.FromClient(kTcpAck, 5, 6));
    CHECK_EQ(world.Why(Reason::kIcmpLimited), 54);
    CHECK_EQ(world.Why(Reason::kSynproxyBadCookie), 104);
  });
}

TEST(synproxy_cookie_is_good_for_four_minutes) {
  Proxied world;
  world.rig.pass_ms(60'000 - world.rig.core().now_ms() % 60'000);
  world.Syn();
  world.rig.pass_ms(4 * 60'000 - 1);
  CHECK_EQ(world.Pass(world.Ack())[0].port, 1);
  CHECK_EQ(world.Size(), 1);
  Proxied late;
  late.rig.pass_ms(60'000 - late.rig.core().now_ms() % 60'000);
  late.Syn();
  late.rig.pass_ms(4 * 60'000);
  late.Pass(late.Ack());
  CHECK_EQ(late.Size(), 0);
  CHECK_EQ(late.Why(Reason::kSynproxyBadCookie), 1);
}

TEST(synproxy_defer_waits_for_data) {
  Proxied world;
  world.config.synproxy.defer = 1;
  world.Adopt();
  CHECK_EQ(world.Ask().size(), 0);
  CHECK_EQ(world.Why(Reason::kSynproxyDeferred), 1);
  CHECK_EQ(world.Size(), 0);
  CHECK_EQ(world.Pass(world.Ack(Hex("aa"))).size(), 1);
  CHECK_EQ(world.Size(), 1);
  CHECK_EQ(world.Accept().size(), 1);
}

// The flag may have gone since the SYN was answered, and cookies are still good.
TEST(synproxy_cookie_counts_after_the_flag_has_gone) {
  Proxied world;
  world.Syn();
  world.config.services[0].flags = 0;
  world.Adopt();
  CHECK_EQ(world.Pass(world.Ack())[0].port, 1);
  CHECK_EQ(world.State(), kTcpSynSent);
  CHECK_EQ(world.Accept().size(), 1);
  CHECK_EQ(world.State(), kTcpEstablished);
  // Others are treated as without SYNPROXY.
  Text stray = world.FromClient(kTcpAck, 5, 6);
  stray.source_port = 5;
  world.Pass(stray);
  CHECK_EQ(world.Why(Reason::kNotSyn), 1);
  CHECK_EQ(world.Why(Reason::kSynproxyBadCookie), 0);
}

TEST(synproxy_no_destination_no_connection_no_answer) {
  Proxied world;
  for (const int32_t verdict : {kVerdictNone, kVerdictDrop}) {
    world.verdict = verdict;
    CHECK_EQ(world.Ask().size(), 0);
    CHECK_EQ(world.Size(), 0);
  }
  CHECK_EQ(world.Why(Reason::kNoDestination), 1);
  CHECK_EQ(world.Why(Reason::kSchedulerFailed), 1);
}

TEST(synproxy_other_methods_are_refused) {
  for (const uint8_t method : {kMethodDirect, kMethodTunnel}) {
    Proxied world(method);
    CHECK_EQ(world.Ask().size(), 0);
    CHECK_EQ(world.Size(), 0);
    CHECK_EQ(world.Why(Reason::kMethodUnsupported), 1);
  }
}

TEST(synproxy_stored_packets_go_in_order) {
  ForEach([](Proxied& world) {
    CHECK_EQ(world.Ask().size(), 1);
    std::vector<Text> data;
    for (uint8_t i = 0; i < 4; i++) {
      Text text = world.FromClient(kTcpAck, kClientIsn + 1 + i * 10u, world.cookie + 1);
      text.payload = Bytes(10, i);
      CHECK_EQ(world.Pass(text).size(), 0);
      data.push_back(text);
    }
    // The ACK of the handshake and three more; the fourth has to come again.
    CHECK_EQ(world.Why(Reason::kSynproxyWaiting), 1);
    const uint64_t in = world.blocks.total.get()->in_packets;
    const std::vector<Sent> sent = world.Accept();
    REQUIRE(sent.size() == 4);
    CHECK_EQ(world.blocks.total.get()->in_packets - in, 4);
    for (size_t i = 0; i < 4; i++) {
      Text want = world.Forwarded(i == 0 ? world.Ack() : data[i - 1]);
      want.acknowledgement = kServerIsn + 1;
      CHECK_EQ(sent[i].ip, IpOf(want));
      CHECK_EQ(sent[i].port, 1);
    }
    CHECK_EQ(world.State(), kTcpEstablished);
    CHECK_EQ(world.DueTicks(), (world.method == kMethodFullnat ? 90 : 900) * kTicksPerSec);
    CHECK_EQ(world.rig.load(0).active, 1);
    CHECK_EQ(world.rig.load(0).inactive, 0);
  });
}

TEST(synproxy_what_comes_in_one_burst_is_one_connection) {
  Proxied world;
  world.Syn();
  world.Inject(world.Ack());
  Text data = world.Ack(Hex("aabb"));
  world.Inject(data);
  Text fin = world.FromClient(kTcpFin | kTcpAck, kClientIsn + 3, world.cookie + 1);
  CHECK_EQ(world.Pass(fin).size(), 1);
  CHECK_EQ(world.misses, 1);
  CHECK_EQ(world.Size(), 1);
  CHECK_EQ(world.Accept().size(), 3);
  CHECK_EQ(world.State(), kTcpCloseWait);  // the FIN was among them
}

// With drop_packet an ICMP error joins what its flow began in the same burst, and it is no segment.
TEST(synproxy_icmp_error_in_the_burst_of_its_cookie) {
  for (const bool flag : {false, true}) {
    Proxied world;
    world.Syn();
    world.config.services[0].flags = flag ? kServiceSynproxy : 0;
    world.config.schedule_icmp = 1;
    world.Adopt();
    world.blocks.words.get()->drop_rate = 100;
    Text reply = world.Request();
    std::swap(reply.source, reply.destination);
    std::swap(reply.source_port, reply.destination_port);
    Text error = world.Request();
    error.protocol = kProtoIcmp;
    error.icmp_type = 3;
    error.icmp_code = 3;
    error.payload = Bytes(4, 0);
    test::PutAll(error.payload, IpOf(reply));
    world.Inject(world.Ack());
    CHECK_EQ(world.Pass(error).size(), flag ? 1 : 2);  // the SYN; the error
    CHECK_EQ(world.State(), kTcpSynSent);
    CHECK_EQ(world.Why(Reason::kIcmpUnrelated), flag ? 1 : 0);
    CHECK_EQ(world.Accept().size(), 1);
    CHECK_EQ(world.State(), kTcpEstablished);
  }
}

TEST(synproxy_without_ack_nothing_is_stored) {
  Proxied world;
  world.Ask();
  CHECK_EQ(world.Pass(world.FromClient(kTcpRst, kClientIsn + 1)).size(), 0);
  CHECK_EQ(world.Why(Reason::kSynproxyWaiting), 1);
  CHECK_EQ(world.Pass(world.FromClient(kTcpRst | kTcpAck, kClientIsn + 1, world.cookie + 1)).size(),
           0);
  CHECK_EQ(world.Accept().size(), 2);
  CHECK_EQ(world.State(), kTcpClose);
}

TEST(synproxy_super_packets_are_stored_too) {
  Proxied world;
  world.Syn();
  Text data = world.Ack(Bytes(20000, 7));
  data.partial = true;
  data.gso_size = 1448;
  CHECK_EQ(world.Pass(data).size(), 1);
  const std::vector<Sent> sent = world.Accept();
  REQUIRE(sent.size() == 1);
  CHECK_EQ(sent[0].vnet.gso_size, 1448);
  CHECK_EQ(sent[0].ip.size(), 20040);
}

TEST(synproxy_asks_again_every_three_seconds_and_gives_up) {
  ForEach([](Proxied& world) {
    const std::vector<Sent> first = world.Ask(Hex("aa"));
    REQUIRE(first.size() == 1);
    for (int i = 0; i < 3; i++) {
      world.rig.pass_ms(2500);
      CHECK_EQ(world.Taken().size(), 0);
      world.rig.pass_ms(750);
      const std::vector<Sent> again = world.Taken();
      REQUIRE(again.size() == 1);
      CHECK_EQ(again[0].ip, first[0].ip);
      CHECK_EQ(again[0].port, 1);
    }
    CHECK_EQ(world.Why(Reason::kSynproxyNoAnswer), 0);
    world.rig.pass_ms(3250);
    CHECK_EQ(world.Taken().size(), 0);
    CHECK_EQ(world.Why(Reason::kSynproxyNoAnswer), 1);
    CHECK_EQ(world.Size(), 0);
    CHECK_EQ(world.rig.load(0).inactive, 0);
  });
}

TEST(synproxy_a_late_real_server_is_as_good) {
  Proxied world;
  world.Ask(Hex("aabbcc"));
  world.rig.pass_ms(3250);
  CHECK_EQ(world.Taken().size(), 1);
  CHECK_EQ(world.Accept().size(), 1);
  CHECK_EQ(world.State(), kTcpEstablished);
  // And says so again when the ACK did not reach it.
  const std::vector<Sent> sent = world.Accept();
  REQUIRE(sent.size() == 1);
  CHECK_EQ(sent[0].port, 0);
  CHECK_EQ(Get32(sent[0].ip, 24), world.cookie);
}

TEST(synproxy_refused_by_the_real_server) {
  ForEach([](Proxied& world) {
    world.Ask(Hex("aa"));
    const std::vector<Sent> sent =
        world.Pass(world.FromServer(kTcpRst | kTcpAck, 0, kClientIsn + 1), 1);
    REQUIRE(sent.size() == 1);
    Text want = world.Returned(world.FromServer(kTcpRst | kTcpAck, world.cookie + 1));
    want.acknowledgement = kClientIsn + 1;
    CHECK_EQ(sent[0].ip, IpOf(want));
    CHECK_EQ(world.State(), kTcpClose);
    CHECK_EQ(world.DueTicks(), (world.method == kMethodFullnat ? 3 : 10) * kTicksPerSec);
    CHECK_EQ(world.rig.load(0).inactive, 1);
  });
}

// The real server has a connection of before under these ends and says where it stands.
TEST(synproxy_an_old_connection_of_the_real_server_is_ended) {
  ForEach([](Proxied& world) {
    world.Ask();
    const std::vector<Sent> sent = world.Pass(world.FromServer(kTcpAck, 77, 4242), 1);
    REQUIRE(sent.size() == 1);
    CHECK_EQ(sent[0].port, 1);
    CHECK_EQ(WrongIn(sent[0].ip), "");
    CHECK_EQ(sent[0].ip[world.Tcp() + 13], kTcpRst);
    CHECK_EQ(Get32(sent[0].ip, world.Tcp() + 4), 4242);
    CHECK_EQ(world.State(), kTcpSynSent);
    CHECK_EQ(world.Pass(world.FromServer(kSynAck, 77, 4242), 1).size(), 1);
    CHECK_EQ(world.Pass(world.FromServer(kTcpRst, 77), 1).size(), 0);
    CHECK_EQ(world.Why(Reason::kSynproxyServerOdd), 3);
    CHECK_EQ(world.Accept().size(), 1);
  });
}

TEST(synproxy_translates_both_ways) {
  ForEach([](Proxied& world) {
    world.Establish();
    for (const uint32_t step : {0u, 1u, 0x80000000u, 0xffffffffu}) {
      Text request = world.FromClient(kTcpAck, kClientIsn + 1, world.cookie + 1 + step);
      request.payload = Hex("112233");
      // SACK at an odd offset, two blocks.
      request.tcp_options = Hex("01 0512 00000000 00000000 00000000 00000000 01");
      const uint32_t edges[] = {world.cookie + step, world.cookie + step + 9, 7, 8};
      for (size_t i = 0; i < 4; i++) {
        test::Set16(request.tcp_options, 3 + i * 4, edges[i] >> 16);
        test::Set16(request.tcp_options, 5 + i * 4, edges[i] & 0xffff);
      }
      Text want = world.Forwarded(request);
      want.acknowledgement = kServerIsn + 1 + step;
      for (size_t i = 0; i < 4; i++) {
        const uint32_t edge = edges[i] - world.cookie + kServerIsn;
        test::Set16(want.tcp_options, 3 + i * 4, edge >> 16);
        test::Set16(want.tcp_options, 5 + i * 4, edge & 0xffff);
      }
      std::vector<Sent> sent = world.Pass(request);
      REQUIRE(sent.size() == 1);
      CHECK_EQ(sent[0].ip, IpOf(want));

      Text reply = world.FromServer(kTcpAck, kServerIsn + 1 + step, kClientIsn + 4);
      reply.tcp_options = Hex("01 050a fffffff1fffffff2 01");  // of the client's numbers: stays
      want = world.Returned(reply);
      want.sequence = world.cookie + 1 + step;
      sent = world.Pass(reply, 1);
      REQUIRE(sent.size() == 1);
      CHECK_EQ(sent[0].ip, IpOf(want));
    }
  });
}

TEST(synproxy_partial_checksums_stay_partial) {
  Proxied world;
  world.Establish();
  Text request = world.FromClient(kTcpAck, kClientIsn + 1, world.cookie + 1);
  request.payload = Bytes(5000, 3);
  request.partial = true;
  request.gso_size = 1400;
  Text want = world.Forwarded(request);
  want.acknowledgement = kServerIsn + 1;
  const std::vector<Sent> sent = world.Pass(request);
  REQUIRE(sent.size() == 1);
  CHECK_EQ(sent[0].ip, IpOf(want));
  CHECK_EQ(sent[0].vnet.flags, kVnetNeedsCsum);
}

TEST(synproxy_rescales_windows) {
  const struct {
    uint8_t own, server;
    uint16_t in, out;
  } kRows[] = {{7, 7, 1000, 1000},   {7, 9, 1000, 4000}, {9, 7, 1000, 250},
               {7, 9, 60000, 65535}, {14, 1, 8191, 0},   {1, 14, 1, 8192},
               {5, 0, 65535, 2047},  {5, 15, 3200, 100}};  // a shift above 14 counts as none
  for (const auto& row : kRows) {
    Proxied world;
    world.config.synproxy.window_scale = row.own;
    world.Adopt();
    world.Syn(Hex("020405b4 01 030302"));
    world.Pass(world.Ack());
    Bytes options = Hex("020405b4 01 030300");
    options[7] = row.server;
    world.Accept(options);
    Text reply = world.FromServer(kTcpAck, kServerIsn + 1, kClientIsn + 1);
    reply.window = row.in;
    std::vector<Sent> sent = world.Pass(reply, 1);
    REQUIRE(sent.size() == 1);
    CHECK_EQ(Get16(sent[0].ip, 34), row.out);
    CHECK_EQ(WrongIn(sent[0].ip), "");
    // Its SYN again: such a window is never scaled.
    sent = world.Accept(options);
    REQUIRE(sent.size() == 1);
    CHECK_EQ(Get16(sent[0].ip, 34), kWindow);
  }
}

TEST(synproxy_clients_without_scaling_see_plain_windows) {
  Proxied world;
  world.config.synproxy.window_scale = 9;
  world.Adopt();
  world.Establish();
  const std::vector<Sent> sent =
      world.Pass(world.FromServer(kTcpAck, kServerIsn + 1, kClientIsn + 1), 1);
  CHECK_EQ(Get16(sent[0].ip, 34), kWindow);
}

TEST(synproxy_translates_clocks) {
  Proxied world;
  world.config.synproxy.timestamps = 1;
  world.Adopt();
  world.Syn(Hex("020405b4 0402 080a 00000007 00000000"));
  Text ack = world.Ack();
  ack.tcp_options = Hex("0101 080a 00000008 00001000");
  world.Pass(ack);
  const std::vector<Sent> sent = world.Accept(Hex("020405b4 0402 080a 00500000 00000008"));
  REQUIRE(sent.size() == 1);
  CHECK_EQ(Part(sent[0].ip, 40, 12), Hex("0101 080a 00000008 00500000"));
  Text reply = world.FromServer(kTcpAck, kServerIsn + 1, kClientIsn + 1);
  reply.tcp_options = Hex("0101 080a 00500010 00000008");
  const std::vector<Sent> back = world.Pass(reply, 1);
  REQUIRE(back.size() == 1);
  CHECK_EQ(Part(back[0].ip, 40, 12), Hex("0101 080a 00001010 00000008"));
  CHECK_EQ(WrongIn(back[0].ip), "");
}

TEST(synproxy_opens_a_closed_window) {
  ForEach([](Proxied& world) {
    world.config.synproxy.close_client_window = 1;
    world.Adopt();
    world.Ask();
    const std::vector<Sent> sent = world.Accept(Hex("020405b4 0402 0101"));
    REQUIRE(sent.size() == 2);
    Text want = world.Returned(world.FromServer(kTcpAck, world.cookie + 1, kClientIsn + 1));
    want.tcp_options = Hex("01*8");
    CHECK_EQ(sent[0].ip, IpOf(want));
    CHECK_EQ(sent[0].port, 0);
  });
  Proxied world;
  world.config.synproxy.close_client_window = 1;
  world.Adopt();
  world.Ask();
  world.Pass(world.Ack(Hex("aa")));
  CHECK_EQ(world.Accept().size(), 2);  // it has sent, so its window is open
}

TEST(synproxy_ends_ack_storms) {
  Proxied world;
  world.Establish();
  const Text reply = world.FromServer(kTcpAck, kServerIsn + 1, kClientIsn + 1);
  for (int i = 0; i < 10; i++) CHECK_EQ(world.Pass(reply, 1).size(), 1);
  for (int i = 0; i < 5; i++) CHECK_EQ(world.Pass(reply, 1).size(), 0);
  CHECK_EQ(world.Why(Reason::kSynproxyAckStorm), 5);
  // Something new ends it; so does a second of silence.
  CHECK_EQ(world.Pass(world.FromServer(kTcpAck, kServerIsn + 1, kClientIsn + 2), 1).size(), 1);
  for (int i = 0; i < 9; i++) world.Pass(reply, 1);
  world.rig.pass_ms(1500);
  for (int i = 0; i < 10; i++) CHECK_EQ(world.Pass(reply, 1).size(), 1);
  CHECK_EQ(world.Pass(reply, 1).size(), 0);
  world.config.synproxy.dup_ack = 0;
  world.Adopt();
  for (int i = 0; i < 50; i++) CHECK_EQ(world.Pass(reply, 1).size(), 1);
}

// Which states an ACK with another cookie may begin anew in, by default: CLOSE and TIME_WAIT.
TEST(synproxy_reuses_connections_that_are_over) {
  for (uint8_t state = 0; state < kTcpStates; state++) {
    for (const bool all : {false, true}) {
      Proxied world(kMethodFullnat);
      if (all) world.config.synproxy.reuse_states |= 1 << kTcpFinWait | 1 << kTcpCloseWait;
      world.Adopt();
      world.Establish();
      const uint16_t port = world.LocalPort();
      const uint32_t id = 0;
      world.rig.core().tracker().move(id, state, world.rig.core().tick());
      const uint32_t old = world.cookie;
      world.rig.pass_ms(0);
      Text syn = world.FromClient(kTcpSyn, 0x1234);
      syn.tcp_options = Hex("020405b4");
      std::vector<Sent> sent = world.Pass(syn);
      REQUIRE(sent.size() == 1);
      CHECK_EQ(sent[0].port, 0);  // answered without a look at the connection
      world.cookie = Get32(sent[0].ip, 24);
      CHECK_NE(world.cookie, old);
      CHECK_EQ(world.State(), state);
      sent = world.Pass(world.FromClient(kTcpAck, 0x1235, world.cookie + 1));
      REQUIRE(sent.size() == 1);
      CHECK_EQ(sent[0].port, 1);
      const bool reused = state == kTcpClose || state == kTcpTimeWait ||
                          (all && (state == kTcpFinWait || state == kTcpCloseWait));
      CHECK_EQ(sent[0].ip[33], reused ? kTcpSyn : kTcpAck);
      CHECK_EQ(world.Size(), 1);
      CHECK_EQ(world.LocalPort(), port);
      if (!reused) continue;
      CHECK_EQ(world.State(), kTcpSynSent);
      CHECK_EQ(world.DueTicks(), 3 * kTicksPerSec);
      CHECK_EQ(world.rig.load(0).inactive, 1);
      CHECK_EQ(world.Pass(world.FromServer(kSynAck, 99, 0x1235), 1).size(), 1);
    }
  }
}

TEST(synproxy_reuse_needs_another_good_cookie) {
  Proxied world;
  world.Establish();
  world.rig.core().tracker().move(0, kTcpTimeWait, world.rig.core().tick());
  // Its own cookie, and one that is none: they pass like any packet.
  for (const uint32_t acknowledgement : {world.cookie + 1, 0x5555u}) {
    const std::vector<Sent> sent =
        world.Pass(world.FromClient(kTcpAck, kClientIsn + 1, acknowledgement));
    REQUIRE(sent.size() == 1);
    CHECK_EQ(sent[0].ip[33], kTcpAck);
    CHECK_EQ(world.State(), kTcpTimeWait);
  }
}

// A SYN+ACK that comes late is no reason to wait for one.
TEST(synproxy_state_syn_sent_alone_does_not_wait) {
  Proxied world;
  world.Establish();
  world.rig.core().tracker().move(0, kTcpClose, world.rig.core().tick());
  world.Accept();
  CHECK_EQ(world.State(), kTcpSynSent);
  CHECK_EQ(world.Pass(world.Ack()).size(), 1);
}

TEST(synproxy_what_waits_is_given_up_with_its_connection) {
  Proxied world;
  for (int round = 0; round < 3; round++) {
    world.Ask(Hex("aa"));
    world.config.destinations[0].available = false;
    world.config.expire_nodest_conn = 1;
    world.Adopt();
    world.rig.pass_ms(1000);
    CHECK_EQ(world.Size(), 0);
    world.Taken();
    world.config.destinations[0].available = true;
    world.config.expire_nodest_conn = 0;
    world.Adopt();
  }
  // Gone, but not to be ended: what waited does not reach it.
  world.Ask(Hex("aa"));
  world.config.destinations[0].available = false;
  world.Adopt();
  CHECK_EQ(world.Accept().size(), 0);
  CHECK_EQ(world.Why(Reason::kDestinationGone), 1);
}

// Another worker's cookies, and a connection whose worker died while it waited.
TEST(synproxy_outlives_its_worker) {
  Proxied world;
  world.Ask(Hex("aa"));
  rig::CoreRig next(world.blocks);
  next.clock.us = world.rig.clock.us;
  REQUIRE(next.adopt(world.config));
  const test::Built built = Build(world.FromServer(kSynAck, kServerIsn, kClientIsn + 1));
  next.port(1).inject(built.bytes.data(), static_cast<uint32_t>(built.bytes.size()), built.vnet);
  next.run([](const MissRecord&) { return 0; });
  CHECK_EQ(next.core().table().size(), 1);
  CHECK_EQ(next.core().table().at(0).state, kTcpEstablished);
  CHECK_EQ(next.port(0).take_sent().size() + next.port(1).take_sent().size(), 0);
}

// FULLNAT counts the client's numbers anew and says who it is (spec 12.6, 12.7): all of it also
// with the SYN and the ACK that SYNPROXY makes and keeps.
TEST(synproxy_with_everything_that_fullnat_does) {
  Proxied world(kMethodFullnat, false, kFullnatToa | kFullnatRandomise);
  const std::vector<Sent> asked = world.Ask(Hex("aa"));
  REQUIRE(asked.size() == 1);
  const uint32_t isn = Get32(asked[0].ip, 24);
  CHECK_NE(isn, kClientIsn);
  world.rig.pass_ms(3250);
  const std::vector<Sent> again = world.Taken();
  REQUIRE(again.size() == 1);
  CHECK_EQ(again[0].ip, asked[0].ip);  // no other number for the same SYN
  // An answer to the client's own number is an answer to nothing.
  CHECK_EQ(world.Pass(world.FromServer(kSynAck, kServerIsn, kClientIsn + 1), 1)[0].ip[33], kTcpRst);
  CHECK_EQ(world.Why(Reason::kSynproxyServerOdd), 1);
  std::vector<Sent> sent = world.Pass(world.FromServer(kSynAck, kServerIsn, isn + 1), 1);
  REQUIRE(sent.size() == 1);
  CHECK_EQ(WrongIn(sent[0].ip), "");
  CHECK_EQ(Get32(sent[0].ip, 24), isn + 1);
  CHECK_EQ(Get32(sent[0].ip, 28), kServerIsn + 1);
  REQUIRE(sent[0].ip.size() == 49);
  CHECK_EQ(Part(sent[0].ip, 40, 8), Hex("fe08 9c40 c6120007"));
  CHECK_EQ(sent[0].ip[48], 0xaa);
  const Text reply = world.FromServer(kTcpAck, kServerIsn + 1, isn + 2);
  sent = world.Pass(reply, 1);
  REQUIRE(sent.size() == 1);
  CHECK_EQ(Get32(sent[0].ip, 24), world.cookie + 1);
  CHECK_EQ(Get32(sent[0].ip, 28), kClientIsn + 2);
  CHECK_EQ(WrongIn(sent[0].ip), "");
  // When its time is up both sides are told, each by its own count (spec 12.8).
  world.rig.pass_ms(91'000);
  sent = world.Taken();
  REQUIRE(sent.size() == 2);
  CHECK_EQ(Get32(sent[0].ip, 24), world.cookie + 1);
  CHECK_EQ(Get32(sent[1].ip, 24), isn + 2);
}

TEST(synproxy_refused_with_everything_that_fullnat_does) {
  Proxied world(kMethodFullnat, false, kFullnatToa | kFullnatRandomise);
  const uint32_t isn = Get32(world.Ask()[0].ip, 24);
  const std::vector<Sent> sent = world.Pass(world.FromServer(kTcpRst | kTcpAck, 0, isn + 1), 1);
  REQUIRE(sent.size() == 1);
  CHECK_EQ(Get32(sent[0].ip, 24), world.cookie + 1);
  CHECK_EQ(Get32(sent[0].ip, 28), kClientIsn + 1);
}

// A report about a reply quotes our number; the real server must find its own in it.
TEST(synproxy_icmp_errors_quote_the_number_of_their_reader) {
  ForEach([](Proxied& world) {
    world.Establish();
    const Text reply = world.FromServer(kTcpAck, kServerIsn + 1000, kClientIsn + 1);
    const std::vector<Sent> sent = world.Pass(reply, 1);
    REQUIRE(sent.size() == 1);
    Text error = world.Request();
    error.protocol = world.six ? kProtoIcmp6 : kProtoIcmp;
    error.icmp_type = world.six ? 2 : 3;
    error.icmp_code = world.six ? 0 : 4;
    error.payload = Hex("00000500");
    test::PutAll(error.payload, Part(sent[0].ip, 0, world.Tcp() + 8));
    const std::vector<Sent> forwarded = world.Pass(error);
    REQUIRE(forwarded.size() == 1);
    CHECK_EQ(forwarded[0].port, 1);
    CHECK_EQ(WrongIn(forwarded[0].ip), "");
    CHECK_EQ(Get32(forwarded[0].ip, world.Tcp() + 8 + world.Tcp() + 4), kServerIsn + 1000);
  });
}

}  // namespace
}  // namespace uvs
