// What a sharer's model card says about caches: the format's version and the codecs that it writes.
#pragma once

#include "absl/status/status.h"
#include "common/codec/codec_spec.h"
#include "qc2c/v1/sharer.pb.h"

namespace qc2c {

// Fills in what this build writes: format_version, max_chunk_bytes, schemes, axes, selections,
// entropies, codec_options, treatments. What this sharer alone holds (calibrations, codebooks, a
// receiver and the selections that need one) is left for the caller.
void DescribeCodecs(v1::ModelCard& card);

// FAILED_PRECONDITION unless the sharer writes the version that this build reads.
absl::Status CheckFormatVersion(const v1::ModelCard& sharer);

// FAILED_PRECONDITION naming the scheme, axis, selection, entropy, option, treatment or calibration
// that the sharer does not list.
absl::Status CheckSharerKnows(const v1::ModelCard& sharer, const CodecSpec& codec);

}  // namespace qc2c
