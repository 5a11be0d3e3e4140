// The Node-API face of Core; see core_wrap.h. Functions stand in the order of the class.
#include "core_wrap.h"

#include <algorithm>
#include <ctime>

#include "core_wrap_args.h"
#include "forward/kernel_next_hops.h"
#include "forward/static_next_hops.h"
#include "io/factory.h"
#include "report/conn_cursor.h"

namespace uvs {
namespace {

// A port around a descriptor that main has opened; null with an exception pending when it fails.
std::unique_ptr<Port> borrow_port(Napi::Env env, const Napi::Object& item, const std::string& kind,
                                  uint32_t* rx_index) {
  if (kind != "af_packet" && kind != "tun") {
    throw_coded(env, "ERR_ARGUMENT", "unknown kind of port: " + kind);
    return nullptr;
  }
  PortDescription description;
  description.kind = kind == "tun" ? PortKind::kTun : PortKind::kAfPacket;
  description.ifindex = item.Get("ifindex").ToNumber().Uint32Value();
  description.ring_frames = item.Get("ringFrames").ToNumber().Uint32Value();
  description.rx_index_word = rx_index;
  IoError error;
  auto port = make_borrowed_port(item.Get("fd").ToNumber().Int32Value(), description, &error);
  if (port == nullptr) throw_coded(env, error.code.c_str(), error.sentence);
  return port;
}

// The descriptors of NativePortSet.handovers(), as worker `worker` uses them.
HandoverEnds read_handovers(const Napi::Value& value, uint32_t worker) {
  HandoverEnds ends;
  if (!value.IsArray()) return ends;
  const auto list = value.As<Napi::Array>();
  for (uint32_t i = 0; i < list.Length() && i < kMaxWorkers; i++) {
    const Napi::Object pair = list.Get(i).ToObject();
    if (i == worker) {
      ends.receive = pair.Get("receive").ToNumber().Int32Value();
    } else {
      ends.send[i] = pair.Get("send").ToNumber().Int32Value();
    }
  }
  return ends;
}

// The kernel's next hops for the ports of a core; null with an exception pending when it fails.
std::unique_ptr<NextHops> open_kernel_hops(Napi::Env env,
                                           const std::vector<std::unique_ptr<Port>>& ports,
                                           int32_t host_port) {
  std::vector<HopPort> described;
  for (size_t i = 0; i < ports.size(); i++) {
    described.push_back(HopPort{ports[i]->ifindex(), static_cast<uint16_t>(i), ports[i]->link()});
  }
  RtStatus status;
  auto hops = KernelNextHops::open(
      described, host_port < 0 ? KernelNextHops::kNoPort : static_cast<uint16_t>(host_port),
      &status);
  if (hops == nullptr) throw_coded(env, "ERR_NETLINK", rt_text(status.code));
  return hops;
}

}  // namespace

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
                         InstanceMethod<&CoreWrap::replayed>("replayed"),
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
      !make_ports(options.Get("ports").As<Napi::Array>(), memory.port_words, &ports)) {
    if (!env.IsExceptionPending()) throw_coded(env, "ERR_ARGUMENT", "ports must be an array");
    return;
  }
  const Napi::Value bell = options.Get("bell");
  memory.bell = bell.IsNumber() ? bell.As<Napi::Number>().Int32Value() : -1;
  memory.handover = read_handovers(options.Get("handovers"), memory.worker);
  manual_ = options.Get("manualClock").ToBoolean();
  const int32_t host_port = options.Get("hostPort").ToNumber().Int32Value();
  memory.host_port = host_port < static_cast<int32_t>(ports.size()) ? host_port : -1;
  Clock& clock = manual_ ? static_cast<Clock&>(manual_clock_) : system_clock_;
  bool lossless = false;
  const uint64_t seed = options.Get("seed").IsBigInt()
                            ? options.Get("seed").As<Napi::BigInt>().Uint64Value(&lossless)
                            : 0;
  std::unique_ptr<NextHops> hops = make_hops(options, ports);
  if (hops == nullptr) return;
  if (!shared::claim(memory.words->attached)) {
    throw_coded(env, "ERR_BUSY", "another thread still holds this worker's memory");
    return;
  }
  auto core = std::make_unique<Core>(memory, std::move(ports), std::move(hops), clock, seed);
  if (!core->table_attached()) {
    core.reset();
    shared::publish(memory.words->attached, 0u);
    throw_coded(env, "ERR_TABLE", "the connection table has another layout or size");
    return;
  }
  core_ = std::move(core);
  words_ = memory.words;
}

// Runs at close(), at garbage collection and when the thread's environment ends, whichever is
// first; until then no other thread may attach to this worker's memory.
CoreWrap::~CoreWrap() { release(); }

