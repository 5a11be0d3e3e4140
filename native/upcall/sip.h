// What the persistence engine `sip` adds to a template key: the Call-ID of a SIP message.
// Kernel: ip_vs_pe_sip.c, with the header parser of nf_conntrack_sip.c.
#pragma once
#include <cstdint>
#include <span>

namespace uvs {

constexpr uint32_t kCallIdBytesMax = 255;  // IP_VS_PEDATA_MAXLEN

// The value of the Call-ID header in `message`, the payload of a UDP datagram: 1 to
// kCallIdBytesMax bytes inside it, or none. RFC 3261 7.3.1, 20.8, as the kernel reads them.
std::span<const uint8_t> call_id(std::span<const uint8_t> message);

}  // namespace uvs
