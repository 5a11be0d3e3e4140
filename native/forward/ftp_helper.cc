// In: a packet of an FTP control connection, or the first one of a passive data connection.
// Does: expects data connections, edits replies, keeps sequence numbers together.
// Next: transmit.cc rewrites the ends and sends the packet.
#include "forward/ftp_helper.h"

#include "forward/payload.h"
#include "parse/tcp.h"

namespace uvs {
namespace {

FtpMode mode_of(uint8_t value) { return static_cast<FtpMode>(value); }
constexpr uint8_t kNoMode = static_cast<uint8_t>(FtpMode::kActive);

bool is_six(const Conn& conn) { return (conn.flags & kConnIp6) != 0; }

Be16 port_below(Be16 port) { return Be16::of(static_cast<uint16_t>(port.host() - 1)); }

// A reset has a number of its own making.
void remember_end(const Packet& packet, uint32_t end, FtpMemory* ftp) {
  if (packet.tcp_flags & kTcpRst) return;
  // SYN and FIN count as bytes (RFC 9293 3.4).
  end += ((packet.tcp_flags & kTcpSyn) != 0) + ((packet.tcp_flags & kTcpFin) != 0);
  if (ftp->next_known == 0 || sequence_before(ftp->next, end)) ftp->next = end;
  ftp->next_known = 1;
}

}  // namespace

// Spec 5.5.2: with a helper the checksum is verified, because the payload gets a new one.
bool FtpHelper::checksum_good(const Packet& packet) {
  if (tcp_checksum_good(packet)) return true;
  counters_.count(Reason::kTcpBadChecksum);
  return false;
}

bool FtpHelper::out_of_order() {
  counters_.count(Reason::kHelperOrder);
  return false;
}

bool FtpHelper::request(Packet& packet, Conn& conn) {
  if (conn.flags & kConnNoClientPort) {
    table_.set_client_port(table_.id_of(conn), packet.key.source_port);
  }
  if ((conn.flags & kConnHelped) == 0) return true;
  if (!checksum_good(packet)) return false;
  ConnExtra& extra = table_.need_extra(conn);
  FtpMemory& ftp = extra.ftp;
  if ((packet.tcp_flags & kTcpSyn) != 0 && conn.state != kTcpEstablished) {
    extra.in = extra.out = SequenceFix{};  // numbers of another life of this connection
    ftp = FtpMemory{};
  }
  if (renumber(packet, extra.in, extra.out)) renew_tcp_checksum(packet);
  if (packet.tcp_flags & kTcpAck) {
    const uint32_t acked = Tcp(packet.transport()).acknowledgement().host();
    if (!sequence_before(acked, edit_end(extra.out))) ftp.edit_acked = 1;
    if (ftp.edit_acked != 0) forget_old_edit(&extra.out, acked);
  }
  if (conn.state != kTcpEstablished) return true;
  const FtpCommand command = ftp_command(payload_of(packet), is_six(conn));
  if (command.kind == FtpCommand::Kind::kNone) return true;
  ftp.mode = static_cast<uint8_t>(command.mode);
  return command.kind == FtpCommand::Kind::kMode ||
         expect_active(conn, command.address, command.port);
}

bool FtpHelper::reply(Packet& packet, Conn& conn) {
  if (!checksum_good(packet)) return false;
  ConnExtra& extra = table_.need_extra(conn);
  FtpMemory& ftp = extra.ftp;
  const uint32_t sequence = Tcp(packet.transport()).sequence().host();
  const auto bytes = static_cast<uint32_t>(payload_of(packet).size());
  if (ftp.mode != kNoMode && bytes != 0 && conn.state == kTcpEstablished) {
    if (ftp.next_known != 0 && sequence_before(ftp.next, sequence)) return out_of_order();
    if (!announce(packet, conn, extra)) return false;
  }
  const Overlap overlap = overlap_of(extra.out, sequence, bytes);
  if (overlap == Overlap::kPart && ftp.edit_acked == 0) return out_of_order();
  bool changed = renumber(packet, extra.out, extra.in);
  if (overlap == Overlap::kWhole) {
    uint8_t text[kFtpTextMax];
    const uint32_t length =
        ftp_text(mode_of(ftp.edit), table_.address(conn.virtual_index), ftp.port, text);
    if (!replace_payload(packet, extra.out.first - sequence, extra.out.bytes, {text, length})) {
      counters_.count(Reason::kNoHeadroom);
      return false;
    }
    changed = true;
  }
  if (changed) renew_tcp_checksum(packet);
  remember_end(packet, sequence + bytes, &ftp);
  return true;
}

// The server's answer to the mode that is awaited: a data connection to expect, and an edit. It
// begins where the bytes begin that were not seen before; a sender that repeats may put what it
// said already in front of them. False: the packet cannot go on now.
bool FtpHelper::announce(const Packet& packet, Conn& conn, ConnExtra& extra) {
  FtpMemory& ftp = extra.ftp;
  const uint32_t sequence = Tcp(packet.transport()).sequence().host();
  const std::span<const uint8_t> payload = payload_of(packet);
  const uint32_t seen = ftp.next_known != 0 ? ftp.next - sequence : 0;
  if (seen >= payload.size()) return true;
  const FtpMode mode = mode_of(ftp.mode);
  const FtpReply reply = ftp_reply(payload.subspan(seen), mode, is_six(conn));
  if (!reply.found) return true;
  if (extra.out.bytes != 0 && ftp.edit_acked == 0) return out_of_order();
  if (!expect_passive(conn, reply, &ftp.port)) return false;
  uint8_t text[kFtpTextMax];
  const uint32_t length = ftp_text(mode, table_.address(conn.virtual_index), ftp.port, text);
  record_edit(&extra.out, sequence + seen + reply.first, reply.last - reply.first, length);
  ftp.edit = ftp.mode;
  ftp.edit_acked = 0;
  ftp.mode = kNoMode;
  return true;
}

// Spec 6.2: the server calls the client, from the port below its own.
bool FtpHelper::expect_active(const Conn& control, const Addr& address, Be16 port) {
  NewConn wanted{};
  wanted.in = FlowKey{address, table_.address(control.virtual_index), port,
                      port_below(control.virtual_port), kProtoTcp};
  uint32_t id = table_.find_directed(wanted.in, false);
  if (id == kNoConn) {
    wanted.destination = table_.address(control.destination_index);
    wanted.destination_port = port_below(control.destination_port);
    if (!create(control, wanted, &id)) return false;
  }
  tracker_.listen(id, tick());
  return true;
}

// Spec 6.3: the client will call, from any port. `*port`: where, at the virtual address.
bool FtpHelper::expect_passive(const Conn& control, const FtpReply& reply, Be16* port) {
  const Addr& server = table_.address(control.destination_index);
  const Addr from = reply.has_address ? reply.address : server;
  uint32_t id =
      table_.find_directed(FlowKey{from, control.client, reply.port, Be16{}, kProtoTcp}, true);
  if (id == kNoConn || table_.at(id).virtual_index != control.virtual_index) {
    NewConn wanted{};
    wanted.in = FlowKey{control.client, table_.address(control.virtual_index), Be16{}, reply.port,
                        kProtoTcp};
    wanted.destination = from;
    wanted.destination_port = reply.port;
    wanted.flags = kConnNoClientPort;
    if (!create(control, wanted, &id)) return false;
  }
  *port = table_.at(id).virtual_port;
  tracker_.listen(id, tick());
  return true;
}

// A data connection of `control`: same destination, counted there, not in the statistics of new
// connections.
bool FtpHelper::create(const Conn& control, NewConn& wanted, uint32_t* id) {
  const uint32_t master = table_.id_of(control);
  wanted.destination_slot = control.destination_slot;
  wanted.method = control.method;
  wanted.flags = static_cast<uint16_t>(wanted.flags | (control.flags & kConnIp6));
  wanted.fwmark = table_.cold(master).fwmark;
  const CreateError error = tracker_.create(wanted, tick(), id);
  if (error != CreateError::kNone) {
    counters_.count(error == CreateError::kTableFull ? Reason::kTableFull
                                                     : Reason::kAddressTableFull);
    return false;
  }
  tracker_.control(*id, master);
  return true;
}

}  // namespace uvs
