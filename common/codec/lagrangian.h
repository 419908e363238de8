// Bytes shared out among units of several alternatives each.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace qc2c {

struct Alternative {
  uint64_t bytes = 0;
  double distortion = 0;  // infinite: never taken
};

// The alternative of each unit, as indices, of least distortion in sum for at most `max_bytes` in
// sum: the largest lambda-optimal choice that fits, then the steps of the best ratio of distortion
// to bytes that still fit. Not always the optimum (that is a knapsack), but never further from it
// than one step of one unit. REQUIRES: alternative 0 of each unit has 0 bytes and a finite
// distortion.
std::vector<size_t> Allocate(const std::vector<std::vector<Alternative>>& units,
                             uint64_t max_bytes);

}  // namespace qc2c
