// Fuzz target: an FTP control connection that says anything, with any sequence numbers. Whatever it
// says: the parser stays inside the payload, what leaves is a whole packet with right checksums,
// replies name the virtual address or are as they came, the loads say what the table holds.
//
// Input: operations of eight bytes (see Operation), each followed by its payload and its options.
#include <cstring>
#include <vector>

#include "forward/app_ftp.h"
#include "forward/payload.h"
#include "fuzz/core_rig.h"
#include "parse/checksum.h"
#include "parse/parse.h"
#include "parse/tcp.h"

namespace {

using namespace uvs;

constexpr uint32_t kConnections = 12;

void require(bool holds) {
  if (!holds) __builtin_trap();
}

struct Operation {
  uint8_t from_server : 1;
  uint8_t partial : 1;  // checksum left to the device
  uint8_t gso : 1;
  uint8_t rewind : 1;  // the sender repeats what it said before
  uint8_t options : 4;
  uint8_t flags;
  uint8_t payload;
  uint8_t wait_sec;
  int16_t sequence;  // beside what comes next
  int16_t acknowledgement;
};
static_assert(sizeof(Operation) == 8);

Addr address(bool six, bool inside, uint8_t last) {
  if (!six) return Addr::v4(Be32::of((inside ? 0xc6130000u : 0xc6120000u) + last));
  const uint8_t bytes[16] = {0x20, 1, 0x0d, 0xb8, 0, inside, 0, 0, 0, 0, 0, 0, 0, 0, 0, last};
  return Addr::v6(bytes);
}

// One control connection and its world.
class Dialog {
 public:
  explicit Dialog(bool six) : blocks_(kConnections), rig_(blocks_), six_(six) {
    rig::ConfigText config;
    rig::ServiceText service;
    service.address = address(six, false, 200);
    service.port = 21;
    rig::DestinationText destination;
    destination.address = address(six, true, 1);
    destination.port = 21;
    config.services = {service};
    config.destinations = {destination};
    require(rig_.adopt(config));
    next_[0] = next_[1] = 0xffffff80;
    send({}, kTcpSyn, {}, {});
    Operation reply{};
    reply.from_server = 1;
    send(reply, kTcpSyn | kTcpAck, {}, {});
    send({}, kTcpAck, {}, {});
  }

  void send(const Operation& op, uint8_t flags, std::span<const uint8_t> payload,
            std::span<const uint8_t> options) {
    const Addr client = address(six_, false, 7);
    const Addr source = op.from_server ? address(six_, true, 1) : client;
    const Addr target = op.from_server ? client : address(six_, false, 200);
    const uint32_t sequence = next_[op.from_server] + static_cast<uint32_t>(op.sequence) -
                              (op.rewind ? last_[op.from_server] : 0);
    std::vector<uint8_t> tcp(20 + options.size());
    store16(&tcp[0], Be16::of(op.from_server ? 21 : 40000));
    store16(&tcp[2], Be16::of(op.from_server ? 40000 : 21));
    store32(&tcp[4], Be32::of(sequence));
    store32(&tcp[8], Be32::of(next_[!op.from_server] + static_cast<uint32_t>(op.acknowledgement)));
    tcp[12] = static_cast<uint8_t>(tcp.size() / 4 << 4);
    tcp[13] = flags;
    if (!options.empty()) std::memcpy(&tcp[20], options.data(), options.size());
    const size_t headers = tcp.size();
    tcp.insert(tcp.end(), payload.begin(), payload.end());
    inject(op, source, target, tcp, headers);
    if (!op.rewind) {
      last_[op.from_server] = static_cast<uint32_t>(payload.size());
      next_[op.from_server] += last_[op.from_server] + ((flags & kTcpSyn) != 0);
    }
    rig_.run([](const MissRecord&) { return 0; });
    check();
  }

  void wait(uint32_t seconds) {
    rig_.pass_ms(uint64_t{seconds} * 1000);
    check();
  }

