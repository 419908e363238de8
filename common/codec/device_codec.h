// The two drivers behind EncodeCache and DecodeCache for a cache in GPU memory. Arguments have been
// checked. Both work on a stream of their own that follows the legacy default stream in both
// directions (cuda_stream.h), and return when they are done. Without CUDA in the build:
// FAILED_PRECONDITION.
#pragma once

#include <cstddef>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/codec/codec.h"
#include "common/codec/treatment.h"

namespace qc2c {

// `chunk_bytes`: CodecContext::chunk_bytes.
absl::StatusOr<KvFrame> EncodeOnCuda(const KvCacheView& cache, const KvLayerSet& layers,
                                     const CodecSpec& codec, const Treatment& treatment,
                                     const TokenScores& scores, uint32_t chunk_bytes);
absl::Status DecodeOnCuda(const KvFrame& frame, const KvCacheView& out, const Treatment& treatment);

// A cache in GPU memory as one in CPU memory; `view` points into `planes`.
struct HostCache {
  std::vector<std::vector<std::byte>> planes;
  KvCacheView view;
};
// Every plane that is present, after all work queued on the legacy default stream.
absl::StatusOr<HostCache> CopyToHost(const KvCacheView& cache);

}  // namespace qc2c
