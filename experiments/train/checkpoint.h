// What a training run needs to go on exactly where it was: weights, optimizer state, step.
#pragma once

#include <cstdint>
#include <filesystem>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/model/safetensors.h"

namespace qc2c {

// One file, replaced atomically: a run killed while it writes keeps the checkpoint before.
// `fingerprint` names the recipe and the documents.
absl::Status SaveCheckpoint(const std::filesystem::path& path, int64_t step, uint64_t fingerprint,
                            const NamedTensors& tensors);

// Copies a checkpoint into `tensors` and returns its step; 0, and nothing copied, if there is no
// file. FAILED_PRECONDITION if it was written under another fingerprint, INVALID_ARGUMENT naming a
// tensor that is missing, surplus or misshapen.
absl::StatusOr<int64_t> RestoreCheckpoint(const std::filesystem::path& path, uint64_t fingerprint,
                                          const NamedTensors& tensors);

}  // namespace qc2c
