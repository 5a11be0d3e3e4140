// The classifier's programs against a slow, obvious classifier written from the table in
// io/classifier_program.h: random frames from a small world, so that most of them hit an entry.
// The programs run in the kernel by BPF_PROG_TEST_RUN; no frame touches a network.
#include <signal.h>
#include <sys/time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>
#include <set>
#include <vector>

#include "check.h"
#include "classify/mark_rules.h"
#include "io/classifier.h"
#include "io/steering.h"

namespace uvs {
namespace {

using test::Random;

constexpr uint32_t kShot = 2;
constexpr uint32_t kUnspec = UINT32_MAX;
constexpr uint32_t kWhole = UINT32_MAX;

Addr Ip4(uint32_t host) { return Addr::v4(Be32::of(host)); }

Addr Ip6(uint8_t last) {
  uint8_t bytes[16] = {0x20, 0x01, 0x0d, 0xb8};
  bytes[15] = last;
  return Addr::v6(bytes);
}

// A small world: few addresses and ports, each of a random meaning.
Addr PickAddress(Random& random, int family) {
  const auto n = static_cast<uint32_t>(1 + random.Below(8));
  return family == 4 ? Ip4(0xc6120000 + n) : Ip6(static_cast<uint8_t>(n));
}

Be16 PickPort(Random& random) {
  static constexpr uint16_t kPorts[] = {20,   53,   1023, 1024, 80,   443,   4999,
                                        5000, 5001, 5003, 5999, 6000, 40000, 500};
  return Be16::of(kPorts[random.Below(std::size(kPorts))]);
}

uint8_t PickProtocol(Random& random) {
  constexpr uint8_t kAll[] = {6, 17, 132};
  return kAll[random.Below(3)];
}

struct Ends {
  Addr source, destination;
  Be16 source_port, destination_port;
  uint8_t protocol;
};

struct Judgement {
  bool wanted = false;
  bool taken = false;  // kQuiet drops it
  uint32_t worker = 0;
};

// The table of classifier_program.h, row by row.
class Oracle {
 public:
  Oracle(std::vector<ClassifierEntry> entries, std::vector<MarkEndRecord> ends, uint16_t first,
         uint16_t last, uint32_t workers, uint16_t ftp_data_first = 1024)
      : entries_(std::move(entries)),
        ends_(std::move(ends)),
        first_(first),
        last_(last),
        workers_(workers),
        ftp_data_first_(ftp_data_first) {}

  std::optional<uint32_t> Find(const Addr& a, Be16 port, uint8_t protocol, EntryKind kind) const {
    std::optional<uint32_t> flags;
    for (const ClassifierEntry& e : entries_) {
      if (e.key.address == a && e.key.port == port && e.key.protocol == protocol &&
          e.key.kind == kind) {
        flags = flags.value_or(0) | e.flags;
      }
    }
    return flags;
  }
  bool Has(const Addr& a, EntryKind kind) const { return Find(a, Be16{}, 0, kind).has_value(); }
  uint32_t Source(const Addr& a, Be16 port, uint8_t protocol) const {
    const std::optional<uint32_t> exact = Find(a, port, protocol, EntryKind::kSource);
    const uint32_t all = Find(a, Be16{}, protocol, EntryKind::kSource).value_or(0);
    // An entry without flags says nothing, and none such is made.
    return exact.value_or(0) == 0 ? all : *exact | (all & ~kEntryByAddress);
  }
  std::optional<uint32_t> Request(const Addr& a, Be16 port, uint8_t protocol) const {
    auto found = Find(a, port, protocol, EntryKind::kService);
    if (!found) found = Find(a, Be16{}, protocol, EntryKind::kService);
    if (!found && IsFtpData(port)) found = Find(a, Be16{}, protocol, EntryKind::kFtpData);
    return found;
  }
  uint32_t Worker(const Addr& client, Be16 port, uint32_t flags) const {
    return worker_of_client(client, (flags & kEntryByAddress) != 0 ? Be16{} : port, workers_);
  }
  bool Local(const Addr& a, Be16 port) const {
    return Has(a, EntryKind::kLocalAddress) && port.host() >= first_ && port.host() <= last_;
  }

  // What mark rules select: of those that name destinations, or of those that name none.
  bool Marked(const Addr& a, uint8_t protocol, Be16 port, bool anywhere) const {
    return std::any_of(ends_.begin(), ends_.end(), [&](const MarkEndRecord& end) {
      if (end.protocol != protocol || port.host() < end.port_first || port.host() > end.port_last) {
        return false;
      }
      if (is_any(end) != anywhere || (end.family == 4) != a.is_v4()) return false;
      for (uint32_t bit = 0; bit < end.bits; bit++) {
        if (((a.bytes[bit / 8] ^ end.address.bytes[bit / 8]) >> (7 - bit % 8) & 1) != 0)
          return false;
      }
      return true;
    });
  }

  bool IsFtpData(Be16 port) const { return port.host() == 20 || port.host() >= ftp_data_first_; }

