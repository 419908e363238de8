#include "common/codec/scaled_cuda.cuh"

namespace qc2c {
namespace {

// absmax.h on the GPU.
template <uint32_t kWidth>
struct AbsmaxQuantizer {
  static constexpr uint32_t kBits = kWidth;
  static constexpr float kMaxCode = (1 << (kWidth - 1)) - 1;
  static constexpr float kMagic = 0x1.8p23f;

  __device__ __host__ ScaleRule Rule() const { return {Statistic::kAbsmax, kMaxCode, kMaxCode}; }

  // AbsmaxCode of the CPU for a chunk: the code of value i is the low bits of codes[i].
  //
  // Adding 1.5 * 2^23 rounds to an integer, ties to even, as on the CPU. The product with the
  // reciprocal is within 2^-22 of the quotient (relative, so 2^-15 at most here), which decides
  // nothing unless the quotient is near a tie; only then is the chunk divided. No clamp: by the
  // derivation in absmax.h no quotient reaches qmax + 1/2. A scale of 0 comes with a reciprocal of
  // 0 and gives codes of 0.
  __device__ void EncodeChunk(const float (&values)[kChunk], float scale,
                              uint32_t (&codes)[kChunk]) const {
    const float reciprocal = scale > 0.0f ? __frcp_rn(scale) : 0.0f;
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
    for (uint32_t i = 0; i < kChunk; ++i) codes[i] = EncodeValue(values[i], scale);
  }

  __device__ uint32_t EncodeValue(float value, float scale) const {
    const float quotient = scale > 0.0f ? __fdiv_rn(value, scale) : 0.0f;
    return __float_as_uint(__fadd_rn(quotient, kMagic));
  }

  __device__ float DecodeValue(uint32_t code, float scale) const {
    const int32_t number = static_cast<int32_t>(code << (32 - kBits)) >> (32 - kBits);
    return __fmul_rn(static_cast<float>(number), scale);
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
