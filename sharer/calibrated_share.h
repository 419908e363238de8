// A share whose codec is klt: checked against its codebook, copied to the CPU and encoded there.
#pragma once

#include <ATen/core/Tensor.h>

#include "absl/status/statusor.h"
#include "common/codec/klt_codebooks.h"
#include "common/model/model.h"
#include "common/wire/klt_frame.h"
#include "sharer/share_job.h"

namespace qc2c {

// The codebook that the job's codec names. FAILED_PRECONDITION if it is not held or is of other
// layers than the job's, INVALID_ARGUMENT naming the level that it does not have, or the token that
// does not fit its template.
absl::StatusOr<const KltCodebook*> CodebookFor(const ShareJob& job, const KltCodebooks& codebooks);

// What EncodeCalibrated reads of row `row` of a prefilled cache: the codebook's tensors at the last
// wanted tokens, as many as the codec's level needs. [tensors, H, T, D] on the CPU, in one copy.
// REQUIRES: job.codebook.
at::Tensor CopyToCpu(const ShareJob& job, const KvCache& cache, int64_t row);

// That, at the level that the codec names or the best within its budget. Thread-safe.
absl::StatusOr<KltMessage> EncodeCalibrated(const ShareJob& job, const at::Tensor& tensors);

}  // namespace qc2c
