// Where the codes and scales of a frame lie, and the check that a frame is what it says.
#pragma once

#include "absl/status/status.h"
#include "common/codec/codec.h"

namespace qc2c {

// Every section of KvFrame::data starts at a multiple of this, so that a GPU reads and writes it in
// whole words. What lies between is zero.
inline constexpr size_t kSectionAlignment = 16;

// INVALID_ARGUMENT naming the first of a frame's fields that does not fit the others: codec,
// layout, token count, positions, layers, blocks (order, sizes, offsets, overlap with the end of
// data), scales (finite, not negative). A frame that passes can be decoded without another look.
absl::Status CheckFrame(const KvFrame& frame);

}  // namespace qc2c
