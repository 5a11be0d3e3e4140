// Fuzz target: any bytes as the payload of a datagram to a SIP service. A Call-ID that is found
// lies inside, is followed by a line end, and has a length that a key has room for.
#include <cstring>
#include <memory>

#include "limits.h"
#include "upcall/sip.h"

namespace {

void require(bool holds) {
  if (!holds) __builtin_trap();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size > uvs::kMaxIpBytes) return 0;
  // In memory that ends with it, for the address sanitizer.
  const std::unique_ptr<uint8_t[]> copy(new uint8_t[size]);
  if (size != 0) std::memcpy(copy.get(), data, size);
  const auto id = uvs::call_id({copy.get(), size});
  if (id.empty()) return 0;
  require(id.size() <= uvs::kCallIdBytesMax && id.size() < uvs::kMaxTextSlot);
  require(id.data() > copy.get() && id.data() + id.size() < copy.get() + size);
  const uint8_t end = id.data()[id.size()];
  require(end == '\r' || end == '\n');
  for (const uint8_t c : id) require(c > ' ' && c != 0x7f);
  return 0;
}
