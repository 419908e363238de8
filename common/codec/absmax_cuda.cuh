// absmax.h on the GPU, for any packing of codes. A Packing says
//   kMaxCode                             qmax
//   RowBytes(D)                          bytes of a row
//   Pack(codes, count, access, out)      kChunk codes (count of them real) to their place in the
//   row Unpack(in, count, access, codes)     and back
#pragma once

#include <cuda_runtime.h>

#include "common/codec/rows_cuda.cuh"

namespace qc2c {

__device__ inline float DeviceScale(float amax, float qmax, ScaleType type) {
  float scale = __fdiv_rn(amax, qmax);
  if (type == ScaleType::kFp16) scale = __half2float(__float2half_rn(scale));
  if (type == ScaleType::kBf16) {
    scale = Element<DType::kBf16>::Widen(Element<DType::kBf16>::Narrow(scale));
  }
  if (scale < (type == ScaleType::kFp16 ? 0x1p-14f : 0x1p-126f)) return 0.0f;
  const float largest = __fmul_rn(scale, qmax);
  return isinf(largest) ? largest : scale;
}

__device__ inline void StoreDeviceScale(float scale, ScaleType type, uint32_t index,
                                        uint8_t* scales) {
  if (type == ScaleType::kFp32) {
    reinterpret_cast<float*>(scales)[index] = scale;
    return;
  }
  reinterpret_cast<uint16_t*>(scales)[index] = type == ScaleType::kFp16
                                                   ? Element<DType::kFp16>::Narrow(scale)
                                                   : Element<DType::kBf16>::Narrow(scale);
}

__device__ inline float LoadDeviceScale(const uint8_t* scales, uint32_t index, ScaleType type) {
  if (type == ScaleType::kFp32) return reinterpret_cast<const float*>(scales)[index];
  const uint16_t bits = reinterpret_cast<const uint16_t*>(scales)[index];
  return type == ScaleType::kFp16 ? Element<DType::kFp16>::Widen(bits)
                                  : Element<DType::kBf16>::Widen(bits);
}

// AbsmaxCode of the CPU for a chunk: the code of value i is the low bits of codes[i].
//
// Adding 1.5 * 2^23 rounds to an integer, ties to even, as on the CPU. The product with the
// reciprocal is within 2^-22 of the quotient (relative, so 2^-15 at most here), which decides
// nothing unless the quotient is near a tie; only then is the chunk divided. No clamp: by the
// derivation in absmax.h no quotient reaches qmax + 1/2. A scale of 0 comes with a reciprocal of 0
// and gives codes of 0.
__device__ inline void ChunkCodes(const float (&values)[kChunk], float scale, float reciprocal,
                                  uint32_t (&codes)[kChunk]) {
  constexpr float kMagic = 0x1.8p23f;
  float farthest = 0.0f;  // from the nearest integer, of any value
#pragma unroll
  for (uint32_t i = 0; i < kChunk; ++i) {
    const float quotient = __fmul_rn(values[i], reciprocal);
    const float shifted = __fadd_rn(quotient, kMagic);
    codes[i] = __float_as_uint(shifted);
    farthest = fmaxf(farthest, fabsf(__fsub_rn(quotient, __fsub_rn(shifted, kMagic))));
  }
  if (farthest < 0.5f - 0x1p-10f) return;
#pragma unroll
  for (uint32_t i = 0; i < kChunk; ++i) {
    codes[i] = __float_as_uint(__fadd_rn(__fdiv_rn(values[i], scale), kMagic));
  }
}

// The largest magnitude of each group of an axis over tokens, into args.group_max.
template <DType kType>
__global__ void GroupMaxKernel(CudaBlocks args) {
  const RowPlace place = PlaceOfThread(args);
  if (!place.active) return;
  const auto* const row = RowOf<kType>(args, args.blocks[blockIdx.y], place);
  uint32_t max = 0;
  for (uint32_t d = place.lane * kChunk; d < args.head_dim; d += kLanes * kChunk) {
    float values[kChunk];
    LoadChunk<kType>(row + d, args.head_dim - d, args.access, values);
    max = ::max(max, ChunkMax(values));
  }
  max = RowMax(max, place.group);
  if (place.lane != 0) return;
  uint32_t* const group =
      args.group_max + blockIdx.y * args.num_heads + (args.axis == Axis::kPerHead ? place.head : 0);
  // Most rows do not raise the maximum, and reading is cheaper than an atomic.
  if (max > *static_cast<volatile uint32_t*>(group)) atomicMax(group, max);
}

// The scale of a row; the first row of its group also stores it.
__device__ inline float GroupScale(const CudaBlocks& args, const CudaBlock& block,
                                   const RowPlace& place, uint32_t row_max, float qmax) {
  uint32_t max = row_max;
  uint32_t index = place.row;
  bool first = true;
  if (args.axis != Axis::kPerToken) {
    index = args.axis == Axis::kPerHead ? place.head : 0;
    first = place.token == 0 && place.head == index;
    max = args.group_max[blockIdx.y * args.num_heads + index];
  }
  uint32_t fault = max >= kDeviceNotFiniteBits ? kDeviceNotFinite : 0;
  float scale = fault != 0 ? 0.0f : DeviceScale(__uint_as_float(max), qmax, args.scale_type);
  if (isinf(scale)) {
    fault = kDeviceOutOfRange;
    scale = 0.0f;
  }
  if (place.lane == 0 && first) {
    StoreDeviceScale(scale, args.scale_type, index, args.data + block.scales_offset);
    if (fault != 0) atomicOr(args.faults + blockIdx.y, fault);
  }
  return scale;
}

template <DType kType, typename Packing>
__global__ void EncodeAbsmaxKernel(CudaBlocks args) {
  const RowPlace place = PlaceOfThread(args);
  if (!place.active) return;
  const CudaBlock block = args.blocks[blockIdx.y];
  const auto* const row = RowOf<kType>(args, block, place);
  const uint32_t dim = args.head_dim;
  const uint32_t first = place.lane * kChunk;

  float kept[kChunk] = {};  // this lane's first chunk, which is all of it for D up to 64
  if (first < dim) LoadChunk<kType>(row + first, dim - first, args.access, kept);
  uint32_t max = 0;
  if (args.axis == Axis::kPerToken) {
    max = ChunkMax(kept);
    for (uint32_t d = first + kLanes * kChunk; d < dim; d += kLanes * kChunk) {
      float values[kChunk];
      LoadChunk<kType>(row + d, dim - d, args.access, values);
      max = ::max(max, ChunkMax(values));
    }
    max = RowMax(max, place.group);
  }

  constexpr float kMaxCode = Packing::kMaxCode;
  const float scale = GroupScale(args, block, place, max, kMaxCode);
  const float reciprocal = scale > 0.0f ? __frcp_rn(scale) : 0.0f;
  uint8_t* const out =
      args.data + block.codes_offset + static_cast<uint64_t>(place.row) * Packing::RowBytes(dim);
  for (uint32_t d = first; d < dim; d += kLanes * kChunk) {
    if (d != first) LoadChunk<kType>(row + d, dim - d, args.access, kept);
    uint32_t codes[kChunk];
    ChunkCodes(kept, scale, reciprocal, codes);
    Packing::Pack(codes, dim - d, args.access, out + Packing::RowBytes(d));
  }
}

template <DType kType, typename Packing>
__global__ void DecodeAbsmaxKernel(CudaBlocks args) {
  const RowPlace place = PlaceOfThread(args);
  if (!place.active) return;
  const CudaBlock block = args.blocks[blockIdx.y];
  auto* const row = RowOf<kType>(args, block, place);
  const uint32_t dim = args.head_dim;
  const uint32_t index = args.axis == Axis::kPerToken  ? place.row
                         : args.axis == Axis::kPerHead ? place.head
                                                       : 0;
  const float scale = LoadDeviceScale(args.data + block.scales_offset, index, args.scale_type);
  const uint8_t* const in =
      args.data + block.codes_offset + static_cast<uint64_t>(place.row) * Packing::RowBytes(dim);
  for (uint32_t d = place.lane * kChunk; d < dim; d += kLanes * kChunk) {
    int codes[kChunk];
    Packing::Unpack(in + Packing::RowBytes(d), dim - d, args.access, codes);
    float values[kChunk];
#pragma unroll
    for (uint32_t i = 0; i < kChunk; ++i) {
      values[i] = __fmul_rn(static_cast<float>(codes[i]), scale);
    }
    StoreChunk<kType>(values, dim - d, args.access, row + d);
  }
}

template <typename Packing>
int LaunchEncodeAbsmax(const CudaBlocks& args, CUstream_st* stream) {
  return ForDType(args.dtype, [&]<DType kType>() -> int {
    if (args.axis != Axis::kPerToken) {
      GroupMaxKernel<kType><<<RowGrid(args), kThreadsPerBlock, 0, stream>>>(args);
    }
    EncodeAbsmaxKernel<kType, Packing><<<RowGrid(args), kThreadsPerBlock, 0, stream>>>(args);
    return cudaGetLastError();
  });
}

template <typename Packing>
int LaunchDecodeAbsmax(const CudaBlocks& args, CUstream_st* stream) {
  return ForDType(args.dtype, [&]<DType kType>() -> int {
    DecodeAbsmaxKernel<kType, Packing><<<RowGrid(args), kThreadsPerBlock, 0, stream>>>(args);
    return cudaGetLastError();
  });
}

}  // namespace qc2c
