// Stands in for the kernel side of IPVS's legacy socket options, so that an unmodified ipvsadm can
// be run and recorded on a machine whose kernel has no ip_vs. Preloaded; IPv4 only, like the
// interface.
//
// UVS_SHIM_STATE  text file, lines "service ..." and "destination ..." (see parse functions below)
// UVS_SHIM_LOG    file that gets one line per setsockopt
// UVS_SHIM_ERRNO  number every setsockopt fails with (0 or unset: success)
// UVS_SHIM_CONN   file served in place of /proc/net/ip_vs_conn
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <linux/ip_vs.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum { kFirstOption = 1152, kLastOption = 1168, kMaxServices = 64, kMaxDestinations = 64 };

struct destinations {
  int count;
  struct ip_vs_dest_entry entry[kMaxDestinations];
};
static struct {
  int loaded, count;
  struct ip_vs_service_entry service[kMaxServices];
  struct destinations destinations[kMaxServices];
} state;

static const char* read_stats(const char* at, struct ip_vs_stats_user* s) {
  unsigned long long v[10] = {0};
  for (int i = 0; i < 10; i++) {
    char* end;
    v[i] = strtoull(at, &end, 10);
    if (end == at) break;
    at = end;
  }
  s->conns = v[0];
  s->inpkts = v[1];
  s->outpkts = v[2];
  s->inbytes = v[3];
  s->outbytes = v[4];
  s->cps = v[5];
  s->inpps = v[6];
  s->outpps = v[7];
  s->inbps = v[8];
  s->outbps = v[9];
  return at;
}

// service PROTOCOL ADDR PORT FWMARK SCHEDULER FLAGS TIMEOUT NETMASK [10 stats]
static void read_service(const char* line) {
  struct ip_vs_service_entry* s = &state.service[state.count];
  char addr[64], mask[64];
  unsigned proto, port, mark, flags, timeout;
  int used = 0;
  sscanf(line, "service %u %63s %u %u %15s %u %u %63s%n", &proto, addr, &port, &mark, s->sched_name,
         &flags, &timeout, mask, &used);
  s->protocol = proto;
  s->addr = inet_addr(addr);
  s->port = htons(port);
  s->fwmark = mark;
  s->flags = flags;
  s->timeout = timeout;
  s->netmask = inet_addr(mask);
  read_stats(line + used, &s->stats);
  state.count++;
}

// destination ADDR PORT FLAGS WEIGHT UTHRESHOLD LTHRESHOLD ACTIVE INACTIVE PERSISTENT [10 stats]
static void read_destination(const char* line) {
  struct destinations* list = &state.destinations[state.count - 1];
  struct ip_vs_dest_entry* d = &list->entry[list->count++];
  char addr[64];
  unsigned port, flags, v[5];
  int weight, used = 0;
  sscanf(line, "destination %63s %u %u %d %u %u %u %u %u%n", addr, &port, &flags, &weight, &v[0],
         &v[1], &v[2], &v[3], &v[4], &used);
  d->addr = inet_addr(addr);
  d->port = htons(port);
  d->conn_flags = flags;
  d->weight = weight;
  d->u_threshold = v[0];
  d->l_threshold = v[1];
  d->activeconns = v[2];
  d->inactconns = v[3];
  d->persistconns = v[4];
  read_stats(line + used, &d->stats);
  state.service[state.count - 1].num_dests++;
}

static void load(void) {
  const char* path = getenv("UVS_SHIM_STATE");
  char line[512];
  if (state.loaded || !path) return;
  state.loaded = 1;
  FILE* file = fopen(path, "r");
  while (file && fgets(line, sizeof line, file)) {
    if (!strncmp(line, "service", 7)) read_service(line);
    if (!strncmp(line, "destination", 11)) read_destination(line);
  }
  if (file) fclose(file);
}

static int find(unsigned proto, unsigned addr, unsigned port, unsigned mark) {
  for (int i = 0; i < state.count; i++) {
    struct ip_vs_service_entry* s = &state.service[i];
    if (mark ? s->fwmark == mark
             : !s->fwmark && s->protocol == proto && s->addr == addr && s->port == port)
      return i;
  }
  errno = ESRCH;
  return -1;
}

