#include "common/cuda/cuda_status.h"

#include <cuda_runtime_api.h>

#include <string>

#include "absl/strings/str_cat.h"

namespace qc2c {

absl::Status CudaStatus(int error, std::string_view what) {
  const auto code = static_cast<cudaError_t>(error);
  if (code == cudaSuccess) return absl::OkStatus();
  cudaGetLastError();  // said here, not by the next launch check
  const std::string message = absl::StrCat(std::string(what), ": ", cudaGetErrorString(code));
  return code == cudaErrorMemoryAllocation ? absl::ResourceExhaustedError(message)
                                           : absl::InternalError(message);
}

}  // namespace qc2c
