// In: frames of two packet rings. Does: writes other link addresses into them, nothing else.
// Next: the other port. What the product's own ports cost without any of its logic: the same rings,
// the same bursts, the same way to wait.
#include <poll.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>

#include "io/af_packet.h"
#include "io/packet_socket.h"
#include "limits.h"
#include "parse/ether.h"
#include "quiet.h"
#include "tool.h"

namespace uvs::bench {
namespace {

// As the core waits (core.h): look again for a moment after traffic, then sleep.
constexpr uint64_t kSpinNs = 40'000;
constexpr uint64_t kWaitNs = 10'000'000;

struct Side {
  Mac own;   // of this port: what frames to be forwarded are addressed to
  Mac next;  // where frames that leave here go
  UniqueFd fd;
  std::unique_ptr<AfPacketPort> port;
  uint32_t rx_index = 0;
  uint64_t frames = 0;  // received and forwarded
  uint64_t lost = 0;    // not taken by the other port
};

void open_side(Side& side, const std::string& device, const std::string& next) {
  own_mac(device, side.own);
  parse_mac(next, side.next);
  IoError error;
  Interface interface;
  if (!find_interface(device, &interface, &error)) fail(error.sentence);
  side.fd = open_packet_socket(interface, PacketSocketOptions{}, &error);
  if (!side.fd.open()) fail(error.sentence);
  side.port = AfPacketPort::attach(side.fd.get(), interface.index, kRingFramesDefault,
                                   &side.rx_index, &error);
  if (side.port == nullptr) fail(error.sentence);
}

// One burst from one side to the other; returns how many frames were there.
uint32_t forward(Side& from, Side& to) {
  Frame frames[kBurst];
  const uint32_t got = from.port->rx_burst(frames, kBurst);
  uint32_t kept = 0;
  for (uint32_t i = 0; i < got; i++) {
    Ether<uint8_t> ether(frames[i].data);
    if (ether.type() != kEtherIp4 || std::memcmp(ether.destination(), from.own, 6) != 0) continue;
    std::memcpy(ether.destination(), to.next, 6);
    std::memcpy(ether.source(), to.own, 6);
    frames[kept++] = frames[i];
  }
  int error = 0;
  const uint32_t sent = kept == 0 ? 0 : to.port->tx_burst(frames, kept, &error);
  from.port->release();
  from.frames += sent;
  from.lost += kept - sent;
  return got;
}

void wait(Side& a, Side& b, uint64_t idle_since_ns) {
  pollfd fds[2] = {{a.port->poll_fd(), POLLIN, 0}, {b.port->poll_fd(), POLLIN, 0}};
  const timespec none{};
  while (now_ns() - idle_since_ns < kSpinNs) {
    if (::ppoll(fds, 2, &none, nullptr) > 0) return;
  }
  const timespec limit{0, static_cast<long>(kWaitNs)};
  ::ppoll(fds, 2, &limit, nullptr);
}

}  // namespace

int plain(const Arguments& arguments) {
  watch_signals();
  const std::string near = arguments.text("from");
  const std::string far = arguments.text("to");
  Side a;
  Side b;
  open_side(a, near, arguments.text("from-mac"));
  open_side(b, far, arguments.text("to-mac"));
  const Quiet quiet_a(near);
  const Quiet quiet_b(far);
  std::printf("ready\n");
  std::fflush(stdout);
  uint64_t busy_ns = now_ns();
  while (!stopped()) {
    if (forward(a, b) + forward(b, a) == 0)
      wait(a, b, busy_ns);
    else
      busy_ns = now_ns();
  }
  std::printf("{\"forwarded\":%llu,\"lost\":%llu}\n",
              static_cast<unsigned long long>(a.frames + b.frames),
              static_cast<unsigned long long>(a.lost + b.lost));
  return 0;
}

int swallow(const Arguments& arguments) {
  watch_signals();
  const sigset_t while_waiting = hold_back_signals();
  const Quiet quiet(arguments.text("device"));
  std::printf("ready\n");
  std::fflush(stdout);
  while (!stopped()) ::ppoll(nullptr, 0, nullptr, &while_waiting);
  return 0;
}

}  // namespace uvs::bench
