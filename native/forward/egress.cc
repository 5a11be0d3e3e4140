// In: rewritten packets and the next hop they go to. Does: link header, queue, send, answer.
// Next: the port.
#include "forward/egress.h"

#include <cassert>
#include <cerrno>

#include "forward/tcp_reset.h"
#include "parse/icmp.h"

namespace uvs {

Egress::Egress(std::span<const std::unique_ptr<Port>> ports, NextHops& hops, Counters& counters)
    : ports_(ports),
      hops_(hops),
      counters_(counters),
      queues_(ports.size()),
      arenas_{Arena(kScratchSegments), Arena(kScratchFragments), Arena(kScratchAnswers)} {}

Egress::Arena::Arena(uint32_t count)
    : memory(new uint8_t[size_t{count} * kFrameSlotBytes]), frames(count) {}

bool Egress::send(Frame frame, uint32_t l3, uint8_t family, uint16_t slot, uint32_t now_ms) {
  const NextHop& hop = hops_.at(slot);
  if (hop.state == HopState::kReady || hop.state == HopState::kLocal) [[likely]] {
    hops_.touch(slot, now_ms);
    put_link(frame, l3, hop, family);
    enqueue(hop.port, frame);
    return true;
  }
  if (hop.state == HopState::kUnreachable) return false;
  NextHop bare{};
  put_link(frame, l3, bare, family);
  if (!hops_.park(slot, frame, now_ms)) counters_.count(Reason::kNeighbourQueueFull);
  return true;
}

void Egress::enqueue(uint16_t port, const Frame& frame) {
  Queue& queue = queues_[port];
  if (queue.count == kQueue) flush_port(port);
  queue.frames_waiting[queue.count++] = frame;
}

Frame* Egress::scratch(Scratch kind, uint32_t count) {
  Arena& arena = arenas_[static_cast<uint8_t>(kind)];
  assert(count <= arena.frames.size());
  if (arena.used + count > arena.frames.size()) {
    send_queues();
    arena.used = 0;
  }
  Frame* first = &arena.frames[arena.used];
  for (uint32_t i = 0; i < count; i++) {
    first[i] = Frame{};
    first[i].data = &arena.memory[size_t{arena.used + i} * kFrameSlotBytes] + kHeadroom;
    first[i].headroom = kHeadroom;
  }
  arena.used += count;
  return first;
}

void Egress::flush_port(uint16_t port) {
  Queue& queue = queues_[port];
  uint32_t done = 0;
  while (done < queue.count) {
    int error = 0;
    const uint32_t sent =
        ports_[port]->tx_burst(queue.frames_waiting + done, queue.count - done, &error);
    for (uint32_t i = done; i < done + sent; i++)
      queue.sent.bytes += queue.frames_waiting[i].length;
    queue.sent.frames += sent;
    done += sent;
    if (done == queue.count) break;
    if (error == EAGAIN || error == ENOBUFS) {
      counters_.count(Reason::kTxFull, queue.count - done);
      break;
    }
    counters_.count(Reason::kTxError);  // this one frame; the others may be good
    done++;
  }
  queue.count = 0;
}

void Egress::send_queues() {
  for (uint16_t port = 0; port < queues_.size(); port++) {
    if (queues_[port].count != 0) flush_port(port);
  }
}

void Egress::flush() {
  send_queues();
  for (Arena& arena : arenas_) arena.used = 0;
}

bool Egress::allow(Answer kind, uint32_t now_ms) {
  Bucket& bucket = buckets_[static_cast<uint8_t>(kind)];
  const uint64_t earned = uint64_t{now_ms - bucket.filled_ms} * kAnswersPerSec / 1000;
  if (earned > 0) {
    const uint64_t tokens = earned + bucket.tokens;
    bucket.tokens = static_cast<uint32_t>(tokens > kAnswersBurst ? kAnswersBurst : tokens);
    bucket.filled_ms = now_ms;
  }
  if (bucket.tokens == 0) {
    counters_.count(Reason::kIcmpLimited);
    return false;
  }
  bucket.tokens--;
  return true;
}

void Egress::answer_frame(Frame* frame, const Addr& to, uint32_t now_ms) {
  const uint16_t slot = hops_.find(to, now_ms);
  if (!send(*frame, 0, to.is_v4() ? 4 : 6, slot, now_ms)) counters_.count(Reason::kNoRoute);
}

Frame* Egress::build_answer(const Packet& packet, IcmpError error, uint32_t mtu, const Addr& local,
                            uint32_t now_ms) {
  const bool too_big = error == IcmpError::kPacketTooBig;
  if (!allow(too_big ? Answer::kTooBig : Answer::kOther, now_ms)) return nullptr;
  Frame* frame = scratch(Scratch::kAnswers, 1);
  const bool built = build_icmp_error(packet, error, mtu, local, next_answer_id(), frame);
  return built ? frame : nullptr;
}

uint32_t Egress::answer(const Packet& packet, IcmpError error, uint32_t mtu, const Addr& local,
                        uint32_t now_ms) {
  Frame* frame = build_answer(packet, error, mtu, local, now_ms);
  if (frame == nullptr) return 0;
  const uint32_t bytes = frame->length;
  answer_frame(frame, packet.key.source, now_ms);
  return bytes;
}

uint32_t Egress::relay(const Packet& packet, const IcmpWords& words, const Addr& local,
                       uint32_t now_ms) {
  const bool too_big = words.type == kIcmpUnreachable && words.code == kIcmpFragmentationNeeded;
  if (!allow(too_big ? Answer::kTooBig : Answer::kOther, now_ms)) return 0;
  Frame* frame = scratch(Scratch::kAnswers, 1);
  if (!build_icmp_relay(packet, words, local, ++answer_id_, frame)) return 0;
  const uint32_t bytes = frame->length;
  answer_frame(frame, packet.key.source, now_ms);
  return bytes;
}

void Egress::reset(const Packet& packet, uint32_t now_ms) {
  if (packet.tcp_flags & kTcpRst || !allow(Answer::kReset, now_ms)) return;
  Frame* frame = scratch(Scratch::kAnswers, 1);
  build_tcp_reset(packet, frame);
  answer_frame(frame, packet.key.source, now_ms);
}

}  // namespace uvs
