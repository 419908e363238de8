// The codec's vocabulary, free of any other header so that CUDA sources can include it too.
// The values are those of proto/qc2c/v1/cache.proto.
#pragma once

#include <cstdint>

namespace qc2c {

enum class Scheme : uint8_t { kFp32 = 1, kBf16 = 2, kFp16 = 3, kInt8 = 4, kInt4 = 5 };
enum class Axis : uint8_t { kNone = 0, kPerToken = 1, kPerHead = 2, kPerLayer = 3 };
enum class ScaleType : uint8_t { kNone = 0, kFp16 = 1, kBf16 = 2, kFp32 = 3 };
enum class Selection : uint8_t { kAll = 1, kFront = 2, kBack = 3, kKeyNorm = 4, kValueNorm = 5 };

// Bytes of one stored scale.
constexpr int ScaleBytes(ScaleType type) {
  return type == ScaleType::kNone ? 0 : type == ScaleType::kFp32 ? 4 : 2;
}

}  // namespace qc2c
