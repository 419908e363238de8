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
  static constexpr uint32_t kInfinity = 0x7f80;
  // Two values in a word, the first in its lower half; a NaN gives some NaN.
  static __device__ uint32_t NarrowPair(float low, float high) {
    const __nv_bfloat162 pair = __floats2bfloat162_rn(low, high);
    return *reinterpret_cast<const uint32_t*>(&pair);
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
  static constexpr uint32_t kInfinity = 0x7c00;
  static __device__ uint32_t NarrowPair(float low, float high) {
    const __half2 pair = __floats2half2_rn(low, high);
    return *reinterpret_cast<const uint32_t*>(&pair);
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

// A chunk as it lies in memory.
template <DType kType>
struct RawChunk {
  using Bits = typename Element<kType>::Bits;
  static constexpr uint32_t kPerWord = 16 / sizeof(Bits);
  static constexpr uint32_t kWords = kChunk / kPerWord;

  Word<Bits> words[kWords];
};

// REQUIRES: `row` is a multiple of 16 bytes.
template <DType kType>
__device__ RawChunk<kType> LoadRawChunk(const typename Element<kType>::Bits* row) {
  RawChunk<kType> raw;
#pragma unroll
  for (uint32_t w = 0; w < raw.kWords; ++w) {
    raw.words[w].whole = reinterpret_cast<const uint4*>(row)[w];
  }
  return raw;
}

template <DType kType>
__device__ void WidenChunk(const RawChunk<kType>& raw, float (&values)[kChunk]) {
  if constexpr (kType == DType::kBf16) {
    // The parts of the union would take a step more.
    const uint4& whole = raw.words[0].whole;
    const uint32_t pairs[] = {whole.x, whole.y, whole.z, whole.w};
#pragma unroll
    for (uint32_t i = 0; i < kChunk; i += 2) {
      values[i] = __uint_as_float(pairs[i / 2] << 16);
      values[i + 1] = __uint_as_float(pairs[i / 2] & 0xffff0000u);
    }
  } else {
#pragma unroll
    for (uint32_t i = 0; i < kChunk; ++i) {
      values[i] = Element<kType>::Widen(raw.words[i / raw.kPerWord].parts[i % raw.kPerWord]);
    }
  }
}

// Reads `count` (at most kChunk) values at `row`; the others become 0.
template <DType kType>
__device__ void LoadChunk(const typename Element<kType>::Bits* row, uint32_t count,
                          RowAccess access, float (&values)[kChunk]) {
  if (access == RowAccess::kVector) {
    WidenChunk<kType>(LoadRawChunk<kType>(row), values);
    return;
  }
#pragma unroll
  for (uint32_t i = 0; i < kChunk; ++i) {
    values[i] = i < count ? Element<kType>::Widen(row[i]) : 0.0f;
  }
}

// The larger of `max` and the magnitudes of a chunk, as bits, which order like magnitudes and keep
// a NaN: of 16-bit types two at a time, each half of the word by itself.
template <DType kType>
__device__ uint32_t MaxMagnitudes(uint32_t max, const RawChunk<kType>& raw) {
  constexpr bool kPairs = sizeof(typename Element<kType>::Bits) == 2;
#pragma unroll
  for (uint32_t w = 0; w < raw.kWords; ++w) {
    const uint4& whole = raw.words[w].whole;
#pragma unroll
    for (const uint32_t word : {whole.x, whole.y, whole.z, whole.w}) {
      max = kPairs ? __vmaxu2(max, word & 0x7fff7fffu) : ::max(max, word & 0x7fffffffu);
    }
  }
  return max;
}

// The magnitude that MaxMagnitudes found.
template <DType kType>
__device__ float LargestOf(uint32_t max) {
  using Bits = typename Element<kType>::Bits;
  if constexpr (sizeof(Bits) == 2) max = ::max(max & 0xffffu, max >> 16);
  return Element<kType>::Widen(static_cast<Bits>(max));
}

// A whole chunk of a 16-bit type, converted two at a time; only a NaN needs Narrow for its bits.
template <DType kType>
__device__ RawChunk<kType> NarrowChunk(const float (&values)[kChunk]) {
  RawChunk<kType> raw;
  raw.words[0].whole = make_uint4(Element<kType>::NarrowPair(values[0], values[1]),
                                  Element<kType>::NarrowPair(values[2], values[3]),
                                  Element<kType>::NarrowPair(values[4], values[5]),
                                  Element<kType>::NarrowPair(values[6], values[7]));
  const uint32_t max = MaxMagnitudes<kType>(0, raw);
  if (::max(max & 0xffffu, max >> 16) > Element<kType>::kInfinity) {
#pragma unroll
    for (uint32_t i = 0; i < kChunk; ++i) raw.words[0].parts[i] = Element<kType>::Narrow(values[i]);
  }
  return raw;
}

template <DType kType>
__device__ void StoreChunk(const float (&values)[kChunk], uint32_t count, RowAccess access,
                           typename Element<kType>::Bits* row) {
  if (access == RowAccess::kScalar) {
#pragma unroll
    for (uint32_t i = 0; i < kChunk; ++i) {
      if (i < count) row[i] = Element<kType>::Narrow(values[i]);
    }
    return;
  }
  if constexpr (sizeof(typename Element<kType>::Bits) == 2) {
    *reinterpret_cast<uint4*>(row) = NarrowChunk<kType>(values).words[0].whole;
  } else {
    reinterpret_cast<float4*>(row)[0] = make_float4(values[0], values[1], values[2], values[3]);
    reinterpret_cast<float4*>(row)[1] = make_float4(values[4], values[5], values[6], values[7]);
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
  uint32_t lane;   // among the lanes of this row
  uint32_t group;  // the lanes of this row, as a warp mask
};

// `kRowLanes` lanes share a row: a power of two.
template <uint32_t kRowLanes = kLanes>
__device__ RowPlace PlaceOfRow(const CudaBlocks& args, uint32_t row) {
  RowPlace place;
  place.row = row;
  place.active = row < args.num_tokens * args.num_heads;
  // Real head counts are powers of two, and a division costs as much as a chunk.
  const uint32_t heads = args.num_heads;
  place.token = (heads & (heads - 1)) == 0 ? row >> (31 - __clz(heads)) : row / heads;
  place.head = row - place.token * heads;
  place.lane = threadIdx.x % kRowLanes;
  place.group = ((1u << kRowLanes) - 1) << (threadIdx.x % 32 / kRowLanes * kRowLanes);
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

inline dim3 RowGrid(const CudaBlocks& args) {
  const uint32_t rows = args.num_tokens * args.num_heads;
  return dim3((rows + kRowsPerBlock - 1) / kRowsPerBlock, args.num_blocks);
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