  // AH is an extension header of IPv6.
  static bool IsIpsec(uint8_t protocol, bool six) {
    return protocol == 50 || (protocol == 51 && !six);
  }
  // AH and ESP are taken for packets of their key exchange.
  static Ends Known(const Ends& e) {
    if (e.protocol != 50 && e.protocol != 51) return e;
    return {e.source, e.destination, Be16::of(500), Be16::of(500), 17};
  }

  Judgement Flow(const Ends& e) const {
    if (const auto request = Request(e.destination, e.destination_port, e.protocol)) {
      return {true, true, Worker(e.source, e.source_port, *request)};
    }
    if (Marked(e.destination, e.protocol, e.destination_port, false)) {
      return {true, true, worker_of_client(e.source, Be16{}, workers_)};
    }
    const uint32_t flags = Source(e.source, e.source_port, e.protocol);
    if ((flags & kEntryFullnat) && Local(e.destination, e.destination_port)) {
      return {true, true, worker_of_local_port(e.destination_port, workers_)};
    }
    if ((flags & kEntryMasquerade) && !Has(e.destination, EntryKind::kHost)) {
      return {true, true, Worker(e.destination, e.destination_port, flags)};
    }
    if (Marked(e.destination, e.protocol, e.destination_port, true)) {
      return {true, true, worker_of_client(e.source, Be16{}, workers_)};
    }
    return {};
  }

  bool IsMarked(const Addr& a, uint8_t protocol, Be16 port) const {
    return Marked(a, protocol, port, false) || Marked(a, protocol, port, true);
  }
  // Of the reply that an error quotes.
  uint32_t MarkFlags(const Ends& quoted) const {
    return IsMarked(quoted.source, quoted.protocol, quoted.source_port) ? kEntryByAddress : 0;
  }

  // A part of a datagram; `protocol` as its headers say.
  Judgement Part(const Addr& source, const Addr& destination, uint8_t protocol, bool six) const {
    if (IsIpsec(protocol, six)) return Flow(Known({source, destination, {}, {}, protocol}));
    const bool ours = protocol == 6 || protocol == 17 || protocol == 132 ||
                      protocol == (six ? 58 : 1) ||
                      (six && (protocol == 43 || protocol == 51 || protocol == 60));
    if (!ours) return {};
    if (Has(destination, EntryKind::kVirtual)) {
      return {true, true, worker_of_client(source, Be16{}, workers_)};
    }
    const uint32_t flags = Find(source, Be16{}, 0, EntryKind::kFragmentSource).value_or(0);
    const bool local = (flags & kEntryFullnat) && Has(destination, EntryKind::kLocalAddress);
    if (local || ((flags & kEntryMasquerade) && !Has(destination, EntryKind::kHost))) {
      return {true, true, worker_of_client(destination, Be16{}, workers_)};
    }
    return {};
  }

  Judgement Echo(const Addr& destination) const {
    return {Has(destination, EntryKind::kAnnounce), false, 0};
  }

  // An error about a tunnel packet to `end`; `inside` is what the tunnel carries.
  Judgement TunnelError(const Addr& outer, const Addr& end, Be16 port, uint8_t protocol,
                        const Ends& inside) const {
    if (!Has(outer, EntryKind::kHost) || !Find(end, port, protocol, EntryKind::kTunnel)) return {};
    const auto request = Request(inside.destination, inside.destination_port, inside.protocol);
    const bool marked = IsMarked(inside.destination, inside.protocol, inside.destination_port);
    const uint32_t flags = request.value_or(marked ? kEntryByAddress : 0);
    return {true, false, Worker(inside.source, inside.source_port, flags)};
  }

  Judgement Error(const Addr& outer, const Ends& quoted) const {
    if (Has(outer, EntryKind::kVirtual)) {
      const auto request = Request(quoted.source, quoted.source_port, quoted.protocol);
      return {
          true, false,
          Worker(quoted.destination, quoted.destination_port, request.value_or(MarkFlags(quoted)))};
    }
    if (Marked(outer, quoted.protocol, quoted.source_port, false)) {
      const auto request = Request(quoted.source, quoted.source_port, quoted.protocol);
      return {
          true, false,
          Worker(quoted.destination, quoted.destination_port, request.value_or(MarkFlags(quoted)))};
    }
    const uint32_t flags = Source(quoted.destination, quoted.destination_port, quoted.protocol);
    if ((flags & kEntryFullnat) && Local(outer, quoted.source_port)) {
      return {true, true, worker_of_local_port(quoted.source_port, workers_)};
    }
    if ((flags & kEntryMasquerade) && !Has(outer, EntryKind::kHost)) {
      return {true, true, Worker(quoted.source, quoted.source_port, flags)};
    }
    if (Marked(outer, quoted.protocol, quoted.source_port, true)) {
      return {true, true, worker_of_client(quoted.destination, Be16{}, workers_)};
    }
    return {};
  }

