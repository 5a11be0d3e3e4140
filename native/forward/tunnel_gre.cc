// In: a packet that has room in front. Does: writes the GRE header (RFC 2784 2; spec 5.5.5): no
// key, no sequence number. Next: tunnel.cc puts the outer header in front.
#include "forward/tunnel.h"
#include "parse/checksum.h"
#include "parse/ether.h"

namespace uvs {

void write_gre(uint8_t* at, bool checksum, uint8_t protocol, uint32_t bytes) {
  at[0] = checksum ? kGreChecksumFlag : 0;
  at[1] = 0;
  store16(at + 2, protocol == kProtoIpip ? kEtherIp4 : kEtherIp6);
  if (!checksum) return;
  // Over header and packet (RFC 2784 2.5); 0 stays 0.
  store32(at + kGreBytes, Be32{});
  const uint16_t sum = checksum_of(at, kGreBytes + kGreChecksumBytes + bytes);
  store16(at + kGreBytes, Be16{sum});
}

}  // namespace uvs
