// All ports of a director as main owns them: the descriptors of every worker, the classifier that
// filters and steers for them, and the quiet filters. Everything made here is given back by
// close(); what a killed process could not give back is found by the next open(). An interface
// belongs to one director at a time.
//
//   af_packet: a packet socket per worker and interface; then the TUN device to the host's stack
//   tun:       the TUN device alone
#pragma once
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "io/classifier.h"
#include "io/factory.h"
#include "io/handover.h"
#include "io/packet_socket.h"
#include "io/tun.h"

namespace uvs {

struct PortSetOptions {
  PortKind kind = PortKind::kAfPacket;
  std::vector<std::string> interfaces;  // kAfPacket
  uint32_t workers = 1;                 // 1 .. kMaxWorkers
  uint32_t ring_frames = kRingFramesDefault;
  std::string tun_name = "uvs0";
  bool host_port = true;  // kAfPacket: a TUN device as the last port
};

class PortSet {
 public:
  // Opens everything, then removes what a killed director left on the interfaces. Null and `*error`
  // on failure, with nothing left behind; EADDRINUSE: another director has the interface, and
  // nothing of it was touched.
  static std::unique_ptr<PortSet> open(const PortSetOptions& options, IoError* error);
  ~PortSet() { close(); }
  PortSet(const PortSet&) = delete;
  PortSet& operator=(const PortSet&) = delete;

  uint32_t workers() const { return workers_; }
  uint32_t ports() const { return static_cast<uint32_t>(ifindexes_.size()); }
  // Descriptor that `worker` borrows for `port`.
  int descriptor(uint32_t worker, uint32_t port) const;
  // Eventfd that `worker` borrows: readable after ring(), so that a wait for packets ends.
  int bell(uint32_t worker) const { return bells_[worker].get(); }
  void ring(uint32_t worker);
  // Descriptors that `worker` borrows to receive other workers' datagrams at, and that all others
  // borrow to send them; -1 with one worker.
  int handover_receive(uint32_t worker) const { return handover(worker).receive.get(); }
  int handover_send(uint32_t worker) const { return handover(worker).send.get(); }
  const std::vector<uint32_t>& ifindexes() const { return ifindexes_; }
  // Whether the device of `port` is gone from this network namespace: deleted, moved or renamed.
  // Its descriptors carry nothing any more, even if another device has got its name.
  bool lost(uint32_t port) const;

  Classifier& classifier() { return *classifier_; }

  // The host's stack keeps quiet about service traffic from now on; of several interfaces all or,
  // on failure, none. Without effect for kTun, where the routes decide what comes here.
  bool attach_quiet(IoError* error);
  // Tries every interface; the last failure is reported.
  bool detach_quiet(IoError* error);

  // Removes the quiet filters and closes every descriptor. Idempotent.
  void close();
  bool closed() const { return classifier_ == nullptr; }

  // Removes quiet filters that a killed director left on these interfaces. An interface that does
  // not exist has no leftovers, nor has one that a living director has.
  static bool clean_leftovers(const std::vector<std::string>& interfaces, IoError* error);

 private:
  PortSet() = default;
  bool open_sockets(const PortSetOptions& options, IoError* error);
  bool open_tun_queues(const PortSetOptions& options, IoError* error);
  bool open_bells(IoError* error);
  bool open_handovers(IoError* error);
  const HandoverPair& handover(uint32_t worker) const { return handovers_[worker]; }

  struct Quiet {
    bool attached = false;
    bool made_qdisc = false;
  };

  uint32_t workers_ = 0;
  std::unique_ptr<Classifier> classifier_;
  std::vector<UniqueFd> holds_;  // by interface; see hold_interface()
  std::vector<Interface> interfaces_;
  std::string tun_name_;
  std::vector<Quiet> quiet_;                        // by interface
  std::vector<std::vector<UniqueFd>> descriptors_;  // [port][worker]
  std::vector<uint32_t> ifindexes_;                 // by port
  std::vector<UniqueFd> bells_;                     // by worker
  std::vector<HandoverPair> handovers_;             // by worker
};

}  // namespace uvs
