// Fuzz target: the capture reader over any bytes. Every record it gives lies within the file and
// within a frame, records come in file order, and reading ends.
#include <cstdint>
#include <cstdlib>
#include <span>

#include "io/pcap_file.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  uvs::PcapReader reader;
  if (reader.open(std::span<const uint8_t>(data, size)) != uvs::PcapError::kNone) return 0;
  const uint8_t* last = data;
  while (!reader.at_end()) {
    uvs::PcapRecord record;
    const uvs::PcapError error = reader.next(&record);
    if (error != uvs::PcapError::kNone) {
      if (uvs::pcap_error_code(error)[0] == '\0') std::abort();
      break;
    }
    const uint8_t* first = record.bytes.data();
    if (first < last + uvs::kPcapRecordHeaderBytes ||
        record.bytes.size() > static_cast<size_t>(data + size - first) ||
        record.bytes.size() > uvs::kSuperFrameBytes) {
      std::abort();
    }
    last = first + record.bytes.size();
  }
  return 0;
}
