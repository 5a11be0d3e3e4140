// The quiet filter and PortSet on a real host stack in a namespace of this test's own:
//
//   peer 198.18.0.1 [left]---[right] 198.18.0.2 host; the service is 198.18.0.2:8080
//
// The kernel must neither refuse nor take what uvs serves, and must go on serving all else.
#include <arpa/inet.h>
#include <poll.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>
#include <ctime>
#include <memory>
#include <string>
#include <vector>

#include "check.h"
#include "io/af_packet.h"
#include "io/port_set.h"
#include "netns.h"

namespace uvs {
namespace {

using test::Enter;
using test::Netns;
using test::Output;
using test::Pair;
using test::Run;

constexpr uint16_t kService = 8080;
constexpr uint16_t kOpen = 9090;  // a listening socket of the host beside the service

// How long silence must last to count as silence; a refusal takes microseconds.
constexpr int kSilenceMs = 300;

sockaddr_in HostAddress(uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  ::inet_pton(AF_INET, "198.18.0.2", &address.sin_addr);
  return address;
}

// What a connection attempt of the peer meets: 0 accepted, ECONNREFUSED, or ETIMEDOUT (silence).
int Connect(const Netns& peer, uint16_t port) {
  const Enter here(peer);
  const UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  const sockaddr_in address = HostAddress(port);
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0) {
    return 0;
  }
  if (errno != EINPROGRESS) return errno;
  pollfd wait{fd.get(), POLLOUT, 0};
  if (::poll(&wait, 1, kSilenceMs) == 0) return ETIMEDOUT;
  int error = 0;
  socklen_t bytes = sizeof error;
  ::getsockopt(fd.get(), SOL_SOCKET, SO_ERROR, &error, &bytes);
  return error;
}

struct Host {
  Pair net;
  UniqueFd listener;
  bool good = false;
  Host() {
    good = net.good && Run(net.left, "ip addr add 198.18.0.1/24 dev left") &&
           Run(net.right, "ip addr add 198.18.0.2/24 dev right");
    if (!good) return;
    const Enter here(net.right);
    listener.reset(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const sockaddr_in address = HostAddress(kOpen);
    good =
        ::bind(listener.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0 &&
        ::listen(listener.get(), 16) == 0;
  }
};

PortSetOptions Options(uint32_t workers = 1) {
  PortSetOptions options;
  options.interfaces = {"right"};
  options.workers = workers;
  options.ring_frames = 64;
  options.tun_name = "uvstest0";
  return options;
}

ClassifierEntry ServiceEntry(uint16_t port) {
  in_addr address;
  ::inet_pton(AF_INET, "198.18.0.2", &address);
  return {{Addr::v4(Be32{address.s_addr}), Be16::of(port), 6, EntryKind::kService, 0}, 0};
}

std::unique_ptr<PortSet> OpenQuiet(const PortSetOptions& options) {
  IoError error;
  auto ports = PortSet::open(options, &error);
  const ClassifierEntry entry = ServiceEntry(kService);
  if (ports == nullptr || !ports->classifier().set_entries({&entry, 1}, &error) ||
      !ports->attach_quiet(&error)) {
    std::printf("  # %s\n", error.sentence.c_str());
    return nullptr;
  }
  return ports;
}

std::string Filters(const Netns& ns) {
  return Output(ns,
                "tc filter show dev right ingress; tc filter show dev right egress; "
                "tc qdisc show dev right | grep clsact");
}

size_t Descriptors() {
  size_t count = 0;
  for (int fd = 0; fd < 1024; fd++) count += ::fcntl(fd, F_GETFD) >= 0;
  return count;
}

// Lets a director quiet the host and die without a chance to tidy up.
void KillDirector(const Host& host) {
  int ready[2];
  CHECK_EQ(::pipe2(ready, O_CLOEXEC), 0);
  const pid_t director = test::Spawn(host.net.right, [&] {
    const auto ports = OpenQuiet(Options());
    if (ports == nullptr || ::write(ready[1], "r", 1) != 1) return 1;
    for (;;) ::pause();
  });
  ::close(ready[1]);
  char byte = 0;
  CHECK_EQ(::read(ready[0], &byte, 1), 1);
  ::close(ready[0]);
  ::kill(director, SIGKILL);
  CHECK_EQ(test::Wait(director), -1);
}

}  // namespace

TEST(the_host_keeps_quiet_about_the_service_and_serves_all_else) {
  NEED_NAMESPACES();
  const Host host;
  REQUIRE(host.good);
  CHECK_EQ(Connect(host.net.left, kService), ECONNREFUSED);
  {
    const Enter here(host.net.right);
    const auto ports = OpenQuiet(Options());
    REQUIRE(ports != nullptr);
    CHECK_EQ(Connect(host.net.left, kService), ETIMEDOUT);
    CHECK_EQ(Connect(host.net.left, kOpen), 0);
    CHECK_EQ(Connect(host.net.left, kService + 1), ECONNREFUSED);
    // uvs has seen the SYN that the host did not, and nothing of the other connections.
    uint32_t word = 0;
    IoError error;
    const auto port =
        AfPacketPort::attach(ports->descriptor(0, 0), ports->ifindexes()[0], 64, &word, &error);
    REQUIRE(port != nullptr);
    Frame frames[kBurst];
    REQUIRE(port->rx_burst(frames, kBurst) == 1);
    CHECK_EQ(frames[0].data[36] << 8 | frames[0].data[37], kService);
    port->release();
    // The entry goes, the program stays: the host answers again.
    REQUIRE(ports->classifier().set_entries({}, &error));
    CHECK_EQ(Connect(host.net.left, kService), ECONNREFUSED);
  }
  CHECK_EQ(Connect(host.net.left, kService), ECONNREFUSED);
  CHECK_EQ(Filters(host.net.right), "");
}

TEST(quiet_comes_and_goes_and_leaves_filters_of_others_alone) {
  NEED_NAMESPACES();
  const Host host;
  REQUIRE(host.good);
  const Enter here(host.net.right);
  IoError error;
  const auto ports = OpenQuiet(Options());
  REQUIRE(ports != nullptr);
  CHECK(ports->attach_quiet(&error));  // again: no second filter
  const std::string filters = Filters(host.net.right);
  CHECK(filters.find(" uvs ") != std::string::npos);
  CHECK(ports->detach_quiet(&error));
  CHECK(ports->detach_quiet(&error));
  CHECK_EQ(Filters(host.net.right), "");
  CHECK_EQ(Connect(host.net.left, kService), ECONNREFUSED);
  // A filter of somebody else, behind ours, still gets its turn for what we leave alone: classic
  // BPF that drops what goes to port 9090 (ldh [36]; jeq 9090; ret 2; ret -1).
  REQUIRE(::system("tc qdisc add dev right clsact && tc filter add dev right ingress prio 9 bpf da "
                   "bytecode '4,40 0 0 36,21 0 1 9090,6 0 0 2,6 0 0 4294967295'") == 0);
  REQUIRE(ports->attach_quiet(&error));
  CHECK_EQ(Connect(host.net.left, kService), ETIMEDOUT);
  CHECK_EQ(Connect(host.net.left, kOpen), ETIMEDOUT);
  CHECK_EQ(Connect(host.net.left, kOpen + 1), ECONNREFUSED);
  ports->close();
  const std::string left = Filters(host.net.right);
  CHECK(left.find("bytecode") != std::string::npos);
  CHECK(left.find("clsact") != std::string::npos);
  CHECK(left.find(" uvs ") == std::string::npos);
  CHECK_EQ(Connect(host.net.left, kService), ECONNREFUSED);
}

TEST(what_a_killed_director_left_is_found_and_removed) {
  NEED_NAMESPACES();
  const Host host;
  REQUIRE(host.good);
  KillDirector(host);
  // The filter outlives it and silences the service.
  CHECK_EQ(Connect(host.net.left, kService), ETIMEDOUT);
  IoError error;
  const Enter here(host.net.right);
  CHECK(Filters(host.net.right).find(" uvs ") != std::string::npos);
  CHECK(PortSet::clean_leftovers({"right", "nosuch0", "lo"}, &error));
  CHECK_EQ(Filters(host.net.right), "");
  CHECK_EQ(Connect(host.net.left, kService), ECONNREFUSED);
  CHECK(PortSet::clean_leftovers({"right"}, &error));
}

TEST(opening_removes_the_filter_of_a_killed_director) {
  NEED_NAMESPACES();
  const Host host;
  REQUIRE(host.good);
  KillDirector(host);
  CHECK_EQ(Connect(host.net.left, kService), ETIMEDOUT);
  const Enter here(host.net.right);
  IoError error;
  const auto ports = PortSet::open(Options(), &error);
  REQUIRE(ports != nullptr);
  CHECK_EQ(Filters(host.net.right), "");
  CHECK_EQ(Connect(host.net.left, kService), ECONNREFUSED);
}

TEST(opening_for_tun_alone_removes_it_too) {
  NEED_NAMESPACES();
  const Host host;
  REQUIRE(host.good);
  KillDirector(host);
  const Enter here(host.net.right);
  IoError error;
  PortSetOptions options = Options();
  options.kind = PortKind::kTun;
  REQUIRE(PortSet::open(options, &error) != nullptr);
  CHECK_EQ(Filters(host.net.right), "");
}

TEST(an_interface_belongs_to_one_director_whose_filter_nobody_touches) {
  NEED_NAMESPACES();
  const Host host;
  REQUIRE(host.good);
  const Enter here(host.net.right);
  auto first = OpenQuiet(Options());
  REQUIRE(first != nullptr);
  const std::string filters = Filters(host.net.right);
  CHECK(filters.find(" uvs ") != std::string::npos);
  IoError error;
  PortSetOptions options = Options();
  options.tun_name = "uvstest1";
  CHECK(PortSet::open(options, &error) == nullptr);
  CHECK_EQ(error.code, "EADDRINUSE");
  CHECK(error.sentence.find("another director") != std::string::npos);
  // Without packet sockets of its own it may run beside the first.
  options.kind = PortKind::kTun;
  CHECK(PortSet::open(options, &error) != nullptr);
  CHECK(PortSet::clean_leftovers({"right"}, &error));
  CHECK_EQ(Filters(host.net.right), filters);
  CHECK_EQ(Connect(host.net.left, kService), ETIMEDOUT);
  first.reset();
  CHECK(OpenQuiet(Options()) != nullptr);
}

TEST(what_others_removed_is_removed) {
  NEED_NAMESPACES();
  for (const char* removal : {
           "tc filter del dev right ingress",
           "tc qdisc del dev right clsact",
           "ip link del right",
           "ip link set right down && ip link set right name rightest",
       }) {
    const Host host;
    REQUIRE(host.good);
    const Enter here(host.net.right);
    const auto ports = OpenQuiet(Options());
    REQUIRE(ports != nullptr);
    CHECK(!ports->lost(0) && !ports->lost(1));
    REQUIRE(Run(host.net.right, removal));
    CHECK_EQ(ports->lost(0), std::string(removal).find("ip link") == 0);
    CHECK(!ports->lost(1));
    IoError error;
    CHECK(ports->detach_quiet(&error));
    CHECK_EQ(error.sentence, "");
    CHECK_EQ(Filters(host.net.right).find(" uvs "), std::string::npos);
  }
}

TEST(a_port_is_lost_also_when_another_device_has_its_name) {
  NEED_NAMESPACES();
  const Host host;
  REQUIRE(host.good);
  const Enter here(host.net.right);
  const auto ports = OpenQuiet(Options());
  REQUIRE(ports != nullptr);
  REQUIRE(Run(host.net.right, "ip link del right") &&
          Run(host.net.right, "ip link add right type veth peer name left2") &&
          Run(host.net.right, "ip link del uvstest0"));
  CHECK(ports->lost(0));
  CHECK(ports->lost(1));
}

TEST(a_port_set_opens_everything_and_gives_everything_back) {
  NEED_NAMESPACES();
  const Host host;
  REQUIRE(host.good);
  const Enter here(host.net.right);
  const size_t before = Descriptors();
  for (int round = 0; round < 5; round++) {
    IoError error;
    const auto ports = PortSet::open(Options(3), &error);
    REQUIRE(ports != nullptr);
    CHECK_EQ(ports->ports(), 2u);
    CHECK_EQ(ports->workers(), 3u);
    CHECK_EQ(ports->ifindexes().size(), 2u);
    CHECK(Output(host.net.right, "ip link show uvstest0").find("UP") != std::string::npos);
    REQUIRE(ports->attach_quiet(&error));
    if (round % 2 == 0) ports->close();
    ports->close();
  }
  CHECK_EQ(Descriptors(), before);
  CHECK_EQ(Filters(host.net.right), "");
  CHECK_EQ(Output(host.net.right, "ip -o link show | grep uvstest"), "");
}

TEST(a_port_set_that_cannot_open_says_why_and_leaves_nothing) {
  NEED_NAMESPACES();
  const Host host;
  REQUIRE(host.good);
  const Enter here(host.net.right);
  const size_t before = Descriptors();
  IoError error;
  PortSetOptions options = Options(2);
  options.interfaces = {"right", "nosuch0"};
  CHECK(PortSet::open(options, &error) == nullptr);
  CHECK_EQ(error.code, "ENODEV");
  options.interfaces = {"right", "right"};
  CHECK(PortSet::open(options, &error) == nullptr);
  CHECK_EQ(error.code, "ERR_ARGUMENT");
  options.interfaces = {};
  CHECK(PortSet::open(options, &error) == nullptr);
  CHECK_EQ(error.code, "ERR_ARGUMENT");
  options = Options(2);
  options.tun_name = "right";
  CHECK(PortSet::open(options, &error) == nullptr);
  CHECK_EQ(error.code, "EEXIST");
  CHECK_EQ(Descriptors(), before);
  // Without rights: in a process of its own, because they do not come back.
  const pid_t poor = test::Spawn(host.net.right, [&] {
    if (::setuid(65534) != 0) return 1;
    if (PortSet::open(Options(), &error) != nullptr) return 2;
    return error.code == "EPERM" && error.sentence.find("CAP_") != std::string::npos ? 0 : 3;
  });
  CHECK_EQ(test::Wait(poor), 0);
}

}  // namespace uvs
