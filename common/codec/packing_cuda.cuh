// bit_packing.h on the GPU: a chunk of eight codes takes kBits bytes.
#pragma once

#include "common/codec/rows_cuda.cuh"

namespace qc2c {

constexpr __host__ __device__ uint32_t DevicePackedBytes(uint32_t bits, uint32_t num) {
  return (num * bits + 7) / 8;
}

// The kBits bits from kFirstBit (0 or 16) on of eight codes, in the low kBits bytes.
template <uint32_t kBits, uint32_t kFirstBit>
__device__ uint64_t PackedCodes(const uint32_t (&codes)[kChunk]) {
  if constexpr (kBits == 8) {
    // A byte of each of four codes makes a word.
    constexpr uint32_t kBytes = (kFirstBit / 8 + 4) << 4 | kFirstBit / 8;
    const uint32_t low = __byte_perm(__byte_perm(codes[0], codes[1], kBytes),
                                     __byte_perm(codes[2], codes[3], kBytes), 0x5410);
    const uint32_t high = __byte_perm(__byte_perm(codes[4], codes[5], kBytes),
                                      __byte_perm(codes[6], codes[7], kBytes), 0x5410);
    return uint64_t{high} << 32 | low;
  }
  uint32_t word = 0;
#pragma unroll
  for (uint32_t i = 0; i < kChunk; ++i) {
    word |= (codes[i] >> kFirstBit & ((1u << kBits) - 1)) << (kBits * i % 32);
  }
  return word;
}

// Writes `count` (at most kChunk) codes at `out`, the chunk's place in its row; with vector access
// the chunk is whole and aligned to its size.
template <uint32_t kBits, uint32_t kFirstBit>
__device__ void PackChunk(const uint32_t (&codes)[kChunk], uint32_t count, RowAccess access,
                          uint8_t* out) {
  const uint64_t packed = PackedCodes<kBits, kFirstBit>(codes);
  if (kBits == 8 && access == RowAccess::kVector) {
    *reinterpret_cast<uint64_t*>(out) = packed;
    return;
  }
  if (kBits == 4 && access == RowAccess::kVector) {
    *reinterpret_cast<uint32_t*>(out) = static_cast<uint32_t>(packed);
    return;
  }
  if (kBits == 2 && access == RowAccess::kVector) {
    *reinterpret_cast<uint16_t*>(out) = static_cast<uint16_t>(packed);
    return;
  }
  const uint32_t used = kBits * min(count, kChunk);
  const uint64_t word = used < 64 ? packed & ((uint64_t{1} << used) - 1) : packed;
  const uint32_t bytes = DevicePackedBytes(kBits, min(count, kChunk));
#pragma unroll
  for (uint32_t i = 0; i < kBits; ++i) {
    if (i < bytes) out[i] = static_cast<uint8_t>(word >> (8 * i));
  }
}

// Writes two whole chunks side by side at `out`, a multiple of what they take but for 3 bits, when
// it is one of 2 bytes.
template <uint32_t kBits>
__device__ void StoreTwoChunks(uint64_t first, uint64_t second, uint8_t* out) {
  if constexpr (kBits == 8) {
    *reinterpret_cast<ulonglong2*>(out) = make_ulonglong2(first, second);
    return;
  }
  const uint64_t both = first | second << (8 * kBits % 64);
  if constexpr (kBits == 4) {
    *reinterpret_cast<uint64_t*>(out) = both;
  } else if constexpr (kBits == 2) {
    *reinterpret_cast<uint32_t*>(out) = static_cast<uint32_t>(both);
  } else {
#pragma unroll
    for (uint32_t i = 0; i < kBits; ++i) {
      reinterpret_cast<uint16_t*>(out)[i] = static_cast<uint16_t>(both >> (16 * i));
    }
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
