// In: a TCP segment of a FULLNAT connection during its opening, or while its PROXY header is on the
// way. Does: sequence numbers, options, the header. Next: transmit_fullnat.cc rewrites the ends.
#include "forward/fullnat.h"

#include <algorithm>

namespace uvs {
namespace {

// Distance in sequence space; negative: `number` lies before `from`.
int32_t behind(uint32_t number, uint32_t from) { return static_cast<int32_t>(number - from); }

// First byte of data, as the client and as the destination counts.
uint32_t client_start(const ConnExtra& extra) { return extra.fnat_client_isn + 1; }
uint32_t destination_start(const ConnExtra& extra) {
  return client_start(extra) + extra.fnat_delta;
}

uint64_t set_sequence(uint8_t* tcp, uint32_t sequence) {
  return shift_sequence(tcp, sequence - Tcp(tcp).sequence().host());
}

// What a SYN must not say to the destination (spec 12.5 step 1): clients behind one local address
// have clocks of their own. With bytes inserted there can be neither data in the SYN, which would
// come before the header, nor a second subflow that counts the stream's bytes. The client sends the
// data again, for nobody acknowledges it.
uint64_t strip_syn(Packet& packet, bool header) {
  if (!header) return blank_options(packet.transport(), kTcpOptionTimestamps);
  splice_payload(packet, payload_bytes(packet), nullptr, 0);
  packet.frame.vnet.gso_type = kVnetGsoNone;
  packet.frame.vnet.gso_size = 0;
  uint8_t* tcp = packet.transport();
  return blank_options(tcp, kTcpOptionTimestamps) + blank_options(tcp, kTcpOptionMptcp) +
         blank_options(tcp, kTcpOptionFastOpen);
}

// Spec 12.7: at the front, after pruning if need be; never beyond the path's MTU.
void add_toa(Packet& packet, const ClientEnds& ends, uint32_t mtu) {
  uint8_t option[kToa6Bytes];
  const uint32_t bytes = write_toa(ends, option);
  if (insert_option(packet, option, bytes, mtu)) return;
  const uint32_t header = Tcp(packet.transport()).header_bytes() + bytes;
  uint32_t excess = header > kTcpMaxHeaderBytes ? header - kTcpMaxHeaderBytes : 0;
  if (!packet.is_gso() && packet.l3_bytes + bytes > mtu) {
    excess = std::max(excess, packet.l3_bytes + bytes - mtu);
  }
  // Options that go for nothing would be lost to the destination.
  if (excess == 0 || excess > Tcp(packet.transport()).header_bytes() - kTcpBytes) return;
  if (prune_options(packet, excess, false) >= excess) insert_option(packet, option, bytes, mtu);
}

void request_toa(Packet& packet, ConnExtra& extra, const ClientEnds& ends, uint32_t mtu) {
  if ((packet.tcp_flags & (kTcpAck | kTcpSyn | kTcpRst)) != kTcpAck) return;
  const int32_t beyond = behind(Tcp(packet.transport()).acknowledgement().host(), extra.fnat_fdata);
  if (beyond == 0) return add_toa(packet, ends, mtu);
  // It has data of the destination, which opened only after it was told.
  if (beyond > 0) extra.fnat_flags = static_cast<uint8_t>(extra.fnat_flags & ~kFnatToa);
}

// Puts the header in front of the payload, or says that it must lead in a segment of its own.
void put_header(Packet& packet, const ProxyHeader& header, uint32_t sequence, uint32_t mtu,
                FnatEdit* edit) {
  const uint32_t grown = packet.l3_bytes - header.removed + header.bytes;
  const bool fits = packet.is_gso() || grown <= mtu;
  if (fits && splice_payload(packet, header.removed, header.data, header.bytes)) {
    edit->covered = set_sequence(packet.transport(), sequence);
    if (packet.tcp_flags & kTcpUrg) {
      uint8_t moved[2];
      const uint32_t urgent = Tcp(packet.transport()).urgent().host() + header.bytes;
      store16(moved, Be16::of(static_cast<uint16_t>(urgent - header.removed)));
      edit->covered += overwrite(packet.transport(), 18, moved, sizeof moved);
    }
    return;
  }
  edit->lead_sequence = sequence;
  edit->lead_bytes = header.bytes;
  std::copy_n(header.data, header.bytes, edit->lead);
  splice_payload(packet, header.removed, nullptr, 0);
  edit->covered = set_sequence(packet.transport(), sequence + header.bytes);
}

// The segment that begins the client's stream.
void request_first(Packet& packet, ConnExtra& extra, const ClientEnds& ends, uint32_t mtu,
                   FnatEdit* edit) {
  const ProxyHeader header = make_proxy_header(packet, extra.fnat_header, ends);
  const bool placed = (extra.fnat_flags & kFnatPlaced) != 0;
  if (header.leave && !placed) {
    extra.fnat_flags = static_cast<uint8_t>(extra.fnat_flags & ~kFnatHeader);
    edit->covered = shift_sequence(packet.transport(), extra.fnat_delta);
    return;
  }
  if (placed && (header.removed != extra.fnat_removed || header.bytes != extra.fnat_inserted)) {
    // Sent again in smaller pieces, or with other data: it cannot be put in the same place.
    edit->drop = true;
    return;
  }
  extra.fnat_flags |= kFnatPlaced;
  extra.fnat_removed = static_cast<uint16_t>(header.removed);
  extra.fnat_inserted = static_cast<uint16_t>(header.bytes);
  put_header(packet, header, destination_start(extra), mtu, edit);
}

void request_header(Packet& packet, ConnExtra& extra, const ClientEnds& ends, uint32_t mtu,
                    FnatEdit* edit) {
  uint8_t* tcp = packet.transport();
  const uint32_t sequence = Tcp(tcp).sequence().host();
  const int32_t at = behind(sequence, client_start(extra));
  const auto payload = static_cast<int32_t>(payload_bytes(packet));
  const bool placed = (extra.fnat_flags & kFnatPlaced) != 0;
  const bool reset = (packet.tcp_flags & kTcpRst) != 0;
  if (at == 0 && payload > 0 && !reset) return request_first(packet, extra, ends, mtu, edit);
  const bool carries = payload > 0 || (packet.tcp_flags & kTcpFin) != 0;
  if (at == 0 && !carries) {  // nothing was sent yet, or it is old
    edit->covered = set_sequence(tcp, destination_start(extra));
    return;
  }
  // Where its bytes belong is not known before the first segment came; a segment that lies across
  // the start, or in what is cut out, cannot be placed at all. The client sends all of them again.
  const bool crosses = at < 0 && at + payload > 0;
  const bool inside = placed && at > 0 && at < extra.fnat_removed;
  if (carries && !reset && (crosses || inside || (at > 0 && !placed))) {
    edit->drop = true;
    return;
  }
  edit->covered = set_sequence(tcp, fnat_to_destination(extra, sequence));
}

// Spec 12.5 step 7, and where TOA begins. The window that it opens is the client's to fill, so the
// option's room is taken from its segments here.
uint64_t reply_syn_ack(Packet& packet, ConnExtra& extra, const Addr& client, bool toa) {
  uint8_t* tcp = packet.transport();
  fnat_note_syn_ack(packet, extra, toa);
  if (!toa || extra.fnat_header != 0) return 0;
  return reduce_mss(tcp, static_cast<uint16_t>(address_option_bytes(client)));
}

// Takes the inserted bytes into the delta once the destination has them all.
void settle(ConnExtra& extra, uint32_t ack) {
  if ((extra.fnat_flags & kFnatPlaced) == 0) return;
  if (behind(ack, destination_start(extra)) < static_cast<int32_t>(extra.fnat_inserted)) return;
  extra.fnat_delta += static_cast<uint32_t>(extra.fnat_inserted) - extra.fnat_removed;
  extra.fnat_flags = static_cast<uint8_t>(extra.fnat_flags & ~(kFnatHeader | kFnatPlaced));
}

}  // namespace

ProxyHeader make_proxy_header(const Packet& packet, uint8_t wanted, const ClientEnds& ends) {
  ProxyHeader header;
  const uint8_t version = wanted & kProxyVersionMask;
  const uint8_t* payload = packet.transport() + transport_header_bytes(packet);
  const FoundProxy found = find_proxy(payload, payload_bytes(packet));
  ClientEnds named = ends;
  if (found.version != 0 && (wanted & kProxyInsecure) != 0) {
    // One that names nobody would make the destination believe that the director is the client.
    const bool names = read_proxy(payload, found, &named);
    if (names && found.version == version) {
      header.leave = true;
      return header;
    }
    if (!names) named = ends;
  }
  header.removed = found.bytes;
  header.bytes = write_proxy(named, version, packet.key.protocol, header.data);
  return header;
}

void fnat_begin(ConnExtra& extra, uint32_t client_isn, uint32_t isn, uint8_t header) {
  extra.fnat_client_isn = client_isn;
  extra.fnat_delta = isn - client_isn;
  extra.fnat_header = header;
  extra.fnat_flags = static_cast<uint8_t>(kFnatStarted | (header != 0 ? kFnatHeader : 0));
  extra.fnat_removed = 0;
  extra.fnat_inserted = 0;
}

void fnat_note_syn_ack(const Packet& packet, ConnExtra& extra, bool toa) {
  const Tcp tcp(packet.transport());
  if (tcp.acknowledgement().host() != destination_start(extra)) return;
  const uint32_t data = tcp.sequence().host() + 1;
  if ((extra.fnat_flags & kFnatOpen) == 0 || extra.fnat_fdata != data) {
    extra.fnat_rs_ack = destination_start(extra);
    extra.fnat_rs_end = data;
    if (toa && extra.fnat_header == 0) extra.fnat_flags |= kFnatToa;
  }
  extra.fnat_fdata = data;
  extra.fnat_flags |= kFnatOpen;
}

uint32_t fnat_to_destination(const ConnExtra& extra, uint32_t sequence) {
  if ((extra.fnat_flags & (kFnatHeader | kFnatPlaced)) != (kFnatHeader | kFnatPlaced)) {
    return sequence + extra.fnat_delta;
  }
  const int32_t at = behind(sequence, client_start(extra));
  if (at <= 0) return sequence + extra.fnat_delta;
  const uint32_t data = std::max<uint32_t>(static_cast<uint32_t>(at), extra.fnat_removed);
  return destination_start(extra) + extra.fnat_inserted + data - extra.fnat_removed;
}

uint32_t fnat_to_client(const ConnExtra& extra, uint32_t sequence) {
  if ((extra.fnat_flags & (kFnatHeader | kFnatPlaced)) != (kFnatHeader | kFnatPlaced)) {
    return sequence - extra.fnat_delta;
  }
  const int32_t at = behind(sequence, destination_start(extra));
  if (at <= 0) return sequence - extra.fnat_delta;
  if (at < static_cast<int32_t>(extra.fnat_inserted)) return client_start(extra);
  return client_start(extra) + extra.fnat_removed + static_cast<uint32_t>(at) - extra.fnat_inserted;
}

void fnat_request(Packet& packet, ConnExtra& extra, const ClientEnds& ends, uint32_t mtu,
                  FnatEdit* edit) {
  if (packet.tcp_flags & kTcpSyn) {
    if ((packet.tcp_flags & kTcpAck) == 0) {
      edit->covered = strip_syn(packet, extra.fnat_header != 0);
    }
    edit->covered += shift_sequence(packet.transport(), extra.fnat_delta);
    return;
  }
  if (extra.fnat_flags & kFnatHeader) return request_header(packet, extra, ends, mtu, edit);
  if (extra.fnat_flags & kFnatToa) request_toa(packet, extra, ends, mtu);
  edit->covered = shift_sequence(packet.transport(), extra.fnat_delta);
}

uint64_t fnat_reply(Packet& packet, ConnExtra& extra, const Addr& client, bool toa) {
  uint8_t* tcp = packet.transport();
  uint64_t sum = 0;
  if ((packet.tcp_flags & (kTcpSyn | kTcpAck)) == (kTcpSyn | kTcpAck)) {
    sum = reply_syn_ack(packet, extra, client, toa);
  }
  if ((packet.tcp_flags & kTcpAck) == 0) return sum;
  const uint32_t ack = Tcp(tcp).acknowledgement().host();
  // Blocks and number of one packet are mapped alike: settling changes none of what lies behind.
  if (extra.fnat_flags & kFnatHeader) settle(extra, ack);
  sum += shift_acknowledgement(tcp, fnat_to_client(extra, ack) - ack);
  return sum + map_sack(tcp, [&](uint32_t edge) { return fnat_to_client(extra, edge); });
}

uint32_t fnat_growth(const ConnExtra& extra, const Addr& client) {
  if (extra.fnat_flags & kFnatToa) return address_option_bytes(client);
  if ((extra.fnat_flags & kFnatHeader) == 0) return 0;
  return extra.fnat_inserted > extra.fnat_removed
             ? static_cast<uint32_t>(extra.fnat_inserted - extra.fnat_removed)
             : 0;
}

}  // namespace uvs
