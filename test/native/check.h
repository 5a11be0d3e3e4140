// A test harness in one header: TEST(name) { CHECK(...); CHECK_EQ(got, want); } and a main.
//
// Each test/native/X_test.cc includes this file once and becomes one program (see
// scripts/test-native.sh), so the native core is tested without Node and under the sanitizers.
// A failed CHECK records the failure and goes on; a failed REQUIRE leaves the test function (use it
// before following a pointer). Output is TAP: the plan first, so that a crash cannot hide a test.
//   ./X_test            runs all tests       ./X_test WORD     runs those whose name contains WORD
#pragma once

#include <algorithm>
#include <cinttypes>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <iterator>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace uvs::test {

struct Case {
  const char* name;
  void (*run)();
};

// The registry and the count of failures live for the whole program; test programs only.
inline std::vector<Case>& Cases() {
  static std::vector<Case> cases;
  return cases;
}

inline int& Failures() {
  static int failures = 0;
  return failures;
}

struct Registrar {
  Registrar(const char* name, void (*run)()) { Cases().push_back({name, run}); }
};

template <typename T>
concept Byte =
    std::is_same_v<std::remove_cv_t<T>, uint8_t> || std::is_same_v<std::remove_cv_t<T>, std::byte>;

template <typename T>
concept Range = requires(const T& range) {
  std::begin(range);
  std::end(range);
};

// Where a check stands. (clang 14 has no std::source_location.)
struct Place {
  const char* file;
  int line;
};

template <typename T>
concept CompareAsInteger =
    std::is_integral_v<T> && !std::is_same_v<T, bool> && !std::is_same_v<T, char>;

// A value as text for the failure message: numbers in both bases, bytes in hexadecimal.
template <typename T>
std::string Show(const T& value) {
  if constexpr (std::is_same_v<T, bool>) {
    return value ? "true" : "false";
  } else if constexpr (std::is_enum_v<T>) {
    return Show(static_cast<std::underlying_type_t<T>>(value));
  } else if constexpr (std::is_integral_v<T>) {
    char text[64];
    std::snprintf(
        text, sizeof text,
        std::is_signed_v<T> ? "%" PRId64 " (0x%" PRIx64 ")" : "%" PRIu64 " (0x%" PRIx64 ")",
        static_cast<int64_t>(value), static_cast<int64_t>(value));
    return text;
  } else if constexpr (std::is_floating_point_v<T>) {
    return std::to_string(value);
  } else if constexpr (std::is_convertible_v<const T&, std::string_view>) {
    return '"' + std::string(std::string_view(value)) + '"';
  } else if constexpr (std::is_pointer_v<T> || std::is_null_pointer_v<T>) {
    return value == nullptr ? "null" : "pointer";
  } else if constexpr (Range<T>) {
    std::string text = "[";
    for (const auto& item : value) {
      char hex[8];
      if constexpr (Byte<std::remove_cvref_t<decltype(item)>>) {
        std::snprintf(hex, sizeof hex, "%02x ", static_cast<unsigned>(item));
        text += hex;
      } else {
        text += Show(item) + " ";
      }
    }
    return text + "]";
  } else {
    return "(a value without a text form)";
  }
}

template <typename A, typename B>
bool Equal(const A& a, const B& b) {
  // -Wsign-compare is an error here, and `size() == 3` should still be easy to write.
  if constexpr (CompareAsInteger<A> && CompareAsInteger<B>) {
    return std::cmp_equal(a, b);
  } else if constexpr (std::is_convertible_v<const A&, std::string_view> &&
                       std::is_convertible_v<const B&, std::string_view>) {
    return std::string_view(a) == std::string_view(b);
  } else if constexpr (Range<A> && Range<B>) {
    return std::equal(std::begin(a), std::end(a), std::begin(b), std::end(b));
  } else {
    return a == b;
  }
}

