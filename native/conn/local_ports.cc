// In: a FULLNAT connection about to be created. Does: choose its local port.
// Next: conn_table.cc keeps it as part of the reply key.
#include "conn/local_ports.h"

namespace uvs {

LocalPorts::LocalPorts(uint32_t worker, uint32_t workers, uint32_t start)
    : worker_(worker),
      step_(1),
      position_(start),
      random_(start),
      turns_(std::make_unique<uint32_t[]>(kMaxServices)) {
  while (step_ < workers) step_ <<= 1;
}

void LocalPorts::set_range(uint16_t first, uint16_t last) {
  first_ = first + ((worker_ - first) & (step_ - 1));
  count_ = first_ > last ? 0 : (last - first_) / step_ + 1;
}

bool LocalPorts::find(const ConnTable& table, const Addr& local, const Addr& destination,
                      Be16 destination_port, uint8_t protocol, uint32_t* budget, Be16* port) {
  for (uint32_t i = 0; i<count_&& * budget> 0; i++, --*budget) {
    const uint32_t candidate = first_ + (position_++ % count_) * step_;
    *port = Be16::of(static_cast<uint16_t>(candidate));
    const FlowKey key{destination, local, destination_port, *port, protocol};
    if (table.find(key, table.hash(key)) == kNoEntry) return true;
  }
  return false;
}

void LocalPorts::loosen(uint32_t service_slot) {
  constexpr uint32_t kOneIn = 20;  // spec 12.2, DPVS: 5 %
  if (random_.draw(kOneIn) == 0) turns_[service_slot]++;
}

}  // namespace uvs
