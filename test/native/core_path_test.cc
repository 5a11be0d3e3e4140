// The packet path as a whole, second part: where packets go and what they say when they leave.
// Every method in both families and directions, TTL, MTU, hops, ICMP, offload, statistics, and
// every reason to drop provoked through the whole core.
#include <cerrno>

#include "core_world.h"

namespace uvs {
namespace {

using test::Bytes;
using test::EndsOf;
using test::Get16;
using test::IpOf;
using test::kMethods;
using test::kSynAck;
using test::Part;
using test::Sent;
using test::Text;
using test::World;
using test::WrongIn;

// An ICMP error of `type` from `source` that quotes the first `quoted` bytes of `about`.
Text Error(const std::string& source, const std::string& destination, uint8_t type, uint8_t code,
           const Bytes& about, size_t quoted = 28) {
  Text text;
  text.source = source;
  text.destination = destination;
  text.protocol = text.six() ? kProtoIcmp6 : kProtoIcmp;
  text.icmp_type = type;
  text.icmp_code = code;
  text.payload = Bytes(4, 0);
  test::PutAll(text.payload, Part(about, 0, std::min(quoted, about.size())));
  text.ethernet = true;
  return text;
}

// The packet that a tunnel's outer header carries.
Bytes Inner(const Bytes& ip, bool outer_six) {
  const size_t outer = outer_six ? 40 : 20;
  return Part(ip, outer, ip.size() - outer);
}

Bytes BytesOf(const Addr& address) {
  const uint8_t* end = address.bytes + 16;
  return Bytes(address.is_v4() ? end - 4 : address.bytes, end);
}

// One ICMP message to `text`'s sender, of this type and code; returns it.
Bytes CheckAnswer(const std::vector<Sent>& sent, const Text& text, uint8_t type, uint8_t code) {
  CHECK_EQ(sent.size(), 1);
  if (sent.size() != 1) return Bytes(48, 0);
  const Bytes& ip = sent[0].ip;
  const bool six = text.six();
  CHECK_EQ(WrongIn(ip), "");
  CHECK_EQ(ip[six ? 6 : 9], six ? kProtoIcmp6 : kProtoIcmp);
  CHECK_EQ(Part(ip, six ? 24 : 16, six ? 16 : 4), test::AddressBytes(text.source));
  CHECK_EQ(ip[six ? 40 : 20], type);
  CHECK_EQ(ip[six ? 41 : 21], code);
  return ip;
}

TEST(path_every_method_both_ways) {
  for (const uint8_t method : kMethods) {
    for (const bool six : {false, true}) {
      for (const uint8_t protocol : {kProtoTcp, kProtoUdp, kProtoSctp}) {
        World world(method, six, protocol);
        Text text = world.Request(kTcpSyn);
        text.payload = Bytes(100, 7);
        std::vector<Sent> sent = world.Pass(text);
        REQUIRE(sent.size() == 1);
        CHECK_EQ(sent[0].port, 1);
        CHECK_EQ(Part(sent[0].link, 0, 6), test::Hex("020000000101"));
        const Bytes want = IpOf(world.Forwarded(text));
        CHECK_EQ(method == kMethodTunnel ? Inner(sent[0].ip, six) : sent[0].ip, want);
        CHECK_EQ(WrongIn(sent[0].ip), "");
        if (!has_reply_key(method)) continue;
        const Text reply = world.Reply(kSynAck);
        sent = world.Pass(reply, 1);
        REQUIRE(sent.size() == 1);
        CHECK_EQ(sent[0].port, 0);
        CHECK_EQ(sent[0].ip, IpOf(world.Returned(reply)));
      }
    }
  }
}

TEST(path_tunnels_of_mixed_families) {
  for (const bool six : {false, true}) {
    World world(kMethodTunnel, six);
    world.config.destinations[0].address = test::Address(EndsOf(!six).destination);
    world.Adopt();
    const Text text = world.Request(kTcpSyn);
    const std::vector<Sent> sent = world.Pass(text);
    REQUIRE(sent.size() == 1);
    CHECK_EQ(WrongIn(sent[0].ip), "");
    CHECK_EQ(sent[0].ip[0] >> 4, six ? 4 : 6);
    CHECK_EQ(sent[0].link[12], six ? 0x08 : 0x86);
    CHECK_EQ(Inner(sent[0].ip, !six), IpOf(world.Forwarded(text)));
    const Bytes to = Part(sent[0].ip, six ? 16 : 24, six ? 4 : 16);
    CHECK_EQ(to, test::AddressBytes(EndsOf(!six).destination));
  }
}

TEST(path_ttl_ends_before_mtu_is_asked) {
  for (const uint8_t method : kMethods) {
    for (const bool six : {false, true}) {
      World world(method, six);
      world.Open();
      Text text = world.Request();
      text.ttl = 1;
      text.payload = Bytes(3000, 1);
      CheckAnswer(world.Pass(text), text, six ? 3 : 11, 0);
      CHECK_EQ(world.rig.reason(Reason::kTtlExceeded), 1);
      CHECK_EQ(world.rig.reason(Reason::kTooBig), 0);
      if (!has_reply_key(method)) continue;
      Text reply = world.Reply();
      reply.ttl = 1;
      const uint64_t before = world.blocks.total.get()->out_packets;
      const Bytes answer = CheckAnswer(world.Pass(reply, 1), reply, six ? 3 : 11, 0);
      CHECK_EQ(world.rig.reason(Reason::kTtlExceeded), 2);
      // The host refuses to forward it: no reply, and it speaks from where its sender is.
      CHECK_EQ(world.blocks.total.get()->out_packets, before);
      const NextHop& back = world.rig.hops().at(six ? rig::RigHops::kIn6 : rig::RigHops::kIn4);
      CHECK_EQ(Part(answer, six ? 8 : 12, six ? 16 : 4), BytesOf(back.source));
    }
  }
}

TEST(path_too_big_is_answered_with_the_mtu_that_fits) {
  for (const uint8_t method : kMethods) {
    for (const bool six : {false, true}) {
      World world(method, six);
      world.Open();
      world.rig.hops().set_mtu(six ? rig::RigHops::kIn6 : rig::RigHops::kIn4, 1400);
      const uint32_t mtu = method == kMethodTunnel ? 1400 - (six ? 40 : 20) : 1400;
      Text text = world.Request();
      text.payload = Bytes(mtu - (six ? 60 : 40), 1);
      CHECK_EQ(world.Pass(text).size(), 1);
      text.payload.push_back(1);
      const TrafficRecord& total = *world.blocks.total.get();
      const uint64_t packets = total.out_packets;
      const uint64_t bytes = total.out_bytes;
      const Bytes answer = CheckAnswer(world.Pass(text), text, six ? 2 : 3, six ? 0 : 4);
      CHECK_EQ(test::Get32(answer, six ? 44 : 24), mtu);
      CHECK_EQ(answer[six ? 48 + 7 : 28 + 8], text.ttl - 1);  // what is quoted was on its way out
      // The kernel sees the answer leave as a packet of the connection, but for masquerading.
      CHECK_EQ(total.out_packets - packets, has_reply_key(method) ? 0 : 1);
      CHECK_EQ(total.out_bytes - bytes, has_reply_key(method) ? 0 : answer.size());
      CHECK_EQ(world.rig.reason(Reason::kTooBig), 1);
      CHECK_EQ(world.Only()->in_packets, 4);  // tracked and counted before (spec 5.3)
    }
  }
}

// Puts the pieces of one datagram together; empty when they do not fit.
Bytes Reassembled(const std::vector<Sent>& pieces) {
  Bytes payload;
  for (size_t i = 0; i < pieces.size(); i++) {
    const Bytes& ip = pieces[i].ip;
    if (WrongIn(ip) != "" || (Get16(ip, 6) & 0x1fff) * 8 != payload.size()) return {};
    if (((Get16(ip, 6) & 0x2000) != 0) != (i + 1 < pieces.size())) return {};
    test::PutAll(payload, Part(ip, 20, ip.size() - 20));
  }
  return payload;
}

// Replies are forwarded by the host, which asks the MTU first (ip_forward.c).
TEST(path_too_big_reply_is_quoted_as_it_came) {
  World world(kMethodMasquerade);
  world.Open();
  world.rig.hops().set_mtu(rig::RigHops::kOut4, 1400);
  Text reply = world.Reply();
  reply.payload = Bytes(1361, 1);
  const Bytes answer = CheckAnswer(world.Pass(reply, 1), reply, 3, 4);
  CHECK_EQ(answer[28 + 8], reply.ttl);
}

// A destination on this host sends its replies itself; they are not forwarded to anyone.
TEST(path_reply_of_a_local_destination_keeps_its_ttl) {
  World world(kMethodMasquerade);
  world.rig.hops().set_state(rig::RigHops::kIn4, HopState::kLocal);
  world.In(kTcpSyn);
  for (const uint8_t ttl : {64, 1}) {
    Text reply = world.Reply(kSynAck);
    reply.ttl = ttl;
    const std::vector<Sent> sent = world.Pass(reply, 1);
    REQUIRE(sent.size() == 1);
    CHECK_EQ(sent[0].ip[8], ttl);
    CHECK_EQ(WrongIn(sent[0].ip), "");
  }
}

TEST(path_without_dont_fragment_is_cut) {
  for (const uint8_t method : kMethods) {
    World world(method);
    world.Open();
    world.rig.hops().set_mtu(rig::RigHops::kIn4, 600);
    Text text = world.Request();
    text.fragment = 0;
    text.payload = Bytes(1400, 9);
    const std::vector<Sent> sent = world.Pass(text);
    CHECK_EQ(sent.size(), 3);
    for (const Sent& each : sent) CHECK(each.ip.size() <= 600);
    CHECK_EQ(world.rig.reason(Reason::kFragmentNeeded), 1);
    const Bytes whole = IpOf(world.Forwarded(text));
    const Bytes payload = Reassembled(sent);
    CHECK_EQ(payload, method == kMethodTunnel ? whole : Part(whole, 20, whole.size() - 20));
  }
}

// With pmtu_disc off a tunnel passes everything and cuts the outer packet (spec 5.6).
TEST(path_tunnel_without_pmtu_discovery) {
  World world(kMethodTunnel);
  world.config.pmtu_disc = 0;
  world.Adopt();
  world.Open();
  Text text = world.Request();
  text.payload = Bytes(1455, 3);  // fits 1500 alone, not with an outer header
  const std::vector<Sent> sent = world.Pass(text);
  CHECK_EQ(sent.size(), 2);
  CHECK_EQ(Reassembled(sent), IpOf(world.Forwarded(text)));
}

TEST(path_tunnel_through_too_small_a_path_is_silent) {
  for (const bool six : {false, true}) {
    World world(kMethodTunnel, six);
    world.Open();
    world.rig.hops().set_mtu(six ? rig::RigHops::kIn6 : rig::RigHops::kIn4, six ? 1319 : 87);
    CHECK_EQ(world.In(kTcpAck).size(), 0);
    CHECK_EQ(world.rig.reason(Reason::kTooBigSilent), 1);
  }
}

// Found by reading: the pieces of a super-packet and the fragments of a piece shared the scratch
// frames, and the last pieces were overwritten before they were sent.
TEST(path_super_packet_whose_segments_must_be_cut_too) {
  World world(kMethodTunnel);
  world.config.pmtu_disc = 0;
  world.Adopt();
  world.Open();
  world.rig.hops().set_mtu(rig::RigHops::kIn4, 400);
  Text text = world.Request();
  text.partial = true;
  text.gso_size = 512;
  text.payload = Bytes(64512, 0);  // 126 segments
  for (size_t i = 0; i < text.payload.size(); i++) text.payload[i] = static_cast<uint8_t>(i / 97);
  const std::vector<Sent> sent = world.Pass(text);
  CHECK_EQ(sent.size(), 2 * 126);
  Bytes payload;
  for (size_t i = 0; i + 1 < sent.size(); i += 2) {
    const Bytes inner = Reassembled({sent[i], sent[i + 1]});
    REQUIRE(inner.size() > 40);
    CHECK_EQ(WrongIn(inner), "");
    test::PutAll(payload, Part(inner, 40, inner.size() - 40));
  }
  CHECK_EQ(payload, text.payload);
}

TEST(path_super_packets_pass_whole_but_not_through_tunnels) {
  for (const uint8_t method : kMethods) {
    for (const bool six : {false, true}) {
      World world(method, six);
      world.Open();
      Text text = world.Request();
      text.partial = true;
      text.gso_size = 1000;
      text.payload = Bytes(20'500, 5);
      const std::vector<Sent> sent = world.Pass(text);
      if (method != kMethodTunnel) {
        REQUIRE(sent.size() == 1);
        CHECK_EQ(sent[0].ip, IpOf(world.Forwarded(text)));
        CHECK_EQ(sent[0].vnet.gso_size, 1000);
        CHECK_EQ(sent[0].vnet.csum_start, 14 + (six ? 40 : 20));
        continue;
      }
      CHECK_EQ(sent.size(), 21);
      Bytes payload;
      for (const Sent& each : sent) {
        CHECK_EQ(WrongIn(each.ip), "");
        const Bytes inner = Inner(each.ip, six);
        const size_t header = six ? 60 : 40;
        test::PutAll(payload, Part(inner, header, inner.size() - header));
      }
      CHECK_EQ(payload, text.payload);
    }
  }
}

TEST(path_unreachable_hops_answer) {
  for (const uint8_t method : kMethods) {
    for (const bool six : {false, true}) {
      World world(method, six);
      world.Open();
      world.rig.hops().set_state(six ? rig::RigHops::kIn6 : rig::RigHops::kIn4,
                                 HopState::kUnreachable);
      const Text text = world.Request();
      CheckAnswer(world.Pass(text), text, six ? 1 : 3, six ? 3 : 1);
      CHECK_EQ(world.rig.reason(Reason::kNoRoute), 1);
      CHECK_EQ(world.Size(), 1);
    }
  }
}

TEST(path_unresolved_hops_park) {
  for (const uint8_t method : kMethods) {
    World world(method);
    world.Open();
    world.rig.hops().set_state(rig::RigHops::kIn4, HopState::kUnresolved);
    world.rig.hops().room = 3;
    Text text = world.Request();
    for (uint16_t i = 0; i < 5; i++) {
      text.id = i;
      world.Inject(text);
    }
    world.rig.run([](const MissRecord&) { return 0; });
    CHECK_EQ(world.Taken().size(), 0);
    CHECK_EQ(world.rig.reason(Reason::kNeighbourQueueFull), 2);
    world.rig.hops().set_state(rig::RigHops::kIn4, HopState::kReady);
    world.rig.pass_ms(10);
    const std::vector<Sent> sent = world.Taken();
    REQUIRE(sent.size() == 3);
    for (uint16_t i = 0; i < 3; i++) {
      text.id = i;
      const Bytes want = IpOf(world.Forwarded(text));
      CHECK_EQ(method == kMethodTunnel ? Inner(sent[i].ip, false) : sent[i].ip, want);
      CHECK_EQ(Part(sent[i].link, 0, 6), test::Hex("020000000101"));
    }
    world.rig.hops().set_state(rig::RigHops::kIn4, HopState::kUnresolved);
    CHECK_EQ(world.Pass(text).size(), 0);
    world.rig.pass_ms(kNeighbourWaitMs);
    CHECK_EQ(world.rig.reason(Reason::kNeighbourUnresolved), 1);
  }
}

TEST(path_changed_routes_are_asked_for_again) {
  World world(kMethodMasquerade);
  world.Open();
  const uint32_t before = world.rig.hops().finds;
  CHECK_EQ(world.In(kTcpAck)[0].port, 1);
  CHECK_EQ(world.rig.hops().finds, before);
  world.rig.hops().exceptions = {{test::Address(world.ends.destination), rig::RigHops::kOut4},
                                 {test::Address(world.ends.client), rig::RigHops::kIn4}};
  CHECK_EQ(world.In(kTcpAck)[0].port, 1);  // nobody said that routes changed
  world.rig.hops().change_routes();
  CHECK_EQ(world.In(kTcpAck)[0].port, 0);
  CHECK_EQ(world.Back(kTcpAck)[0].port, 1);
}

TEST(path_icmp_about_a_request_reaches_the_client) {
  for (const uint8_t method : {kMethodMasquerade, kMethodFullnat}) {
    for (const uint8_t kind : {0, 1, 2, 3}) {
      const bool six = (kind & 1) != 0;
      World world(method, six, (kind & 2) != 0 ? kProtoSctp : kProtoTcp);
      world.Open();
      const Bytes request = IpOf(world.Forwarded(world.Request()));
      const std::string router = six ? "2001:db8:1::fe" : "198.19.0.254";
      const std::string back = method == kMethodFullnat ? world.ends.local : world.ends.client;
      const Text error = Error(router, back, six ? 1 : 3, 1, request, six ? 48 : 28);
      const uint32_t due = world.DueTicks();
      world.rig.pass_ms(1000);
      const std::vector<Sent> sent = world.Pass(error, 1);
      REQUIRE(sent.size() == 1);
      CHECK_EQ(sent[0].port, 0);
      // It says what a router on the client's side would: from the service, about what was sent.
      const Bytes original = IpOf(world.Request());
      const Bytes& ip = sent[0].ip;
      CHECK_EQ(WrongIn(ip), "");
      CHECK_EQ(Part(ip, six ? 8 : 12, six ? 16 : 4), test::AddressBytes(world.ends.service));
      CHECK_EQ(Part(ip, six ? 24 : 16, six ? 16 : 4), test::AddressBytes(world.ends.client));
      const size_t quote = six ? 48 : 28;
      CHECK_EQ(Part(ip, quote + (six ? 8 : 12), six ? 32 : 8),
               Part(original, six ? 8 : 12, six ? 32 : 8));
      CHECK_EQ(Part(ip, quote + (six ? 40 : 20), 4), Part(original, six ? 40 : 20, 4));
      CHECK_EQ(world.blocks.total.get()->out_packets, (kind & 2) != 0 ? 1 : 2);
      CHECK_EQ(world.DueTicks(), due - kTicksPerSec);  // an error restarts no timer
    }
  }
}

TEST(path_icmp_about_a_reply_reaches_the_destination) {
  for (const uint8_t method : kMethods) {
    for (const uint8_t kind : {0, 1, 2, 3}) {
      const bool six = (kind & 1) != 0;
      World world(method, six, (kind & 2) != 0 ? kProtoSctp : kProtoTcp);
      world.Open();
      const uint64_t bytes = world.blocks.total.get()->in_bytes;
      const uint32_t packets = world.Only()->in_packets;
      Text reply = world.Request();
      std::swap(reply.source, reply.destination);
      std::swap(reply.source_port, reply.destination_port);
      const std::string router = six ? "2001:db8::fe" : "198.18.0.254";
      const Text error =
          Error(router, world.ends.service, six ? 3 : 11, 0, IpOf(reply), six ? 48 : 28);
      const std::vector<Sent> sent = world.Pass(error);
      REQUIRE(sent.size() == 1);
      CHECK_EQ(sent[0].port, 1);
      CHECK_EQ(WrongIn(sent[0].ip), "");
      const Bytes passed = method == kMethodTunnel ? Inner(sent[0].ip, six) : sent[0].ip;
      Text want = error;
      want.ttl--;
      if (has_reply_key(method)) {
        CHECK_EQ(Part(passed, six ? 24 : 16, six ? 16 : 4),
                 test::AddressBytes(world.ends.destination));
        const Bytes seen = IpOf(world.Reply());  // what the destination sent
        const size_t quote = six ? 48 : 28;
        CHECK_EQ(Part(passed, quote + (six ? 8 : 12), six ? 32 : 8),
                 Part(seen, six ? 8 : 12, six ? 32 : 8));
        CHECK_EQ(Part(passed, quote + (six ? 40 : 20), 4), Part(seen, six ? 40 : 20, 4));
      } else {
        CHECK_EQ(passed, IpOf(want));
      }
      // Counted as received: the tunnel's outer header is not part of it (spec 7.1).
      CHECK_EQ(world.blocks.total.get()->in_bytes - bytes, IpOf(error).size());
      CHECK_EQ(world.Only()->in_packets - packets, has_reply_key(method) ? 0 : 1);
    }
  }
}

TEST(path_icmp_that_is_not_ours_or_not_right) {
  World world(kMethodMasquerade);
  world.Open();
  Text other = world.Forwarded(world.Request());
  other.destination_port = 9;
  CHECK_EQ(world.Pass(Error("198.19.0.254", world.ends.client, 3, 1, IpOf(other)), 1).size(), 0);
  CHECK_EQ(world.rig.reason(Reason::kIcmpUnrelated), 1);
  CHECK_EQ(world.Pass(Error("198.18.0.7", world.ends.service, 8, 0, Bytes(40, 0))).size(), 0);
  CHECK_EQ(world.rig.reason(Reason::kIcmpUnrelated), 2);
  test::Built built =
      Build(Error("198.19.0.254", world.ends.client, 3, 1, IpOf(world.Forwarded(world.Request()))));
  built.bytes.back() ^= 1;
  world.rig.port(1).inject(built.bytes.data(), static_cast<uint32_t>(built.bytes.size()));
  world.rig.run([](const MissRecord&) { return 0; });
  CHECK_EQ(world.Taken().size(), 0);
  CHECK_EQ(world.rig.reason(Reason::kIcmpBadChecksum), 1);
  CHECK_EQ(world.blocks.total.get()->out_packets, 1);
}

TEST(path_statistics) {
  for (const uint8_t method : kMethods) {
    World world(method);
    world.Open();
    Text text = world.Request();
    text.payload = Bytes(60, 1);
    world.Pass(text);
    uint64_t out = 0;
    if (has_reply_key(method)) {
      Text reply = world.Reply();
      reply.payload = Bytes(10, 1);
      world.Pass(reply, 1);
      out = 1;
    }
    for (const TrafficRecord* each :
         {world.blocks.total.get(), world.blocks.services.get(), world.blocks.destinations.get()}) {
      CHECK_EQ(each->connections, 1);
      CHECK_EQ(each->in_packets, 3);
      CHECK_EQ(each->in_bytes, 40 + 40 + 100);
      CHECK_EQ(each->out_packets, 2 * out);
      CHECK_EQ(each->out_bytes, (40 + 50) * out);
    }
    const PortWordsRecord* ports = world.blocks.port_words.get();
    world.rig.pass_ms(1);
    CHECK_EQ(ports[0].rx_frames, 3);
    CHECK_EQ(ports[1].tx_frames, 3);
    CHECK_EQ(ports[0].tx_frames, 2 * out);
    CHECK_EQ(ports[0].rx_bytes, 3 * 14 + 180);
    CHECK_EQ(world.blocks.words.get()->connections, 1);
  }
}

TEST(path_no_service_not_syn_ftp_data) {
  for (const bool six : {false, true}) {
    World world(kMethodMasquerade, six);
    Text text = world.Request(kTcpSyn);
    text.destination_port = 81;
    CHECK_EQ(world.Pass(text).size(), 0);
    CHECK_EQ(world.rig.reason(Reason::kNoService), 1);
    // The host is kept quiet about the address, so its RST is ours (RFC 9293 3.10.7.1).
    text = world.Request(kTcpAck);
    text.tos = 0xbb;
    text.payload = Bytes(10, 1);
    std::vector<Sent> sent = world.Pass(text);
    REQUIRE(sent.size() == 1);
    CHECK_EQ(WrongIn(sent[0].ip), "");
    // Found beside the kernel: the answer has the DS field of the question, not its ECN.
    CHECK_EQ(six ? Get16(sent[0].ip, 0) >> 4 & 0xff : sent[0].ip[1], 0xb8);
    const size_t l4 = six ? 40 : 20;
    CHECK_EQ(sent[0].ip[l4 + 13], kTcpRst);
    CHECK_EQ(test::Get32(sent[0].ip, l4 + 4), 0x01020304);
    CHECK_EQ(Get16(sent[0].ip, l4), 80);
    CHECK_EQ(world.rig.reason(Reason::kNotSyn), 1);
    CHECK_EQ(world.In(kTcpRst).size(), 0);
    CHECK_EQ(world.rig.reason(Reason::kNotSyn), 2);
    text = world.Request(kTcpSyn);
    text.source_port = 20;
    sent = world.Pass(text);
    REQUIRE(sent.size() == 1);
    CHECK_EQ(sent[0].ip[l4 + 13], kTcpRst | kTcpAck);
    CHECK_EQ(test::Get32(sent[0].ip, l4 + 8), text.sequence + 1);
    CHECK_EQ(world.rig.reason(Reason::kFtpDataSource), 1);
    CHECK_EQ(world.Size(), 0);
    World datagrams(kMethodMasquerade, six, kProtoUdp);
    Text query = datagrams.Request();
    query.source_port = 20;
    CheckAnswer(datagrams.Pass(query), query, six ? 1 : 3, six ? 4 : 3);
    CHECK_EQ(datagrams.Size(), 0);
  }
}

// What no service wants goes back to the host's stack (spec 5.3, ACCEPT), bare; what came from
// there goes where it would have gone without us. Never in a circle.
TEST(path_strays_go_to_the_host_or_on) {
  for (const bool six : {false, true}) {
    rig::Blocks blocks(8);
    rig::CoreRig rig(blocks, 0, 1, Link::kEthernet, 1);
    World names(kMethodMasquerade, six);
    REQUIRE(rig.adopt(names.config));
    Text text = names.Request(kTcpAck);
    text.destination = names.ends.hop;
    const test::Built built = Build(text);
    for (const uint32_t port : {0u, 1u}) {
      rig.port(port).inject(built.bytes.data(), static_cast<uint32_t>(built.bytes.size()));
      CHECK_EQ(rig.run([](const MissRecord&) { return 0; }), 0);
      CHECK_EQ(rig.port(port).take_sent().size(), 0);
      const std::vector<SentFrame> sent = rig.port(1 - port).take_sent();
      REQUIRE(sent.size() == 1);
      const Bytes& bytes = sent[0].bytes;
      const size_t link = port == 0 ? 0 : 14;
      CHECK_EQ(Part(bytes, link, bytes.size() - link), IpOf(text));
    }
    CHECK_EQ(rig.reason(Reason::kNoService), 2);
  }
}

TEST(path_no_destination_is_port_unreachable) {
  for (const bool six : {false, true}) {
    for (const uint8_t protocol : {kProtoTcp, kProtoUdp}) {
      World world(kMethodMasquerade, six, protocol);
      world.verdict = kVerdictNone;
      const Text text = world.Request(kTcpSyn);
      CheckAnswer(world.Pass(text), text, six ? 1 : 3, six ? 4 : 3);
      CHECK_EQ(world.rig.reason(Reason::kNoDestination), 1);
      CHECK_EQ(world.Size(), 0);
    }
  }
}

// Its sender is told as the kernel tells it: of the packet that could not leave, seen from here.
TEST(path_neighbours_that_do_not_answer) {
  for (const uint8_t method : kMethods) {
    for (const bool six : {false, true}) {
      for (const uint8_t protocol : {kProtoTcp, kProtoUdp}) {
        World world(method, six, protocol);
        world.Open();
        const uint16_t in = six ? rig::RigHops::kIn6 : rig::RigHops::kIn4;
        const uint16_t out = six ? rig::RigHops::kOut6 : rig::RigHops::kOut4;
        world.rig.hops().set_state(in, HopState::kUnresolved);
        const Text text = world.Request();
        const uint64_t packets = world.blocks.total.get()->out_packets;
        const uint64_t bytes = world.blocks.total.get()->out_bytes;
        CHECK_EQ(world.Pass(text).size(), 0);
        world.rig.pass_ms(kNeighbourWaitMs);
        CHECK_EQ(world.rig.reason(Reason::kNeighbourUnresolved), 1);
        const std::vector<Sent> sent = world.Taken();
        if (method == kMethodTunnel) {
          CHECK_EQ(sent.size(), 0);  // the director is the sender of what it has packed
        } else {
          const Bytes answer = CheckAnswer(sent, text, six ? 1 : 3, six ? 3 : 1);
          CHECK_EQ(answer[six ? 7 : 8], 64);
          CHECK_EQ(world.blocks.total.get()->out_packets, packets + 1);
          CHECK_EQ(world.blocks.total.get()->out_bytes, bytes + answer.size());
          const size_t quote = six ? 48 : 28;
          CHECK_EQ(Part(answer, quote + (six ? 8 : 12), six ? 32 : 8),
                   Part(IpOf(text), six ? 8 : 12, six ? 32 : 8));
          CHECK_EQ(Part(answer, quote + (six ? 40 : 20), 4), Part(IpOf(text), six ? 40 : 20, 4));
        }
        if (!has_reply_key(method)) continue;
        // Of a reply the destination hears.
        world.rig.hops().set_state(in, HopState::kReady);
        world.rig.hops().set_state(out, HopState::kUnresolved);
        const Text reply = world.Reply();
        CHECK_EQ(world.Pass(reply, 1).size(), 0);
        world.rig.pass_ms(kNeighbourWaitMs);
        CheckAnswer(world.Taken(), reply, six ? 1 : 3, six ? 3 : 1);
        CHECK_EQ(world.Size(), 1);
      }
    }
  }
  // Nobody asks who is told of an answer.
  World world(kMethodMasquerade);
  world.rig.hops().set_state(rig::RigHops::kOut4, HopState::kUnresolved);
  world.verdict = kVerdictNone;
  CHECK_EQ(world.Pass(world.Request(kTcpSyn)).size(), 0);
  CHECK_EQ(world.Pass(world.Request(kTcpAck)).size(), 0);
  world.rig.pass_ms(kNeighbourWaitMs);
  CHECK_EQ(world.rig.reason(Reason::kNeighbourUnresolved), 2);
  CHECK_EQ(world.Taken().size(), 0);
}

// A core beside a host that has the service's address itself; port 1 leads to the host's stack.
class OwnHost {
 public:
  explicit OwnHost(bool six, uint8_t protocol = kProtoTcp, uint8_t method = kMethodMasquerade)
      : names(method, six, protocol) {
    for (const uint16_t slot : {rig::RigHops::kIn4, rig::RigHops::kIn6}) {
      NextHop hop = rig.hops().at(slot);
      hop.state = HopState::kLocal;
      hop.link_bytes = 0;
      hop.mtu = UINT16_MAX;
      rig.hops().set(slot, hop);
    }
  }

  // The service's address is the host's too, not only the destination's.
  void HasTheService() {
    const uint16_t hop = names.six ? rig::RigHops::kIn6 : rig::RigHops::kIn4;
    rig.hops().exceptions.push_back({test::Address(names.ends.service), hop});
  }
  void Adopt() { CHECK(rig.adopt(names.config)); }

  // What the host gets of a packet from the clients' network; nobody else may get anything.
  std::vector<Bytes> Pass(const Text& text, int32_t verdict) {
    const test::Built built = Build(text);
    rig.port(0).inject(built.bytes.data(), static_cast<uint32_t>(built.bytes.size()));
    misses = rig.run([verdict](const MissRecord&) { return verdict; });
    CHECK_EQ(rig.port(0).take_sent().size(), 0);
    std::vector<Bytes> out;
    for (const SentFrame& frame : rig.port(1).take_sent()) out.push_back(frame.bytes);
    return out;
  }

  rig::Blocks blocks{64};
  rig::CoreRig rig{blocks, 0, 1, Link::kEthernet, 1};
  World names;
  uint32_t misses = 0;
};

// A destination on this host: what comes for it goes to its stack, whatever its TTL and its length,
// and nobody is told of anything (spec 5.5.1, 3).
TEST(path_local_node_takes_everything_as_it_is) {
  for (const uint8_t method : {kMethodMasquerade, kMethodDirect, kMethodTunnel}) {
    for (const bool six : {false, true}) {
      for (const uint8_t protocol : {kProtoTcp, kProtoUdp}) {
        OwnHost host(six, protocol, method);
        host.Adopt();
        Text text = host.names.Request(kTcpSyn);
        text.ttl = 1;
        text.payload = Bytes(3000, 7);
        Text want = host.names.Forwarded(text);
        want.ttl = text.ttl;
        const std::vector<Bytes> got = host.Pass(text, 0);
        REQUIRE(CHECK_EQ(got.size(), 1));
        CHECK_EQ(got[0], IpOf(want));
        CHECK_EQ(host.misses, 1);
      }
    }
  }
}

// The host answers for its address itself (spec 5.3, 5.4: ACCEPT); test/kernel shows with what.
TEST(path_what_begins_nothing_is_the_hosts_where_it_has_the_address) {
  for (const bool six : {false, true}) {
    for (const uint8_t protocol : {kProtoTcp, kProtoUdp, kProtoSctp}) {
      OwnHost host(six, protocol);
      host.HasTheService();
      host.Adopt();
      Text text = host.names.Request(kTcpSyn);
      text.source_port = 20;
      const std::vector<Bytes> got = host.Pass(text, 0);
      REQUIRE(CHECK_EQ(got.size(), 1));
      CHECK_EQ(got[0], IpOf(text));
      CHECK_EQ(host.misses, 0);
      CHECK_EQ(host.rig.reason(Reason::kFtpDataSource), 1);
    }
    OwnHost ftp(six);
    ftp.HasTheService();
    ftp.names.config.services[0].port = 21;
    ftp.names.config.services[0].flags = kServicePersistent;
    ftp.names.config.schedule_icmp = 1;
    ftp.Adopt();
    Text text = ftp.names.Request(kTcpSyn);
    text.destination_port = 2000;
    const std::vector<Bytes> got = ftp.Pass(text, kVerdictNone);
    REQUIRE(CHECK_EQ(got.size(), 1));
    CHECK_EQ(got[0], IpOf(text));
    CHECK_EQ(ftp.misses, 1);
    CHECK_EQ(ftp.rig.reason(Reason::kNoService), 1);
    // Of an ICMP error about such a port the host has its own copy.
    std::swap(text.source, text.destination);
    std::swap(text.source_port, text.destination_port);
    const Text error = Error(six ? "2001:db8::fe" : "198.18.0.254", ftp.names.ends.service,
                             six ? 1 : 3, six ? 4 : 3, IpOf(text), six ? 48 : 28);
    CHECK_EQ(ftp.Pass(error, kVerdictNone).size(), 0);
    CHECK_EQ(ftp.misses, 1);
    CHECK_EQ(ftp.rig.reason(Reason::kIcmpUnrelated), 1);
  }
}

// Spec 5.4, 3: a port that only the FTP rule led to the service is the host's affair: RST.
TEST(path_port_of_the_ftp_rule_is_left_alone) {
  World world(kMethodMasquerade);
  world.config.services[0].port = 21;
  world.Adopt();
  world.verdict = kVerdictNone;
  Text text = world.Request(kTcpSyn);
  text.destination_port = 2000;
  const std::vector<Sent> sent = world.Pass(text);
  REQUIRE(sent.size() == 1);
  CHECK_EQ(sent[0].ip[9], kProtoTcp);
  CHECK_EQ(sent[0].ip[33], kTcpRst | kTcpAck);
  CHECK_EQ(world.rig.reason(Reason::kNoDestination), 0);
}

TEST(path_answers_are_limited_in_rate) {
  World world(kMethodMasquerade);
  world.verdict = kVerdictNone;
  Text text = world.Request(kTcpSyn);
  size_t answers = 0;
  for (uint16_t i = 0; i < 200; i++) {
    text.source_port = static_cast<uint16_t>(1000 + i);
    answers += world.Pass(text).size();
  }
  CHECK_EQ(answers, 50);
  CHECK_EQ(world.rig.reason(Reason::kIcmpLimited), 150);
  CHECK_EQ(world.rig.reason(Reason::kNoDestination), 200);
  world.rig.pass_ms(20);
  for (uint16_t i = 0; i < 30; i++) answers += world.Pass(text).size();
  CHECK_EQ(answers, 70);
}

// Whoever provokes one kind of answer does not keep others from theirs; path-MTU discovery least of
// all, of which a client has no second sign.
TEST(path_every_kind_of_answer_has_its_limit) {
  World world(kMethodMasquerade);
  world.Open();
  world.rig.hops().set_mtu(rig::RigHops::kIn4, 1400);
  world.verdict = kVerdictNone;
  Text refused = world.Request(kTcpSyn);
  Text stray = world.Request(kTcpAck);
  for (uint16_t i = 0; i < 200; i++) {
    refused.source_port = stray.source_port = static_cast<uint16_t>(1000 + i);
    world.Pass(refused);
    CHECK_EQ(world.Pass(stray).size(), i < 50 ? 1 : 0);
  }
  CHECK_EQ(world.rig.reason(Reason::kIcmpLimited), 300);
  Text text = world.Request();
  text.payload = Bytes(1400, 1);
  for (int i = 0; i < 50; i++) CheckAnswer(world.Pass(text), text, 3, 4);
  CHECK_EQ(world.Pass(text).size(), 0);
  CHECK_EQ(world.rig.reason(Reason::kIcmpLimited), 301);
}

TEST(path_port_that_takes_no_more) {
  for (const int error : {EAGAIN, ENOBUFS, EMSGSIZE}) {
    World world(kMethodMasquerade);
    world.Open();
    world.rig.port(1).limit_tx(1, error);
    for (int i = 0; i < 4; i++) world.Inject(world.Request());
    world.rig.run([](const MissRecord&) { return 0; });
    CHECK_EQ(world.Taken().size(), 1);
    // A full port will not take the others either; a refused frame says nothing about them.
    CHECK_EQ(world.rig.reason(error == EMSGSIZE ? Reason::kTxError : Reason::kTxFull), 3);
    world.rig.port(1).unlimit_tx();
    CHECK_EQ(world.In(kTcpAck).size(), 1);
    world.rig.pass_ms(1);
    CHECK_EQ(world.blocks.port_words.get()[1].tx_frames, 4);
  }
}

TEST(path_frames_lost_by_the_kernel) {
  World world(kMethodMasquerade);
  world.rig.port(0).lost = 7;
  world.rig.pass_ms(1);
  world.rig.pass_ms(1);
  CHECK_EQ(world.rig.reason(Reason::kRxOverrun), 7);
}

TEST(path_method_without_link_layer_or_room) {
  {
    rig::Blocks blocks(8);
    rig::CoreRig rig(blocks, 0, 1, Link::kIp);
    for (uint16_t slot = 0; slot < rig::RigHops::kSlots; slot++) {
      NextHop hop = rig.hops().at(slot);
      hop.link_bytes = 0;
      rig.hops().set(slot, hop);
    }
    World names(kMethodDirect);
    REQUIRE(rig.adopt(names.config));
    Text text = names.Request(kTcpSyn);
    text.ethernet = false;
    const test::Built built = Build(text);
    rig.port(0).inject(built.bytes.data(), static_cast<uint32_t>(built.bytes.size()));
    rig.run([](const MissRecord&) { return 0; });
    CHECK_EQ(rig.port(1).take_sent().size(), 0);
    CHECK_EQ(rig.reason(Reason::kMethodUnsupported), 1);
    // The host itself needs none: it is reached through its TUN port.
    rig.hops().set_state(rig::RigHops::kIn4, HopState::kLocal);
    rig.port(0).inject(built.bytes.data(), static_cast<uint32_t>(built.bytes.size()));
    rig.run([](const MissRecord&) { return 0; });
    const std::vector<SentFrame> sent = rig.port(1).take_sent();
    REQUIRE(sent.size() == 1);
    CHECK_EQ(sent[0].bytes, built.bytes);  // not even the TTL moves (spec 5.5.1)
  }
  World world(kMethodTunnel);
  world.rig.port(0).headroom = 10;
  CHECK_EQ(world.In(kTcpSyn).size(), 0);
  CHECK_EQ(world.rig.reason(Reason::kNoHeadroom), 1);
}

// A frame that parse() refuses, and the reason it must be counted under.
struct Damaged {
  Reason reason;
  std::function<void(Bytes&)> harm;
};

void FixHeader(Bytes& frame) {
  test::Set16(frame, 24, 0);
  test::Set16(frame, 24, 0xffff - test::SlowSum(Part(frame, 14, 20)));
}

TEST(path_every_reason_of_the_parser) {
  const Damaged table[] = {
      {Reason::kFrameTruncated, [](Bytes& f) { f.resize(13); }},
      {Reason::kNotIp, [](Bytes& f) { f[12] = 0x88; }},
      {Reason::kIpTruncated, [](Bytes& f) { f.resize(30); }},
      {Reason::kIpBadVersion, [](Bytes& f) { f[14] = 0x55; }},
      {Reason::kIpBadHeaderLength, [](Bytes& f) { f[14] = 0x44; }},
      {Reason::kIpBadChecksum, [](Bytes& f) { f[24] ^= 1; }},
      {Reason::kIpBadTotalLength, [](Bytes& f) { f[17] = 19; }},
      {Reason::kL4Truncated, [](Bytes& f) { f[17] = 30, FixHeader(f); }},
      {Reason::kTcpBadOffset, [](Bytes& f) { f[46] = 0x40; }},
      {Reason::kUdpBadLength, [](Bytes& f) { f[23] = 17, f[39] = 7, FixHeader(f); }},
      {Reason::kSourceBad, [](Bytes& f) { f[26] = 224, FixHeader(f); }},
      {Reason::kProtocolUnknown, [](Bytes& f) { f[23] = 47, FixHeader(f); }},
  };
  World world(kMethodMasquerade);
  for (const Damaged& row : table) {
    Bytes frame = Build(world.Request(kTcpSyn)).bytes;
    row.harm(frame);
    world.rig.port(0).inject(frame.data(), static_cast<uint32_t>(frame.size()));
    CHECK_EQ(world.rig.run([](const MissRecord&) { return 0; }), 0);
    CHECK_EQ(world.Taken().size(), 0);
    CHECK_EQ(world.rig.reason(row.reason), 1);
    if (world.rig.reason(row.reason) != 1) {
      std::printf("  # %s\n", kReasonNames[static_cast<uint8_t>(row.reason)]);
    }
  }
  Text text = world.Request(kTcpSyn);
  text.partial = true;
  test::Built built = Build(text);
  built.vnet.csum_start += 2;
  world.rig.port(0).inject(built.bytes.data(), static_cast<uint32_t>(built.bytes.size()),
                           built.vnet);
  world.rig.run([](const MissRecord&) { return 0; });
  CHECK_EQ(world.rig.reason(Reason::kOffloadBad), 1);
  World six(kMethodMasquerade, true);
  text = six.Request(kTcpSyn);
  text.extensions = {{0, test::Hex("ff 00 0000 0000")}};  // longer than the packet
  six.Pass(text);
  CHECK_EQ(six.rig.reason(Reason::kIp6BadExtension), 1);
}

TEST(path_arp_for_an_announced_address_is_answered_and_announced) {
  World world(kMethodMasquerade);
  AnnounceRecord record{};
  record.address = test::Address(world.ends.service);
  record.port = 0;
  world.config.announces = {record};
  world.Adopt();
  world.rig.pass_ms(10);
  CHECK_EQ(world.Taken().size(), 1);  // gratuitous
  const Bytes request = test::Hex(
      "ffffffffffff 020000000002 0806 0001 0800 06 04 0001 020000000002 c6120007"
      "000000000000 c612010a");
  world.rig.port(0).inject(request.data(), static_cast<uint32_t>(request.size()));
  world.rig.run([](const MissRecord&) { return 0; });
  const std::vector<Sent> sent = world.Taken();
  REQUIRE(sent.size() == 1);
  CHECK_EQ(Part(sent[0].link, 0, 6), test::Hex("020000000002"));
  CHECK_EQ(Get16(sent[0].ip, 6), 2);
  CHECK_EQ(Part(sent[0].ip, 14, 4), test::Hex("c612010a"));
}

}  // namespace
}  // namespace uvs
