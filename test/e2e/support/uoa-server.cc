// A UDP server that knows UOA (as DPVS' uoa module does for programs): takes datagrams of protocol
// 248 from a raw socket, remembers the client address they carry by their sender, and answers them
// and the plain datagrams that follow with that address. IPv4. For the end-to-end tests.
//
//   uoa-server PORT     prints `ready`, answers "CLIENT:PORT opp" or "CLIENT:PORT known" to each
//                       datagram, "nobody" where its sender never said; runs until it is killed
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <string>
#include <utility>

namespace {

constexpr int kProtocol = 248;
constexpr std::size_t kDatagramMax = 65535;

using Sender = std::pair<std::uint32_t, std::uint16_t>;  // as they stand in the packet

std::map<Sender, std::string> known;

// Client address and port of a UOA header of `bytes`; empty when it is none.
std::string ReadClient(const std::uint8_t* at, std::size_t bytes) {
  const bool four = bytes == 12 && at[0] == 0x10 && at[5] == 8;
  const bool six = bytes == 24 && at[0] == 0x20 && at[5] == 20;
  if ((!four && !six) || at[1] != IPPROTO_UDP || at[4] != 31) return "";
  char text[INET6_ADDRSTRLEN];
  inet_ntop(four ? AF_INET : AF_INET6, at + 8, text, sizeof text);
  const std::string port = std::to_string(at[6] << 8 | at[7]);
  return four ? text + (":" + port) : "[" + std::string(text) + "]:" + port;
}

void Answer(int udp, const Sender& to, const std::string& text) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = to.first;
  address.sin_port = to.second;
  sendto(udp, text.data(), text.size(), 0, reinterpret_cast<sockaddr*>(&address), sizeof address);
}

void TakeOption(int raw, int udp, std::uint16_t port) {
  static std::array<std::uint8_t, kDatagramMax> packet;
  const ssize_t got = recv(raw, packet.data(), packet.size(), 0);
  if (got < 20) return;
  const std::size_t header = (packet[0] & 15u) * 4;
  const auto bytes = static_cast<std::size_t>(got);
  if (bytes < header + 4) return;
  const std::uint8_t* at = packet.data() + header;
  const std::size_t shim = static_cast<std::size_t>(at[2] << 8 | at[3]);
  if (shim > bytes - header || bytes - header - shim < 8) return;
  const std::uint8_t* datagram = at + shim;
  if ((datagram[2] << 8 | datagram[3]) != port) return;
  const std::string client = ReadClient(at, shim);
  if (client.empty()) return;
  Sender sender;
  std::memcpy(&sender.first, packet.data() + 12, 4);
  std::memcpy(&sender.second, datagram, 2);
  known[sender] = client;
  // An empty datagram only says who comes.
  if (bytes - header - shim > 8) Answer(udp, sender, client + " opp");
}

void TakeDatagram(int udp) {
  static std::array<std::uint8_t, kDatagramMax> data;
  sockaddr_in from{};
  socklen_t length = sizeof from;
  if (recvfrom(udp, data.data(), data.size(), 0, reinterpret_cast<sockaddr*>(&from), &length) < 0) {
    return;
  }
  const Sender sender{from.sin_addr.s_addr, from.sin_port};
  const auto found = known.find(sender);
  Answer(udp, sender, found == known.end() ? "nobody" : found->second + " known");
}

}  // namespace

int main(int argc, char** argv) {
  const int port = argc == 2 ? std::atoi(argv[1]) : 0;
  const int raw = socket(AF_INET, SOCK_RAW, kProtocol);
  const int udp = socket(AF_INET, SOCK_DGRAM, 0);
  sockaddr_in any{};
  any.sin_family = AF_INET;
  any.sin_port = htons(static_cast<std::uint16_t>(port));
  if (port <= 0 || raw < 0 || udp < 0 ||
      bind(udp, reinterpret_cast<sockaddr*>(&any), sizeof any) != 0) {
    std::perror("uoa-server");
    return 1;
  }
  std::puts("ready");
  std::fflush(stdout);
  for (;;) {
    std::array<pollfd, 2> wait{{{raw, POLLIN, 0}, {udp, POLLIN, 0}}};
    if (poll(wait.data(), wait.size(), -1) < 0) return 1;
    if (wait[0].revents != 0) TakeOption(raw, udp, static_cast<std::uint16_t>(port));
    if (wait[1].revents != 0) TakeDatagram(udp);
  }
}
