// Frames whose codes are coded for the wire already (KvFrame::coded), so that they leave and reach
// a GPU as they travel; and how a frame is cut into the pieces that are coded.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "common/codec/codec.h"
#include "common/codec/entropy.h"

namespace qc2c {

// A run of a block's tokens that travels as one LayerBlock.
struct FramePiece {
  size_t block = 0;  // index into KvFrame::blocks
  uint32_t first_token = 0;
  uint32_t num_tokens = 0;
  bool begins_message = false;  // the messages before it are full
};

// The pieces of a frame in their order, for messages of `chunk_bytes` (proto/FORMAT.md, section 2).
// Follows from the sizes alone. REQUIRES: the frame's blocks are laid out.
std::vector<FramePiece> PlanPieces(const KvFrame& frame, uint32_t chunk_bytes);

// Whose codes a block's are.
CodeSource SourceOf(const KvFrame& frame, const KvBlock& block);

// Decodes the codes of a coded frame into its data, on the CPU, and drops their coding; nothing for
// other frames. DATA_LOSS as from DecodeCodes, of the first piece that is not the coding of its
// codes; the frame then stays as it was. REQUIRES: CheckFrame.
absl::Status DecodeFrameCodes(KvFrame& frame);

}  // namespace qc2c
