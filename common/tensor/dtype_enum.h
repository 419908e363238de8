// The element types of a cache, free of any other header so that CUDA sources can include it too.
#pragma once

#include <cstdint>

namespace qc2c {

enum class DType : uint8_t { kFp32, kBf16, kFp16 };

}  // namespace qc2c
