// Capture files in the classic pcap format (draft-ietf-opsawg-pcap): a reader over bytes in memory
// and a writer of headers. Both byte orders, microseconds and nanoseconds, Ethernet and raw IP.
// Pure: the files themselves are read and written by replay_port.cc.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>

#include "io/port.h"

namespace uvs {

enum class PcapError : uint8_t {
  kNone,
  kTooShort,         // shorter than a file header
  kNotPcap,          // another magic number
  kPcapNg,           // the newer format, which we do not read
  kBadVersion,       // not 2.4
  kBadLink,          // neither Ethernet nor raw IP
  kRecordTruncated,  // the file ends inside a record
  kRecordTooLong,    // a record longer than any frame
};

// "ERR_PCAP_..." for messages and tests; "" for kNone.
const char* pcap_error_code(PcapError error);
// What is wrong and what to do, without the file's name.
const char* pcap_error_text(PcapError error);

struct PcapRecord {
  uint64_t time_ns = 0;
  std::span<const uint8_t> bytes;  // of the file; as captured, perhaps cut off
  uint32_t original_bytes = 0;     // on the wire
};

class PcapReader {
 public:
  // Reads the file header. `file` must outlive the reader.
  PcapError open(std::span<const uint8_t> file);

  Link link() const { return link_; }
  bool at_end() const { return at_ == file_.size(); }
  // Reads the next record; not at the end. After an error the reader stays where it is.
  PcapError next(PcapRecord* record);

 private:
  uint32_t word(size_t at) const;

  std::span<const uint8_t> file_;
  size_t at_ = 0;
  bool swapped_ = false;
  uint32_t fraction_ns_ = 1;  // nanoseconds per unit of the second time word
  Link link_ = Link::kEthernet;
};

constexpr size_t kPcapFileHeaderBytes = 24;
constexpr size_t kPcapRecordHeaderBytes = 16;

// Headers as we write them: this machine's byte order, nanoseconds.
void write_pcap_file_header(Link link, uint8_t (&out)[kPcapFileHeaderBytes]);
void write_pcap_record_header(uint64_t time_ns, uint32_t bytes,
                              uint8_t (&out)[kPcapRecordHeaderBytes]);

}  // namespace uvs
