// Stop 8 for the control connections of FTP behind masquerading: expects the data connections that
// they announce, and lets the server's announcements name the virtual address (spec 6; kernel:
// net/netfilter/ipvs/ip_vs_ftp.c, ip_vs_app.c).
//
// Theory of operation. Most packets of a control connection pass unread but for their checksum. A
// passive reply is edited in place: what stands in front of the text moves into the headroom or out
// of it, so nothing behind is copied and a super-packet stays one. From then on the sequence
// numbers of the two sides differ (conn/sequence_fix.h). While an answer is awaited the server's
// segments must come in order: one that overtakes the answer would be numbered without the edit.
// What cannot be placed is dropped (`helper_order`), and TCP repeats it.
#pragma once
#include "conn/tracker.h"
#include "forward/app_ftp.h"
#include "report/counters.h"

namespace uvs {

class FtpHelper {
 public:
  // `now_ms` is the core's clock; everything outlives the helper.
  FtpHelper(ConnTable& table, Tracker& tracker, Counters& counters, const uint64_t& now_ms)
      : table_(table), tracker_(tracker), counters_(counters), now_ms_(now_ms) {}

  // For a packet of a connection with kConnHelped or kConnNoClientPort, client -> destination,
  // after its state has moved and before its ends are rewritten. False: it goes no further.
  bool request(Packet& packet, Conn& conn);

  // The same for destination -> client, before its state moves. The packet may become longer.
  bool reply(Packet& packet, Conn& conn);

 private:
  bool checksum_good(const Packet& packet);
  bool out_of_order();
  bool expect_active(const Conn& control, const Addr& address, Be16 port);
  bool expect_passive(const Conn& control, const FtpReply& reply, Be16* port);
  bool create(const Conn& control, NewConn& wanted, uint32_t* id);
  bool announce(const Packet& packet, Conn& conn, ConnExtra& extra);
  uint32_t tick() const { return static_cast<uint32_t>(now_ms_ / kTickMs); }

  ConnTable& table_;
  Tracker& tracker_;
  Counters& counters_;
  const uint64_t& now_ms_;
};

}  // namespace uvs
