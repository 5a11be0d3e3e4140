// The N-API edge: registers the classes, nothing else. One instance per thread that loads the
// addon; no state outside the instance.
#include <napi.h>
#include <sys/mman.h>

#include "classify/snapshot.h"
#include "conn/conn_table.h"
#include "core_wrap.h"
#include "host_wrap.h"
#include "io_wrap.h"
#include "raw_socket_wrap.h"

namespace uvs {
namespace {

Napi::Value table_bytes(const Napi::CallbackInfo& info) {
  if (info.Length() != 1 || !info[0].IsNumber()) {
    Napi::TypeError::New(info.Env(), "connectionTableBytes(connections) takes a number")
        .ThrowAsJavaScriptException();
    return info.Env().Undefined();
  }
  const uint32_t connections = info[0].As<Napi::Number>().Uint32Value();
  return Napi::Number::New(info.Env(), static_cast<double>(ConnTable::bytes_needed(connections)));
}

Napi::Value address_in_use(const Napi::CallbackInfo& info) {
  const bool good = info.Length() == 3 && info[0].IsTypedArray() && info[1].IsNumber() &&
                    info[2].IsTypedArray() &&
                    info[2].As<Napi::Uint8Array>().ByteLength() == sizeof(Addr);
  if (!good) {
    Napi::TypeError::New(info.Env(), "addressInUse(table, connections, address) takes 16 bytes")
        .ThrowAsJavaScriptException();
    return info.Env().Undefined();
  }
  const auto table = info[0].As<Napi::Uint8Array>();
  const Addr address = Addr::v6(info[2].As<Napi::Uint8Array>().Data());
  return Napi::Boolean::New(info.Env(),
                            ConnTable::names(table.Data(), table.ByteLength(),
                                             info[1].As<Napi::Number>().Uint32Value(), address));
}

Napi::Value check(const Napi::CallbackInfo& info) {
  if (info.Length() != 1 || !info[0].IsTypedArray()) {
    Napi::TypeError::New(info.Env(), "checkSnapshot(block) takes a Uint8Array")
        .ThrowAsJavaScriptException();
    return info.Env().Undefined();
  }
  const auto block = info[0].As<Napi::Uint8Array>();
  const SnapshotError error = check_snapshot(block.Data(), block.ByteLength());
  return Napi::String::New(info.Env(),
                           error == SnapshotError::kNone ? "" : snapshot_error_text(error));
}

// Asks for large pages under a large block: a packet of one of a million connections misses the
// translation cache otherwise as often as the data caches. Only advice: nothing depends on it.
void advise_large_pages(uint8_t* data, size_t bytes) {
  constexpr uintptr_t kLargePage = 2u << 20;
  const uintptr_t first = (reinterpret_cast<uintptr_t>(data) + kLargePage - 1) & ~(kLargePage - 1);
  const uintptr_t last = (reinterpret_cast<uintptr_t>(data) + bytes) & ~(kLargePage - 1);
  if (last > first) ::madvise(reinterpret_cast<void*>(first), last - first, MADV_HUGEPAGE);
}

// Bytes from the start of a fresh shared block to its first cache line.
Napi::Value line_offset(const Napi::CallbackInfo& info) {
  if (info.Length() != 1 || !info[0].IsTypedArray()) {
    Napi::TypeError::New(info.Env(), "lineOffset(block) takes a Uint8Array")
        .ThrowAsJavaScriptException();
    return info.Env().Undefined();
  }
  auto block = info[0].As<Napi::Uint8Array>();
  advise_large_pages(block.Data(), block.ByteLength());
  const auto address = reinterpret_cast<uintptr_t>(block.Data());
  return Napi::Number::New(info.Env(), static_cast<double>((64 - address % 64) % 64));
}

class Addon : public Napi::Addon<Addon> {
 public:
  Addon(Napi::Env env, Napi::Object exports) {
    register_io(env, exports);
    register_raw_socket(env, exports);
    register_host(env, exports);
    exports.Set("Core", CoreWrap::define(env));
    exports.Set("layoutHash", Napi::Number::New(env, kLayoutHash));
    exports.Set("connectionTableBytes", Napi::Function::New(env, table_bytes));
    exports.Set("addressInUse", Napi::Function::New(env, address_in_use));
    exports.Set("lineOffset", Napi::Function::New(env, line_offset));
    exports.Set("checkSnapshot", Napi::Function::New(env, check));
  }
};

}  // namespace
}  // namespace uvs

using uvs::Addon;
NODE_API_ADDON(Addon)
