// In: a capture file. Does: lends its packets in order, writes sent ones to another file.
// Next: the core takes them as from any port.
#include "io/replay_port.h"

#include <cerrno>
#include <cstring>

namespace uvs {
namespace {

constexpr uint32_t kBufferBytes = (kHeadroom + kSuperFrameBytes + 63) & ~63u;

IoError pcap_failure(PcapError error, const std::string& path) {
  return refusal(pcap_error_code(error), path + ": " + pcap_error_text(error));
}

// Every record, so that a damaged file is refused before anything was forwarded.
PcapError check_records(PcapReader reader) {
  PcapRecord record;
  while (!reader.at_end()) {
    if (const PcapError error = reader.next(&record); error != PcapError::kNone) return error;
  }
  return PcapError::kNone;
}

}  // namespace

ReplayPort::ReplayPort() : buffer_(new uint8_t[kBufferBytes]) {}

bool ReplayPort::read_file(const std::string& path, std::vector<uint8_t>* bytes, IoError* error) {
  const File file(std::fopen(path.c_str(), "rb"));
  if (file == nullptr) {
    *error = system_error("open", path);
    return false;
  }
  uint8_t chunk[65536];
  size_t got;
  while ((got = std::fread(chunk, 1, sizeof chunk, file.get())) > 0) {
    if (bytes->size() + got > kFileBytesMax) {
      *error = refusal("ERR_TOO_LARGE", path + ": larger than 1 GiB: cut it up first");
      return false;
    }
    bytes->insert(bytes->end(), chunk, chunk + got);
  }
  if (std::ferror(file.get()) == 0) return true;
  *error = system_error("read", path);
  return false;
}

std::unique_ptr<ReplayPort> ReplayPort::open(const std::string& input, const std::string& output,
                                             IoError* error) {
  std::unique_ptr<ReplayPort> port(new ReplayPort());
  if (!read_file(input, &port->input_, error)) return nullptr;
  PcapError fault = port->reader_.open(port->input_);
  if (fault == PcapError::kNone) fault = check_records(port->reader_);
  if (fault != PcapError::kNone) {
    *error = pcap_failure(fault, input);
    return nullptr;
  }
  if (output.empty()) return port;
  port->output_path_ = output;
  port->output_.reset(std::fopen(output.c_str(), "wb"));
  uint8_t header[kPcapFileHeaderBytes];
  write_pcap_file_header(port->reader_.link(), header);
  if (port->output_ == nullptr || !port->write_all(header, sizeof header)) {
    *error = system_error("open", output);
    return nullptr;
  }
  return port;
}

bool ReplayPort::write_all(const void* bytes, size_t count) {
  output_bytes_ += count;
  return std::fwrite(bytes, 1, count, output_.get()) == count;
}

bool ReplayPort::finish(IoError* error) {
  if (output_ == nullptr || std::fflush(output_.get()) == 0) return true;
  *error = system_error("write", output_path_);
  return false;
}

uint32_t ReplayPort::rx_burst(Frame* out, uint32_t max) {
  PcapRecord record;
  if (max == 0 || lent_ || reader_.at_end()) return 0;
  if (reader_.next(&record) != PcapError::kNone) return 0;  // open() has checked: cannot be
  uint8_t* data = buffer_.get() + kHeadroom;
  if (!record.bytes.empty()) std::memcpy(data, record.bytes.data(), record.bytes.size());
  lent_ = true;
  now_ns_ = record.time_ns;
  *out = Frame{};
  out->data = data;
  out->length = static_cast<uint32_t>(record.bytes.size());
  out->headroom = kHeadroom;
  return 1;
}

uint64_t ReplayPort::next_ns() const {
  PcapReader ahead = reader_;
  PcapRecord record;
  if (ahead.at_end() || ahead.next(&record) != PcapError::kNone) return now_ns_;
  return record.time_ns;
}

uint32_t ReplayPort::tx_burst(const Frame* frames, uint32_t count, int* error) {
  for (uint32_t i = 0; i < count; i++) {
    if (output_ != nullptr) {
      uint8_t header[kPcapRecordHeaderBytes];
      write_pcap_record_header(now_ns_, frames[i].length, header);
      if (output_bytes_ + sizeof header + frames[i].length > kFileBytesMax) {
        *error = ENOSPC;
        return i;
      }
      if (!write_all(header, sizeof header) || !write_all(frames[i].data, frames[i].length)) {
        *error = errno;
        return i;
      }
    }
    sent_frames_++;
  }
  return count;
}

}  // namespace uvs