 private:
  void inject(const Operation& op, const Addr& source, const Addr& target,
              std::vector<uint8_t>& tcp, size_t headers) {
    const auto bytes = static_cast<uint32_t>(tcp.size());
    std::vector<uint8_t> frame(12, 2);
    frame.insert(frame.end(), {static_cast<uint8_t>(six_ ? 0x86 : 0x08),
                               static_cast<uint8_t>(six_ ? 0xdd : 0x00)});
    const size_t ip = frame.size();
    if (six_) {
      frame.insert(frame.end(), {0x60, 0, 0, 0, static_cast<uint8_t>(bytes >> 8),
                                 static_cast<uint8_t>(bytes), kProtoTcp, 64});
      frame.insert(frame.end(), source.bytes, source.bytes + 16);
      frame.insert(frame.end(), target.bytes, target.bytes + 16);
    } else {
      frame.insert(frame.end(),
                   {0x45, 0, static_cast<uint8_t>((bytes + 20) >> 8),
                    static_cast<uint8_t>(bytes + 20), 0, 1, 0, 0, 64, kProtoTcp, 0, 0});
      frame.insert(frame.end(), source.bytes + 12, source.bytes + 16);
      frame.insert(frame.end(), target.bytes + 12, target.bytes + 16);
      store16(&frame[ip + 10], Be16{checksum_of(&frame[ip], 20)});
    }
    VnetHdr vnet;
    if (op.partial) {
      vnet.flags = kVnetNeedsCsum;
      vnet.csum_start = static_cast<uint16_t>(frame.size());
      vnet.csum_offset = kTcpChecksumOffset;
      store16(&tcp[16], Be16{fold(sum_pseudo(source, target, kProtoTcp, bytes))});
      if (op.gso && bytes > headers) {
        vnet.gso_type = six_ ? kVnetGsoTcp6 : kVnetGsoTcp4;
        vnet.gso_size = 40;
      }
    } else {
      store16(&tcp[16],
              Be16{transport_checksum(source, target, kProtoTcp, tcp.data(), tcp.size())});
    }
    frame.insert(frame.end(), tcp.begin(), tcp.end());
    rig_.port(op.from_server).inject(frame.data(), static_cast<uint32_t>(frame.size()), vnet);
  }

  void check() {
    for (uint32_t number = 0; number < 2; number++) {
      for (const SentFrame& sent : rig_.port(number).take_sent()) {
        std::vector<uint8_t> copy = sent.bytes;
        Packet packet{};
        packet.frame.data = copy.data();
        packet.frame.length = static_cast<uint32_t>(copy.size());
        packet.frame.vnet = sent.vnet;
        parse(packet, Link::kEthernet);
        require(packet.kind == PacketKind::kFlow && tcp_checksum_good(packet));
      }
      require(rig_.port(number).lent == 0);
    }
    const rig::Held held = rig::held(rig_.core().table(), 1)[0];
    require(held.active == rig_.load(0).active && held.inactive == rig_.load(0).inactive);
    uint32_t portless = 0;
    ConnTable& table = rig_.core().table();
    for (uint32_t id = 0; id < table.high_water(); id++) {
      portless += table.live(id) && (table.at(id).flags & kConnNoClientPort) != 0;
    }
    require(portless == table.portless());
  }

  rig::Blocks blocks_;
  rig::CoreRig rig_;
  bool six_;
  uint32_t next_[2];
  uint32_t last_[2] = {};
};

// The parser alone: what it says lies in the payload.
void parse_alone(std::span<const uint8_t> payload) {
  for (const bool six : {false, true}) {
    const FtpCommand command = ftp_command(payload, six);
    if (command.kind == FtpCommand::Kind::kPort) {
      require(command.address.is_v4() != six && command.port.raw != 0);
    }
    for (const FtpMode mode : {FtpMode::kPassive, FtpMode::kExtendedPassive}) {
      const FtpReply reply = ftp_reply(payload, mode, six);
      if (!reply.found) continue;
      require(reply.first < reply.last && reply.last <= payload.size() && reply.port.raw != 0);
      require(!reply.has_address || reply.address.is_v4() != six);
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  Dialog dialog((data[0] & 1) != 0);
  for (size_t at = 1; at + sizeof(Operation) <= size;) {
    Operation op;
    std::memcpy(&op, data + at, sizeof op);
    at += sizeof op;
    const size_t payload = std::min<size_t>(op.payload, size - at);
    // In memory of its own: the sanitizer sees a read behind it.
    const std::vector<uint8_t> text(data + at, data + at + payload);
    at += payload;
    const size_t options =
        std::min<size_t>(std::min<size_t>(op.options, 10) * 4, (size - at) / 4 * 4);
    const std::vector<uint8_t> list(data + at, data + at + options);
    at += options;
    parse_alone(text);
    dialog.send(op, op.flags, text, list);
    if (op.wait_sec > 200) dialog.wait(op.wait_sec);
  }
  return 0;
}
