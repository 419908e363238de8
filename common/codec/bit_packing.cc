#include "common/codec/bit_packing.h"

#include <algorithm>
#include <cstring>

#include "common/codec/vector_clones.h"

namespace qc2c {
namespace {

constexpr size_t kCodesAtOnce = 8;

template <int kBits>
void PackEight(const uint8_t* __restrict codes, uint8_t* __restrict packed) {
  uint32_t word = 0;
  for (size_t i = 0; i < kCodesAtOnce; ++i) {
    word |= static_cast<uint32_t>(codes[i] & ((1u << kBits) - 1)) << (kBits * i);
  }
  for (int i = 0; i < kBits; ++i) packed[i] = static_cast<uint8_t>(word >> (8 * i));
}

template <int kBits>
void UnpackEight(const uint8_t* __restrict packed, uint8_t* __restrict codes) {
  uint32_t word = 0;
  for (int i = 0; i < kBits; ++i) word |= static_cast<uint32_t>(packed[i]) << (8 * i);
  for (size_t i = 0; i < kCodesAtOnce; ++i) {
    codes[i] = static_cast<uint8_t>((word >> (kBits * i)) & ((1u << kBits) - 1));
  }
}

template <int kBits>
void Pack(const uint8_t* __restrict codes, size_t num, uint8_t* __restrict packed) {
  const size_t whole = num / kCodesAtOnce;
  for (size_t c = 0; c < whole; ++c) {
    PackEight<kBits>(codes + c * kCodesAtOnce, packed + c * kBits);
  }
  const size_t rest = num - whole * kCodesAtOnce;
  if (rest == 0) return;
  uint8_t last[kCodesAtOnce] = {};
  uint8_t bytes[kBits];
  std::memcpy(last, codes + whole * kCodesAtOnce, rest);
  PackEight<kBits>(last, bytes);
  std::memcpy(packed + whole * kBits, bytes, PackedBytes(kBits, rest));
}

template <int kBits>
void Unpack(const uint8_t* __restrict packed, size_t num, uint8_t* __restrict codes) {
  const size_t whole = num / kCodesAtOnce;
  for (size_t c = 0; c < whole; ++c) {
    UnpackEight<kBits>(packed + c * kBits, codes + c * kCodesAtOnce);
  }
  const size_t rest = num - whole * kCodesAtOnce;
  if (rest == 0) return;
  uint8_t last[kCodesAtOnce];
  uint8_t bytes[kBits] = {};
  std::memcpy(bytes, packed + whole * kBits, PackedBytes(kBits, rest));
  UnpackEight<kBits>(bytes, last);
  std::memcpy(codes + whole * kCodesAtOnce, last, rest);
}

// Four bits are the width that is used most: pairs vectorise better than eights.
QC2C_VECTOR_CLONES void PackNibbles(const uint8_t* __restrict codes, size_t num,
                                    uint8_t* __restrict packed) {
  for (size_t i = 0; i < num / 2; ++i) {
    packed[i] = static_cast<uint8_t>((codes[2 * i] & 0xf) | (codes[2 * i + 1] << 4));
  }
  if (num % 2 != 0) packed[num / 2] = codes[num - 1] & 0xf;
}

QC2C_VECTOR_CLONES void UnpackNibbles(const uint8_t* __restrict packed, size_t num,
                                      uint8_t* __restrict codes) {
  for (size_t i = 0; i < num / 2; ++i) {
    codes[2 * i] = packed[i] & 0xf;
    codes[2 * i + 1] = packed[i] >> 4;
  }
  if (num % 2 != 0) codes[num - 1] = packed[num / 2] & 0xf;
}

}  // namespace

void PackCodes(int bits, const uint8_t* codes, size_t num_codes, uint8_t* packed) {
  switch (bits) {
    case 1:
      return Pack<1>(codes, num_codes, packed);
    case 2:
      return Pack<2>(codes, num_codes, packed);
    case 3:
      return Pack<3>(codes, num_codes, packed);
    case 4:
      return PackNibbles(codes, num_codes, packed);
    default:
      std::memcpy(packed, codes, num_codes);
  }
}

void UnpackCodes(int bits, const uint8_t* packed, size_t num_codes, uint8_t* codes) {
  switch (bits) {
    case 1:
      return Unpack<1>(packed, num_codes, codes);
    case 2:
      return Unpack<2>(packed, num_codes, codes);
    case 3:
      return Unpack<3>(packed, num_codes, codes);
    case 4:
      return UnpackNibbles(packed, num_codes, codes);
    default:
      std::memcpy(codes, packed, num_codes);
  }
}

}  // namespace qc2c
