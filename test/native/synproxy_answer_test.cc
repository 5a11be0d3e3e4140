// SYNPROXY without connection: golden SYN -> SYN+ACK and ACK -> RST packets, written by hand from
// the table of spec 12.9, in both families, with and without options, offload and link header.
#include "check.h"
#include "fuzz/core_rig.h"
#include "packet_text.h"
#include "parse/parse.h"
#include "synproxy/answer.h"

namespace uvs {
namespace {

using test::Built;
using test::Bytes;
using test::Hex;
using test::IpBytes;
using test::OwnFrame;
using test::Part;
using test::Text;

constexpr uint32_t kMinutes = 1000;
constexpr uint32_t kClock = 0x01020304;

Text Syn(bool six = false) {
  Text text;
  if (six) text.source = "2001:db8::7", text.destination = "2001:db8::1:10";
  text.tcp_flags = kTcpSyn;
  text.sequence = 0xfffffffe;
  text.acknowledgement = 0;
  text.tos = 0x48;
  return text;
}

Packet Parsed(const OwnFrame& frame, Link link) {
  Packet packet;
  packet.frame = frame.frame();
  parse(packet, link);
  CHECK(packet.kind == PacketKind::kFlow);
  return packet;
}

// The SYN+ACK that `text` must become, with the cookie that its data asks for.
Text Answer(const Text& text, const SynproxyRecord& rules, uint32_t data, const Bytes& options) {
  const FlowKey flow{test::Address(text.source), test::Address(text.destination),
                     Be16::of(text.source_port), Be16::of(text.destination_port), kProtoTcp};
  Text out = text;
  std::swap(out.source, out.destination);
  std::swap(out.source_port, out.destination_port);
  out.ttl = rules.ttl;
  out.tos = 0;
  out.sequence = make_cookie(cookie_keys(rules), flow, text.sequence, kMinutes, data);
  out.acknowledgement = text.sequence + 1;
  out.tcp_flags = kTcpSyn | kTcpAck;
  out.tcp_options = options;
  out.payload.clear();
  return out;
}

void CheckAnswer(const Text& text, const SynproxyRecord& rules, uint32_t data,
                 const Bytes& options) {
  const Built in = Build(text);
  const OwnFrame frame(in);
  Packet packet = Parsed(frame, in.link);
  turn_into_syn_ack(packet, rules, cookie_keys(rules), kMinutes, kClock);
  const Built want = Build(Answer(text, rules, data, options));
  const size_t link = text.ethernet ? 14 : 0;
  CHECK_EQ(test::BytesOf(packet.frame), [&] {
    Bytes bytes = want.bytes;
    if (link == 0) return bytes;
    for (size_t i = 0; i < 6; i++) std::swap(bytes[i], bytes[i + 6]);
    return bytes;
  }());
  CHECK_EQ(packet.frame.vnet.flags, want.vnet.flags);
  CHECK_EQ(packet.l3_bytes, want.bytes.size() - link);
  if (!text.partial) CHECK_EQ(test::WrongIn(IpBytes(packet)), "");
}

void CheckOptions(const SynproxyRecord& rules, const char* in, uint32_t data, const char* out) {
  for (const bool six : {false, true}) {
    Text text = Syn(six);
    text.tcp_options = Hex(in);
    CheckAnswer(text, rules, data, Hex(out));
  }
}

TEST(answer_with_the_options_of_a_linux_client) {
  // MSS 1460, SACK permitted, timestamps 7/0, NOP, window scale 7.
  CheckOptions(rig::default_synproxy(), "020405b4 0402 080a 00000007 00000000 01 030307", 0x207000,
               "020405ac 0402 01*10 01 01*3");
  SynproxyRecord all = rig::default_synproxy();
  all.timestamps = 1;
  all.window_scale = 5;
  CheckOptions(all, "020405b4 0402 080a 00000007 00000000 01 030307", 0x377000,
               "020405ac 0402 080a 01020304 00000007 01 030305");
  SynproxyRecord none = rig::default_synproxy();
  none.sack = 0;
  CheckOptions(none, "020405b4 0402 080a 00000007 00000000 01 030307", 0x007000,
               "020405ac 0101 01*10 01 01*3");
}

TEST(answer_mss) {
  const SynproxyRecord rules = rig::default_synproxy();
  CheckOptions(rules, "", 0x003000, "");                  // 536
  CheckOptions(rules, "02040000", 0x003000, "02040218");  // 0 counts as 536
  CheckOptions(rules, "020401f4", 0x001000, "020401f4");  // 500 -> 256 in the cookie
  CheckOptions(rules, "0204ffff", 0x007000, "020405ac");  // init_mss
  CheckOptions(rules, "02040001", 0x000000, "02040001");  // 64 in the cookie
  SynproxyRecord small = rules;
  small.init_mss = 500;
  CheckOptions(small, "", 0x001000, "");
  small.init_mss = 9000;
  CheckOptions(small, "02042328", 0x009000, "02042328");
}

TEST(answer_window_scale) {
  SynproxyRecord rules = rig::default_synproxy();
  rules.window_scale = 14;
  CheckOptions(rules, "030301 00", 0x013000, "03030e 00");
  CheckOptions(rules, "0303ff 00", 0x0e3000, "03030e 00");  // at most 14
  CheckOptions(rules, "030300 00", 0x003000, "010101 00");  // says nothing a cookie could keep
}

// What the table does not name is not ours to agree to, twice is once too often, and what cannot be
// walked over ends.
TEST(answer_options_that_are_none_of_ours) {
  const SynproxyRecord rules = rig::default_synproxy();
  CheckOptions(rules, "2202 0101 020405b4", 0x007000, "01*4 020405ac");  // Fast Open
  CheckOptions(rules, "1e0c00810000000000000000", 0x003000, "01*12");    // MPTCP
  CheckOptions(rules, "020405b4 02040100", 0x007000, "020405ac 01*4");
  CheckOptions(rules, "0203 05 01", 0x003000, "01*4");                   // MSS of three bytes
  CheckOptions(rules, "0403 00 01", 0x003000, "01*4");                   // SACK permitted of three
  CheckOptions(rules, "020405b4 0801 aabb", 0x007000, "020405ac 00*4");  // length 1
  CheckOptions(rules, "020405b4 080a 0102", 0x007000, "020405ac 00*4");  // beyond the end
  CheckOptions(rules, "010101 02", 0x003000, "010101 00");               // no length
  CheckOptions(rules, "00 040201", 0x003000, "00*4");                    // behind the end
}

TEST(answer_goes_back_over_the_link_it_came_from) {
  for (const bool six : {false, true}) {
    Text text = Syn(six);
    text.ethernet = true;
    text.tcp_options = Hex("020405b4");
    CheckAnswer(text, rig::default_synproxy(), 0x007000, Hex("020405ac"));
  }
}

// From a veth the checksum is partial: it still is, and covers what stands there now.
TEST(answer_partial_checksum_stays_partial) {
  for (const bool six : {false, true}) {
    Text text = Syn(six);
    text.ethernet = true;
    text.partial = true;
    text.tcp_options = Hex("020405b4 0402 0101");
    CheckAnswer(text, rig::default_synproxy(), 0x207000, Hex("020405ac 0402 0101"));
  }
}

// Data with the SYN is not acknowledged and not sent back, nor is a super-packet's header.
TEST(answer_data_with_the_syn_is_cut_off) {
  for (const bool six : {false, true}) {
    Text text = Syn(six);
    text.payload = Hex("aa*100");
    CheckAnswer(text, rig::default_synproxy(), 0x003000, {});
    text.partial = true;
    text.gso_size = 50;
    const Built in = Build(text);
    const OwnFrame frame(in);
    Packet packet = Parsed(frame, in.link);
    turn_into_syn_ack(packet, rig::default_synproxy(), {}, kMinutes, kClock);
    CHECK_EQ(packet.frame.vnet.flags, 0);
    CHECK_EQ(packet.frame.vnet.gso_type, kVnetGsoNone);
    CHECK_EQ(test::WrongIn(IpBytes(packet)), "");
    CHECK_EQ(packet.l3_bytes, six ? 60 : 40);
  }
}

TEST(answer_keeps_ip_options_and_clears_flags) {
  Text text = Syn();
  text.ip_options = Hex("01010101");
  text.tcp_flags = kTcpSyn | 0xc0;  // asks for ECN (RFC 3168 6.1.1): not agreed to
  CheckAnswer(text, rig::default_synproxy(), 0x003000, {});
  Text six = Syn(true);
  six.extensions = {{60, Hex("00 010400000000")}};
  CheckAnswer(six, rig::default_synproxy(), 0x003000, {});
}

TEST(answer_window_closed_until_the_real_server_is_there) {
  SynproxyRecord rules = rig::default_synproxy();
  rules.close_client_window = 1;
  for (const uint8_t defer : {0, 1}) {
    rules.defer = defer;
    const Built in = Build(Syn());
    const OwnFrame frame(in);
    Packet packet = Parsed(frame, in.link);
    turn_into_syn_ack(packet, rules, cookie_keys(rules), kMinutes, kClock);
    CHECK_EQ(test::Get16(IpBytes(packet), 34), defer != 0 ? 64240 : 0);
    CHECK_EQ(test::WrongIn(IpBytes(packet)), "");
  }
}

// A real sum of random headers: the incremental checksum is the full one.
TEST(answer_checksum_of_random_syns) {
  test::Random random(0x5eed03);
  for (int i = 0; i < 5000; i++) {
    Text text = Syn((i & 1) != 0);
    text.sequence = static_cast<uint32_t>(random.Next());
    text.window = static_cast<uint16_t>(random.Next());
    text.tcp_options.resize(random.Below(11) * 4);
    for (uint8_t& byte : text.tcp_options) byte = static_cast<uint8_t>(random.Below(12));
    const Built in = Build(text);
    const OwnFrame frame(in);
    Packet packet = Parsed(frame, in.link);
    SynproxyRecord rules = rig::default_synproxy();
    rules.timestamps = random.Below(2) != 0;
    rules.window_scale = static_cast<uint8_t>(random.Below(15));
    turn_into_syn_ack(packet, rules, cookie_keys(rules), kMinutes, kClock);
    CHECK_EQ(test::WrongIn(IpBytes(packet)), "");
  }
}

TEST(reset_refuses_what_nobody_asked_for) {
  for (const bool six : {false, true}) {
    for (const size_t payload : {0, 33}) {
      Text text = Syn(six);
      text.ethernet = true;
      text.tcp_flags = kTcpAck;
      text.acknowledgement = 0xdeadbeef;
      text.tcp_options = Hex("0101 080a 0000000700000008");
      text.payload = Bytes(payload, 7);
      const Built in = Build(text);
      const OwnFrame frame(in);
      Packet packet = Parsed(frame, in.link);
      turn_into_reset(packet, 63);
      Text want = text;
      std::swap(want.source, want.destination);
      std::swap(want.source_port, want.destination_port);
      want.ttl = 63;
      want.tos = 0;
      want.sequence = 0xdeadbeef;
      want.acknowledgement = text.sequence + static_cast<uint32_t>(payload);
      want.tcp_flags = kTcpRst | kTcpAck;
      want.window = 0;
      want.tcp_options.clear();
      want.payload.clear();
      const Bytes bytes = Build(want).bytes;
      CHECK_EQ(IpBytes(packet), Part(bytes, 14, bytes.size() - 14));
      CHECK_EQ(packet.frame.length, bytes.size());
    }
  }
}

}  // namespace
}  // namespace uvs
