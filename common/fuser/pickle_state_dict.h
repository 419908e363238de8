// State dicts as torch.save writes them: a ZIP archive of one pickle and raw storages. No code in
// the file is ever run.
#pragma once

#include <filesystem>

#include "absl/status/statusor.h"
#include "common/model/safetensors.h"

namespace qc2c {

// The tensors in the order of the dict, as views of a private memory map that lives as long as any
// of them (one that the file does not align is copied). float32, float16 and bfloat16. NOT_FOUND
// for a missing file; INVALID_ARGUMENT or DATA_LOSS naming the file and the fault: what
// ReadStoredZip and ReadPickledStateDict refuse, another byte order, a storage that is missing or
// whose size is not what the pickle says, a tensor that passes the end of its storage.
absl::StatusOr<NamedTensors> ReadStateDict(const std::filesystem::path& path);

}  // namespace qc2c
