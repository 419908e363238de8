// The tables of entropy_tables.h in the memory of a GPU.
#pragma once

#include "absl/status/statusor.h"
#include "common/codec/entropy_tables.h"
#include "common/codec/rans_segment.h"

namespace qc2c {

// Uploaded on first use and kept until the process ends. Thread-safe. RESOURCE_EXHAUSTED without
// memory. REQUIRES: as EntropyTables; `gpu` is the current GPU.
absl::StatusOr<RansTables> RansTablesOnGpu(int gpu, CodeForm form, int bits);

}  // namespace qc2c
