// The Node-API face of PortSet. Runs on the main thread, never per packet. Checks arguments, turns
// IoError into a JavaScript Error with code, errno, syscall and message; nothing else.
#include "io_wrap.h"

#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "classify/mark_rules.h"
#include "io/port_set.h"

namespace uvs {
namespace {

void throw_io_error(Napi::Env env, const IoError& failure) {
  Napi::Error error = Napi::Error::New(env, failure.sentence);
  error.Set("code", Napi::String::New(env, failure.code));
  if (failure.number != 0) {
    error.Set("errno", Napi::Number::New(env, failure.number));
    error.Set("syscall", Napi::String::New(env, failure.syscall));
  }
  error.ThrowAsJavaScriptException();
}

void throw_argument(Napi::Env env, const char* sentence) {
  throw_io_error(env, refusal("ERR_ARGUMENT", sentence));
}

// An array of strings; false with an exception pending otherwise.
bool read_names(const Napi::Value& value, std::vector<std::string>* names) {
  const Napi::Env env = value.Env();
  if (!value.IsArray()) {
    throw_argument(env, "interfaces must be an array of strings");
    return false;
  }
  const auto list = value.As<Napi::Array>();
  for (uint32_t i = 0; i < list.Length(); i++) {
    const Napi::Value item = list.Get(i);
    if (!item.IsString()) {
      throw_argument(env, "interfaces must be an array of strings");
      return false;
    }
    names->push_back(item.As<Napi::String>().Utf8Value());
  }
  return true;
}

bool read_number(const Napi::Value& value, uint32_t low, uint32_t high, const char* sentence,
                 uint32_t* number) {
  const double given = value.IsNumber() ? value.As<Napi::Number>().DoubleValue() : -1;
  if (!(given >= low && given <= high) || given != static_cast<uint32_t>(given)) {
    throw_argument(value.Env(), sentence);
    return false;
  }
  *number = static_cast<uint32_t>(given);
  return true;
}

bool read_options(const Napi::CallbackInfo& info, PortSetOptions* options) {
  const Napi::Env env = info.Env();
  if (info.Length() != 1 || !info[0].IsObject()) {
    throw_argument(env, "PortSet takes one options object");
    return false;
  }
  const auto given = info[0].As<Napi::Object>();
  const Napi::Value io = given.Get("io");
  const std::string kind = io.IsString() ? io.As<Napi::String>().Utf8Value() : "";
  if (kind != "af_packet" && kind != "tun") {
    throw_argument(env, "io must be 'af_packet' or 'tun'");
    return false;
  }
  options->kind = kind == "tun" ? PortKind::kTun : PortKind::kAfPacket;
  if (!given.Get("tunName").IsString()) {
    throw_argument(env, "tunName must be a string");
    return false;
  }
  options->tun_name = given.Get("tunName").As<Napi::String>().Utf8Value();
  options->host_port = given.Get("hostPort").IsUndefined() || given.Get("hostPort").ToBoolean();
  return read_names(given.Get("interfaces"), &options->interfaces) &&
         read_number(given.Get("workers"), 1, kMaxWorkers, "workers is out of range",
                     &options->workers) &&
         read_number(given.Get("ringFrames"), 1, kRingFramesMax, "ringFrames is out of range",
                     &options->ring_frames);
}

class PortSetWrap : public Napi::ObjectWrap<PortSetWrap> {
 public:
  static Napi::Function define(Napi::Env env) {
    return DefineClass(env, "PortSet",
                       {
                           InstanceMethod<&PortSetWrap::descriptors>("descriptors"),
                           InstanceMethod<&PortSetWrap::bells>("bells"),
                           InstanceMethod<&PortSetWrap::handovers>("handovers"),
                           InstanceMethod<&PortSetWrap::ring>("ring"),
                           InstanceMethod<&PortSetWrap::ifindexes>("ifindexes"),
                           InstanceMethod<&PortSetWrap::set_entries>("setEntries"),
                           InstanceMethod<&PortSetWrap::set_marked>("setMarked"),
                           InstanceMethod<&PortSetWrap::set_local_ports>("setLocalPorts"),
                           InstanceMethod<&PortSetWrap::set_ftp_data_first>("setFtpDataFirst"),
                           InstanceMethod<&PortSetWrap::attach_quiet>("attachQuiet"),
                           InstanceMethod<&PortSetWrap::detach_quiet>("detachQuiet"),
                           InstanceMethod<&PortSetWrap::close>("close"),
                       });
  }

