// Golden packets: the tables of test/golden/ against every edit of native/forward/.
#include <fstream>
#include <sstream>

#include "check.h"
#include "forward/forward.h"
#include "forward/related_icmp.h"
#include "forward/tunnel.h"
#include "packet_text.h"
#include "parse/parse.h"

namespace uvs {
namespace {

using test::Built;
using test::Bytes;
using test::OwnFrame;

struct Case {
  std::string name;
  Built in;
  std::vector<std::string> edits;
  std::vector<Built> out;
  bool refused = false;
};

VnetHdr ReadVnet(const std::string& line) {
  unsigned flags = 0, gso = 0, size = 0, start = 0, offset = 0;
  const int found = std::sscanf(line.c_str(), "vnet flags=%u gso=%u size=%u start=%u offset=%u",
                                &flags, &gso, &size, &start, &offset);
  CHECK_EQ(found, 5);
  return VnetHdr{.flags = static_cast<uint8_t>(flags),
                 .gso_type = static_cast<uint8_t>(gso),
                 .gso_size = static_cast<uint16_t>(size),
                 .csum_start = static_cast<uint16_t>(start),
                 .csum_offset = static_cast<uint16_t>(offset)};
}

// Reads one file; a line that is not understood is a failure.
std::vector<Case> ReadCases(const std::string& name) {
  const std::string here = __FILE__;
  const std::string root = here.substr(0, here.rfind("test/native/"));
  std::ifstream file(root + "test/golden/" + name);
  CHECK(file.is_open());
  std::vector<Case> cases;
  Built* frame = nullptr;
  for (std::string line; std::getline(file, line);) {
    const size_t colon = line.find(": ");
    if (line.empty() || line[0] == '#') continue;
    if (line.starts_with("case ")) {
      cases.push_back(Case{.name = line.substr(5), .in = {}, .edits = {}, .out = {}});
    } else if (line == "in") {
      frame = &cases.back().in;
    } else if (line == "out") {
      frame = &cases.back().out.emplace_back();
    } else if (line == "refused") {
      cases.back().refused = true;
    } else if (line.starts_with("do ")) {
      cases.back().edits.push_back(line.substr(3));
    } else if (line.starts_with("vnet ")) {
      frame->vnet = ReadVnet(line);
    } else if (CHECK(line.starts_with("  ") && colon != std::string::npos)) {
      test::PutAll(frame->bytes, test::Hex(line.substr(colon + 1)));
    }
  }
  return cases;
}

// Takes the words of an edit one after the other.
class Words {
 public:
  explicit Words(const std::string& text) : in_(text) {}
  std::string Word() {
    std::string word;
    CHECK(static_cast<bool>(in_ >> word));
    return word;
  }
  Addr Address() { return test::Address(Word()); }
  uint32_t Number() { return static_cast<uint32_t>(std::stoul(Word())); }
  Be16 Port() { return Be16::of(static_cast<uint16_t>(Number())); }

