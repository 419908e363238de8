// What a unit of squared error in each tensor of a sharer's cache costs the answer, as `qc2c
// sensitivity` measured it: the weights of a byte budget (docs/codec.md).
//
// A JSON object: "format" "qc2c-sensitivity-1"; "sharer_fingerprint", 16 hexadecimal digits;
// "measurements", a list of {"layer", "half" "key" or "value", "scheme", "squared_error",
// "loss_increase"}: means over the questions, of (sent - own)^2 summed over the tensor's values,
// and of the loss in nats. Other members are for readers.
#pragma once

#include <cstdint>
#include <filesystem>

#include "absl/status/statusor.h"
#include "common/codec/budget.h"
#include "common/tensor/kv_cache_view.h"

namespace qc2c {

struct SensitivityFile {
  uint64_t id = 0;  // XXH3 of the file's bytes: `weights` of a codec
  // Of each tensor the slope of loss over error that fits its measurements best in the least
  // squares, but at least kLeastShare of the largest: what was measured as harmless is cheap, not
  // free.
  TensorWeights weights;

  static constexpr double kLeastShare = 1e-3;

  // For the sharer model with this layout and fingerprint. INVALID_ARGUMENT naming file, field and
  // what was expected; FAILED_PRECONDITION for another model's file.
  static absl::StatusOr<SensitivityFile> Load(const std::filesystem::path& path,
                                              const KvLayout& layout, uint64_t fingerprint);
};

}  // namespace qc2c
