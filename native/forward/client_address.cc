// In: the ends of a connection. Does: writes them as option, header or line, and reads what a
// client sent itself (PROXY protocol: haproxy doc/proxy-protocol.txt, 2.1 and 2.2).
// Next: fullnat.cc puts them into packets.
#include "forward/client_address.h"

#include <arpa/inet.h>

#include <cstdio>
#include <cstring>
#include <initializer_list>

#include "parse/bytes.h"

namespace uvs {
namespace {

constexpr uint8_t kSignature[] = {0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d,
                                  0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a};
constexpr uint32_t kFixed2 = 16;  // signature, command, family, length
constexpr uint8_t kCommandProxy = 0x21;
constexpr uint8_t kCommandLocal = 0x20;
constexpr uint32_t kAddresses4 = 12;
constexpr uint32_t kAddresses6 = 36;
constexpr char kLine[] = "PROXY ";
constexpr uint32_t kLineBytes = sizeof kLine - 1;
constexpr uint8_t kUoaOptionKind = 31;

// An address without its family: 4 or 16 bytes.
uint32_t put_address(const Addr& address, uint8_t* out) {
  const uint32_t bytes = address.is_v4() ? 4 : 16;
  std::memcpy(out, address.bytes + 16 - bytes, bytes);
  return bytes;
}

uint32_t write_option(uint8_t kind, const ClientEnds& ends, uint8_t* out) {
  const uint32_t bytes = address_option_bytes(ends.client);
  out[0] = kind;
  out[1] = static_cast<uint8_t>(bytes);
  store16(out + 2, ends.client_port);
  put_address(ends.client, out + 4);
  return bytes;
}

uint32_t write_proxy2(const ClientEnds& ends, uint8_t protocol, uint8_t* out) {
  const bool four = ends.client.is_v4();
  std::memcpy(out, kSignature, sizeof kSignature);
  out[12] = kCommandProxy;
  out[13] = static_cast<uint8_t>((four ? 0x10 : 0x20) | (protocol == kProtoTcp ? 1 : 2));
  store16(out + 14, Be16::of(four ? kAddresses4 : kAddresses6));
  uint32_t at = kFixed2;
  at += put_address(ends.client, out + at);
  at += put_address(ends.service, out + at);
  store16(out + at, ends.client_port);
  store16(out + at + 2, ends.service_port);
  return at + 4;
}

uint32_t write_proxy1(const ClientEnds& ends, uint8_t* out) {
  const bool four = ends.client.is_v4();
  char client[INET6_ADDRSTRLEN];
  char service[INET6_ADDRSTRLEN];
  const int family = four ? AF_INET : AF_INET6;
  const uint32_t skip = four ? 12 : 0;
  inet_ntop(family, ends.client.bytes + skip, client, sizeof client);
  inet_ntop(family, ends.service.bytes + skip, service, sizeof service);
  char line[kProxyMaxBytes + 1];
  const int bytes =
      std::snprintf(line, sizeof line, "PROXY TCP%c %s %s %u %u\r\n", four ? '4' : '6', client,
                    service, ends.client_port.host(), ends.service_port.host());
  std::memcpy(out, line, static_cast<size_t>(bytes));
  return static_cast<uint32_t>(bytes);
}

// A word that ends with `end`, copied into `out`; null when there is none that fits. Returns what
// follows.
const char* take_word(const char* at, const char* stop, char end, char* out, size_t room) {
  const auto* found = static_cast<const char*>(memchr(at, end, static_cast<size_t>(stop - at)));
  if (found == nullptr || found == at || static_cast<size_t>(found - at) >= room) return nullptr;
  std::memcpy(out, at, static_cast<size_t>(found - at));
  out[found - at] = 0;
  return found + 1;
}

bool read_number(const char* text, Be16* port) {
  uint32_t value = 0;
  for (const char* at = text; *at != 0; at++) {
    if (*at < '0' || *at > '9') return false;
    value = value * 10 + static_cast<uint32_t>(*at - '0');
    if (value > 0xffff) return false;
  }
  *port = Be16::of(static_cast<uint16_t>(value));
  return true;
}

bool read_address(const char* text, bool four, Addr* out) {
  uint8_t bytes[16];
  if (inet_pton(four ? AF_INET : AF_INET6, text, bytes) != 1) return false;
  *out = four ? Addr::v4(load32(bytes)) : Addr::v6(bytes);
  return out->is_v4() == four;
}

bool read_proxy1(const char* line, const char* stop, ClientEnds* ends) {
  char word[INET6_ADDRSTRLEN];
  const char* at = take_word(line + kLineBytes, stop, ' ', word, sizeof word);
  if (at == nullptr) return false;
  const bool four = std::strcmp(word, "TCP4") == 0;
  if (!four && std::strcmp(word, "TCP6") != 0) return false;
  for (Addr* each : {&ends->client, &ends->service}) {
    at = take_word(at, stop, ' ', word, sizeof word);
    if (at == nullptr || !read_address(word, four, each)) return false;
  }
  at = take_word(at, stop, ' ', word, sizeof word);
  if (at == nullptr || !read_number(word, &ends->client_port)) return false;
  at = take_word(at, stop, '\r', word, sizeof word);
  return at != nullptr && read_number(word, &ends->service_port);
}

bool read_proxy2(const uint8_t* header, uint32_t bytes, ClientEnds* ends) {
  const bool four = header[13] >> 4 == 1;
  const uint32_t each = four ? 4 : 16;
  if (header[12] != kCommandProxy || (!four && header[13] >> 4 != 2)) return false;
  if ((header[13] & 0x0f) != 1 && (header[13] & 0x0f) != 2) return false;
  if (bytes < kFixed2 + 2 * each + 4) return false;
  const uint8_t* at = header + kFixed2;
  ends->client = four ? Addr::v4(load32(at)) : Addr::v6(at);
  ends->service = four ? Addr::v4(load32(at + each)) : Addr::v6(at + each);
  ends->client_port = load16(at + 2 * each);
  ends->service_port = load16(at + 2 * each + 2);
  // An IPv4-mapped address would be written as IPv4.
  return ends->client.is_v4() == four && ends->service.is_v4() == four;
}

}  // namespace

uint32_t write_toa(const ClientEnds& ends, uint8_t* out) {
  constexpr uint8_t kToaOption = 254;
  return write_option(kToaOption, ends, out);
}

uint32_t write_uoa_option(const ClientEnds& ends, uint8_t* out) {
  return write_option(kUoaOptionKind, ends, out);
}

uint32_t write_uoa_header(const ClientEnds& ends, uint8_t* out) {
  const uint32_t bytes =
      kUoaHeaderBytes + write_option(kUoaOptionKind, ends, out + kUoaHeaderBytes);
  out[0] = ends.client.is_v4() ? 0x10 : 0x20;
  out[1] = kProtoUdp;
  store16(out + 2, Be16::of(static_cast<uint16_t>(bytes)));
  return bytes;
}

uint32_t write_proxy(const ClientEnds& ends, uint8_t version, uint8_t protocol, uint8_t* out) {
  return version == 1 ? write_proxy1(ends, out) : write_proxy2(ends, protocol, out);
}

FoundProxy find_proxy(const uint8_t* payload, uint32_t bytes) {
  if (bytes >= kFixed2 && std::memcmp(payload, kSignature, sizeof kSignature) == 0) {
    const uint32_t all = kFixed2 + load16(payload + 14).host();
    if (payload[12] != kCommandProxy && payload[12] != kCommandLocal) return {};
    return all <= bytes ? FoundProxy{2, all} : FoundProxy{};
  }
  if (bytes < kLineBytes || std::memcmp(payload, kLine, kLineBytes) != 0) return {};
  // The longest line the protocol allows, its end included.
  const uint32_t limit = bytes < kProxyMaxBytes ? bytes : kProxyMaxBytes;
  for (uint32_t at = kLineBytes; at + 1 < limit; at++) {
    if (payload[at] == '\r' && payload[at + 1] == '\n') return {1, at + 2};
  }
  return {};
}

bool read_proxy(const uint8_t* payload, const FoundProxy& found, ClientEnds* ends) {
  if (found.version == 2) return read_proxy2(payload, found.bytes, ends);
  const auto* line = reinterpret_cast<const char*>(payload);
  return found.version == 1 && read_proxy1(line, line + found.bytes, ends);
}

}  // namespace uvs
