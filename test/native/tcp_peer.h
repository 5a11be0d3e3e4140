// A TCP endpoint for tests, just large enough to be strict: it takes nothing whose numbers are not
// its own, sends everything again until it is acknowledged, and tells by SACK what came out of
// order (RFC 9293, RFC 2018). Time is the number of the round; nothing of the core is used.
#pragma once
#include <algorithm>
#include <map>
#include <vector>

#include "packet_text.h"

namespace uvs::test {

class TcpPeer {
 public:
  // `mine` is the initial sequence number, `data` what this end has to say.
  TcpPeer(uint32_t mine, Bytes data, size_t each)
      : isn_(mine), data_(std::move(data)), each_(each) {}

  // What the client begins with.
  void Connect() { connecting_ = true; }

  // Takes a segment; it becomes an error when no honest other end could have sent it.
  void Take(const Bytes& tcp) {
    const uint32_t sequence = Get32(tcp, 4);
    const uint32_t acknowledgement = Get32(tcp, 8);
    const uint8_t flags = tcp.at(13);
    if ((flags & kTcpRst) != 0) return Wrong("reset");
    if ((flags & kTcpSyn) != 0) {
      if (!heard_) theirs_ = sequence;
      if (theirs_ != sequence) return Wrong("another initial number");
      heard_ = true;
    }
    if (!heard_) return Wrong("nothing was opened");
    if ((flags & kTcpAck) != 0) TakeAck(acknowledgement);
    TakeSack(tcp);
    const size_t header = (tcp.at(12) >> 4) * 4u;
    if (tcp.size() > header) {
      TakeData(sequence - theirs_ - 1, Part(tcp, header, tcp.size() - header));
      owes_ack_ = true;
    }
    if ((flags & kTcpSyn) != 0) owes_ack_ = true;
  }

  // What it sends in a round, as descriptions with numbers, flags, options and payload.
  std::vector<Text> Send() {
    std::vector<Text> out;
    if (connecting_ && !heard_) {
      out.push_back(Segment(kTcpSyn, isn_));
      out.back().tcp_options = Hex("020405b4 0402 0101");
      return out;
    }
    if (!heard_) return out;
    if (!connecting_ && !open_) {
      out.push_back(Segment(kTcpSyn | kTcpAck, isn_));
      out.back().tcp_options = Hex("020405b4 0402 0101");
      return out;
    }
    // One segment until the first was acknowledged: a cookie is known by the number before it
    // alone, so that an ACK that overtakes it is refused (spec 12.9).
    const size_t window = acked_ == 0 ? 1 : kWindow;
    for (size_t sent = 0, at = acked_; at < data_.size() && sent < window; at += each_) {
      const size_t bytes = std::min(each_, data_.size() - at);
      if (IsSacked(at, at + bytes)) continue;
      out.push_back(Segment(kTcpAck, isn_ + 1 + static_cast<uint32_t>(at)));
      out.back().payload = Part(data_, at, bytes);
      sent++;
    }
    if (out.empty() && (owes_ack_ || !open_)) {
      out.push_back(Segment(kTcpAck, isn_ + 1 + static_cast<uint32_t>(data_.size())));
    }
    owes_ack_ = false;
    return out;
  }

  bool Done() const { return acked_ == data_.size() && open_; }
  const Bytes& Received() const { return received_; }
  const std::string& wrong() const { return wrong_; }
  uint32_t sack_blocks_seen() const { return sack_blocks_seen_; }

 private:
  static constexpr size_t kWindow = 6;  // segments

  void Wrong(const std::string& what) {
    if (wrong_.empty()) wrong_ = what;
  }

  void TakeAck(uint32_t acknowledgement) {
    const uint32_t reached = acknowledgement - isn_;  // 1: the SYN
    if (reached == 0 || reached > 1 + data_.size()) return Wrong("an ACK of what was never sent");
    open_ = true;
    acked_ = std::max(acked_, static_cast<size_t>(reached - 1));
  }

  void TakeSack(const Bytes& tcp) {
    const size_t header = (tcp.at(12) >> 4) * 4u;
    for (size_t at = 20; at < header;) {
      if (tcp[at] == 0) return;
      if (tcp[at] == 1) {
        at++;
        continue;
      }
      if (tcp[at] == 5) {
        for (size_t block = at + 2; block < at + tcp[at + 1]; block += 8) {
          const uint32_t from = Get32(tcp, block) - isn_ - 1;
          const uint32_t to = Get32(tcp, block + 4) - isn_ - 1;
          if (from >= to || to > data_.size()) return Wrong("a SACK of what was never sent");
          sack_blocks_seen_++;
          sacked_[from] = to;
        }
      }
      at += tcp[at + 1];
    }
  }

  void TakeData(uint32_t offset, const Bytes& bytes) {
    if (offset > received_.size() + 100000) return Wrong("data far outside the window");
    waiting_[offset] = bytes;
    for (auto it = waiting_.begin(); it != waiting_.end() && it->first <= received_.size();) {
      const size_t have = received_.size() - it->first;
      if (have < it->second.size()) {
        PutAll(received_, Part(it->second, have, it->second.size() - have));
      }
      it = waiting_.erase(it);
    }
  }

  bool IsSacked(size_t from, size_t to) const {
    return std::any_of(sacked_.begin(), sacked_.end(), [&](const auto& block) {
      return block.first <= from && to <= block.second;
    });
  }

  Text Segment(uint8_t flags, uint32_t sequence) const {
    Text text;
    text.tcp_flags = flags;
    text.sequence = sequence;
    text.acknowledgement = heard_ ? theirs_ + 1 + static_cast<uint32_t>(received_.size()) : 0;
    if (waiting_.empty() || (flags & kTcpSyn) != 0) return text;
    Put16(text.tcp_options, 0x0101);
    const auto& [offset, bytes] = *waiting_.begin();
    Put16(text.tcp_options, 0x050a);
    Put32(text.tcp_options, theirs_ + 1 + offset);
    Put32(text.tcp_options, theirs_ + 1 + offset + static_cast<uint32_t>(bytes.size()));
    return text;
  }

  uint32_t isn_;
  Bytes data_;
  size_t each_;
  bool connecting_ = false;
  bool heard_ = false;  // the other end's SYN
  bool open_ = false;   // our SYN was acknowledged
  bool owes_ack_ = false;
  uint32_t theirs_ = 0;
  size_t acked_ = 0;
  std::map<size_t, size_t> sacked_;
  std::map<uint32_t, Bytes> waiting_;  // out of order, by offset
  Bytes received_;
  std::string wrong_;
  uint32_t sack_blocks_seen_ = 0;
};

}  // namespace uvs::test
