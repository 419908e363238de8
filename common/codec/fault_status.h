// The one wording of a block's faults, whichever device found them.
#pragma once

#include "absl/status/status.h"
#include "common/codec/codec.h"
#include "common/codec/scheme.h"

namespace qc2c {

// OK for no faults, otherwise INVALID_ARGUMENT naming layer, half and what is wrong.
absl::Status FaultStatus(BlockFaults faults, int32_t layer, Half half, const CodecSpec& codec);

}  // namespace qc2c
