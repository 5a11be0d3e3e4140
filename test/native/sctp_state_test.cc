// SCTP states: every cell and every timeout of spec 3.6.2, and the chunk that decides.
#include "conn/sctp_state.h"

#include <map>
#include <set>

#include "check.h"
#include "parse/sctp.h"
#include "spec_states.h"

namespace uvs {
namespace {

// Chunk types by the event that spec 3.6.2 gives them.
const std::map<std::string, std::vector<uint8_t>> kChunks = {
    {"d", {0, 3, 4, 5, 12, 13, 15, 64, 128, 192, 255}},
    {"i", {1}},
    {"i_a", {2}},
    {"c_e", {10}},
    {"c_a", {11}},
    {"s", {7}},
    {"s_a", {8}},
    {"s_c", {14}},
    {"err", {9}},
    {"ab", {6}},
};

TEST(every_cell_is_as_written) {
  std::set<std::string> seen;
  for (const spec::Cell& cell : spec::cells(spec::kSctp)) {
    for (const uint8_t chunk : kChunks.at(cell.event)) {
      const uint8_t next = sctp_next_state(cell.state, chunk, static_cast<TcpRows>(cell.rows));
      CHECK_EQ(next, cell.next);
      if (next != cell.next) {
        std::printf("# rows %u, %s in %u\n", cell.rows, cell.event.c_str(), cell.state);
      }
    }
    seen.insert(std::to_string(cell.rows) + cell.event + "/" + std::to_string(cell.state));
  }
  CHECK_EQ(seen.size(), size_t{3 * 10 * 14});
}

TEST(timeouts) {
  const uint32_t seconds[] = {2, 4, 61, 61, 61, 61, 61, 61, 900, 61, 61, 61, 4, 61};
  CHECK_EQ(std::size(seconds), size_t{kSctpStates});
  for (uint8_t state = 0; state < kSctpStates; state++) {
    CHECK_EQ(sctp_timeout_sec(state), seconds[state]);
    CHECK_EQ(sctp_is_active(state), state == 8);
  }
}

struct Walk {
  uint8_t chunk;
  TcpRows rows;
  uint8_t expected;
};

void walk(std::initializer_list<Walk> steps) {
  uint8_t state = kSctpNone;
  for (const Walk& step : steps) {
    state = sctp_next_state(state, step.chunk, step.rows);
    CHECK_EQ(state, step.expected);
  }
}

// RFC 9260 5.1 and 9.2 as a director in the middle, or only on the way in, sees them.
TEST(walks) {
  constexpr TcpRows kIn = TcpRows::kInput, kOut = TcpRows::kOutput, kOnly = TcpRows::kInputOnly;
  walk({{1, kIn, kSctpInit1},
        {2, kOut, kSctpCookieSent},
        {10, kIn, kSctpCookieReplied},
        {11, kOut, kSctpEstablished},
        {0, kIn, kSctpEstablished},
        {7, kIn, kSctpShutdownReceived},
        {8, kOut, kSctpShutdownAckSent},
        {14, kIn, kSctpClosed}});
  walk({{1, kOnly, kSctpInit1},
        {10, kOnly, kSctpEstablished},
        {7, kOnly, kSctpShutdownReceived},
        {14, kOnly, kSctpClosed},
        {1, kOnly, kSctpInit}});
}

// A packet of the given chunks, each with its type and length field; `tail` bytes more.
std::vector<uint8_t> packet(std::initializer_list<std::pair<uint8_t, uint16_t>> chunks,
                            size_t tail = 0) {
  std::vector<uint8_t> bytes(kSctpBytes, 0);
  for (const auto& [type, length] : chunks) {
    const size_t at = bytes.size();
    bytes.resize(at + (length < kSctpChunkBytes ? kSctpChunkBytes : (length + 3u) & ~3u));
    bytes[at] = type;
    store16(&bytes[at + 2], Be16::of(length));
  }
  bytes.resize(bytes.size() + tail);
  return bytes;
}

uint8_t decides(const std::vector<uint8_t>& bytes, size_t length) {
  // Memory of its own, so that the sanitizer sees what is read behind it.
  const std::vector<uint8_t> exact(bytes.begin(), bytes.begin() + static_cast<long>(length));
  return Sctp(exact.data()).deciding_chunk(static_cast<uint32_t>(exact.size()));
}
uint8_t decides(const std::vector<uint8_t>& bytes) { return decides(bytes, bytes.size()); }

TEST(an_abort_behind_a_cookie_decides) {
  for (const uint8_t cookie : {kChunkCookieEcho, kChunkCookieAck}) {
    CHECK_EQ(decides(packet({{cookie, 4}, {kChunkAbort, 4}})), kChunkAbort);
    CHECK_EQ(decides(packet({{cookie, 13}, {kChunkAbort, 4}})), kChunkAbort);
    CHECK_EQ(decides(packet({{cookie, 4}, {0, 20}, {kChunkAbort, 4}})), cookie);
    CHECK_EQ(decides(packet({{cookie, 4}})), cookie);
    // Lengths that no chunk can have, or that lead outside.
    CHECK_EQ(decides(packet({{cookie, 3}, {kChunkAbort, 4}})), cookie);
    CHECK_EQ(decides(packet({{cookie, 0}, {kChunkAbort, 4}})), cookie);
    const std::vector<uint8_t> cut = packet({{cookie, 8}, {kChunkAbort, 4}});
    CHECK_EQ(decides(cut, cut.size() - 1), cookie);
    std::vector<uint8_t> beyond = packet({{cookie, 4}, {kChunkAbort, 4}});
    store16(&beyond[kSctpBytes + 2], Be16::of(0xffff));
    CHECK_EQ(decides(beyond), cookie);
  }
  CHECK_EQ(decides(packet({{0, 20}, {kChunkAbort, 4}})), 0);
  CHECK_EQ(decides(packet({{kChunkInit, 20}, {kChunkAbort, 4}})), kChunkInit);
}

}  // namespace
}  // namespace uvs
