// A warp on the GPU: what a lane calls is this thread's part of it.
#pragma once

#include <cstdint>

namespace qc2c {

class DeviceWarp {
 public:
  static constexpr uint32_t kLanes = 32;

  template <typename T>
  struct PerLane {
    T own;
    __device__ T& operator[](uint32_t) { return own; }
    __device__ const T& operator[](uint32_t) const { return own; }
  };

  template <typename Step>
  __device__ void ForEachLane(Step step) const {
    step(threadIdx.x % kLanes);
  }
  __device__ void Sync() const { __syncwarp(); }
  __device__ static uint32_t Count(uint32_t lanes) { return __popc(lanes); }
  __device__ uint32_t Ballot(const PerLane<bool>& votes) const {
    return __ballot_sync(kEvery, votes.own);
  }
  __device__ void Shuffle(const PerLane<uint32_t>& from, const PerLane<uint32_t>& source,
                          PerLane<uint32_t>& to) const {
    to.own = __shfl_sync(kEvery, from.own, source.own);
  }
  __device__ uint64_t Sum(const PerLane<uint64_t>& numbers) const {
    uint64_t sum = numbers.own;
    for (uint32_t step = kLanes / 2; step > 0; step /= 2) sum += __shfl_xor_sync(kEvery, sum, step);
    return sum;
  }
  __device__ uint64_t Least(const PerLane<uint64_t>& numbers) const {
    uint64_t least = numbers.own;
    for (uint32_t step = kLanes / 2; step > 0; step /= 2) {
      const uint64_t other = __shfl_xor_sync(kEvery, least, step);
      if (other < least) least = other;
    }
    return least;
  }
  __device__ void Increment(uint32_t* shared) const { atomicAdd(shared, 1u); }

 private:
  static constexpr uint32_t kEvery = 0xffffffffu;
};

}  // namespace qc2c
