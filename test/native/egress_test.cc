// Egress alone: order, full queues, refused frames, parking, and scratch frames that stay whole
// until they are sent.
#include "forward/egress.h"

#include <cerrno>

#include "check.h"
#include "fuzz/core_rig.h"
#include "packet_text.h"

namespace uvs {
namespace {

using test::Bytes;
using test::Text;
using Kind = Egress::Scratch;

struct Rig {
  Rig() : blocks(1), counters(blocks.memory().counters) {
    for (int i = 0; i < 2; i++) ports.push_back(std::make_unique<rig::RigPort>());
    egress = std::make_unique<Egress>(ports, hops, counters);
  }
  rig::RigPort& port(uint32_t i) { return static_cast<rig::RigPort&>(*ports[i]); }
  uint64_t reason(Reason reason) { return counters.reasons[static_cast<uint8_t>(reason)]; }

  rig::Blocks blocks;
  Counters counters;
  rig::RigHops hops;
  std::vector<std::unique_ptr<Port>> ports;
  std::unique_ptr<Egress> egress;
};

// A scratch frame with an IP packet of `bytes` that says its number.
void Fill(Frame& frame, uint32_t number, uint32_t bytes = 60) {
  std::memset(frame.data, 0, bytes);
  frame.data[0] = 0x45;
  std::memcpy(frame.data + 4, &number, 4);
  frame.length = bytes;
}

uint32_t NumberOf(const SentFrame& sent) {
  uint32_t number;
  std::memcpy(&number, sent.bytes.data() + 14 + 4, 4);
  return number;
}

TEST(egress_keeps_order_beyond_its_queue) {
  Rig rig;
  for (uint32_t i = 0; i < 500; i++) {
    Frame* frame = rig.egress->scratch(Kind::kSegments, 1);
    Fill(*frame, i);
    const uint16_t slot = i % 2 == 0 ? rig::RigHops::kOut4 : rig::RigHops::kIn4;
    CHECK(rig.egress->send(*frame, 0, 4, slot, 0));
  }
  rig.egress->flush();
  for (uint32_t port = 0; port < 2; port++) {
    const std::vector<SentFrame> sent = rig.port(port).take_sent();
    REQUIRE(sent.size() == 250);
    for (uint32_t i = 0; i < 250; i++) CHECK_EQ(NumberOf(sent[i]), 2 * i + port);
    const Egress::Sent sums = rig.egress->take_sent(static_cast<uint16_t>(port));
    CHECK_EQ(sums.frames, 250);
    CHECK_EQ(sums.bytes, 250 * 74);
    CHECK_EQ(rig.egress->take_sent(static_cast<uint16_t>(port)).frames, 0);
  }
}

TEST(egress_segments_stay_while_fragments_come_and_go) {
  Rig rig;
  Frame* segments = rig.egress->scratch(Kind::kSegments, kSegmentsPerSuperFrame);
  for (uint32_t i = 0; i < kSegmentsPerSuperFrame; i++) Fill(segments[i], i);
  uint32_t number = 1000;
  for (uint32_t i = 0; i < kSegmentsPerSuperFrame; i++) {
    uint32_t held;
    std::memcpy(&held, segments[i].data + 4, 4);
    CHECK_EQ(held, i);
    Frame* fragments = rig.egress->scratch(Kind::kFragments, 40);
    for (uint32_t k = 0; k < 40; k++) {
      Fill(fragments[k], number++);
      rig.egress->send(fragments[k], 0, 4, rig::RigHops::kIn4, 0);
    }
  }
  rig.egress->flush();
  const std::vector<SentFrame> sent = rig.port(1).take_sent();
  REQUIRE(sent.size() == 40 * kSegmentsPerSuperFrame);
  for (uint32_t i = 0; i < sent.size(); i++) CHECK_EQ(NumberOf(sent[i]), 1000 + i);
}

TEST(egress_refused_frames) {
  Rig rig;
  const auto send = [&](uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
      Frame* frame = rig.egress->scratch(Kind::kAnswers, 1);
      Fill(*frame, i);
      rig.egress->send(*frame, 0, 4, rig::RigHops::kIn4, 0);
    }
    rig.egress->flush();
  };
  rig.port(1).limit_tx(3, EAGAIN);
  send(10);
  CHECK_EQ(rig.reason(Reason::kTxFull), 7);
  rig.port(1).limit_tx(2, EMSGSIZE);
  send(5);
  CHECK_EQ(rig.reason(Reason::kTxError), 3);
  rig.port(1).unlimit_tx();
  send(4);
  CHECK_EQ(rig.port(1).take_sent().size(), 3 + 2 + 4);
  CHECK_EQ(rig.egress->take_sent(1).frames, 9);
}

TEST(egress_says_when_a_hop_is_unreachable) {
  Rig rig;
  rig.hops.set_state(rig::RigHops::kIn4, HopState::kUnreachable);
  Frame* frame = rig.egress->scratch(Kind::kAnswers, 1);
  Fill(*frame, 1);
  CHECK(!rig.egress->send(*frame, 0, 4, rig::RigHops::kIn4, 0));
  rig.egress->flush();
  CHECK_EQ(rig.port(1).take_sent().size(), 0);
}

TEST(egress_parked_frames_leave_when_their_hop_is_ready) {
  Rig rig;
  rig.hops.set_state(rig::RigHops::kIn4, HopState::kUnresolved);
  for (uint32_t i = 0; i < 200; i++) {
    Frame* frame = rig.egress->scratch(Kind::kAnswers, 1);
    Fill(*frame, i);
    CHECK(rig.egress->send(*frame, 0, 4, rig::RigHops::kIn4, 5));
    rig.egress->flush();  // what waits is a copy
  }
  uint32_t given_up = 0;
  const auto serve = [&](uint32_t now_ms) {
    rig.egress->serve_neighbours(now_ms, [&](const Frame& frame) {
      CHECK_EQ(frame.data[0] >> 4, 4);
      given_up++;
    });
  };
  serve(6);
  CHECK_EQ(rig.port(1).take_sent().size(), 0);
  rig.hops.set_state(rig::RigHops::kIn4, HopState::kReady);
  serve(7);
  const std::vector<SentFrame> sent = rig.port(1).take_sent();
  REQUIRE(sent.size() == 200);
  for (uint32_t i = 0; i < 200; i++) CHECK_EQ(NumberOf(sent[i]), i);
  rig.hops.set_state(rig::RigHops::kIn4, HopState::kUnresolved);
  Frame* frame = rig.egress->scratch(Kind::kAnswers, 1);
  Fill(*frame, 1);
  rig.egress->send(*frame, 0, 4, rig::RigHops::kIn4, 10);
  serve(10 + kNeighbourWaitMs - 1);
  CHECK_EQ(rig.reason(Reason::kNeighbourUnresolved), 0);
  serve(10 + kNeighbourWaitMs);
  CHECK_EQ(rig.reason(Reason::kNeighbourUnresolved), 1);
  CHECK_EQ(given_up, 1);
}

TEST(egress_never_answers_a_reset_with_a_reset) {
  Rig rig;
  for (const uint8_t flags : {kTcpRst, uint8_t{kTcpRst | kTcpAck}, kTcpAck, kTcpSyn}) {
    Text text;
    text.tcp_flags = flags;
    const test::OwnFrame own(Build(text));
    Packet packet{};
    packet.frame = own.frame();
    packet.family = 4;
    packet.l4 = 20;
    packet.l3_bytes = 40;
    packet.tcp_flags = flags;
    packet.key = FlowKey{test::Address(text.source), test::Address(text.destination),
                         Be16::of(text.source_port), Be16::of(text.destination_port), kProtoTcp};
    rig.egress->reset(packet, 1);
    rig.egress->flush();
    const std::vector<SentFrame> sent = rig.port(0).take_sent();
    CHECK_EQ(sent.size(), (flags & kTcpRst) != 0 ? 0 : 1);
    for (const SentFrame& each : sent) {
      CHECK_EQ(test::WrongIn(test::Part(each.bytes, 14, each.bytes.size() - 14)), "");
    }
  }
}

}  // namespace
}  // namespace uvs
