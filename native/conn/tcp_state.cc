// In: present state and the flags of a packet. Does: look the next state up in the kernel's tables.
// Next: core.cc stores it, counts active and inactive, and restarts the timer.
#include "conn/tcp_state.h"

#include <cassert>

namespace uvs {
namespace {

// Column names as the tables of spec 3.6 write them.
constexpr uint8_t NO = kTcpNone, ES = kTcpEstablished, SS = kTcpSynSent, SR = kTcpSynRecv,
                  FW = kTcpFinWait, TW = kTcpTimeWait, CL = kTcpClose, CW = kTcpCloseWait,
                  LA = kTcpLastAck, LI = kTcpListen, SA = kTcpSynack;
static_assert(NO == 0 && SA == kTcpStates - 1);

enum Event : uint8_t { kSyn, kFin, kAck, kRst, kEvents };

using Table = uint8_t[3][kEvents][kTcpStates];

// Columns:      NO  ES  SS  SR  FW  TW  CL  CW  LA  LI  SA
constexpr Table kNormal = {
    // INPUT
    {
        /* syn */ {SR, ES, ES, SR, SR, SR, SR, SR, SR, SR, SR},
        /* fin */ {CL, CW, SS, TW, TW, TW, CL, CW, LA, LI, TW},
        /* ack */ {ES, ES, SS, ES, FW, TW, CL, CW, CL, LI, ES},
        /* rst */ {CL, CL, CL, SR, CL, CL, CL, CL, LA, LI, SR},
    },
    // OUTPUT
    {
        /* syn */ {SS, ES, SS, SR, SS, SS, SS, SS, SS, LI, SR},
        /* fin */ {TW, FW, SS, TW, FW, TW, CL, TW, LA, LI, TW},
        /* ack */ {ES, ES, SS, ES, FW, TW, CL, CW, LA, ES, ES},
        /* rst */ {CL, CL, SS, CL, CL, TW, CL, CL, CL, CL, CL},
    },
    // INPUT-ONLY
    {
        /* syn */ {SR, ES, ES, SR, SR, SR, SR, SR, SR, SR, SR},
        /* fin */ {CL, FW, SS, TW, FW, TW, CL, CW, LA, LI, TW},
        /* ack */ {ES, ES, SS, ES, FW, TW, CL, CW, CL, LI, ES},
        /* rst */ {CL, CL, CL, SR, CL, CL, CL, CL, LA, LI, CL},
    },
};

constexpr Table kSecure = {
    // INPUT
    {
        /* syn */ {SR, ES, ES, SR, SR, SR, SR, SR, SR, SR, SA},
        /* fin */ {CL, CW, SS, TW, TW, TW, CL, CW, LA, LI, SA},
        /* ack */ {ES, ES, SS, SR, FW, TW, CL, CW, CL, LI, SA},
        /* rst */ {CL, CL, CL, SR, CL, CL, CL, CL, LA, LI, CL},
    },
    // OUTPUT
    {
        /* syn */ {SS, ES, SS, SA, SS, SS, SS, SS, SS, LI, SA},
        /* fin */ {TW, FW, SS, TW, FW, TW, CL, TW, LA, LI, TW},
        /* ack */ {ES, ES, SS, ES, FW, TW, CL, CW, LA, ES, ES},
        /* rst */ {CL, CL, SS, CL, CL, TW, CL, CL, CL, CL, CL},
    },
    // INPUT-ONLY
    {
        /* syn */ {SA, ES, ES, SR, SA, SA, SA, SA, SA, SA, SA},
        /* fin */ {CL, FW, SS, TW, FW, TW, CL, CW, LA, LI, TW},
        /* ack */ {ES, ES, SS, ES, FW, TW, CL, CW, CL, LI, ES},
        /* rst */ {CL, CL, CL, SR, CL, CL, CL, CL, LA, LI, CL},
    },
};

constexpr const char* kNames[kTcpStates] = {"NONE",     "ESTABLISHED", "SYN_SENT", "SYN_RECV",
                                            "FIN_WAIT", "TIME_WAIT",   "CLOSE",    "CLOSE_WAIT",
                                            "LAST_ACK", "LISTEN",      "SYNACK"};

}  // namespace

uint8_t tcp_next_state(uint8_t state, uint8_t tcp_flags, TcpRows rows, bool secure, bool fullnat) {
  assert(state < kTcpStates);
  Event event;
  if (tcp_flags & kTcpRst) {
    event = kRst;
  } else if (tcp_flags & kTcpSyn) {
    event = kSyn;
  } else if (tcp_flags & kTcpFin) {
    event = kFin;
  } else if (tcp_flags & kTcpAck) {
    event = kAck;
  } else {
    return kTcpClose;
  }
  if (fullnat && event == kAck && state == kTcpNone && rows != TcpRows::kOutput) return kTcpClose;
  const Table& table = secure ? kSecure : kNormal;
  return table[static_cast<uint8_t>(rows)][event][state];
}

const char* tcp_state_name(uint8_t state) { return state < kTcpStates ? kNames[state] : "BUG"; }

}  // namespace uvs
