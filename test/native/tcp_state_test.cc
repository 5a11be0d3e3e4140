// TCP states: the typical walks of spec 3.6 and properties of all three tables.
#include "conn/tcp_state.h"

#include "check.h"

namespace uvs {
namespace {

constexpr uint8_t kSynAck = kTcpSyn | kTcpAck;
constexpr uint8_t kFinAck = kTcpFin | kTcpAck;

struct Step {
  uint8_t flags;
  TcpRows rows;
  uint8_t expected;
};

void walk(const char* name, std::initializer_list<Step> steps, bool secure = false,
          bool fullnat = false) {
  uint8_t state = kTcpNone;
  int number = 0;
  for (const Step& step : steps) {
    state = tcp_next_state(state, step.flags, step.rows, secure, fullnat);
    CHECK_EQ(state, step.expected);
    if (state != step.expected) std::printf("# in walk %s, step %d\n", name, number);
    number++;
  }
}

constexpr TcpRows kIn = TcpRows::kInput, kOut = TcpRows::kOutput, kOnly = TcpRows::kInputOnly;

TEST(walks_of_the_spec) {
  walk("NAT, client closes", {{kTcpSyn, kIn, kTcpSynRecv},
                              {kSynAck, kOut, kTcpSynRecv},
                              {kTcpAck, kIn, kTcpEstablished},
                              {kFinAck, kIn, kTcpCloseWait},
                              {kTcpAck, kOut, kTcpCloseWait},
                              {kFinAck, kOut, kTcpTimeWait},
                              {kTcpAck, kIn, kTcpTimeWait}});
  walk("NAT, destination closes", {{kTcpSyn, kIn, kTcpSynRecv},
                                   {kSynAck, kOut, kTcpSynRecv},
                                   {kTcpAck, kIn, kTcpEstablished},
                                   {kFinAck, kOut, kTcpFinWait},
                                   {kTcpAck, kIn, kTcpFinWait},
                                   {kFinAck, kIn, kTcpTimeWait},
                                   {kTcpAck, kOut, kTcpTimeWait}});
  walk("DR", {{kTcpSyn, kOnly, kTcpSynRecv},
              {kTcpAck, kOnly, kTcpEstablished},
              {kFinAck, kOnly, kTcpFinWait},
              {kTcpAck, kOnly, kTcpFinWait}});
  walk("DR, reset", {{kTcpSyn, kOnly, kTcpSynRecv},
                     {kTcpAck, kOnly, kTcpEstablished},
                     {kTcpRst, kOnly, kTcpClose}});
  walk("sloppy ACK", {{kTcpAck, kOnly, kTcpEstablished}});
  walk("sloppy FIN", {{kTcpFin, kOnly, kTcpClose}});
}

TEST(secure_table) {
  walk("DR under secure_tcp", {{kTcpSyn, kOnly, kTcpSynack}}, true);
  walk("NAT under secure_tcp waits for the destination's ACK",
       {{kTcpSyn, kIn, kTcpSynRecv},
        {kTcpAck, kIn, kTcpSynRecv},
        {kSynAck, kOut, kTcpSynack},
        {kTcpAck, kIn, kTcpSynack},
        {kTcpAck, kOut, kTcpEstablished}},
       true);
}

TEST(fullnat_ack_without_syn_closes) {
  walk("FULLNAT", {{kTcpAck, kIn, kTcpClose}}, false, true);
  walk("FULLNAT reply", {{kTcpAck, kOut, kTcpEstablished}}, false, true);
}

TEST(no_flags_close_and_every_cell_is_a_state) {
  for (uint8_t state = 0; state < kTcpStates; state++) {
    for (const TcpRows rows : {kIn, kOut, kOnly}) {
      CHECK_EQ(tcp_next_state(state, 0, rows, false, false), kTcpClose);
      for (uint32_t flags = 0; flags < 64; flags++) {
        for (const bool secure : {false, true}) {
          CHECK(tcp_next_state(state, static_cast<uint8_t>(flags), rows, secure, false) <
                kTcpStates);
        }
      }
    }
  }
}

TEST(active_states) {
  for (uint8_t s = 0; s < kTcpStates; s++) {
    const bool active =
        s == kTcpEstablished || s == kTcpSynSent || s == kTcpSynRecv || s == kTcpSynack;
    CHECK_EQ(tcp_is_active(s, false), active);
    CHECK_EQ(tcp_is_active(s, true), s == kTcpEstablished);
  }
}

}  // namespace
}  // namespace uvs
