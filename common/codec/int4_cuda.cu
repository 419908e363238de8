#include "common/codec/absmax_cuda.cuh"

namespace qc2c {
namespace {

struct Int4Packing {
  static constexpr int kMaxCode = 7;

  static __device__ uint32_t RowBytes(uint32_t head_dim) { return (head_dim + 1) / 2; }

  // The eight codes as one word, value i in nibble i. Values past the row's end are zero already.
  static __device__ void Pack(const uint32_t (&codes)[kChunk], uint32_t count, RowAccess access,
                              uint8_t* out) {
    uint32_t word = 0;
#pragma unroll
    for (uint32_t i = 0; i < kChunk; ++i) {
      word |= (codes[i] & 0xfu) << (4 * i);
    }
    if (access == RowAccess::kVector) {
      *reinterpret_cast<uint32_t*>(out) = word;
      return;
    }
#pragma unroll
    for (uint32_t i = 0; i < kChunk / 2; ++i) {
      if (2 * i < count) out[i] = static_cast<uint8_t>(word >> (8 * i));
    }
  }

  static __device__ void Unpack(const uint8_t* in, uint32_t count, RowAccess access,
                                int (&codes)[kChunk]) {
    uint32_t word = 0;
    if (access == RowAccess::kVector) {
      word = *reinterpret_cast<const uint32_t*>(in);
    } else {
#pragma unroll
      for (uint32_t i = 0; i < kChunk / 2; ++i) {
        if (2 * i < count) word |= static_cast<uint32_t>(in[i]) << (8 * i);
      }
    }
#pragma unroll
    for (uint32_t i = 0; i < kChunk; ++i) {
      codes[i] = static_cast<int32_t>(word << (28 - 4 * i)) >> 28;
    }
  }
};

}  // namespace

const CudaScheme kInt4Cuda = {.encode = LaunchEncodeAbsmax<Int4Packing>,
                              .decode = LaunchDecodeAbsmax<Int4Packing>};

}  // namespace qc2c
