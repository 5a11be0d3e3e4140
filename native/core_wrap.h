// The Node-API face of Core: one object per worker. Checks arguments, borrows shared memory, turns
// results into coded JavaScript errors; knows nothing of packets.
#pragma once
#include <napi.h>

#include <memory>
#include <vector>

#include "core.h"
#include "io/generator_port.h"
#include "io/memory_port.h"
#include "io/replay_port.h"

namespace uvs {

class SystemClock : public Clock {
 public:
  uint64_t now_us() override;
};

// Time as a test or benchmark sets it.
class ManualClock : public Clock {
 public:
  uint64_t now_us() override { return us; }
  uint64_t us = 1'000'000;
};

class CoreWrap : public Napi::ObjectWrap<CoreWrap> {
 public:
  static Napi::Function define(Napi::Env env);
  explicit CoreWrap(const Napi::CallbackInfo& info);
  ~CoreWrap() override;

 private:
  Napi::Value adopt(const Napi::CallbackInfo& info);
  Napi::Value poll(const Napi::CallbackInfo& info);
  Napi::Value resolve(const Napi::CallbackInfo& info);
  Napi::Value close(const Napi::CallbackInfo& info);
  Napi::Value read_connections(const Napi::CallbackInfo& info);
  Napi::Value expire_connections(const Napi::CallbackInfo& info);
  Napi::Value set_time(const Napi::CallbackInfo& info);
  Napi::Value inject(const Napi::CallbackInfo& info);
  Napi::Value collect(const Napi::CallbackInfo& info);
  Napi::Value generate(const Napi::CallbackInfo& info);
  Napi::Value replayed(const Napi::CallbackInfo& info);

  bool attach_memory(const Napi::Object& options, CoreMemory* memory);
  bool make_ports(const Napi::Array& list, PortWordsRecord* words,
                  std::vector<std::unique_ptr<Port>>* ports);
  std::unique_ptr<NextHops> make_hops(const Napi::Object& options,
                                      const std::vector<std::unique_ptr<Port>>& ports);
  bool usable(Napi::Env env);
  void release();

  // Records looked at for one call of readConnections(): bounds the pause.
  static constexpr uint32_t kListBudget = 4096;

  // Destroyed in reverse: the core before the clocks and the memory it borrows.
  std::vector<Napi::ObjectReference> borrowed_;
  Napi::ObjectReference snapshot_;
  SystemClock system_clock_;
  ManualClock manual_clock_;
  bool manual_ = false;
  MemoryPort* memory_port_ = nullptr;        // owned by the core
  GeneratorPort* generator_port_ = nullptr;  // owned by the core
  ReplayPort* replay_port_ = nullptr;        // owned by the core
  WorkerWordsRecord* words_ = nullptr;
  std::unique_ptr<Core> core_;
};

}  // namespace uvs