static int get(int name, void* out) {
  load();
  switch (name) {
    case IP_VS_SO_GET_VERSION:
      sprintf(out, "IP Virtual Server version 1.2.1 (size=4096)");
      return 0;
    case IP_VS_SO_GET_INFO: {
      struct ip_vs_getinfo info = {0x010201, 4096, (unsigned)state.count};
      memcpy(out, &info, sizeof info);
      return 0;
    }
    case IP_VS_SO_GET_SERVICES: {
      struct ip_vs_get_services* g = out;
      memcpy(g->entrytable, state.service, sizeof state.service[0] * state.count);
      return 0;
    }
    case IP_VS_SO_GET_SERVICE: {
      struct ip_vs_service_entry* s = out;
      int i = find(s->protocol, s->addr, s->port, s->fwmark);
      if (i < 0) return -1;
      memcpy(s, &state.service[i], sizeof *s);
      return 0;
    }
    case IP_VS_SO_GET_DESTS: {
      struct ip_vs_get_dests* g = out;
      int i = find(g->protocol, g->addr, g->port, g->fwmark);
      if (i < 0) return -1;
      memcpy(g->entrytable, state.destinations[i].entry,
             sizeof g->entrytable[0] * state.destinations[i].count);
      return 0;
    }
    case IP_VS_SO_GET_TIMEOUT: {
      struct ip_vs_timeout_user t = {900, 120, 300};
      memcpy(out, &t, sizeof t);
      return 0;
    }
    case IP_VS_SO_GET_DAEMON: {
      struct ip_vs_daemon_user d[2] = {{0, "", 0}, {0, "", 0}};
      memcpy(out, d, sizeof d);
      return 0;
    }
  }
  errno = EINVAL;
  return -1;
}

int getsockopt(int fd, int level, int name, void* out, socklen_t* length) {
  static int (*real)(int, int, int, void*, socklen_t*);
  if (level == IPPROTO_IP && name >= kFirstOption && name <= kLastOption) return get(name, out);
  if (!real) real = dlsym(RTLD_NEXT, "getsockopt");
  return real(fd, level, name, out, length);
}

// One line per setsockopt: the option's number and the fields of its structures (spec 9.3).
static void log_call(int name, const void* in, socklen_t length) {
  const char* path = getenv("UVS_SHIM_LOG");
  FILE* out = path ? fopen(path, "a") : NULL;
  if (!out) return;
  fprintf(out, "%d", name);
  if (length >= sizeof(struct ip_vs_service_user)) {
    const struct ip_vs_service_user* s = in;
    fprintf(out, " service %u %s %u %u %s %u %u %08x", s->protocol,
            inet_ntoa((struct in_addr){s->addr}), ntohs(s->port), s->fwmark,
            s->sched_name[0] ? s->sched_name : "-", s->flags, s->timeout, ntohl(s->netmask));
    if (length > sizeof *s) {
      const struct ip_vs_dest_user* d = (const void*)(s + 1);
      fprintf(out, " destination %s %u %u %d %u %u", inet_ntoa((struct in_addr){d->addr}),
              ntohs(d->port), d->conn_flags, d->weight, d->u_threshold, d->l_threshold);
    }
  } else if (length == sizeof(struct ip_vs_timeout_user)) {
    const struct ip_vs_timeout_user* t = in;
    fprintf(out, " timeouts %d %d %d", t->tcp_timeout, t->tcp_fin_timeout, t->udp_timeout);
  } else if (length == sizeof(struct ip_vs_daemon_user)) {
    const struct ip_vs_daemon_user* d = in;
    fprintf(out, " daemon %d %s %d", d->state, d->mcast_ifn, d->syncid);
  }
  fputc('\n', out);
  fclose(out);
}

int setsockopt(int fd, int level, int name, const void* in, socklen_t length) {
  static int (*real)(int, int, int, const void*, socklen_t);
  if (level == IPPROTO_IP && name >= kFirstOption && name <= kLastOption) {
    const char* wanted = getenv("UVS_SHIM_ERRNO");
    log_call(name, in, length);
    errno = wanted ? atoi(wanted) : 0;
    return errno ? -1 : 0;
  }
  if (!real) real = dlsym(RTLD_NEXT, "setsockopt");
  return real(fd, level, name, in, length);
}

FILE* fopen(const char* path, const char* mode) {
  static FILE* (*real)(const char*, const char*);
  if (!real) real = dlsym(RTLD_NEXT, "fopen");
  const char* conn = getenv("UVS_SHIM_CONN");
  return real(conn && !strcmp(path, "/proc/net/ip_vs_conn") ? conn : path, mode);
}
