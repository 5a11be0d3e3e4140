// SCTP through the whole packet path: lives by method and family, what begins an association, what
// is left to the host, reuse, templates and checksums (spec 3.6.2, 3.9, 5.3, 5.5.2).
#include "conn/sctp_state.h"
#include "core_world.h"
#include "parse/sctp.h"

namespace uvs {
namespace {

using test::Bytes;
using test::Hex;
using test::IpOf;
using test::kMethods;
using test::Part;
using test::Sent;
using test::Text;
using test::World;
using test::WrongIn;

constexpr uint8_t kData = 0, kInit = 1, kInitAck = 2, kAbort = 6, kShutdown = 7, kShutdownAck = 8,
                  kError = 9, kCookieEcho = 10, kCookieAck = 11, kShutdownComplete = 14;

class SctpWorld : public World {
 public:
  explicit SctpWorld(uint8_t method_, bool six_ = false) : World(method_, six_, kProtoSctp) {}
  Text Chunk(uint8_t chunk, bool reply = false) const {
    Text text = reply ? Reply() : Request();
    text.sctp_chunk = chunk;
    return text;
  }
  std::vector<Sent> In(uint8_t chunk) { return Pass(Chunk(chunk), 0); }
  std::vector<Sent> Back(uint8_t chunk) { return Pass(Chunk(chunk, true), 1); }
};

struct Step {
  bool reply;
  uint8_t chunk;
  uint8_t state;
  uint32_t timeout_sec;
};

void Walk(uint8_t method, std::initializer_list<Step> steps) {
  for (const bool six : {false, true}) {
    SctpWorld world(method, six);
    for (const Step& step : steps) {
      CHECK_EQ((step.reply ? world.Back(step.chunk) : world.In(step.chunk)).size(), 1);
      CHECK_EQ(world.State(), step.state);
      CHECK_EQ(world.rig.load(0).active, step.state == kSctpEstablished ? 1 : 0);
      CHECK_EQ(world.rig.load(0).inactive, step.state == kSctpEstablished ? 0 : 1);
      CHECK_EQ(world.DueTicks(), step.timeout_sec * kTicksPerSec);
      world.rig.pass_ms(700);
    }
    world.rig.pass_ms(uint64_t{world.DueTicks() - 1} * kTickMs);
    CHECK_EQ(world.Size(), 1);
    world.rig.pass_ms(kTickMs);
    CHECK_EQ(world.Size(), 0);
  }
}

TEST(sctp_lives_with_replies) {
  for (const uint8_t method : {kMethodMasquerade, kMethodFullnat}) {
    Walk(method, {{false, kInit, kSctpInit1, 4},
                  {true, kInitAck, kSctpCookieSent, 61},
                  {false, kCookieEcho, kSctpCookieReplied, 61},
                  {true, kCookieAck, kSctpEstablished, 900},
                  {false, kData, kSctpEstablished, 900},
                  {false, kShutdown, kSctpShutdownReceived, 61},
                  {true, kShutdownAck, kSctpShutdownAckSent, 61},
                  {false, kShutdownComplete, kSctpClosed, 61}});
    Walk(method, {{false, kInit, kSctpInit1, 4},
                  {false, kInit, kSctpInit, 61},
                  {true, kAbort, kSctpClosed, 61}});
    Walk(method, {{false, kInit, kSctpInit1, 4}, {true, kAbort, kSctpRejected, 4}});
    Walk(method, {{false, kInit, kSctpInit1, 4}, {true, kError, kSctpClosed, 61}});
  }
}

TEST(sctp_lives_without_replies) {
  for (const uint8_t method : {kMethodDirect, kMethodTunnel}) {
    Walk(method, {{false, kInit, kSctpInit1, 4},
                  {false, kCookieEcho, kSctpEstablished, 900},
                  {false, kData, kSctpEstablished, 900},
                  {false, 200, kSctpEstablished, 900},
                  {false, kShutdown, kSctpShutdownReceived, 61},
                  {false, kShutdownComplete, kSctpClosed, 61}});
    Walk(method, {{false, kInit, kSctpInit1, 4},
                  {false, kCookieEcho, kSctpEstablished, 900},
                  {false, kAbort, kSctpClosed, 61}});
  }
}

TEST(sctp_an_abort_behind_a_cookie_closes) {
  SctpWorld world(kMethodDirect);
  world.In(kInit);
  Text text = world.Chunk(kCookieEcho);
  text.payload = Bytes(5, 1);
  text.sctp_more = Hex("06000004");
  CHECK_EQ(world.Pass(text).size(), 1);
  CHECK_EQ(world.State(), kSctpClosed);
}

TEST(sctp_secure_tcp_changes_nothing) {
  SctpWorld world(kMethodDirect);
  world.config.secure_tcp = 3;
  world.Adopt();
  world.In(kInit);
  CHECK_EQ(world.State(), kSctpInit1);
}

TEST(sctp_begins_with_an_init_or_where_sloppy_with_anything_but_an_abort) {
  for (const uint8_t chunk : {kData, kInit, kInitAck, kAbort, kShutdown, kCookieEcho, kCookieAck}) {
    for (const uint32_t sloppy : {0u, 1u}) {
      SctpWorld world(kMethodMasquerade);
      world.config.sloppy_sctp = sloppy;
      world.Adopt();
      const bool begins = chunk == kInit || (sloppy != 0 && chunk != kAbort);
      CHECK_EQ(world.In(chunk).size(), begins ? 1 : 0);
      CHECK_EQ(world.Size(), begins ? 1 : 0);
      CHECK_EQ(world.rig.reason(Reason::kNotInit), begins ? 0 : 1);
    }
  }
  // The first chunk decides, not the ABORT behind it.
  SctpWorld world(kMethodMasquerade);
  world.config.sloppy_sctp = 1;
  world.Adopt();
  Text text = world.Chunk(kCookieEcho);
  text.sctp_more = Hex("06000004");
  CHECK_EQ(world.Pass(text).size(), 1);
  CHECK_EQ(world.State(), kSctpClosed);
}

TEST(sctp_packets_behind_their_init_belong_to_it) {
  SctpWorld world(kMethodDirect);
  world.Inject(world.Chunk(kInit));
  world.Inject(world.Chunk(kCookieEcho));
  CHECK_EQ(world.rig.run([](const MissRecord&) { return 0; }), 1);
  CHECK_EQ(world.Taken().size(), 2);
  CHECK_EQ(world.State(), kSctpEstablished);
}

// Without first chunk nothing can be said of a packet, also of a known association.
TEST(sctp_without_chunk_is_dropped) {
  SctpWorld world(kMethodDirect);
  world.In(kInit);
  Bytes bytes = Build(world.Chunk(kData)).bytes;
  bytes.resize(14 + 20 + 12);
  test::Set16(bytes, 16, 32);
  test::Set16(bytes, 24, 0);
  test::Set16(bytes, 24, 0xffff - test::SlowSum(Part(bytes, 14, 20)));
  world.rig.port(0).inject(bytes.data(), static_cast<uint32_t>(bytes.size()), VnetHdr{});
  world.rig.run([](const MissRecord&) { return 0; });
  CHECK_EQ(world.Taken().size(), 0);
  CHECK_EQ(world.rig.reason(Reason::kL4Truncated), 1);
}

// What begins nothing goes to the host's stack, where there is one behind the address.
TEST(sctp_strangers_are_left_to_the_host) {
  for (const uint16_t port : {uint16_t{40000}, uint16_t{20}}) {
    for (const bool own : {false, true}) {
      rig::Blocks blocks(64);
      rig::CoreRig rig(blocks, 0, 1, Link::kEthernet, 1);
      SctpWorld world(kMethodMasquerade);
      CHECK(rig.adopt(world.config));
      if (own) {
        rig.hops().set_state(rig::RigHops::kOut6, HopState::kLocal);
        rig.hops().exceptions = {{test::Address(world.ends.service), rig::RigHops::kOut6}};
      }
      Text text = world.Chunk(port == 20 ? kInit : kData);
      text.source_port = port;
      const test::Built built = Build(text);
      rig.port(0).inject(built.bytes.data(), static_cast<uint32_t>(built.bytes.size()), built.vnet);
      CHECK_EQ(rig.run([](const MissRecord&) { return 0; }), 0);
      const auto sent = rig.port(1).take_sent();
      CHECK_EQ(sent.size(), own ? 1 : 0);
      if (own) CHECK_EQ(Part(sent[0].bytes, 0, sent[0].bytes.size()), IpOf(text));
      CHECK_EQ(rig.reason(port == 20 ? Reason::kFtpDataSource : Reason::kNotInit), 1);
    }
  }
}

TEST(sctp_without_destination_is_answered_with_icmp) {
  for (const bool six : {false, true}) {
    SctpWorld world(kMethodMasquerade, six);
    world.verdict = kVerdictNone;
    const std::vector<Sent> sent = world.In(kInit);
    REQUIRE(sent.size() == 1);
    CHECK_EQ(sent[0].ip[six ? 40 : 20], six ? 1 : 3);
    CHECK_EQ(sent[0].ip[six ? 41 : 21], six ? 4 : 3);
    CHECK_EQ(WrongIn(sent[0].ip), "");
  }
}

TEST(sctp_reuse) {
  for (const uint32_t mode : {0u, 1u, 2u, 3u}) {
    for (const bool slave : {false, true}) {
      SctpWorld world(kMethodDirect);
      world.config.conn_reuse_mode = mode;
      world.Adopt();
      world.Inject(world.Chunk(kInit));
      world.rig.run([&](const MissRecord& miss) {
        if (slave) const_cast<MissRecord&>(miss).template_ref = 1;
        return 0;
      });
      world.verdict = 1;
      world.In(kCookieEcho);
      world.In(kInit);  // not closed: the association goes on
      CHECK_EQ(world.Only()->destination_slot, 0);
      world.In(kAbort);
      world.In(kData);  // closed, but this begins nothing
      CHECK_EQ(world.Only()->destination_slot, 0);
      world.In(kInit);
      CHECK_EQ(world.Only()->destination_slot, mode != 0 && !slave ? 1 : 0);
    }
  }
  for (const uint32_t expire : {0u, 1u}) {
    SctpWorld world(kMethodDirect);
    world.In(kInit);
    world.config.destinations[0].weight = 0;
    world.config.expire_nodest_conn = expire;
    world.config.conn_reuse_mode = 0;
    world.Adopt();
    world.verdict = 1;
    world.In(kCookieEcho);
    CHECK_EQ(world.Only()->destination_slot, 0);
    world.In(kInit);
    CHECK_EQ(world.Only()->destination_slot, expire);
  }
}

TEST(sctp_established_assures_the_template) {
  SctpWorld world(kMethodDirect);
  TemplateRecord& row = world.blocks.templates.get()[0];
  row.connections = 1;
  world.Inject(world.Chunk(kInit));
  world.rig.run([](const MissRecord& miss) {
    const_cast<MissRecord&>(miss).template_ref = 1;
    return 0;
  });
  CHECK_EQ(row.state & kTemplateAssured, 0);
  world.In(kCookieEcho);
  CHECK_EQ(row.state & kTemplateAssured, kTemplateAssured);
}

// The sum covers ports but no address: it is made anew when a port changed, and then right whatever
// it was; else a wrong one stays (spec 5.5.2).
TEST(sctp_checksum_follows_a_changed_port) {
  for (const bool six : {false, true}) {
    for (const uint16_t port : {uint16_t{80}, uint16_t{8080}}) {
      SctpWorld world(kMethodMasquerade, six);
      for (rig::DestinationText& each : world.config.destinations) each.port = port;
      world.Adopt();
      Text text = world.Chunk(kInit);
      text.payload = Bytes(77, 3);
      text.sctp_wrong = true;
      std::vector<Sent> sent = world.Pass(text);
      REQUIRE(sent.size() == 1);
      CHECK_EQ(WrongIn(sent[0].ip), port == 80 ? "SCTP checksum" : "");
      Text want = world.Forwarded(text);
      want.sctp_wrong = port == 80;
      CHECK_EQ(sent[0].ip, IpOf(want));
      sent = world.Pass(world.Chunk(kInitAck, true), 1);
      REQUIRE(sent.size() == 1);
      CHECK_EQ(sent[0].ip, IpOf(world.Returned(world.Chunk(kInitAck, true))));
    }
  }
}

// A checksum that the sender left to a network card: no port can be asked for it.
TEST(sctp_partial_checksums_are_finished) {
  for (const uint8_t method : kMethods) {
    for (const bool six : {false, true}) {
      for (const uint16_t port : {uint16_t{80}, uint16_t{8080}}) {
        SctpWorld world(method, six);
        for (rig::DestinationText& each : world.config.destinations) each.port = port;
        world.Adopt();
        Text text = world.Chunk(kInit);
        text.partial = true;
        text.payload = Bytes(50, 9);
        const std::vector<Sent> sent = world.Pass(text);
        REQUIRE(sent.size() == 1);
        CHECK_EQ(WrongIn(sent[0].ip), "");
        CHECK_EQ(sent[0].vnet.flags, 0);
        text.partial = false;
        if (method != kMethodTunnel) CHECK_EQ(sent[0].ip, IpOf(world.Forwarded(text)));
      }
    }
  }
}

}  // namespace
}  // namespace uvs
