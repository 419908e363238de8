// A stream of the current GPU, owned.
#pragma once

#include "absl/status/statusor.h"

struct CUstream_st;  // cudaStream_t is a pointer to it

namespace qc2c {

// Move-only; thread-compatible. A *blocking* stream in CUDA's words: its work starts after what was
// queued before on the legacy default stream (where torch computes unless told otherwise), and
// later work there waits for it.
class CudaStream {
 public:
  static absl::StatusOr<CudaStream> Create();
  ~CudaStream();
  CudaStream(CudaStream&& other) noexcept;
  CudaStream& operator=(CudaStream&&) = delete;

  CUstream_st* get() const { return stream_; }
  // Waits for everything queued so far; an error of any of it, if there was one.
  absl::Status Synchronize() const;

 private:
  explicit CudaStream(CUstream_st* stream) : stream_(stream) {}

  CUstream_st* stream_;
};

}  // namespace qc2c
