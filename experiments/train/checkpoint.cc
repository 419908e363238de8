#include "experiments/train/checkpoint.h"

#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/tensor.h>

#include <map>
#include <string>

#include "absl/strings/str_cat.h"
#include "common/base/hash.h"
#include "common/base/status_macros.h"

namespace qc2c {
namespace {

constexpr char kHeader[] = "checkpoint";  // int64 [2]: step, fingerprint

}  // namespace

absl::Status SaveCheckpoint(const std::filesystem::path& path, int64_t step, uint64_t fingerprint,
                            const NamedTensors& tensors) {
  NamedTensors content = tensors;
  content.emplace_back(kHeader, at::tensor({step, static_cast<int64_t>(fingerprint)}, at::kLong));
  return WriteSafetensors(path, content);
}

absl::StatusOr<int64_t> RestoreCheckpoint(const std::filesystem::path& path, uint64_t fingerprint,
                                          const NamedTensors& tensors) {
  if (!std::filesystem::exists(path)) return 0;
  ASSIGN_OR_RETURN(const NamedTensors read, ReadSafetensors(path));
  std::map<std::string, at::Tensor> found(read.begin(), read.end());
  const auto header = found.find(kHeader);
  if (header == found.end() || header->second.scalar_type() != at::kLong ||
      header->second.numel() != 2) {
    return absl::InvalidArgumentError(absl::StrCat(path.string(), ": not a checkpoint"));
  }
  const auto written = static_cast<uint64_t>(header->second[1].item<int64_t>());
  if (written != fingerprint) {
    return absl::FailedPreconditionError(
        absl::StrCat(path.string(), " was written by another recipe or from other documents (",
                     HashText(written), ", this one is ", HashText(fingerprint),
                     "); remove it to start afresh"));
  }
  if (found.size() != tensors.size() + 1) {
    return absl::InvalidArgumentError(
        absl::StrCat(path.string(), ": ", found.size() - 1, " tensors, expected ", tensors.size()));
  }
  for (const auto& [name, tensor] : tensors) {
    const auto source = found.find(name);
    if (source == found.end() || source->second.sizes() != tensor.sizes() ||
        source->second.scalar_type() != tensor.scalar_type()) {
      return absl::InvalidArgumentError(
          absl::StrCat(path.string(), ": tensor ", name, " is missing or has another shape"));
    }
  }
  const at::NoGradGuard no_grad;
  for (const auto& [name, tensor] : tensors) tensor.copy_(found.at(name));
  return header->second[0].item<int64_t>();
}

}  // namespace qc2c
