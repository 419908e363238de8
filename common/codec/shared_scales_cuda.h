// The scales of the axes that span tokens, found before any row is encoded. Free of abseil and of
// CUDA headers.
#pragma once

#include "common/codec/cuda_scheme.h"
#include "common/codec/scale_rule.h"

namespace qc2c {

// Queues the kernels that fill every block's scales in blocks.data and report their faults; the
// launches' cudaError_t. REQUIRES: !ScalesFollowTokens(blocks.scaling.axis).
int LaunchSharedScales(const CudaBlocks& blocks, const ScaleRule& rule, CUstream_st* stream);

}  // namespace qc2c
