// Preload library (`uvs shim COMMAND`): carries the IPVS calls of an unmodified program - ipvsadm,
// keepalived - to a uvs director, and leaves every other call alone.
//
//   generic netlink   A socket stays the kernel's until the program asks for the family IPVS on it
//                     (or uses our family id). Then the director's socket takes its descriptor:
//                     one packet there is one netlink datagram, so the program notices nothing.
//   socket options    IP_VS_SO_* of level IPPROTO_IP, on any socket: one private request each.
//   files             /proc/net/ip_vs* and /proc/sys/net/ipv4/vs/*, opened for reading: the
//                     director's text in a memory file.
//
// The director listens on UVS_SOCKET with ".ipvs" appended (SOCK_SEQPACKET). Where none answers,
// the program gets what a kernel without ip_vs gives; the host's own IPVS is never touched. The
// answering side, and the private protocol in words: src/control/ipvs-server/private-protocol.ts.
//
// Runs inside foreign programs, in any of their threads and after fork(): no locks, no threads, no
// memory from malloc but what fdopen() takes, errno as the call it stands for would leave it.
#define _GNU_SOURCE
// open() and open64() are two functions here, whatever the build says about large files.
#undef _FILE_OFFSET_BITS
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/genetlink.h>
#include <linux/ip_vs.h>
#include <linux/netlink.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

// The private protocol. private-protocol.ts has the same numbers; a test compares them.
enum {
  kFamilyId = 1020,
  kSetOption = 8,
  kGetOption = 9,
  kReadFile = 10,
  kReply = 11,
  kData = 12,
  kOptionInputMax = 128,
  kDataMax = 32768,
};

enum {
  kFirstOption = IP_VS_BASE_CTL,
  kLastOption = IP_VS_SO_SET_MAX,
  // Sockets of one program that are carried at a time; one more stays the kernel's.
  kTakenMax = 64,
  // As much of a request as is needed to see what it asks for.
  kLookBytes = 256,
  kPathMax = 256,
};

#define FAMILY_NAME IPVS_GENL_NAME
// What the kernel is asked for in place of IPVS when no director answers: nobody has this name.
#define ABSENT_NAME "ipvs"
_Static_assert(sizeof(FAMILY_NAME) == sizeof(ABSENT_NAME), "one is written over the other");

