#include "common/codec/scaled_cuda.cuh"

namespace qc2c {
namespace {

// AbsmaxCode of the CPU, from bit 16 on. Adding 1.5 * 2^23 rounds to an integer, ties to even. Not
// inlined: it is seldom needed, and 32 divisions a lane are a kernel too large for its cache.
__device__ __noinline__ uint32_t DividedCode(float value, float scale) {
  const float quotient = scale > 0.0f ? __fdiv_rn(value, scale) : 0.0f;
  return __float_as_uint(__fadd_rn(quotient, 0x1.8p23f)) << 16;
}

// absmax.h on the GPU.
template <uint32_t kWidth>
struct AbsmaxQuantizer {
  static constexpr uint32_t kBits = kWidth;
  static constexpr uint32_t kFirstBit = 16;
  static constexpr uint32_t kSign = 1u << (kWidth - 1);
  static constexpr float kMaxCode = kSign - 1;

  __device__ __host__ ScaleRule Rule() const { return {Statistic::kAbsmax, kMaxCode, kMaxCode}; }

  // Added to 1.5 * 2^8, the product with the scale's reciprocal is rounded to a multiple of 2^-15 =
  // 1 unit, of which the sum's bits are the number. Twice that, and one half more, has the nearest
  // integer in bits 16 to 23 and below them, times two, how far above a tie it is. The CPU rounds
  // its quotient twice; both differ from the true one by 2^-16 + 2^-17 and 2^-17 at most, so they
  // agree unless that is a unit or less from a tie; what is within two is divided.
  // No clamp: by the derivation in absmax.h no quotient reaches qmax + 1/2. A scale of 0 comes with
  // a reciprocal of 0 and gives codes of 0.
  __device__ void EncodeChunk(const float (&values)[kChunk], float scale,
                              uint32_t (&codes)[kChunk]) const {
    constexpr float kMagic = 0x1.8p8f;
    constexpr uint32_t kUnits = 2;
    constexpr uint32_t kHalf = 0x8000;
    // Twice kMagic's bits have 0x80 where the code is to be.
    constexpr uint32_t kOffset = 0x00800000 + kHalf + 2 * kUnits;
    const float reciprocal = scale > 0.0f ? __frcp_rn(scale) : 0.0f;
    uint32_t nearest = 0xffff;  // to a tie, of any value, in the lower half
#pragma unroll
    for (uint32_t i = 0; i < kChunk; ++i) {
      const uint32_t bits = __float_as_uint(__fmaf_rn(values[i], reciprocal, kMagic));
      codes[i] = bits + bits + kOffset;
      nearest = __vminu2(nearest, codes[i]);
    }
    if ((nearest & 0xffffu) > 4 * kUnits) return;
#pragma unroll
    for (uint32_t i = 0; i < kChunk; ++i) {
      if ((codes[i] & 0xffffu) <= 4 * kUnits) codes[i] = DividedCode(values[i], scale);
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
