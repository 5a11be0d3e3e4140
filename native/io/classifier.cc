// In: the entries that main wants. Does: loads the programs once, keeps the kernel's map equal to
// the entries by difference. Next: sockets, TUN queues and tc run the programs (port_set.cc).
#include "io/classifier.h"

#include <algorithm>
#include <cstring>
#include <string>

namespace uvs {
namespace {

bool before(const ClassifierEntry& a, const ClassifierEntry& b) {
  return std::memcmp(&a.key, &b.key, sizeof a.key) < 0;
}

bool same_key(const ClassifierEntry& a, const ClassifierEntry& b) {
  return std::memcmp(&a.key, &b.key, sizeof a.key) == 0;
}

bool is_for_all_ports(const ClassifierEntry& entry, EntryKind kind) {
  return entry.key.kind == kind && entry.key.port.raw == 0;
}

uint32_t count_for_all_ports(const std::vector<ClassifierEntry>& entries, EntryKind kind) {
  return static_cast<uint32_t>(std::count_if(
      entries.begin(), entries.end(), [kind](const auto& e) { return is_for_all_ports(e, kind); }));
}

std::vector<ClassifierEntry> sorted(std::span<const ClassifierEntry> entries) {
  std::vector<ClassifierEntry> all(entries.begin(), entries.end());
  std::sort(all.begin(), all.end(), before);
  size_t kept = 0;
  for (const ClassifierEntry& entry : all) {
    if (kept != 0 && same_key(all[kept - 1], entry)) {
      all[kept - 1].flags |= entry.flags;
    } else {
      all[kept++] = entry;
    }
  }
  all.resize(kept);
  return all;
}

}  // namespace

std::unique_ptr<Classifier> Classifier::open(uint32_t workers, IoError* error) {
  std::unique_ptr<Classifier> made(new Classifier());
  made->entries_map_ =
      bpf_create_map(BPF_MAP_TYPE_HASH, sizeof(ClassifierKey), sizeof(ClassifierEntry::flags),
                     kClassifierEntriesMax, "uvs_entries", error);
  if (!made->entries_map_.open()) return nullptr;
  made->config_map_ = bpf_create_map(BPF_MAP_TYPE_ARRAY, sizeof(uint32_t), sizeof(ClassifierConfig),
                                     1, "uvs_config", error);
  if (!made->config_map_.open() || !made->publish_config(error)) return nullptr;
  if (!made->marked_.open(error)) return nullptr;
  const ClassifierMaps maps{made->entries_map_.get(), made->config_map_.get(),
                            made->marked_.prefixes_map(), made->marked_.chunks_map()};
  const struct {
    ClassifierUse use;
    bpf_prog_type type;
    const char* name;
    UniqueFd* to;
  } programs[] = {
      {ClassifierUse::kFilter, BPF_PROG_TYPE_SOCKET_FILTER, "uvs_filter", &made->filter_},
      {ClassifierUse::kSteer, BPF_PROG_TYPE_SOCKET_FILTER, "uvs_steer", &made->steer_},
      {ClassifierUse::kQuiet, BPF_PROG_TYPE_SCHED_CLS, "uvs_quiet", &made->quiet_},
  };
  for (const auto& program : programs) {
    *program.to =
        bpf_load(classifier_program(program.use, maps, workers), program.type, program.name, error);
    if (!program.to->open()) return nullptr;
  }
  return made;
}

bool Classifier::publish_config(IoError* error) {
  const uint32_t element = 0;
  return bpf_set(config_map_.get(), &element, &config_, error);
}

bool Classifier::set_local_ports(uint16_t first, uint16_t last, IoError* error) {
  config_.local_port_first = first;
  config_.local_port_last = last;
  return publish_config(error);
}

bool Classifier::set_ftp_data_first(uint16_t port, IoError* error) {
  config_.ftp_data_first = port;
  return publish_config(error);
}

// Nothing that the programs may still be told to look up goes away before they know better.
bool Classifier::set_marked(std::span<const MarkEndRecord> ends, IoError* error) {
  const bool added = marked_.add(ends, error);
  const auto publish = [this](IoError* to) {
    config_.marked_prefixes = marked_.prefixes();
    config_.marked_any4 = marked_.any4();
    config_.marked_any6 = marked_.any6();
    return publish_config(to);
  };
  IoError second;
  if (!added) {
    publish(&second);
    return false;
  }
  return publish(error) && marked_.forget(error) && publish(error);
}

// Entries that go are removed before others come, so that the map never needs room for both.
bool Classifier::set_entries(std::span<const ClassifierEntry> entries, IoError* error) {
  const std::vector<ClassifierEntry> wanted = sorted(entries);
  if (wanted.size() > kClassifierEntriesMax) {
    *error = refusal("ERR_TOO_MANY_ENTRIES", "services, destinations and addresses need " +
                                                 std::to_string(wanted.size()) +
                                                 " classifier entries; at most " +
                                                 std::to_string(kClassifierEntriesMax) + " fit");
    return false;
  }
  // Look-ups for all-port entries are switched on before the first comes.
  config_.all_port_services += count_for_all_ports(wanted, EntryKind::kService);
  config_.all_port_sources += count_for_all_ports(wanted, EntryKind::kSource);
  config_.ftp_services += count_for_all_ports(wanted, EntryKind::kFtpData);
  if (!publish_config(error)) return false;
  std::vector<ClassifierEntry> kept;
  kept.reserve(entries_.size());
  bool good = true;
  for (const ClassifierEntry& entry : entries_) {
    const bool stays = std::binary_search(wanted.begin(), wanted.end(), entry, before);
    if (stays || !good || !(good = bpf_remove(entries_map_.get(), &entry.key, error))) {
      kept.push_back(entry);
    }
  }
  entries_ = std::move(kept);
  if (good) good = add_missing(wanted, error);
  config_.all_port_services = count_for_all_ports(entries_, EntryKind::kService);
  config_.all_port_sources = count_for_all_ports(entries_, EntryKind::kSource);
  config_.ftp_services = count_for_all_ports(entries_, EntryKind::kFtpData);
  return good && publish_config(error);
}

// Every entry in force is wanted, perhaps with other flags.
bool Classifier::add_missing(const std::vector<ClassifierEntry>& wanted, IoError* error) {
  std::vector<ClassifierEntry> result;
  result.reserve(wanted.size());
  bool good = true;
  auto old = entries_.begin();
  for (const ClassifierEntry& entry : wanted) {
    const bool there = old != entries_.end() && same_key(*old, entry);
    const bool equal = there && old->flags == entry.flags;
    if (good && !equal) good = bpf_set(entries_map_.get(), &entry.key, &entry.flags, error);
    if (good || equal) {
      result.push_back(entry);
    } else if (there) {
      result.push_back(*old);
    }
    if (there) ++old;
  }
  entries_ = std::move(result);
  return good;
}

}  // namespace uvs
