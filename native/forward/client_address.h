// How a destination behind FULLNAT, which sees the director's local address as its client, is told
// the real one: the bytes of TOA (spec 12.7), UOA (12.10) and the PROXY protocol (12.11). Pure.
#pragma once
#include <cstddef>
#include <cstdint>

#include "limits.h"
#include "parse/packet.h"

namespace uvs {

// The ends of a connection as its client knows them; both of one family.
struct ClientEnds {
  Addr client;
  Addr service;
  Be16 client_port;
  Be16 service_port;
};

constexpr uint32_t kToa4Bytes = 8;
constexpr uint32_t kToa6Bytes = 20;

// Bytes of the address option, TOA's and UOA's alike, for a client of this family.
inline uint32_t address_option_bytes(const Addr& client) {
  return client.is_v4() ? kToa4Bytes : kToa6Bytes;
}

// The TCP option of kind 254: kind, length, port, address. Returns its bytes.
uint32_t write_toa(const ClientEnds& ends, uint8_t* out);

// The same as an IP option of kind 31 (UOA in its `ipo` form).
uint32_t write_uoa_option(const ClientEnds& ends, uint8_t* out);

// UOA's `opp` form: a header between IP and UDP under protocol number 248.
constexpr uint8_t kProtoUoa = 248;
constexpr uint32_t kUoaHeaderBytes = 4;
constexpr uint32_t kUoaMaxBytes = kUoaHeaderBytes + kToa6Bytes;
uint32_t write_uoa_header(const ClientEnds& ends, uint8_t* out);

// The PROXY header of `version` 1 or 2 for TCP, 2 for UDP. `out` has room for kProxyMaxBytes;
// returns the bytes written.
uint32_t write_proxy(const ClientEnds& ends, uint8_t version, uint8_t protocol, uint8_t* out);

// A PROXY header at the start of a payload.
struct FoundProxy {
  uint8_t version = 0;  // 1, 2; 0: there is none, or not all of it
  uint32_t bytes = 0;
};
FoundProxy find_proxy(const uint8_t* payload, uint32_t bytes);

// What a PROXY header says about the client, for one that is passed on in another version. False:
// it names no client of TCP or UDP over IP (LOCAL, UNKNOWN, UNIX), or is malformed.
bool read_proxy(const uint8_t* payload, const FoundProxy& found, ClientEnds* ends);

}  // namespace uvs
