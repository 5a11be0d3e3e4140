// Keeps the host's stack away from benchmark traffic: everything but ARP is dropped at ingress,
// after packet sockets have seen it, until the object goes.
#pragma once
#include <cstdint>
#include <string>

#include "io/unique_fd.h"

namespace uvs::bench {

class Quiet {
 public:
  // Ends the program with status 1 when the filter cannot be attached.
  explicit Quiet(const std::string& device);
  ~Quiet();
  Quiet(const Quiet&) = delete;
  Quiet& operator=(const Quiet&) = delete;

 private:
  std::string device_;
  uint32_t ifindex_;
  UniqueFd program_;
  bool made_qdisc_ = false;
};

}  // namespace uvs::bench
