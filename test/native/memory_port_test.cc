// The ports without a kernel: memory port, capture reader and replay port.
#include "io/memory_port.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "check.h"
#include "io/pcap_file.h"
#include "io/replay_port.h"

namespace uvs {
namespace {

using Bytes = std::vector<uint8_t>;

Bytes Numbered(size_t length, uint8_t first) {
  Bytes bytes(length);
  for (size_t i = 0; i < length; i++) bytes[i] = static_cast<uint8_t>(first + i);
  return bytes;
}

Bytes BytesOf(const Frame& frame) { return Bytes(frame.data, frame.data + frame.length); }

void Put32(Bytes& to, uint32_t value, bool swapped) {
  if (swapped) value = __builtin_bswap32(value);
  const auto* p = reinterpret_cast<const uint8_t*>(&value);
  to.insert(to.end(), p, p + sizeof value);
}

Bytes PcapHeader(uint32_t magic, bool swapped, uint32_t link) {
  Bytes file;
  Put32(file, magic, swapped);
  Put32(file, swapped ? 0x00020004 : 0x00040002, swapped);
  for (const uint32_t word : {0u, 0u, 65535u, link}) Put32(file, word, swapped);
  return file;
}

void PutRecord(Bytes& file, bool swapped, uint32_t seconds, uint32_t fraction, const Bytes& data) {
  const auto length = static_cast<uint32_t>(data.size());
  for (const uint32_t word : {seconds, fraction, length, length + 4}) Put32(file, word, swapped);
  file.insert(file.end(), data.begin(), data.end());
}

// A folder that goes with the object.
class Folder {
 public:
  Folder() {
    char name[] = "/tmp/uvs-replay-XXXXXX";
    if (::mkdtemp(name) != nullptr) path_ = name;
  }
  ~Folder() {
    for (const std::string& file : files_) ::unlink(file.c_str());
    ::rmdir(path_.c_str());
  }
  std::string File(const std::string& name) {
    files_.push_back(path_ + "/" + name);
    return files_.back();
  }
  std::string Write(const std::string& name, const Bytes& bytes) {
    const std::string path = File(name);
    std::FILE* file = std::fopen(path.c_str(), "wb");
    std::fwrite(bytes.data(), 1, bytes.size(), file);
    std::fclose(file);
    return path;
  }

