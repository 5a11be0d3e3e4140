// In: a cursor. Does: copies live connections into rows. Next: src/dataplane/connections.ts.
#include "report/conn_cursor.h"

namespace uvs {
namespace {

void fill(Core& core, uint32_t id, ConnectionRowRecord* row) {
  ConnTable& table = core.table();
  const Conn& conn = table.at(id);
  const ConnCold& cold = table.cold(id);
  *row = ConnectionRowRecord{};
  row->client_address = conn.client;
  row->virtual_address = table.address(conn.virtual_index);
  row->destination_address = table.address(conn.destination_index);
  if (conn.method == kMethodFullnat) row->local_address = table.address(conn.local_index);
  row->client_port = conn.client_port.host();
  row->virtual_port = conn.virtual_port.host();
  row->destination_port = conn.destination_port.host();
  row->local_port = conn.local_port.host();
  row->protocol = conn.protocol;
  row->state = conn.state;
  row->method = conn.method;
  row->family = (conn.flags & kConnIp6) != 0 ? 6 : 4;
  row->flags = conn.flags;
  const auto left = static_cast<int32_t>(conn.expires - core.tick());
  row->expires_ms = left > 0 ? static_cast<uint32_t>(left) * kTickMs : 0;
  const DestinationRecord* destination = core.snapshot().destination(conn.destination_slot);
  row->service_slot =
      destination == nullptr ? kNoSlot : static_cast<uint16_t>(destination->service_slot);
  row->destination_slot = conn.destination_slot;
  row->in_packets = conn.in_packets;
  row->template_ref = cold.template_ref;
}

}  // namespace

uint32_t read_connections(Core& core, uint32_t* cursor, ConnectionRowRecord* rows, uint32_t max,
                          uint32_t budget) {
  ConnTable& table = core.table();
  uint32_t count = 0;
  for (; *cursor < table.high_water() && count < max && budget > 0; ++*cursor, --budget) {
    if (table.live(*cursor)) fill(core, *cursor, &rows[count++]);
  }
  if (*cursor >= table.high_water()) *cursor = kNoConn;
  return count;
}

}  // namespace uvs
