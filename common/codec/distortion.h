// What precisions cost a cache: the squared error of each tensor after really quantizing it.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "common/codec/codec.h"
#include "common/codec/scheme.h"

namespace qc2c {

// Errors are sums over a tensor's values of (sent - own)^2, in fp64, on the values before they are
// rounded to the receiver's dtype. A token that is not sent counts with its values' energy: it
// arrives as zero.
class DistortionTable {
 public:
  // Borrows the cache, which is on the CPU and has the planes of `tensors`. INVALID_ARGUMENT naming
  // layer, half, token and head of a value that is NaN or infinite.
  static absl::StatusOr<DistortionTable> Measure(const KvCacheView& cache,
                                                 std::vector<KvTensorId> tensors,
                                                 std::vector<CodecSpec> precisions);

  const std::vector<KvTensorId>& tensors() const { return tensors_; }
  // Codecs without schedule, of which only the precision counts.
  const std::vector<CodecSpec>& precisions() const { return precisions_; }

  // Tensor i sent with precision p at `positions`, ascending. Infinite if its values are too
  // large for the precision.
  double Sent(size_t i, size_t p, std::span<const uint32_t> positions) const;
  double NotSent(size_t i) const { return energy_[i]; }

 private:
  BlockRows RowsOf(size_t i, std::span<const uint32_t> positions) const;
  std::vector<double> TokenErrors(size_t i, size_t p, std::span<const uint32_t> positions) const;

  const KvCacheView* cache_ = nullptr;
  std::vector<KvTensorId> tensors_;
  std::vector<CodecSpec> precisions_;
  std::vector<uint32_t> every_;                    // all positions
  std::vector<double> energy_;                     // by tensor
  std::vector<std::vector<double>> token_energy_;  // by tensor and token
  // By tensor and precision, of each token; empty where the scales depend on which tokens are sent.
  std::vector<std::vector<std::vector<double>>> token_errors_;
};

}  // namespace qc2c
