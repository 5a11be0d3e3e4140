// Runs a test inside network namespaces of its own, with the real kernel as the other side:
//
//   near0 02:00:00:00:00:0a  --------------------  far0 02:00:00:00:00:0b
//   198.18.0.1/24, 2001:db8::1/64                  198.18.0.2/24, 2001:db8::2/64
//   the code under test                            a process that only waits
//
// The test body runs in a child process, so the namespaces go with it whatever happens. Commands
// are run with `ip`; the far side by its process id.
#pragma once

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <string>

#include "check.h"

namespace uvs::test {

inline uint32_t MonotonicMs() {
  timespec t{};
  clock_gettime(CLOCK_MONOTONIC, &t);
  return static_cast<uint32_t>(t.tv_sec * 1000 + t.tv_nsec / 1000000);
}

// Runs a shell command; fails the test when the command fails.
inline void Shell(const std::string& command) {
  const int status = std::system((command + " >&2").c_str());
  if (status != 0) std::fprintf(stderr, "# failed: %s\n", command.c_str());
  CHECK_EQ(status, 0);
}

inline void WriteFile(const std::string& path, const std::string& text) {
  const int fd = open(path.c_str(), O_WRONLY);
  CHECK(fd >= 0 && write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size()));
  if (fd >= 0) close(fd);
}

// No duplicate address detection for interfaces that are made from now on.
inline void AddressesAtOnce() {
  for (const char* which : {"all", "default"}) {
    WriteFile(std::string("/proc/sys/net/ipv6/conf/") + which + "/accept_dad", "0");
  }
}

class FarSide {
 public:
  FarSide() {
    int ready[2];
    if (pipe(ready) != 0) std::abort();
    pid_ = fork();
    if (pid_ == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      if (unshare(CLONE_NEWNET) != 0) _exit(1);
      AddressesAtOnce();
      if (write(ready[1], "r", 1) != 1) _exit(1);
      for (;;) pause();
    }
    char c;
    CHECK_EQ(read(ready[0], &c, 1), 1);
    close(ready[0]);
    close(ready[1]);
    AddressesAtOnce();
    const std::string far = std::to_string(pid_);
    Shell(
        "ip link add near0 address 02:00:00:00:00:0a type veth peer name far0 address "
        "02:00:00:00:00:0b netns " +
        far);
    Shell(
        "ip addr add 198.18.0.1/24 dev near0 && ip addr add 2001:db8::1/64 dev near0 nodad && "
        "ip link set near0 up && ip link set lo up");
    Run("ip addr add 198.18.0.2/24 dev far0 && ip addr add 2001:db8::2/64 dev far0 nodad && "
        "ip link set far0 up");
  }
  ~FarSide() {
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }

  // Runs a shell command in the far namespace.
  void Run(const std::string& command) {
    Shell("nsenter --net=/proc/" + std::to_string(pid_) + "/ns/net sh -c '" + command + "'");
  }

 private:
  pid_t pid_;
};

// Runs `body` in a child process with a fresh network namespace. Needs root; says so without.
inline void InNamespace(void (*body)()) {
  if (geteuid() != 0) {
    std::printf("# skipped: needs root\n");
    return;
  }
  std::fflush(nullptr);
  const pid_t pid = fork();
  if (pid == 0) {
    const int before = Failures();
    if (unshare(CLONE_NEWNET) != 0) _exit(2);
    body();
    std::fflush(nullptr);
    _exit(Failures() == before ? 0 : 1);
  }
  int status = 0;
  CHECK_EQ(waitpid(pid, &status, 0), pid);
  CHECK_EQ(status, 0);
}

}  // namespace uvs::test
