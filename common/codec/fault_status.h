// The one wording of a block's faults, whichever device found them.
#pragma once

#include <span>

#include "absl/status/status.h"
#include "common/codec/codec.h"
#include "common/codec/scheme.h"

namespace qc2c {

// OK for no faults, otherwise INVALID_ARGUMENT naming layer, half and what is wrong; of NaN and
// infinity also the first token (of the cache) and head that hold one. `rows` are those that were
// encoded, in CPU memory; they are read only if `faults` says that one is not finite.
absl::Status FaultStatus(BlockFaults faults, const KvTensorId& tensor, const BlockRows& rows,
                         const CodecSpec& codec);

}  // namespace qc2c
