// The file that `mean=calibrated` names: safetensors with key.<layer> and value.<layer> [H, D] in
// fp32 for every layer, and model_fingerprint [1] int64 (the bits of the model's).
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/codec/codec_context.h"

namespace qc2c {

// The means of the model with this fingerprint and layout; their id is the hash of the file.
// NOT_FOUND or DATA_LOSS for the file; DATA_LOSS naming the tensor that is missing, surplus or
// misshapen, of another dtype or not finite; FAILED_PRECONDITION for another model's file.
absl::StatusOr<ChannelMeans> LoadChannelMeans(const std::filesystem::path& path,
                                              uint64_t model_fingerprint, const KvLayout& layout);

// The fingerprint that a file says it is for; the rest of it is not looked at. Errors as above.
absl::StatusOr<uint64_t> ModelOfChannelMeans(const std::filesystem::path& path);

// Several of them.
absl::StatusOr<std::vector<ChannelMeans>> LoadChannelMeansFiles(
    const std::vector<std::string>& paths, uint64_t model_fingerprint, const KvLayout& layout);

// `means.id` is not looked at: it is that of the file which this writes. REQUIRES: the vectors fit
// the layout.
absl::Status SaveChannelMeans(const std::filesystem::path& path, uint64_t model_fingerprint,
                              const ChannelMeans& means);

}  // namespace qc2c
