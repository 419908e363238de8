// The pickle of a PyTorch state dict, interpreted by a machine that can do nothing else.
//
// Pickle is a program: its GLOBAL and REDUCE can call any Python function. Here the only calls are
// collections.OrderedDict() and torch._utils._rebuild_tensor_v2 over float32, float16 and bfloat16
// storages, and both are just noted down.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/base/bytes.h"

namespace qc2c {

// A tensor of the state dict, in row-major order.
struct PickledTensor {
  std::string name;
  at::ScalarType dtype = at::kFloat;  // of its storage: kFloat, kHalf or kBFloat16
  std::string storage;                // the storage's key, a file name in the archive
  int64_t storage_elements = 0;       // at least 0, as the pickle says
  int64_t offset = 0;                 // of its first element in the storage, at least 0
  std::vector<int64_t> sizes;         // each at least 0
};

// The tensors in the order of the dict. INVALID_ARGUMENT, naming the opcode or the global and its
// place, for anything that a state dict saved with protocol 2 (torch.save's) does not need; for a
// root that is no dict of tensors; for a tensor that is not row-major; for a name that repeats.
// Storages are not looked at: the caller checks keys, sizes and offsets against them.
absl::StatusOr<std::vector<PickledTensor>> ReadPickledStateDict(ByteSpan pickle);

}  // namespace qc2c
