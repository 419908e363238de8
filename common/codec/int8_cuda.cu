#include "common/codec/absmax_cuda.cuh"

namespace qc2c {
namespace {

struct Int8Packing {
  static constexpr int kMaxCode = 127;

  static __device__ uint32_t RowBytes(uint32_t head_dim) { return head_dim; }

  static __device__ void Pack(const int (&codes)[kChunk], uint32_t count, RowAccess access,
                              uint8_t* out) {
    if (access == RowAccess::kVector) {
      uint32_t words[2] = {0, 0};
#pragma unroll
      for (uint32_t i = 0; i < kChunk; ++i) {
        words[i / 4] |= static_cast<uint32_t>(codes[i] & 0xff) << (8 * (i % 4));
      }
      *reinterpret_cast<uint2*>(out) = make_uint2(words[0], words[1]);
      return;
    }
#pragma unroll
    for (uint32_t i = 0; i < kChunk; ++i) {
      if (i < count) out[i] = static_cast<uint8_t>(codes[i]);
    }
  }

  static __device__ void Unpack(const uint8_t* in, uint32_t count, RowAccess access,
                                int (&codes)[kChunk]) {
    if (access == RowAccess::kVector) {
      const uint2 words = *reinterpret_cast<const uint2*>(in);
#pragma unroll
      for (uint32_t i = 0; i < kChunk; ++i) {
        codes[i] = static_cast<int8_t>((i < 4 ? words.x : words.y) >> (8 * (i % 4)));
      }
      return;
    }
#pragma unroll
    for (uint32_t i = 0; i < kChunk; ++i) codes[i] = i < count ? static_cast<int8_t>(in[i]) : 0;
  }
};

}  // namespace

const CudaScheme kInt8Cuda = {.encode = LaunchEncodeAbsmax<Int8Packing>,
                              .decode = LaunchDecodeAbsmax<Int8Packing>};

}  // namespace qc2c
