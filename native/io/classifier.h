// The classifier as main owns it: its maps, three programs, and the entries that are in force.
#pragma once
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "io/bpf.h"
#include "io/classifier_program.h"
#include "io/marked_ends.h"

namespace uvs {

class Classifier {
 public:
  // Makes the maps and loads the programs for `workers` workers. Null and `*error` on failure
  // (EPERM: CAP_BPF and CAP_NET_ADMIN are needed).
  static std::unique_ptr<Classifier> open(uint32_t workers, IoError* error);

  // Makes `entries` (at most kClassifierEntriesMax, in any order; of entries with equal keys the
  // flags are or-ed) the entries in force, by difference: an entry that stays is never away. On
  // failure some of the change may be in force; calling again goes on from there.
  bool set_entries(std::span<const ClassifierEntry> entries, IoError* error);

  // Makes `ends` what mark rules select. On failure some of the change may be in force; calling
  // again goes on from there.
  bool set_marked(std::span<const MarkEndRecord> ends, IoError* error);

  // FULLNAT local ports, both ends included; first > last: none.
  bool set_local_ports(uint16_t first, uint16_t last, IoError* error);

  // The first port, beside 20, that an FTP service takes (kFtpData).
  bool set_ftp_data_first(uint16_t port, IoError* error);

  size_t entry_count() const { return entries_.size(); }

  // Borrowed descriptors.
  int filter_program() const { return filter_.get(); }
  int steering_program() const { return steer_.get(); }
  int quiet_program() const { return quiet_.get(); }

 private:
  Classifier() = default;
  bool publish_config(IoError* error);
  bool add_missing(const std::vector<ClassifierEntry>& wanted, IoError* error);

  UniqueFd entries_map_;
  UniqueFd config_map_;
  UniqueFd filter_;
  UniqueFd steer_;
  UniqueFd quiet_;
  MarkedEnds marked_;
  ClassifierConfig config_{1, 0, 0, 0, 0, 1024, 0, 0, 0};
  std::vector<ClassifierEntry> entries_;  // what the map holds, sorted by key
};

}  // namespace uvs
