// bit_packing.h on the GPU: a chunk of eight codes takes kBits bytes.
#pragma once

#include "common/codec/rows_cuda.cuh"

namespace qc2c {

constexpr __host__ __device__ uint32_t DevicePackedBytes(uint32_t bits, uint32_t num) {
  return (num * bits + 7) / 8;
}

// Writes the low kBits bits of `count` (at most kChunk) codes at `out`, the chunk's place in its
// row; with vector access the chunk is whole and aligned to its size.
template <uint32_t kBits>
__device__ void PackChunk(const uint32_t (&codes)[kChunk], uint32_t count, RowAccess access,
                          uint8_t* out) {
  if (kBits == 8 && access == RowAccess::kVector) {
    // The low bytes of four codes make a word.
    *reinterpret_cast<uint2*>(out) =
        make_uint2(__byte_perm(__byte_perm(codes[0], codes[1], 0x0040),
                               __byte_perm(codes[2], codes[3], 0x0040), 0x5410),
                   __byte_perm(__byte_perm(codes[4], codes[5], 0x0040),
                               __byte_perm(codes[6], codes[7], 0x0040), 0x5410));
    return;
  }
  using Word = std::conditional_t<kBits == 8, uint64_t, uint32_t>;
  Word word = 0;
#pragma unroll
  for (uint32_t i = 0; i < kChunk; ++i) {
    const Word code = i < count ? codes[i] & ((1u << kBits) - 1) : 0;
    word |= code << (kBits * i);
  }
  if (kBits == 4 && access == RowAccess::kVector) {
    *reinterpret_cast<uint32_t*>(out) = static_cast<uint32_t>(word);
    return;
  }
  if (kBits == 2 && access == RowAccess::kVector) {
    *reinterpret_cast<uint16_t*>(out) = static_cast<uint16_t>(word);
    return;
  }
  const uint32_t bytes = DevicePackedBytes(kBits, min(count, kChunk));
#pragma unroll
  for (uint32_t i = 0; i < kBits; ++i) {
    if (i < bytes) out[i] = static_cast<uint8_t>(word >> (8 * i));
  }
}

// The codes as unsigned numbers; those past `count` are 0.
template <uint32_t kBits>
__device__ void UnpackChunk(const uint8_t* in, uint32_t count, RowAccess access,
                            uint32_t (&codes)[kChunk]) {
  using Word = std::conditional_t<kBits == 8, uint64_t, uint32_t>;
  Word word = 0;
  if (kBits == 8 && access == RowAccess::kVector) {
    const uint2 words = *reinterpret_cast<const uint2*>(in);
    word = static_cast<Word>(words.x) | static_cast<Word>(uint64_t{words.y} << 32);
  } else if (kBits == 4 && access == RowAccess::kVector) {
    word = *reinterpret_cast<const uint32_t*>(in);
  } else if (kBits == 2 && access == RowAccess::kVector) {
    word = *reinterpret_cast<const uint16_t*>(in);
  } else {
    const uint32_t bytes = DevicePackedBytes(kBits, min(count, kChunk));
#pragma unroll
    for (uint32_t i = 0; i < kBits; ++i) {
      if (i < bytes) word |= static_cast<Word>(in[i]) << (8 * i);
    }
  }
#pragma unroll
  for (uint32_t i = 0; i < kChunk; ++i) {
    codes[i] = static_cast<uint32_t>(word >> (kBits * i)) & ((1u << kBits) - 1);
  }
}

}  // namespace qc2c
