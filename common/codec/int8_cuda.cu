#include "common/codec/absmax_cuda.cuh"

namespace qc2c {
namespace {

struct Int8Packing {
  static constexpr int kMaxCode = 127;

  static __device__ uint32_t RowBytes(uint32_t head_dim) { return head_dim; }

  static __device__ void Pack(const uint32_t (&codes)[kChunk], uint32_t count, RowAccess access,
                              uint8_t* out) {
    if (access == RowAccess::kVector) {
      // The low bytes of four codes make a word.
      *reinterpret_cast<uint2*>(out) =
          make_uint2(__byte_perm(__byte_perm(codes[0], codes[1], 0x0040),
                                 __byte_perm(codes[2], codes[3], 0x0040), 0x5410),
                     __byte_perm(__byte_perm(codes[4], codes[5], 0x0040),
                                 __byte_perm(codes[6], codes[7], 0x0040), 0x5410));
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
