// The arithmetic of steering.h as eBPF: the ends of the classifier's programs that choose a worker.
#pragma once
#include <cstdint>

#include "io/bpf.h"

namespace uvs {

// Ends the program with the worker of a client end: the address and the port in network order at
// these offsets of the stack; `port` 0 (no offset is): of the client with all its ports.
void steer_by_client(BpfAssembler& a, int16_t address, int16_t port, uint32_t workers);

// Ends the program with the worker of the FULLNAT local port at this offset of the stack.
void steer_by_local_port(BpfAssembler& a, int16_t port, uint32_t workers);

}  // namespace uvs
