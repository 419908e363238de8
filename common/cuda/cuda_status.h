// The CUDA runtime's results as absl::Status. No CUDA header is needed to include this.
#pragma once

#include <string_view>

#include "absl/status/status.h"

namespace qc2c {

// OK for cudaSuccess; RESOURCE_EXHAUSTED when memory ran out; otherwise INTERNAL. The message names
// `what` and the runtime's own words. `error` is a cudaError_t.
absl::Status CudaStatus(int error, std::string_view what);

}  // namespace qc2c
