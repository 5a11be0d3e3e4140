// In: the payload of a datagram that begins a flow. Does: finds the Call-ID, with the very rules
// of the kernel, for two directors must agree on what is one call.
// Next: the miss batch carries it to src/scheduler/persistence.
//
// The rules where they are not RFC 3261's: the first line is never a header; the body is searched
// like the head; any header that is the name with more behind it ends the search; lines may end in
// CR or LF alone, and one that begins behind an empty one is not looked at then.
#include "upcall/sip.h"

#include <cstddef>
#include <string_view>

namespace uvs {
namespace {

using Bytes = std::span<const uint8_t>;

constexpr std::string_view kName = "call-id";
constexpr uint8_t kCompactName = 'i';  // RFC 3261 20.8
constexpr size_t kNone = SIZE_MAX;

bool is_digit(uint8_t c) { return c >= '0' && c <= '9'; }

// The kernel's table of letters is that of ISO 8859-1 (lib/ctype.c).
bool is_letter(uint8_t c) {
  if (c >= 0xc0) return c != 0xd7 && c != 0xf7;
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

bool is_blank(uint8_t c) { return c == ' ' || c == '\t'; }
bool is_line_end(uint8_t c) { return c == '\r' || c == '\n'; }

// RFC 3261 25.1 "word".
bool is_word(uint8_t c) {
  if (is_letter(c) || is_digit(c)) return true;
  return c != 0 && std::string_view("-.!%*_+`'~()<>:\\\"/[]?{}").find(static_cast<char>(c)) !=
                       std::string_view::npos;
}

size_t word_length(Bytes text, size_t at) {
  size_t end = at;
  while (end < text.size() && is_word(text[end])) end++;
  return end - at;
}

// word [ "@" word ] at `at`; 0: there is none.
size_t call_id_length(Bytes text, size_t at) {
  const size_t local = word_length(text, at);
  const size_t sign = at + local;
  if (local == 0 || sign >= text.size() || text[sign] != '@') return local;
  const size_t host = word_length(text, sign + 1);
  return host == 0 ? 0 : local + 1 + host;
}

// Where the line behind the line end at `at` begins; lines end in CR, LF or CR LF (RFC 2543).
size_t next_line(Bytes text, size_t at) {
  const bool pair = text[at] == '\r' && at + 1 < text.size() && text[at + 1] == '\n';
  return at + (pair ? 2 : 1);
}

size_t skip_blanks(Bytes text, size_t at) {
  while (at < text.size() && is_blank(text[at])) at++;
  return at;
}

// First place from `at` on that is neither blank nor folding, of which there may be one; kNone: the
// header ends before it.
size_t skip_space(Bytes text, size_t at) {
  at = skip_blanks(text, at);
  if (at < text.size() && is_line_end(text[at])) {
    at = next_line(text, at);
    if (at >= text.size() || !is_blank(text[at])) return kNone;
    at = skip_blanks(text, at);
  }
  return at < text.size() ? at : kNone;
}

// Bytes of the header's name at `at`, 0: it is another header. The compact name is followed by
// something that is no letter.
size_t name_length(Bytes text, size_t at) {
  const size_t left = text.size() - at;
  const auto lower = [&](size_t i) { return static_cast<uint8_t>(text[at + i] | 0x20); };
  size_t same = 0;
  while (same < kName.size() && same < left &&
         (kName[same] == '-' ? text[at + same] == '-' : lower(same) == kName[same])) {
    same++;
  }
  if (same == kName.size()) return same;
  return left >= 2 && lower(0) == kCompactName && !is_letter(text[at + 1]) ? 1 : 0;
}

// Where the value of the first such header behind the first line end from `from` on begins; kNone:
// there is none.
size_t find_value(Bytes text, size_t from) {
  for (size_t at = from; at < text.size(); at++) {
    if (!is_line_end(text[at])) continue;
    at = next_line(text, at);
    if (at >= text.size()) return kNone;
    const size_t name = name_length(text, at);
    if (name == 0) continue;
    const size_t colon = skip_space(text, at + name);
    if (colon == kNone || text[colon] != ':') return kNone;
    return skip_space(text, colon + 1);
  }
  return kNone;
}

}  // namespace

std::span<const uint8_t> call_id(std::span<const uint8_t> message) {
  size_t from = 0;
  for (;;) {
    const size_t value = find_value(message, from);
    if (value == kNone) return {};
    const size_t length = call_id_length(message, value);
    if (length != 0) {
      const size_t end = value + length;
      if (length > kCallIdBytesMax || end == message.size() || !is_line_end(message[end]))
        return {};
      return message.subspan(value, length);
    }
    from += value;  // the kernel's step: a place in the message, added to one
  }
}

}  // namespace uvs
