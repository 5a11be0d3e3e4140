// net-tool COMMAND name=value...: see tool.h for the commands.
#include <arpa/inet.h>
#include <linux/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>

#include "tool.h"

namespace uvs::bench {
namespace {

[[noreturn]] void refuse(const std::string& sentence) {
  std::fprintf(stderr, "net-tool: %s\n", sentence.c_str());
  std::exit(2);
}

// The only state that a signal handler can reach.
volatile std::sig_atomic_t stop_asked = 0;

void ask_to_stop(int) { stop_asked = 1; }

}  // namespace

Arguments::Arguments(int count, char** words) {
  for (int i = 0; i < count; i++) {
    const std::string word = words[i];
    const size_t equals = word.find('=');
    if (equals == std::string::npos) refuse("not name=value: " + word);
    values_[word.substr(0, equals)] = word.substr(equals + 1);
  }
}

std::string Arguments::text(const char* name) const {
  const auto found = values_.find(name);
  if (found == values_.end()) refuse(std::string("missing: ") + name + "=");
  return found->second;
}

uint32_t Arguments::number(const char* name, uint32_t max) const {
  const std::string given = text(name);
  char* end = nullptr;
  errno = 0;
  const unsigned long long value = std::strtoull(given.c_str(), &end, 10);
  if (given.empty() || *end != '\0' || errno != 0 || value < 1 || value > max) {
    refuse(std::string(name) + " must be 1 to " + std::to_string(max) + ", not " + given);
  }
  return static_cast<uint32_t>(value);
}

uint32_t Arguments::number_or(const char* name, uint32_t max, uint32_t otherwise) const {
  return values_.count(name) == 0 ? otherwise : number(name, max);
}

uint32_t Arguments::address(const char* name) const {
  in_addr parsed{};
  const std::string given = text(name);
  if (::inet_pton(AF_INET, given.c_str(), &parsed) != 1) refuse("not an IPv4 address: " + given);
  return parsed.s_addr;
}

void parse_mac(const std::string& text, Mac& mac) {
  int used = 0;
  const int got = std::sscanf(text.c_str(), "%hhx:%hhx:%hhx:%hhx:%hhx:%hhx%n", &mac[0], &mac[1],
                              &mac[2], &mac[3], &mac[4], &mac[5], &used);
  if (got != 6 || static_cast<size_t>(used) != text.size()) refuse("no link address: " + text);
}

void own_mac(const std::string& device, Mac& mac) {
  ifreq request{};
  std::snprintf(request.ifr_name, sizeof request.ifr_name, "%s", device.c_str());
  const int fd = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0 || ::ioctl(fd, SIOCGIFHWADDR, &request) != 0) fail_errno(device);
  ::close(fd);
  std::memcpy(mac, request.ifr_hwaddr.sa_data, sizeof mac);
}

void fail(const std::string& sentence) {
  std::fprintf(stderr, "net-tool: %s\n", sentence.c_str());
  std::exit(1);
}

void fail_errno(const std::string& what) { fail(what + ": " + std::strerror(errno)); }

uint64_t now_ns() {
  timespec time{};
  ::clock_gettime(CLOCK_MONOTONIC, &time);
  return static_cast<uint64_t>(time.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(time.tv_nsec);
}

void watch_signals() {
  struct sigaction action {};
  action.sa_handler = ask_to_stop;  // no SA_RESTART: a waiting call must return
  ::sigaction(SIGTERM, &action, nullptr);
  ::sigaction(SIGINT, &action, nullptr);
}

sigset_t hold_back_signals() {
  sigset_t mask;
  ::sigemptyset(&mask);
  ::sigaddset(&mask, SIGTERM);
  ::sigaddset(&mask, SIGINT);
  ::sigprocmask(SIG_BLOCK, &mask, nullptr);
  sigset_t open;
  ::sigemptyset(&open);
  return open;
}

bool stopped() { return stop_asked != 0; }

}  // namespace uvs::bench

int main(int argc, char** argv) {
  using namespace uvs::bench;
  const std::string command = argc > 1 ? argv[1] : "";
  const Arguments arguments(argc > 1 ? argc - 2 : 0, argv + 2);
  if (command == "flood") return flood(arguments);
  if (command == "syn-flood") return syn_flood(arguments);
  if (command == "plain") return plain(arguments);
  if (command == "swallow") return swallow(arguments);
  if (command == "echo") return echo(arguments);
  if (command == "ping") return ping(arguments);
  if (command == "tcp-echo") return tcp_echo(arguments);
  if (command == "paced") return paced(arguments);
  std::fprintf(stderr,
               "usage: net-tool flood|syn-flood|plain|swallow|echo|ping|tcp-echo|paced "
               "name=value...\n");
  return 2;
}
