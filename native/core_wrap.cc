#include "core_wrap.h"

#include <ctime>

#include "core_wrap_args.h"
#include "forward/kernel_next_hops.h"
#include "forward/static_next_hops.h"
#include "io/factory.h"
#include "report/conn_cursor.h"

namespace uvs {

uint64_t SystemClock::now_us() {
  timespec t{};
  clock_gettime(CLOCK_MONOTONIC, &t);
  return static_cast<uint64_t>(t.tv_sec) * 1'000'000 + static_cast<uint64_t>(t.tv_nsec) / 1000;
}

Napi::Function CoreWrap::define(Napi::Env env) {
  return DefineClass(env, "Core",
                     {
                         InstanceMethod<&CoreWrap::adopt>("adopt"),
                         InstanceMethod<&CoreWrap::poll>("poll"),
                         InstanceMethod<&CoreWrap::resolve>("resolve"),
                         InstanceMethod<&CoreWrap::close>("close"),
                         InstanceMethod<&CoreWrap::read_connections>("readConnections"),
                         InstanceMethod<&CoreWrap::expire_connections>("expireConnections"),
                         InstanceMethod<&CoreWrap::set_time>("setTime"),
                         InstanceMethod<&CoreWrap::inject>("inject"),
                         InstanceMethod<&CoreWrap::collect>("collect"),
                         InstanceMethod<&CoreWrap::generate>("generate"),
                         InstanceMethod<&CoreWrap::run_hits>("runHits"),
                     });
}

CoreWrap::CoreWrap(const Napi::CallbackInfo& info) : Napi::ObjectWrap<CoreWrap>(info) {
  const Napi::Env env = info.Env();
  if (info.Length() != 1 || !info[0].IsObject()) {
    throw_coded(env, "ERR_ARGUMENT", "Core takes one options object");
    return;
  }
  const auto options = info[0].As<Napi::Object>();
  CoreMemory memory;
  std::vector<std::unique_ptr<Port>> ports;
  if (!attach_memory(options, &memory)) return;
  if (!options.Get("ports").IsArray() ||
      !make_ports(options.Get("ports").As<Napi::Array>(), &ports)) {
    if (!env.IsExceptionPending()) throw_coded(env, "ERR_ARGUMENT", "ports must be an array");
    return;
  }
  manual_ = options.Get("manualClock").ToBoolean();
  Clock& clock = manual_ ? static_cast<Clock&>(manual_clock_) : system_clock_;
  bool lossless = false;
  const uint64_t seed = options.Get("seed").IsBigInt()
                            ? options.Get("seed").As<Napi::BigInt>().Uint64Value(&lossless)
                            : 0;
  std::unique_ptr<NextHops> hops = make_hops(options, ports);
  if (hops == nullptr) return;
  auto core = std::make_unique<Core>(memory, std::move(ports), std::move(hops), clock, seed);
  if (!core->table_attached()) {
    throw_coded(env, "ERR_TABLE", "the connection table has another layout or size");
    return;
  }
  core_ = std::move(core);
}

bool CoreWrap::attach_memory(const Napi::Object& options, CoreMemory* memory) {
  Borrower borrow(options, &borrowed_);
  const uint32_t workers = borrow.number("workers", 1, kMaxWorkers);
  if (!borrow.ok()) return false;
  memory->workers = workers;
  memory->worker = borrow.number("worker", 0, workers - 1);
  memory->connections = borrow.number("connections", 1, 1u << 30);
  if (!borrow.ok()) return false;
  if (borrow.number("layoutHash", 0, UINT32_MAX) != kLayoutHash) {
    throw_coded(options.Env(), "ERR_LAYOUT", "memory was laid out by another version");
    return false;
  }
  memory->table_bytes = ConnTable::bytes_needed(memory->connections);
  memory->table = borrow.block<uint8_t>("table", memory->table_bytes);
  memory->misses = borrow.block<MissRecord>("misses", kBurst);
  memory->words = borrow.block<WorkerWordsRecord>("words", 1);
  memory->port_words = borrow.block<PortWordsRecord>("portWords", kMaxPorts);
  memory->templates = borrow.block<TemplateRecord>("templates", 1, &memory->template_count);
  memory->counters.loads = borrow.block<LoadRecord>("loads", kMaxDestinations);
  memory->counters.services = borrow.block<TrafficRecord>("serviceTraffic", kMaxServices);
  memory->counters.destinations =
      borrow.block<TrafficRecord>("destinationTraffic", kMaxDestinations);
  memory->counters.total = borrow.block<TrafficRecord>("totalTraffic", 1);
  memory->counters.reasons = borrow.block<uint64_t>("reasons", kReasonLaneWords);
  return borrow.ok();
}

bool CoreWrap::make_ports(const Napi::Array& list, std::vector<std::unique_ptr<Port>>* ports) {
  const Napi::Env env = list.Env();
  auto* words = reinterpret_cast<PortWordsRecord*>(borrowed_block("portWords"));
  if (list.Length() > kMaxPorts) {
    throw_coded(env, "ERR_ARGUMENT", "too many ports");
    return false;
  }
  for (uint32_t i = 0; i < list.Length(); i++) {
    const Napi::Object item = list.Get(i).ToObject();
    const std::string kind = item.Get("kind").ToString();
    std::unique_ptr<Port> port;
    if (kind == "memory") {
      auto memory = std::make_unique<MemoryPort>();
      memory_port_ = memory.get();
      port = std::move(memory);
    } else if (kind == "generator") {
      auto generator = std::make_unique<GeneratorPort>(
          item.Get("address").ToNumber().Uint32Value(),
          static_cast<uint16_t>(item.Get("port").ToNumber().Uint32Value()));
      generator_port_ = generator.get();
      port = std::move(generator);
    } else {
      port = borrow_port(env, item, kind, &words[i].rx_index);
      if (port == nullptr) return false;
    }
    ports->push_back(std::move(port));
  }
  return true;
}

}  // namespace uvs
