// In: a flow, a sequence number, a minute. Does: makes and checks cookies.
// Next: answer.cc sends them out, core_synproxy.cc asks about those that come back.
#include "synproxy/cookie.h"

#include <cstring>

namespace uvs {
namespace {

constexpr uint32_t kMinutes = 4;  // for so many a cookie is good
constexpr uint32_t kLow24 = 0xffffff;
constexpr uint32_t kMss[] = {64, 256, 512, 536, 1024, 1280, 1440, 1452, 1460, 4312};
constexpr uint32_t kMssCount = sizeof kMss / sizeof kMss[0];
static_assert(kMssCount <= 16);

constexpr uint32_t kMssBit = 12;
constexpr uint32_t kShiftBit = 16;
constexpr uint32_t kTimestampsBit = 20;
constexpr uint32_t kSackBit = 21;
constexpr uint32_t kAlwaysZero = 0xc00fff;
constexpr uint32_t kShiftMax = 14;  // RFC 7323 2.3

uint32_t hash(const SipKey& key, const FlowKey& flow, uint32_t minutes) {
  const uint64_t words[] = {
      flow.source.high(), flow.source.low(), flow.destination.high(), flow.destination.low(),
      flow.source_port.raw | uint64_t{flow.destination_port.raw} << 16 | uint64_t{minutes} << 32};
  return static_cast<uint32_t>(
      siphash24(key, reinterpret_cast<const uint8_t*>(words), sizeof words));
}

}  // namespace

CookieKeys cookie_keys(const SynproxyRecord& record) {
  CookieKeys keys;
  static_assert(sizeof keys == sizeof record.secret);
  std::memcpy(&keys, record.secret, sizeof keys);
  return keys;
}

uint32_t cookie_data(const HandshakeOptions& options) {
  uint32_t index = 0;
  while (index + 1 < kMssCount && kMss[index + 1] <= options.mss) index++;
  return index << kMssBit | uint32_t{options.shift} << kShiftBit |
         uint32_t{options.timestamps} << kTimestampsBit | uint32_t{options.sack} << kSackBit;
}

bool read_cookie_data(uint32_t data, HandshakeOptions* options) {
  const uint32_t index = data >> kMssBit & 15;
  const uint32_t shift = data >> kShiftBit & 15;
  if ((data & kAlwaysZero) != 0 || index >= kMssCount || shift > kShiftMax) return false;
  options->mss = static_cast<uint16_t>(kMss[index]);
  options->shift = static_cast<uint8_t>(shift);
  options->timestamps = (data >> kTimestampsBit & 1) != 0;
  options->sack = (data >> kSackBit & 1) != 0;
  return true;
}

uint32_t make_cookie(const CookieKeys& keys, const FlowKey& flow, uint32_t sequence,
                     uint32_t minutes, uint32_t data) {
  return hash(keys.base, flow, 0) + sequence + (minutes << 24) +
         ((hash(keys.minute, flow, minutes) + data) & kLow24);
}

bool check_cookie(const CookieKeys& keys, const FlowKey& flow, uint32_t sequence, uint32_t cookie,
                  uint32_t minutes, HandshakeOptions* options) {
  const uint32_t rest = cookie - hash(keys.base, flow, 0) - sequence;
  const uint32_t age = (minutes - (rest >> 24)) & 0xff;
  if (age >= kMinutes) return false;
  return read_cookie_data((rest - hash(keys.minute, flow, minutes - age)) & kLow24, options);
}

}  // namespace uvs
