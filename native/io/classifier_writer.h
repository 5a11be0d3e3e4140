// The program that classifier_program.cc writes, as it is written: registers and stack that live
// through it, and one function per part. For the files of this program only.
#pragma once
#include <cstddef>
#include <cstdint>

#include "io/bpf.h"
#include "io/classifier_parts.h"
#include "io/classifier_program.h"

namespace uvs::classifier {

// Stack, offsets from the frame pointer.
constexpr int16_t kKey = -24;             // ClassifierKey
constexpr int16_t kSourceEnd = -40;       // Addr
constexpr int16_t kDestinationEnd = -56;  // Addr
constexpr int16_t kPorts = -64;           // source, destination, as in the packet
constexpr int16_t kOuter = -80;           // Addr: destination of an ICMP error
constexpr int16_t kHeader = -128;         // bytes of the packet
constexpr int16_t kConfigKey = -136;      // u32 0
constexpr int16_t kMarkKeys = -176;       // kMarkKeyBytes
static_assert(kMarkKeys + kMarkKeyBytes <= kConfigKey);

constexpr int16_t kKeyPort = kKey + static_cast<int16_t>(offsetof(ClassifierKey, port));
constexpr int16_t kKeyProtocol = kKey + static_cast<int16_t>(offsetof(ClassifierKey, protocol));
constexpr int16_t kKeyKind = kKey + static_cast<int16_t>(offsetof(ClassifierKey, kind));
constexpr int16_t kKeyZero = kKey + static_cast<int16_t>(offsetof(ClassifierKey, zero));
constexpr int16_t kSourcePort = kPorts;
constexpr int16_t kDestinationPort = kPorts + 2;
constexpr int16_t kNoPort = 0;

constexpr int32_t kFtpDataPort = 20;

// Registers that live through the program.
constexpr Reg kContext = Reg::r6;
constexpr Reg kProtocol = Reg::r7;
constexpr Reg kOffset = Reg::r9;  // of the header being read; later: flags of a kSource entry
constexpr Reg kFlags = Reg::r9;
constexpr Reg kConfig = Reg::r8;  // after headers are read: ClassifierConfig; before: scratch

constexpr int32_t kMappedPrefix = static_cast<int32_t>(0xffff0000);  // ::ffff:0:0/96, third word
constexpr int32_t kNetworkHeader = BPF_HDR_START_NET;

constexpr int32_t network16(uint16_t host) { return __builtin_bswap16(host); }

enum class Action : uint8_t { kKeep, kTake };  // kQuiet: goes on, or is dropped

class Writer {
 public:
  Writer(ClassifierUse use, const ClassifierMaps& maps, uint32_t workers)
      : use_(use),
        maps_(maps),
        workers_(workers),
        marks_{maps.marked_prefixes, maps.marked_chunks, kConfig, kProtocol, kMarkKeys} {}
  BpfProgram write();

 private:
  using Label = BpfAssembler::Label;

  // Headers: each reads one and falls through when it fits.
  void read(int16_t to, int32_t bytes, Label fail);
  void arp();
  void drop_announced(int32_t header, int16_t address, int16_t bytes);
  // `part`: where a part of a datagram goes; null for a quote, of which the first part will do.
  void ip4(Label fail, const Label* part);
  void ip6(Label fail, const Label* part);
  void extensions(Label plain, Label fail, const Label* part);
  void unless_transport(Label fail);

  // Entries.
  void key_address(int16_t from);
  void key_port(int16_t from);
  void find(EntryKind kind);
  void find_address(int16_t address, EntryKind kind);
  void find_request(int16_t address, int16_t port, Label found);
  void find_ftp_data(int16_t port, Label found);
  void find_source(int16_t address, int16_t port, Label none);
  void read_config();
  void unless_fullnat(int16_t port, Label none);
  void unless_masquerade(Label none);
  void request_flags(int16_t address, int16_t port);
  void require_host_frame();

  // Kinds of packets.
  void ipsec();
  void flow();
  void parts(Label of_ip4, Label of_ip6, Label wanted, Label of_ipsec);
  void fragment();
  void echo();
  void icmp4();
  void icmp6();
  void open_quote();
  void tunnel_error();
  void open_gre(Label opened, Label none);
  void open_gue(Label none);
  void icmp_error();

  // Ends.
  void leave(int32_t result);
  void wanted(Action action);
  void by_client(int16_t address, int16_t port, Action action);
  void by_local_port(int16_t port, Action action);
  void unwanted();

  BpfAssembler a_;
  ClassifierUse use_;
  ClassifierMaps maps_;
  uint32_t workers_;
  MarkLookup marks_;
  Label unwanted_{};
};

}  // namespace uvs::classifier
