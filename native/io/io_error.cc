// In: errno after a call failed. Does: makes a coded error with a sentence; never per packet.
// Next: the Node-API edge throws it.
#include "io/io_error.h"

#include <cerrno>
#include <cstring>
#include <utility>

namespace uvs {
namespace {

std::string code_of(int number) {
  const char* name = ::strerrorname_np(number);
  return name != nullptr ? name : std::string("E").append(std::to_string(number));
}

bool starts_with(const std::string& text, const char* start) { return text.rfind(start, 0) == 0; }

// capabilities(7); bpf(2) needs CAP_BPF and, for network programs, CAP_NET_ADMIN (Linux 5.8).
const char* capability_for(const std::string& syscall) {
  if (starts_with(syscall, "bpf"))
    return "CAP_BPF and CAP_NET_ADMIN (before Linux 5.8: CAP_SYS_ADMIN)";
  if (starts_with(syscall, "socket")) return "CAP_NET_RAW";
  if (starts_with(syscall, "setns")) return "CAP_SYS_ADMIN";
  return "CAP_NET_ADMIN";
}

std::string advice(int number, const std::string& syscall) {
  switch (number) {
    case EPERM:
    case EACCES: return std::string("run as root or give the program ") + capability_for(syscall);
    case ENODEV: return "there is no such network interface";
    case ENETDOWN: return "the interface is down: bring it up first (ip link set DEV up)";
    case ENOMEM:
    case ENOBUFS: return "the kernel has not enough memory: use a smaller ring";
    case EBUSY: return "it is in use by another program";
    case ENOENT: return "the kernel was built without it, or it is not there";
    case ENOSYS:
    case EOPNOTSUPP:
    case ENOPROTOOPT: return "this kernel does not support it: Linux 5.10 or later is needed";
    default: return std::strerror(number);
  }
}

}  // namespace

IoError system_error(int number, const char* syscall, const std::string& what) {
  IoError error;
  error.code = code_of(number);
  error.number = number;
  error.syscall = syscall;
  error.sentence = what + ": " + syscall + ": " + error.code + ": " + advice(number, error.syscall);
  return error;
}

IoError system_error(const char* syscall, const std::string& what) {
  return system_error(errno, syscall, what);
}

IoError refusal(const char* code, std::string sentence) {
  IoError error;
  error.code = code;
  error.sentence = std::move(sentence);
  return error;
}

}  // namespace uvs
