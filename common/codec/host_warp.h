// A warp on the host, for tests: 32 lanes that take each step one after the other.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <numeric>

namespace qc2c {

class HostWarp {
 public:
  static constexpr uint32_t kLanes = 32;
  template <typename T>
  using PerLane = std::array<T, kLanes>;

  template <typename Step>
  void ForEachLane(Step step) const {
    for (uint32_t lane = 0; lane < kLanes; ++lane) step(lane);
  }
  void Sync() const {}
  static uint32_t Count(uint32_t lanes) { return static_cast<uint32_t>(std::popcount(lanes)); }
  uint32_t Ballot(const PerLane<bool>& votes) const {
    uint32_t lanes = 0;
    for (uint32_t lane = 0; lane < kLanes; ++lane) lanes |= uint32_t{votes[lane]} << lane;
    return lanes;
  }
  void Shuffle(const PerLane<uint32_t>& from, const PerLane<uint32_t>& source,
               PerLane<uint32_t>& to) const {
    for (uint32_t lane = 0; lane < kLanes; ++lane) to[lane] = from[source[lane]];
  }
  uint64_t Sum(const PerLane<uint64_t>& numbers) const {
    return std::accumulate(numbers.begin(), numbers.end(), uint64_t{0});
  }
  uint64_t Least(const PerLane<uint64_t>& numbers) const {
    return *std::ranges::min_element(numbers);
  }
  void Increment(uint32_t* shared) const { ++*shared; }
};

}  // namespace qc2c
