// Datagrams in fragments through FULLNAT, also between families: headers that make them longer, and
// what they may be cut into.
#include <set>

#include "check.h"
#include "fragment_world.h"
#include "fullnat_world.h"

namespace uvs {
namespace {

using test::Bytes;
using test::Datagram;
using test::FragmentsOf;
using test::Full;
using test::Get16;
using test::Hex;
using test::IpOf;
using test::Long;
using test::Nat64;
using test::PassAll;
using test::Sent;
using test::Text;

// IPv6 too is cut where it came in fragments, and so has room for the header.
TEST(a_first_datagram_in_fragments_gets_its_header) {
  for (const bool nat64 : {false, true}) {
    const std::unique_ptr<Full> world =
        nat64 ? std::make_unique<Nat64>(0, kServiceProxyV2, kProtoUdp)
              : std::make_unique<Full>(0, kServiceProxyV2, true, kProtoUdp);
    Text text = world->Request();
    text.payload = Bytes(2000, 3);
    const std::vector<Sent> sent = PassAll(*world, FragmentsOf(IpOf(text), 1448));
    const Bytes whole = Datagram(sent, false);
    REQUIRE(!whole.empty());
    Text want = nat64 ? static_cast<Nat64&>(*world).Translated(text) : world->Forwarded(text);
    want.payload =
        Hex("0d0a0d0a000d0a515549540a 21 22 0024 20010db8 00000000 00000000 00000007"
            "20010db8 00000000 00000000 00010010 9c40 0050");
    test::PutAll(want.payload, text.payload);
    want.fragment = 0;
    want.id = static_cast<uint16_t>(Get16(sent[0].ip, 4));
    CHECK_EQ(whole, IpOf(want));
    for (const Sent& each : sent) CHECK_LE(each.ip.size(), 1500u);
  }
}

// Over IPv6 a datagram in fragments may be longer than any other packet: 65535 bytes without its
// header. Nothing is put into it, but what goes for nothing may still go.
TEST(a_segment_of_65550_bytes_passes) {
  Full world(kFullnatToa, 0, true);
  world.Shake();
  world.rig.hops().set_mtu(rig::RigHops::kIn6, 65535);
  Text text =
      world.Client(test::kClientIsn + 1, test::kServerIsn + 1, kTcpAck, Bytes(65510 - 60, 1));
  text.tcp_options = Hex("0824 00*34 01*4");
  const std::vector<Sent> sent = PassAll(world, FragmentsOf(IpOf(text), 1448));
  Text want = world.Forwarded(text);
  want.tcp_options = Hex("0824 00*34");
  CHECK_EQ(Datagram(sent, false), IpOf(want));
}

// Such a datagram is no IPv4 datagram.
TEST(nat64_of_a_datagram_too_long_for_ipv4_is_dropped) {
  Nat64 world(0, 0, kProtoUdp);
  for (const size_t bytes : {65507u, 65508u, 65527u}) {
    const Text text = Long(world.Request(), bytes);
    const std::vector<Sent> sent = PassAll(world, FragmentsOf(IpOf(text), 1240));
    CHECK_EQ(sent.empty(), bytes > 65507);
  }
  CHECK_EQ(world.Counted(Reason::kNoHeadroom), 2u);
}

// RFC 7915 5.1.1: free to be cut again, and each datagram known by a number of its own.
TEST(nat64_requests_in_fragments_stay_fragments) {
  Nat64 world(0, 0, kProtoUdp);
  std::set<uint32_t> ids;
  for (const size_t bytes : {1240u, 2000u, 4000u}) {
    const Text text = Long(world.Request(), bytes);
    const std::vector<Sent> sent = PassAll(world, FragmentsOf(IpOf(text), 1240));
    for (const Sent& each : sent) {
      CHECK_EQ(Get16(each.ip, 6) & 0x4000, 0u);
      CHECK_LE(each.ip.size(), 1500u);
    }
    Text want = world.Translated(text);
    want.fragment = 0;
    want.id = static_cast<uint16_t>(Get16(sent.at(0).ip, 4));
    CHECK_EQ(Datagram(sent, false), IpOf(want));
    ids.insert(want.id);
  }
  CHECK_EQ(ids.size(), 3u);
  CHECK_EQ(ids.count(0), 0u);
}

// RFC 7915 4: what came without DF passes everywhere. With DF it is answered as between IPv4 ends.
TEST(nat64_replies_in_fragments_reach_the_client) {
  Nat64 world(0, 0, kProtoUdp);
  world.Pass(world.Request());
  for (const size_t bytes : {1500u, 4000u, 60u}) {
    Text text = Long(world.Answer(0, 0, 0), bytes);
    for (const bool checksum : {true, false}) {
      text.udp_checksum = checksum;
      const std::vector<Sent> sent =
          PassAll(world, FragmentsOf(IpOf(text), bytes > 60 ? 1480 : 32), 1);
      Text want = world.Returned(text);
      want.udp_checksum = true;
      CHECK_EQ(Datagram(sent, false), IpOf(want));
      for (const Sent& each : sent) {
        CHECK_EQ(each.port, 0u);
        CHECK_LE(each.ip.size(), 1280u);
      }
    }
  }
  Text text = Long(world.Answer(0, 0, 0));
  text.fragment = 0x4000;
  const std::vector<Sent> sent = PassAll(world, FragmentsOf(IpOf(text), 1480), 1);
  REQUIRE(sent.size() == 1);
  CHECK_EQ(sent[0].ip[20], 3);
  CHECK_EQ(Get16(sent[0].ip, 26), 1480u);
}

}  // namespace
}  // namespace uvs
