// The Node-API face of raw_socket.h: checks arguments, throws IoError as coded errors, and lets
// libuv tell TypeScript when there is something to do. Control protocols only, never packets that
// are forwarded.
#include "raw_socket_wrap.h"

#include <uv.h>

#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "core_wrap_args.h"
#include "io/raw_socket.h"
#include "limits.h"

namespace uvs {
namespace {

void throw_failure(Napi::Env env, const IoError& failure) {
  Napi::Error error = Napi::Error::New(env, failure.sentence);
  error.Set("code", Napi::String::New(env, failure.code));
  error.ThrowAsJavaScriptException();
}

std::string text(const Napi::Object& options, const char* name) {
  const Napi::Value value = options.Get(name);
  return value.IsString() ? value.As<Napi::String>().Utf8Value() : std::string();
}

UniqueFd open_kind(const Napi::Object& options, IoError* error) {
  const std::string kind = text(options, "kind");
  if (kind == "netlink") return open_netlink(options.Get("protocol").ToNumber(), error);
  if (kind == "listen") {
    return open_listener(text(options, "path"), options.Get("mode").ToNumber().Uint32Value(),
                         error);
  }
  if (kind == "connect") return open_connection(text(options, "path"), error);
  if (kind == "packet") return open_packet(text(options, "interface"), error);
  *error = refusal("ERR_ARGUMENT", "kind must be netlink, listen, connect or packet");
  return UniqueFd();
}

class RawSocketWrap : public Napi::ObjectWrap<RawSocketWrap> {
 public:
  static Napi::Function define(Napi::Env env) {
    return DefineClass(env, "RawSocket",
                       {
                           InstanceMethod<&RawSocketWrap::receive>("receive"),
                           InstanceMethod<&RawSocketWrap::send>("send"),
                           InstanceMethod<&RawSocketWrap::on_readable>("onReadable"),
                           InstanceMethod<&RawSocketWrap::on_writable>("onWritable"),
                           InstanceMethod<&RawSocketWrap::accept>("accept"),
                           InstanceMethod<&RawSocketWrap::cookie>("namespaceCookie"),
                           InstanceMethod<&RawSocketWrap::close>("close"),
                       });
  }

  explicit RawSocketWrap(const Napi::CallbackInfo& info) : Napi::ObjectWrap<RawSocketWrap>(info) {
    // An accepted client's descriptor comes from accept() below, which JavaScript cannot forge.
    if (info.Length() == 1 && info[0].IsExternal()) {
      fd_ = std::move(*info[0].As<Napi::External<UniqueFd>>().Data());
      return;
    }
    if (info.Length() != 1 || !info[0].IsObject()) {
      throw_coded(info.Env(), "ERR_ARGUMENT", "RawSocket takes one options object");
      return;
    }
    IoError failure;
    fd_ = open_kind(info[0].As<Napi::Object>(), &failure);
    if (failure.failed()) throw_failure(info.Env(), failure);
  }

  ~RawSocketWrap() override { release(); }

 private:
  // libuv frees a handle only in a later turn of its loop, so it outlives this object.
  struct Poll {
    uv_poll_t handle;
    RawSocketWrap* owner;
  };

  bool usable(Napi::Env env) const {
    if (fd_.open()) return true;
    throw_coded(env, "ERR_CLOSED", "the socket is closed");
    return false;
  }

  Napi::Value receive(const Napi::CallbackInfo& info) {
    const Napi::Env env = info.Env();
    if (!usable(env)) return env.Undefined();
    IoError failure;
    std::vector<uint8_t> message;
    const Transfer done = receive_message(fd_.get(), &message, &failure);
    if (done == Transfer::kFailed) throw_failure(env, failure);
    if (done != Transfer::kDone) return env.Undefined();
    auto bytes = Napi::Uint8Array::New(env, message.size());
    if (!message.empty()) memcpy(bytes.Data(), message.data(), message.size());
    return bytes;
  }

  Napi::Value send(const Napi::CallbackInfo& info) {
    const Napi::Env env = info.Env();
    if (!usable(env)) return env.Undefined();
    if (info.Length() != 1 || !info[0].IsTypedArray()) {
      throw_coded(env, "ERR_ARGUMENT", "send takes a Uint8Array");
      return env.Undefined();
    }
    const auto bytes = info[0].As<Napi::Uint8Array>();
    if (bytes.ByteLength() > kRawMessageBytesMax) {
      throw_coded(env, "ERR_MESSAGE", "the message is too long");
      return env.Undefined();
    }
    IoError failure;
    const Transfer done = send_message(fd_.get(), bytes.Data(), bytes.ByteLength(), &failure);
    if (done == Transfer::kFailed) throw_failure(env, failure);
    return Napi::Boolean::New(env, done == Transfer::kDone);
  }