 private:
  std::istringstream in_;
};

IcmpError ReadError(const std::string& word) {
  if (word == "port") return IcmpError::kPortUnreachable;
  if (word == "host") return IcmpError::kHostUnreachable;
  if (word == "big") return IcmpError::kPacketTooBig;
  CHECK_EQ(word, "time");
  return IcmpError::kTimeExceeded;
}

// A packet being edited and, when an edit makes new frames, those.
struct Work {
  Packet packet;
  test::Pieces pieces{128};
  uint32_t made = 0;
};

bool ApplyRelated(Work& work, Words& words) {
  const Addr source = words.Address();
  const Addr destination = words.Address();
  const Addr quoted_source = words.Address();
  const Be16 source_port = words.Port();
  const Addr quoted_destination = words.Address();
  const Be16 destination_port = words.Port();
  FlowKey inverse;
  CHECK(quoted_flow(work.packet, &inverse));
  return rewrite_related(work.packet, RelatedEnds{&source, &destination,
                                                  Ends{&quoted_source, &quoted_destination,
                                                       source_port, destination_port}});
}

// TYPE LOCAL REMOTE pmtu|cut ID, then for GRE and GUE nocsum|csum|remcsum, for GUE both ports.
bool ApplyTunnel(Packet& packet, const std::string& type, Words& words) {
  const Addr local = words.Address();
  const Addr remote = words.Address();
  const bool pmtu_disc = words.Word() == "pmtu";
  const auto id = static_cast<uint16_t>(words.Number());
  Tunnel tunnel{kTunnelIpip, 0, {}};
  Be16 source_port{};
  if (type != "ipip") {
    tunnel.type = type == "gre" ? kTunnelGre : kTunnelGue;
    const std::string checksum = words.Word();
    CHECK(checksum == "nocsum" || checksum == "csum" || checksum == "remcsum");
    if (checksum == "csum") tunnel.flags = kTunnelFlagCsum;
    if (checksum == "remcsum") tunnel.flags = kTunnelFlagRemcsum;
  }
  if (type == "gue") {
    source_port = words.Port();
    tunnel.port = words.Port();
  }
  return encapsulate(packet, tunnel, TunnelEnds{local, remote, source_port, id, pmtu_disc});
}

// Does one edit; what it says (true where it cannot say no).
bool Apply(Work& work, const std::string& edit) {
  Words words(edit);
  const std::string what = words.Word();
  Packet& packet = work.packet;
  Frame* frames = work.pieces.frames.data();
  if (what == "rewrite") {
    const Addr source = words.Address();
    const Be16 source_port = words.Port();
    const Addr destination = words.Address();
    rewrite_ends(packet, Ends{&source, &destination, source_port, words.Port()});
  } else if (what == "ttl") {
    decrement_ttl(packet);
  } else if (what == "ipip" || what == "gre" || what == "gue") {
    return ApplyTunnel(packet, what, words);
  } else if (what == "complete") {
    complete_checksum(packet);
  } else if (what == "segment") {
    work.made = segment(packet, frames, 128);
  } else if (what == "fragment") {
    work.made = fragment_ip4(packet, words.Number(), frames, 128);
  } else if (what == "icmp") {
    const IcmpError error = ReadError(words.Word());
    const uint32_t mtu = words.Number();
    work.made = 1;
    return build_icmp_error(packet, error, mtu, words.Address(), 7, frames);
  } else {
    CHECK_EQ(what, "related");
    return ApplyRelated(work, words);
  }
  return true;
}

void CheckFrame(const Frame& got, const Built& want) {
  CHECK_EQ(test::BytesOf(got), want.bytes);
  CHECK_EQ(got.vnet.flags, want.vnet.flags);
  CHECK_EQ(got.vnet.gso_type, want.vnet.gso_type);
  CHECK_EQ(got.vnet.gso_size, want.vnet.gso_size);
  CHECK_EQ(got.vnet.csum_start, want.vnet.csum_start);
  CHECK_EQ(got.vnet.csum_offset, want.vnet.csum_offset);
}

void RunCase(const Case& golden) {
  const OwnFrame own(golden.in);
  Work work;
  work.packet.frame = own.frame();
  parse(work.packet, Link::kIp);
  REQUIRE(work.packet.kind == PacketKind::kFlow || work.packet.kind == PacketKind::kIcmp);
  bool said = true;
  for (const std::string& edit : golden.edits) said = said && Apply(work, edit);
  CHECK_EQ(said, !golden.refused);
  if (golden.refused) {
    CheckFrame(work.packet.frame, golden.in);
  } else if (work.made == 0) {
    REQUIRE(CHECK_EQ(golden.out.size(), 1));
    CheckFrame(work.packet.frame, golden.out[0]);
    CHECK_EQ(work.packet.l3_bytes, golden.out[0].bytes.size());
  } else {
    REQUIRE(CHECK_EQ(work.made, golden.out.size()));
    for (uint32_t i = 0; i < work.made; i++) CheckFrame(work.pieces.frames[i], golden.out[i]);
  }
}

// `expected` guards against a file that is read short.
void RunFile(const std::string& name, size_t expected) {
  const std::vector<Case> cases = ReadCases(name);
  CHECK_EQ(cases.size(), expected);
  for (const Case& golden : cases) {
    const int before = test::Failures();
    RunCase(golden);
    if (test::Failures() != before) {
      std::printf("  # ^ %s: %s\n", name.c_str(), golden.name.c_str());
    }
  }
}

}  // namespace

TEST(golden_masquerade) { RunFile("masquerade.txt", 32); }
TEST(golden_fullnat) { RunFile("fullnat.txt", 8); }
TEST(golden_direct) { RunFile("direct.txt", 4); }
TEST(golden_tunnel) { RunFile("tunnel.txt", 21); }
TEST(golden_tunnel_gre) { RunFile("tunnel-gre.txt", 9); }
TEST(golden_tunnel_gue) { RunFile("tunnel-gue.txt", 17); }
TEST(golden_segment) { RunFile("segment.txt", 12); }
TEST(golden_fragment) { RunFile("fragment.txt", 6); }
TEST(golden_icmp_answer) { RunFile("icmp-answer.txt", 30); }
TEST(golden_related) { RunFile("related.txt", 41); }

}  // namespace uvs
