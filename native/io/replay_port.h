// A port that lends the packets of one capture file and writes what is sent to another: the whole
// packet path over recorded traffic, without interfaces and without a clock.
#pragma once
#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "io/io_error.h"
#include "io/pcap_file.h"
#include "io/port.h"

namespace uvs {

class ReplayPort : public Port {
 public:
  static constexpr uint64_t kFileBytesMax = 1ull << 30;  // of either file

  // Reads `input` whole and checks every record; creates `output` ("": what is sent is only
  // counted). Null and `*error` on failure: an errno code, ERR_PCAP_*, or ERR_TOO_LARGE.
  static std::unique_ptr<ReplayPort> open(const std::string& input, const std::string& output,
                                          IoError* error);

  bool at_end() const { return reader_.at_end(); }
  // When the last lent packet was captured; sent packets are written with this time.
  uint64_t now_ns() const { return now_ns_; }
  // When the packet was captured that the next rx_burst() lends; at the end, now_ns().
  uint64_t next_ns() const;
  uint64_t sent_frames() const { return sent_frames_; }
  // Writes out what is still buffered; false and `*error` when the output could not be written.
  bool finish(IoError* error);

  // One packet a burst: what was recorded came one after the other, and a reply may follow its
  // request at once.
  uint32_t rx_burst(Frame* out, uint32_t max) override;
  void release() override { lent_ = false; }
  // ENOSPC: the output has reached kFileBytesMax; else the errno of writing.
  uint32_t tx_burst(const Frame* frames, uint32_t count, int* error) override;
  Link link() const override { return reader_.link(); }
  int poll_fd() const override { return -1; }
  uint32_t ifindex() const override { return 0; }
  uint64_t rx_dropped() override { return 0; }

 private:
  struct CloseFile {
    void operator()(std::FILE* file) const { std::fclose(file); }
  };
  using File = std::unique_ptr<std::FILE, CloseFile>;

  ReplayPort();
  static bool read_file(const std::string& path, std::vector<uint8_t>* bytes, IoError* error);
  bool write_all(const void* bytes, size_t count);

  std::vector<uint8_t> input_;
  PcapReader reader_;
  std::string output_path_;
  File output_;
  uint64_t output_bytes_ = 0;
  uint64_t sent_frames_ = 0;
  uint64_t now_ns_ = 0;
  bool lent_ = false;  // the buffer, until release()
  std::unique_ptr<uint8_t[]> buffer_;
};

}  // namespace uvs
