// A serialized CacheChunk, taken apart in place.
#pragma once

#include <cstdint>
#include <optional>

#include "absl/status/statusor.h"
#include "common/base/bytes.h"

namespace qc2c {

// All spans borrow from the message.
struct ChunkView {
  uint32_t sequence = 0;
  std::optional<ByteSpan> header;   // a serialized CacheHeader
  ByteSpan blocks;                  // the `blocks` fields one after another, tags included
  std::optional<ByteSpan> trailer;  // a serialized CacheTrailer
};

struct BlockView {
  uint32_t layer = 0;
  uint32_t half = 0;  // as sent; may be neither 0 nor 1
  uint32_t first_token = 0;
  uint32_t num_tokens = 0;
  ByteSpan codes;
  ByteSpan scales;
};

// INVALID_ARGUMENT for anything but the canonical form of a CacheChunk (field_reader.h). Blocks are
// delimited here and looked into by TakeBlock.
absl::StatusOr<ChunkView> ViewChunk(ByteSpan message);

// Takes the first block off `blocks`, which ViewChunk has delimited and which must not be empty.
absl::StatusOr<BlockView> TakeBlock(ByteSpan& blocks);

}  // namespace qc2c
