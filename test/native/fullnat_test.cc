// FULLNAT through a whole core: the edits of spec 12.5 to 12.11, each byte of them.
#include "forward/fullnat.h"

#include <set>

#include "check.h"
#include "forward/secure_isn.h"
#include "fullnat_world.h"

namespace uvs {
namespace {

using test::Bytes;
using test::Full;
using test::Gave;
using test::GaveAnyId;
using test::Get16;
using test::Get32;
using test::Hex;
using test::IpOf;
using test::kClientIsn;
using test::kPshAck;
using test::kServerIsn;
using test::kSynAck;
using test::Nat64;
using test::Part;
using test::Sent;
using test::Text;

TEST(the_first_number_is_a_hash_and_a_clock) {
  // The vector of the SipHash paper, appendix A.
  uint8_t message[15];
  for (uint8_t i = 0; i < 15; i++) message[i] = i;
  CHECK_EQ(siphash24({0x0706050403020100, 0x0f0e0d0c0b0a0908}, message, 15), 0xa129ca6149be45e5u);

  const FlowKey ends{test::Address("198.19.9.1"), test::Address("198.19.0.1"), Be16::of(5000),
                     Be16::of(80), kProtoTcp};
  FlowKey other = ends;
  other.source_port = Be16::of(5001);
  const SipKey secret{1, 2};
  const uint32_t at0 = secure_isn(secret, ends, 0);
  CHECK_EQ(secure_isn(secret, ends, 1) - at0, 15625u);  // 64 ns units
  CHECK_NE(secure_isn(secret, other, 0), at0);
  CHECK_NE(secure_isn({2, 2}, ends, 0), at0);
}

// Spec 12.5 steps 1, 2, 4 and the reply's steps 4, 6.
TEST(numbers_are_moved_both_ways_with_sack_edges) {
  for (const bool six : {false, true}) {
    Full world(kFullnatRandomise, 0, six);
    Text syn = world.Client(kClientIsn, 0, kTcpSyn);
    syn.tcp_options = Hex("020405b4 0402 080a 00000001 00000000 01030307");
    const std::vector<Sent> first = world.Pass(syn);
    REQUIRE(first.size() == 1);
    const uint32_t isn = Get32(first[0].ip, six ? 44 : 24);
    const uint32_t delta = isn - kClientIsn;
    CHECK_NE(delta, 0u);
    Text want = world.Forwarded(syn);
    want.sequence = isn;
    want.tcp_options = Hex("020405b4 0402 01*10 01030307");
    CHECK_EQ(first[0].ip, IpOf(want));
    Gave(world.Pass(syn), want);  // sent again: the same number

    Text reply = world.Server(kServerIsn, isn + 1, kSynAck);
    reply.tcp_options = Hex("020405b4 0402 0101");
    want = world.Returned(reply);
    want.acknowledgement = kClientIsn + 1;
    Gave(world.Pass(reply, 1), want);

    Text data = world.Client(kClientIsn + 1, kServerIsn + 1, kPshAck, Hex("68656c6c6f"));
    want = world.Forwarded(data);
    want.sequence = isn + 1;
    Gave(world.Pass(data), want);

    // The second and third of three segments came, and a RST without ACK has no number to move.
    reply = world.Server(kServerIsn + 1, isn + 1, kTcpAck, Hex("aabb"));
    Bytes blocks = Hex("0101050a");
    test::Put32(blocks, isn + 6);
    test::Put32(blocks, isn + 16);
    reply.tcp_options = blocks;
    want = world.Returned(reply);
    want.acknowledgement = kClientIsn + 1;
    blocks.resize(4);
    test::Put32(blocks, kClientIsn + 6);
    test::Put32(blocks, kClientIsn + 16);
    want.tcp_options = blocks;
    Gave(world.Pass(reply, 1), want);
    reply = world.Server(kServerIsn + 3, 0, kTcpRst);
    Gave(world.Pass(reply, 1), world.Returned(reply));
  }
}

// Another attempt before the handshake is over gets a number of its own (spec 12.6, Ali).
TEST(a_new_attempt_begins_anew) {
  Full world(kFullnatRandomise);
  const uint32_t isn = Get32(world.Pass(world.Client(kClientIsn, 0, kTcpSyn)).at(0).ip, 24);
  world.rig.clock.us += 50'000;
  const uint32_t second = Get32(world.Pass(world.Client(77, 0, kTcpSyn)).at(0).ip, 24);
  // 64 ns units, but the shift is a multiple of kShiftUnit: both numbers are below by less.
  const uint32_t grown = second - isn;
  CHECK(grown > 50u * 15625 - kShiftUnit && grown < 50u * 15625 + kShiftUnit);
  CHECK_EQ(world.Extra().fnat_delta % kShiftUnit, 0u);
  CHECK_EQ(world.Extra().fnat_client_isn, 77u);
}

// Spec 12.7: the example, until data of the server is acknowledged.
TEST(toa_goes_into_segments_that_acknowledge_the_syn_only) {
  for (const bool six : {false, true}) {
    Full world(kFullnatToa, 0, six);
    Text syn = world.Client(kClientIsn, 0, kTcpSyn);
    std::vector<Sent> sent = world.Pass(syn);
    Gave(sent, world.Forwarded(syn));  // not on the SYN
    Text reply = world.Server(kServerIsn, kClientIsn + 1, kSynAck);
    reply.tcp_options = Hex("020405b4");
    Text want = world.Returned(reply);
    want.tcp_options = six ? Hex("020405a0") : Hex("020405ac");  // 20 or 8 less
    Gave(world.Pass(reply, 1), want);

    const Bytes toa =
        six ? Hex("fe149c40 20010db8 00000000 00000000 00000007") : Hex("fe089c40 c6120007");
    for (int i = 0; i < 2; i++) {
      Text data = world.Client(kClientIsn + 1, kServerIsn + 1, kPshAck, Hex("010203"));
      data.tcp_options = Hex("0101080a 00000001 00000002");
      want = world.Forwarded(data);
      want.tcp_options = toa;
      test::PutAll(want.tcp_options, data.tcp_options);
      Gave(world.Pass(data), want);
    }
    Text later = world.Client(kClientIsn + 4, kServerIsn + 9, kPshAck, Hex("04"));
    Gave(world.Pass(later), world.Forwarded(later));
    // And never again, also when the numbers come round.
    later = world.Client(kClientIsn + 5, kServerIsn + 1, kTcpAck);
    Gave(world.Pass(later), world.Forwarded(later));
  }
}

TEST(toa_is_left_out_of_resets_and_where_it_does_not_fit) {
  Full world(kFullnatToa);
  world.Shake();
  Text full = world.Client(kClientIsn + 1, kServerIsn + 1, kTcpAck, Bytes(1460, 1));
  Gave(world.Pass(full), world.Forwarded(full));  // 1500 bytes already
  Text room = world.Client(kClientIsn + 1, kServerIsn + 1, kTcpAck, Bytes(1452, 1));
  Text want = world.Forwarded(room);
  want.tcp_options = Hex("fe089c40 c6120007");
  Gave(world.Pass(room), want);
  // A client's own 254 and NOPs give way.
  room = world.Client(kClientIsn + 1, kServerIsn + 1, kTcpAck, Bytes(1444, 1));
  room.tcp_options = Hex("fe080001 01020304 01*8");
  want = world.Forwarded(room);
  want.tcp_options = Hex("fe089c40 c6120007");
  Gave(world.Pass(room), want);
  // 40 bytes of options that must stay.
  Text stuffed = world.Client(kClientIsn + 1, kServerIsn + 1, kTcpAck);
  stuffed.tcp_options =
      Hex("080a 00000001 00000002 080a 00000001 00000002 080a 00000001 00000002 "
          "080a 00000001 00000002");
  Gave(world.Pass(stuffed), world.Forwarded(stuffed));
  Text reset = world.Client(kClientIsn + 1, kServerIsn + 1, kTcpRst | kTcpAck);
  Gave(world.Pass(reset), world.Forwarded(reset));
}

TEST(toa_and_random_numbers_can_be_off) {
  Full world(0);
  CHECK_EQ(world.Shake(), kClientIsn);
  Text data = world.Client(kClientIsn + 1, kServerIsn + 1, kTcpAck, Hex("01"));
  Gave(world.Pass(data), world.Forwarded(data));
}

const char kProxy2[] =
    "0d0a0d0a000d0a515549540a 21 11 000c c6120007 c612010a 9c40 0050";  // spec 12.11, our ends

TEST(a_proxy_header_precedes_the_first_data_and_its_copies) {
  Full world(kFullnatToa, kServiceProxyV2);
  Text syn = world.Client(kClientIsn, 0, kTcpSyn);
  syn.tcp_options = Hex("020405b4 1e0c 00*10 2202 0101");  // MPTCP and Fast Open
  const std::vector<Sent> opened = world.Pass(syn);
  Text want = world.Forwarded(syn);
  want.tcp_options = Hex("020405b4 01*12 0101 0101");
  Gave(opened, want);
  Text reply = world.Server(kServerIsn, kClientIsn + 1, kSynAck);
  reply.tcp_options = Hex("020405b4");
  Gave(world.Pass(reply, 1), world.Returned(reply));  // no TOA: the MSS stays

  Text ack = world.Client(kClientIsn + 1, kServerIsn + 1, kTcpAck);
  Gave(world.Pass(ack), world.Forwarded(ack));  // pure ACKs are skipped

  // Data ahead of its first byte has no place yet.
  CHECK_EQ(world.Pass(world.Client(kClientIsn + 6, kServerIsn + 1, kPshAck, Hex("2121"))).size(),
           0u);
  CHECK_EQ(world.Counted(Reason::kProxyUnplaced), 1u);

  Text first = world.Client(kClientIsn + 1, kServerIsn + 1, kPshAck, Hex("68656c6c6f"));
  want = world.Forwarded(first);
  want.payload = Hex(kProxy2);
  test::PutAll(want.payload, first.payload);
  Gave(world.Pass(first), want);
  Gave(world.Pass(first), want);  // lost: sent again, with the header

  Text second = world.Client(kClientIsn + 6, kServerIsn + 1, kPshAck, Hex("2121"));
  want = world.Forwarded(second);
  want.sequence += 28;
  Gave(world.Pass(second), want);

  // A server that has half of the header has nothing of the client's; then the header alone.
  for (const uint32_t got : {14u, 28u}) {
    reply = world.Server(kServerIsn + 1, kClientIsn + 1 + got, kTcpAck);
    want = world.Returned(reply);
    want.acknowledgement = kClientIsn + 1;
    Gave(world.Pass(reply, 1), want);
  }
  // Acknowledged: a repetition is moved, without the header.
  want = world.Forwarded(first);
  want.sequence += 28;
  Gave(world.Pass(first), want);
  reply = world.Server(kServerIsn + 1, kClientIsn + 1 + 28 + 7, kTcpAck);
  want = world.Returned(reply);
  want.acknowledgement = kClientIsn + 8;
  Gave(world.Pass(reply, 1), want);
}

// TCP Fast Open: what the SYN carries would come ahead of the header. Nobody acknowledges it, so
// the client sends it again.
TEST(data_in_a_syn_waits_for_the_header) {
  for (const bool super : {false, true}) {
    Full world(0, kServiceProxyV2);
    Text syn = world.Client(kClientIsn, 0, kTcpSyn, super ? Bytes(3000, 1) : Hex("68656c6c6f"));
    syn.partial = super;
    syn.gso_size = super ? 1400 : 0;
    const std::vector<Sent> opened = world.Pass(syn);
    Text want = world.Forwarded(syn);
    want.payload = {};
    want.gso_size = 0;
    Gave(opened, want);
    CHECK_EQ(opened[0].vnet.gso_type, kVnetGsoNone);
    world.Pass(world.Server(kServerIsn, kClientIsn + 1, kSynAck), 1);

    const Text again = world.Client(kClientIsn + 1, kServerIsn + 1, kPshAck, Hex("68656c6c6f"));
    want = world.Forwarded(again);
    want.payload = Hex(kProxy2);
    test::PutAll(want.payload, again.payload);
    Gave(world.Pass(again), want);
  }
  // Without a header it arrives.
  Full world(0);
  const Text syn = world.Client(kClientIsn, 0, kTcpSyn, Hex("68656c6c6f"));
  const std::vector<Sent> opened = world.Pass(syn);
  Gave(opened, world.Forwarded(syn));
}

TEST(a_header_that_does_not_fit_leads_in_a_segment_of_its_own) {
  Full world(0, kServiceProxyV2);
  world.Shake();
  Text first = world.Client(kClientIsn + 1, kServerIsn + 1, kPshAck, Bytes(1440, 7));
  first.tcp_options = Hex("0101080a 00000001 00000002");
  const std::vector<Sent> sent = world.Pass(first);
  REQUIRE(sent.size() == 2);
  Text lead = world.Forwarded(first);
  lead.tcp_options = {};
  lead.payload = Hex(kProxy2);
  lead.ttl = 64;
  lead.id = 0;
  CHECK_EQ(sent[0].ip, IpOf(lead));
  Text rest = world.Forwarded(first);
  rest.sequence += 28;
  CHECK_EQ(sent[1].ip, IpOf(rest));
}

TEST(version_1_is_a_line) {
  for (const bool six : {false, true}) {
    Full world(0, kServiceProxyV1, six);
    world.Shake();
    Text first = world.Client(kClientIsn + 1, kServerIsn + 1, kPshAck, Hex("68"));
    const std::string line = six ? "PROXY TCP6 2001:db8::7 2001:db8::1:10 40000 80\r\n"
                                 : "PROXY TCP4 198.18.0.7 198.18.1.10 40000 80\r\n";
    Text want = world.Forwarded(first);
    want.payload = Bytes(line.begin(), line.end());
    want.payload.push_back(0x68);
    Gave(world.Pass(first), want);
  }
}

Bytes TextBytes(const std::string& text) { return Bytes(text.begin(), text.end()); }

const char kStart2[] = "0d0a0d0a000d0a515549540a ";
const char kProxy1[] = "PROXY TCP4 198.18.0.7 198.18.1.10 40000 80\r\n";
constexpr uint32_t kBelieves1 = kServiceProxyV1 | kServiceProxyInsecure;
constexpr uint32_t kBelieves2 = kServiceProxyV2 | kServiceProxyInsecure;

// What a service with `flags` makes of a stream that begins with `says`.
void Becomes(uint32_t flags, const Bytes& says, const Bytes& becomes) {
  Full world(0, flags);
  world.Shake();
  Bytes payload = says;
  payload.push_back(0x41);
  const Text first = world.Client(kClientIsn + 1, kServerIsn + 1, kPshAck, payload);
  Text want = world.Forwarded(first);
  want.payload = becomes;
  want.payload.push_back(0x41);
  Gave(world.Pass(first), want);
  // What follows lies behind it in the server's stream.
  const Text next = world.Client(kClientIsn + 1 + static_cast<uint32_t>(payload.size()),
                                 kServerIsn + 1, kTcpAck, Hex("42"));
  want = world.Forwarded(next);
  want.sequence = kClientIsn + 2 + static_cast<uint32_t>(becomes.size());
  Gave(world.Pass(next), want);
}

// Spec 12.11: replaced, left alone, or converted.
TEST(a_client_is_believed_only_where_the_service_says_so) {
  const Bytes own2 = Hex(kStart2 + std::string("21 11 000c cb007105 cb007106 1234 0050"));
  const Bytes own1 = TextBytes("PROXY TCP4 203.0.113.5 203.0.113.6 4660 80\r\n");
  Becomes(kServiceProxyV2, own2, Hex(kProxy2));
  Becomes(kServiceProxyV2, own1, Hex(kProxy2));
  Becomes(kServiceProxyV1, own1, TextBytes(kProxy1));
  Becomes(kBelieves2, own2, own2);
  Becomes(kBelieves2, own1, own2);
  Becomes(kBelieves1, own2, own1);
  Becomes(kBelieves1, own1, own1);
  // What follows the addresses stays with a header that is left alone.
  const Bytes more = Hex(kStart2 + std::string("21 11 000f cb007105 cb007106 1234 0050 200000"));
  Becomes(kBelieves2, more, more);
  Becomes(kBelieves1, more, own1);
}

// One that names nobody, or is malformed: it goes, and the true ends are told.
TEST(a_header_that_names_nobody_is_replaced) {
  const char* const headers2[] = {
      "20 00 0000",  // LOCAL
      "20 11 000c cb007105 cb007106 1234 0050",
      "21 00 0000",         // unspecified
      "21 31 00d8 00*216",  // UNIX
      "21 10 000c cb007105 cb007106 1234 0050",
      "21 13 000c cb007105 cb007106 1234 0050",
      "21 11 000b cb007105 cb007106 1234 00",
      "21 21 000c cb007105 cb007106 1234 0050",
      "21 21 0024 00*10 ffff cb007105 00*10 ffff cb007106 1234 0050",
  };
  const std::string headers1[] = {
      "UNKNOWN",
      "UNKNOWN ffff::1 ffff::2 1 2",
      "",
      "TCP4",
      "TCP5 203.0.113.5 203.0.113.6 4660 80",
      "TCP4 203.0.113.5 203.0.113.6 4660",
      "TCP4 203.0.113.5 203.0.113.6 4660 80 1",
      "TCP4 203.0.113.5 203.0.113.6 4660 65536",
      "TCP4 203.0.113.5 203.0.113.6 -1 80",
      "TCP4 203.0.113 203.0.113.6 4660 80",
      "TCP4  203.0.113.5 203.0.113.6 4660 80",
      "TCP4 2001:db8::5 2001:db8::6 4660 80",
      "TCP6 203.0.113.5 203.0.113.6 4660 80",
      "TCP6 ::ffff:203.0.113.5 ::1 4660 80",
      std::string(99, 'x'),  // the longest line
  };
  for (const char* header : headers2) {
    const Bytes says = Hex(kStart2 + std::string(header));
    Becomes(kBelieves2, says, Hex(kProxy2));
    Becomes(kBelieves1, says, TextBytes(kProxy1));
    Becomes(kServiceProxyV2, says, Hex(kProxy2));
  }
  for (const std::string& header : headers1) {
    const Bytes says = TextBytes("PROXY " + header + "\r\n");
    Becomes(kBelieves2, says, Hex(kProxy2));
    Becomes(kBelieves1, says, TextBytes(kProxy1));
    Becomes(kServiceProxyV1, says, TextBytes(kProxy1));
  }
}

// The true header goes in front, for a server that believes the first one.
TEST(what_is_no_whole_header_is_data) {
  const Bytes says[] = {
      Hex(kStart2 + std::string("11 11 000c cb007105 cb007106 1234 0050")),  // version
      Hex(kStart2 + std::string("22 11 000c cb007105 cb007106 1234 0050")),  // command
      Hex(kStart2 + std::string("21 11 000e cb007105 cb007106 1234 0050")),  // length
      Hex(kStart2 + std::string("21")),
      Hex("0d0a0d0a000d0a515549540b 21 11 0000"),
      TextBytes("PROXY TCP4 203.0.113.5 203.0.113.6 4660 80\n"),
      TextBytes("PROXY TCP4 203.0.113.5 203.0.113.6 4660 80\r"),
      TextBytes("PROXY"),
      TextBytes("proxy UNKNOWN\r\n"),
      TextBytes("PROXY " + std::string(100, 'x') + "\r\n"),
  };
  for (const Bytes& each : says) {
    Bytes want = Hex(kProxy2);
    test::PutAll(want, each);
    Becomes(kBelieves2, each, want);
    want = TextBytes(kProxy1);
    test::PutAll(want, each);
    Becomes(kBelieves1, each, want);
  }
}

// Spec 12.10: the example's shape, three datagrams, then none.
TEST(uoa_goes_into_the_first_datagrams) {
  for (const bool six : {false, true}) {
    Full world(0, 0, six, kProtoUdp);
    world.config.uoa_trail = 3;
    world.Adopt();
    Text text = world.Request();
    text.payload = Hex("0102030405");
    for (int i = 0; i < 5; i++) {
      const std::vector<Sent> sent = world.Pass(text);
      REQUIRE(sent.size() == 1);
      Bytes want = IpOf(world.Forwarded(text));
      if (i < 3) {
        const size_t header = six ? 40 : 20;
        const Bytes shim = six ? Hex("2011 0018 1f14 9c40 20010db8 00000000 00000000 00000007")
                               : Hex("1011 000c 1f08 9c40 c6120007");
        want.insert(want.begin() + static_cast<std::ptrdiff_t>(header), shim.begin(), shim.end());
        test::Set16(want, six ? 4 : 2, static_cast<uint32_t>(want.size() - (six ? 40 : 0)));
        want[six ? 6 : 9] = 248;
        if (!six) {
          test::Set16(want, header + shim.size() + 6, 0);
          test::Set16(want, 10, 0);
          test::Set16(want, 10, 0xffff - test::SlowSum(Part(want, 0, 20)));
        }
      }
      CHECK_EQ(sent[0].ip, want);
    }
  }
}

TEST(uoa_can_be_an_ip_option) {
  Full world(0, 0, false, kProtoUdp);
  world.config.uoa_trail = 1;
  world.config.uoa_mode = kUoaOption;
  world.Adopt();
  Text text = world.Request();
  text.payload = Hex("0102030405");
  Text want = world.Forwarded(text);
  const std::vector<Sent> sent = world.Pass(text);
  want = world.Forwarded(text);
  want.ip_options = Hex("1f08 9c40 c6120007");
  Gave(sent, want);
}

TEST(uoa_without_room_goes_ahead_alone) {
  for (const bool six : {false, true}) {
    Full world(0, 0, six, kProtoUdp);
    world.config.uoa_trail = 1;
    world.Adopt();
    Text text = world.Request();
    text.payload = Bytes(six ? 1440 : 1465, 9);
    const std::vector<Sent> sent = world.Pass(text);
    REQUIRE(sent.size() == 2);
    CHECK_EQ(sent[1].ip, IpOf(world.Forwarded(text)));
    const size_t header = six ? 40 : 20;
    const size_t shim = six ? 24 : 12;
    REQUIRE(sent[0].ip.size() == header + shim + 8);
    CHECK_EQ(sent[0].ip[six ? 6 : 9], 248);
    CHECK_EQ(Get16(sent[0].ip, header + shim), world.LocalPort());
    CHECK_EQ(Get16(sent[0].ip, header + shim + 4), 8u);
  }
}

TEST(a_proxy_header_precedes_the_first_datagram_only) {
  Full world(0, kServiceProxyV2, false, kProtoUdp);
  world.config.uoa_trail = 3;
  world.Adopt();
  Text text = world.Request();
  text.payload = Hex("0102030405");
  const std::vector<Sent> sent = world.Pass(text);
  Text want = world.Forwarded(text);
  want.payload = Hex("0d0a0d0a000d0a515549540a 21 12 000c c6120007 c612010a 9c40 0050 0102030405");
  Gave(sent, want);
  Gave(world.Pass(text), world.Forwarded(text));  // and no UOA
}

// Too long, by itself or with its header: the client learns the size that fits, and its next one
// has the header.
TEST(a_first_datagram_too_long_for_its_header_is_answered) {
  Full world(0, kServiceProxyV2, false, kProtoUdp);
  Text text = world.Request();
  const struct {
    size_t payload;
    uint32_t mtu;
  } refused[] = {{1480, 1500}, {1460, 1472}};
  for (const auto& each : refused) {
    text.payload = Bytes(each.payload, 3);
    const std::vector<Sent> sent = world.Pass(text);
    REQUIRE(sent.size() == 1);
    CHECK_EQ(sent[0].ip[20], 3);
    CHECK_EQ(Get16(sent[0].ip, 26), each.mtu);
  }
  text.payload = Bytes(1444, 3);
  CHECK_EQ(world.Pass(text).at(0).ip.size(), 1500u);
  CHECK_EQ(world.Pass(text).at(0).ip.size(), 1472u);
}

// A datagram that ends at the director uses up neither the header nor UOA's share.
TEST(datagrams_that_go_no_further_tell_nobody) {
  for (const bool proxy : {false, true}) {
    Full world(0, proxy ? kServiceProxyV2 : 0, false, kProtoUdp);
    world.config.uoa_trail = 1;
    world.Adopt();
    Text text = world.Request();
    text.payload = Hex("0102030405");
    text.ttl = 1;
    for (int i = 0; i < 2; i++) {
      const std::vector<Sent> sent = world.Pass(text);
      REQUIRE(sent.size() == 1);
      CHECK_EQ(sent[0].ip[20], 11);
    }
    text.ttl = 64;
    CHECK_EQ(world.Pass(text).at(0).ip.size(), 28u + 5 + (proxy ? 28 : 12));
    Gave(world.Pass(text), world.Forwarded(text));
  }
}

TEST(udp_super_packets_are_split_for_the_header) {
  Full world(0, kServiceProxyV2, false, kProtoUdp);
  Text text = world.Request();
  text.payload = Bytes(2500, 3);
  text.partial = true;
  text.gso_size = 1000;
  const std::vector<Sent> sent = world.Pass(text);
  REQUIRE(sent.size() == 3);
  CHECK_EQ(sent[0].ip.size(), 28u + 28 + 1000);
  CHECK_EQ(sent[1].ip.size(), 28u + 1000);
  for (const Sent& each : sent) CHECK_EQ(test::WrongIn(each.ip), "");
}

// Spec 12.8.
TEST(an_established_connection_that_expires_resets_both_sides) {
  for (const bool six : {false, true}) {
    Full world(kFullnatRandomise, 0, six);
    const uint32_t isn = world.Shake();
    world.Pass(world.Client(kClientIsn + 1, kServerIsn + 1, kPshAck, Hex("0102")));
    world.Pass(world.Server(kServerIsn + 1, isn + 3, kTcpAck, Hex("aabbcc")), 1);
    world.Pass(world.Server(kServerIsn + 4, isn + 3, kTcpAck, Hex("dd")), 1);
    world.Pass(world.Server(kServerIsn + 1, isn + 1, kTcpAck, Hex("aa")), 1);  // an old one
    CHECK_EQ(world.State(), kTcpEstablished);
    Text to_server = world.Forwarded(world.Client(isn + 3, 0, kTcpRst));
    Text to_client = world.Returned(world.Server(kServerIsn + 5, 0, kTcpRst));
    for (Text* text : {&to_server, &to_client}) {
      text->ttl = 64;
      text->id = 0;
    }
    Bytes want_server = IpOf(to_server);
    Bytes want_client = IpOf(to_client);
    const size_t tcp = six ? 40 : 20;
    for (Bytes* want : {&want_server, &want_client}) {
      // A RST has no window; Text gives every segment one.
      const uint32_t sum = Get16(*want, tcp + 16);
      test::Set16(*want, tcp + 14, 0);
      test::Set16(*want, tcp + 16, (sum + 64240) % 0xffff);
    }
    world.rig.pass_ms(91'000);
    CHECK_EQ(world.Size(), 0u);
    const std::vector<Sent> sent = world.Taken();
    REQUIRE(sent.size() == 2);
    CHECK_EQ(sent[0].ip, want_client);
    CHECK_EQ(sent[1].ip, want_server);
  }
}

TEST(a_connection_that_was_not_established_expires_in_silence) {
  Full world(kFullnatRandomise);
  world.Pass(world.Client(kClientIsn, 0, kTcpSyn));
  world.rig.pass_ms(40'000);
  CHECK_EQ(world.Size(), 0u);
  CHECK_EQ(world.Taken().size(), 0u);
}

// An ICMP error about `quoted` from a router, as IP bytes of `text`.
Text Error(const Text& quoted, const std::string& from, const std::string& to, uint8_t type,
           uint8_t code, uint32_t rest) {
  Text text;
  text.source = from;
  text.destination = to;
  text.protocol = quoted.six() ? kProtoIcmp6 : kProtoIcmp;
  text.icmp_type = type;
  text.icmp_code = code;
  text.ethernet = true;
  test::Put32(text.payload, rest);
  test::PutAll(text.payload, IpOf(quoted));
  return text;
}

// A TCP believes an error only if the number it quotes is one of its own (RFC 5927 4.1).
TEST(errors_quote_the_numbers_of_who_receives_them) {
  Full world(kFullnatRandomise);
  const uint32_t isn = world.Shake();
  Text data = world.Client(kClientIsn + 1, kServerIsn + 1, kTcpAck, Bytes(1000, 1));
  Text forwarded = world.Forwarded(data);
  forwarded.sequence = isn + 1;
  Gave(world.Pass(data), forwarded);
  // From behind: about what the server was sent.
  const std::vector<Sent> behind =
      world.Pass(Error(forwarded, "198.19.3.3", world.ends.local, 3, 4, 1400), 1);
  REQUIRE(behind.size() == 1);
  CHECK_EQ(Get16(behind[0].ip, 26), 1400u);
  CHECK_EQ(Get32(behind[0].ip, 28 + 20 + 4), kClientIsn + 1);
  CHECK_EQ(test::WrongIn(behind[0].ip), "");
  // From before: about what the client was sent.
  Text reply = world.Server(kServerIsn + 1, isn + 1, kTcpAck, Bytes(10, 2));
  Text returned = world.Returned(reply);
  returned.acknowledgement = kClientIsn + 1;
  Gave(world.Pass(reply, 1), returned);
  const std::vector<Sent> before =
      world.Pass(Error(returned, "198.18.3.3", world.ends.service, 3, 1, 0), 0);
  REQUIRE(before.size() == 1);
  CHECK_EQ(Get32(before[0].ip, 28 + 20 + 4), kServerIsn + 1);
  CHECK_EQ(Get32(before[0].ip, 28 + 20 + 8), isn + 1);
}

// While segments still grow on their way, the MTU that a client learns has room for it.
TEST(an_mtu_told_leaves_room_for_toa) {
  Full world(kFullnatToa);
  world.Shake();
  Text data = world.Client(kClientIsn + 1, kServerIsn + 1, kTcpAck, Bytes(1000, 1));
  world.Pass(data);
  Text forwarded = world.Forwarded(data);
  forwarded.tcp_options = Hex("fe089c40 c6120007");
  const std::vector<Sent> sent =
      world.Pass(Error(forwarded, "198.19.3.3", world.ends.local, 3, 4, 900), 1);
  CHECK_EQ(Get16(sent.at(0).ip, 26), 892u);
}

TEST(ipv6_clients_reach_an_ipv4_server) {
  Nat64 world(kFullnatToa);
  Text syn = world.Client(kClientIsn, 0, kTcpSyn);
  syn.tos = 0xb8;
  const std::vector<Sent> opened = world.Pass(syn);
  GaveAnyId(opened, world.Translated(syn));
  Text reply = world.Answer(kServerIsn, kClientIsn + 1, kSynAck);
  reply.tcp_options = Hex("020405b4");
  reply.tos = 0x20;
  Text want = world.Returned(reply);
  want.tcp_options = Hex("020405a0");
  Gave(world.Pass(reply, 1), want);
  // TOA says an IPv6 client to an IPv4 server.
  Text data = world.Client(kClientIsn + 1, kServerIsn + 1, kPshAck, Bytes(1440 - 20, 5));
  data.extensions = {};
  want = world.Translated(data);
  want.tcp_options = Hex("fe149c40 20010db8 00000000 00000000 00000007");
  want.fragment = 0x4000;
  want.id = 0;
  Gave(world.Pass(data), want);
  // Extension headers stay behind.
  data = world.Client(kClientIsn + 1, kServerIsn + 9, kPshAck, Hex("01"));
  data.extensions = {{60, Hex("00 0104 00000000")}};
  want = world.Translated(data);
  GaveAnyId(world.Pass(data), want);
}

TEST(nat64_keeps_super_packets_and_partial_checksums) {
  Nat64 world(0);
  world.Shake();
  Text data = world.Client(kClientIsn + 1, kServerIsn + 1, kPshAck, Bytes(5000, 5));
  data.partial = true;
  data.gso_size = 1400;
  std::vector<Sent> sent = world.Pass(data);
  Text want = world.Translated(data);
  want.id = 0;
  Gave(sent, want);
  CHECK_EQ(sent[0].vnet.gso_type, kVnetGsoTcp4);
  CHECK_EQ(sent[0].vnet.csum_start, 14u + 20);
  Text reply = world.Answer(kServerIsn + 1, kClientIsn + 1, kTcpAck, Bytes(5000, 6));
  reply.partial = true;
  reply.gso_size = 1400;
  sent = world.Pass(reply, 1);
  Gave(sent, world.Returned(reply));
  CHECK_EQ(sent[0].vnet.gso_type, kVnetGsoTcp6);
  CHECK_EQ(sent[0].vnet.csum_start, 14u + 40);
}

TEST(nat64_datagrams_get_a_checksum_and_say_their_client) {
  Nat64 world(0, 0, kProtoUdp);
  world.config.uoa_trail = 1;
  world.Adopt();
  Text text = world.Request();
  text.payload = Hex("0102030405");
  const std::vector<Sent> sent = world.Pass(text);
  REQUIRE(sent.size() == 1);
  CHECK_EQ(Part(sent[0].ip, 20, 24),
           Hex("2011 0018 1f14 9c40 20010db8 00000000 00000000 00000007"));
  CHECK_EQ(sent[0].ip[9], 248);
  GaveAnyId(world.Pass(text), world.Translated(text));
  Text reply = world.Answer(0, 0, 0, Hex("0a0b0c"));
  reply.udp_checksum = false;
  Text want = world.Returned(reply);
  want.udp_checksum = true;
  Gave(world.Pass(reply, 1), want);
}

// RFC 7915 4.2, 5.2: type, code and MTU, the quote of the other family.
TEST(nat64_errors_are_translated_both_ways) {
  Nat64 world(kFullnatRandomise);
  const uint32_t isn = Get32(world.Pass(world.Client(kClientIsn, 0, kTcpSyn)).at(0).ip, 24);
  world.Pass(world.Answer(kServerIsn, isn + 1, kSynAck), 1);
  Text data = world.Client(kClientIsn + 1, kServerIsn + 1, kTcpAck, Bytes(1300, 1));
  Text forwarded = world.Translated(data);
  forwarded.sequence = isn + 1;
  forwarded.id = 0;
  Gave(world.Pass(data), forwarded);
  const struct {
    uint8_t type, code;
    uint32_t rest;
    uint8_t want_type, want_code;
    uint32_t want_rest;
  } behind[] = {
      {3, 0, 0, 1, 0, 0},       {3, 1, 0, 1, 0, 0},      {3, 2, 0, 4, 1, 6},    {3, 3, 0, 1, 4, 0},
      {3, 4, 1400, 2, 0, 1420}, {3, 4, 600, 2, 0, 1280}, {3, 4, 0, 2, 0, 1280}, {3, 10, 0, 1, 1, 0},
      {3, 13, 0, 1, 1, 0},      {11, 0, 0, 3, 0, 0},
  };
  for (const auto& each : behind) {
    const std::vector<Sent> sent = world.Pass(
        Error(forwarded, "198.19.3.3", "198.19.9.1", each.type, each.code, each.rest), 1);
    if (!CHECK_EQ(sent.size(), 1u)) continue;
    const Bytes& ip = sent[0].ip;
    CHECK_EQ(test::WrongIn(ip), "");
    CHECK_LE(ip.size(), 1280u);
    CHECK_EQ(Part(ip, 8, 16), test::AddressBytes(world.ends.service));
    CHECK_EQ(Part(ip, 24, 16), test::AddressBytes(world.ends.client));
    CHECK_EQ(ip[40], each.want_type);
    CHECK_EQ(ip[41], each.want_code);
    CHECK_EQ(Get32(ip, 44), each.want_rest);
    // The quote is what the client sent, but for its hops and its checksum.
    Bytes want = IpOf(data);
    Bytes quote = Part(ip, 48, 60);
    want.resize(60);
    want[7] = quote[7];
    test::Set16(want, 56, Get16(quote, 56));
    CHECK_EQ(quote, want);
  }
  CHECK_EQ(world.Pass(Error(forwarded, "198.19.3.3", "198.19.9.1", 3, 14, 0), 1).size(), 0u);
  CHECK_EQ(world.Counted(Reason::kNat64Untranslatable), 1u);

  Text reply = world.Answer(kServerIsn + 1, isn + 1, kTcpAck, Bytes(30, 2));
  Text returned = world.Returned(reply);
  returned.acknowledgement = kClientIsn + 1;
  Gave(world.Pass(reply, 1), returned);
  const struct {
    uint8_t type, code;
    uint32_t rest;
    uint8_t want_type, want_code;
    uint32_t want_rest;
  } before[] = {
      {1, 0, 0, 3, 1, 0},       {1, 1, 0, 3, 10, 0}, {1, 3, 0, 3, 1, 0}, {1, 4, 0, 3, 3, 0},
      {2, 0, 1400, 3, 4, 1380}, {3, 0, 0, 11, 0, 0}, {4, 1, 6, 3, 2, 0},
  };
  for (const auto& each : before) {
    const std::vector<Sent> sent = world.Pass(
        Error(returned, "2001:db8::99", world.ends.service, each.type, each.code, each.rest), 0);
    if (!CHECK_EQ(sent.size(), 1u)) continue;
    const Bytes& ip = sent[0].ip;
    CHECK_EQ(test::WrongIn(ip), "");
    CHECK_EQ(Part(ip, 12, 8), Hex("c6130901 c6130001"));
    CHECK_EQ(ip[20], each.want_type);
    CHECK_EQ(ip[21], each.want_code);
    CHECK_EQ(Get32(ip, 24), each.want_rest);
    CHECK_EQ(Part(ip, 28 + 12, 8), Hex("c6130001 c6130901"));
    CHECK_EQ(Get32(ip, 48 + 8), isn + 1);
  }
}

// Packets grow by 20 bytes on their way to the client, and are told so in time.
TEST(nat64_mtu_counts_the_longer_header) {
  Nat64 world(0);
  world.Shake();
  Text reply = world.Answer(kServerIsn + 1, kClientIsn + 1, kTcpAck, Bytes(1441, 2));
  reply.fragment = 0;  // whatever its DF says
  std::vector<Sent> sent = world.Pass(reply, 1);
  REQUIRE(sent.size() == 1);
  CHECK_EQ(sent[0].port, 1u);
  CHECK_EQ(sent[0].ip[20], 3);
  CHECK_EQ(Get16(sent[0].ip, 26), 1480u);
  reply.payload.pop_back();
  CHECK_EQ(world.Pass(reply, 1).at(0).ip.size(), 1500u);
  // Towards the server an IPv6 packet may be longer than the path.
  CHECK_EQ(world.Pass(world.Client(kClientIsn + 1, kServerIsn + 1, kTcpAck, Bytes(1460, 1)))
               .at(0)
               .ip.size(),
           1500u);
  // One of 1280 bytes always passes, if need be in fragments.
  world.rig.hops().set_mtu(rig::RigHops::kIn4, 1000);
  sent = world.Pass(world.Client(kClientIsn + 1, kServerIsn + 1, kTcpAck, Bytes(1200, 1)));
  CHECK_EQ(sent.size(), 2u);
  sent = world.Pass(world.Client(kClientIsn + 1, kServerIsn + 1, kTcpAck, Bytes(1300, 1)));
  REQUIRE(sent.size() == 1);
  CHECK_EQ(sent[0].ip[40], 2);
  CHECK_EQ(Get32(sent[0].ip, 44), 1280u);
}

TEST(nat64_needs_a_local_address_of_the_servers_family) {
  Nat64 world(0);
  world.config.services[0].local = {test::Address(world.ends.local)};
  world.Adopt();
  CHECK_EQ(world.Pass(world.Client(1, 0, kTcpSyn)).size(), 0u);
  CHECK_EQ(world.Counted(Reason::kLocalAddressNone), 1u);
}

// Spec 12.2: with rr a destination sees all local addresses, also where there are as many.
TEST(destinations_in_turn_see_every_local_address) {
  Full world(0);
  world.config.services[0].local = {test::Address("198.19.9.1"), test::Address("198.19.9.2")};
  world.Adopt();
  std::set<Bytes> seen;
  for (uint16_t i = 0; i < 400; i++) {
    world.rig.pass_ms(2000);  // the table holds few
    world.verdict = i % 2;
    Text syn = world.Client(1, 0, kTcpSyn);
    syn.source_port = static_cast<uint16_t>(40000 + i);
    const std::vector<Sent> sent = world.Pass(syn);
    REQUIRE(sent.size() == 1);
    if (i % 2 == 0) seen.insert(Part(sent[0].ip, 12, 4));
  }
  CHECK_EQ(seen.size(), 2u);
}

// Every local address is tried before a connection is refused (spec 12.2).
TEST(a_full_local_address_gives_way_to_the_next) {
  Full world(0);
  world.config.local_port_first = world.config.local_port_last = 5000;
  world.config.services[0].local = {test::Address("198.19.9.1"), test::Address("198.19.9.2")};
  world.Adopt();
  for (uint16_t i = 0; i < 3; i++) {
    Text syn = world.Client(1, 0, kTcpSyn);
    syn.source_port = static_cast<uint16_t>(40000 + i);
    CHECK_EQ(world.Pass(syn).size(), i < 2 ? 1u : 0u);
  }
  CHECK_EQ(world.Size(), 2u);
  CHECK_EQ(world.Counted(Reason::kLocalPortExhausted), 1u);
}

}  // namespace
}  // namespace uvs
