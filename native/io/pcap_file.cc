// In: the bytes of a capture file. Does: finds its records; every length of the file is checked
// here and nowhere else. Next: replay_port.cc lends them as frames.
#include "io/pcap_file.h"

#include <cassert>
#include <cstring>

namespace uvs {
namespace {

constexpr uint32_t kMagicMicro = 0xa1b2c3d4;
constexpr uint32_t kMagicNano = 0xa1b23c4d;
constexpr uint32_t kMagicNg = 0x0a0d0d0a;  // a palindrome: the same in both byte orders

// LINKTYPE_ numbers; 12 and 14 are what some systems wrote for raw IP.
constexpr uint32_t kLinkEthernet = 1;
constexpr uint32_t kLinkRaw[] = {101, 12, 14, 228, 229};
// The upper half of the link word says among other things that frames end with a checksum.
constexpr uint32_t kLinkMask = 0x0000ffff;
constexpr uint32_t kLinkHasFcs = 0x04000000;

constexpr uint64_t kNsPerSecond = 1'000'000'000;

bool is_raw(uint32_t link) {
  for (const uint32_t raw : kLinkRaw) {
    if (raw == link) return true;
  }
  return false;
}

}  // namespace

const char* pcap_error_code(PcapError error) {
  switch (error) {
    case PcapError::kNone: return "";
    case PcapError::kTooShort: return "ERR_PCAP_TOO_SHORT";
    case PcapError::kNotPcap: return "ERR_PCAP_NOT_PCAP";
    case PcapError::kPcapNg: return "ERR_PCAP_NG";
    case PcapError::kBadVersion: return "ERR_PCAP_VERSION";
    case PcapError::kBadLink: return "ERR_PCAP_LINK";
    case PcapError::kRecordTruncated: return "ERR_PCAP_RECORD_TRUNCATED";
    case PcapError::kRecordTooLong: return "ERR_PCAP_RECORD_TOO_LONG";
  }
  return "";
}

const char* pcap_error_text(PcapError error) {
  switch (error) {
    case PcapError::kNone: return "";
    case PcapError::kTooShort: return "shorter than the header of a capture file";
    case PcapError::kNotPcap: return "not a capture file";
    case PcapError::kPcapNg:
      return "pcapng is not read: convert it with `editcap -F nsecpcap IN OUT`";
    case PcapError::kBadVersion: return "a version of the capture format other than 2.4";
    case PcapError::kBadLink: return "neither Ethernet nor raw IP: capture on one interface";
    case PcapError::kRecordTruncated: return "ends in the middle of a packet: the file was cut off";
    case PcapError::kRecordTooLong: return "a packet longer than 65600 bytes: the file is damaged";
  }
  return "";
}

uint32_t PcapReader::word(size_t at) const {
  uint32_t value;
  std::memcpy(&value, file_.data() + at, sizeof value);
  return swapped_ ? __builtin_bswap32(value) : value;
}

PcapError PcapReader::open(std::span<const uint8_t> file) {
  *this = PcapReader();
  file_ = file;
  if (file.size() < sizeof(uint32_t)) return PcapError::kTooShort;
  const uint32_t magic = word(0);
  if (magic == kMagicNg) return PcapError::kPcapNg;
  swapped_ = __builtin_bswap32(magic) == kMagicMicro || __builtin_bswap32(magic) == kMagicNano;
  if (word(0) != kMagicMicro && word(0) != kMagicNano) return PcapError::kNotPcap;
  if (file.size() < kPcapFileHeaderBytes) return PcapError::kTooShort;
  fraction_ns_ = word(0) == kMagicNano ? 1 : 1000;
  // Two 16-bit words: major, minor.
  const uint32_t version = word(4);
  if (version != (swapped_ ? 0x00020004u : 0x00040002u)) return PcapError::kBadVersion;
  const uint32_t link = word(20);
  if ((link & kLinkHasFcs) != 0) return PcapError::kBadLink;
  if ((link & kLinkMask) == kLinkEthernet) {
    link_ = Link::kEthernet;
  } else if (is_raw(link & kLinkMask)) {
    link_ = Link::kIp;
  } else {
    return PcapError::kBadLink;
  }
  at_ = kPcapFileHeaderBytes;
  return PcapError::kNone;
}

PcapError PcapReader::next(PcapRecord* record) {
  assert(at_ != 0 && !at_end());
  const size_t left = file_.size() - at_;
  if (left < kPcapRecordHeaderBytes) return PcapError::kRecordTruncated;
  const uint32_t bytes = word(at_ + 8);
  if (bytes > kSuperFrameBytes) return PcapError::kRecordTooLong;
  if (left - kPcapRecordHeaderBytes < bytes) return PcapError::kRecordTruncated;
  record->time_ns = word(at_) * kNsPerSecond + uint64_t{word(at_ + 4)} * fraction_ns_;
  record->original_bytes = word(at_ + 12);
  record->bytes = file_.subspan(at_ + kPcapRecordHeaderBytes, bytes);
  at_ += kPcapRecordHeaderBytes + bytes;
  return PcapError::kNone;
}

void write_pcap_file_header(Link link, uint8_t (&out)[kPcapFileHeaderBytes]) {
  const uint32_t words[6] = {
      kMagicNano, 0x00040002,       0,
      0,          kSuperFrameBytes, link == Link::kEthernet ? kLinkEthernet : 101};
  static_assert(sizeof words == kPcapFileHeaderBytes);
  std::memcpy(out, words, sizeof words);
}

void write_pcap_record_header(uint64_t time_ns, uint32_t bytes,
                              uint8_t (&out)[kPcapRecordHeaderBytes]) {
  const uint32_t words[4] = {static_cast<uint32_t>(time_ns / kNsPerSecond),
                             static_cast<uint32_t>(time_ns % kNsPerSecond), bytes, bytes};
  static_assert(sizeof words == kPcapRecordHeaderBytes);
  std::memcpy(out, words, sizeof words);
}

}  // namespace uvs
