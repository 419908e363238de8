// scale_rule.h on the GPU, to the bit: statistics of chunks, lanes and rows, and scales.
#pragma once

#include "common/codec/rows_cuda.cuh"
#include "common/codec/scale_rule.h"

namespace qc2c {

// Two statistics of disjoint values. Maxima are compared as bits, which order like magnitudes and
// keep a NaN.
__device__ inline float Combine(Statistic statistic, float a, float b) {
  return statistic == Statistic::kAbsmax
             ? __uint_as_float(::max(__float_as_uint(a), __float_as_uint(b)))
             : __fadd_rn(a, b);
}

// max |x|, sum |x| or sum x^2 of a chunk; values past a row's end are 0.
__device__ inline float ChunkStatistic(Statistic statistic, const float (&values)[kChunk]) {
  if (statistic == Statistic::kAbsmax) return __uint_as_float(ChunkMax(values));
  float terms[kChunk];
#pragma unroll
  for (uint32_t i = 0; i < kChunk; ++i) {
    terms[i] = statistic == Statistic::kRms ? __fmul_rn(values[i], values[i]) : fabsf(values[i]);
  }
  return __fadd_rn(__fadd_rn(__fadd_rn(terms[0], terms[4]), __fadd_rn(terms[2], terms[6])),
                   __fadd_rn(__fadd_rn(terms[1], terms[5]), __fadd_rn(terms[3], terms[7])));
}

// The statistic of `num_lanes` (a power of two) neighbouring lanes of a row, known to each.
__device__ inline float LanesStatistic(Statistic statistic, float value, uint32_t num_lanes,
                                       uint32_t group) {
  for (uint32_t step = num_lanes / 2; step > 0; step /= 2) {
    value = Combine(statistic, value, __shfl_xor_sync(group, value, step));
  }
  return value;
}

// The statistic over the divisor, which is what gets rounded.
__device__ inline float DeviceRawScale(const ScaleRule& rule, float total, uint64_t num) {
  float scale = total;
  if (rule.statistic != Statistic::kAbsmax) scale = __fdiv_rn(scale, __ull2float_rn(num));
  if (rule.statistic == Statistic::kRms) scale = __fsqrt_rn(scale);
  return __fdiv_rn(scale, rule.divisor);
}

// The stored scale, widened; infinite or NaN where the values cannot be stored.
__device__ inline float DeviceScaleOf(const ScaleRule& rule, float total, uint64_t num,
                                      ScaleType type) {
  float scale = DeviceRawScale(rule, total, num);
  if (type == ScaleType::kFp16) scale = __half2float(__float2half_rn(scale));
  if (type == ScaleType::kBf16) {
    scale = Element<DType::kBf16>::Widen(Element<DType::kBf16>::Narrow(scale));
  }
  if (scale < (type == ScaleType::kFp16 ? 0x1p-14f : 0x1p-126f)) return 0.0f;
  const float largest = __fmul_rn(scale, rule.top);
  return isinf(largest) ? largest : scale;
}

__device__ inline void StoreDeviceScale(float scale, ScaleType type, uint64_t index,
                                        uint8_t* scales) {
  if (type == ScaleType::kFp32) {
    reinterpret_cast<float*>(scales)[index] = scale;
    return;
  }
  reinterpret_cast<uint16_t*>(scales)[index] = type == ScaleType::kFp16
                                                   ? Element<DType::kFp16>::Narrow(scale)
                                                   : Element<DType::kBf16>::Narrow(scale);
}

__device__ inline float LoadDeviceScale(const uint8_t* scales, uint64_t index, ScaleType type) {
  if (type == ScaleType::kFp32) return reinterpret_cast<const float*>(scales)[index];
  const uint16_t bits = reinterpret_cast<const uint16_t*>(scales)[index];
  return type == ScaleType::kFp16 ? Element<DType::kFp16>::Widen(bits)
                                  : Element<DType::kBf16>::Widen(bits);
}

// Two levels: where a row's bytes begin. They may lie at any byte.
__device__ inline uint64_t LevelsOfRow(const Scaling& scaling, uint64_t row, uint64_t head_dim) {
  return row * (kRowScaleBytes + ScalesOfRow(scaling, head_dim));
}

// The stored scale of the row whose largest raw scale is `most`; infinite or NaN where it cannot be
// stored.
__device__ inline float DeviceRowScale(float most) {
  const float scale = __half2float(__float2half_rn(__fmul_rn(most, kRowMargin)));
  return scale < 0x1p-14f ? 0.0f : scale;
}

__device__ inline uint8_t DeviceLevel(float raw, float row_scale) {
  if (row_scale == 0.0f) return 0;
  return static_cast<uint8_t>(fminf(ceilf(__fdiv_rn(__fmul_rn(raw, 256.0f), row_scale)), 255.0f));
}

__device__ inline float DeviceGroupScale(float row_scale, uint8_t level) {
  return __fmul_rn(row_scale, __fmul_rn(static_cast<float>(level), 0x1p-8f));
}

__device__ inline float LoadDeviceLevels(const uint8_t* row, uint64_t group) {
  const auto bits = static_cast<uint16_t>(row[0] | row[1] << 8);
  return DeviceGroupScale(Element<DType::kFp16>::Widen(bits), row[kRowScaleBytes + group]);
}

// The fault of a scale of DeviceScaleOf, 0 if it has none.
__device__ inline uint32_t ScaleFault(const ScaleRule& rule, float total, float scale) {
  const bool not_finite = __float_as_uint(total) >= kDeviceNotFiniteBits;
  if (rule.statistic == Statistic::kAbsmax && not_finite) return kDeviceNotFinite;
  return isfinite(scale) ? 0 : kDeviceOutOfRange;
}

__device__ inline void ReportFault(const CudaBlocks& args, uint32_t fault) {
  if (fault != 0) atomicOr(args.faults + blockIdx.y, fault);
}

}  // namespace qc2c
