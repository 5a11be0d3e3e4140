// The af_packet port on real interfaces: veth pairs in namespaces of this test's own. Frames are
// made by hand where order and bytes matter, and by the kernel's TCP where offloads do.
#include "io/af_packet.h"

#include <arpa/inet.h>
#include <poll.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>
#include <ctime>
#include <functional>
#include <memory>
#include <vector>

#include "check.h"
#include "io/classifier.h"
#include "io/packet_socket.h"
#include "io/steering.h"
#include "netns.h"

namespace uvs {
namespace {

using test::Enter;
using test::Netns;
using test::Pair;
using test::Run;

constexpr int kPatienceMs = 2000;

// A socket opened as main does and a port around it as a worker does.
struct Opened {
  UniqueFd fd;
  uint32_t rx_index = 0;
  uint32_t ifindex = 0;
  std::unique_ptr<AfPacketPort> port;
  IoError error;

  bool Attach(uint32_t frames) {
    port = AfPacketPort::attach(fd.get(), ifindex, frames, &rx_index, &error);
    return port != nullptr;
  }
};

std::unique_ptr<Opened> Open(const Netns& ns, const std::string& name,
                             const PacketSocketOptions& options) {
  auto opened = std::make_unique<Opened>();
  const Enter here(ns);
  Interface interface;
  if (find_interface(name, &interface, &opened->error)) {
    opened->ifindex = interface.index;
    opened->fd = open_packet_socket(interface, options, &opened->error);
    if (opened->fd.open()) opened->Attach(options.ring_frames);
  }
  if (opened->port == nullptr) std::printf("  # %s\n", opened->error.sentence.c_str());
  return opened;
}

PacketSocketOptions Ring(uint32_t frames) {
  PacketSocketOptions options;
  options.ring_frames = frames;
  return options;
}

// A frame in memory with the headroom that a port needs.
struct Made {
  std::vector<uint8_t> buffer;
  Frame frame;
  explicit Made(uint32_t length) : buffer(kHeadroom + length) {
    frame.data = buffer.data() + kHeadroom;
    frame.length = length;
    frame.headroom = kHeadroom;
  }
};

struct FlowEnds {
  uint32_t source, destination;
  uint16_t source_port, destination_port;
};

// Broadcast Ethernet, or to `mac`; IPv4 TCP or UDP. `number` is the IP identification.
Made MakeFrame(uint32_t length, uint16_t number, const FlowEnds& ends, uint8_t protocol = 17,
               const uint8_t* mac = nullptr) {
  Made made(length);
  uint8_t* p = made.frame.data;
  std::memset(p, 0xff, 6);
  if (mac != nullptr) std::memcpy(p, mac, 6);
  p[6] = 2;
  p[12] = 8;
  uint8_t* ip = p + 14;
  ip[0] = 0x45;
  const auto total = static_cast<uint16_t>(length - 14);
  const uint16_t words[] = {htons(total), htons(number), htons(0x4000)};
  std::memcpy(ip + 2, words, sizeof words);
  ip[8] = 64;
  ip[9] = protocol;
  const uint32_t addresses[] = {htonl(ends.source), htonl(ends.destination)};
  std::memcpy(ip + 12, addresses, sizeof addresses);
  uint32_t sum = 0;
  for (int i = 0; i < 20; i += 2) sum += static_cast<uint32_t>(ip[i] << 8 | ip[i + 1]);
  while (sum >> 16) sum = (sum & 0xffff) + (sum >> 16);
  ip[10] = static_cast<uint8_t>(~sum >> 8);
  ip[11] = static_cast<uint8_t>(~sum);
  const uint16_t ports[] = {htons(ends.source_port), htons(ends.destination_port),
                            htons(static_cast<uint16_t>(total - 20))};
  std::memcpy(ip + 20, ports, sizeof ports);
  for (uint32_t i = 42; i < length; i++) p[i] = static_cast<uint8_t>(number + i);
  return made;
}

constexpr FlowEnds kPlain{0xc6120001, 0xc6120002, 1000, 2000};

// A TCP super-packet with a partial checksum, as a GSO sender makes it.
Made MakeSuper(uint32_t length, uint16_t number) {
  Made made = MakeFrame(length, number, kPlain, 6);
  made.frame.data[14 + 20 + 12] = 5 << 4;
  made.frame.data[14 + 20 + 13] = 0x10;
  made.frame.vnet = VnetHdr{kVnetNeedsCsum, kVnetGsoTcp4, 54, 1400, 34, 16};
  return made;
}

uint16_t NumberOf(const Frame& frame) {
  return static_cast<uint16_t>(frame.data[18] << 8 | frame.data[19]);
}

bool WaitFor(const Port& port) {
  pollfd fd{port.poll_fd(), POLLIN, 0};
  return ::poll(&fd, 1, kPatienceMs) == 1;
}

// Takes bursts of at most `burst` until `count` frames came or nothing comes any more.
std::vector<std::vector<uint8_t>> Take(Port& port, size_t count, uint32_t burst,
                                       std::vector<VnetHdr>* vnets = nullptr) {
  std::vector<std::vector<uint8_t>> frames;
  while (frames.size() < count && WaitFor(port)) {
    Frame out[kBurst];
    const uint32_t got = port.rx_burst(out, burst);
    for (uint32_t i = 0; i < got; i++) {
      frames.emplace_back(out[i].data, out[i].data + out[i].length);
      if (vnets != nullptr) vnets->push_back(out[i].vnet);
    }
    port.release();
  }
  return frames;
}

int64_t NowMs() {
  timespec t{};
  ::clock_gettime(CLOCK_MONOTONIC, &t);
  return int64_t{t.tv_sec} * 1000 + t.tv_nsec / 1000000;
}

// Asks again until the answer is yes: the kernel may deliver frames a little later than it took
// them. False when patience is at an end.
bool Until(const std::function<bool()>& yes) {
  for (const int64_t end = NowMs() + kPatienceMs; NowMs() < end;) {
    if (yes()) return true;
    ::sched_yield();
  }
  return yes();
}

// Takes `count` frames and keeps them.
uint32_t Hold(Port& port, Frame* out, uint32_t count) {
  uint32_t held = 0;
  Until([&] { return (held += port.rx_burst(out + held, count - held)) == count; });
  return held;
}

bool Send(Port& port, const Made& made) {
  int error = 0;
  const bool sent = port.tx_burst(&made.frame, 1, &error) == 1;
  if (!sent) std::printf("  # send: %s\n", std::strerror(error));
  return sent;
}

uint16_t NumberIn(const std::vector<uint8_t>& frame) {
  return static_cast<uint16_t>(frame[18] << 8 | frame[19]);
}

}  // namespace

TEST(ring_shape_is_whole_blocks) {
  CHECK_EQ(ring_shape(1).frames, 32u);
  CHECK_EQ(ring_shape(32).frames, 32u);
  CHECK_EQ(ring_shape(33).frames, 64u);
  CHECK_EQ(ring_shape(4096).frames, 4096u);
  CHECK_EQ(ring_shape(4096).bytes, 4096u * kFrameSlotBytes);
  CHECK_EQ(ring_shape(UINT32_MAX).frames, kRingFramesMax);
}

TEST(errors_name_the_interface_and_what_to_do) {
  NEED_NAMESPACES();
  const Netns ns;
  const Enter here(ns);
  Interface interface;
  IoError error;
  CHECK(!find_interface("nosuch0", &interface, &error));
  CHECK_EQ(error.code, "ENODEV");
  CHECK(error.sentence.find("nosuch0") != std::string::npos);
  CHECK(!find_interface("a-name-that-is-too-long", &interface, &error));
  CHECK_EQ(error.code, "ERR_ARGUMENT");
  CHECK(!find_interface("", &interface, &error));
  REQUIRE(::system("ip tuntap add name layer3 mode tun") == 0);
  CHECK(!find_interface("layer3", &interface, &error));
  CHECK_EQ(error.code, "ERR_LINK");
  uint32_t word = 0;
  CHECK(AfPacketPort::attach(-1, 1, 64, &word, &error) == nullptr);
  CHECK_EQ(error.code, "EBADF");
}

TEST(frames_keep_order_and_bytes_over_many_turns_of_the_ring) {
  NEED_NAMESPACES();
  Pair net;
  REQUIRE(net.good);
  const auto sender = Open(net.left, "left", Ring(64));
  const auto receiver = Open(net.right, "right", Ring(32));
  REQUIRE(sender->port != nullptr && receiver->port != nullptr);
  uint16_t next = 0;
  uint16_t expected = 0;
  for (int turn = 0; turn < 40; turn++) {
    std::vector<Made> made;
    std::vector<Frame> frames;
    for (int i = 0; i < 29; i++) {
      made.push_back(MakeFrame(60 + (next * 37) % 1455, next, kPlain));
      next++;
    }
    for (const Made& m : made) frames.push_back(m.frame);
    int error = 0;
    REQUIRE(sender->port->tx_burst(frames.data(), 29, &error) == 29);
    const auto got = Take(*receiver->port, 29, 1 + static_cast<uint32_t>(turn % 7));
    REQUIRE(got.size() == 29);
    for (size_t i = 0; i < got.size(); i++) {
      CHECK_EQ(NumberIn(got[i]), expected++);
      CHECK_EQ(got[i], std::vector<uint8_t>(frames[i].data, frames[i].data + frames[i].length));
    }
  }
  CHECK_EQ(receiver->rx_index, 40 * 29 % 32);
  CHECK_EQ(receiver->port->rx_dropped(), 0u);
  // What it sends itself does not come back to it.
  Frame out[kBurst];
  CHECK_EQ(sender->port->rx_burst(out, kBurst), 0u);
}

TEST(received_frames_have_headroom_and_an_aligned_ip_header) {
  NEED_NAMESPACES();
  Pair net;
  REQUIRE(net.good);
  const auto sender = Open(net.left, "left", Ring(64));
  const auto receiver = Open(net.right, "right", Ring(64));
  REQUIRE(sender->port != nullptr && receiver->port != nullptr);
  const Made small = MakeFrame(60, 1, kPlain);
  const Made super = MakeSuper(20000, 2);
  REQUIRE(Send(*sender->port, small) && Send(*sender->port, super));
  Frame out[kBurst];
  REQUIRE(Hold(*receiver->port, out, 2) == 2);
  CHECK_GE(out[0].headroom, kHeadroom);
  CHECK_GE(out[1].headroom, kHeadroom);
  CHECK_EQ(reinterpret_cast<uintptr_t>(out[0].data + kEthernetBytes) % 16, 0u);
  // All of the headroom may be written without harm to the ring.
  for (int i = 0; i < 2; i++) std::memset(out[i].data - out[i].headroom, 0xee, out[i].headroom);
  CHECK_EQ(NumberOf(out[0]), 1);
  CHECK_EQ(NumberOf(out[1]), 2);
  receiver->port->release();
  for (int i = 0; i < 64; i++) {
    REQUIRE(Send(*sender->port, MakeFrame(60, static_cast<uint16_t>(10 + i), kPlain)));
  }
  CHECK_EQ(Take(*receiver->port, 64, kBurst).size(), 64u);
}

TEST(super_packets_come_whole_and_in_order_between_small_frames) {
  NEED_NAMESPACES();
  Pair net;
  REQUIRE(net.good);
  const auto sender = Open(net.left, "left", Ring(64));
  const auto receiver = Open(net.right, "right", Ring(64));
  REQUIRE(sender->port != nullptr && receiver->port != nullptr);
  test::Random random(11);
  for (int round = 0; round < 20; round++) {
    std::vector<std::vector<uint8_t>> sent;
    std::vector<bool> is_super;
    for (uint16_t i = 0; i < 24; i++) {
      const bool super = random.Below(2) == 0;
      const auto length = static_cast<uint32_t>(super ? 3000 + random.Below(62000) : 60 + i);
      const Made made = super ? MakeSuper(length, i) : MakeFrame(length, i, kPlain);
      sent.emplace_back(made.frame.data, made.frame.data + length);
      is_super.push_back(super);
      REQUIRE(Send(*sender->port, made));
    }
    std::vector<VnetHdr> vnets;
    const auto got = Take(*receiver->port, sent.size(), 5, &vnets);
    REQUIRE(got.size() == sent.size());
    for (size_t i = 0; i < got.size(); i++) {
      CHECK_EQ(got[i].size(), sent[i].size());
      CHECK(got[i] == sent[i]);
      CHECK_EQ(vnets[i].gso_type, is_super[i] ? kVnetGsoTcp4 : kVnetGsoNone);
      CHECK_EQ(vnets[i].flags, is_super[i] ? kVnetNeedsCsum : 0);
      CHECK_EQ(vnets[i].gso_size, is_super[i] ? 1400 : 0);
    }
  }
  CHECK_EQ(receiver->port->rx_dropped(), 0u);
}

TEST(a_full_ring_drops_and_counts) {
  NEED_NAMESPACES();
  Pair net;
  REQUIRE(net.good);
  const auto sender = Open(net.left, "left", Ring(64));
  const auto receiver = Open(net.right, "right", Ring(32));
  REQUIRE(sender->port != nullptr && receiver->port != nullptr);
  for (uint16_t i = 0; i < 50; i++) REQUIRE(Send(*sender->port, MakeFrame(60, i, kPlain)));
  uint64_t dropped = 0;
  CHECK(Until([&] { return (dropped += receiver->port->rx_dropped()) >= 18; }));
  CHECK_EQ(dropped, 18u);
  CHECK_EQ(Take(*receiver->port, 32, kBurst).size(), 32u);
  CHECK_EQ(receiver->port->rx_dropped(), 0u);
  REQUIRE(Send(*sender->port, MakeFrame(60, 99, kPlain)));
  const auto after = Take(*receiver->port, 1, kBurst);
  REQUIRE(after.size() == 1);
  CHECK_EQ(NumberIn(after[0]), 99);
}

TEST(a_frame_the_kernel_refuses_ends_the_burst_with_its_error) {
  NEED_NAMESPACES();
  Pair net;
  REQUIRE(net.good);
  const auto sender = Open(net.left, "left", Ring(64));
  const auto receiver = Open(net.right, "right", Ring(64));
  REQUIRE(sender->port != nullptr && receiver->port != nullptr);
  const Made first = MakeFrame(60, 1, kPlain);
  Made large = MakeFrame(3000, 2, kPlain);  // more than the MTU and no GSO
  Made broken = MakeSuper(3000, 3);
  broken.frame.vnet.csum_start = 60000;
  const Made last = MakeFrame(60, 4, kPlain);
  const Frame frames[] = {first.frame, large.frame, broken.frame, last.frame};
  int error = 0;
  CHECK_EQ(sender->port->tx_burst(frames, 4, &error), 1u);
  CHECK_EQ(error, EMSGSIZE);
  CHECK_EQ(sender->port->tx_burst(frames + 2, 2, &error), 0u);
  CHECK_EQ(error, EINVAL);
  CHECK_EQ(sender->port->tx_burst(frames + 3, 1, &error), 1u);
  const auto got = Take(*receiver->port, 2, kBurst);
  REQUIRE(got.size() == 2);
  CHECK_EQ(NumberIn(got[1]), 4);
}

TEST(a_second_worker_goes_on_where_the_first_one_was) {
  NEED_NAMESPACES();
  Pair net;
  REQUIRE(net.good);
  const auto sender = Open(net.left, "left", Ring(64));
  const auto receiver = Open(net.right, "right", Ring(32));
  REQUIRE(sender->port != nullptr && receiver->port != nullptr);
  uint16_t next = 0;
  uint16_t expected = 0;
  for (int worker = 0; worker < 10; worker++) {
    for (int i = 0; i < 20; i++) {
      const bool super = i % 3 == 0;
      const Made made = super ? MakeSuper(9000, next) : MakeFrame(80, next, kPlain);
      REQUIRE(Send(*sender->port, made));
      next++;
    }
    // Some are taken, some are lent when the worker goes, some wait for its replacement.
    const auto first = Take(*receiver->port, 7, 7);
    Frame lent[kBurst];
    const uint32_t held = Hold(*receiver->port, lent, 4);
    REQUIRE(held == 4);
    for (uint32_t i = 0; i < held; i++) CHECK_EQ(NumberOf(lent[i]), expected + first.size() + i);
    receiver->port.reset();
    const Enter here(net.right);
    REQUIRE(receiver->Attach(32));
    const auto rest = Take(*receiver->port, 20 - first.size() - held, kBurst);
    CHECK_EQ(first.size() + held + rest.size(), 20u);
    for (const auto& frame : first) CHECK_EQ(NumberIn(frame), expected++);
    expected = static_cast<uint16_t>(expected + held);
    for (const auto& frame : rest) CHECK_EQ(NumberIn(frame), expected++);
  }
  CHECK_EQ(receiver->port->rx_dropped(), 0u);
}

TEST(a_worker_that_vanished_with_frames_leaves_queue_and_ring_in_step) {
  NEED_NAMESPACES();
  Pair net;
  REQUIRE(net.good);
  const auto sender = Open(net.left, "left", Ring(64));
  const auto receiver = Open(net.right, "right", Ring(64));
  REQUIRE(sender->port != nullptr && receiver->port != nullptr);
  for (uint16_t i = 0; i < 6; i++) {
    REQUIRE(Send(*sender->port, i % 2 == 0 ? MakeSuper(9000, i) : MakeFrame(80, i, kPlain)));
  }
  Frame lent[kBurst];
  REQUIRE(Hold(*receiver->port, lent, 3) == 3);
  // Another port on the same ring while the first still holds frames: as after a crash, when
  // nothing was given back. Super-packets that had been fetched are lost and counted; the ones
  // behind them still belong to their slots.
  uint32_t word = receiver->rx_index;
  auto second =
      AfPacketPort::attach(receiver->fd.get(), receiver->ifindex, 64, &word, &receiver->error);
  REQUIRE(second != nullptr);
  const auto got = Take(*second, 4, kBurst);
  REQUIRE(got.size() == 4);
  CHECK_EQ(NumberIn(got[0]), 1);
  CHECK_EQ(NumberIn(got[1]), 3);
  CHECK_EQ(NumberIn(got[2]), 4);
  CHECK_EQ(got[2].size(), 9000u);
  CHECK_EQ(NumberIn(got[3]), 5);
  CHECK_EQ(second->rx_dropped(), 2u);
}

TEST(an_interface_that_was_down_works_again_and_does_not_keep_poll_awake) {
  NEED_NAMESPACES();
  Pair net;
  REQUIRE(net.good);
  const auto sender = Open(net.left, "left", Ring(64));
  const auto receiver = Open(net.right, "right", Ring(64));
  REQUIRE(sender->port != nullptr && receiver->port != nullptr);
  REQUIRE(Run(net.right, "ip link set right down && ip link set right up"));
  Frame out[kBurst];
  pollfd fd{receiver->port->poll_fd(), POLLIN, 0};
  for (int i = 0; i < 300; i++) CHECK_EQ(receiver->port->rx_burst(out, kBurst), 0u);
  CHECK_EQ(::poll(&fd, 1, 0), 0);
  REQUIRE(Send(*sender->port, MakeFrame(60, 5, kPlain)));
  CHECK_EQ(Take(*receiver->port, 1, kBurst).size(), 1u);
}

TEST(the_filter_leaves_other_traffic_uncopied) {
  NEED_NAMESPACES();
  Pair net;
  REQUIRE(net.good);
  IoError error;
  const auto classifier = Classifier::open(1, &error);
  REQUIRE(classifier != nullptr);
  const ClassifierEntry service{
      {Addr::v4(Be32::of(0xc6120002)), Be16::of(80), 17, EntryKind::kService, 0}, 0};
  REQUIRE(classifier->set_entries({&service, 1}, &error));
  REQUIRE(Run(net.right, "ip link set right address 02:00:00:00:00:99"));
  const uint8_t mac[6] = {2, 0, 0, 0, 0, 0x99};
  const auto sender = Open(net.left, "left", Ring(64));
  PacketSocketOptions options = Ring(64);
  options.filter_program = classifier->filter_program();
  const auto receiver = Open(net.right, "right", options);
  REQUIRE(sender->port != nullptr && receiver->port != nullptr);
  for (uint16_t i = 0; i < 20; i++) {
    // Every second frame is for ssh on the same address.
    const FlowEnds ends{0xc6120001, 0xc6120002, 4000, static_cast<uint16_t>(i % 2 ? 22 : 80)};
    REQUIRE(Send(*sender->port, MakeFrame(60, i, ends, 17, mac)));
  }
  const auto got = Take(*receiver->port, 10, kBurst);
  REQUIRE(got.size() == 10);
  for (size_t i = 0; i < got.size(); i++) CHECK_EQ(NumberIn(got[i]), 2 * i);
  // The kernel's own count of frames that passed the filter.
  tpacket_stats stats{};
  socklen_t bytes = sizeof stats;
  REQUIRE(::getsockopt(receiver->fd.get(), SOL_PACKET, PACKET_STATISTICS, &stats, &bytes) == 0);
  CHECK_EQ(stats.tp_packets, 10u);
}

TEST(both_directions_of_a_flow_reach_one_worker) {
  NEED_NAMESPACES();
  constexpr uint32_t kWorkers = 3;
  constexpr uint32_t kFlows = 60;
  Pair net;
  REQUIRE(net.good);
  IoError error;
  const auto classifier = Classifier::open(kWorkers, &error);
  REQUIRE(classifier != nullptr);
  const Addr service = Addr::v4(Be32::of(0xc6120a01));
  const Addr destination = Addr::v4(Be32::of(0xc6120b01));
  const Addr local = Addr::v4(Be32::of(0xc6120c01));
  const ClassifierEntry entries[] = {
      {{service, Be16::of(80), 17, EntryKind::kService, 0}, 0},
      {{destination, Be16::of(8080), 17, EntryKind::kSource, 0}, kEntryMasquerade | kEntryFullnat},
      {{local, Be16{}, 0, EntryKind::kLocalAddress, 0}, 0},
  };
  REQUIRE(classifier->set_entries(entries, &error));
  REQUIRE(classifier->set_local_ports(5000, 5999, &error));
  REQUIRE(Run(net.right, "ip link set right address 02:00:00:00:00:99"));
  const uint8_t mac[6] = {2, 0, 0, 0, 0, 0x99};
  const auto sender = Open(net.left, "left", Ring(64));
  std::vector<std::unique_ptr<Opened>> workers;
  for (uint32_t i = 0; i < kWorkers; i++) {
    PacketSocketOptions options = Ring(256);
    options.filter_program = classifier->filter_program();
    options.steering_program = classifier->steering_program();
    options.workers = kWorkers;
    options.worker = i;
    options.first_socket = i == 0 ? -1 : workers[0]->fd.get();
    workers.push_back(Open(net.right, "right", options));
    REQUIRE(workers.back()->port != nullptr);
  }
  std::vector<uint32_t> expected;
  for (uint16_t i = 0; i < kFlows; i++) {
    const FlowEnds client{0xc6120100u + i % 7, 0xc6120a01, static_cast<uint16_t>(30000 + i), 80};
    const FlowEnds reply{0xc6120b01, client.source, 8080, client.source_port};
    const FlowEnds fullnat{0xc6120b01, 0xc6120c01, 8080, static_cast<uint16_t>(5000 + i)};
    for (const FlowEnds& ends : {client, reply, fullnat}) {
      REQUIRE(Send(*sender->port,
                   MakeFrame(60, static_cast<uint16_t>(expected.size()), ends, 17, mac)));
      const Be16 port = Be16::of(ends.destination_port);
      expected.push_back(ends.destination == fullnat.destination
                             ? worker_of_local_port(port, kWorkers)
                             : worker_of_client(Addr::v4(Be32::of(client.source)),
                                                Be16::of(client.source_port), kWorkers));
    }
  }
  size_t all = 0;
  std::vector<size_t> by_worker(kWorkers);
  Until([&] {
    for (uint32_t worker = 0; worker < kWorkers; worker++) {
      Frame out[kBurst];
      const uint32_t got = workers[worker]->port->rx_burst(out, kBurst);
      for (uint32_t i = 0; i < got; i++) CHECK_EQ(expected[NumberOf(out[i])], worker);
      by_worker[worker] += got;
      all += got;
      workers[worker]->port->release();
    }
    return all == expected.size();
  });
  for (const size_t count : by_worker) CHECK_GT(count, 0u);
  CHECK_EQ(all, expected.size());
}

}  // namespace uvs