  explicit PortSetWrap(const Napi::CallbackInfo& info) : Napi::ObjectWrap<PortSetWrap>(info) {
    PortSetOptions options;
    if (!read_options(info, &options)) return;
    IoError failure;
    ports_ = PortSet::open(options, &failure);
    if (ports_ == nullptr) throw_io_error(info.Env(), failure);
  }

 private:
  bool usable(Napi::Env env) {
    if (ports_ != nullptr) return true;
    throw_io_error(env, refusal("ERR_CLOSED", "the ports are closed"));
    return false;
  }

  Napi::Value descriptors(const Napi::CallbackInfo& info) {
    const Napi::Env env = info.Env();
    if (!usable(env)) return env.Undefined();
    const auto by_worker = Napi::Array::New(env, ports_->workers());
    for (uint32_t worker = 0; worker < ports_->workers(); worker++) {
      const auto by_port = Napi::Array::New(env, ports_->ports());
      for (uint32_t port = 0; port < ports_->ports(); port++) {
        by_port.Set(port, Napi::Number::New(env, ports_->descriptor(worker, port)));
      }
      by_worker.Set(worker, by_port);
    }
    return by_worker;
  }

  Napi::Value bells(const Napi::CallbackInfo& info) {
    const Napi::Env env = info.Env();
    if (!usable(env)) return env.Undefined();
    const auto list = Napi::Array::New(env, ports_->workers());
    for (uint32_t worker = 0; worker < ports_->workers(); worker++) {
      list.Set(worker, Napi::Number::New(env, ports_->bell(worker)));
    }
    return list;
  }

  Napi::Value handovers(const Napi::CallbackInfo& info) {
    const Napi::Env env = info.Env();
    if (!usable(env)) return env.Undefined();
    const auto list = Napi::Array::New(env, ports_->workers());
    for (uint32_t worker = 0; worker < ports_->workers(); worker++) {
      const auto pair = Napi::Object::New(env);
      pair.Set("receive", Napi::Number::New(env, ports_->handover_receive(worker)));
      pair.Set("send", Napi::Number::New(env, ports_->handover_send(worker)));
      list.Set(worker, pair);
    }
    return list;
  }

  void ring(const Napi::CallbackInfo& info) {
    uint32_t worker = 0;
    if (!usable(info.Env())) return;
    if (!read_number(info[0], 0, ports_->workers() - 1, "there is no such worker", &worker)) return;
    ports_->ring(worker);
  }

  // 0 for a port whose device is gone, as if_nametoindex(3) has it.
  Napi::Value ifindexes(const Napi::CallbackInfo& info) {
    const Napi::Env env = info.Env();
    if (!usable(env)) return env.Undefined();
    const auto list = Napi::Array::New(env, ports_->ports());
    for (uint32_t port = 0; port < ports_->ports(); port++) {
      const uint32_t index = ports_->lost(port) ? 0 : ports_->ifindexes()[port];
      list.Set(port, Napi::Number::New(env, index));
    }
    return list;
  }

  Napi::Value set_entries(const Napi::CallbackInfo& info) {
    const Napi::Env env = info.Env();
    if (!usable(env)) return env.Undefined();
    if (info.Length() != 1 || !info[0].IsTypedArray() ||
        info[0].As<Napi::TypedArray>().TypedArrayType() != napi_uint8_array ||
        info[0].As<Napi::TypedArray>().ByteLength() % sizeof(ClassifierEntry) != 0) {
      throw_argument(env, "setEntries(entries) takes a Uint8Array of 28-byte records");
      return env.Undefined();
    }
    // Copied: the array need not be aligned for the records.
    const auto bytes = info[0].As<Napi::Uint8Array>();
    std::vector<ClassifierEntry> entries(bytes.ByteLength() / sizeof(ClassifierEntry));
    if (!entries.empty()) std::memcpy(entries.data(), bytes.Data(), bytes.ByteLength());
    IoError failure;
    if (!ports_->classifier().set_entries(entries, &failure)) throw_io_error(env, failure);
    return env.Undefined();
  }

