// The Node-API face of packet I/O for the main thread: PortSet opens every descriptor that the
// workers borrow, owns the classifier and the quiet filters, and gives all of it back at close().
#pragma once
#include <napi.h>

namespace uvs {

// Registers the class PortSet in `exports`.
//
//   new PortSet({ io: 'af_packet' | 'tun', interfaces: string[], workers, ringFrames, tunName,
//                 hostPort?: boolean })
//     af_packet: one socket per worker and interface, and (unless hostPort is false) one queue per
//     worker of the TUN device `tunName`, the way to the host's own stack, as the last port.
//     tun: one queue per worker of the TUN device `tunName`; `interfaces` is not used.
//   descriptors(): number[][]       [worker][port], open until close()
//   bells(): number[]               [worker], eventfds that end a worker's wait, open until close()
//   ring(worker)                    ends the worker's wait, or its next one
//   ifindexes(): number[]           by port
//   setEntries(Uint8Array)          28-byte records (io/classifier_program.h ClassifierEntry)
//                                   replace the classifier's entries, by difference
//   setLocalPorts(first, last)      FULLNAT local ports, both included; first > last: none
//   setFtpDataFirst(port)           first port, beside 20, that FTP services take
//   attachQuiet() / detachQuiet()   the host's stack keeps quiet about service traffic
//   close()                         gives everything back; idempotent. Only after every worker has
//                                   closed its Core: a closed descriptor's number may come again
//
// Every failure throws an Error with code, errno, syscall and a sentence that says what to do.
Napi::Object register_io(Napi::Env env, Napi::Object exports);

}  // namespace uvs
