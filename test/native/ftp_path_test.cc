// FTP through the whole core: control dialogs, data connections both ways, both families, what a
// wrong checksum, a full table, a small MTU and a bad network do to them (spec 6).
#include <map>
#include <random>

#include "core_world.h"

namespace uvs {
namespace {

using test::Address;
using test::Bytes;
using test::Get16;
using test::Get32;
using test::IpOf;
using test::kFinAck;
using test::kSynAck;
using test::Part;
using test::Sent;
using test::Text;
using test::World;
using test::WrongIn;

Bytes Payload(const std::string& text) { return Bytes(text.begin(), text.end()); }

// A masqueraded FTP service: virtual port 21, destination port 2121.
class FtpWorld : public World {
 public:
  explicit FtpWorld(bool six_ = false, uint32_t capacity = 64)
      : World(kMethodMasquerade, six_, kProtoTcp, capacity) {
    config.services[0].port = 21;
    for (rig::DestinationText& each : config.destinations) each.port = 2121;
    Adopt();
  }

  Text Request(uint8_t flags = kTcpAck) const {
    Text text = World::Request(flags);
    text.destination_port = 21;
    return text;
  }
  // A packet of the client on the control connection, or from it to another port of the service.
  Text Client(const std::string& payload, uint16_t port = 21) const {
    Text text = Request(payload.empty() ? kTcpAck : kTcpAck | 8);
    text.destination_port = port;
    text.payload = Payload(payload);
    text.sequence = client_next;
    text.acknowledgement = client_acked;
    return text;
  }
  // A packet of the server.
  Text Server(const std::string& payload) const {
    Text text = Reply(payload.empty() ? kTcpAck : kTcpAck | 8);
    text.payload = Payload(payload);
    text.sequence = server_next;
    text.acknowledgement = client_next;
    return text;
  }
  void Connect() {
    Pass(Sequenced(Request(kTcpSyn), 99, 0));
    Pass(Sequenced(Reply(kSynAck), 499, 100), 1);
    Pass(Client(""));
  }
  // Says something and counts it. What leaves is returned.
  std::vector<Sent> Say(const std::string& payload) {
    const Text text = Client(payload);
    client_next += static_cast<uint32_t>(payload.size());
    return Pass(text);
  }
  std::vector<Sent> Answer(const std::string& payload) {
    const Text text = Server(payload);
    server_next += static_cast<uint32_t>(payload.size());
    return Pass(text, 1);
  }
  static Text Sequenced(Text text, uint32_t sequence, uint32_t acknowledgement) {
    text.sequence = sequence;
    text.acknowledgement = acknowledgement;
    return text;
  }

  // Connections whose virtual port is this one.
  std::vector<uint32_t> At(uint16_t port) const {
    std::vector<uint32_t> out;
    ConnTable& table = rig.core().table();
    for (uint32_t id = 0; id < table.high_water(); id++) {
      if (table.live(id) && table.at(id).virtual_port == Be16::of(port)) out.push_back(id);
    }
    return out;
  }
  const Conn& Data(uint16_t port) const { return rig.core().table().at(At(port).at(0)); }
  ConnExtra* ExtraOf(uint16_t port) {
    ConnTable& table = rig.core().table();
    return table.extra(table.at(At(port).at(0)));
  }

