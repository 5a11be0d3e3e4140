// What an FTP control connection says about the data connection that is to come (RFC 959 4.1.2,
// 4.2; RFC 2428). Pure: the payload of one segment in, what it means out. Commands and replies that
// are split over segments are not recognised, as in the kernel (net/netfilter/ipvs/ip_vs_ftp.c).
#pragma once
#include <cstdint>
#include <span>

#include "addr.h"

namespace uvs {

// The kind of data connection that the client has asked for last.
enum class FtpMode : uint8_t { kActive, kPassive, kExtendedPassive };

// What a client's segment says (spec 6.2).
struct FtpCommand {
  enum class Kind : uint8_t {
    kNone,
    kMode,  // `mode` is asked for
    kPort,  // the client waits at `address` and `port`
  };
  Kind kind = Kind::kNone;
  FtpMode mode = FtpMode::kActive;
  Addr address{};
  Be16 port;
};
FtpCommand ftp_command(std::span<const uint8_t> payload, bool six);

// What a server's segment announces (spec 6.3): where it waits, and which bytes of the payload say
// so, [first, last).
struct FtpReply {
  bool found = false;
  bool has_address = false;  // else the address is that of the server
  Addr address{};
  Be16 port;
  uint32_t first = 0;
  uint32_t last = 0;
};
FtpReply ftp_reply(std::span<const uint8_t> payload, FtpMode mode, bool six);

// The longest text that ftp_text() writes: "255,255,255,255,255,255".
constexpr uint32_t kFtpTextMax = 23;
// How a reply of `mode`, one of the passive ones, says `address` and `port`. Returns the length.
uint32_t ftp_text(FtpMode mode, const Addr& address, Be16 port, uint8_t out[kFtpTextMax]);

}  // namespace uvs