// The next definition of an intercepted function: libc's.
#define REAL(function)               \
  static __typeof__(&function) real; \
  if (!real) real = (__typeof__(&function))(uintptr_t)dlsym(RTLD_NEXT, #function)

// --- The state of the process -------------------------------------------------------------------

// A descriptor that is the director's socket now. An entry holds while the descriptor is still the
// socket with this inode number, so that nobody has to watch close(), dup2() and their like.
struct taken {
  atomic_int fd_plus_1;  // 0: free; written last
  ino_t inode;
  struct sockaddr_nl local;  // what the socket was bound to
};

// A preload library is one per process by nature; this is all that it remembers.
static struct taken taken_sockets[kTakenMax];
static struct sockaddr_un director = {.sun_family = AF_UNIX};

// Read once: programs clear their environment.
__attribute__((constructor)) static void find_director(void) {
  const char* control = getenv("UVS_SOCKET");
  if (!control || !*control) control = "/run/uvs/uvs.sock";
  int length = snprintf(director.sun_path, sizeof director.sun_path, "%s.ipvs", control);
  if (length < 0 || (size_t)length >= sizeof director.sun_path) director.sun_path[0] = '\0';
}

static ino_t inode_of(int fd) {
  struct stat status;
  return fstat(fd, &status) == 0 && S_ISSOCK(status.st_mode) ? status.st_ino : 0;
}

static struct taken* find_taken(int fd) {
  for (int i = 0; i < kTakenMax; i++) {
    struct taken* entry = &taken_sockets[i];
    if (fd < 0 || atomic_load(&entry->fd_plus_1) != fd + 1) continue;
    int saved = errno;
    bool same = inode_of(fd) == entry->inode;
    errno = saved;
    if (same) return entry;
    atomic_store(&entry->fd_plus_1, 0);
  }
  return NULL;
}

// A free entry, marked as in use by nobody (-1); entries of closed sockets are free too.
static struct taken* reserve_taken(void) {
  for (int i = 0; i < kTakenMax; i++) {
    struct taken* entry = &taken_sockets[i];
    int owner = atomic_load(&entry->fd_plus_1);
    if (owner < 0 || (owner > 0 && inode_of(owner - 1) == entry->inode)) continue;
    if (atomic_compare_exchange_strong(&entry->fd_plus_1, &owner, -1)) return entry;
  }
  return NULL;
}

// --- Talking to the director --------------------------------------------------------------------

static ssize_t real_sendmsg(int fd, const struct msghdr* message, int flags) {
  REAL(sendmsg);
  return real(fd, message, flags);
}

static ssize_t real_recvmsg(int fd, struct msghdr* message, int flags) {
  REAL(recvmsg);
  return real(fd, message, flags);
}

// A new connection to the director; -1 when there is none.
static int connect_director(void) {
  if (!director.sun_path[0]) return -1;
  int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
  if (fd < 0) return -1;
  int result;
  do {
    result = connect(fd, (const struct sockaddr*)&director, sizeof director);
  } while (result != 0 && errno == EINTR);
  if (result == 0) return fd;
  close(fd);
  return -1;
}

// Receives one packet of the private protocol whole; false at the end of the connection.
static bool receive_packet(int fd, struct nlmsghdr* header, void* payload, size_t room,
                           size_t* size) {
  struct iovec parts[] = {{header, sizeof *header}, {payload, room}};
  struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
  ssize_t got;
  do {
    got = real_recvmsg(fd, &message, 0);
  } while (got < 0 && errno == EINTR);
  if (got < (ssize_t)sizeof *header || (message.msg_flags & MSG_TRUNC)) return false;
  *size = (size_t)got - sizeof *header;
  return true;
}

// Sends a private request and receives its verdict. Returns a connection from which the data of a
// good answer can be read, or -1 with errno: `absent` when no director answers.
static int ask(int type, struct iovec* parts, int count, int absent) {
  int fd = connect_director();
  struct nlmsghdr header = {.nlmsg_len = sizeof header, .nlmsg_type = (uint16_t)type};
  for (int i = 1; i < count; i++) header.nlmsg_len += (uint32_t)parts[i].iov_len;
  parts[0] = (struct iovec){&header, sizeof header};
  struct msghdr message = {.msg_iov = parts, .msg_iovlen = (size_t)count};
  int32_t error = absent;
  size_t size = 0;
  if (fd >= 0 && real_sendmsg(fd, &message, MSG_NOSIGNAL) >= 0 &&
      receive_packet(fd, &header, &error, sizeof error, &size)) {
    if (header.nlmsg_type != kReply || size != sizeof error) error = absent;
  }
  if (error == 0) return fd;
  if (fd >= 0) close(fd);
  errno = error;
  return -1;
}

// --- Generic netlink ----------------------------------------------------------------------------

// Copies the first bytes of a message; returns how many.
static size_t look_at(const struct msghdr* message, uint8_t* bytes) {
  size_t size = 0;
  for (size_t i = 0; i < message->msg_iovlen && size < kLookBytes; i++) {
    size_t length = message->msg_iov[i].iov_len;
    if (length > kLookBytes - size) length = kLookBytes - size;
    if (length > 0) memcpy(bytes + size, message->msg_iov[i].iov_base, length);
    size += length;
  }
  return size;
}

// Where the name IPVS stands in a request to resolve it; 0 when the message is something else.
static size_t find_family_name(const uint8_t* bytes, size_t size) {
  struct nlmsghdr header;
  struct genlmsghdr command;
  if (size < sizeof header + sizeof command) return 0;
  memcpy(&header, bytes, sizeof header);
  memcpy(&command, bytes + sizeof header, sizeof command);
  if (header.nlmsg_type != GENL_ID_CTRL || command.cmd != CTRL_CMD_GETFAMILY) return 0;
  if (header.nlmsg_len < size) size = header.nlmsg_len;
  for (size_t at = sizeof header + sizeof command; at + NLA_HDRLEN <= size;) {
    struct nlattr attribute;
    memcpy(&attribute, bytes + at, sizeof attribute);
    if (attribute.nla_len < NLA_HDRLEN || attribute.nla_len > size - at) return 0;
    if ((attribute.nla_type & NLA_TYPE_MASK) == CTRL_ATTR_FAMILY_NAME &&
        attribute.nla_len == NLA_HDRLEN + sizeof FAMILY_NAME &&
        memcmp(bytes + at + NLA_HDRLEN, FAMILY_NAME, sizeof FAMILY_NAME) == 0) {
      return at + NLA_HDRLEN;
    }
    at += NLA_ALIGN(attribute.nla_len);
  }
  return 0;
}

static bool has_family_id(const uint8_t* bytes, size_t size) {
  struct nlmsghdr header;
  if (size < sizeof header) return false;
  memcpy(&header, bytes, sizeof header);
  return header.nlmsg_type == kFamilyId;
}

static bool is_generic_netlink(int fd) {
  REAL(getsockopt);
  int domain = 0, protocol = -1;
  socklen_t length = sizeof domain;
  if (real(fd, SOL_SOCKET, SO_DOMAIN, &domain, &length) != 0 || domain != AF_NETLINK) return false;
  length = sizeof protocol;
  return real(fd, SOL_SOCKET, SO_PROTOCOL, &protocol, &length) == 0 && protocol == NETLINK_GENERIC;
}

// Puts the director's socket in the place of a netlink socket. False: it is still the kernel's.
static bool take_over(int fd) {
  REAL(getsockname);
  struct taken* entry = reserve_taken();
  if (!entry) return false;
  int connection = connect_director();
  struct sockaddr_nl local = {.nl_family = AF_NETLINK};
  socklen_t length = sizeof local;
  real(fd, (struct sockaddr*)&local, &length);
  int status = fcntl(fd, F_GETFL), descriptor = fcntl(fd, F_GETFD);
  bool done = connection >= 0 && status >= 0 && descriptor >= 0 &&
              fcntl(connection, F_SETFL, status & O_NONBLOCK) == 0 &&
              dup3(connection, fd, descriptor & FD_CLOEXEC ? O_CLOEXEC : 0) == fd;
  if (connection >= 0) close(connection);
  entry->inode = done ? inode_of(fd) : 0;
  entry->local = local;
  atomic_store(&entry->fd_plus_1, done ? fd + 1 : 0);
  return done;
}

// On a socket that is the director's: no address, and what its end means in netlink.
static ssize_t send_taken(int fd, const struct msghdr* message, int flags) {
  struct msghdr inner = *message;
  inner.msg_name = NULL;
  inner.msg_namelen = 0;
  ssize_t sent = real_sendmsg(fd, &inner, flags | MSG_NOSIGNAL);
  if (sent < 0 && (errno == EPIPE || errno == ECONNRESET)) errno = ECONNREFUSED;
  return sent;
}

ssize_t sendmsg(int fd, const struct msghdr* message, int flags) {
  if (find_taken(fd)) return send_taken(fd, message, flags);
  uint8_t bytes[kLookBytes];
  size_t size = look_at(message, bytes);
  size_t name = find_family_name(bytes, size);
  if (name == 0 && !has_family_id(bytes, size)) return real_sendmsg(fd, message, flags);
  int saved = errno;
  bool is_ours = is_generic_netlink(fd) && take_over(fd);
  bool is_kernels = !is_ours && name != 0 && is_generic_netlink(fd);
  errno = saved;
  if (is_ours) return send_taken(fd, message, flags);
  // Without a director our family id goes to the kernel as it is: no family of its has that one.
  if (!is_kernels) return real_sendmsg(fd, message, flags);
  memcpy(bytes + name, ABSENT_NAME, sizeof ABSENT_NAME);
  struct iovec part = {bytes, size};
  struct msghdr inner = *message;
  inner.msg_iov = &part;
  inner.msg_iovlen = 1;
  return real_sendmsg(fd, &inner, flags);
}

ssize_t sendto(int fd, const void* data, size_t size, int flags, const struct sockaddr* to,
               socklen_t length) {
  struct iovec part = {(void*)(uintptr_t)data, size};
  struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
  message.msg_name = (void*)(uintptr_t)to;
  message.msg_namelen = to ? length : 0;
  return sendmsg(fd, &message, flags);
}

ssize_t send(int fd, const void* data, size_t size, int flags) {
  return sendto(fd, data, size, flags, NULL, 0);
}

ssize_t recvmsg(int fd, struct msghdr* message, int flags) {
  if (!find_taken(fd)) return real_recvmsg(fd, message, flags);
  struct msghdr inner = *message;
  inner.msg_name = NULL;
  inner.msg_namelen = 0;
  ssize_t got = real_recvmsg(fd, &inner, flags);
  if (got == 0) {
    // A netlink socket has no end; the director has gone.
    errno = ECONNREFUSED;
    return -1;
  }
  if (got < 0) return got;
  const struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
  if (message->msg_name) {
    size_t length = message->msg_namelen < sizeof kernel ? message->msg_namelen : sizeof kernel;
    memcpy(message->msg_name, &kernel, length);
  }
  message->msg_namelen = message->msg_name ? sizeof kernel : 0;
  message->msg_controllen = inner.msg_controllen;
  message->msg_flags = inner.msg_flags;
  return got;
}

ssize_t recvfrom(int fd, void* data, size_t size, int flags, struct sockaddr* from,
                 socklen_t* length) {
  REAL(recvfrom);
  if (!find_taken(fd)) return real(fd, data, size, flags, from, length);
  struct iovec part = {data, size};
  struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
  message.msg_name = from;
  message.msg_namelen = from && length ? *length : 0;
  ssize_t got = recvmsg(fd, &message, flags);
  if (got > 0 && from && length) *length = message.msg_namelen;
  return got;
}

ssize_t recv(int fd, void* data, size_t size, int flags) {
  return recvfrom(fd, data, size, flags, NULL, NULL);
}

int bind(int fd, const struct sockaddr* address, socklen_t length) {
  REAL(bind);
  return find_taken(fd) ? 0 : real(fd, address, length);
}

int getsockname(int fd, struct sockaddr* restrict address, socklen_t* restrict length) {
  REAL(getsockname);
  struct taken* entry = find_taken(fd);
  if (!entry) return real(fd, address, length);
  memcpy(address, &entry->local, *length < sizeof entry->local ? *length : sizeof entry->local);
  *length = sizeof entry->local;
  return 0;
}

// --- Socket options -----------------------------------------------------------------------------

static bool is_ipvs_option(int level, int name) {
  return level == IPPROTO_IP && name >= kFirstOption && name <= kLastOption;
}

int setsockopt(int fd, int level, int name, const void* value, socklen_t length) {
  REAL(setsockopt);
  if (level == SOL_NETLINK && find_taken(fd)) return 0;
  if (!is_ipvs_option(level, name)) return real(fd, level, name, value, length);
  uint32_t option = (uint32_t)name;
  struct iovec parts[] = {{0}, {&option, sizeof option}, {(void*)(uintptr_t)value, length}};
  int saved = errno;
  int connection = ask(kSetOption, parts, 3, ENOPROTOOPT);
  if (connection < 0) return -1;
  close(connection);
  errno = saved;
  return 0;
}

// The value of an option, from a connection on which the answer was good. 0 or an errno.
static int receive_value(int connection, char* value, size_t room, size_t* received) {
  *received = 0;
  for (;;) {
    struct nlmsghdr header;
    size_t size;
    // Straight into the program's buffer; an answer that does not fit is cut by the kernel.
    if (!receive_packet(connection, &header, value + *received, room - *received, &size)) {
      return EINVAL;
    }
    if (header.nlmsg_type != kData) return EINVAL;
    if (size == 0) return 0;
    *received += size;
  }
}

int getsockopt(int fd, int level, int name, void* restrict value, socklen_t* restrict length) {
  REAL(getsockopt);
  if (!is_ipvs_option(level, name)) return real(fd, level, name, value, length);
  uint32_t words[] = {(uint32_t)name, *length};
  size_t input = *length < kOptionInputMax ? *length : kOptionInputMax;
  struct iovec parts[] = {{0}, {words, sizeof words}, {value, input}};
  int saved = errno;
  int connection = ask(kGetOption, parts, 3, ENOPROTOOPT);
  if (connection < 0) return -1;
  size_t received;
  int error = receive_value(connection, value, *length, &received);
  close(connection);
  // As the kernel does: only the version says how long it is.
  if (error == 0 && name == IP_VS_SO_GET_VERSION) *length = (socklen_t)received;
  errno = error ? error : saved;
  return error ? -1 : 0;
}

// --- Files --------------------------------------------------------------------------------------

static bool is_ipvs_file(const char* path) {
  static const char* const kPrefixes[] = {"/proc/net/ip_vs", "/proc/sys/net/ipv4/vs/"};
  for (size_t i = 0; i < sizeof kPrefixes / sizeof kPrefixes[0]; i++) {
    if (strncmp(path, kPrefixes[i], strlen(kPrefixes[i])) == 0) return strlen(path) < kPathMax;
  }
  return false;
}

// Copies what the director sends into a file; false when it ends before it is complete.
static bool receive_file(int connection, int file) {
  for (;;) {
    struct nlmsghdr header;
    char data[kDataMax];
    size_t size;
    if (!receive_packet(connection, &header, data, sizeof data, &size)) return false;
    if (header.nlmsg_type != kData) return false;
    if (size == 0) return lseek(file, 0, SEEK_SET) == 0;
    for (size_t at = 0; at < size;) {
      ssize_t written = write(file, data + at, size - at);
      if (written < 0) return false;
      at += (size_t)written;
    }
  }
}

// A descriptor from which the director's text can be read; -1 with errno.
static int open_ipvs_file(const char* path, bool close_on_exec) {
  struct iovec parts[] = {{0}, {(void*)(uintptr_t)path, strlen(path)}};
  int saved = errno;
  int connection = ask(kReadFile, parts, 2, ENOENT);
  if (connection < 0) return -1;
  int file = memfd_create("ipvs", close_on_exec ? MFD_CLOEXEC : 0);
  bool complete = file >= 0 && receive_file(connection, file);
  close(connection);
  if (!complete) {
    if (file >= 0) close(file);
    errno = EIO;
    return -1;
  }
  errno = saved;
  return file;
}

static bool is_read_only(int flags) { return (flags & O_ACCMODE) == O_RDONLY; }

// The mode that follows the flags of open() where they say so.
#define READ_MODE(flags, mode)                            \
  mode_t mode = 0;                                        \
  if ((flags) & (O_CREAT | (O_TMPFILE & ~O_DIRECTORY))) { \
    va_list rest;                                         \
    va_start(rest, flags);                                \
    mode = va_arg(rest, mode_t);                          \
    va_end(rest);                                         \
  }

#define DEFINE_OPEN(function)                                \
  int function(const char* path, int flags, ...) {           \
    REAL(function);                                          \
    READ_MODE(flags, mode)                                   \
    if (is_read_only(flags) && is_ipvs_file(path)) {         \
      return open_ipvs_file(path, (flags & O_CLOEXEC) != 0); \
    }                                                        \
    return real(path, flags, mode);                          \
  }
DEFINE_OPEN(open)
DEFINE_OPEN(open64)

#define DEFINE_OPENAT(function)                                \
  int function(int folder, const char* path, int flags, ...) { \
    REAL(function);                                            \
    READ_MODE(flags, mode)                                     \
    if (is_read_only(flags) && is_ipvs_file(path)) {           \
      return open_ipvs_file(path, (flags & O_CLOEXEC) != 0);   \
    }                                                          \
    return real(folder, path, flags, mode);                    \
  }
DEFINE_OPENAT(openat)
DEFINE_OPENAT(openat64)

// What programs call that were compiled with _FORTIFY_SOURCE.
int __open_2(const char* path, int flags) { return open(path, flags); }
int __open64_2(const char* path, int flags) { return open64(path, flags); }

#define DEFINE_FOPEN(function)                                           \
  FILE* function(const char* restrict path, const char* restrict mode) { \
    REAL(function);                                                      \
    if (mode[0] != 'r' || strchr(mode, '+') || !is_ipvs_file(path)) {    \
      return real(path, mode);                                           \
    }                                                                    \
    int fd = open_ipvs_file(path, strchr(mode, 'e') != NULL);            \
    FILE* stream = fd < 0 ? NULL : fdopen(fd, "r");                      \
    if (!stream && fd >= 0) close(fd);                                   \
    return stream;                                                       \
  }
DEFINE_FOPEN(fopen)
DEFINE_FOPEN(fopen64)
