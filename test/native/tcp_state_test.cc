// TCP states: every cell of both tables of spec 3.6, its typical walks and properties.
#include "conn/tcp_state.h"

#include <set>

#include "check.h"
#include "spec_states.h"

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

// Flags that an event stands for, alone and with those that it comes before.
std::vector<uint8_t> flags_of(const std::string& event) {
  const uint8_t own = event == "rst"   ? kTcpRst
                      : event == "syn" ? kTcpSyn
                      : event == "fin" ? kTcpFin
                                       : kTcpAck;
  const uint8_t later = event == "rst"   ? kTcpSyn | kTcpFin | kTcpAck
                        : event == "syn" ? kTcpFin | kTcpAck
                        : event == "fin" ? kTcpAck
                                         : 0;
  std::vector<uint8_t> out;
  for (uint32_t flags = 0; flags < 256; flags++) {
    constexpr uint32_t kFour = kTcpFin | kTcpSyn | kTcpRst | kTcpAck;
    if ((flags & kFour & ~static_cast<uint32_t>(later)) == own) {
      out.push_back(static_cast<uint8_t>(flags));
    }
  }
  return out;
}

void check_table(const char* text, bool secure) {
  std::set<std::string> seen;
  for (const spec::Cell& cell : spec::cells(text)) {
    for (const uint8_t flags : flags_of(cell.event)) {
      const auto rows = static_cast<TcpRows>(cell.rows);
      const uint8_t next = tcp_next_state(cell.state, flags, rows, secure, false);
      CHECK_EQ(next, cell.next);
      if (next != cell.next) {
        std::printf("# rows %u, %s in %u\n", cell.rows, cell.event.c_str(), cell.state);
      }
    }
    seen.insert(std::to_string(cell.rows) + cell.event + "/" + std::to_string(cell.state));
  }
  CHECK_EQ(seen.size(), size_t{3 * 4 * 11});
}

TEST(every_cell_of_the_normal_table) { check_table(spec::kTcpNormal, false); }

TEST(every_cell_of_the_secure_table) { check_table(spec::kTcpSecure, true); }

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
