// Rows on the GPU: eight lanes of a warp share a row and take its chunks of eight values in turn.
// The conversions give the bits of common/tensor/dtype.h, NaN included.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdint>

#include "common/codec/cuda_scheme.h"

namespace qc2c {

constexpr uint32_t kLanes = 8;  // that share a row
constexpr uint32_t kChunk = 8;  // values that a lane handles at once
constexpr uint32_t kThreadsPerBlock = 128;
constexpr uint32_t kRowsPerBlock = kThreadsPerBlock / kLanes;
constexpr uint32_t kDeviceNotFiniteBits = 0x7f800000u;
constexpr uint32_t kDeviceNotFinite = 1;   // scheme.h: kNotFinite
constexpr uint32_t kDeviceOutOfRange = 2;  // scheme.h: kOutOfRange

template <DType kType>
struct Element;

template <>
struct Element<DType::kFp32> {
  using Bits = uint32_t;
  static __device__ float Widen(uint32_t bits) { return __uint_as_float(bits); }
  static __device__ uint32_t Narrow(float value) { return __float_as_uint(value); }
};

template <>
struct Element<DType::kBf16> {
  using Bits = uint16_t;
  static __device__ float Widen(uint16_t bits) {
    return __uint_as_float(static_cast<uint32_t>(bits) << 16);
  }
  static __device__ uint16_t Narrow(float value) {
    const uint32_t bits = __float_as_uint(value);
    const uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
    return static_cast<uint16_t>(isnan(value) ? (bits >> 16) | 0x40u : rounded);
  }
};

template <>
struct Element<DType::kFp16> {
  using Bits = uint16_t;
  static __device__ float Widen(uint16_t bits) {
    const uint32_t special = (static_cast<uint32_t>(bits & 0x8000u) << 16) | 0x7f800000u |
                             (static_cast<uint32_t>(bits & 0x3ffu) << 13);
    return (bits & 0x7c00u) == 0x7c00u ? __uint_as_float(special)
                                       : __half2float(__ushort_as_half(bits));
  }
  static __device__ uint16_t Narrow(float value) {
    const uint32_t sign = (__float_as_uint(value) >> 16) & 0x8000u;
    return isnan(value) ? static_cast<uint16_t>(sign | 0x7e00u)
                        : __half_as_ushort(__float2half_rn(value));
  }
};

// What a 16-byte word holds, seen as elements.
template <typename Bits>
union Word {
  uint4 whole;
  Bits parts[16 / sizeof(Bits)];
};

// Reads `count` (at most kChunk) values at `row`; the others become 0.
template <DType kType>
__device__ void LoadChunk(const typename Element<kType>::Bits* row, uint32_t count,
                          RowAccess access, float (&values)[kChunk]) {
  using Bits = typename Element<kType>::Bits;
  constexpr uint32_t kPerWord = 16 / sizeof(Bits);
  if (access == RowAccess::kVector) {
#pragma unroll
    for (uint32_t w = 0; w < kChunk / kPerWord; ++w) {
      Word<Bits> word;
      word.whole = reinterpret_cast<const uint4*>(row)[w];
#pragma unroll
      for (uint32_t i = 0; i < kPerWord; ++i) {
        values[w * kPerWord + i] = Element<kType>::Widen(word.parts[i]);
      }
    }
    return;
  }
#pragma unroll
  for (uint32_t i = 0; i < kChunk; ++i) {
    values[i] = i < count ? Element<kType>::Widen(row[i]) : 0.0f;
  }
}

template <DType kType>
__device__ void StoreChunk(const float (&values)[kChunk], uint32_t count, RowAccess access,
                           typename Element<kType>::Bits* row) {
  using Bits = typename Element<kType>::Bits;
  constexpr uint32_t kPerWord = 16 / sizeof(Bits);
  if (access == RowAccess::kVector) {
#pragma unroll
    for (uint32_t w = 0; w < kChunk / kPerWord; ++w) {
      Word<Bits> word;
#pragma unroll
      for (uint32_t i = 0; i < kPerWord; ++i) {
        word.parts[i] = Element<kType>::Narrow(values[w * kPerWord + i]);
      }
      reinterpret_cast<uint4*>(row)[w] = word.whole;
    }
    return;
  }
#pragma unroll
  for (uint32_t i = 0; i < kChunk; ++i) {
    if (i < count) row[i] = Element<kType>::Narrow(values[i]);
  }
}

// The largest magnitude as fp32 bits; kDeviceNotFiniteBits or more if a value is NaN or infinite.
__device__ inline uint32_t ChunkMax(const float (&values)[kChunk]) {
  uint32_t max = 0;
#pragma unroll
  for (uint32_t i = 0; i < kChunk; ++i) {
    max = ::max(max, __float_as_uint(values[i]) & 0x7fffffffu);
  }
  return max;
}

// One row of one block: where this thread's row is, or active == false past the last.
struct RowPlace {
  bool active;
  uint32_t row;    // token * H + head
  uint32_t token;  // of the block
  uint32_t head;
  uint32_t lane;
  uint32_t group;  // the lanes of this row, as a warp mask
};

__device__ inline RowPlace PlaceOfRow(const CudaBlocks& args, uint32_t row) {
  RowPlace place;
  place.row = row;
  place.active = row < args.num_tokens * args.num_heads;
  // Real head counts are powers of two, and a division costs as much as a chunk.
  const uint32_t heads = args.num_heads;
  place.token = (heads & (heads - 1)) == 0 ? row >> (31 - __clz(heads)) : row / heads;
  place.head = row - place.token * heads;
  place.lane = threadIdx.x % kLanes;
  place.group = 0xffu << (threadIdx.x & 24u);
  return place;
}

// Of a kernel whose lanes take one row each.
__device__ inline RowPlace PlaceOfThread(const CudaBlocks& args) {
  return PlaceOfRow(args, blockIdx.x * kRowsPerBlock + threadIdx.x / kLanes);
}

// The cache token of a block's `token`-th.
__device__ inline uint32_t PositionOf(const CudaBlocks& args, const CudaBlock& block,
                                      uint32_t token) {
  return args.positions != nullptr ? args.positions[block.first_position + token]
                                   : args.first_position + token;
}

template <DType kType>
__device__ typename Element<kType>::Bits* RowOf(const CudaBlocks& args, const CudaBlock& block,
                                                const RowPlace& place) {
  const uint32_t position = PositionOf(args, block, place.token);
  return static_cast<typename Element<kType>::Bits*>(block.plane) + position * block.token_stride +
         place.head * block.head_stride;
}

// The maximum over the lanes of a row, known to each of them.
__device__ inline uint32_t RowMax(uint32_t max, uint32_t group) {
#pragma unroll
  for (uint32_t step = kLanes / 2; step > 0; step /= 2) {
    max = ::max(max, __shfl_xor_sync(group, max, step));
  }
  return max;
}

inline dim3 RowGrid(const CudaBlocks& args, uint32_t rows_per_lane = 1) {
  const uint32_t rows = args.num_tokens * args.num_heads;
  const uint32_t rows_per_block = kRowsPerBlock * rows_per_lane;
  return dim3((rows + rows_per_block - 1) / rows_per_block, args.num_blocks);
}

// Calls launch<DType>() for the run-time dtype.
template <typename Launch>
int ForDType(DType dtype, Launch launch) {
  switch (dtype) {
    case DType::kFp32:
      return launch.template operator()<DType::kFp32>();
    case DType::kBf16:
      return launch.template operator()<DType::kBf16>();
    case DType::kFp16:
      break;
  }
  return launch.template operator()<DType::kFp16>();
}

}  // namespace qc2c