void CoreWrap::release() {
  if (core_ == nullptr) return;
  core_.reset();
  memory_port_ = nullptr;
  generator_port_ = nullptr;
  replay_port_ = nullptr;
  shared::publish(words_->attached, 0u);
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
  memory->miss_texts = borrow.block<MissText>("missTexts", kBurst);
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

bool CoreWrap::make_ports(const Napi::Array& list, PortWordsRecord* words,
                          std::vector<std::unique_ptr<Port>>* ports) {
  const Napi::Env env = list.Env();
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
          static_cast<uint16_t>(item.Get("port").ToNumber().Uint32Value()),
          item.Get("options").ToBoolean());
      generator_port_ = generator.get();
      // Armed from the start, for a worker whose core nobody else can call.
      if (item.Get("packets").IsNumber()) {
        generator->arm(static_cast<uint64_t>(item.Get("packets").ToNumber().DoubleValue()), 0,
                       std::max(1u, item.Get("flows").ToNumber().Uint32Value()), 1,
                       static_cast<uint8_t>(item.Get("tcpFlags").ToNumber().Uint32Value()));
      }
      port = std::move(generator);
    } else if (kind == "replay") {
      IoError error;
      auto replay =
          ReplayPort::open(item.Get("input").ToString(), item.Get("output").ToString(), &error);
      if (replay == nullptr) {
        throw_coded(env, error.code.c_str(), error.sentence);
        return false;
      }
      replay_port_ = replay.get();
      port = std::move(replay);
    } else {
      port = borrow_port(env, item, kind, &words[i].rx_index);
      if (port == nullptr) return false;
    }
    ports->push_back(std::move(port));
  }
  return true;
}

std::unique_ptr<NextHops> CoreWrap::make_hops(const Napi::Object& options,
                                              const std::vector<std::unique_ptr<Port>>& ports) {
  const Napi::Env env = options.Env();
  if (options.Get("hops").ToString().Utf8Value() == "static") {
    if (ports.empty()) {
      throw_coded(env, "ERR_ARGUMENT", "static hops need a port to lead to");
      return nullptr;
    }
    return std::make_unique<StaticNextHops>(static_cast<uint16_t>(ports.size()));
  }
  return open_kernel_hops(env, ports, options.Get("hostPort").ToNumber().Int32Value());
}

bool CoreWrap::usable(Napi::Env env) {
  if (core_ != nullptr) return true;
  throw_coded(env, "ERR_CLOSED", "the core is closed");
  return false;
}

Napi::Value CoreWrap::adopt(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (!usable(env)) return env.Undefined();
  if (info.Length() != 1 || !info[0].IsTypedArray()) {
    throw_coded(env, "ERR_ARGUMENT", "adopt(snapshot) takes a Uint8Array");
    return env.Undefined();
  }
  if (core_->open()) {
    throw_coded(env, "ERR_ORDER", "adopt() comes after resolve()");
    return env.Undefined();
  }
  const auto block = info[0].As<Napi::Uint8Array>();
  const SnapshotError error = check_snapshot(block.Data(), block.ByteLength());
  if (error != SnapshotError::kNone) {
    throw_coded(env, "ERR_SNAPSHOT",
                std::string("snapshot refused: ") + snapshot_error_text(error));
    return env.Undefined();
  }
  core_->adopt(block.Data());
  snapshot_ = Napi::Persistent(block.As<Napi::Object>());
  return env.Undefined();
}

Napi::Value CoreWrap::poll(const Napi::CallbackInfo& info) {
  if (!usable(info.Env())) return info.Env().Undefined();
  if (!core_->snapshot().adopted() || core_->open()) {
    throw_coded(info.Env(), "ERR_ORDER", "poll() comes after adopt() and after resolve()");
    return info.Env().Undefined();
  }
  // A clock that stands still would never end a wait.
  const uint32_t wait_us = manual_ ? 0 : static_cast<uint32_t>(number_of(info[0]));
  return Napi::Number::New(info.Env(), core_->poll(wait_us));
}

Napi::Value CoreWrap::resolve(const Napi::CallbackInfo& info) {
  if (!usable(info.Env())) return info.Env().Undefined();
  if (!core_->open()) {
    throw_coded(info.Env(), "ERR_ORDER", "resolve() comes after a poll() that returned misses");
    return info.Env().Undefined();
  }
  core_->resolve();
  return info.Env().Undefined();
}

Napi::Value CoreWrap::close(const Napi::CallbackInfo& info) {
  release();
  return info.Env().Undefined();
}