  Napi::Value on_readable(const Napi::CallbackInfo& info) { return listen(info, &readable_); }
  Napi::Value on_writable(const Napi::CallbackInfo& info) { return listen(info, &writable_); }

  Napi::Value listen(const Napi::CallbackInfo& info, Napi::FunctionReference* listener) {
    const Napi::Env env = info.Env();
    if (!usable(env)) return env.Undefined();
    if (info.Length() == 1 && info[0].IsFunction()) {
      *listener = Napi::Persistent(info[0].As<Napi::Function>());
    } else {
      listener->Reset();
    }
    follow(env);
    return env.Undefined();
  }

  // Polls for what somebody listens to; a socket that nobody listens to keeps no program alive.
  void follow(Napi::Env env) {
    const int events =
        (readable_.IsEmpty() ? 0 : UV_READABLE) | (writable_.IsEmpty() ? 0 : UV_WRITABLE);
    if (poll_ == nullptr) {
      if (events == 0) return;
      uv_loop_t* loop = nullptr;
      napi_get_uv_event_loop(env, &loop);
      poll_ = new Poll{{}, this};
      if (uv_poll_init(loop, &poll_->handle, fd_.get()) != 0) {
        delete std::exchange(poll_, nullptr);
        throw_coded(env, "ERR_POLL", "the descriptor cannot be polled");
        return;
      }
      poll_->handle.data = poll_;
    }
    if (events == 0) {
      uv_poll_stop(&poll_->handle);
    } else {
      uv_poll_start(&poll_->handle, events, &RawSocketWrap::ready);
    }
  }

  // An error of the descriptor (status) shows itself at the next receive() or send().
  static void ready(uv_poll_t* handle, int status, int events) {
    RawSocketWrap* self = static_cast<Poll*>(handle->data)->owner;
    if (status != 0) events = UV_READABLE | UV_WRITABLE;
    const Napi::Env env = self->Env();
    const Napi::HandleScope scope(env);
    const Napi::Object keep = self->Value();  // a listener may drop the last reference
    if (events & UV_READABLE) self->tell(env, keep, self->readable_);
    if (self->poll_ != nullptr && (events & UV_WRITABLE)) self->tell(env, keep, self->writable_);
  }

  void tell(Napi::Env env, const Napi::Object& self, const Napi::FunctionReference& listener) {
    if (listener.IsEmpty()) return;
    listener.Value().MakeCallback(self, 0, nullptr);
    if (!env.IsExceptionPending()) return;
    // Outside any JavaScript: it becomes an uncaught exception, as a throwing event handler's does.
    const Napi::Error error = env.GetAndClearPendingException();
    napi_fatal_exception(env, error.Value());
  }

  Napi::Value accept(const Napi::CallbackInfo& info) {
    const Napi::Env env = info.Env();
    if (!usable(env)) return env.Undefined();
    IoError failure;
    Client client;
    const Transfer done = accept_client(fd_.get(), &client, &failure);
    if (done == Transfer::kFailed) throw_failure(env, failure);
    if (done != Transfer::kDone) return env.Undefined();
    const auto constructor = Value().Get("constructor").As<Napi::Function>();
    const Napi::Object socket = constructor.New({Napi::External<UniqueFd>::New(env, &client.fd)});
    auto accepted = Napi::Object::New(env);
    accepted.Set("socket", socket);
    accepted.Set("pid", Napi::Number::New(env, client.pid));
    accepted.Set("uid", Napi::Number::New(env, client.uid));
    accepted.Set("gid", Napi::Number::New(env, client.gid));
    return accepted;
  }

  Napi::Value cookie(const Napi::CallbackInfo& info) {
    const Napi::Env env = info.Env();
    if (!usable(env)) return env.Undefined();
    return Napi::BigInt::New(env, namespace_cookie(fd_.get()));
  }

  Napi::Value close(const Napi::CallbackInfo& info) {
    readable_.Reset();
    writable_.Reset();
    release();
    return info.Env().Undefined();
  }

  // libuv must let go of the descriptor before it is closed: its number may come again at once.
  void release() {
    if (poll_ != nullptr) {
      uv_close(reinterpret_cast<uv_handle_t*>(&poll_->handle),
               [](uv_handle_t* handle) { delete static_cast<Poll*>(handle->data); });
      poll_ = nullptr;
    }
    fd_.reset();
  }

  UniqueFd fd_;
  Poll* poll_ = nullptr;
  Napi::FunctionReference readable_;
  Napi::FunctionReference writable_;
};

}  // namespace

Napi::Object register_raw_socket(Napi::Env env, Napi::Object exports) {
  exports.Set("RawSocket", RawSocketWrap::define(env));
  return exports;
}

}  // namespace uvs
