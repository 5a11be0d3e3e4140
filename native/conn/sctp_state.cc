// In: present state and the deciding chunk of a packet. Does: look the next state up in the
// kernel's tables. Next: tracker.cc stores it, counts active and inactive, and restarts the timer.
#include "conn/sctp_state.h"

#include <cassert>

namespace uvs {
namespace {

// Column names as the tables of spec 3.6.2 write them.
constexpr uint8_t NO = kSctpNone, I1 = kSctpInit1, IN = kSctpInit, CS = kSctpCookieSent,
                  CR = kSctpCookieReplied, CW = kSctpCookieWait, CO = kSctpCookie,
                  CE = kSctpCookieEchoed, ES = kSctpEstablished, SS = kSctpShutdownSent,
                  SR = kSctpShutdownReceived, SA = kSctpShutdownAckSent, RJ = kSctpRejected,
                  CL = kSctpClosed;
static_assert(NO == 0 && CL == kSctpStates - 1);

enum Event : uint8_t {
  kData,
  kInit,
  kInitAck,
  kCookieEcho,
  kCookieAck,
  kShutdown,
  kShutdownAck,
  kShutdownComplete,
  kError,
  kAbort,
  kEvents
};

// By chunk type (RFC 9260 3.2); types above these count as data.
constexpr Event kEventOf[] = {
    /*  0 DATA */ kData,
    /*  1 INIT */ kInit,
    /*  2 INIT ACK */ kInitAck,
    /*  3 SACK */ kData,
    /*  4 HEARTBEAT */ kData,
    /*  5 HEARTBEAT ACK */ kData,
    /*  6 ABORT */ kAbort,
    /*  7 SHUTDOWN */ kShutdown,
    /*  8 SHUTDOWN ACK */ kShutdownAck,
    /*  9 ERROR */ kError,
    /* 10 COOKIE ECHO */ kCookieEcho,
    /* 11 COOKIE ACK */ kCookieAck,
    /* 12 ECNE */ kData,
    /* 13 CWR */ kData,
    /* 14 SHUTDOWN COMPLETE */ kShutdownComplete,
};

using Table = uint8_t[3][kEvents][kSctpStates];

// Columns:      NO  I1  IN  CS  CR  CW  CO  CE  ES  SS  SR  SA  RJ  CL
constexpr Table kTable = {
    // INPUT
    {
        /* d   */ {ES, I1, IN, CS, CR, CW, CO, CE, ES, SS, SR, SA, RJ, CL},
        /* i   */ {I1, IN, IN, CS, CR, CW, CO, CE, ES, SS, SR, SA, IN, IN},
        /* i_a */ {CW, CW, CW, CS, CR, CO, CO, CE, ES, SS, SR, SA, RJ, CL},
        /* c_e */ {CR, IN, IN, CR, CR, CW, CO, CE, ES, SS, SR, SA, RJ, CL},
        /* c_a */ {ES, I1, IN, CS, CR, CW, CO, ES, ES, SS, SR, SA, RJ, CL},
        /* s   */ {SR, I1, IN, CS, CR, CW, CO, CE, SR, SS, SR, SA, RJ, CL},
        /* s_a */ {CL, IN, IN, CS, CR, CW, CO, CE, ES, CL, SR, CL, RJ, CL},
        /* s_c */ {CL, CL, CL, CS, CR, CW, CO, CE, ES, SS, SR, CL, RJ, CL},
        /* err */ {CL, I1, IN, CS, CR, CW, CO, CL, ES, SS, SR, SA, RJ, CL},
        /* ab  */ {CL, CL, CL, CL, CL, RJ, CL, CL, CL, CL, CL, CL, CL, CL},
    },
    // OUTPUT
    {
        /* d   */ {ES, I1, IN, CS, CR, CW, CO, CE, ES, SS, SR, SA, RJ, CL},
        /* i   */ {CW, CW, CW, CW, CW, CW, CW, CW, ES, CW, CW, CW, CW, CW},
        /* i_a */ {CS, CS, CS, CS, CR, CW, CO, CE, ES, SS, SR, SA, RJ, CL},
        /* c_e */ {CE, CE, CE, CE, CE, CE, CE, CE, ES, SS, SR, SA, RJ, CL},
        /* c_a */ {ES, ES, ES, ES, ES, ES, ES, ES, ES, SS, SR, SA, RJ, CL},
        /* s   */ {SS, SS, SS, SS, SS, SS, SS, SS, SS, SS, SR, SA, RJ, CL},
        /* s_a */ {SA, SA, SA, SA, SA, CW, CO, CE, ES, SA, SA, SA, RJ, CL},
        /* s_c */ {CL, I1, IN, CS, CR, CW, CO, CE, ES, SS, SR, SA, RJ, CL},
        /* err */ {CL, CL, CL, CL, CL, CW, CO, CE, ES, SS, SR, SA, RJ, CL},
        /* ab  */ {CL, RJ, CL, CL, CL, CL, CL, CL, CL, CL, CL, CL, CL, CL},
    },
    // INPUT-ONLY
    {
        /* d   */ {ES, I1, IN, CS, CR, ES, CO, CE, ES, SS, SR, SA, RJ, CL},
        /* i   */ {I1, IN, IN, IN, IN, IN, CO, CE, ES, SS, SR, SA, IN, IN},
        /* i_a */ {CE, CE, CE, CE, CE, CE, CO, CE, ES, SS, SR, SA, RJ, CL},
        /* c_e */ {ES, ES, ES, ES, ES, ES, CO, CE, ES, SS, SR, SA, RJ, CL},
        /* c_a */ {ES, I1, IN, ES, ES, CW, ES, ES, ES, SS, SR, SA, RJ, CL},
        /* s   */ {SR, I1, IN, CS, CR, CW, CO, CE, SR, SS, SR, SA, RJ, CL},
        /* s_a */ {CL, IN, IN, CS, CR, CW, CO, CE, CL, CL, SR, CL, RJ, CL},
        /* s_c */ {CL, CL, CL, CL, CL, CW, CO, CE, ES, SS, CL, CL, RJ, CL},
        /* err */ {CL, I1, IN, CS, CR, CW, CO, CE, ES, SS, SR, SA, RJ, CL},
        /* ab  */ {CL, CL, CL, CL, CL, RJ, CL, CL, CL, CL, CL, CL, CL, CL},
    },
};

// 61: the longest retransmission timeout and a second (RFC 9260 16, RTO.Max).
constexpr uint16_t kTimeoutSec[kSctpStates] = {2,  4,   61, 61, 61, 61, 61,
                                               61, 900, 61, 61, 61, 4,  61};

}  // namespace

uint8_t sctp_next_state(uint8_t state, uint8_t chunk, TcpRows rows) {
  assert(state < kSctpStates);
  const Event event = chunk < sizeof kEventOf ? kEventOf[chunk] : kData;
  return kTable[static_cast<uint8_t>(rows)][event][state];
}

uint32_t sctp_timeout_sec(uint8_t state) {
  assert(state < kSctpStates);
  return kTimeoutSec[state];
}

}  // namespace uvs
