// Fragments into a core in memory, and what comes out put together again.
#pragma once
#include "core_world.h"
#include "fragment_text.h"

namespace uvs::test {

// `text` with a long payload, free to be fragmented.
inline Text Long(Text text, size_t bytes = 4000) {
  text.payload.clear();
  for (size_t i = 0; i < bytes; i++) text.payload.push_back(static_cast<uint8_t>(i * 13 + i / 256));
  if (!text.six()) text.fragment = 0;
  return text;
}

inline Bytes Framed(const Bytes& ip) {
  Bytes frame = Hex("020000000002 020000000001");
  Put16(frame, ip[0] >> 4 == 6 ? 0x86dd : 0x0800);
  PutAll(frame, ip);
  return frame;
}

inline void Inject(rig::CoreRig& rig, uint32_t port, const std::vector<Bytes>& packets) {
  for (const Bytes& ip : packets) {
    const Bytes frame = Framed(ip);
    rig.port(port).inject(frame.data(), static_cast<uint32_t>(frame.size()));
  }
}

// Sends IP packets through; misses get the world's verdict.
inline std::vector<Sent> PassAll(World& world, const std::vector<Bytes>& packets,
                                 uint32_t port = 0) {
  Inject(world.rig, port, packets);
  world.misses = world.rig.run([&](const MissRecord&) { return world.verdict; });
  return world.Taken();
}

inline std::vector<Bytes> IpOfAll(const std::vector<Sent>& sent) {
  std::vector<Bytes> out;
  for (const Sent& each : sent) out.push_back(each.ip);
  return out;
}

// What comes out, put together again; of a tunnel what it carries.
inline Bytes Datagram(const std::vector<Sent>& sent, bool tunnel) {
  const std::optional<Bytes> whole = Joined(IpOfAll(sent));
  if (!CHECK(whole.has_value())) return {};
  CHECK_EQ(WrongIn(*whole), "");
  if (!tunnel) return *whole;
  const size_t outer = RepeatedBytes(*whole);
  return Part(*whole, outer, whole->size() - outer);
}

}  // namespace uvs::test
