#include <cuda_runtime_api.h>

#include "common/base/status_macros.h"
#include "common/codec/device_codec.h"
#include "common/cuda/cuda_device.h"
#include "common/cuda/cuda_status.h"

namespace qc2c {

absl::StatusOr<HostCache> CopyToHost(const KvCacheView& cache) {
  HostCache copy;
  copy.view = cache;
  copy.view.device = DeviceType::kCpu;
  for (std::vector<KvPlane>* planes : {&copy.view.keys, &copy.view.values}) {
    for (KvPlane& plane : *planes) {
      if (plane.data == nullptr) continue;
      ASSIGN_OR_RETURN(const int gpu, CudaDeviceOf(plane.data));
      ASSIGN_OR_RETURN(const CudaDeviceGuard guard, CudaDeviceGuard::Create(gpu));
      const int64_t num_elements = (cache.num_tokens - 1) * plane.token_stride +
                                   (cache.layout.num_kv_heads - 1) * plane.head_stride +
                                   cache.layout.head_dim;
      std::vector<std::byte>& host =
          copy.planes.emplace_back(num_elements * DTypeBytes(cache.dtype));
      RETURN_IF_ERROR(CudaStatus(
          cudaMemcpy(host.data(), plane.data, host.size(), cudaMemcpyDeviceToHost), "cudaMemcpy"));
      plane.data = host.data();
    }
  }
  return copy;
}

}  // namespace qc2c