  // The records are those of a block that check_snapshot() accepts.
  Napi::Value set_marked(const Napi::CallbackInfo& info) {
    const Napi::Env env = info.Env();
    if (!usable(env)) return env.Undefined();
    if (info.Length() != 1 || !info[0].IsTypedArray() ||
        info[0].As<Napi::TypedArray>().TypedArrayType() != napi_uint8_array ||
        info[0].As<Napi::TypedArray>().ByteLength() % sizeof(MarkEndRecord) != 0) {
      throw_argument(env, "setMarked(ends) takes a Uint8Array of 24-byte records");
      return env.Undefined();
    }
    const auto bytes = info[0].As<Napi::Uint8Array>();
    std::vector<MarkEndRecord> ends(bytes.ByteLength() / sizeof(MarkEndRecord));
    if (!ends.empty()) std::memcpy(ends.data(), bytes.Data(), bytes.ByteLength());
    if (!MarkRules::ends_good(ends)) {
      throw_argument(env, "setMarked(ends): a record is out of range");
      return env.Undefined();
    }
    IoError failure;
    if (!ports_->classifier().set_marked(ends, &failure)) throw_io_error(env, failure);
    return env.Undefined();
  }

  Napi::Value set_local_ports(const Napi::CallbackInfo& info) {
    const Napi::Env env = info.Env();
    if (!usable(env)) return env.Undefined();
    constexpr const char* kUse = "setLocalPorts(first, last) takes two port numbers";
    uint32_t first = 0;
    uint32_t last = 0;
    if (!read_number(info[0], 0, UINT16_MAX, kUse, &first) ||
        !read_number(info[1], 0, UINT16_MAX, kUse, &last)) {
      return env.Undefined();
    }
    IoError failure;
    if (!ports_->classifier().set_local_ports(static_cast<uint16_t>(first),
                                              static_cast<uint16_t>(last), &failure)) {
      throw_io_error(env, failure);
    }
    return env.Undefined();
  }

  Napi::Value set_ftp_data_first(const Napi::CallbackInfo& info) {
    const Napi::Env env = info.Env();
    if (!usable(env)) return env.Undefined();
    constexpr const char* kUse = "setFtpDataFirst(port) takes a port number";
    uint32_t port = 0;
    if (!read_number(info[0], 0, UINT16_MAX, kUse, &port)) return env.Undefined();
    IoError failure;
    if (!ports_->classifier().set_ftp_data_first(static_cast<uint16_t>(port), &failure)) {
      throw_io_error(env, failure);
    }
    return env.Undefined();
  }

  Napi::Value attach_quiet(const Napi::CallbackInfo& info) {
    const Napi::Env env = info.Env();
    IoError failure;
    if (usable(env) && !ports_->attach_quiet(&failure)) throw_io_error(env, failure);
    return env.Undefined();
  }

  Napi::Value detach_quiet(const Napi::CallbackInfo& info) {
    const Napi::Env env = info.Env();
    IoError failure;
    if (usable(env) && !ports_->detach_quiet(&failure)) throw_io_error(env, failure);
    return env.Undefined();
  }

  Napi::Value close(const Napi::CallbackInfo& info) {
    ports_.reset();
    return info.Env().Undefined();
  }

  std::unique_ptr<PortSet> ports_;  // null: closed. Its destructor gives everything back
};

}  // namespace

Napi::Object register_io(Napi::Env env, Napi::Object exports) {
  exports.Set("PortSet", PortSetWrap::define(env));
  return exports;
}

}  // namespace uvs
