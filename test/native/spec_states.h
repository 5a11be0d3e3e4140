// The state tables of spec 3.6 and 3.6.2 as text, and what reads them: a test of every cell against
// what is written there, not against another array of constants.
//
// A block begins with INPUT, OUTPUT or INPUT-ONLY and the names of the present states; each row
// after it is an event and the next state for each of them.
#pragma once
#include <cstdint>
#include <sstream>
#include <string>
#include <vector>

namespace uvs::spec {

inline constexpr char kTcpNormal[] = R"(
INPUT NO ES SS SR FW TW CL CW LA LI SA
syn SR ES ES SR SR SR SR SR SR SR SR
fin CL CW SS TW TW TW CL CW LA LI TW
ack ES ES SS ES FW TW CL CW CL LI ES
rst CL CL CL SR CL CL CL CL LA LI SR
OUTPUT NO ES SS SR FW TW CL CW LA LI SA
syn SS ES SS SR SS SS SS SS SS LI SR
fin TW FW SS TW FW TW CL TW LA LI TW
ack ES ES SS ES FW TW CL CW LA ES ES
rst CL CL SS CL CL TW CL CL CL CL CL
INPUT-ONLY NO ES SS SR FW TW CL CW LA LI SA
syn SR ES ES SR SR SR SR SR SR SR SR
fin CL FW SS TW FW TW CL CW LA LI TW
ack ES ES SS ES FW TW CL CW CL LI ES
rst CL CL CL SR CL CL CL CL LA LI CL
)";

inline constexpr char kTcpSecure[] = R"(
INPUT NO ES SS SR FW TW CL CW LA LI SA
syn SR ES ES SR SR SR SR SR SR SR SA
fin CL CW SS TW TW TW CL CW LA LI SA
ack ES ES SS SR FW TW CL CW CL LI SA
rst CL CL CL SR CL CL CL CL LA LI CL
OUTPUT NO ES SS SR FW TW CL CW LA LI SA
syn SS ES SS SA SS SS SS SS SS LI SA
fin TW FW SS TW FW TW CL TW LA LI TW
ack ES ES SS ES FW TW CL CW LA ES ES
rst CL CL SS CL CL TW CL CL CL CL CL
INPUT-ONLY NO ES SS SR FW TW CL CW LA LI SA
syn SA ES ES SR SA SA SA SA SA SA SA
fin CL FW SS TW FW TW CL CW LA LI TW
ack ES ES SS ES FW TW CL CW CL LI ES
rst CL CL CL SR CL CL CL CL LA LI CL
)";

inline constexpr char kSctp[] = R"(
INPUT NO I1 IN CS CR CW CO CE ES SS SR SA RJ CL
d ES I1 IN CS CR CW CO CE ES SS SR SA RJ CL
i I1 IN IN CS CR CW CO CE ES SS SR SA IN IN
i_a CW CW CW CS CR CO CO CE ES SS SR SA RJ CL
c_e CR IN IN CR CR CW CO CE ES SS SR SA RJ CL
c_a ES I1 IN CS CR CW CO ES ES SS SR SA RJ CL
s SR I1 IN CS CR CW CO CE SR SS SR SA RJ CL
s_a CL IN IN CS CR CW CO CE ES CL SR CL RJ CL
s_c CL CL CL CS CR CW CO CE ES SS SR CL RJ CL
err CL I1 IN CS CR CW CO CL ES SS SR SA RJ CL
ab CL CL CL CL CL RJ CL CL CL CL CL CL CL CL
OUTPUT NO I1 IN CS CR CW CO CE ES SS SR SA RJ CL
d ES I1 IN CS CR CW CO CE ES SS SR SA RJ CL
i CW CW CW CW CW CW CW CW ES CW CW CW CW CW
i_a CS CS CS CS CR CW CO CE ES SS SR SA RJ CL
c_e CE CE CE CE CE CE CE CE ES SS SR SA RJ CL
c_a ES ES ES ES ES ES ES ES ES SS SR SA RJ CL
s SS SS SS SS SS SS SS SS SS SS SR SA RJ CL
s_a SA SA SA SA SA CW CO CE ES SA SA SA RJ CL
s_c CL I1 IN CS CR CW CO CE ES SS SR SA RJ CL
err CL CL CL CL CL CW CO CE ES SS SR SA RJ CL
ab CL RJ CL CL CL CL CL CL CL CL CL CL CL CL
INPUT-ONLY NO I1 IN CS CR CW CO CE ES SS SR SA RJ CL
d ES I1 IN CS CR ES CO CE ES SS SR SA RJ CL
i I1 IN IN IN IN IN CO CE ES SS SR SA IN IN
i_a CE CE CE CE CE CE CO CE ES SS SR SA RJ CL
c_e ES ES ES ES ES ES CO CE ES SS SR SA RJ CL
c_a ES I1 IN ES ES CW ES ES ES SS SR SA RJ CL
s SR I1 IN CS CR CW CO CE SR SS SR SA RJ CL
s_a CL IN IN CS CR CW CO CE CL CL SR CL RJ CL
s_c CL CL CL CL CL CW CO CE ES SS CL CL RJ CL
err CL I1 IN CS CR CW CO CE ES SS SR SA RJ CL
ab CL CL CL CL CL RJ CL CL CL CL CL CL CL CL
)";

// One cell: in `rows` (0 input, 1 output, 2 input only), `event` moves `state` to `next`.
struct Cell {
  uint32_t rows;
  std::string event;
  uint8_t state;
  uint8_t next;
};

// Every cell of a text; the number of a state is its place in the first line of names.
inline std::vector<Cell> cells(const char* text) {
  std::vector<Cell> out;
  std::vector<std::string> names;
  uint32_t rows = 0;
  const auto number = [&](const std::string& name) {
    for (size_t i = 0; i < names.size(); i++) {
      if (names[i] == name) return static_cast<uint8_t>(i);
    }
    return uint8_t{0xff};
  };
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    std::string first;
    if (!(words >> first)) continue;
    const bool head = first == "INPUT" || first == "OUTPUT" || first == "INPUT-ONLY";
    if (head) {
      rows = first == "INPUT" ? 0 : first == "OUTPUT" ? 1 : 2;
      names.clear();
    }
    uint8_t state = 0;
    for (std::string word; words >> word; state++) {
      if (head) {
        names.push_back(word);
      } else {
        out.push_back(Cell{rows, first, state, number(word)});
      }
    }
  }
  return out;
}

}  // namespace uvs::spec
