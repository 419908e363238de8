#include "common/cuda/cuda_stream.h"

#include <cuda_runtime_api.h>

#include <utility>

#include "common/base/status_macros.h"
#include "common/cuda/cuda_status.h"

namespace qc2c {

absl::StatusOr<CudaStream> CudaStream::Create() {
  CUstream_st* stream = nullptr;
  RETURN_IF_ERROR(CudaStatus(cudaStreamCreate(&stream), "cudaStreamCreate"));
  return CudaStream(stream);
}

CudaStream::~CudaStream() {
  if (stream_ != nullptr) cudaStreamDestroy(stream_);
}

CudaStream::CudaStream(CudaStream&& other) noexcept
    : stream_(std::exchange(other.stream_, nullptr)) {}

absl::Status CudaStream::Synchronize() const {
  return CudaStatus(cudaStreamSynchronize(stream_), "cudaStreamSynchronize");
}

}  // namespace qc2c
