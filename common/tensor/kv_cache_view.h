// One sequence's KV cache as plain memory: what the codec reads and writes, free of any framework.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "common/tensor/dtype.h"

namespace qc2c {

enum class DeviceType : uint8_t { kCpu, kCuda };

enum class Half : uint8_t { kKey = 0, kValue = 1 };

std::string_view HalfName(Half half);  // "key", "value"

// The shape that every token of a model's cache has. L layers, H KV heads of D values.
struct KvLayout {
  int32_t num_layers = 0;    // L, 1 .. kMaxLayers
  int32_t num_kv_heads = 0;  // H, 1 .. kMaxKvHeads
  int32_t head_dim = 0;      // D, 1 .. kMaxHeadDim

  static constexpr int32_t kMaxLayers = 1024;
  static constexpr int32_t kMaxKvHeads = 1024;
  static constexpr int32_t kMaxHeadDim = 1024;
  static constexpr int64_t kMaxTokens = int64_t{1} << 20;

  // INVALID_ARGUMENT naming the field that is out of range.
  absl::Status Validate() const;
  std::string ToString() const;  // "[L=5, H=2, D=32]"
  bool operator==(const KvLayout&) const = default;
};

// Keys or values of one layer, [T, H, D] by strides, D contiguous. Borrowed; never frees.
struct KvPlane {
  void* data = nullptr;      // of KvCacheView::dtype, on KvCacheView::device
  int64_t token_stride = 0;  // in elements
  int64_t head_stride = 0;   // in elements
};

// Planes of the layers that matter to the caller; null data: absent (a layer that nobody reads).
// All planes share dtype, device and token count. The memory must outlive the view.
struct KvCacheView {
  KvLayout layout;
  int64_t num_tokens = 0;  // T
  DType dtype = DType::kFp32;
  DeviceType device = DeviceType::kCpu;
  std::vector<KvPlane> keys;    // L planes
  std::vector<KvPlane> values;  // L planes

  const KvPlane& Plane(int32_t layer, Half half) const {
    return half == Half::kKey ? keys[layer] : values[layer];
  }
};

}  // namespace qc2c
