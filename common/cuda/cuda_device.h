// Which GPU: counting, finding the one that holds a pointer, and working on it for a while.
#pragma once

#include "absl/status/statusor.h"

namespace qc2c {

// 0 without a driver or a GPU.
int CudaDeviceCount();

// The index of the GPU whose memory `pointer` is in. INVALID_ARGUMENT if it is not GPU memory.
absl::StatusOr<int> CudaDeviceOf(const void* pointer);

// Makes `device` this thread's current GPU and restores the former one at the end.
class CudaDeviceGuard {
 public:
  static absl::StatusOr<CudaDeviceGuard> Create(int device);
  ~CudaDeviceGuard();
  CudaDeviceGuard(CudaDeviceGuard&& other) noexcept;
  CudaDeviceGuard& operator=(CudaDeviceGuard&&) = delete;

 private:
  explicit CudaDeviceGuard(int former) : former_(former) {}

  int former_;  // -1: nothing to restore
};

}  // namespace qc2c
