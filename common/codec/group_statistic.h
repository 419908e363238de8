// The statistics of scale_rule.h on the CPU, in its order of addition.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "common/codec/scale_rule.h"

namespace qc2c {

// max |x|, sum |x| or sum x^2 of a row or a group of one.
float RowStatistic(Statistic statistic, const float* values, size_t num);

// The same over rows that are added in order.
class RowsStatistic {
 public:
  explicit RowsStatistic(Statistic statistic) : statistic_(statistic) {}
  void AddRow(float row_statistic);
  float Total() const;

 private:
  Statistic statistic_;
  size_t num_rows_ = 0;
  std::array<float, kBlockPartials> partials_ = {};
};

// The same for each channel, over tokens.
class ChannelsStatistic {
 public:
  ChannelsStatistic(Statistic statistic, size_t num_channels)
      : statistic_(statistic),
        num_channels_(num_channels),
        partials_(kRowPartials * num_channels, 0.0f) {}

  // `values` of the `token`-th token go to the channels from `first` on.
  void AddRow(size_t token, size_t first, const float* values, size_t num);
  float Total(size_t channel) const;

 private:
  Statistic statistic_;
  size_t num_channels_;
  std::vector<float> partials_;  // [kRowPartials, num_channels]
};

}  // namespace qc2c
