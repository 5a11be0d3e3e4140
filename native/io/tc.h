// The quiet filter on an interface: a tc filter at ingress, behind the AF_PACKET tap. Attached by
// rtnetlink (RFC 3549; net/sched/cls_api.c, sch_ingress.c), recognised by its name and place, so
// that what a killed run left behind is found and removed.
#pragma once
#include <cstdint>
#include <string>

#include "io/io_error.h"

namespace uvs {

constexpr const char* kQuietName = "uvs";
constexpr uint16_t kQuietPriority = 1;         // before all others
constexpr uint32_t kQuietHandle = 0x00757673;  // "uvs"

// Attaches `program` (a descriptor, BPF_PROG_TYPE_SCHED_CLS) at ingress of the interface, in place
// of an earlier one of ours. Makes the clsact qdisc when there is none and says so in
// `*made_qdisc`. `name` is for messages.
bool attach_quiet(uint32_t ifindex, const std::string& name, int program, bool* made_qdisc,
                  IoError* error);

// Removes our filter; that there is none, or no qdisc or interface any more, is no error. The
// clsact qdisc goes too if `remove_qdisc` and nobody else has a filter there. `*found` says whether
// there was a filter; may be null.
bool detach_quiet(uint32_t ifindex, const std::string& name, bool remove_qdisc, bool* found,
                  IoError* error);

}  // namespace uvs
