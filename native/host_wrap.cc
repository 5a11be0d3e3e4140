// In: a question of TypeScript's. Does: asks the kernel for its links and addresses and makes
// values of the answers. Next: src/control/host/interfaces.ts.
#include "host_wrap.h"

#include <arpa/inet.h>

#include <map>
#include <memory>
#include <vector>

#include "core_wrap_args.h"
#include "io/io_error.h"
#include "io/rtnetlink.h"
#include "limits.h"

namespace uvs {
namespace {

// By kernel order; what an address belongs to is found by its index.
struct Interfaces {
  std::vector<LinkInfo> links;
  std::multimap<uint32_t, AddressInfo> addresses;  // by ifindex, in kernel order
};

RtStatus read_once(RtSocket* socket, Interfaces* out) {
  const auto add_link = [](void* at, const LinkInfo& link) {
    static_cast<Interfaces*>(at)->links.push_back(link);
  };
  const auto add_address = [](void* at, const AddressInfo& address) {
    static_cast<Interfaces*>(at)->addresses.emplace(address.ifindex, address);
  };
  *out = Interfaces{};
  if (const RtStatus status = socket->links(add_link, out); !status.ok()) return status;
  return socket->addresses(add_address, out);
}

// A change while the kernel lists makes a list of two states: such a one is read again.
RtStatus read_interfaces(Interfaces* out) {
  const auto socket = std::make_unique<RtSocket>();
  RtStatus status = socket->open_requests();
  if (!status.ok()) return status;
  for (uint32_t i = 0; i < kDumpAttempts; i++) {
    status = read_once(socket.get(), out);
    if (status.code != RtCode::kInterrupted) break;
  }
  return status;
}

Napi::Object address_value(Napi::Env env, const AddressInfo& address) {
  char text[INET6_ADDRSTRLEN] = "";
  const bool v4 = address.address.is_v4();
  const uint8_t* bytes = address.address.bytes + (v4 ? 12 : 0);
  inet_ntop(v4 ? AF_INET : AF_INET6, bytes, text, sizeof text);
  auto value = Napi::Object::New(env);
  value.Set("text", Napi::String::New(env, text));
  value.Set("prefixBits", Napi::Number::New(env, address.prefix_bits));
  return value;
}

Napi::Object interface_value(Napi::Env env, const LinkInfo& link, const Interfaces& all) {
  auto addresses = Napi::Array::New(env);
  const auto [first, end] = all.addresses.equal_range(link.ifindex);
  for (auto at = first; at != end; ++at) {
    addresses.Set(addresses.Length(), address_value(env, at->second));
  }
  auto value = Napi::Object::New(env);
  value.Set("ifindex", Napi::Number::New(env, link.ifindex));
  value.Set("name", Napi::String::New(env, link.name));
  value.Set("up", Napi::Boolean::New(env, link.up));
  value.Set("mtu", Napi::Number::New(env, link.mtu));
  value.Set("isTunnel", Napi::Boolean::New(env, link.tunnel));
  value.Set("addresses", addresses);
  return value;
}

Napi::Value host_interfaces(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  Interfaces all;
  const RtStatus status = read_interfaces(&all);
  if (!status.ok()) {
    const IoError failure = status.error != 0
                                ? system_error(status.error, "netlink", "the list of interfaces")
                                : refusal("ERR_NETLINK", rt_text(status.code));
    throw_coded(env, failure.code.c_str(), failure.sentence);
    return env.Undefined();
  }
  auto values = Napi::Array::New(env, all.links.size());
  for (uint32_t i = 0; i < all.links.size(); i++) {
    values.Set(i, interface_value(env, all.links[i], all));
  }
  return values;
}

}  // namespace

void register_host(Napi::Env env, Napi::Object exports) {
  exports.Set("hostInterfaces", Napi::Function::New(env, host_interfaces));
}

}  // namespace uvs
