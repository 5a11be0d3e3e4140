// The Node-API face of raw_socket.h: a descriptor polled by the event loop of its thread.
// TypeScript's side of the contract is NativeRawSocket in src/dataplane/native.ts.
#pragma once
#include <napi.h>

namespace uvs {

// Registers the class RawSocket in `exports`.
//
//   new RawSocket({ kind: 'netlink', protocol } | { kind: 'listen', path, mode } |
//                 { kind: 'connect', path } | { kind: 'packet', interface })
//   receive(): Uint8Array | undefined
//   send(Uint8Array): boolean
//   onReadable(function | undefined), onWritable(function | undefined)
//   accept(): { socket, pid, uid, gid } | undefined
//   namespaceCookie(): bigint
//   close()                                    idempotent; any other call after it throws
//   ERR_CLOSED
Napi::Object register_raw_socket(Napi::Env env, Napi::Object exports);

}  // namespace uvs