Napi::Value CoreWrap::read_connections(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (!usable(env)) return env.Undefined();
  if (info.Length() != 3 || !info[1].IsTypedArray() || !info[2].IsTypedArray()) {
    throw_coded(env, "ERR_ARGUMENT", "readConnections(cursor, rows, next)");
    return env.Undefined();
  }
  auto rows = info[1].As<Napi::Uint8Array>();
  auto next = info[2].As<Napi::Uint32Array>();
  const auto most = static_cast<uint32_t>(rows.ByteLength() / sizeof(ConnectionRowRecord));
  if (next.ElementLength() < 1 || most == 0) {
    throw_coded(env, "ERR_ARGUMENT", "rows or next is too short");
    return env.Undefined();
  }
  auto cursor = static_cast<uint32_t>(number_of(info[0]));
  const uint32_t count = uvs::read_connections(
      *core_, &cursor, reinterpret_cast<ConnectionRowRecord*>(rows.Data()), most, kListBudget);
  next.Data()[0] = cursor;
  return Napi::Number::New(env, count);
}

Napi::Value CoreWrap::expire_connections(const Napi::CallbackInfo& info) {
  if (!usable(info.Env())) return info.Env().Undefined();
  ConnTable& table = core_->table();
  const auto slot = static_cast<int32_t>(number_of(info[0]));
  uint32_t ended = 0;
  for (uint32_t id = 0; id < table.high_water(); id++) {
    if (!table.live(id) || (slot >= 0 && table.at(id).destination_slot != slot)) continue;
    // A master ends with the last of its slaves.
    if (core_->tracker().has_slaves(table.at(id))) continue;
    const uint32_t before = table.size();
    core_->tracker().end_chain(id);
    ended += before - table.size();
  }
  return Napi::Number::New(info.Env(), ended);
}

Napi::Value CoreWrap::set_time(const Napi::CallbackInfo& info) {
  manual_clock_.us = static_cast<uint64_t>(number_of(info[0]));
  return info.Env().Undefined();
}

Napi::Value CoreWrap::inject(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (!usable(env)) return env.Undefined();
  if (memory_port_ == nullptr || !info[0].IsArray()) {
    throw_coded(env, "ERR_ARGUMENT", "inject(frames) needs a memory port and an array");
    return env.Undefined();
  }
  const auto frames = info[0].As<Napi::Array>();
  for (uint32_t i = 0; i < frames.Length(); i++) {
    if (!frames.Get(i).IsTypedArray()) {
      throw_coded(env, "ERR_ARGUMENT", "a frame is a Uint8Array");
      return env.Undefined();
    }
    const auto frame = frames.Get(i).As<Napi::Uint8Array>();
    if (!memory_port_->inject(frame.Data(), static_cast<uint32_t>(frame.ByteLength()))) {
      throw_coded(env, "ERR_ARGUMENT", "a frame is longer than any frame can be");
      return env.Undefined();
    }
  }
  return env.Undefined();
}

Napi::Value CoreWrap::collect(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (!usable(env)) return env.Undefined();
  Napi::Array out = Napi::Array::New(env);
  if (memory_port_ == nullptr) return out;
  uint32_t count = 0;
  for (const SentFrame& sent : memory_port_->take_sent()) {
    Napi::Uint8Array copy = Napi::Uint8Array::New(env, sent.bytes.size());
    std::memcpy(copy.Data(), sent.bytes.data(), sent.bytes.size());
    out.Set(count++, copy);
  }
  return out;
}

Napi::Value CoreWrap::generate(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (!usable(env)) return env.Undefined();
  if (generator_port_ == nullptr || info.Length() != 5) {
    throw_coded(env, "ERR_ARGUMENT", "generate(count, first, flows, stride, tcpFlags)");
    return env.Undefined();
  }
  const auto number = [&](size_t i) { return static_cast<uint32_t>(number_of(info[i])); };
  generator_port_->arm(static_cast<uint64_t>(number_of(info[0])), number(1), number(2), number(3),
                       static_cast<uint8_t>(number(4)));
  return env.Undefined();
}

Napi::Value CoreWrap::replayed(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (!usable(env)) return env.Undefined();
  if (replay_port_ == nullptr) {
    throw_coded(env, "ERR_ARGUMENT", "replayed() needs a replay port");
    return env.Undefined();
  }
  // Time goes ahead to the next packet, so that timers act as they would have.
  const uint64_t us = replay_port_->next_ns() / 1000;
  if (us > manual_clock_.us) manual_clock_.us = us;
  if (!replay_port_->at_end()) return Napi::Boolean::New(env, false);
  IoError error;
  if (!replay_port_->finish(&error)) throw_coded(env, error.code.c_str(), error.sentence);
  return Napi::Boolean::New(env, true);
}

}  // namespace uvs