 private:
  std::vector<ClassifierEntry> entries_;
  std::vector<MarkEndRecord> ends_;
  uint16_t first_, last_;
  uint32_t workers_;
  uint16_t ftp_data_first_;
};

using Bytes = std::vector<uint8_t>;

void Append(Bytes& to, const void* data, size_t bytes) {
  const auto* p = static_cast<const uint8_t*>(data);
  to.insert(to.end(), p, p + bytes);
}

void Append16(Bytes& to, uint16_t host) {
  to.push_back(static_cast<uint8_t>(host >> 8));
  to.push_back(static_cast<uint8_t>(host));
}

// An Ethernet header to 00:00:00:00:00:00: the link address of loopback, where test runs happen.
Bytes LinkHeader(uint16_t type) {
  Bytes frame(12, 0);
  Append16(frame, type);
  return frame;
}

Bytes Transport(const Ends& e, size_t bytes = 20) {
  Bytes l4(bytes, 0);
  std::memcpy(l4.data(), &e.source_port.raw, 2);
  std::memcpy(l4.data() + 2, &e.destination_port.raw, 2);
  return l4;
}

// `options` in 4-byte words; `fragment` is the flags-and-offset field.
Bytes Packet4(const Addr& source, const Addr& destination, uint8_t protocol, const Bytes& payload,
              uint32_t options = 0, uint16_t fragment = 0) {
  Bytes ip = {static_cast<uint8_t>(0x45 + options), 0};
  Append16(ip, static_cast<uint16_t>(20 + options * 4 + payload.size()));
  Append16(ip, 0);
  Append16(ip, fragment);
  ip.push_back(64);
  ip.push_back(protocol);
  Append16(ip, 0);
  Append(ip, source.bytes + 12, 4);
  Append(ip, destination.bytes + 12, 4);
  ip.insert(ip.end(), options * 4, 1);
  Append(ip, payload.data(), payload.size());
  return ip;
}

// Extension headers by number (0, 43, 44, 51, 60), each 8 or 16 bytes; routing without segments
// left.
Bytes Packet6(const Addr& source, const Addr& destination, uint8_t protocol, const Bytes& payload,
              const std::vector<uint8_t>& extensions = {}, uint16_t fragment = 0) {
  Bytes chain;
  for (size_t i = 0; i < extensions.size(); i++) {
    chain.push_back(i + 1 < extensions.size() ? extensions[i + 1] : protocol);
    if (extensions[i] == 44) {
      chain.push_back(0);
      Append16(chain, fragment);
      chain.insert(chain.end(), 4, 0);
    } else {
      const size_t units = extensions[i] == 51 ? 2 * (i % 2) : i % 2;
      chain.push_back(static_cast<uint8_t>(units));
      chain.insert(chain.end(), 6 + 8 * (i % 2), 0);
    }
  }
  Bytes ip = {0x60, 0, 0, 0};
  Append16(ip, static_cast<uint16_t>(chain.size() + payload.size()));
  ip.push_back(extensions.empty() ? protocol : extensions[0]);
  ip.push_back(64);
  Append(ip, source.bytes, 16);
  Append(ip, destination.bytes, 16);
  Append(ip, chain.data(), chain.size());
  Append(ip, payload.data(), payload.size());
  return ip;
}

Bytes OnLink(int family, const Bytes& packet) {
  Bytes frame = LinkHeader(family == 4 ? 0x0800 : 0x86dd);
  Append(frame, packet.data(), packet.size());
  return frame;
}

bool MayLoad(const char* test) {
  if (::geteuid() == 0) return true;
  std::printf("  # SKIPPED, NOT TESTED: %s: needs root (CAP_BPF, CAP_NET_ADMIN)\n", test);
  return false;
}

ClassifierEntry Entry(const Addr& address, uint16_t port, uint8_t protocol, EntryKind kind,
                      uint32_t flags = 0) {
  return ClassifierEntry{{address, Be16::of(port), protocol, kind, 0}, flags};
}

std::vector<ClassifierEntry> RandomEntries(Random& random) {
  std::vector<ClassifierEntry> entries;
  for (int family : {4, 6}) {
    for (int i = 0; i < 8; i++) {
      const uint16_t port = random.Below(8) == 0 ? 0 : PickPort(random).host();
      entries.push_back(Entry(PickAddress(random, family), port, PickProtocol(random),
                              EntryKind::kService, random.Below(3) == 0 ? kEntryByAddress : 0));
      const uint16_t source = random.Below(4) == 0 ? 0 : PickPort(random).host();
      const Addr from = PickAddress(random, family);
      const auto flags = static_cast<uint32_t>(random.Below(8));
      entries.push_back(Entry(from, source, PickProtocol(random), EntryKind::kSource, flags));
      entries.push_back(Entry(from, 0, 0, EntryKind::kFragmentSource, flags));
    }
    entries.push_back(Entry(PickAddress(random, family), 0, 6, EntryKind::kFtpData,
                            random.Below(2) == 0 ? kEntryByAddress : 0));
    for (const uint8_t protocol : {4, 47, 17, 17}) {
      const uint16_t port = protocol == 17 ? PickPort(random).host() : 0;
      entries.push_back(Entry(PickAddress(random, 4), port, protocol, EntryKind::kTunnel));
    }
    for (EntryKind kind :
         {EntryKind::kLocalAddress, EntryKind::kHost, EntryKind::kVirtual, EntryKind::kAnnounce}) {
      for (int i = 0; i < 3; i++) {
        entries.push_back(Entry(PickAddress(random, family), 0, 0, kind));
      }
    }
  }
  return entries;
}

// Prefixes of every length around the few addresses, and now and then all of a family.
std::vector<MarkEndRecord> RandomEnds(Random& random, uint64_t count) {
  std::vector<MarkEndRecord> ends;
  for (; count > 0; count--) {
    const int family = random.Below(2) == 0 ? 4 : 6;
    const uint8_t least = family == 4 ? 96 : 0;
    const uint64_t shape = random.Below(6);
    const auto bits = static_cast<uint8_t>(shape == 0   ? least
                                           : shape == 1 ? least + random.Below(129u - least)
                                                        : 125 + random.Below(4));
    MarkEndRecord end{PickAddress(random, family),  0, 0, PickProtocol(random), bits,
                      static_cast<uint8_t>(family), 0};
    for (uint32_t bit = bits; bit < 128; bit++) {
      end.address.bytes[bit / 8] &= static_cast<uint8_t>(~(0x80u >> bit % 8));
    }
    const uint16_t a = PickPort(random).host();
    const uint16_t b = random.Below(2) == 0 ? a : PickPort(random).host();
    end.port_first = std::min(a, b);
    end.port_last = std::max(a, b);
    ends.push_back(end);
  }
  return ends;
}

Ends PickEnds(Random& random, int family) {
  return Ends{PickAddress(random, family), PickAddress(random, family), PickPort(random),
              PickPort(random), PickProtocol(random)};
}

// The same, of AH or ESP now and then.
Ends PickAnyEnds(Random& random, int family) {
  Ends e = PickEnds(random, family);
  const uint64_t kinds = family == 4 ? 2 : 1;
  if (random.Below(4) == 0) e.protocol = static_cast<uint8_t>(50 + random.Below(kinds));
  return e;
}

std::vector<uint8_t> PickExtensions(Random& random) {
  static constexpr uint8_t kKinds[] = {0, 43, 44, 51, 60};
  std::vector<uint8_t> extensions;
  for (uint64_t n = random.Below(3) == 0 ? random.Below(6) : 0; n > 0; n--) {
    extensions.push_back(kKinds[random.Below(std::size(kKinds))]);
  }
  return extensions;
}

struct Sample {
  Bytes frame;
  Judgement want;
};

// A packet with these ends, in a shape drawn at random.
struct Shaped {
  Bytes packet;
  bool readable;                // by the classifier: not too many headers, ports where they must be
  bool first;                   // whole or the first part: it has ports
  std::optional<uint8_t> part;  // a part of a datagram of this protocol
};

Shaped Shape(Random& random, int family, const Addr& source, const Addr& destination,
             uint8_t protocol, const Bytes& payload) {
  // 0x2000: more fragments, still the first. 0x0001: a later one.
  const uint16_t fragments4[] = {0, 0, 0, 0x4000, 0x2000, 0x0001};
  const uint16_t fragments6[] = {0, 0, 1, 8};
  if (family == 4) {
    const uint16_t fragment = fragments4[random.Below(6)];
    const auto options = static_cast<uint32_t>(random.Below(4) == 0 ? random.Below(11) : 0);
    Shaped out{Packet4(source, destination, protocol, payload, options, fragment),
               true,
               fragment != 1,
               {}};
    if ((fragment & 0x3fff) != 0) out.part = protocol;
    return out;
  }
  const std::vector<uint8_t> extensions = PickExtensions(random);
  const uint16_t fragment = fragments6[random.Below(4)];
  Shaped out{Packet6(source, destination, protocol, payload, extensions, fragment),
             extensions.size() <= kClassifierExtensionsMax,
             true,
             {}};
  const auto header = std::find(extensions.begin(), extensions.end(), 44);
  if (header == extensions.end() || fragment == 0) return out;
  // What stands behind the fragment header is the datagram's, whatever it is.
  out.first = fragment != 8;
  out.part = header + 1 == extensions.end() ? protocol : header[1];
  return out;
}

// Of a part only what stands in front of its fragment header must be readable.
bool PartReadable(const Bytes& packet) {
  uint32_t walked = 0;
  size_t at = 40;
  for (uint8_t next = packet[6]; next != 44; walked++) {
    const uint32_t bytes = next == 51 ? packet[at + 1] * 4u + 8 : packet[at + 1] * 8u + 8;
    next = packet[at];
    at += bytes;
  }
  return walked < kClassifierExtensionsMax;
}

Judgement JudgePart(const Oracle& oracle, int family, const Addr& source, const Addr& destination,
                    const Shaped& shaped) {
  if (family == 6 && !PartReadable(shaped.packet)) return {};
  return oracle.Part(source, destination, *shaped.part, family == 6);
}

Sample FlowSample(Random& random, const Oracle& oracle, int family) {
  const Ends e = PickAnyEnds(random, family);
  const Shaped shaped = Shape(random, family, e.source, e.destination, e.protocol, Transport(e));
  const Bytes frame = OnLink(family, shaped.packet);
  if (shaped.part) return {frame, JudgePart(oracle, family, e.source, e.destination, shaped)};
  return {frame, shaped.readable ? oracle.Flow(Oracle::Known(e)) : Judgement{}};
}

Sample ErrorSample(Random& random, const Oracle& oracle, int family) {
  const uint8_t types4[] = {3, 4, 11, 3, 11, 0, 8, 5, 12};
  const uint8_t types6[] = {1, 2, 3, 4, 2, 127, 128, 129, 134};
  const uint8_t type = family == 4 ? types4[random.Below(9)] : types6[random.Below(9)];
  const Ends quoted = PickAnyEnds(random, family);
  const Shaped inner = Shape(random, family, quoted.source, quoted.destination, quoted.protocol,
                             Transport(quoted, 8));
  Bytes message = {type, 0, 0, 0, 0, 0, 0, 0};
  Append(message, inner.packet.data(), inner.packet.size());
  const Addr from = PickAddress(random, family);
  const Addr to = random.Below(2) == 0 ? quoted.source : PickAddress(random, family);
  const Shaped outer =
      Shape(random, family, from, to, static_cast<uint8_t>(family == 4 ? 1 : 58), message);
  const Bytes frame = OnLink(family, outer.packet);
  if (outer.part) return {frame, JudgePart(oracle, family, from, to, outer)};
  if (!outer.readable) return {frame, {}};
  if (type == (family == 4 ? 8 : 128)) return {frame, oracle.Echo(to)};
  const bool error = family == 4 ? type == 3 || type == 4 || type == 11 : type < 128;
  if (!error || !inner.readable || !inner.first) return {frame, {}};
  return {frame, oracle.Error(to, Oracle::Known(quoted))};
}

// What a tunnel of this outer protocol carries in front of its packet. `good`: as IPVS sends it.
Bytes Middle(Random& random, uint8_t protocol, Be16 port, bool* good) {
  Bytes middle;
  *good = true;
  if (protocol == 4) return middle;
  const uint64_t flaw = random.Below(8);
  *good = flaw > 2;
  if (protocol == 47) {
    const bool checksum = random.Below(2) == 0;
    Append16(middle, static_cast<uint16_t>((checksum ? 0x8000 : 0) | (flaw == 0 ? 0x2000 : 0) |
                                           (flaw == 1 ? 1 : 0)));
    Append16(middle, flaw == 2 ? 0x86dd : 0x0800);
    if (checksum) middle.insert(middle.end(), 4, 0x77);
    return middle;
  }
  Append16(middle, 40000);
  Append(middle, &port.raw, 2);
  middle.insert(middle.end(), 4, 0x11);
  const auto words = static_cast<uint8_t>(random.Below(2) == 0 ? 0 : random.Below(6));
  middle.push_back(static_cast<uint8_t>(words | (flaw == 0 ? 0x20 : 0) | (flaw == 1 ? 0x40 : 0)));
  middle.push_back(flaw == 2 ? 41 : 4);
  middle.insert(middle.end(), 2 + 4 * words, 0);
  return middle;
}

Sample TunnelErrorSample(Random& random, const Oracle& oracle) {
  const uint8_t protocol = std::array<uint8_t, 3>{4, 47, 17}[random.Below(3)];
  const Ends inside = PickAnyEnds(random, 4);
  const Be16 port = protocol == 17 ? PickPort(random) : Be16{};
  bool good = true;
  const Shaped inner =
      Shape(random, 4, inside.source, inside.destination, inside.protocol, Transport(inside, 8));
  Bytes tunnel = Middle(random, protocol, port, &good);
  Append(tunnel, inner.packet.data(), inner.packet.size());
  const Addr director = PickAddress(random, 4);
  const Addr end = PickAddress(random, 4);
  const Shaped quoted = Shape(random, 4, director, end, protocol, tunnel);
  Bytes message = {3, 4, 0, 0, 0, 0, 5, 120};
  Append(message, quoted.packet.data(), quoted.packet.size());
  const Addr from = PickAddress(random, 4);
  const Shaped outer = Shape(random, 4, from, director, 1, message);
  if (outer.part) return {OnLink(4, outer.packet), JudgePart(oracle, 4, from, director, outer)};
  if (!quoted.readable || !quoted.first || !outer.readable) return {OnLink(4, outer.packet), {}};
  const Judgement judged = oracle.TunnelError(director, end, port, protocol, Oracle::Known(inside));
  if (judged.wanted && good) {
    return {OnLink(4, outer.packet), inner.readable && inner.first ? judged : Judgement{}};
  }
  // An ordinary UDP packet, for all that can be said.
  const Ends plain{director, end, Be16::of(40000), port, 17};
  return {OnLink(4, outer.packet), protocol == 17 ? oracle.Error(director, plain) : Judgement{}};
}

Sample AskSample(Random& random, const Oracle& oracle, int family) {
  const Addr target = PickAddress(random, family);
  const bool announced = oracle.Has(target, EntryKind::kAnnounce);
  if (family == 6) {
    Bytes message(24, 0);
    const uint8_t types[] = {135, 135, 136, 133};
    message[0] = types[random.Below(4)];
    std::memcpy(message.data() + 8, target.bytes, 16);
    return {OnLink(6, Packet6(PickAddress(random, 6), PickAddress(random, 6), 58, message)),
            {message[0] == 135 && announced, false, 0}};
  }
  Bytes frame = LinkHeader(0x0806);
  const auto operation = static_cast<uint8_t>(1 + random.Below(2));
  const uint8_t fixed[] = {0, 1, 8, 0, 6, 4, 0, operation};
  Append(frame, fixed, sizeof fixed);
  frame.insert(frame.end(), 16, 7);
  Append(frame, target.bytes + 12, 4);
  return {frame, {operation == 1 && announced, false, 0}};
}

// Whether the frame is an IP packet to an announced address, which the host must not route.
bool ToAnnounced(const Oracle& oracle, const Bytes& frame) {
  const uint16_t type = static_cast<uint16_t>(frame[12] << 8 | frame[13]);
  if (type == 0x0800 && frame.size() >= 14 + 20) {
    Be32 to;
    std::memcpy(&to.raw, frame.data() + 14 + 16, 4);
    return oracle.Has(Addr::v4(to), EntryKind::kAnnounce);
  }
  return type == 0x86dd && frame.size() >= 14 + 40 &&
         oracle.Has(Addr::v6(frame.data() + 14 + 24), EntryKind::kAnnounce);
}

void CheckSample(Classifier& classifier, const Oracle& oracle, const Sample& sample,
                 uint64_t number) {
  uint32_t filter = 0;
  uint32_t steer = 0;
  uint32_t quiet = 0;
  const Bytes& frame = sample.frame;
  REQUIRE(bpf_run(classifier.filter_program(), frame.data(), frame.size(), &filter));
  REQUIRE(bpf_run(classifier.steering_program(), frame.data(), frame.size(), &steer));
  REQUIRE(bpf_run(classifier.quiet_program(), frame.data(), frame.size(), &quiet));
  const int before = test::Failures();
  CHECK_EQ(filter, sample.want.wanted ? kWhole : 0u);
  CHECK_EQ(steer, sample.want.worker);
  const bool dropped = sample.want.taken || ToAnnounced(oracle, frame);
  CHECK_EQ(quiet, dropped ? kShot : kUnspec);
  if (test::Failures() != before) {
    std::printf("  # sample %lu: %s\n", static_cast<unsigned long>(number),
                test::Show(frame).c_str());
  }
}

}  // namespace

TEST(programs_agree_with_the_table_on_random_frames) {
  if (!MayLoad(__func__)) return;
  Random random(0x75767331);
  uint32_t wanted = 0;
  uint32_t taken = 0;
  uint32_t tunnels = 0;
  for (uint32_t workers : {1u, 2u, 3u, 8u}) {
    IoError error;
    const auto classifier = Classifier::open(workers, &error);
    if (!CHECK(classifier != nullptr)) std::printf("  # %s\n", error.sentence.c_str());
    REQUIRE(classifier != nullptr);
    for (int world = 0; world < 6; world++) {
      const auto entries = RandomEntries(random);
      REQUIRE(classifier->set_entries(entries, &error));
      const auto first = static_cast<uint16_t>(world == 5 ? 1 : 5000);
      const auto last = static_cast<uint16_t>(world == 5 ? 0 : 5999);
      REQUIRE(classifier->set_local_ports(first, last, &error));
      const auto ends = RandomEnds(random, world % 2 == 0 ? 0 : random.Below(12));
      REQUIRE(classifier->set_marked(ends, &error));
      constexpr uint16_t kFtpDataFirst[] = {1024, 0, 5001, 65535};
      const uint16_t ftp_data_first = kFtpDataFirst[world % 4];
      REQUIRE(classifier->set_ftp_data_first(ftp_data_first, &error));
      const Oracle oracle(entries, ends, first, last, workers, ftp_data_first);
      for (uint64_t i = 0; i < 1800; i++) {
        const int family = random.Below(2) == 0 ? 4 : 6;
        const uint64_t kind = random.Below(12);
        const Sample sample = kind >= 10 ? TunnelErrorSample(random, oracle)
                              : kind < 5 ? FlowSample(random, oracle, family)
                              : kind < 9 ? ErrorSample(random, oracle, family)
                                         : AskSample(random, oracle, family);
        const int failures = test::Failures();
        CheckSample(*classifier, oracle, sample, i);
        if (test::Failures() != failures) return;
        wanted += sample.want.wanted;
        tunnels += kind >= 10 && sample.want.wanted;
        taken += sample.want.taken;
      }
    }
  }
  // The world is small enough that every verdict occurs often.
  CHECK_GT(wanted, 5000);
  CHECK_GT(wanted - taken, 500);
  CHECK_GT(tunnels, 200);
  CHECK_LT(wanted, 30000);
}

TEST(frames_cut_off_anywhere_are_not_wanted_unless_their_ends_are_there) {
  if (!MayLoad(__func__)) return;
  IoError error;
  const auto classifier = Classifier::open(2, &error);
  REQUIRE(classifier != nullptr);
  const Ends e{Ip4(0xc6120001), Ip4(0xc6120002), Be16::of(40000), Be16::of(80), 6};
  const Ends e6{Ip6(1), Ip6(2), Be16::of(40000), Be16::of(80), 6};
  const std::vector<ClassifierEntry> entries = {Entry(e.destination, 80, 6, EntryKind::kService),
                                                Entry(e6.destination, 80, 6, EntryKind::kService)};
  REQUIRE(classifier->set_entries(entries, &error));
  for (int family : {4, 6}) {
    const Bytes frame =
        family == 4 ? OnLink(4, Packet4(e.source, e.destination, 6, Transport(e)))
                    : OnLink(6, Packet6(e6.source, e6.destination, 6, Transport(e6), {0, 60}));
    const size_t enough = frame.size() - 16;  // the ports are there
    for (size_t bytes = 34; bytes <= frame.size(); bytes++) {
      uint32_t filter = 7;
      // Kernels refuse to run a frame without its whole IP header: then it is not wanted either.
      if (!bpf_run(classifier->filter_program(), frame.data(), bytes, &filter)) filter = 0;
      CHECK_EQ(filter, bytes >= enough ? kWhole : 0u);
    }
  }
}

TEST(frames_of_a_vlan_or_to_another_link_address_are_not_wanted) {
  if (!MayLoad(__func__)) return;
  IoError error;
  const auto classifier = Classifier::open(1, &error);
  REQUIRE(classifier != nullptr);
  const Ends e{Ip4(0xc6120001), Ip4(0xc6120002), Be16::of(40000), Be16::of(80), 6};
  const ClassifierEntry service = Entry(e.destination, 80, 6, EntryKind::kService);
  REQUIRE(classifier->set_entries({&service, 1}, &error));
  Bytes frame = OnLink(4, Packet4(e.source, e.destination, 6, Transport(e)));
  uint32_t filter = 0;
  uint32_t quiet = 0;
  REQUIRE(bpf_run(classifier->filter_program(), frame.data(), frame.size(), &filter));
  CHECK_EQ(filter, kWhole);
  frame[0] = 2;  // a unicast address that is not ours
  REQUIRE(bpf_run(classifier->filter_program(), frame.data(), frame.size(), &filter));
  REQUIRE(bpf_run(classifier->quiet_program(), frame.data(), frame.size(), &quiet));
  CHECK_EQ(filter, 0u);
  CHECK_EQ(quiet, kUnspec);
  frame[0] = 0;
  const Bytes tag = {0x81, 0, 0, 5};
  frame.insert(frame.begin() + 12, tag.begin(), tag.end());
  REQUIRE(bpf_run(classifier->filter_program(), frame.data(), frame.size(), &filter));
  CHECK_EQ(filter, 0u);
}

TEST(an_ipv6_prefix_around_mapped_addresses_selects_no_ipv4) {
  if (!MayLoad(__func__)) return;
  IoError error;
  const auto classifier = Classifier::open(1, &error);
  REQUIRE(classifier != nullptr);
  MarkEndRecord wide{Addr{}, 80, 80, 6, 1, 6, 0};  // ::/1
  REQUIRE(classifier->set_marked({&wide, 1}, &error));
  const Ends e{Ip4(0xc6120001), Ip4(0xc6120002), Be16::of(40000), Be16::of(80), 6};
  const Ends e6{Ip6(1), Ip6(2), Be16::of(40000), Be16::of(80), 6};
  const auto wanted = [&](int family) {
    const Bytes frame = family == 4
                            ? OnLink(4, Packet4(e.source, e.destination, 6, Transport(e)))
                            : OnLink(6, Packet6(e6.source, e6.destination, 6, Transport(e6)));
    uint32_t filter = 7;
    CHECK(bpf_run(classifier->filter_program(), frame.data(), frame.size(), &filter));
    return filter;
  };
  CHECK_EQ(wanted(4), 0);
  CHECK_EQ(wanted(6), kWhole);
  REQUIRE(classifier->set_marked({}, &error));
  CHECK_EQ(wanted(6), 0);
}

TEST(too_many_different_sets_of_marked_ports_are_refused_and_change_nothing) {
  if (!MayLoad(__func__)) return;
  IoError error;
  const auto classifier = Classifier::open(1, &error);
  REQUIRE(classifier != nullptr);
  std::vector<MarkEndRecord> ends;
  for (uint32_t i = 0; i < kMarkChunksMax / 64; i++) {  // each has all 32 chunks
    const auto last = static_cast<uint16_t>(65535 - i);
    ends.push_back({Ip4(0xc6120000 + i), 0, last, 6, 128, 4, 0});
  }
  REQUIRE(classifier->set_marked(ends, &error));
  ends.push_back({Ip4(0xc6130000), 7, 7, 6, 128, 4, 0});
  CHECK(!classifier->set_marked(ends, &error));
  CHECK_EQ(error.code, "ERR_TOO_MANY_ENTRIES");
  // All others at once: the map holds both sides for a moment.
  ends.pop_back();
  for (MarkEndRecord& end : ends) end.protocol = 17;
  CHECK(classifier->set_marked(ends, &error));
  CHECK(classifier->set_marked({}, &error));
}

TEST(entries_are_replaced_by_difference) {
  if (!MayLoad(__func__)) return;
  IoError error;
  const auto classifier = Classifier::open(1, &error);
  REQUIRE(classifier != nullptr);
  Random random(7);
  for (int round = 0; round < 50; round++) {
    auto entries = RandomEntries(random);
    entries.resize(random.Below(entries.size() + 1));
    REQUIRE(classifier->set_entries(entries, &error));
    const Oracle oracle(entries, {}, 1, 0, 1);
    const uint16_t first = 1;
    REQUIRE(classifier->set_local_ports(first, 0, &error));
    for (int i = 0; i < 40; i++) {
      const Sample sample = FlowSample(random, oracle, random.Below(2) == 0 ? 4 : 6);
      CheckSample(*classifier, oracle, sample, static_cast<uint64_t>(i));
    }
  }
  REQUIRE(classifier->set_entries({}, &error));
  CHECK_EQ(classifier->entry_count(), 0u);
  std::vector<ClassifierEntry> many;
  for (uint32_t i = 0; i < kClassifierEntriesMax; i++) {
    many.push_back(Entry(Ip4(0xc6120000 + i / 65000), static_cast<uint16_t>(1 + i % 65000), 6,
                         EntryKind::kService));
  }
  REQUIRE(classifier->set_entries(many, &error));
  many.push_back(Entry(Ip4(0xc6130000), 1, 6, EntryKind::kService));
  CHECK(!classifier->set_entries(many, &error));
  CHECK_EQ(error.code, "ERR_TOO_MANY_ENTRIES");
  CHECK_EQ(classifier->entry_count(), kClassifierEntriesMax);
}

TEST(programs_are_loaded_while_signals_arrive) {
  if (!MayLoad(__func__)) return;
  struct sigaction action {};
  action.sa_handler = [](int) {};
  action.sa_flags = SA_RESTART;
  struct sigaction before {};
  REQUIRE(::sigaction(SIGALRM, &action, &before) == 0);
  // Far more often than the verifier needs for one program.
  const itimerval often{{0, 200}, {0, 200}};
  REQUIRE(::setitimer(ITIMER_REAL, &often, nullptr) == 0);
  for (int round = 0; round < 5; round++) {
    IoError error;
    CHECK(Classifier::open(2, &error) != nullptr);
    CHECK_EQ(error.sentence, "");
  }
  const itimerval never{};
  ::setitimer(ITIMER_REAL, &never, nullptr);
  ::sigaction(SIGALRM, &before, nullptr);
}

TEST(steering_spreads_clients_and_ports_evenly) {
  for (uint32_t workers : {2u, 3u, 4u, 16u}) {
    std::vector<uint32_t> ports(workers);
    std::vector<uint32_t> clients(workers);
    for (uint32_t i = 0; i < 16000; i++) {
      ports[worker_of_client(Ip4(0xc6120001), Be16::of(static_cast<uint16_t>(i)), workers)]++;
      clients[worker_of_client(Ip4(0xc6120000 + i), Be16::of(40000), workers)]++;
    }
    for (uint32_t w = 0; w < workers; w++) {
      CHECK_GT(ports[w], 16000 / workers * 85 / 100);
      CHECK_GT(clients[w], 16000 / workers * 85 / 100);
    }
  }
}

TEST(local_ports_belong_to_the_worker_of_their_low_bits) {
  CHECK_EQ(local_port_mask(1), 0u);
  CHECK_EQ(local_port_mask(2), 1u);
  CHECK_EQ(local_port_mask(3), 3u);
  CHECK_EQ(local_port_mask(16), 15u);
  for (uint32_t workers = 1; workers <= 16; workers++) {
    for (uint32_t worker = 0; worker < workers; worker++) {
      const auto port = static_cast<uint16_t>(5000 / 16 * 16 + worker);
      CHECK_EQ(worker_of_local_port(Be16::of(port), workers), worker);
    }
  }
}

}  // namespace uvs
