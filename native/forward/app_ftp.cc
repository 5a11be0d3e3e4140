// In: the payload of one segment of an FTP control connection. Does: finds the command or reply
// that announces a data connection. Next: ftp_helper.cc expects that connection.
#include "forward/app_ftp.h"

#include <arpa/inet.h>

#include <cassert>
#include <cstring>
#include <string_view>

namespace uvs {
namespace {

using Bytes = std::span<const uint8_t>;

constexpr size_t kPasvBytes = 6;  // with its line end; the scan looks at no shorter rest

bool is_digit(uint8_t c) { return c >= '0' && c <= '9'; }

// `word` is in capitals.
bool starts_with(Bytes text, std::string_view word) {
  if (text.size() < word.size()) return false;
  for (size_t i = 0; i < word.size(); i++) {
    const uint8_t c = text[i];
    const bool small = c >= 'a' && c <= 'z';
    if ((small ? c - 'a' + 'A' : c) != word[i]) return false;
  }
  return true;
}

// A place in a payload. Reading stops at its end: what stands there may go on in the next segment,
// so a number that is not followed by anything is none.
struct Cursor {
  Bytes text;
  size_t at;

  bool end() const { return at == text.size(); }
  uint8_t here() const { return text[at]; }
  bool take(uint8_t wanted) {
    if (end() || here() != wanted) return false;
    at++;
    return true;
  }
};

// Moves past the first run of `skip`; with `digits` no further than to the first digit before it.
bool skip_run(Cursor* cursor, uint8_t skip, bool digits) {
  bool seen = false;
  for (; !cursor->end(); cursor->at++) {
    const uint8_t c = cursor->here();
    if (!seen && digits && is_digit(c)) return true;
    if (c == skip) {
      seen = true;
    } else if (seen) {
      return true;
    }
  }
  return false;
}

// Decimal digits, perhaps none; false at the payload's end or above `max`.
bool number(Cursor* cursor, uint32_t max, uint32_t* out) {
  uint32_t value = 0;
  for (; !cursor->end() && is_digit(cursor->here()); cursor->at++) {
    value = value * 10 + (cursor->here() - '0');
    if (value > max) return false;
  }
  *out = value;
  return !cursor->end();
}

struct Place {
  Addr address{};
  Be16 port;
  bool has_address = false;
  uint32_t first = 0;
  uint32_t last = 0;
};

// a,b,c,d,p,q: RFC 959's host-port.
bool host_port(Cursor cursor, Place* out) {
  out->first = static_cast<uint32_t>(cursor.at);
  uint32_t parts[6];
  for (uint32_t i = 0; i < 6; i++) {
    if (i != 0 && !cursor.take(',')) return false;
    if (!number(&cursor, 255, &parts[i])) return false;
  }
  out->last = static_cast<uint32_t>(cursor.at);
  out->address = Addr::v4(Be32::of(parts[0] << 24 | parts[1] << 16 | parts[2] << 8 | parts[3]));
  out->has_address = true;
  out->port = Be16::of(static_cast<uint16_t>(parts[4] << 8 | parts[5]));
  return out->port.raw != 0;
}

bool address4(Cursor* cursor, Addr* out) {
  uint32_t all = 0;
  for (uint32_t i = 0; i < 4; i++) {
    if (i != 0 && !cursor->take('.')) return false;
    const size_t before = cursor->at;
    uint32_t part;
    if (!number(cursor, 255, &part) || cursor->at == before) return false;
    all = all << 8 | part;
  }
  *out = Addr::v4(Be32::of(all));
  return true;
}

// An IPv4-mapped address never stands in an IPv6 packet (parse/parse.cc).
bool address6(Cursor* cursor, uint8_t delimiter, Addr* out) {
  char text[INET6_ADDRSTRLEN] = {};
  size_t length = 0;
  for (; !cursor->end() && cursor->here() != delimiter; cursor->at++) {
    if (length == sizeof text - 1) return false;
    text[length++] = static_cast<char>(cursor->here());
  }
  uint8_t bytes[16];
  if (::inet_pton(AF_INET6, text, bytes) != 1) return false;
  *out = Addr::v6(bytes);
  return !out->is_v4();
}

// |protocol|address|port| with any visible character in the bar's place (RFC 2428 2, 3);
// `bare`: protocol and address may both be left out.
bool extended(Cursor cursor, bool six, bool bare, Place* out) {
  out->first = static_cast<uint32_t>(cursor.at);
  if (cursor.end()) return false;
  const uint8_t bar = cursor.here();
  if (bar < 33 || bar > 126) return false;
  cursor.at++;
  if (cursor.take(bar)) {
    if (!bare || !cursor.take(bar)) return false;
  } else {
    if (!cursor.take(six ? '2' : '1') || !cursor.take(bar)) return false;
    if (!(six ? address6(&cursor, bar, &out->address) : address4(&cursor, &out->address)) ||
        !cursor.take(bar)) {
      return false;
    }
    out->has_address = true;
  }
  uint32_t port;
  if (!number(&cursor, 65535, &port) || port == 0 || !cursor.take(bar)) return false;
  out->port = Be16::of(static_cast<uint16_t>(port));
  out->last = static_cast<uint32_t>(cursor.at);
  return true;
}

bool after(Bytes payload, std::string_view word, uint8_t skip, bool digits, Cursor* out) {
  if (!starts_with(payload, word)) return false;
  *out = Cursor{payload, word.size()};
  return skip_run(out, skip, digits);
}

// The command that asks for a passive connection, wherever in the payload. True: there is one,
// even if it is a kind of EPSV that asks for nothing (RFC 2428 3: "EPSV ALL").
bool find_mode(Bytes payload, bool six, FtpCommand* out) {
  for (; payload.size() >= kPasvBytes; payload = payload.subspan(1)) {
    if (!six && starts_with(payload, "PASV\r\n")) {
      *out = FtpCommand{FtpCommand::Kind::kMode, FtpMode::kPassive, {}, {}};
      return true;
    }
    if (!starts_with(payload, "EPSV") || (payload[4] != ' ' && payload[4] != '\r')) continue;
    const bool of_family = payload[4] == '\r' || (payload.size() > 6 && payload[6] == '\r' &&
                                                  payload[5] == (six ? '2' : '1'));
    if (of_family) *out = FtpCommand{FtpCommand::Kind::kMode, FtpMode::kExtendedPassive, {}, {}};
    return true;
  }
  return false;
}

// Writes a decimal number; returns where it ends.
uint8_t* put(uint8_t* to, uint32_t value) {
  if (value >= 10) to = put(to, value / 10);
  *to++ = static_cast<uint8_t>('0' + value % 10);
  return to;
}

}  // namespace

FtpCommand ftp_command(Bytes payload, bool six) {
  FtpCommand command;
  if (find_mode(payload, six, &command)) return command;
  Cursor cursor{};
  Place place;
  const bool found =
      (!six && after(payload, "PORT", ' ', true, &cursor) && host_port(cursor, &place)) ||
      (after(payload, "EPRT", ' ', false, &cursor) && extended(cursor, six, false, &place));
  if (found) {
    command = FtpCommand{FtpCommand::Kind::kPort, FtpMode::kActive, place.address, place.port};
  }
  return command;
}

FtpReply ftp_reply(Bytes payload, FtpMode mode, bool six) {
  Cursor cursor{};
  Place place;
  bool found = false;
  if (mode == FtpMode::kPassive) {
    found = !six && after(payload, "227 ", '(', true, &cursor) && host_port(cursor, &place);
  } else if (mode == FtpMode::kExtendedPassive) {
    found = after(payload, "229 ", '(', false, &cursor) && extended(cursor, six, true, &place);
  }
  if (!found) return {};
  return FtpReply{true, place.has_address, place.address, place.port, place.first, place.last};
}

uint32_t ftp_text(FtpMode mode, const Addr& address, Be16 port, uint8_t out[kFtpTextMax]) {
  assert(mode != FtpMode::kActive);
  uint8_t* at = out;
  if (mode == FtpMode::kExtendedPassive) {
    std::memset(at, '|', 3);
    at = put(at + 3, port.host());
    *at++ = '|';
  } else {
    for (const uint8_t* byte = address.bytes + 12; byte < address.bytes + 16; byte++) {
      at = put(at, *byte);
      *at++ = ',';
    }
    at = put(at, port.host() >> 8);
    *at++ = ',';
    at = put(at, port.host() & 0xff);
  }
  return static_cast<uint32_t>(at - out);
}

}  // namespace uvs
