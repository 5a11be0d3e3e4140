// Reassembly: every rule by itself, random fragments against a slow model, and the bound on
// memory under floods.
#include "parse/reassembly.h"

#include "check.h"
#include "fragment_text.h"
#include "parse/parse.h"

namespace uvs {
namespace {

using test::Bytes;
using test::FragmentOf;
using test::FragmentsOf;
using test::OwnFrame;
using test::Random;
using test::Text;
using Outcome = Reassembly::Outcome;

constexpr Reason kNoReason{};

Bytes Whole(bool six, size_t payload, uint16_t fragment = 0) {
  Text text;
  if (six) text.source = "2001:db8::7", text.destination = "2001:db8:1::10";
  text.protocol = kProtoUdp;
  text.fragment = fragment;
  for (size_t i = 0; i < payload; i++)
    text.payload.push_back(static_cast<uint8_t>(i * 7 + i / 251));
  return Build(text).bytes;
}

// What became of one fragment.
struct Told {
  Outcome outcome;
  Reason reason = kNoReason;
  Bytes datagram = {};
  uint16_t largest = 0;
};

class Bench {
 public:
  Told Add(const Bytes& ip, uint32_t now_ms = 0) {
    const OwnFrame own(ip);
    Packet packet{};
    packet.frame = own.frame();
    parse(packet, Link::kIp);
    if (!CHECK_EQ(packet.kind, PacketKind::kFragment)) return {Outcome::kRefused};
    Told told{};
    told.outcome = unit.add(packet, now_ms, &told.largest);
    if (told.outcome == Outcome::kRefused) told.reason = packet.reason;
    if (told.outcome == Outcome::kWhole) {
      CHECK(packet.frame.headroom >= kHeadroom);
      told.datagram = test::BytesOf(packet.frame);
      unit.release();
    }
    return told;
  }

  // Adds all; what the last one made.
  Told AddAll(const std::vector<Bytes>& fragments) {
    Told told{};
    for (const Bytes& each : fragments) told = Add(each);
    return told;
  }

