// The schemes with scales on the GPU, whatever the shape and the axis.
#pragma once

#include <cuda_runtime.h>

#include "common/codec/row_codes_cuda.cuh"
#include "common/codec/shared_scales_cuda.h"
#include "common/codec/whole_rows_cuda.cuh"

namespace qc2c {

// The statistic of this lane's chunks of a row; `kept` gets the first of them.
template <DType kType, typename Quantizer>
__device__ float LaneStatistic(const CudaBlocks& args, const Quantizer& q,
                               const typename Element<kType>::Bits* row, const RowPlace& place,
                               float (&kept)[kChunk]) {
  const Statistic statistic = q.Rule().statistic;
  float total = 0.0f;
  uint32_t max = 0;
  for (uint32_t d = place.lane * kChunk; d < args.head_dim; d += kLanes * kChunk) {
    float values[kChunk];
    LoadChunk<kType>(row + d, args.head_dim - d, args.access, values);
    if (d == place.lane * kChunk) {
#pragma unroll
      for (uint32_t i = 0; i < kChunk; ++i) kept[i] = values[i];
    }
    if (statistic != Statistic::kAbsmax) max = ::max(max, ChunkMax(values));
    total = Combine(statistic, total, ChunkStatistic(statistic, values));
  }
  if (max >= kDeviceNotFiniteBits) ReportFault(args, kDeviceNotFinite);
  return total;
}

// One scale for the whole row.
template <DType kType, typename Quantizer>
__device__ void EncodeRow(const CudaBlocks& args, const Quantizer& q, const RowCodes& row,
                          const typename Element<kType>::Bits* in) {
  const uint32_t dim = args.head_dim;
  const uint32_t first = row.place.lane * kChunk;
  float kept[kChunk] = {};  // this lane's first chunk, which is all of it for D up to 64
  float scale;
  if (args.scaling.axis == Axis::kPerToken) {
    const float total =
        LanesStatistic(q.Rule().statistic, LaneStatistic<kType>(args, q, in, row.place, kept),
                       kLanes, row.place.group);
    scale = FindScale(args, q, args.scaling.type, row, total, kLanes, dim, row.place.row);
  } else {
    if (first < dim) LoadChunk<kType>(in + first, dim - first, args.access, kept);
    scale = LoadDeviceScale(row.scales, args.scaling.axis == Axis::kPerHead ? row.place.head : 0,
                            args.scaling.type);
  }
  for (uint32_t d = first; d < dim; d += kLanes * kChunk) {
    if (d != first) LoadChunk<kType>(in + d, dim - d, args.access, kept);
    uint32_t codes[kChunk];
    q.EncodeChunk(kept, scale, codes);
    PackChunk<Quantizer::kBits, Quantizer::kFirstBit>(codes, dim - d, args.access,
                                                      row.codes + d / kChunk * Quantizer::kBits);
  }
}

// How many values the group at `d` has; 0 past the row.
__device__ inline uint32_t GroupSize(const CudaBlocks& args, uint32_t d) {
  const uint32_t size = args.scaling.group_size;
  const uint32_t first = d / size * size;
  return first < args.head_dim ? min(size, args.head_dim - first) : 0;
}

// Two levels: the scale of the row, stored. All lanes of the row take part, and get it.
template <DType kType, typename Quantizer>
__device__ float FindRowScale(const CudaBlocks& args, const Quantizer& q, const RowCodes& row,
                              const typename Element<kType>::Bits* in) {
  const ScaleRule rule = q.Rule();
  const uint32_t dim = args.head_dim;
  uint32_t most = 0;  // as bits, which order like the magnitudes and keep a NaN
  for (uint32_t start = 0; start < dim; start += kLanes * kChunk) {
    const uint32_t d = start + row.place.lane * kChunk;
    float values[kChunk] = {};
    if (d < dim) LoadChunk<kType>(in + d, dim - d, args.access, values);
    const float total = LanesStatistic(rule.statistic, ChunkStatistic(rule.statistic, values),
                                       args.scaling.group_size / kChunk, row.place.group);
    const uint32_t num = GroupSize(args, d);
    if (num > 0) most = ::max(most, __float_as_uint(DeviceRawScale(rule, total, num)));
  }
  const float largest = __uint_as_float(RowMax(most, row.place.group));
  const float scale = DeviceRowScale(largest);
  const bool is_stored = isfinite(scale);
  if (row.place.lane == 0) {
    const bool not_finite = rule.statistic == Statistic::kAbsmax && !isfinite(largest);
    if (!is_stored) ReportFault(args, not_finite ? kDeviceNotFinite : kDeviceOutOfRange);
    const uint16_t bits = Element<DType::kFp16>::Narrow(is_stored ? scale : 0.0f);
    uint8_t* const out = row.scales + LevelsOfRow(args.scaling, row.place.row, dim);
    out[0] = static_cast<uint8_t>(bits);
    out[1] = static_cast<uint8_t>(bits >> 8);
  }
  return is_stored ? scale : 0.0f;
}

// The scale of a group of this statistic under its row's; the first of its lanes stores it.
template <typename Quantizer>
__device__ float FindLevel(const CudaBlocks& args, const Quantizer& q, const RowCodes& row,
                           float total, uint32_t d, float row_scale) {
  const uint32_t num = GroupSize(args, d);
  const uint8_t level = num > 0 ? DeviceLevel(DeviceRawScale(q.Rule(), total, num), row_scale) : 0;
  if (row.place.lane % (args.scaling.group_size / kChunk) == 0 && num > 0) {
    row.scales[LevelsOfRow(args.scaling, row.place.row, args.head_dim) + kRowScaleBytes +
               d / args.scaling.group_size] = level;
  }
  return DeviceGroupScale(row_scale, level);
}

// Groups of G values: G / 8 lanes share a scale. All lanes stay in the loop, for the shuffles.
template <DType kType, typename Quantizer>
__device__ void EncodeGroups(const CudaBlocks& args, const Quantizer& q, const RowCodes& row,
                             const typename Element<kType>::Bits* in) {
  const uint32_t dim = args.head_dim;
  const uint32_t size = args.scaling.group_size;
  const uint64_t num_scales = ScalesOfRow(args.scaling, dim);
  const bool two_levels = args.scaling.type == ScaleType::kTwoLevel;
  const float row_scale = two_levels ? FindRowScale<kType>(args, q, row, in) : 0.0f;
  for (uint32_t start = 0; start < dim; start += kLanes * kChunk) {
    const uint32_t d = start + row.place.lane * kChunk;
    float values[kChunk] = {};
    if (d < dim) LoadChunk<kType>(in + d, dim - d, args.access, values);
    if (ChunkMax(values) >= kDeviceNotFiniteBits) ReportFault(args, kDeviceNotFinite);
    const uint32_t group = d / size;
    const uint32_t num_lanes = size / kChunk;
    const Statistic statistic = q.Rule().statistic;
    const float total =
        LanesStatistic(statistic, ChunkStatistic(statistic, values), num_lanes, row.place.group);
    const float scale = two_levels
                            ? FindLevel(args, q, row, total, d, row_scale)
                            : FindScale(args, q, args.scaling.type, row, total, num_lanes,
                                        GroupSize(args, d), row.place.row * num_scales + group);
    if (d >= dim) continue;
    uint32_t codes[kChunk];
    q.EncodeChunk(values, scale, codes);
    PackChunk<Quantizer::kBits, Quantizer::kFirstBit>(codes, dim - d, args.access,
                                                      row.codes + d / kChunk * Quantizer::kBits);
  }
}

// A scale for each value, found before.
template <DType kType, typename Quantizer>
__device__ void EncodeChannels(const CudaBlocks& args, const Quantizer& q, const RowCodes& row,
                               const typename Element<kType>::Bits* in) {
  const uint32_t dim = args.head_dim;
  for (uint32_t d = row.place.lane * kChunk; d < dim; d += kLanes * kChunk) {
    float values[kChunk];
    LoadChunk<kType>(in + d, dim - d, args.access, values);
    uint32_t codes[kChunk];
#pragma unroll
    for (uint32_t i = 0; i < kChunk; ++i) {
      const uint64_t index =
          ScaleIndex(args.scaling, row.place.token, row.place.head, d + i, args.num_heads, dim);
      const float scale =
          d + i < dim ? LoadDeviceScale(row.scales, index, args.scaling.type) : 0.0f;
      codes[i] = q.EncodeValue(values[i], scale);
    }
    PackChunk<Quantizer::kBits, Quantizer::kFirstBit>(codes, dim - d, args.access,
                                                      row.codes + d / kChunk * Quantizer::kBits);
  }
}

template <DType kType, typename Quantizer>
__global__ void EncodeScaledKernel(CudaBlocks args, Quantizer q) {
  const RowPlace place = PlaceOfThread(args);
  if (!place.active) return;
  const RowCodes row = CodesOf<Quantizer::kBits>(args, args.blocks[blockIdx.y], place);
  const auto* const in = RowOf<kType>(args, row.block, place);
  if (ScalesFollowChannels(args.scaling.axis)) {
    EncodeChannels<kType>(args, q, row, in);
  } else if (args.scaling.axis == Axis::kGroup) {
    EncodeGroups<kType>(args, q, row, in);
  } else {
    EncodeRow<kType>(args, q, row, in);
  }
}

template <DType kType, typename Quantizer>
__global__ void DecodeScaledKernel(CudaBlocks args, Quantizer q) {
  const RowPlace place = PlaceOfThread(args);
  if (!place.active) return;
  const RowCodes row = CodesOf<Quantizer::kBits>(args, args.blocks[blockIdx.y], place);
  auto* const out = RowOf<kType>(args, row.block, place);
  const uint32_t dim = args.head_dim;
  const bool per_channel = ScalesFollowChannels(args.scaling.axis);
  for (uint32_t d = place.lane * kChunk; d < dim; d += kLanes * kChunk) {
    uint32_t codes[kChunk];
    UnpackChunk<Quantizer::kBits>(row.codes + d / kChunk * Quantizer::kBits, dim - d, args.access,
                                  codes);
    // A chunk lies inside one group, as groups are multiples of eight values.
    const uint64_t index =
        ScaleIndex(args.scaling, place.token, place.head, d, args.num_heads, dim);
    const float shared =
        args.scaling.type == ScaleType::kTwoLevel
            ? LoadDeviceLevels(row.scales + LevelsOfRow(args.scaling, place.row, dim),
                               d / args.scaling.group_size)
            : LoadDeviceScale(row.scales, index, args.scaling.type);
    float values[kChunk];
#pragma unroll
    for (uint32_t i = 0; i < kChunk; ++i) {
      const float scale = per_channel && d + i < dim
                              ? LoadDeviceScale(row.scales, index + i, args.scaling.type)
                              : shared;
      values[i] = q.DecodeValue(codes[i], scale);
    }
    StoreChunk<kType>(values, dim - d, args.access, out + d);
  }
}

template <typename Quantizer>
int LaunchEncodeScaled(const CudaBlocks& args, const Quantizer& q, CUstream_st* stream) {
  if (!ScalesFollowTokens(args.scaling.axis)) {
    const int error = LaunchSharedScales(args, q.Rule(), stream);
    if (error != cudaSuccess) return error;
  }
  if (HasWholeRows(args)) return LaunchEncodeWholeRows(args, q, stream);
  return ForDType(args.dtype, [&]<DType kType>() -> int {
    EncodeScaledKernel<kType><<<RowGrid(args), kThreadsPerBlock, 0, stream>>>(args, q);
    return cudaGetLastError();
  });
}

template <typename Quantizer>
int LaunchDecodeScaled(const CudaBlocks& args, const Quantizer& q, CUstream_st* stream) {
  if (HasWholeRows(args)) return LaunchDecodeWholeRows(args, q, stream);
  return ForDType(args.dtype, [&]<DType kType>() -> int {
    DecodeScaledKernel<kType><<<RowGrid(args), kThreadsPerBlock, 0, stream>>>(args, q);
    return cudaGetLastError();
  });
}

}  // namespace qc2c
