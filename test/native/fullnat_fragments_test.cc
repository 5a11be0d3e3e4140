// Datagrams in fragments through FULLNAT, also between families: headers that make them longer, and
// what they may be cut into.
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

}  // namespace
}  // namespace uvs
