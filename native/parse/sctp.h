// The SCTP common header and the chunk that decides what a packet means (RFC 9260 3).
#pragma once
#include "parse/bytes.h"

namespace uvs {

constexpr uint32_t kSctpBytes = 12;
constexpr uint32_t kSctpChecksumOffset = 8;
constexpr uint32_t kSctpChunkBytes = 4;  // type, flags, length

// Chunk types (RFC 9260 3.2; ECNE, CWR: RFC 9260 appendix A).
constexpr uint8_t kChunkInit = 1;
constexpr uint8_t kChunkAbort = 6;
constexpr uint8_t kChunkCookieEcho = 10;
constexpr uint8_t kChunkCookieAck = 11;

// View of an SCTP packet of which the header and one chunk header are known to be there.
template <typename Byte>
struct Sctp {
  Byte* at;
  explicit Sctp(Byte* header) : at(header) {}

  Be16 source() const { return load16(at); }
  Be16 destination() const { return load16(at + 2); }
  // CRC32c of the whole packet with this field 0; the one little-endian field of a header here.
  uint32_t checksum() const { return load32(at + kSctpChecksumOffset).raw; }
  uint8_t first_chunk() const { return at[kSctpBytes]; }

  void set_checksum(uint32_t sum) { store32(at + kSctpChecksumOffset, Be32{sum}); }

  // The chunk type by which the state moves: the first one's, but an ABORT behind a COOKIE-ECHO or
  // COOKIE-ACK counts before it (ip_vs_proto_sctp.c, set_sctp_state). `bytes`: of the SCTP packet.
  uint8_t deciding_chunk(uint32_t bytes) const {
    const uint8_t first = first_chunk();
    if (first != kChunkCookieEcho && first != kChunkCookieAck) return first;
    const uint32_t length = load16(at + kSctpBytes + 2).host();
    const uint32_t next = kSctpBytes + ((length + 3) & ~3u);
    if (length < kSctpChunkBytes || next + kSctpChunkBytes > bytes) return first;
    return at[next] == kChunkAbort ? kChunkAbort : first;
  }
};

}  // namespace uvs
