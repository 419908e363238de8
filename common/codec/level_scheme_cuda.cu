#include "common/codec/levels.h"
#include "common/codec/scaled_cuda.cuh"

namespace qc2c {
namespace {

// levels.h on the GPU, for any table of a width.
template <uint32_t kWidth>
struct LevelQuantizer {
  static constexpr uint32_t kBits = kWidth;
  static constexpr uint32_t kFirstBit = 0;
  static constexpr uint32_t kLevels = 1u << kWidth;

  LevelTable table;
  uint32_t zero_code;

  __device__ __host__ ScaleRule Rule() const { return table.rule; }

  __device__ void EncodeChunk(const float (&values)[kChunk], float scale,
                              uint32_t (&codes)[kChunk]) const {
#pragma unroll
    for (uint32_t i = 0; i < kChunk; ++i) codes[i] = scale > 0.0f ? 0 : zero_code;
    if (!(scale > 0.0f)) return;
#pragma unroll
    for (uint32_t level = 0; level + 1 < kLevels; ++level) {
      const float threshold = __fmul_rn(table.thresholds[level], scale);
#pragma unroll
      for (uint32_t i = 0; i < kChunk; ++i) codes[i] += values[i] >= threshold ? 1 : 0;
    }
  }

  __device__ uint32_t EncodeValue(float value, float scale) const {
    if (!(scale > 0.0f)) return zero_code;
    uint32_t code = 0;
#pragma unroll
    for (uint32_t level = 0; level + 1 < kLevels; ++level) {
      code += value >= __fmul_rn(table.thresholds[level], scale) ? 1 : 0;
    }
    return code;
  }

  // A chain of selections: an index that differs from lane to lane would serialize.
  __device__ float DecodeValue(uint32_t code, float scale) const {
    float level = table.levels[0];
#pragma unroll
    for (uint32_t i = 1; i < kLevels; ++i) level = code >= i ? table.levels[i] : level;
    return __fmul_rn(level, scale);
  }
};

template <const LevelTable& kTable>
LevelQuantizer<kTable.bits> QuantizerOf() {
  return {kTable, kTable.ZeroCode()};
}

template <const LevelTable& kTable>
int Encode(const CudaBlocks& args, CUstream_st* stream) {
  return LaunchEncodeScaled(args, QuantizerOf<kTable>(), stream);
}

template <const LevelTable& kTable>
int Decode(const CudaBlocks& args, CUstream_st* stream) {
  return LaunchDecodeScaled(args, QuantizerOf<kTable>(), stream);
}

}  // namespace

const CudaScheme kInt2Cuda = {.encode = Encode<kInt2Levels>, .decode = Decode<kInt2Levels>};
const CudaScheme kInt2LloydCuda = {.encode = Encode<kInt2LloydLevels>,
                                   .decode = Decode<kInt2LloydLevels>};
const CudaScheme kBinaryCuda = {.encode = Encode<kBinaryLevels>, .decode = Decode<kBinaryLevels>};
const CudaScheme kNf4Cuda = {.encode = Encode<kNf4Levels>, .decode = Decode<kNf4Levels>};

}  // namespace qc2c
