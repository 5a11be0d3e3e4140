// In: nothing to do at the moment. Does: the clock, waiting, timers and everything else that is due
// now and then. Next: core.cc takes the next burst.
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cassert>
#include <cerrno>

#include "core.h"

namespace uvs {

void Core::read_clock() {
  now_us_ = clock_.now_us();
  if (now_us_ / 1000 == now_ms_) return;
  now_ms_ = now_us_ / 1000;
  shared::publish(memory_.words->now_ms, static_cast<uint32_t>(now_ms_));
  shared::publish(memory_.words->now_sec, static_cast<uint32_t>(now_ms_ / 1000));
}

// How long nothing but a packet, news or the bell needs this thread: work that a budget cut off
// goes on at once, timers want a look every tick.
uint32_t Core::idle_us() const {
  if (sweeping_ || draws_ != 0 || table_.wheel().now() != tick()) return 0;
  if (memory_.worker == 0 && announcer_.pending() != 0) return kAnnounceUs;
  return static_cast<uint32_t>(kTickMs - now_ms_ % kTickMs) * 1000;
}

// Nothing was there: look again for a moment after traffic, then sleep in ppoll().
void Core::wait(uint32_t wait_us) {
  wait_us = std::min(wait_us, idle_us());
  const uint64_t start_us = now_us_;
  pollfd fds[kMaxPorts + 3];  // next hops, the bell, other workers
  nfds_t count = 0;
  for (const auto& port : ports_) {
    if (port->poll_fd() >= 0) fds[count++] = pollfd{port->poll_fd(), POLLIN, 0};
  }
  if (hops_->poll_fd() >= 0) fds[count++] = pollfd{hops_->poll_fd(), POLLIN, 0};
  if (memory_.bell >= 0) fds[count++] = pollfd{memory_.bell, POLLIN, 0};
  if (handover_.open()) fds[count++] = pollfd{handover_.poll_fd(), POLLIN, 0};
  handed_ms_ = 0;
  timespec none{};
  while (now_us_ - last_busy_us_ < kSpinUs && now_us_ - start_us < wait_us) {
    if (ppoll(fds, count, &none, nullptr) > 0) return hear_bell();
    read_clock();
  }
  const timespec limit{static_cast<time_t>(wait_us / 1000000),
                       static_cast<long>(wait_us % 1000000) * 1000};
  ppoll(fds, count, &limit, nullptr);
  hear_bell();
  read_clock();
}

// Whoever rang wants its words and mail to be looked at, which comes after every wait.
void Core::hear_bell() {
  uint64_t rings;
  if (memory_.bell >= 0 && ::read(memory_.bell, &rings, sizeof rings) < 0) assert(errno == EAGAIN);
}

// What is said here leaves before the scratch frames are used again.
void Core::expire() {
  class LastWords : public Farewell {
   public:
    explicit LastWords(Core& core) : core_(core) {}
    void expiring(Conn& conn) override {
      core_.transmitter_.reset_expired(conn, static_cast<uint32_t>(core_.now_ms_));
      said = true;
    }
    bool asks_again(uint32_t id) override {
      said = true;
      return core_.ask_server_again(id);
    }
    bool said = false;

   private:
    Core& core_;
  };
  LastWords words(*this);
  tracker_.expire(tick(), kExpireBudget, &words);
  if (words.said) egress_.flush();
}

void Core::housekeeping() {
  expire();
  if (sweeping_) sweeping_ = tracker_.sweep_gone(&sweep_cursor_, kSweepBudget);
  if (draws_ != 0) tracker_.drop_random(drop_entry_, tick(), &draws_, kDropBudget);
  if (now_ms_ == served_ms_) return;
  served_ms_ = now_ms_;
  if (snapshot_.sysctl(kSysctlDropEntry) >= 2) [[unlikely]]
    drop_entries();
  egress_.serve_neighbours(static_cast<uint32_t>(now_ms_),
                           [this](const Frame& frame) { neighbour_silent(frame); });
  if (reassembly_.size() != 0) expire_fragments();
  if (const uint32_t lost = reassembly_.take_given_up()) {
    counters_.count(Reason::kFragmentOverflow, lost);
  }
  transmitter_.service(static_cast<uint32_t>(now_ms_));
  if (memory_.worker == 0 && announcer_.pending() != 0) announce();
  for (uint16_t number = 0; number < ports_.size(); number++) {
    PortWordsRecord& words = memory_.port_words[number];
    const Egress::Sent sent = egress_.take_sent(number);
    shared::lane_add(words.tx_frames, sent.frames);
    shared::lane_add(words.tx_bytes, sent.bytes);
    if (const uint64_t lost = ports_[number]->rx_dropped()) {
      counters_.count(Reason::kRxOverrun, lost);
    }
  }
  shared::publish(memory_.words->connections, table_.size());
}

// Spec 3.11: modes 2 and 3 act, once a second.
void Core::drop_entries() {
  const uint64_t second = now_ms_ / 1000;
  if (second == drop_second_) return;
  drop_second_ = second;
  draws_ = drop_entry_.draws(table_.high_water());
}

void Core::announce() {
  Frame* frames = egress_.scratch(Egress::Scratch::kAnswers, kBurst);
  const uint32_t count = announcer_.build(frames, kBurst, static_cast<uint32_t>(now_ms_));
  for (uint32_t i = 0; i < count; i++) egress_.enqueue(frames[i].port, frames[i]);
  egress_.flush();
}

}  // namespace uvs
