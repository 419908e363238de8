// A row's codes and its scale on the GPU. A Quantizer is passed to the kernels by value and says
//   kBits, kFirstBit                    width of a code, and where it begins in its word
//   Rule()                              its ScaleRule
//   EncodeChunk(values, scale, codes)   kChunk values that share a scale
//   EncodeValue(value, scale)           one code
//   DecodeValue(code, scale)            one value
#pragma once

#include "common/codec/packing_cuda.cuh"
#include "common/codec/scales_cuda.cuh"

namespace qc2c {

// What a row of this kernel is and where its codes go.
struct RowCodes {
  RowPlace place;
  CudaBlock block;
  uint8_t* codes;
  uint8_t* scales;  // of the whole block
};

template <uint32_t kBits>
__device__ RowCodes CodesOf(const CudaBlocks& args, const CudaBlock& block, const RowPlace& place) {
  return {place, block,
          args.data + block.codes_offset +
              static_cast<uint64_t>(place.row) * DevicePackedBytes(kBits, args.head_dim),
          args.data + block.scales_offset};
}

// The scale of `num` values of this statistic, which `num_lanes` lanes know; the first of them
// stores it.
template <typename Quantizer>
__device__ float FindScale(const CudaBlocks& args, const Quantizer& q, ScaleType type,
                           const RowCodes& row, float total, uint32_t num_lanes, uint32_t num,
                           uint64_t index) {
  const ScaleRule rule = q.Rule();
  const float scale = DeviceScaleOf(rule, total, num, type);
  const uint32_t fault = ScaleFault(rule, total, scale);
  if (row.place.lane % num_lanes == 0 && num > 0) {
    ReportFault(args, fault);
    StoreDeviceScale(fault != 0 ? 0.0f : scale, type, index, row.scales);
  }
  return fault != 0 ? 0.0f : scale;
}

}  // namespace qc2c
