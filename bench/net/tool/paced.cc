// In: the address of a TCP echo and a rate. Does: small requests over kept connections at times
// that were fixed beforehand, whether earlier ones were answered or not; measures from the time at
// which a request was due, so that a stall counts for all that were due meanwhile. Next: the
// benchmark reads the percentiles.
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <deque>
#include <vector>

#include "io/unique_fd.h"
#include "tool.h"

namespace uvs::bench {
namespace {

constexpr uint32_t kBytesMax = 1400;
constexpr uint32_t kRateMax = 100'000;  // requests per second
constexpr uint32_t kMillisMax = 60'000;
constexpr uint32_t kConnectionsMax = 256;
constexpr int kBacklog = 1024;
constexpr int kEvents = 64;
constexpr uint64_t kNsPerSec = 1'000'000'000;
constexpr uint64_t kWarmUpNs = 200'000'000;         // requests due before this do not count
constexpr uint64_t kAnswerLimitNs = 2 * kNsPerSec;  // an answer that is later never comes
constexpr uint64_t kWaitMaxNs = 100'000'000;        // look at the answers' limit this often

struct Connection {
  UniqueFd fd;
  std::deque<uint64_t> due_ns;  // of requests without an answer yet; TCP keeps their order
  size_t received = 0;          // bytes of the answer to the first of them
};

void set_no_delay(int fd) {
  const int on = 1;
  if (::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) != 0) fail_errno("TCP_NODELAY");
}

std::vector<Connection> connect_all(const sockaddr_in& to, uint32_t count) {
  std::vector<Connection> connections(count);
  for (Connection& connection : connections) {
    connection.fd = UniqueFd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const int fd = connection.fd.get();
    if (!connection.fd.open()) fail_errno("socket");
    if (::connect(fd, reinterpret_cast<const sockaddr*>(&to), sizeof to) != 0) {
      fail_errno("connect");
    }
    set_no_delay(fd);
    if (::fcntl(fd, F_SETFL, O_NONBLOCK) != 0) fail_errno("O_NONBLOCK");
  }
  return connections;
}

// Reads what has come; appends the microseconds of each answer that is complete and counts.
void read_answers(Connection& connection, size_t bytes, uint64_t counts_from_ns,
                  std::vector<double>& micros) {
  uint8_t buffer[16384];
  const ssize_t got = ::recv(connection.fd.get(), buffer, sizeof buffer, 0);
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (got < 0) fail_errno("recv");
  if (got == 0) fail("the echo closed a connection");
  const uint64_t now = now_ns();
  connection.received += static_cast<size_t>(got);
  while (connection.received >= bytes) {
    if (connection.due_ns.empty()) fail("an answer that nobody asked for");
    const uint64_t due = connection.due_ns.front();
    connection.due_ns.pop_front();
    connection.received -= bytes;
    if (due >= counts_from_ns) micros.push_back(static_cast<double>(now - due) / 1000);
  }
}

// Waits for answers, at most until `until_ns`, and reads them.
void wait_for_answers(std::vector<Connection>& connections, std::vector<pollfd>& polled,
                      uint64_t until_ns, size_t bytes, uint64_t counts_from_ns,
                      std::vector<double>& micros) {
  const uint64_t now = now_ns();
  const uint64_t wait_ns = until_ns > now ? std::min(until_ns - now, kWaitMaxNs) : 0;
  const timespec limit{0, static_cast<long>(wait_ns)};
  const int ready = ::ppoll(polled.data(), polled.size(), &limit, nullptr);
  if (ready < 0 && errno != EINTR) fail_errno("ppoll");
  for (size_t i = 0; ready > 0 && i < polled.size(); i++) {
    if (polled[i].revents != 0) read_answers(connections[i], bytes, counts_from_ns, micros);
  }
}

// The oldest request without an answer; UINT64_MAX when all have theirs.
uint64_t oldest_due(const std::vector<Connection>& connections) {
  uint64_t oldest = UINT64_MAX;
  for (const Connection& connection : connections) {
    if (!connection.due_ns.empty()) oldest = std::min(oldest, connection.due_ns.front());
  }
  return oldest;
}

void accept_one(int listener, int epoll, std::vector<UniqueFd>& open) {
  UniqueFd fd(::accept4(listener, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
  if (!fd.open()) return;  // the client has gone again
  set_no_delay(fd.get());
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.fd = fd.get();
  if (::epoll_ctl(epoll, EPOLL_CTL_ADD, fd.get(), &event) != 0) fail_errno("epoll_ctl");
  open.push_back(std::move(fd));
}

// False when the connection is over: closed, reset, or a peer that does not read its answers.
bool answer(int fd) {
  uint8_t buffer[16384];
  const ssize_t got = ::recv(fd, buffer, sizeof buffer, 0);
  if (got < 0) return errno == EAGAIN || errno == EINTR;
  return got > 0 && ::send(fd, buffer, static_cast<size_t>(got), MSG_NOSIGNAL) == got;
}

UniqueFd listen_on(const sockaddr_in& own) {
  UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  const int on = 1;
  if (!fd.open() || ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
      ::bind(fd.get(), reinterpret_cast<const sockaddr*>(&own), sizeof own) != 0 ||
      ::listen(fd.get(), kBacklog) != 0) {
    fail_errno("listen");
  }
  return fd;
}

}  // namespace

int tcp_echo(const Arguments& arguments) {
  watch_signals();
  const sigset_t while_waiting = hold_back_signals();
  const UniqueFd listener =
      listen_on(endpoint(arguments.address("address"), arguments.number("port", UINT16_MAX)));
  const UniqueFd epoll(::epoll_create1(EPOLL_CLOEXEC));
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.fd = listener.get();
  if (!epoll.open() || ::epoll_ctl(epoll.get(), EPOLL_CTL_ADD, listener.get(), &event) != 0) {
    fail_errno("epoll");
  }
  std::vector<UniqueFd> open;
  std::printf("ready\n");
  std::fflush(stdout);
  while (!stopped()) {
    epoll_event events[kEvents];
    const int ready = ::epoll_pwait(epoll.get(), events, kEvents, -1, &while_waiting);
    for (int i = 0; i < ready; i++) {
      const int fd = events[i].data.fd;
      if (fd == listener.get()) {
        accept_one(fd, epoll.get(), open);
      } else if (!answer(fd)) {
        // Closed here, it leaves the epoll set by itself.
        std::erase_if(open, [fd](const UniqueFd& one) { return one.get() == fd; });
      }
    }
  }
  return 0;
}

int paced(const Arguments& arguments) {
  const auto to = endpoint(arguments.address("to"), arguments.number("port", UINT16_MAX));
  const size_t bytes = arguments.number("bytes", kBytesMax);
  const uint64_t rate = arguments.number("rate", kRateMax);
  const uint64_t limit_ns = uint64_t{arguments.number("millis", kMillisMax)} * 1'000'000;
  auto connections = connect_all(to, arguments.number("connections", kConnectionsMax));
  std::vector<pollfd> polled;
  for (const Connection& connection : connections) {
    polled.push_back({connection.fd.get(), POLLIN, 0});
  }
  // Timers as exact as the kernel has them, instead of up to 50 µs late.
  if (::prctl(PR_SET_TIMERSLACK, 1) != 0) fail_errno("PR_SET_TIMERSLACK");

  const std::vector<uint8_t> request(bytes, 'x');
  const uint64_t total = (kWarmUpNs + limit_ns) * rate / kNsPerSec;
  std::vector<double> micros;
  micros.reserve(total);
  const uint64_t start = now_ns();
  const auto due = [&](uint64_t number) { return start + number * kNsPerSec / rate; };
  uint64_t sent = 0;
  uint64_t oldest = UINT64_MAX;
  while (sent < total || oldest != UINT64_MAX) {
    for (; sent < total && due(sent) <= now_ns(); sent++) {
      Connection& connection = connections[sent % connections.size()];
      const ssize_t taken = ::send(connection.fd.get(), request.data(), bytes, MSG_NOSIGNAL);
      if (taken < 0 && errno != EAGAIN) fail_errno("send");
      if (taken != static_cast<ssize_t>(bytes)) fail("the path cannot carry this rate");
      connection.due_ns.push_back(due(sent));
    }
    const uint64_t until = sent < total ? due(sent) : UINT64_MAX;
    wait_for_answers(connections, polled, until, bytes, start + kWarmUpNs, micros);
    oldest = oldest_due(connections);
    const uint64_t now = now_ns();
    if (oldest < now && now - oldest > kAnswerLimitNs) {
      fail("no answers from the echo: the path is broken");
    }
  }
  if (micros.empty()) fail("no request counted");
  print_round_trips(micros, 0);
  return 0;
}

}  // namespace uvs::bench
