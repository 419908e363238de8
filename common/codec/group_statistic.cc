#include "common/codec/group_statistic.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "common/codec/rows.h"

namespace qc2c {
namespace {

// Adds num (a power of two) sums: j takes j + num / 2, then j + num / 4, ..., j + 1.
float AddHalves(float* sums, size_t num) {
  for (size_t step = num / 2; step > 0; step /= 2) {
    for (size_t j = 0; j < step; ++j) sums[j] += sums[j + step];
  }
  return sums[0];
}

float Term(Statistic statistic, float x) {
  return statistic == Statistic::kRms ? x * x : std::abs(x);
}

}  // namespace

float RowStatistic(Statistic statistic, const float* values, size_t num) {
  if (statistic == Statistic::kAbsmax) return std::bit_cast<float>(MaxMagnitudeBits(values, num));
  float partials[kRowPartials] = {};
  for (size_t d = 0; d < num; d += kRowPartials) {
    float eight[kRowPartials] = {};
    const size_t count = std::min<size_t>(kRowPartials, num - d);
    for (size_t i = 0; i < count; ++i) eight[i] = Term(statistic, values[d + i]);
    partials[d / kRowPartials % kRowPartials] += AddHalves(eight, kRowPartials);
  }
  return AddHalves(partials, kRowPartials);
}

void RowsStatistic::AddRow(float row_statistic) {
  float& partial = partials_[num_rows_++ % kBlockPartials];
  partial =
      statistic_ == Statistic::kAbsmax ? std::max(partial, row_statistic) : partial + row_statistic;
}

float RowsStatistic::Total() const {
  if (statistic_ == Statistic::kAbsmax) return *std::ranges::max_element(partials_);
  std::array<float, kBlockPartials> sums = partials_;
  return AddHalves(sums.data(), sums.size());
}

void ChannelsStatistic::AddRow(size_t token, size_t first, const float* values, size_t num) {
  float* const partials = partials_.data() + token % kRowPartials * num_channels_ + first;
  for (size_t i = 0; i < num; ++i) {
    partials[i] = statistic_ == Statistic::kAbsmax ? std::max(partials[i], std::abs(values[i]))
                                                   : partials[i] + Term(statistic_, values[i]);
  }
}

float ChannelsStatistic::Total(size_t channel) const {
  float sums[kRowPartials];
  for (size_t p = 0; p < kRowPartials; ++p) sums[p] = partials_[p * num_channels_ + channel];
  if (statistic_ == Statistic::kAbsmax) return *std::ranges::max_element(sums);
  return AddHalves(sums, kRowPartials);
}

}  // namespace qc2c
