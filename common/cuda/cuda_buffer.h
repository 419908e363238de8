// Memory of the GPU, and host memory that it can reach, each owned and growing on demand.
#pragma once

#include <cstddef>
#include <cstdint>

#include "absl/status/status.h"

namespace qc2c {

// Where a process has another allocator that keeps what it no longer uses, torch's: a function that
// makes it give that back, called when there is no device memory for a buffer, which is then tried
// once more. Null, as at the start: nobody is asked.
using ReturnUnused = void (*)();
void SetReturnUnused(ReturnUnused return_unused);

enum class CudaMemory { kDevice, kPinnedHost };

// Move-only; thread-compatible. Starts empty. Everything it hands out is aligned to 256 bytes.
class CudaBuffer {
 public:
  explicit CudaBuffer(CudaMemory memory) : memory_(memory) {}
  ~CudaBuffer();
  CudaBuffer(CudaBuffer&& other) noexcept;
  CudaBuffer& operator=(CudaBuffer&&) = delete;

  // At least `bytes` afterwards; the content is lost if it had to grow. Allocated on the current
  // GPU. RESOURCE_EXHAUSTED if there is no memory.
  absl::Status Reserve(size_t bytes);

  uint8_t* data() const { return data_; }
  size_t capacity() const { return capacity_; }

 private:
  void Free();

  CudaMemory memory_;
  uint8_t* data_ = nullptr;
  size_t capacity_ = 0;
};

}  // namespace qc2c
