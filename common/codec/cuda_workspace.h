// What one call of the codec needs on a GPU: a stream and two buffers. They are kept between calls,
// since allocating costs more than encoding a short prompt.
#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "common/cuda/cuda_buffer.h"
#include "common/cuda/cuda_stream.h"

namespace qc2c {

struct CudaWorkspace {
  int gpu;
  CudaStream stream;
  CudaBuffer device{CudaMemory::kDevice};
  CudaBuffer pinned{CudaMemory::kPinnedHost};
};

// A workspace for one caller at a time. Goes back to the process's pool at the end of the lease,
// after its stream has run dry; one with more than 1 GiB or a failed stream is freed instead.
// Leases may be taken from any thread.
class CudaWorkspaceLease {
 public:
  // REQUIRES: `gpu` is the current GPU, and stays so.
  static absl::StatusOr<CudaWorkspaceLease> Take(int gpu);
  ~CudaWorkspaceLease();
  CudaWorkspaceLease(CudaWorkspaceLease&&) noexcept = default;
  CudaWorkspaceLease& operator=(CudaWorkspaceLease&&) = delete;

  CudaWorkspace* operator->() const { return workspace_.get(); }

 private:
  explicit CudaWorkspaceLease(std::unique_ptr<CudaWorkspace> workspace)
      : workspace_(std::move(workspace)) {}

  std::unique_ptr<CudaWorkspace> workspace_;
};

}  // namespace qc2c
