// In: a descriptor and what it is. Does: the one place that knows which class belongs to which kind
// of port. Next: the core owns the port.
#include "io/factory.h"

#include "io/af_packet.h"
#include "io/tun.h"

namespace uvs {

std::unique_ptr<Port> make_borrowed_port(int fd, const PortDescription& description,
                                         IoError* error) {
  switch (description.kind) {
    case PortKind::kAfPacket:
      return AfPacketPort::attach(fd, description.ifindex, description.ring_frames,
                                  description.rx_index_word, error);
    case PortKind::kTun: return std::make_unique<TunPort>(fd, description.ifindex);
  }
  *error = refusal("ERR_ARGUMENT", "no such kind of port");
  return nullptr;
}

}  // namespace uvs
