// In: a client end or a local port. Does: names the worker it belongs to, like the eBPF program.
// Pure. Next: tests hold both equal; whoever places connections of a peer on workers asks here.
#include "io/steering.h"

#include <bit>

namespace uvs {

uint32_t steer(const Addr& client, Be16 port) {
  uint64_t x = client.high() * kSteerMultiply[0];
  x ^= x >> 32;
  x ^= client.low();
  // The host part of an IPv4 address lies in the highest bits, where a product would lose it.
  x = (x ^ (x >> 32)) * kSteerMultiply[1];
  x ^= x >> 32;
  x = (x + port.raw) * kSteerMultiply[2];
  x ^= x >> 32;
  return static_cast<uint32_t>(x);
}

uint32_t worker_of_client(const Addr& client, Be16 port, uint32_t workers) {
  return steer(client, port) % workers;
}

uint32_t local_port_mask(uint32_t workers) { return std::bit_ceil(workers) - 1; }

uint32_t worker_of_local_port(Be16 port, uint32_t workers) {
  return (port.host() & local_port_mask(workers)) % workers;
}

}  // namespace uvs