  uint32_t client_next = 100, client_acked = 500, server_next = 500;
};

std::string PayloadOf(const Bytes& ip) {
  const size_t l4 = ip[0] >> 4 == 6 ? 40 : (ip[0] & 15u) * 4;
  const size_t at = l4 + (ip.at(l4 + 12) >> 4) * 4u;
  return std::string(ip.begin() + static_cast<std::ptrdiff_t>(at), ip.end());
}
uint32_t SequenceOf(const Bytes& ip) { return Get32(ip, ip[0] >> 4 == 6 ? 44 : 24); }

// The one packet that left, checked.
Bytes One(const std::vector<Sent>& sent) {
  CHECK_EQ(sent.size(), 1);
  if (sent.size() != 1) return Bytes(60, 0);
  if ((sent[0].vnet.flags & kVnetNeedsCsum) == 0) CHECK_EQ(WrongIn(sent[0].ip), "");
  return sent[0].ip;
}

const char* Passive(bool six) {
  return six ? "229 Extended Passive Mode Entered (|||5001|)\r\n"
             : "227 Entering Passive Mode (198,19,0,1,19,137).\r\n";
}

TEST(ftp_passive_reply_names_the_virtual_address) {
  for (const bool six : {false, true}) {
    FtpWorld world(six);
    world.Connect();
    CHECK_EQ(PayloadOf(One(world.Say(six ? "EPSV\r\n" : "PASV\r\n"))),
             six ? "EPSV\r\n" : "PASV\r\n");
    const std::string want =
        six ? Passive(true) : "227 Entering Passive Mode (198,18,1,10,19,137).\r\n";
    CHECK_EQ(PayloadOf(One(world.Answer(Passive(six)))), want);
    REQUIRE(world.At(5001).size() == 1);
    const Conn& data = world.Data(5001);
    CHECK_EQ(data.state, kTcpListen);
    CHECK_EQ(data.expires - world.rig.core().tick(), 120 * kTicksPerSec);
    CHECK_EQ(data.client_port.host(), 0);
    CHECK_EQ(data.destination_port.host(), 5001);
    CHECK((data.flags & kConnNoClientPort) != 0);
    CHECK(data.client == Address(world.ends.client));
    // It is bound, but no new connection for the statistics (spec 7.1).
    CHECK_EQ(world.rig.load(0).inactive, 1);
    CHECK_EQ(world.rig.load(0).active, 1);
    CHECK_EQ(world.blocks.total.get()->connections, 1);

    // The client calls from a port that nobody knew; another client is not meant.
    Text call = world.Request(kTcpSyn);
    call.destination_port = 5001;
    call.source_port = 41000;
    Text stranger = call;
    stranger.source = six ? "2001:db8::8" : "198.18.0.8";
    world.verdict = kVerdictNone;
    world.Pass(stranger);
    CHECK_EQ(world.misses, 1);
    Text forwarded = call;
    forwarded.ttl--;
    forwarded.destination = world.ends.destination;
    CHECK_EQ(One(world.Pass(call)), IpOf(forwarded));
    CHECK_EQ(world.misses, 0);
    CHECK_EQ(world.Data(5001).state, kTcpSynRecv);
    CHECK_EQ(world.Data(5001).client_port.host(), 41000);
    CHECK_EQ(world.rig.core().table().portless(), 0);
    // A second call from another port finds nothing any more.
    call.source_port = 41001;
    world.Pass(call);
    CHECK_EQ(world.misses, 1);

    Text answer = world.Reply(kSynAck);
    answer.source_port = 5001;
    answer.destination_port = 41000;
    Text returned = answer;
    returned.ttl--;
    returned.source = world.ends.service;
    CHECK_EQ(One(world.Pass(answer, 1)), IpOf(returned));
  }
}

TEST(ftp_active_server_calls_from_the_port_below) {
  for (const bool six : {false, true}) {
    FtpWorld world(six);
    world.Connect();
    const std::string command =
        six ? "EPRT |2|2001:db8::7|5002|\r\n" : "PORT 198,18,0,7,19,138\r\n";
    CHECK_EQ(PayloadOf(One(world.Say(command))), command);
    REQUIRE(world.At(20).size() == 1);
    CHECK_EQ(world.Data(20).state, kTcpListen);
    CHECK_EQ(world.Data(20).client_port.host(), 5002);
    CHECK_EQ(world.Data(20).destination_port.host(), 2120);
    // The same command again: no second connection.
    world.Say(command);
    CHECK_EQ(world.Size(), 2);

    Text call = world.Reply(kTcpSyn);
    call.source_port = 2120;
    call.destination_port = 5002;
    Text returned = call;
    returned.ttl--;
    returned.source = world.ends.service;
    returned.source_port = 20;
    CHECK_EQ(One(world.Pass(call, 1)), IpOf(returned));
    CHECK_EQ(world.Data(20).state, kTcpListen);
    Text answer = world.Request(kSynAck);
    answer.source_port = 5002;
    answer.destination_port = 20;
    Text forwarded = answer;
    forwarded.ttl--;
    forwarded.destination = world.ends.destination;
    forwarded.destination_port = 2120;
    CHECK_EQ(One(world.Pass(answer)), IpOf(forwarded));
    CHECK_EQ(world.Data(20).state, kTcpSynRecv);
    call.tcp_flags = kTcpAck;
    world.Pass(call, 1);
    CHECK_EQ(world.Data(20).state, kTcpEstablished);
    CHECK_EQ(world.rig.load(0).active, 2);
  }
}

TEST(ftp_helper_is_for_masquerading_and_its_ports) {
  for (const uint8_t method : {kMethodDirect, kMethodTunnel, kMethodFullnat}) {
    World world(method);
    world.config.services[0].port = 21;
    world.Adopt();
    Text syn = world.Request(kTcpSyn);
    syn.destination_port = 21;
    world.Pass(syn);
    REQUIRE(world.Only() != nullptr);
    CHECK_EQ(world.Only()->flags & kConnHelped, 0);
  }
  FtpWorld world;
  world.config.ftp_ports[0] = 2100;
  world.config.ftp_ports[1] = 21;
  world.Adopt();
  world.Connect();
  CHECK_NE(world.Only()->flags & kConnHelped, 0);
  FtpWorld other;
  other.config.ftp_ports[0] = 2100;
  other.Adopt();
  other.Connect();
  CHECK_EQ(other.Only()->flags & kConnHelped, 0);
}

TEST(ftp_numbers_on_both_sides_of_the_edit) {
  FtpWorld world;
  world.Connect();
  world.Say("PASV\r\n");
  const std::string reply = "227 Entering Passive Mode (198,19,0,1,19,137).\r\n";
  const std::string edited = "227 Entering Passive Mode (198,18,1,10,19,137).\r\n";
  const uint32_t start = world.server_next;
  Bytes ip = One(world.Answer(reply));
  CHECK_EQ(SequenceOf(ip), start);
  // Sent again it is the same again, and nothing else moved.
  world.server_next = start;
  CHECK_EQ(One(world.Answer(reply)), ip);
  CHECK_EQ(PayloadOf(ip), edited);
  CHECK_EQ(world.At(5001).size(), 1);
  // What follows is numbered behind the longer text.
  const auto end = static_cast<uint32_t>(start + edited.size());
  CHECK_EQ(SequenceOf(One(world.Answer("150 Here it comes.\r\n"))), end);
  // The client acknowledges all of it; the server hears its own number.
  world.client_acked = end;
  ip = One(world.Say("NOOP\r\n"));
  CHECK_EQ(Get32(ip, 28), start + reply.size());
  // Half of the edit: the server is told that it begins.
  world.client_acked = start + 34;
  CHECK_EQ(Get32(One(world.Say("NOOP\r\n")), 28), start + 27);
  world.client_acked = start + 10;
  CHECK_EQ(Get32(One(world.Say("NOOP\r\n")), 28), start + 10);
  // SACK blocks too (the option of RFC 2018 behind two NOPs).
  Text sack = world.Client("");
  sack.tcp_options = {1, 1, 5, 10};
  test::Put32(sack.tcp_options, end + 1);
  test::Put32(sack.tcp_options, end + 11);
  ip = One(world.Pass(sack));
  CHECK_EQ(Get32(ip, 44), start + reply.size() + 1);
  CHECK_EQ(Get32(ip, 48), start + reply.size() + 11);
}

TEST(ftp_shorter_texts_and_super_packets) {
  FtpWorld world;
  world.config.services[0].address = Address("198.18.1.1");
  world.ends.service = "198.18.1.1";
  world.Adopt();
  world.Connect();
  world.Say("PASV\r\n");
  const std::string follows(3000, 'x');
  Text text = world.Server("227 ok (198,019,000,001,19,137)\r\n" + follows);
  text.partial = true;
  text.gso_size = 1400;
  const std::vector<Sent> sent = world.Pass(text, 1);
  REQUIRE(sent.size() == 1);
  CHECK_EQ(sent[0].vnet.gso_size, 1400);
  CHECK_EQ(sent[0].vnet.csum_start, 34);
  Text want = world.Returned(text);
  want.payload = Payload("227 ok (198,18,1,1,19,137)\r\n" + follows);
  CHECK_EQ(sent[0].ip, IpOf(want));
}

// An extended reply never grows, so this is about IPv4.
TEST(ftp_grown_reply_is_split_where_the_path_is_full) {
  FtpWorld world;
  world.Connect();
  world.Say("PASV\r\n");
  std::string reply = Passive(false);
  reply += std::string(1500 - 40 - reply.size(), 'y');
  const std::vector<Sent> sent = world.Answer(reply);
  REQUIRE(sent.size() == 1);
  CHECK_EQ(sent[0].vnet.gso_type, kVnetGsoTcp4);
  CHECK_EQ(sent[0].vnet.gso_size, 1460);
  CHECK_EQ(sent[0].vnet.csum_start, 34);
  CHECK_EQ(sent[0].ip.size(), 1501);
  // The field holds what the sum over the pseudo-header is (virtio 1.2, 5.1.6.2).
  const Bytes pseudo = test::Pseudo(Part(sent[0].ip, 12, 4), Part(sent[0].ip, 16, 4), 6, 1481);
  CHECK_EQ(Get16(sent[0].ip, 36), test::SlowSum(pseudo));
  CHECK_EQ(world.rig.reason(Reason::kTooBig), 0);
}

TEST(ftp_reply_without_headroom_is_dropped) {
  FtpWorld world;
  world.Connect();
  world.Say("PASV\r\n");
  world.rig.port(1).headroom = kVnetHeaderBytes;
  CHECK(world.Answer(Passive(false)).empty());
  CHECK_EQ(world.rig.reason(Reason::kNoHeadroom), 1);
  world.rig.port(1).headroom = kHeadroom;
  world.server_next = 500;
  CHECK_EQ(PayloadOf(One(world.Answer(Passive(false)))),
           "227 Entering Passive Mode (198,18,1,10,19,137).\r\n");
  CHECK_EQ(world.At(5001).size(), 1);
}

TEST(ftp_wrong_checksums_are_dropped) {
  FtpWorld world;
  world.Connect();
  for (const uint32_t port : {0u, 1u}) {
    test::Built built = Build(port == 0 ? world.Client("PASV\r\n") : world.Server("200 ok\r\n"));
    built.bytes.back() ^= 1;
    const uint64_t tracked = world.Only()->in_packets;
    const uint64_t out = world.blocks.total.get()->out_packets;
    world.rig.port(port).inject(built.bytes.data(), static_cast<uint32_t>(built.bytes.size()));
    world.rig.run([](const MissRecord&) { return 0; });
    CHECK(world.Taken().empty());
    CHECK_EQ(world.rig.reason(Reason::kTcpBadChecksum), port + 1);
    // The kernel has counted and tracked a request by then, a reply not.
    CHECK_EQ(world.Only()->in_packets, tracked + (port == 0 ? 1 : 0));
    CHECK_EQ(world.blocks.total.get()->out_packets, out);
  }
  CHECK_EQ(world.ExtraOf(21)->ftp.mode, 0);
}

TEST(ftp_only_what_is_asked_for_in_established) {
  FtpWorld world;
  world.Connect();
  // Nobody asked.
  CHECK_EQ(PayloadOf(One(world.Answer(Passive(false)))), Passive(false));
  // Asked for the other kind, refused, and then answered.
  world.Say("EPSV\r\n");
  CHECK_EQ(PayloadOf(One(world.Answer(Passive(false)))), Passive(false));
  world.Say("PASV\r\n");
  CHECK_EQ(PayloadOf(One(world.Answer("425 No.\r\n"))), "425 No.\r\n");
  CHECK_NE(PayloadOf(One(world.Answer(Passive(false)))), Passive(false));
  CHECK_EQ(world.Size(), 2);
  // PORT ends the wait for a passive reply.
  world.client_acked = world.server_next + 1;
  world.Say("PASV\r\n");
  world.Say("PORT 198,18,0,7,19,139\r\n");
  CHECK_EQ(PayloadOf(One(world.Answer(Passive(false)))), Passive(false));
  // Half closed: no state in which commands are read.
  world.Pass(FtpWorld::Sequenced(world.Request(kFinAck), world.client_next, world.client_acked));
  world.Say("PORT 198,18,0,7,19,140\r\n");
  CHECK_EQ(world.At(20).size(), 1);
}

TEST(ftp_second_reply_waits_for_the_first_to_arrive) {
  FtpWorld world;
  world.Connect();
  world.Say("PASV\r\n");
  world.Answer(Passive(false));
  world.Say("PASV\r\n");  // without having seen the reply
  const uint32_t second = world.server_next;
  CHECK(world.Answer("227 ok (198,19,0,1,19,139)\r\n").empty());
  CHECK_EQ(world.rig.reason(Reason::kHelperOrder), 1);
  world.client_acked = 500 + 49;  // all of the first
  world.Pass(world.Client(""));
  world.server_next = second;
  const Bytes ip = One(world.Answer("227 ok (198,19,0,1,19,139)\r\n"));
  CHECK_EQ(PayloadOf(ip), "227 ok (198,18,1,10,19,139)\r\n");
  CHECK_EQ(SequenceOf(ip), second + 1);
  CHECK_EQ(SequenceOf(One(world.Answer("150 x\r\n"))), second + 28 + 2);
}

TEST(ftp_tables_that_are_full) {
  FtpWorld world(false, 1);
  world.Connect();
  world.Say("PASV\r\n");
  CHECK(world.Answer(Passive(false)).empty());
  CHECK(world.Say("PORT 198,18,0,7,19,138\r\n").empty());
  CHECK_EQ(world.rig.reason(Reason::kTableFull), 2);
}

TEST(ftp_newer_announcement_of_a_port_is_meant) {
  FtpWorld world;
  world.Connect();
  world.Say("PASV\r\n");
  world.Answer(Passive(false));
  // Another control connection of the same client, on the other destination.
  Text syn = world.Request(kTcpSyn);
  syn.source_port = 40001;
  world.verdict = 1;
  world.Pass(FtpWorld::Sequenced(syn, 99, 0));
  Text reply = world.Reply(kSynAck, 1);
  reply.destination_port = 40001;
  world.Pass(FtpWorld::Sequenced(reply, 499, 100), 1);
  Text say = world.Client("");
  say.source_port = 40001;
  world.Pass(say);
  say.payload = Payload("PASV\r\n");
  world.Pass(say);
  reply = FtpWorld::Sequenced(reply, 500, 106);
  reply.tcp_flags = kTcpAck;
  reply.payload = Payload("227 ok (198,19,0,2,19,137)\r\n");
  world.Pass(reply, 1);
  CHECK_EQ(world.At(5001).size(), 2);
  CHECK_EQ(world.rig.core().table().portless(), 2);
  Text call = world.Request(kTcpSyn);
  call.destination_port = 5001;
  call.source_port = 41000;
  const Bytes ip = One(world.Pass(call));
  CHECK_EQ(Part(ip, 16, 4), test::AddressBytes("198.19.0.2"));
  // The newer one has its port now, so the next call is for the other.
  call.source_port = 41001;
  const Bytes next = One(world.Pass(call));
  CHECK_EQ(Part(next, 16, 4), test::AddressBytes("198.19.0.1"));
  CHECK_EQ(world.rig.core().table().portless(), 0);
  world.rig.pass_ms(121'000);
  CHECK_EQ(world.rig.core().table().portless(), 0);
}

TEST(ftp_control_connection_waits_for_its_data) {
  FtpWorld world;
  for (uint32_t& each : world.config.tcp_sec) each = each == 900 ? 30 : each;
  world.Adopt();
  world.Connect();
  world.Say("PASV\r\n");
  world.Answer(Passive(false));
  CHECK_EQ(world.ExtraOf(21)->slaves, 1);
  world.rig.pass_ms(31'000);  // its own time is up; the data connection listens for 120 s
  CHECK_EQ(world.Size(), 2);
  CHECK_EQ(world.Data(21).expires - world.rig.core().tick(), 59 * kTicksPerSec);
  world.rig.pass_ms(60'000);
  CHECK_EQ(world.Size(), 2);
  world.rig.pass_ms(31'000);
  CHECK_EQ(world.Size(), 1);
  world.rig.pass_ms(30'000);
  CHECK_EQ(world.Size(), 0);
  CHECK_EQ(world.rig.load(0).inactive + world.rig.load(0).active, 0);
}

TEST(ftp_new_life_forgets_the_numbers) {
  FtpWorld world;
  world.Connect();
  world.Say("PASV\r\n");
  world.Answer(Passive(false));
  world.Pass(FtpWorld::Sequenced(world.Request(kTcpRst), world.client_next, 0));
  world.config.conn_reuse_mode = 0;
  world.Adopt();
  world.Pass(FtpWorld::Sequenced(world.Request(kTcpSyn), 9000, 0));
  CHECK_EQ(world.ExtraOf(21)->out.delta, 0);
  CHECK_EQ(world.ExtraOf(21)->slaves, 1);
}

// A director that is the host of its virtual address too: ports that no data connection is expected
// on are its own (spec 5.4).
// The client is ahead of its own command: what it begins and what is announced is one connection.
TEST(ftp_call_in_the_burst_of_its_announcement) {
  for (const int32_t verdict : {1, kVerdictNone}) {
    FtpWorld world;
    world.Connect();
    Text call = world.Request(kTcpSyn);
    call.destination_port = 20;
    call.source_port = 41000;
    world.Inject(call);
    world.Inject(world.Client("PORT 198,18,0,7,160,40\r\n"));
    TemplateRecord& record = world.blocks.templates.get()[0];
    const uint32_t misses = world.rig.run([&](const MissRecord& miss) {
      const_cast<MissRecord&>(miss).template_ref = 1;
      record.connections++;
      return verdict;
    });
    CHECK_EQ(misses, 1);
    CHECK_EQ(record.connections, 0);
    REQUIRE(world.At(20).size() == 1);
    CHECK_EQ(world.ExtraOf(20)->master, world.At(21).at(0) + 1);
    CHECK_EQ(world.Data(20).in_packets, 1);
    CHECK_EQ(world.Taken().size(), 2);
    CHECK_EQ(world.rig.load(0).inactive, 0);
    CHECK_EQ(world.rig.load(0).active, 2);
    CHECK_EQ(world.rig.load(1).inactive + world.rig.load(1).active, 0);
  }
}

TEST(ftp_other_ports_are_the_hosts) {
  for (const bool own : {false, true}) {
    FtpWorld world;
    if (own) {
      world.rig.hops().set_state(rig::RigHops::kOut6, HopState::kLocal);
      world.rig.hops().exceptions.push_back({Address(world.ends.service), rig::RigHops::kOut6});
    }
    Text syn = world.Request(kTcpSyn);
    syn.destination_port = 8080;
    world.verdict = kVerdictNone;
    const std::vector<Sent> sent = world.Pass(syn);
    CHECK_EQ(world.misses, own ? 0 : 1);
    CHECK_EQ(world.rig.reason(Reason::kNoService), 1);
    CHECK_EQ(sent.size(), own ? 0 : 1);  // RST; there is no port to the host here
  }
}

// Active FTP past the director: a real server calls from the virtual address's port 20, and what
// the client answers there is the service's, whoever has the address (spec 5.3).
TEST(ftp_data_port_of_a_persistent_service_is_never_the_hosts) {
  for (const bool own : {false, true}) {
    World world(kMethodDirect);
    world.config.services[0].port = 21;
    world.config.services[0].flags = kServicePersistent;
    world.Adopt();
    if (own) {
      world.rig.hops().set_state(rig::RigHops::kOut6, HopState::kLocal);
      world.rig.hops().exceptions.push_back({Address(world.ends.service), rig::RigHops::kOut6});
    }
    uint16_t client_port = 41000;
    const auto misses = [&](uint16_t port, uint8_t flags) {
      Text text = world.Request(flags);
      text.source_port = client_port++;
      text.destination_port = port;
      world.Pass(text);
      return world.misses;
    };
    CHECK_EQ(misses(20, kSynAck), 1);
    CHECK_EQ(misses(20, kTcpSyn), 1);
    CHECK_EQ(misses(20, kTcpAck), 0);
    CHECK_EQ(misses(20, kTcpSyn | kTcpRst), 0);
    CHECK_EQ(world.rig.reason(Reason::kNotSyn), 2);
    // Connections of the host itself use the others.
    CHECK_EQ(misses(5001, kTcpSyn), 1);
    CHECK_EQ(misses(5001, kSynAck), own ? 0 : 1);
    world.config.sloppy_tcp = 1;
    world.Adopt();
    CHECK_EQ(misses(20, kTcpAck), 1);
    CHECK_EQ(misses(5001, kTcpAck), own ? 0 : 1);
    CHECK_EQ(world.rig.reason(Reason::kNoService), own ? 2 : 0);
  }
}

// A sender and a receiver with retransmission, and a network that loses, repeats and reorders
// between them and the director. Whatever happens, the client reads what the server wrote, with
// every announcement naming the virtual address, and nothing of it twice or never.
class BadNetwork {
 public:
  BadNetwork(uint32_t seed, uint32_t isn) : random_(seed) {
    world_.server_next = isn + 1;
    world_.client_acked = isn + 1;
    world_.Pass(FtpWorld::Sequenced(world_.Request(kTcpSyn), 99, 0));
    world_.Pass(FtpWorld::Sequenced(world_.Reply(kSynAck), isn, 100), 1);
    world_.Pass(world_.Client(""));
    first_ = isn + 1;
  }

  bool Run() {
    for (uint32_t round = 0; round < 6; round++) {
      // What follows the reply at once may overtake it.
      const std::string more = Draw(2) == 0 ? "120 And more.\r\n" : "";
      const std::string reply = PassiveReply();
      expected_ += more;
      if (!Exchange("PASV\r\n", {reply, more})) return false;
      const std::string begins = "150 Here it comes.\r\n", ends = "226 Done.\r\n";
      expected_ += begins + ends;
      if (!Exchange("RETR x\r\n", {begins, ends})) return false;
    }
    return true;
  }

 private:
  uint32_t Draw(uint32_t below) { return static_cast<uint32_t>(random_() % below); }

  std::string PassiveReply() {
    const uint32_t port = 5000 + Draw(60000);
    const std::string zeros = Draw(3) == 0 ? "00" : "";
    const std::string tail = "," + std::to_string(port >> 8) + "," + std::to_string(port & 255);
    const std::string before = "227 Entering Passive Mode (", after = ").\r\n" + Filler();
    expected_ += before + "198,18,1,10" + tail + after;
    return before + "198," + zeros + "19,0,1" + tail + after;
  }
  std::string Filler() { return std::string(Draw(3) * Draw(200), 'f'); }

  // The client asks; the server answers in these segments and repeats what is not acknowledged,
  // perhaps with what it said before, until the client has all of it.
  bool Exchange(const std::string& command, const std::vector<std::string>& segments) {
    world_.Say(command);
    for (const std::string& segment : segments) {
      written_ += segment;
      if (!segment.empty()) cuts_.push_back(written_.size());
    }
    for (uint32_t tries = 0; received_.size() < expected_.size();) {
      if (++tries > 400) return false;
      Transmit();
      Acknowledge();
    }
    return received_ == expected_;
  }

  // Some segments from the last acknowledged byte on, merged at random, in a random order.
  void Transmit() {
    std::vector<std::pair<size_t, size_t>> segments;
    size_t from = acked_;
    for (const size_t cut : cuts_) {
      if (cut <= from || (Draw(3) == 0 && cut != cuts_.back())) continue;
      segments.push_back({from, cut});
      from = cut;
    }
    std::shuffle(segments.begin(), segments.end(), random_);
    for (const auto& [start, end] : segments) {
      for (uint32_t copies = Draw(3); copies > 0; copies--) {
        Text text = world_.Server(written_.substr(start, end - start));
        text.sequence = first_ + static_cast<uint32_t>(start);
        for (const Sent& sent : world_.Pass(text, 1)) {
          CHECK_EQ(WrongIn(sent.ip), "");
          if (Draw(4) != 0) Receive(SequenceOf(sent.ip), PayloadOf(sent.ip));
        }
      }
    }
  }

  // A receiver that keeps what came early.
  void Receive(uint32_t sequence, const std::string& payload) {
    for (size_t i = 0; i < payload.size(); i++) {
      const auto at = static_cast<int32_t>(sequence + static_cast<uint32_t>(i) - first_);
      if (at >= static_cast<int32_t>(received_.size())) early_.emplace(at, payload[i]);
    }
    for (auto it = early_.find(static_cast<int32_t>(received_.size())); it != early_.end();
         it = early_.find(static_cast<int32_t>(received_.size()))) {
      received_ += it->second;
      early_.erase(it);
    }
  }

  void Acknowledge() {
    world_.client_acked = first_ + static_cast<uint32_t>(received_.size());
    Text text = world_.Client("");
    if (!early_.empty()) {
      int32_t right = early_.begin()->first;
      while (early_.count(right) != 0) right++;
      text.tcp_options = {1, 1, 5, 10};
      test::Put32(text.tcp_options, first_ + static_cast<uint32_t>(early_.begin()->first));
      test::Put32(text.tcp_options, first_ + static_cast<uint32_t>(right));
    }
    const std::vector<Sent> sent = world_.Pass(text);
    REQUIRE(sent.size() == 1);
    if (Draw(4) == 0) return;
    const auto acked = static_cast<int32_t>(Get32(sent[0].ip, 28) - first_);
    // Never more than was written; what it counts as received the client has whole.
    CHECK_LE(acked, static_cast<int32_t>(written_.size()));
    acked_ = std::max(acked_, static_cast<size_t>(std::max(acked, 0)));
    if (sent[0].ip.size() == 52 && sent[0].ip[42] == 5) {
      CHECK_LT(static_cast<int32_t>(Get32(sent[0].ip, 44) - Get32(sent[0].ip, 48)), 0);
      CHECK_LE(static_cast<int32_t>(Get32(sent[0].ip, 48) - first_),
               static_cast<int32_t>(written_.size()));
    }
  }

  FtpWorld world_;
  std::mt19937 random_;
  uint32_t first_ = 0;
  std::string written_, expected_, received_;
  std::vector<size_t> cuts_;
  size_t acked_ = 0;
  std::map<int32_t, char> early_;
};

TEST(ftp_survives_a_bad_network) {
  for (uint32_t seed = 1; seed <= 60; seed++) {
    const uint32_t isn = seed % 3 == 0 ? 0xffffff00u + seed : seed % 3 == 1 ? 0x7fffff80u : 1000;
    BadNetwork network(seed, isn);
    const bool good = network.Run();
    if (!good) std::printf("  # seed %u\n", seed);
    CHECK(good);
  }
}

}  // namespace
}  // namespace uvs
