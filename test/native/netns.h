// Network namespaces for native tests: each lives as long as its object, and goes away with the
// test program however that ends. Commands run in it; nothing outside it is touched.
#pragma once

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string>

namespace uvs::test {

// A child process that sits in a fresh network namespace until the object goes.
class Netns {
 public:
  Netns() {
    int ready[2];
    int stay[2];
    if (::pipe2(ready, O_CLOEXEC) != 0 || ::pipe2(stay, O_CLOEXEC) != 0) return;
    pid_ = ::fork();
    if (pid_ == 0) {
      ::close(stay[1]);
      char byte = ::unshare(CLONE_NEWNET) == 0 ? 1 : 0;
      if (::write(ready[1], &byte, 1) != 1) ::_exit(1);
      // Ends when the test does: the other end of the pipe closes.
      while (::read(stay[0], &byte, 1) > 0) {
      }
      ::_exit(0);
    }
    ::close(ready[1]);
    ::close(stay[0]);
    stay_ = stay[1];
    char good = 0;
    if (::read(ready[0], &good, 1) != 1) good = 0;
    ::close(ready[0]);
    if (good != 0) {
      fd_ = ::open(("/proc/" + std::to_string(pid_) + "/ns/net").c_str(), O_RDONLY | O_CLOEXEC);
    }
  }
  ~Netns() {
    if (fd_ >= 0) ::close(fd_);
    if (stay_ >= 0) ::close(stay_);
    if (pid_ > 0) ::waitpid(pid_, nullptr, 0);
  }
  Netns(const Netns&) = delete;
  Netns& operator=(const Netns&) = delete;

  bool usable() const { return fd_ >= 0; }
  int fd() const { return fd_; }
  std::string pid() const { return std::to_string(pid_); }

 private:
  pid_t pid_ = -1;
  int fd_ = -1;
  int stay_ = -1;
};

// The calling thread is in a namespace until the object goes.
class Enter {
 public:
  explicit Enter(const Netns& ns) : back_(::open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC)) {
    if (back_ < 0 || ::setns(ns.fd(), CLONE_NEWNET) != 0) {
      std::perror("setns");
      std::abort();
    }
  }
  ~Enter() {
    // Going on in the wrong namespace could touch the machine's own network.
    if (::setns(back_, CLONE_NEWNET) != 0) std::abort();
    ::close(back_);
  }
  Enter(const Enter&) = delete;
  Enter& operator=(const Enter&) = delete;

 private:
  int back_;
};

// Runs a shell command in a namespace; true when it exits with 0.
inline bool Run(const Netns& ns, const std::string& command) {
  const Enter here(ns);
  const int status = std::system(command.c_str());
  if (status != 0) std::printf("  # failed (%d): %s\n", status, command.c_str());
  return status == 0;
}

// Output of a shell command in a namespace.
inline std::string Output(const Netns& ns, const std::string& command) {
  const Enter here(ns);
  std::string text;
  FILE* pipe = ::popen(command.c_str(), "r");
  if (pipe == nullptr) return text;
  char buffer[4096];
  size_t got;
  while ((got = std::fread(buffer, 1, sizeof buffer, pipe)) > 0) text.append(buffer, got);
  ::pclose(pipe);
  return text;
}

// A process of the test in a namespace: `body` returns its exit status.
inline pid_t Spawn(const Netns& ns, const std::function<int()>& body) {
  const Enter here(ns);
  std::fflush(stdout);
  const pid_t pid = ::fork();
  if (pid == 0) ::_exit(body());
  return pid;
}

// Waits for a process of Spawn(); its exit status, or -1 when a signal ended it.
inline int Wait(pid_t pid) {
  int status = 0;
  ::waitpid(pid, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

// Whether namespaces can be made here; says loudly when not, because a test is then not run.
inline bool NamespacesWork(const char* test) {
  const Netns ns;
  if (ns.usable()) return true;
  std::printf("  # SKIPPED, NOT TESTED: %s: needs root (CAP_SYS_ADMIN, CAP_NET_ADMIN)\n", test);
  return false;
}

// Two namespaces joined by a veth pair: `left` and `right`, up, without addresses, IPv6 quiet.
struct Pair {
  Netns left;
  Netns right;
  bool good = false;
  Pair() {
    good = left.usable() && right.usable() &&
           Run(left, "ip link add left type veth peer name right netns " + right.pid()) &&
           Up(left, "left") && Up(right, "right");
  }
  static bool Up(const Netns& ns, const std::string& name) {
    return Run(ns, "sysctl -qw net.ipv6.conf." + name +
                       ".disable_ipv6=1 && ip link set lo up && "
                       "ip link set " +
                       name + " up");
  }
};

}  // namespace uvs::test

// First line of a test that needs namespaces.
#define NEED_NAMESPACES() \
  if (!::uvs::test::NamespacesWork(__func__)) return
