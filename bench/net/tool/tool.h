// The parts of net-tool, the traffic program of `npm run bench -- net` and `-- compare`. Each part
// is one command; all of them are bounded in count or time, print one line of JSON, and run in the
// network namespaces that the benchmark made. tool.ts compiles the program and says what it is
// called.
#pragma once
#include <netinet/in.h>

#include <csignal>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace uvs::bench {

// The words `name=value` of a command line. A missing or malformed one ends the program with
// status 2 and a sentence; that is why these give plain values.
class Arguments {
 public:
  Arguments(int count, char** words);

  std::string text(const char* name) const;
  // 1 .. max
  uint32_t number(const char* name, uint32_t max) const;
  // The same where the word is given, else `otherwise`.
  uint32_t number_or(const char* name, uint32_t max, uint32_t otherwise) const;
  // Dotted IPv4, network order as sockaddr_in has it.
  uint32_t address(const char* name) const;

 private:
  std::map<std::string, std::string> values_;
};

using Mac = uint8_t[6];

// Reads `aa:bb:cc:dd:ee:ff`; ends the program with status 2 when it is none.
void parse_mac(const std::string& text, Mac& mac);

// The link address of an interface of this namespace; ends the program with status 1.
void own_mac(const std::string& device, Mac& mac);

// Says what failed (a sentence) and ends the program with status 1.
[[noreturn]] void fail(const std::string& sentence);

// fail() with the meaning of errno.
[[noreturn]] void fail_errno(const std::string& what);

// Nanoseconds of CLOCK_MONOTONIC.
uint64_t now_ns();

// From now on SIGTERM and SIGINT interrupt waiting system calls and are remembered.
void watch_signals();
bool stopped();

// Holds SIGTERM and SIGINT back until a call waits with the mask that this returns, so that none is
// missed between the question and the wait.
sigset_t hold_back_signals();

// Address in network order, port in host order.
sockaddr_in endpoint(uint32_t address, uint32_t port);

// The line of JSON that the programs which measure round trips end with. Sorts `micros`, which must
// not be empty; `lost` is the number of requests without an answer.
void print_round_trips(std::vector<double>& micros, uint32_t lost);

// flood device= to-mac= from= to= port= flows= [millis=] [count=] [pps=] [burst=]
// 60-byte UDP frames of `flows` flows for a time, as fast as the interface takes them or at a pace.
int flood(const Arguments& arguments);

// syn-flood device= to-mac= from= to= port= [millis=] [count=] [pps=] [burst=]
// The same with a SYN of another client each time: any address of from/16, any port from 1024.
int syn_flood(const Arguments& arguments);

// plain from=DEVICE from-mac= to=DEVICE to-mac=
// The plain forwarder: from -> to with the link address to-mac, and back with from-mac.
int plain(const Arguments& arguments);

// swallow device=
// Drops every frame but ARP at ingress, until SIGTERM.
int swallow(const Arguments& arguments);

// echo address= port=
// Sends every UDP datagram back to where it came from, until SIGTERM.
int echo(const Arguments& arguments);

// ping to= port= bytes= count=
// Requests to an echo, one at a time; round trips in microseconds.
int ping(const Arguments& arguments);

// tcp-echo address= port=
// Sends back what comes on every TCP connection, until SIGTERM.
int tcp_echo(const Arguments& arguments);

// paced to= port= bytes= rate= connections= millis=
// Requests to a TCP echo at a fixed rate (requests/s), in turn over kept connections; round trips
// in microseconds since each was due.
int paced(const Arguments& arguments);

}  // namespace uvs::bench
