// The tun port with the kernel's own stack on the other side, in a namespace of this test's own:
// the host 198.18.5.1 has a route for 198.18.5.0/24 into the device; the test answers for the rest.
#include "io/tun.h"

#include <arpa/inet.h>
#include <poll.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>
#include <ctime>
#include <vector>

#include "check.h"
#include "io/classifier.h"
#include "io/steering.h"
#include "netns.h"

namespace uvs {
namespace {

using test::Enter;
using test::Netns;

constexpr int kPatienceMs = 2000;
constexpr int kUdpSegment = 103;  // UDP_SEGMENT of linux/udp.h

sockaddr_in Address(const char* text, uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  ::inet_pton(AF_INET, text, &address.sin_addr);
  return address;
}

UniqueFd UdpSocket(uint16_t port) {
  UniqueFd fd(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  const sockaddr_in address = Address("198.18.5.1", port);
  const timeval patience{kPatienceMs / 1000, 0};
  ::setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    fd.reset();
  }
  return fd;
}

bool SendTo(int fd, const char* text, uint16_t port, const std::vector<uint8_t>& data) {
  const sockaddr_in to = Address(text, port);
  return ::sendto(fd, data.data(), data.size(), 0, reinterpret_cast<const sockaddr*>(&to),
                  sizeof to) == static_cast<ssize_t>(data.size());
}

// IPv6 is off before the device comes up: its own solicitations would mix with the test's packets.
bool Open(TunDevice* device, const TunOptions& options) {
  IoError error;
  if (::system("sysctl -qw net.ipv6.conf.default.disable_ipv6=1") != 0) return false;
  const bool good = open_tun(options, device, &error);
  if (!good) std::printf("  # %s\n", error.sentence.c_str());
  return good && ::system(("ip addr add 198.18.5.1/24 dev " + options.name).c_str()) == 0;
}

bool WaitFor(const Port& port) {
  pollfd fd{port.poll_fd(), POLLIN, 0};
  return ::poll(&fd, 1, kPatienceMs) == 1;
}

bool IsUdpTo(const Frame& frame, uint16_t port) {
  const uint8_t* ip = frame.data;
  return frame.length >= 28 && ip[0] == 0x45 && ip[9] == 17 && (ip[22] << 8 | ip[23]) == port;
}

// Turns a packet into its answer: addresses and ports swapped. Neither sum changes by that.
void Answer(const Frame& frame) {
  uint8_t* ip = frame.data;
  for (int i = 0; i < 4; i++) std::swap(ip[12 + i], ip[16 + i]);
  for (int i = 0; i < 2; i++) std::swap(ip[20 + i], ip[22 + i]);
}

}  // namespace

TEST(packets_of_the_host_come_in_and_answers_reach_it) {
  NEED_NAMESPACES();
  const Netns ns;
  const Enter here(ns);
  TunDevice device;
  TunOptions options;
  options.name = "uvstest0";
  REQUIRE(Open(&device, options));
  TunPort port(device.queues[0].get(), device.ifindex);
  CHECK(port.link() == Link::kIp);
  CHECK_NE(port.ifindex(), 0u);
  const UniqueFd socket = UdpSocket(7000);
  REQUIRE(socket.open());
  for (uint8_t round = 0; round < 100; round++) {
    const std::vector<uint8_t> data(size_t{10} + round, round);
    REQUIRE(SendTo(socket.get(), "198.18.5.77", 53, data));
    REQUIRE(WaitFor(port));
    Frame frames[kBurst];
    REQUIRE(port.rx_burst(frames, kBurst) == 1);
    REQUIRE(IsUdpTo(frames[0], 53));
    CHECK_EQ(frames[0].length, 28 + data.size());
    CHECK_GE(frames[0].headroom, kHeadroom);
    // The host leaves its checksum to us, and we leave it to the host in turn.
    CHECK_EQ(frames[0].vnet.flags, kVnetNeedsCsum);
    std::memset(frames[0].data - frames[0].headroom, 0xee, frames[0].headroom);
    Answer(frames[0]);
    int error = 0;
    CHECK_EQ(port.tx_burst(frames, 1, &error), 1u);
    port.release();
    uint8_t got[256];
    const ssize_t bytes = ::recv(socket.get(), got, sizeof got, 0);
    REQUIRE(bytes == static_cast<ssize_t>(data.size()));
    CHECK(std::memcmp(got, data.data(), data.size()) == 0);
  }
  Frame none[kBurst];
  CHECK_EQ(port.rx_burst(none, kBurst), 0u);
}

TEST(a_burst_never_lends_more_than_its_buffers) {
  NEED_NAMESPACES();
  const Netns ns;
  const Enter here(ns);
  TunDevice device;
  TunOptions options;
  options.name = "uvstest0";
  REQUIRE(Open(&device, options));
  TunPort port(device.queues[0].get(), device.ifindex);
  const UniqueFd socket = UdpSocket(7000);
  for (uint8_t i = 0; i < 100; i++) REQUIRE(SendTo(socket.get(), "198.18.5.77", 53, {i}));
  Frame frames[2 * kBurst];
  uint32_t next = 0;
  while (next < 100) {
    const uint32_t got = port.rx_burst(frames, 2 * kBurst);
    CHECK_EQ(got, next == 0 ? kBurst : 100 - kBurst);
    CHECK_EQ(got == kBurst ? port.rx_burst(frames + got, kBurst) : 0, 0u);
    for (uint32_t i = 0; i < got; i++) CHECK_EQ(frames[i].data[28], next++);
    REQUIRE(got > 0);
    port.release();
  }
}

TEST(a_packet_the_host_refuses_ends_the_burst_with_its_error) {
  NEED_NAMESPACES();
  const Netns ns;
  const Enter here(ns);
  TunDevice device;
  TunOptions options;
  options.name = "uvstest0";
  REQUIRE(Open(&device, options));
  TunPort port(device.queues[0].get(), device.ifindex);
  uint8_t good[kHeadroom + 28] = {};
  uint8_t bad[kHeadroom + 28] = {};
  good[kHeadroom] = 0x45;
  bad[kHeadroom] = 0x10;  // no version of IP that a TUN device takes
  Frame frames[2];
  frames[0].data = good + kHeadroom;
  frames[1].data = bad + kHeadroom;
  for (Frame& frame : frames) frame.length = 28;
  int error = 0;
  CHECK_EQ(port.tx_burst(frames, 2, &error), 1u);
  CHECK_EQ(error, EINVAL);
}

TEST(super_packets_of_the_host_come_whole) {
  NEED_NAMESPACES();
  const Netns ns;
  const Enter here(ns);
  TunDevice device;
  TunOptions options;
  options.name = "uvstest0";
  REQUIRE(Open(&device, options));
  TunPort port(device.queues[0].get(), device.ifindex);
  // UDP segmentation by the socket: one write, one super-packet, where the kernel
  // has it for TUN (Linux 6.2); else its ten segments.
  const UniqueFd socket = UdpSocket(7000);
  const int segment = 1000;
  REQUIRE(::setsockopt(socket.get(), IPPROTO_UDP, kUdpSegment, &segment, sizeof segment) == 0);
  REQUIRE(SendTo(socket.get(), "198.18.5.77", 53, std::vector<uint8_t>(10000, 7)));
  Frame frames[kBurst];
  REQUIRE(WaitFor(port));
  const uint32_t got = port.rx_burst(frames, kBurst);
  if (got == 1) {
    CHECK_EQ(frames[0].length, 10028u);
    CHECK_EQ(frames[0].vnet.gso_type, kVnetGsoUdpL4);
    CHECK_EQ(frames[0].vnet.gso_size, 1000);
    CHECK_EQ(frames[0].vnet.flags, kVnetNeedsCsum);
  } else {
    CHECK_EQ(got, 10u);
    CHECK_EQ(frames[0].length, 1028u);
  }
}

TEST(queues_are_chosen_by_the_steering_program) {
  NEED_NAMESPACES();
  constexpr uint32_t kWorkers = 2;
  const Netns ns;
  const Enter here(ns);
  IoError error;
  const auto classifier = Classifier::open(kWorkers, &error);
  REQUIRE(classifier != nullptr);
  const Addr service = Addr::v4(Be32{Address("198.18.5.77", 0).sin_addr.s_addr});
  const Addr client = Addr::v4(Be32{Address("198.18.5.1", 0).sin_addr.s_addr});
  const ClassifierEntry entry{{service, Be16::of(53), 17, EntryKind::kService, 0}, 0};
  REQUIRE(classifier->set_entries({&entry, 1}, &error));
  TunDevice device;
  TunOptions options;
  options.name = "uvstest0";
  options.queues = kWorkers;
  options.steering_program = classifier->steering_program();
  REQUIRE(Open(&device, options));
  std::vector<uint16_t> ports;
  for (uint16_t source = 7000; source < 7040; source++) {
    const UniqueFd socket = UdpSocket(source);
    REQUIRE(SendTo(socket.get(), "198.18.5.77", 53, {1}));
    ports.push_back(source);
  }
  size_t all = 0;
  for (uint32_t worker = 0; worker < kWorkers; worker++) {
    TunPort port(device.queues[worker].get(), device.ifindex);
    Frame frames[kBurst];
    const uint32_t got = port.rx_burst(frames, kBurst);
    CHECK_GT(got, 0u);
    for (uint32_t i = 0; i < got; i++) {
      Be16 source;
      std::memcpy(&source.raw, frames[i].data + 20, 2);
      CHECK_EQ(worker_of_client(client, source, kWorkers), worker);
    }
    all += got;
  }
  CHECK_EQ(all, ports.size());
}

TEST(a_device_of_that_name_is_not_joined_and_a_bad_name_is_refused) {
  NEED_NAMESPACES();
  const Netns ns;
  const Enter here(ns);
  REQUIRE(::system("ip tuntap add name taken0 mode tun multi_queue") == 0);
  TunDevice device;
  TunOptions options;
  IoError error;
  options.name = "taken0";
  CHECK(!open_tun(options, &device, &error));
  CHECK_EQ(error.code, "EEXIST");
  options.name = "";
  CHECK(!open_tun(options, &device, &error));
  CHECK_EQ(error.code, "ERR_ARGUMENT");
  options.name = "much-too-long-for-a-device";
  CHECK(!open_tun(options, &device, &error));
  CHECK_EQ(error.code, "ERR_ARGUMENT");
  CHECK(device.queues.empty());
}

}  // namespace uvs
