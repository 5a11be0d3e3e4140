// Fuzz target: any bytes as a datagram from the kernel. Every message and attribute must be read
// inside it (the sanitizer watches), and what is read must be in range.
#include <cstring>
#include <memory>

#include "io/rtnetlink_parse.h"

namespace {

using namespace uvs;

void require(bool holds) {
  if (!holds) __builtin_trap();
}

void read_all(const RtMessage& message) {
  RouteInfo route;
  LinkInfo link;
  NeighbourInfo neighbour;
  AddressInfo address;
  int error = 0;
  if (parse_link(message, &link)) require(std::memchr(link.name, 0, sizeof link.name) != nullptr);
  if (parse_error(message, &error)) require(error >= 0);
  parse_route(message, &route);
  parse_neighbour(message, &neighbour);
  parse_address(message, &address);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::unique_ptr<uint8_t[]> copy(new uint8_t[size]);
  if (size != 0) std::memcpy(copy.get(), data, size);
  size_t seen = 0;
  RtWalk walk(copy.get(), size);
  while (walk.next()) {
    const RtMessage& message = walk.message();
    require(message.body >= copy.get() && message.body + message.body_bytes <= copy.get() + size);
    require(++seen <= size / 16);  // a message has a header of 16 bytes
    read_all(message);
  }
  return 0;
}
