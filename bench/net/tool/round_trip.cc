// In: an echo's address. Does: small UDP requests, one at a time, and their answers; measures the
// round trips. Next: the benchmark reads average and percentiles.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <numeric>
#include <vector>

#include "io/unique_fd.h"
#include "tool.h"

namespace uvs::bench {
namespace {

constexpr uint32_t kCountMax = 1'000'000;
constexpr uint32_t kBytesMax = 1400;
constexpr uint32_t kWarmUp = 200;      // routes, neighbours, connections, caches
constexpr uint32_t kLostMax = 5;       // more than this and the path is broken, not slow
constexpr time_t kAnswerLimitSec = 1;  // a request without an answer for so long is lost

UniqueFd open_datagrams() {
  UniqueFd fd(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!fd.open()) fail_errno("socket");
  return fd;
}

// Sends request `number` and waits for its own answer; false when none came.
bool exchange(int fd, uint32_t number, std::vector<uint8_t>& buffer) {
  std::memcpy(buffer.data(), &number, sizeof number);
  if (::send(fd, buffer.data(), buffer.size(), 0) < 0) fail_errno("send");
  for (;;) {
    const ssize_t got = ::recv(fd, buffer.data(), buffer.size(), 0);
    if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return false;
    if (got < 0) fail_errno("recv");
    uint32_t answered = 0;
    std::memcpy(&answered, buffer.data(), sizeof answered);
    // A late answer to a request that was given up.
    if (static_cast<size_t>(got) == buffer.size() && answered == number) return true;
  }
}

}  // namespace

sockaddr_in endpoint(uint32_t address, uint32_t port) {
  sockaddr_in end{};
  end.sin_family = AF_INET;
  end.sin_port = htons(static_cast<uint16_t>(port));
  end.sin_addr.s_addr = address;
  return end;
}

void print_round_trips(std::vector<double>& micros, uint32_t lost) {
  std::sort(micros.begin(), micros.end());
  const auto at = [&](double share) {
    return micros[static_cast<size_t>(share * static_cast<double>(micros.size() - 1))];
  };
  const double sum = std::accumulate(micros.begin(), micros.end(), 0.0);
  std::printf(
      "{\"average\":%.3f,\"p50\":%.3f,\"p99\":%.3f,\"max\":%.3f,\"count\":%zu,"
      "\"lost\":%u}\n",
      sum / static_cast<double>(micros.size()), at(0.5), at(0.99), micros.back(), micros.size(),
      lost);
}

int echo(const Arguments& arguments) {
  watch_signals();
  const UniqueFd fd = open_datagrams();
  const auto own = endpoint(arguments.address("address"), arguments.number("port", UINT16_MAX));
  if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&own), sizeof own) != 0) {
    fail_errno("bind");
  }
  // A signal that comes just before the wait is seen after this much.
  const timeval limit{0, 100'000};
  ::setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  std::printf("ready\n");
  std::fflush(stdout);
  uint8_t buffer[kBytesMax];
  while (!stopped()) {
    sockaddr_in peer{};
    socklen_t peer_bytes = sizeof peer;
    const ssize_t got = ::recvfrom(fd.get(), buffer, sizeof buffer, 0,
                                   reinterpret_cast<sockaddr*>(&peer), &peer_bytes);
    // Nothing yet; or an ICMP error about an earlier answer: the asker counts what it lost.
    if (got < 0) continue;
    ::sendto(fd.get(), buffer, static_cast<size_t>(got), 0, reinterpret_cast<sockaddr*>(&peer),
             peer_bytes);
  }
  return 0;
}

int ping(const Arguments& arguments) {
  const auto to = endpoint(arguments.address("to"), arguments.number("port", UINT16_MAX));
  const uint32_t count = arguments.number("count", kCountMax);
  std::vector<uint8_t> buffer(std::max<size_t>(4, arguments.number("bytes", kBytesMax)));
  const UniqueFd fd = open_datagrams();
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&to), sizeof to) != 0) {
    fail_errno("connect");
  }
  const timeval limit{kAnswerLimitSec, 0};
  ::setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  std::vector<double> micros;
  micros.reserve(count);
  uint32_t lost = 0;
  for (uint32_t i = 0; i < kWarmUp + count; i++) {
    const uint64_t start = now_ns();
    const bool answered = exchange(fd.get(), i, buffer);
    const uint64_t end = now_ns();
    if (!answered && ++lost > kLostMax) fail("no answers from the echo: the path is broken");
    if (answered && i >= kWarmUp) micros.push_back(static_cast<double>(end - start) / 1000);
  }
  if (micros.empty()) fail("no request was answered");
  print_round_trips(micros, lost);
  return 0;
}

}  // namespace uvs::bench
