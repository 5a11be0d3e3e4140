// Makes frames in the kernel and sends them out of an interface; its peer sees them as received.
//
// An XDP program writes one frame and redirects it to the interface; it is run in a loop
// (BPF_F_TEST_XDP_LIVE_FRAMES, Linux 5.18; Documentation/bpf/bpf_prog_run.rst). A packet socket
// with sendmmsg needs as much time per frame as the forwarders that are measured need, so that fast
// ones would only wait for it.
#pragma once
#include <cstdint>

#include "io/bpf.h"
#include "tool.h"

namespace uvs::bench {

// When to stop, whichever comes first, and how fast to go.
struct Load {
  uint64_t millis;
  uint64_t count;
  uint32_t pps;    // 0: as fast as the interface takes them
  uint32_t burst;  // frames between two looks at the clock
};

// millis= count= pps= burst=, each with a default: a minute, without end, as fast as possible.
Load load_of(const Arguments& arguments);

// Begins a program: jumps to `drop` unless the frame has kFrameBytes, writes the first `bytes`
// (a multiple of 4) of `pattern` into it. The frame is at r6 then. Frames are used again and again
// and come back changed, so that everything is written every time.
void start_frame(BpfAssembler& code, const uint8_t* pattern, uint32_t bytes,
                 BpfAssembler::Label drop);

// Adds the 16-bit parts of `reg` (below 2^32) until one is left, and takes the complement
// (RFC 1071). r2 is lost.
void fold_checksum(BpfAssembler& code, Reg reg);

// Ends a program: out of the interface; at `drop`, nowhere.
BpfProgram finish_frame(BpfAssembler& code, uint32_t ifindex, BpfAssembler::Label drop);

// Runs it and prints {"made":frames,"seconds":time}; returns the status to end with.
int send_frames(const BpfProgram& program, const Load& load);

// The interface's number; ends the program with status 1 when there is none.
uint32_t index_of(const std::string& device);

}  // namespace uvs::bench
