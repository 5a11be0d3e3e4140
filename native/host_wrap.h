// The Node-API face of what the kernel tells of this host. Control only, never packets.
#pragma once
#include <napi.h>

namespace uvs {

// Sets in `exports`:
//
//   hostInterfaces(): { ifindex, name, up, mtu, isTunnel, addresses: { text, prefixBits }[] }[]
//     every interface of the calling thread's network namespace, in the kernel's order; fails with
//     a coded error of the system
void register_host(Napi::Env env, Napi::Object exports);

}  // namespace uvs
