#include "common/cuda/cuda_device.h"

#include <cuda_runtime_api.h>

#include <utility>

#include "absl/status/status.h"
#include "common/base/status_macros.h"
#include "common/cuda/cuda_status.h"

namespace qc2c {

int CudaDeviceCount() {
  int count = 0;
  if (cudaGetDeviceCount(&count) == cudaSuccess) return count;
  cudaGetLastError();  // or the next launch check would report this one
  return 0;
}

absl::StatusOr<int> CudaDeviceOf(const void* pointer) {
  cudaPointerAttributes attributes = {};
  RETURN_IF_ERROR(
      CudaStatus(cudaPointerGetAttributes(&attributes, pointer), "cudaPointerGetAttributes"));
  if (attributes.type != cudaMemoryTypeDevice && attributes.type != cudaMemoryTypeManaged) {
    return absl::InvalidArgumentError("the cache is not in GPU memory, though its device is CUDA");
  }
  return attributes.device;
}

absl::StatusOr<CudaDeviceGuard> CudaDeviceGuard::Create(int device) {
  int former = 0;
  RETURN_IF_ERROR(CudaStatus(cudaGetDevice(&former), "cudaGetDevice"));
  RETURN_IF_ERROR(CudaStatus(cudaSetDevice(device), "cudaSetDevice"));
  return CudaDeviceGuard(former);
}

CudaDeviceGuard::~CudaDeviceGuard() {
  if (former_ >= 0) cudaSetDevice(former_);
}

CudaDeviceGuard::CudaDeviceGuard(CudaDeviceGuard&& other) noexcept
    : former_(std::exchange(other.former_, -1)) {}

}  // namespace qc2c
