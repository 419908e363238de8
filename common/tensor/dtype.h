// Element types of a cache, and the scalar conversions that the codec's CPU reference is made of.
#pragma once

#include <bit>
#include <cstdint>
#include <string_view>

#include "absl/status/statusor.h"
#include "common/tensor/dtype_enum.h"

namespace qc2c {

constexpr int DTypeBytes(DType dtype) { return dtype == DType::kFp32 ? 4 : 2; }

std::string_view DTypeName(DType dtype);                  // "fp32", "bf16", "fp16"
absl::StatusOr<DType> ParseDType(std::string_view name);  // INVALID_ARGUMENT lists the names

// Round to nearest, ties to even; NaN stays NaN (quiet), infinities stay, overflow gives infinity.
uint16_t Fp32ToBf16(float value);
uint16_t Fp32ToFp16(float value);

inline float Bf16ToFp32(uint16_t bits) {
  return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16);
}
float Fp16ToFp32(uint16_t bits);  // exact, subnormals included

}  // namespace qc2c
