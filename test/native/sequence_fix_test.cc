// Sequence numbers around an edit (spec 6.4) against a slow model: two streams written out byte by
// byte, everywhere in the circle of numbers, with an edit before it and without.
#include "conn/sequence_fix.h"

#include <vector>

#include "check.h"
#include "packet_text.h"
#include "parse/tcp.h"

namespace uvs {
namespace {

using test::Bytes;

// Byte i of the sender is `to[i]` for the receiver; bytes of the edit are -1.
struct Model {
  uint32_t sender;  // number of byte 0 on both sides
  int32_t before;   // delta of an edit long ago
  int32_t first, bytes, now;
  static constexpr int32_t kLength = 60;

  int32_t growth() const { return now - bytes; }
  int32_t end() const { return first + bytes; }
  SequenceFix Fix() const {
    SequenceFix fix{};
    if (before != 0) record_edit(&fix, sender - 1000, 20, static_cast<uint32_t>(20 + before));
    record_edit(&fix, sender + static_cast<uint32_t>(first), static_cast<uint32_t>(bytes),
                static_cast<uint32_t>(now));
    return fix;
  }
  // Where the boundary in front of sender's byte `at` lies in the receiver's stream; within the
  // edit there is none.
  bool Boundary(int32_t at, int32_t* out) const {
    if (at > first && at < end()) return false;
    *out = at + before + (at >= end() ? growth() : 0);
    return true;
  }
  uint32_t At(int32_t offset) const { return sender + static_cast<uint32_t>(offset); }
};

template <typename Check>
void EveryModel(Check check) {
  for (const uint32_t sender : {0u, 5000u, 0x7fffffe0u, 0xffffffe0u, 0xfffffff8u}) {
    for (const int32_t before : {0, 7, -9}) {
      for (const int32_t now : {11, 15, 23, 12}) check(Model{sender, before, 20, 15, now});
    }
  }
}

TEST(sequence_segments_land_where_the_streams_say) {
  EveryModel([](const Model& model) {
    const SequenceFix fix = model.Fix();
    for (int32_t from = 0; from < Model::kLength; from++) {
      for (int32_t to = from; to < Model::kLength; to++) {
        const auto bytes = static_cast<uint32_t>(to - from);
        const bool touches = bytes != 0 && to > model.first && from < model.end();
        const bool whole = touches && from <= model.first && to >= model.end();
        const Overlap overlap = overlap_of(fix, model.At(from), bytes);
        CHECK_EQ(overlap, !touches ? Overlap::kNone : whole ? Overlap::kWhole : Overlap::kPart);
        const uint32_t placed = to_receiver(fix, model.At(from), bytes);
        int32_t want;
        if (overlap == Overlap::kPart) {
          // Acknowledged: it must not reach beyond what the receiver has, but end where it ends.
          const auto reach = static_cast<int32_t>(placed + bytes - model.At(0));
          REQUIRE(model.Boundary(to < model.end() ? model.end() : to, &want));
          CHECK_LE(reach, want);
          if (to >= model.end()) CHECK_EQ(reach, want);
        } else if (model.Boundary(from, &want)) {
          CHECK_EQ(placed, model.At(want));
        }
      }
    }
  });
}

TEST(sequence_acknowledgements_never_claim_more) {
  EveryModel([](const Model& model) {
    const SequenceFix fix = model.Fix();
    for (int32_t at = -5; at < Model::kLength; at++) {
      // The last boundary of the sender that is not behind the receiver's number, and the first
      // that is not in front of it.
      int32_t down = -100, up = 100, there;
      for (int32_t k = -30; k < Model::kLength + 30; k++) {
        if (!model.Boundary(k, &there)) continue;
        if (there <= at && k > down) down = k;
        if (there >= at && k < up) up = k;
      }
      CHECK_EQ(to_sender(fix, model.At(at), false), model.At(down));
      CHECK_EQ(to_sender(fix, model.At(at), true), model.At(up));
    }
  });
}

TEST(sequence_old_edits_are_forgotten_in_time) {
  SequenceFix fix{};
  record_edit(&fix, 0xfffffff0, 15, 20);
  forget_old_edit(&fix, 0x100);
  CHECK_EQ(fix.bytes, 15);
  for (uint32_t number = 0x100, steps = 0; steps < 40; steps++, number += 0x10000000) {
    CHECK_EQ(to_receiver(fix, number, 10), number + 5);
    CHECK_EQ(to_sender(fix, number + 5, false), number);
    forget_old_edit(&fix, number);
  }
  CHECK_EQ(fix.bytes, 0);
  CHECK_EQ(fix.delta, 5);
}

// A TCP header with these options.
Bytes Header(const Bytes& options) {
  Bytes out(20, 0);
  test::PutAll(out, options);
  out[12] = static_cast<uint8_t>(out.size() / 4 * 16);
  return out;
}
Bytes Sack(std::initializer_list<uint32_t> edges) {
  Bytes out = {5, static_cast<uint8_t>(2 + 4 * edges.size())};
  for (const uint32_t edge : edges) test::Put32(out, edge);
  return out;
}

TEST(sequence_sack_blocks) {
  SequenceFix fix{};
  record_edit(&fix, 1000, 15, 20);  // 1000..1015 is 1000..1020 for the receiver
  struct Case {
    std::initializer_list<uint32_t> from, to;
  };
  const Case cases[] = {
      {{900, 1000}, {900, 1000}},
      {{1020, 1100}, {1015, 1095}},
      {{900, 1020}, {900, 1015}},
      {{900, 1010}, {900, 1000}},
      {{1010, 1100}, {1015, 1095}},
      {{1005, 1010}, {}},
      {{1000, 1019}, {}},
      {{1005, 1010, 1020, 1021}, {1015, 1016}},
      {{900, 910, 1020, 1030, 1003, 1004}, {900, 910, 1015, 1025}},
  };
  for (const Case& each : cases) {
    for (const Bytes& front : {Bytes{1, 1}, Bytes{8, 10, 1, 2, 3, 4, 5, 6, 7, 8, 1, 1}}) {
      Bytes options = front;
      test::PutAll(options, Sack(each.from));
      if (options.size() > 40) continue;
      Bytes want = front;
      if (each.to.size() != 0) test::PutAll(want, Sack(each.to));
      want.resize(options.size(), 1);
      Bytes header = Header(options);
      const bool changed = sack_to_sender(fix, header.data(), static_cast<uint32_t>(header.size()));
      CHECK_EQ(header, Header(want));
      CHECK_EQ(changed, options != want);
    }
  }
}

TEST(sequence_broken_options_are_left) {
  SequenceFix fix{};
  record_edit(&fix, 1000, 15, 20);
  for (const Bytes& options : {Bytes{5, 10, 0, 0}, Bytes{5, 0, 0, 0}, Bytes{0, 5, 4, 0},
                               Bytes{1, 1, 1, 5}, Bytes{5, 1, 1, 1}}) {
    Bytes header = Header(options);
    CHECK(!sack_to_sender(fix, header.data(), static_cast<uint32_t>(header.size())));
    CHECK_EQ(header, Header(options));
  }
}

}  // namespace
}  // namespace uvs