  Reassembly unit{0x243f6a8885a308d3};
};

Bytes With16(Bytes ip, size_t at, uint32_t value) {
  test::Set16(ip, at, value);
  if (ip[0] >> 4 == 4) {
    test::Set16(ip, 10, 0);
    test::Set16(ip, 10, 0xffff - test::SlowSum(test::Part(ip, 0, 20)));
  }
  return ip;
}

}  // namespace

TEST(reassembly_any_order) {
  for (const bool six : {false, true}) {
    const Bytes whole = Whole(six, 5000);
    std::vector<Bytes> fragments = FragmentsOf(whole, 1480);
    std::vector<size_t> order = {0, 1, 2, 3};
    do {
      Bench bench;
      std::vector<Bytes> shuffled;
      for (const size_t each : order) shuffled.push_back(fragments[each]);
      const Told told = bench.AddAll(shuffled);
      REQUIRE(CHECK_EQ(told.outcome, Outcome::kWhole));
      CHECK_EQ(told.datagram, six ? whole : With16(whole, 4, 0x77));
      CHECK_EQ(told.largest, fragments[0].size());
      CHECK_EQ(bench.unit.size(), 0);
    } while (std::next_permutation(order.begin(), order.end()));
  }
}

TEST(reassembly_takes_the_longest_datagram_there_is) {
  for (const bool six : {false, true}) {
    const size_t payload = six ? 65535 - 8 : 65535 - 28;
    Bench bench;
    const Bytes whole = Whole(six, payload);
    const Told told = bench.AddAll(FragmentsOf(whole, 1480));
    REQUIRE(CHECK_EQ(told.outcome, Outcome::kWhole));
    CHECK_EQ(told.datagram, six ? whole : With16(whole, 4, 0x77));
  }
}

TEST(reassembly_keeps_datagrams_apart) {
  const Bytes whole = Whole(false, 2000);
  Bytes other = whole;
  other = With16(other, 14, 0x0008);
  Bench bench;
  const std::vector<Bytes> a = FragmentsOf(whole, 1480, 1), b = FragmentsOf(whole, 1480, 2),
                           c = FragmentsOf(other, 1480, 1);
  for (const auto* each : {&a, &b, &c}) CHECK_EQ(bench.Add((*each)[0]).outcome, Outcome::kKept);
  CHECK_EQ(bench.unit.size(), 3);
  for (const auto* each : {&c, &a, &b}) CHECK_EQ(bench.Add((*each)[1]).outcome, Outcome::kWhole);
}

// IPv6 extension headers in front of the fragment header stay, those behind it are data.
void ReassembleBehind(uint8_t extension, const Bytes& rest) {
  Text text;
  text.source = "2001:db8::7";
  text.destination = "2001:db8:1::10";
  text.protocol = kProtoUdp;
  text.payload = Bytes(2000, 0x5a);
  text.extensions = {{0, test::Hex("00 01 04 0000 0000")}, {extension, rest}};
  const Bytes whole = Build(text).bytes;
  // By hand: hop-by-hop in front, then the fragment header, then the extension and UDP.
  const auto fragment = [&](size_t start, size_t end, bool more) {
    Bytes out = test::Part(whole, 0, 48);
    out[40] = 44;
    test::Put16(out, extension * 256u);
    test::Put16(out, static_cast<uint32_t>(start | more));
    test::Put32(out, 9);
    test::PutAll(out, test::Part(whole, 48 + start, end - start));
    test::Set16(out, 4, static_cast<uint32_t>(out.size() - 40));
    return out;
  };
  Bench bench;
  CHECK_EQ(bench.Add(fragment(1400, whole.size() - 48, false)).outcome, Outcome::kKept);
  const Told told = bench.Add(fragment(0, 1400, true));
  REQUIRE(CHECK_EQ(told.outcome, Outcome::kWhole));
  CHECK_EQ(told.datagram, whole);
}

TEST(reassembly_ip6_extension_headers) {
  ReassembleBehind(60, test::Hex("00 01 04 0000 0000"));
  ReassembleBehind(51, test::Hex("04 0000 00001001 00000001 a5*12"));
}

TEST(reassembly_dont_fragment_stays_where_the_largest_fragment_had_it) {
  for (const bool df : {false, true}) {
    const Bytes whole = Whole(false, 2000, df ? 0x4000 : 0);
    Bench bench;
    const Told told = bench.AddAll(FragmentsOf(whole, 1480));
    REQUIRE(CHECK_EQ(told.outcome, Outcome::kWhole));
    CHECK_EQ(test::Get16(told.datagram, 6), df ? 0x4000 : 0);
  }
}

// RFC 3168 5.3; the table is ip_frag_ecn_table of net/ipv4/inet_fragment.c.
TEST(reassembly_congestion_experienced) {
  for (const bool six : {false, true}) {
    for (unsigned first = 0; first < 4; first++) {
      for (unsigned second = 0; second < 4; second++) {
        std::vector<Bytes> fragments = FragmentsOf(Whole(six, 2000), 1480);
        const unsigned ecn[2] = {first, second};
        for (size_t i = 0; i < 2; i++) {
          const uint32_t word = test::Get16(fragments[i], 0);
          fragments[i] = With16(fragments[i], 0, word | (six ? ecn[i] << 4 : ecn[i]));
        }
        Bench bench;
        const Told told = bench.AddAll(fragments);
        const bool refused = (first == 0) != (second == 0);
        CHECK_EQ(told.outcome, refused ? Outcome::kRefused : Outcome::kWhole);
        if (refused) {
          CHECK_EQ(told.reason, Reason::kFragmentBad);
          continue;
        }
        const uint32_t got = test::Get16(told.datagram, 0) >> (six ? 4 : 0) & 3;
        CHECK_EQ(got, first == 3 || second == 3 ? 3 : first);
      }
    }
  }
}

TEST(reassembly_duplicates_are_ignored) {
  for (const bool six : {false, true}) {
    const Bytes whole = Whole(six, 6000);
    const std::vector<Bytes> fragments = FragmentsOf(whole, 1480);
    Bench bench;
    CHECK_EQ(bench.Add(fragments[0]).outcome, Outcome::kKept);
    CHECK_EQ(bench.Add(fragments[0]).reason, Reason::kFragmentDuplicate);
    CHECK_EQ(bench.Add(fragments[1]).outcome, Outcome::kKept);
    // Within what came in one after the other: the kernel's run.
    CHECK_EQ(bench.Add(FragmentOf(whole, 8, 1480 + 16, true, 0x77)).reason,
             Reason::kFragmentDuplicate);
    CHECK_EQ(bench.AddAll({fragments.begin() + 2, fragments.end()}).outcome, Outcome::kWhole);
  }
}

TEST(reassembly_overlaps_give_the_datagram_up) {
  for (const bool six : {false, true}) {
    const Bytes whole = Whole(six, 6000);
    const auto piece = [&](size_t start, size_t end) {
      return FragmentOf(whole, start, end, end != test::FragmentedBytes(whole), 0x77);
    };
    const struct {
      const char* name;
      std::vector<Bytes> before;
      Bytes last;
    } rows[] = {
        {"teardrop: starts within, ends behind", {piece(0, 1480)}, piece(1472, 2960)},
        {"starts before, ends within", {piece(1480, 2960)}, piece(0, 1488)},
        {"encloses", {piece(1480, 2960)}, piece(0, 3008)},
        {"same start, longer", {piece(0, 1480)}, piece(0, 1488)},
        {"over two runs", {piece(0, 1480), piece(2960, 4440), piece(1480, 2960)}, piece(8, 1488)},
        {"over the gap", {piece(0, 1480), piece(2960, 4440)}, piece(1472, 2968)},
    };
    for (const auto& row : rows) {
      Bench bench;
      for (const Bytes& each : row.before) CHECK_EQ(bench.Add(each).outcome, Outcome::kKept);
      const bool good = CHECK_EQ(bench.Add(row.last).reason, Reason::kFragmentOverlap) &&
                        CHECK_EQ(bench.unit.size(), 0);
      if (!good) std::printf("  # ^ %s\n", row.name);
    }
  }
}

TEST(reassembly_lengths_that_cannot_be) {
  const Bytes four = Whole(false, 6000);
  const Bytes six = Whole(true, 6000);
  Bench bench;
  const auto refused = [&bench](const Bytes& ip, Reason reason) {
    CHECK_EQ(bench.Add(ip).reason, reason);
    CHECK_EQ(bench.unit.size(), 0);
  };
  // Ping of death: the end lies behind the longest datagram.
  refused(With16(FragmentOf(four, 5992, 6008, false, 1), 6, 0x1fff), Reason::kFragmentTooLong);
  refused(With16(FragmentOf(six, 5992, 6008, false, 1), 42, 0xfff8), Reason::kFragmentTooLong);
  // It fits the field, but not with the header.
  Told told = bench.AddAll(FragmentsOf(Whole(false, 65520), 1480));
  CHECK_EQ(told.reason, Reason::kFragmentTooLong);
  CHECK_EQ(bench.unit.size(), 0);
  // Nothing in it.
  refused(FragmentOf(four, 8, 8, true, 2), Reason::kFragmentBad);
  refused(FragmentOf(four, 8, 12, true, 2), Reason::kFragmentBad);  // cut to a multiple of 8
  refused(FragmentOf(six, 0, 1484, true, 2), Reason::kFragmentBad);
  refused(FragmentOf(six, 0, 1200, true, 2), Reason::kFragmentTiny);
  // Two ends, or bytes behind the end.
  CHECK_EQ(bench.Add(FragmentOf(four, 1480, 2960, false, 3)).outcome, Outcome::kKept);
  refused(FragmentOf(four, 1480, 2968, false, 3), Reason::kFragmentBad);
  CHECK_EQ(bench.Add(FragmentOf(four, 1480, 2960, false, 3)).outcome, Outcome::kKept);
  refused(FragmentOf(four, 2960, 4440, true, 3), Reason::kFragmentBad);
  CHECK_EQ(bench.Add(FragmentOf(four, 1480, 2960, true, 3)).outcome, Outcome::kKept);
  refused(FragmentOf(four, 8, 1480, false, 3), Reason::kFragmentBad);
}

// The odd rest of an IPv4 fragment in the middle is cut off, as ip_frag_queue() does.
TEST(reassembly_ip4_odd_middle) {
  const Bytes whole = Whole(false, 2000);
  Bench bench;
  CHECK_EQ(bench.Add(FragmentOf(whole, 0, 1484, true, 0x77)).outcome, Outcome::kKept);
  const Told told = bench.Add(FragmentOf(whole, 1480, 2008, false, 0x77));
  REQUIRE(CHECK_EQ(told.outcome, Outcome::kWhole));
  CHECK_EQ(told.datagram, With16(whole, 4, 0x77));
}

TEST(reassembly_too_many_pieces) {
  const Bytes whole = Whole(false, 4000);
  Bench bench;
  Told told{};
  for (size_t i = 0; i <= kReassemblyPieces; i++) {
    told = bench.Add(FragmentOf(whole, i * 16, i * 16 + 8, true, 5));
    CHECK_EQ(told.outcome, i == kReassemblyPieces ? Outcome::kRefused : Outcome::kKept);
  }
  CHECK_EQ(told.reason, Reason::kFragmentTiny);
  CHECK_EQ(bench.unit.size(), 0);
}

TEST(reassembly_gives_up_in_time) {
  for (const bool six : {false, true}) {
    const uint32_t wait = six ? 60'000 : 30'000;
    const Bytes whole = Whole(six, 5000);
    const std::vector<Bytes> fragments = FragmentsOf(whole, 1480);
    Bench bench;
    Packet first;
    CHECK_EQ(bench.Add(fragments[1], 1000).outcome, Outcome::kKept);
    CHECK_EQ(bench.Add(fragments[0], 20'000).outcome, Outcome::kKept);  // no new time
    CHECK(!bench.unit.expire(1000 + wait - 1, &first));
    REQUIRE(bench.unit.expire(1000 + wait, &first));
    CHECK_EQ(first.kind, PacketKind::kFlow);
    CHECK_EQ(test::IpBytes(first), fragments[0]);
    CHECK(!bench.unit.expire(1000 + wait, &first));
    CHECK_EQ(bench.Add(fragments[2], 0xfffffff0).outcome, Outcome::kKept);
    CHECK(!bench.unit.expire(wait - 0x11, &first));
    REQUIRE(bench.unit.expire(wait - 0x10, &first));  // the clock has wrapped
    CHECK_EQ(first.kind, PacketKind::kBad);           // nobody to tell
    CHECK_EQ(bench.unit.size(), 0);
  }
}

// Its sender is told what it was, if the first part shows it: nobody may answer an ICMP error.
TEST(reassembly_ip6_that_was_given_up_is_known_behind_its_extension_headers) {
  const Bytes ah = test::Hex("04 0000 00001001 00000001 a5*12");
  const struct {
    uint8_t protocol;
    uint32_t more;  // bytes of another extension header, beyond its first eight
    PacketKind kind;
  } rows[] = {{kProtoUdp, 0, PacketKind::kFlow},
              {kProtoEsp, 0, PacketKind::kIpsec},
              {kProtoIcmp6, 0, PacketKind::kIcmp},
              {kProtoUdp, 1360, PacketKind::kFlow},
              {kProtoUdp, 1600, PacketKind::kBad}};  // it ends in the next part
  for (const auto& row : rows) {
    Bytes options(7 + row.more, 0);
    options[0] = static_cast<uint8_t>(row.more / 8);
    Text text;
    text.source = "2001:db8::7";
    text.destination = "2001:db8:1::10";
    text.protocol = row.protocol;
    text.extensions = {{51, ah}, {60, options}};
    const Bytes whole = test::Ip6Packet(text, Bytes(1800, 3));
    // By hand: all of them behind the fragment header.
    Bytes part = test::Part(whole, 0, 40);
    part[6] = 44;
    test::Put16(part, 51 << 8);
    test::Put16(part, 1);
    test::Put32(part, 9);
    test::PutAll(part, test::Part(whole, 40, 1400));
    test::Set16(part, 4, static_cast<uint32_t>(part.size() - 40));
    Bench bench;
    CHECK_EQ(bench.Add(part, 1000).outcome, Outcome::kKept);
    Packet first;
    REQUIRE(bench.unit.expire(61'000, &first));
    CHECK_EQ(first.kind, row.kind);
    if (row.kind == PacketKind::kBad) continue;
    CHECK_EQ(first.key.protocol, row.protocol);
    CHECK_EQ(first.l4 - first.l3, 40 + 8 + 24 + 8 + row.more);
  }
}

// One source has its share, and its own oldest go; many sources fill the rest, and the oldest of
// all go. The number in memory never grows, and a datagram that arrives in one go gets through.
TEST(reassembly_memory_is_bounded_and_shared) {
  Bench bench;
  const auto from = [](uint32_t source, uint32_t id) {
    Bytes whole = With16(Whole(false, 2000), 14, source);
    return FragmentsOf(whole, 1480, id);
  };
  for (uint32_t id = 0; id < 1000; id++) bench.Add(from(1, id)[0], id);
  CHECK_EQ(bench.unit.size(), kReassemblyPerSource);
  CHECK_EQ(bench.unit.take_given_up(), 1000 - kReassemblyPerSource);
  CHECK_EQ(bench.Add(from(1, 999)[1], 1000).outcome, Outcome::kWhole);
  CHECK_EQ(bench.Add(from(1, 10)[1], 1000).outcome, Outcome::kKept);  // its first was given up
  CHECK_EQ(bench.Add(from(2, 5)[0], 1000).outcome, Outcome::kKept);   // others are not touched
  CHECK_EQ(bench.Add(from(2, 5)[1], 1000).outcome, Outcome::kWhole);
  for (uint32_t source = 100; source < 5000; source++) {
    bench.Add(from(source, 1)[0], 2000 + source);
    CHECK(bench.unit.size() <= kReassemblyDatagrams);
  }
  CHECK_EQ(bench.unit.size(), kReassemblyDatagrams);
  CHECK_EQ(bench.Add(from(2, 6)[0], 9000).outcome, Outcome::kKept);
  CHECK_EQ(bench.Add(from(2, 6)[1], 9000).outcome, Outcome::kWhole);
  Packet first;
  uint32_t expired = 0;
  while (bench.unit.expire(100'000, &first)) expired++;
  CHECK_EQ(expired, kReassemblyDatagrams - 1);
  CHECK_EQ(bench.unit.size(), 0);
}

namespace {

// The kernel's rules over single bytes: which run each byte came in.
class Model {
 public:
  Told Add(size_t start, size_t end, bool more, const Bytes& whole) {
    const auto refuse = [this](Reason reason) {
      *this = Model();
      return Told{Outcome::kRefused, reason};
    };
    if (!more && (end < end_ || (last_ && end != end_))) return refuse(Reason::kFragmentBad);
    if (more && end > end_ && last_) return refuse(Reason::kFragmentBad);
    last_ |= !more;
    end_ = std::max(end_, end);
    const int met = run_[start];
    bool one_run = met != 0;
    bool any = false;
    for (size_t i = start; i < end; i++) {
      any |= run_[i] != 0;
      one_run = one_run && run_[i] == met;
    }
    if (one_run) return Told{Outcome::kRefused, Reason::kFragmentDuplicate};
    if (any) return refuse(Reason::kFragmentOverlap);
    const bool grows = start != 0 && highest_ == start && run_[start - 1] != 0;
    const int mine = grows ? run_[start - 1] : ++runs_;
    for (size_t i = start; i < end; i++) run_[i] = mine;
    highest_ = std::max(highest_, end);
    received_ += end - start;
    if (!last_ || received_ != end_) return Told{Outcome::kKept};
    *this = Model();
    return Told{Outcome::kWhole, kNoReason, whole};
  }

 private:
  std::vector<int> run_ = std::vector<int>(4096, 0);
  int runs_ = 0;
  size_t end_ = 0;
  size_t highest_ = 0;
  size_t received_ = 0;
  bool last_ = false;
};

}  // namespace

TEST(reassembly_random_fragments_against_the_model) {
  constexpr uint32_t kSeed = 20260;
  Random random(kSeed);
  uint32_t wholes = 0, overlaps = 0, duplicates = 0;
  for (int round = 0; round < 3000; round++) {
    // IPv6 middles must be long, so it gets fewer of them.
    const bool six = round % 4 == 0;
    const Bytes whole = Whole(six, (six ? 1240 : 104) + random.Below(six ? 2600 : 600));
    const size_t all = test::FragmentedBytes(whole);
    const size_t unit = six ? 1240 : 8 + random.Below(12) * 8;
    Bench bench;
    Model model;
    std::vector<std::pair<size_t, size_t>> cuts;
    for (size_t at = 0; at < all; at += unit) cuts.emplace_back(at, std::min(all, at + unit));
    for (size_t i = cuts.size(); i > 1; i--) std::swap(cuts[i - 1], cuts[random.Below(i)]);
    const size_t extra = random.Below(4) == 0 ? 1 + random.Below(3) : 0;
    for (size_t i = 0; i < extra; i++) {
      const size_t start = random.Below((all + 7) / 8) * 8;
      const size_t end = std::min(all, start + (six ? 1240 : 8 + random.Below(20) * 8));
      const auto where = static_cast<std::ptrdiff_t>(random.Below(cuts.size() + 1));
      cuts.insert(cuts.begin() + where, {start, end});
    }
    for (const auto& [start, end] : cuts) {
      if (start == 0 && end == all) continue;
      const bool more = end != all;
      const Told got = bench.Add(FragmentOf(whole, start, end, more, 0x1234));
      const Told want = model.Add(start, end, more, whole);
      REQUIRE(CHECK_EQ(got.outcome, want.outcome));
      CHECK_EQ(got.reason, want.reason);
      CHECK_EQ(got.datagram, want.datagram);
      wholes += got.outcome == Outcome::kWhole;
      overlaps += got.reason == Reason::kFragmentOverlap;
      duplicates += got.reason == Reason::kFragmentDuplicate;
    }
  }
  CHECK(wholes > 2000 && overlaps > 100 && duplicates > 50);
}

}  // namespace uvs
