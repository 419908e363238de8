// A share whose codec is klt: checked against its codebook, copied to the CPU and encoded there.
#pragma once

#include "absl/status/statusor.h"
#include "common/codec/klt_codebooks.h"
#include "common/model/model.h"
#include "common/wire/klt_frame.h"
#include "sharer/share_engine.h"

namespace qc2c {

// The codebook that the job's codec names. FAILED_PRECONDITION if it is not held or is of other
// layers than the job's, INVALID_ARGUMENT naming the level that it does not have, or the token that
// does not fit its template.
absl::StatusOr<const KltCodebook*> CodebookFor(const ShareJob& job, const KltCodebooks& codebooks);

// Row `row` of a prefilled cache, at the level that the codec names or the best within its budget.
// REQUIRES: job.codebook.
absl::StatusOr<KltMessage> EncodeCalibrated(const ShareJob& job, const KvCache& cache, int64_t row);

}  // namespace qc2c
