#include "common/cuda/cuda_buffer.h"

#include <cuda_runtime_api.h>

#include <atomic>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/cuda/cuda_status.h"

namespace qc2c {
namespace {

std::atomic<ReturnUnused> return_unused_memory = nullptr;

}  // namespace

void SetReturnUnused(ReturnUnused return_unused) { return_unused_memory = return_unused; }

CudaBuffer::~CudaBuffer() { Free(); }

CudaBuffer::CudaBuffer(CudaBuffer&& other) noexcept
    : memory_(other.memory_),
      data_(std::exchange(other.data_, nullptr)),
      capacity_(std::exchange(other.capacity_, 0)) {}

absl::Status CudaBuffer::Reserve(size_t bytes) {
  if (bytes <= capacity_) return absl::OkStatus();
  Free();
  void* memory = nullptr;
  const auto allocate = [&] {
    return memory_ == CudaMemory::kDevice ? cudaMalloc(&memory, bytes)
                                          : cudaHostAlloc(&memory, bytes, cudaHostAllocDefault);
  };
  cudaError_t error = allocate();
  if (error == cudaErrorMemoryAllocation && memory_ == CudaMemory::kDevice) {
    if (const ReturnUnused return_unused = return_unused_memory) {
      return_unused();
      error = allocate();
    }
  }
  RETURN_IF_ERROR(
      CudaStatus(error, absl::StrCat(memory_ == CudaMemory::kDevice ? "device" : "pinned host",
                                     " memory of ", bytes, " bytes")));
  data_ = static_cast<uint8_t*>(memory);
  capacity_ = bytes;
  return absl::OkStatus();
}

void CudaBuffer::Free() {
  if (data_ == nullptr) return;
  if (memory_ == CudaMemory::kDevice) {
    cudaFree(data_);
  } else {
    cudaFreeHost(data_);
  }
  data_ = nullptr;
  capacity_ = 0;
}

}  // namespace qc2c