template <typename A, typename B>
bool Less(const A& a, const B& b) {
  if constexpr (CompareAsInteger<A> && CompareAsInteger<B>) {
    return std::cmp_less(a, b);
  } else {
    return a < b;
  }
}

inline void Fail(Place at, const std::string& what) {
  ++Failures();
  std::printf("  # %s:%d: %s\n", at.file, at.line, what.c_str());
}

inline bool Check(Place at, bool holds, const char* text) {
  if (!holds) Fail(at, std::string("expected ") + text);
  return holds;
}

template <typename A, typename B>
bool CheckPair(Place at, bool holds, const A& a, const char* relation, const B& b,
               const char* text) {
  if (!holds) {
    Fail(at, std::string(text) + "\n  #   got  " + Show(a) + "\n  #   want " + relation + " " +
                 Show(b));
  }
  return holds;
}

// Small deterministic generator (SplitMix64, Steele, Lea and Flood 2014): a test that uses
// random input states its seed, so that every failure can be run again.
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}

  uint64_t Next() {
    uint64_t z = (state_ += 0x9e3779b97f4a7c15ull);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
  }

  // A number in [0, bound); bound must not be 0. The tiny bias does not matter to a test.
  uint64_t Below(uint64_t bound) { return Next() % bound; }

 private:
  uint64_t state_;
};

// Runs the tests whose name contains argv[1] (all without it) and prints TAP; 1 when one failed.
inline int RunAll(int argc, char** argv) {
  std::setvbuf(stdout, nullptr, _IOLBF, BUFSIZ);
  const std::string_view filter = argc > 1 ? argv[1] : "";
  std::vector<Case> chosen;
  for (const Case& test : Cases()) {
    if (std::string_view(test.name).find(filter) != std::string_view::npos) chosen.push_back(test);
  }
  std::printf("1..%zu\n", chosen.size());
  int failed = 0;
  for (size_t i = 0; i < chosen.size(); ++i) {
    const int before = Failures();
    chosen[i].run();
    const bool ok = Failures() == before;
    if (!ok) ++failed;
    std::printf("%s %zu - %s\n", ok ? "ok" : "not ok", i + 1, chosen[i].name);
  }
  return failed == 0 && !chosen.empty() ? 0 : 1;
}

}  // namespace uvs::test

#define TEST(name)                                                                  \
  static void uvs_test_##name();                                                    \
  static const ::uvs::test::Registrar uvs_registrar_##name(#name, uvs_test_##name); \
  static void uvs_test_##name()

#define UVS_HERE (::uvs::test::Place{__FILE__, __LINE__})

#define CHECK(condition) ::uvs::test::Check(UVS_HERE, static_cast<bool>(condition), #condition)

#define REQUIRE(condition)         \
  do {                             \
    if (!CHECK(condition)) return; \
  } while (false)

#define UVS_CHECK_PAIR(a, relation, b, holds)                                                      \
  [&](const auto& got_, const auto& want_) {                                                       \
    return ::uvs::test::CheckPair(UVS_HERE, holds, got_, relation, want_, #a " " relation " " #b); \
  }((a), (b))

#define CHECK_EQ(got, want) UVS_CHECK_PAIR(got, "==", want, ::uvs::test::Equal(got_, want_))
#define CHECK_NE(got, want) UVS_CHECK_PAIR(got, "!=", want, !::uvs::test::Equal(got_, want_))
#define CHECK_LT(got, want) UVS_CHECK_PAIR(got, "<", want, ::uvs::test::Less(got_, want_))
#define CHECK_LE(got, want) UVS_CHECK_PAIR(got, "<=", want, !::uvs::test::Less(want_, got_))
#define CHECK_GT(got, want) UVS_CHECK_PAIR(got, ">", want, ::uvs::test::Less(want_, got_))
#define CHECK_GE(got, want) UVS_CHECK_PAIR(got, ">=", want, !::uvs::test::Less(got_, want_))

int main(int argc, char** argv) { return uvs::test::RunAll(argc, argv); }
