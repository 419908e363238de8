// The safetensors file format (https://github.com/huggingface/safetensors): eight bytes of header
// length, a JSON header, raw tensors. The reader trusts nothing in the file.
#pragma once

#include <ATen/core/Tensor.h>

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace qc2c {

using NamedTensors = std::vector<std::pair<std::string, at::Tensor>>;

// All tensors of the file, in the order of their names, as views of a private memory map that lives
// as long as any of them (a tensor that the file does not align is copied). INVALID_ARGUMENT or
// DATA_LOSS naming the file, the tensor and the fault: truncated or oversized header, bad JSON,
// unknown dtype, size that disagrees with the shape, offsets that overlap, leave a gap or pass the
// end.
absl::StatusOr<NamedTensors> ReadSafetensors(const std::filesystem::path& path);

// Writes atomically. In the data, tensors of larger elements come first, then the order is by name,
// so that every tensor is aligned (Python's reader needs that). Contiguous copies are made on the
// CPU. INVALID_ARGUMENT for a name that repeats or a dtype that the format does not have.
absl::Status WriteSafetensors(const std::filesystem::path& path, const NamedTensors& tensors);

}  // namespace qc2c
