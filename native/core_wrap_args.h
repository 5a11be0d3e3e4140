// Argument checks of the Node-API edge: numbers in range, typed arrays of the right size and
// alignment, coded errors.
#pragma once
#include <napi.h>

#include <cstdint>
#include <string>
#include <vector>

namespace uvs {

// Throws a JavaScript Error with `code`.
inline void throw_coded(Napi::Env env, const char* code, const std::string& message) {
  if (env.IsExceptionPending()) return;
  Napi::Error error = Napi::Error::New(env, message);
  error.Set("code", Napi::String::New(env, code));
  error.ThrowAsJavaScriptException();
}

// A number that TypeScript passes; 0 where it is none. Unlike ToNumber() it runs no JavaScript, so
// it cannot fail in a thread that is being terminated, where node-addon-api ends the process.
inline double number_of(const Napi::Value& value) {
  double number = 0;
  napi_get_value_double(value.Env(), value, &number);
  return number;
}

// Reads properties of an options object; after the first fault `ok()` is false and a JavaScript
// exception is pending. Borrowed typed arrays are kept alive in `keep`.
class Borrower {
 public:
  Borrower(const Napi::Object& options, std::vector<Napi::ObjectReference>* keep)
      : options_(options), keep_(keep) {}

  bool ok() const { return ok_; }

  // Integer property in [least, most]; 0 after a fault.
  uint32_t number(const char* name, uint32_t least, uint32_t most) {
    const Napi::Value value = options_.Get(name);
    if (value.IsNumber()) {
      const double wanted = value.As<Napi::Number>().DoubleValue();
      if (wanted >= least && wanted <= most && wanted == static_cast<uint32_t>(wanted)) {
        return static_cast<uint32_t>(wanted);
      }
    }
    fail(std::string(name) + " must be an integer from " + std::to_string(least) + " to " +
         std::to_string(most));
    return 0;
  }

  // Typed array property of at least `least` records; `*count` is how many it holds. Null after a
  // fault. Blocks come from SharedArrayBuffers, so the address is the same in every thread.
  template <typename T>
  T* block(const char* name, size_t least, uint32_t* count = nullptr) {
    const Napi::Value value = options_.Get(name);
    if (!value.IsTypedArray()) {
      fail(std::string(name) + " must be a typed array");
      return nullptr;
    }
    const auto array = value.As<Napi::TypedArray>();
    void* data = nullptr;
    size_t length = 0;
    size_t offset = 0;
    napi_typedarray_type type{};
    napi_value buffer{};
    napi_get_typedarray_info(options_.Env(), array, &type, &length, &data, &buffer, &offset);
    const size_t records = array.ByteLength() / sizeof(T);
    if (records < least) {
      fail(std::string(name) + " is shorter than " + std::to_string(least * sizeof(T)) + " bytes");
      return nullptr;
    }
    if (reinterpret_cast<uintptr_t>(data) % alignof(T) != 0) {
      fail(std::string(name) + " is not aligned");
      return nullptr;
    }
    keep_->push_back(Napi::Persistent(array.As<Napi::Object>()));
    if (count != nullptr) *count = static_cast<uint32_t>(records);
    return static_cast<T*>(data);
  }

 private:
  void fail(const std::string& message) {
    ok_ = false;
    throw_coded(options_.Env(), "ERR_ARGUMENT", message);
  }
  Napi::Object options_;
  std::vector<Napi::ObjectReference>* keep_;
  bool ok_ = true;
};

}  // namespace uvs
