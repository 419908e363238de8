#include "common/codec/lagrangian.h"

#include <algorithm>
#include <cmath>
#include <optional>

namespace qc2c {
namespace {

using Units = std::vector<std::vector<Alternative>>;

// Enough to tell any two slopes of fp64 apart that matter.
constexpr int kBisections = 64;

// The least of distortion + lambda * bytes; of equals the one of fewest bytes.
std::vector<size_t> ChoiceAt(const Units& units, double lambda) {
  std::vector<size_t> choice;
  for (const std::vector<Alternative>& unit : units) {
    size_t best = 0;
    double least = unit[0].distortion;
    for (size_t a = 1; a < unit.size(); ++a) {
      const double cost = unit[a].distortion + lambda * static_cast<double>(unit[a].bytes);
      if (cost < least || (cost == least && unit[a].bytes < unit[best].bytes)) {
        best = a;
        least = cost;
      }
    }
    choice.push_back(best);
  }
  return choice;
}

uint64_t BytesOf(const Units& units, const std::vector<size_t>& choice) {
  uint64_t bytes = 0;
  for (size_t i = 0; i < units.size(); ++i) bytes += units[i][choice[i]].bytes;
  return bytes;
}

struct Step {
  size_t unit = 0;
  size_t alternative = 0;
  double gain = 0;  // distortion a byte
};

// The step to more bytes that gains most a byte within `room`.
std::optional<Step> BestStep(const Units& units, const std::vector<size_t>& choice, uint64_t room) {
  std::optional<Step> best;
  for (size_t i = 0; i < units.size(); ++i) {
    const Alternative& now = units[i][choice[i]];
    for (size_t a = 0; a < units[i].size(); ++a) {
      const Alternative& next = units[i][a];
      if (next.distortion >= now.distortion || next.bytes > now.bytes + room) continue;
      // Bytes for nothing come first.
      const double more = next.bytes > now.bytes ? static_cast<double>(next.bytes - now.bytes) : 0;
      const double gain = (now.distortion - next.distortion) / more;
      if (!best.has_value() || gain > best->gain) best = Step{i, a, gain};
    }
  }
  return best;
}

}  // namespace

std::vector<size_t> Allocate(const Units& units, uint64_t max_bytes) {
  std::vector<size_t> choice = ChoiceAt(units, 0);
  if (BytesOf(units, choice) > max_bytes) {
    double low = 0;   // too many bytes
    double high = 0;  // nothing is worth a byte
    for (const std::vector<Alternative>& unit : units) high = std::max(high, unit[0].distortion);
    choice.assign(units.size(), 0);
    for (int i = 0; i < kBisections; ++i) {
      const double lambda = i < kBisections / 2 && low == 0 ? high / 16 : (low + high) / 2;
      const std::vector<size_t> candidate = ChoiceAt(units, lambda);
      if (BytesOf(units, candidate) > max_bytes) {
        low = lambda;
      } else {
        high = lambda;
        choice = candidate;
      }
    }
  }
  uint64_t bytes = BytesOf(units, choice);
  while (const std::optional<Step> step = BestStep(units, choice, max_bytes - bytes)) {
    choice[step->unit] = step->alternative;
    bytes = BytesOf(units, choice);
  }
  return choice;
}

}  // namespace qc2c
