// Operating errors of packet I/O as values: opening sockets and devices, loading programs,
// changing filters. The packet path itself has none; it counts.
#pragma once
#include <string>

namespace uvs {

// `code` is empty when nothing went wrong.
struct IoError {
  std::string code;      // "EPERM", "ENODEV"..., or ERR_* for our own refusals
  int number = 0;        // errno; 0 for our own refusals
  std::string syscall;   // "socket", "setsockopt PACKET_RX_RING"...; empty for our own refusals
  std::string sentence;  // what happened, to which interface, and what to do about it

  bool failed() const { return !code.empty(); }
};

// The current errno as an error of `syscall` on `what` (an interface, a device, a map). EPERM and
// EACCES name the capability that is missing.
IoError system_error(const char* syscall, const std::string& what);

// The same for an errno that a kernel answer carried.
IoError system_error(int number, const char* syscall, const std::string& what);

// A refusal of our own: `code` starts with ERR_.
IoError refusal(const char* code, std::string sentence);

}  // namespace uvs
