// Fuzz target: what a client says in front of its stream as if it were a proxy. Whatever it says:
// the parser stays inside the payload, a header is found whole or not at all, the ends it names are
// of one family, and are the same when they are written in either version and read again.
//
// Input: a payload.
#include <cstring>
#include <memory>

#include "forward/client_address.h"

namespace {

using namespace uvs;

void require(bool holds) {
  if (!holds) __builtin_trap();
}

// In memory of its own size, where reading on is seen.
FoundProxy find(const uint8_t* payload, uint32_t bytes, bool* named, ClientEnds* ends) {
  const auto copy = std::make_unique<uint8_t[]>(bytes);
  if (bytes != 0) std::memcpy(copy.get(), payload, bytes);
  const FoundProxy found = find_proxy(copy.get(), bytes);
  require(found.bytes <= bytes && (found.version == 0) == (found.bytes == 0));
  *named = found.version != 0 && read_proxy(copy.get(), found, ends);
  return found;
}

void write_and_read(const ClientEnds& ends, uint8_t version, uint8_t protocol) {
  uint8_t out[kProxyMaxBytes];
  const uint32_t bytes = write_proxy(ends, version, protocol, out);
  require(bytes <= sizeof out);
  ClientEnds again{};
  bool named;
  const FoundProxy found = find(out, bytes, &named, &again);
  require(named && found.version == version && found.bytes == bytes);
  require(again.client == ends.client && again.service == ends.service);
  require(again.client_port == ends.client_port && again.service_port == ends.service_port);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size > kMaxIpBytes) return 0;
  ClientEnds ends{};
  bool named;
  const FoundProxy found = find(data, static_cast<uint32_t>(size), &named, &ends);
  if (found.version == 0) return 0;
  // Nothing behind it matters, and without its last byte it is none.
  ClientEnds alone{};
  bool named_alone;
  require(find(data, found.bytes, &named_alone, &alone).bytes == found.bytes);
  require(named_alone == named);
  require(find(data, found.bytes - 1, &named_alone, &alone).version == 0);
  if (!named) return 0;
  require(ends.client.is_v4() == ends.service.is_v4());
  write_and_read(ends, 1, kProtoTcp);
  write_and_read(ends, 2, kProtoTcp);
  write_and_read(ends, 2, kProtoUdp);
  return 0;
}
