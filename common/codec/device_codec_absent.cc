#include "common/codec/device_codec.h"

namespace qc2c {
namespace {

absl::Status BuiltWithoutCuda() {
  return absl::FailedPreconditionError(
      "the cache is in GPU memory, but the codec was built without CUDA (QC2C_ENABLE_CUDA)");
}

}  // namespace

absl::StatusOr<KvFrame> EncodeOnCuda(const KvCacheView&, const KvLayerSet&, const CodecSpec&,
                                     const Treatment&, const TokenScores&, uint32_t) {
  return BuiltWithoutCuda();
}

absl::Status DecodeOnCuda(const KvFrame&, const KvCacheView&, const Treatment&) {
  return BuiltWithoutCuda();
}

absl::StatusOr<HostCache> CopyToHost(const KvCacheView&) { return BuiltWithoutCuda(); }

}  // namespace qc2c
