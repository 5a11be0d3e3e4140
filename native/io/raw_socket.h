// Descriptors of control protocols as values: opening, and one message in or out. Non-blocking,
// close-on-exec, no threads; who polls them is the caller's business (raw_socket_wrap.cc).
#pragma once
#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "io/io_error.h"
#include "io/unique_fd.h"

namespace uvs {

// AF_NETLINK of a protocol (NETLINK_GENERIC...), bound to a port of the kernel's choice.
UniqueFd open_netlink(int protocol, IoError* error);

// AF_UNIX SOCK_SEQPACKET listening on `path`, a file of mode `mode`. Nobody can connect before the
// mode is set. A path that begins with @ is a name of the network namespace, without a file.
UniqueFd open_listener(const std::string& path, mode_t mode, IoError* error);

// AF_UNIX SOCK_SEQPACKET connected to `path`.
UniqueFd open_connection(const std::string& path, IoError* error);

// AF_PACKET of one interface: whole frames of every protocol, not those the socket itself sends.
UniqueFd open_packet(const std::string& interface, IoError* error);

enum class Transfer : uint8_t { kDone, kNotNow, kFailed };

// The next message whole, or nothing at the end of a stream. A message above kRawMessageBytesMax is
// taken and refused. Netlink: what other programs send to our port is passed over.
Transfer receive_message(int fd, std::vector<uint8_t>* message, IoError* error);

// Sends one message whole; netlink: to the kernel.
Transfer send_message(int fd, const uint8_t* message, size_t bytes, IoError* error);

// A number that the network namespace of the socket has alone until the next boot; 0 before Linux
// 5.14. (The inode of a namespace that is gone comes again.)
uint64_t namespace_cookie(int fd);

struct Client {
  UniqueFd fd;
  pid_t pid = 0;
  uid_t uid = 0;
  gid_t gid = 0;
};

// The next waiting client with the credentials it had when it connected (SO_PEERCRED, unix(7)).
Transfer accept_client(int fd, Client* client, IoError* error);

}  // namespace uvs