 private:
  std::string path_;
  std::vector<std::string> files_;
};

constexpr uint32_t kMicro = 0xa1b2c3d4;
constexpr uint32_t kNano = 0xa1b23c4d;

}  // namespace

TEST(injected_frames_come_once_in_order_with_their_metadata) {
  MemoryPort port;
  Frame out[kBurst];
  CHECK_EQ(port.rx_burst(out, kBurst), 0u);
  for (uint8_t i = 0; i < 100; i++) {
    const Bytes bytes = Numbered(size_t{60} + i, i);
    const VnetHdr vnet{kVnetNeedsCsum, kVnetGsoNone, 0, 0, 34, i};
    REQUIRE(port.inject(bytes.data(), static_cast<uint32_t>(bytes.size()), vnet));
  }
  CHECK_EQ(port.waiting(), 100u);
  uint8_t next = 0;
  for (const uint32_t want : {64u, 36u, 0u}) {
    const uint32_t got = port.rx_burst(out, kBurst);
    CHECK_EQ(got, want);
    for (uint32_t i = 0; i < got; i++, next++) {
      CHECK_EQ(BytesOf(out[i]), Numbered(size_t{60} + next, next));
      CHECK_EQ(out[i].vnet.csum_offset, next);
      CHECK_EQ(out[i].headroom, kHeadroom);
      std::memset(out[i].data - kHeadroom, 0, kHeadroom + out[i].length);
    }
    port.release();
  }
  const Bytes largest(kSuperFrameBytes);
  CHECK(port.inject(largest.data(), kSuperFrameBytes));
  const Bytes larger(kSuperFrameBytes + 1);
  CHECK(!port.inject(larger.data(), kSuperFrameBytes + 1));
}

TEST(replayed_frames_are_fresh_each_time) {
  MemoryPort port;
  std::vector<Bytes> loaded;
  for (uint8_t i = 0; i < 5; i++) {
    loaded.push_back(Numbered(size_t{40} + size_t{i} * 100, i));
    REQUIRE(port.load(loaded[i].data(), static_cast<uint32_t>(loaded[i].size())));
  }
  port.replay(23);
  Frame out[kBurst];
  size_t next = 0;
  for (const uint32_t want : {5u, 5u, 5u, 5u, 3u, 0u}) {
    const uint32_t got = port.rx_burst(out, kBurst);
    CHECK_EQ(got, want);
    for (uint32_t i = 0; i < got; i++, next++) {
      CHECK_EQ(BytesOf(out[i]), loaded[next % 5]);
      // A rewrite spoils headers.
      std::memset(out[i].data, 0xee, std::min<uint32_t>(out[i].length, 128));
    }
    port.release();
  }
}

TEST(sent_frames_are_kept_counted_and_refused_on_request) {
  MemoryPort port(Link::kIp, 7);
  CHECK(port.link() == Link::kIp);
  CHECK_EQ(port.ifindex(), 7u);
  Bytes bytes = Numbered(60, 1);
  Frame frames[3];
  for (uint32_t i = 0; i < 3; i++) {
    frames[i].data = bytes.data();
    frames[i].length = 20 * (i + 1);
    frames[i].vnet.gso_size = static_cast<uint16_t>(i);
  }
  int error = 0;
  CHECK_EQ(port.tx_burst(frames, 3, &error), 3u);
  auto sent = port.take_sent();
  REQUIRE(sent.size() == 3);
  CHECK_EQ(sent[2].bytes, bytes);
  CHECK_EQ(sent[2].vnet.gso_size, 2);
  CHECK_EQ(port.take_sent().size(), 0u);
  port.keep_sent(false);
  port.limit_tx(4, ENOBUFS);
  CHECK_EQ(port.tx_burst(frames, 3, &error), 3u);
  CHECK_EQ(error, 0);
  CHECK_EQ(port.tx_burst(frames, 3, &error), 1u);
  CHECK_EQ(error, ENOBUFS);
  CHECK_EQ(port.tx_burst(frames, 3, &error), 0u);
  port.unlimit_tx();
  CHECK_EQ(port.tx_burst(frames, 3, &error), 3u);
  CHECK_EQ(port.sent_frames(), 10u);
  CHECK_EQ(port.sent_bytes(), 3u * 120 + 20);
  CHECK_EQ(port.take_sent().size(), 0u);
}

TEST(capture_files_of_both_byte_orders_and_clocks_are_read) {
  for (const bool swapped : {false, true}) {
    for (const uint32_t magic : {kMicro, kNano}) {
      Bytes file = PcapHeader(magic, swapped, 1);
      PutRecord(file, swapped, 10, 20, Numbered(60, 1));
      PutRecord(file, swapped, 11, 21, {});
      PcapReader reader;
      REQUIRE(reader.open(file) == PcapError::kNone);
      CHECK(reader.link() == Link::kEthernet);
      PcapRecord record;
      REQUIRE(reader.next(&record) == PcapError::kNone);
      CHECK_EQ(record.time_ns, 10'000'000'000u + (magic == kNano ? 20u : 20'000u));
      CHECK_EQ(Bytes(record.bytes.begin(), record.bytes.end()), Numbered(60, 1));
      CHECK_EQ(record.original_bytes, 64u);
      REQUIRE(reader.next(&record) == PcapError::kNone);
      CHECK_EQ(record.bytes.size(), 0u);
      CHECK(reader.at_end());
    }
  }
  for (const uint32_t link : {101u, 12u, 14u, 228u, 229u}) {
    PcapReader reader;
    const Bytes file = PcapHeader(kMicro, false, link);
    REQUIRE(reader.open(file) == PcapError::kNone);
    CHECK(reader.link() == Link::kIp);
    CHECK(reader.at_end());
  }
}

