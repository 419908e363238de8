// Bounds of requests that sender and daemon check alike.
#pragma once

#include <cstdint>

namespace qc2c {

inline constexpr uint32_t kMaxNewTokens = 4096;  // of an answer, a hint

}  // namespace qc2c
