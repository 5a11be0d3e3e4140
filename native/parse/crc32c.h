// CRC32c, the checksum of SCTP (RFC 9260 6.8 and appendix B): over the whole packet with the
// checksum field 0, not over addresses.
#pragma once
#include <cstddef>
#include <cstdint>

namespace uvs {

// CRC32c of `length` bytes.
uint32_t crc32c(const uint8_t* data, size_t length);

// The same on any processor, byte by byte.
uint32_t crc32c_portable(const uint8_t* data, size_t length);

// The checksum of the SCTP packet of `length` bytes at `packet`, as its field wants it; the field
// may hold anything. Precondition: `length` covers the common header.
uint32_t sctp_checksum(const uint8_t* packet, size_t length);

}  // namespace uvs