TEST(every_fault_of_a_capture_file_has_its_code) {
  const auto open = [](const Bytes& file) {
    PcapReader reader;
    return reader.open(file);
  };
  CHECK_EQ(open({}), PcapError::kTooShort);
  CHECK_EQ(open({1, 2, 3}), PcapError::kTooShort);
  CHECK_EQ(open(Numbered(100, 1)), PcapError::kNotPcap);
  CHECK_EQ(open({0x0a, 0x0d, 0x0d, 0x0a}), PcapError::kPcapNg);
  Bytes good = PcapHeader(kMicro, false, 1);
  for (size_t bytes = 4; bytes < good.size(); bytes++) {
    CHECK_EQ(open(Bytes(good.begin(), good.begin() + static_cast<long>(bytes))),
             PcapError::kTooShort);
  }
  Bytes bad = good;
  bad[6] = 3;
  CHECK_EQ(open(bad), PcapError::kBadVersion);
  CHECK_EQ(open(PcapHeader(kMicro, false, 113)), PcapError::kBadLink);
  CHECK_EQ(open(PcapHeader(kMicro, false, 0x24000001)), PcapError::kBadLink);
  PutRecord(good, false, 1, 1, Numbered(60, 1));
  for (size_t bytes = kPcapFileHeaderBytes + 1; bytes < good.size(); bytes++) {
    const Bytes cut(good.begin(), good.begin() + static_cast<long>(bytes));
    PcapReader reader;
    PcapRecord record;
    REQUIRE(reader.open(cut) == PcapError::kNone);
    CHECK_EQ(reader.next(&record), PcapError::kRecordTruncated);
  }
  for (const uint32_t length : {kSuperFrameBytes + 1, 0x7fffffffu, 0xffffffffu}) {
    std::memcpy(good.data() + kPcapFileHeaderBytes + 8, &length, sizeof length);
    PcapReader reader;
    PcapRecord record;
    REQUIRE(reader.open(good) == PcapError::kNone);
    CHECK_EQ(reader.next(&record), PcapError::kRecordTooLong);
  }
  for (uint8_t i = 1; i <= static_cast<uint8_t>(PcapError::kRecordTooLong); i++) {
    const auto error = static_cast<PcapError>(i);
    CHECK(std::string(pcap_error_code(error)).rfind("ERR_PCAP_", 0) == 0);
    CHECK(std::strlen(pcap_error_text(error)) > 10);
  }
}

TEST(a_capture_is_replayed_and_what_is_sent_can_be_replayed_again) {
  Folder folder;
  Bytes file = PcapHeader(kMicro, true, 1);
  for (uint8_t i = 0; i < 150; i++) PutRecord(file, true, i, 5, Numbered(size_t{60} + i, i));
  const std::string input = folder.Write("in.pcap", file);
  const std::string output = folder.File("out.pcap");
  IoError error;
  {
    const auto port = ReplayPort::open(input, output, &error);
    REQUIRE(port != nullptr);
    Frame out[2 * kBurst];
    uint32_t total = 0;
    while (!port->at_end()) {
      const uint32_t got = port->rx_burst(out, 2 * kBurst);
      CHECK_EQ(got, 1u);
      CHECK_EQ(port->next_ns(),
               total < 149 ? uint64_t{total + 1} * 1'000'000'000 + 5'000 : 149'000'005'000u);
      int number = 0;
      CHECK_EQ(port->tx_burst(out, got, &number), got);
      port->release();
      total += got;
    }
    CHECK_EQ(total, 150u);
    CHECK_EQ(port->sent_frames(), 150u);
    CHECK_EQ(port->now_ns(), 149'000'005'000u);
    CHECK(port->finish(&error));
  }
  const auto again = ReplayPort::open(output, "", &error);
  REQUIRE(again != nullptr);
  Frame out[kBurst];
  uint8_t next = 0;
  while (!again->at_end()) {
    const uint32_t got = again->rx_burst(out, kBurst);
    for (uint32_t i = 0; i < got; i++, next++) {
      CHECK_EQ(BytesOf(out[i]), Numbered(size_t{60} + next, next));
    }
    again->release();
  }
  CHECK_EQ(next, 150);
}

TEST(a_replay_that_cannot_start_says_why) {
  Folder folder;
  IoError error;
  CHECK(ReplayPort::open(folder.File("none.pcap"), "", &error) == nullptr);
  CHECK_EQ(error.code, "ENOENT");
  Bytes file = PcapHeader(kMicro, false, 1);
  const std::string good = folder.Write("good.pcap", file);
  CHECK(ReplayPort::open(good, "/proc/nosuch/out.pcap", &error) == nullptr);
  CHECK_EQ(error.code, "ENOENT");
  PutRecord(file, false, 1, 1, Numbered(60, 1));
  file.pop_back();
  CHECK(ReplayPort::open(folder.Write("cut.pcap", file), "", &error) == nullptr);
  CHECK_EQ(error.code, "ERR_PCAP_RECORD_TRUNCATED");
  CHECK(error.sentence.find("cut.pcap") != std::string::npos);
}

}  // namespace uvs
