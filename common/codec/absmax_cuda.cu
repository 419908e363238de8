#include "common/codec/absmax_product.h"
#include "common/codec/scaled_cuda.cuh"

namespace qc2c {
namespace {

// AbsmaxCode of the CPU, from bit kProductCodeBit on. Adding 1.5 * 2^23 rounds to an integer, ties
// to even. Not inlined: it is seldom needed, and 32 divisions a lane are a kernel too large for its
// cache.
__device__ __noinline__ uint32_t DividedCode(float value, float scale) {
  const float quotient = scale > 0.0f ? __fdiv_rn(value, scale) : 0.0f;
  return __float_as_uint(__fadd_rn(quotient, 0x1.8p23f)) << kProductCodeBit;
}

// absmax.h on the GPU.
template <uint32_t kWidth>
struct AbsmaxQuantizer {
  static constexpr uint32_t kBits = kWidth;
  static constexpr uint32_t kFirstBit = kProductCodeBit;
  static constexpr uint32_t kSign = 1u << (kWidth - 1);
  static constexpr float kMaxCode = kSign - 1;

  __device__ __host__ ScaleRule Rule() const { return {Statistic::kAbsmax, kMaxCode, kMaxCode}; }

  // By products (absmax_product.h); what is next to a tie is divided.
  __device__ void EncodeChunk(const float (&values)[kChunk], float scale,
                              uint32_t (&codes)[kChunk]) const {
    const float reciprocal = scale > 0.0f ? __frcp_rn(scale) : 0.0f;
    uint32_t nearest = kBelowCode;  // to a tie, of any value, in the lower half
#pragma unroll
    for (uint32_t i = 0; i < kChunk; ++i) {
      const uint32_t bits = __float_as_uint(__fmaf_rn(values[i], reciprocal, kProductMagic));
      codes[i] = bits + bits + kProductOffset;
      nearest = __vminu2(nearest, codes[i]);
    }
    if ((nearest & kBelowCode) > kNextToTie) return;
#pragma unroll
    for (uint32_t i = 0; i < kChunk; ++i) {
      if ((codes[i] & kBelowCode) <= kNextToTie) codes[i] = DividedCode(values[i], scale);
    }
  }

  __device__ uint32_t EncodeValue(float value, float scale) const {
    return DividedCode(value, scale);
  }

  // The code's sign bit turned makes it a number from 0 on, which belongs in the low bits of 2^23.
  __device__ float DecodeValue(uint32_t code, float scale) const {
    const float number = __uint_as_float(code ^ (0x4b000000u | kSign));
    return __fmul_rn(__fsub_rn(number, 0x1p23f + kSign), scale);
  }
};

template <uint32_t kBits>
int Encode(const CudaBlocks& args, CUstream_st* stream) {
  return LaunchEncodeScaled(args, AbsmaxQuantizer<kBits>(), stream);
}

template <uint32_t kBits>
int Decode(const CudaBlocks& args, CUstream_st* stream) {
  return LaunchDecodeScaled(args, AbsmaxQuantizer<kBits>(), stream);
}

}  // namespace

const CudaScheme kInt8Cuda = {.encode = Encode<8>, .decode = Decode<8>};
const CudaScheme kInt4Cuda = {.encode = Encode<4>, .decode = Decode<4>};
const CudaScheme kInt3Cuda = {.encode = Encode<3>, .decode = Decode<3>};
const CudaScheme kInt2AbsmaxCuda = {.encode = Encode<2>, .decode = Decode<2>};

}  // namespace qc2c
