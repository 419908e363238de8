#include "common/codec/cuda_workspace.h"

#include <mutex>
#include <utility>
#include <vector>

#include "common/base/status_macros.h"

namespace qc2c {
namespace {

constexpr size_t kMaxPooledBytes = size_t{1} << 30;

struct Pool {
  std::mutex mutex;
  std::vector<std::unique_ptr<CudaWorkspace>> idle;
};

// Never destroyed: when statics go, the CUDA runtime may have gone already.
Pool& ThePool() {
  static Pool* const pool = new Pool;
  return *pool;
}

}  // namespace

absl::StatusOr<CudaWorkspaceLease> CudaWorkspaceLease::Take(int gpu) {
  {
    Pool& pool = ThePool();
    const std::lock_guard lock(pool.mutex);
    for (auto& candidate : pool.idle) {
      if (candidate->gpu != gpu) continue;
      std::swap(candidate, pool.idle.back());
      CudaWorkspaceLease lease(std::move(pool.idle.back()));
      pool.idle.pop_back();
      return lease;
    }
  }
  ASSIGN_OR_RETURN(CudaStream stream, CudaStream::Create());
  return CudaWorkspaceLease(
      std::make_unique<CudaWorkspace>(CudaWorkspace{.gpu = gpu, .stream = std::move(stream)}));
}

CudaWorkspaceLease::~CudaWorkspaceLease() {
  if (workspace_ == nullptr || !workspace_->stream.Synchronize().ok()) return;
  if (workspace_->device.capacity() + workspace_->pinned.capacity() > kMaxPooledBytes) return;
  Pool& pool = ThePool();
  const std::lock_guard lock(pool.mutex);
  pool.idle.push_back(std::move(workspace_));
}

}  // namespace qc2c
