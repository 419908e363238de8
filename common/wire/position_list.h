// Which tokens are sent, as bytes: CacheHeader.index_coding and CacheHeader.indices.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/base/bytes.h"
#include "common/codec/codec.h"
#include "qc2c/v1/cache.pb.h"

namespace qc2c {

struct CodedPositions {
  v1::IndexCoding coding = v1::INDEX_CODING_NONE;
  std::string indices;
};

// Nothing where the positions follow from the codec or all tokens are sent; otherwise the
// shorter of bitmap and deltas, the bitmap if both are equal. INVALID_ARGUMENT if `positions` are
// empty, not strictly ascending, not below num_tokens, or not those that the selection implies.
absl::StatusOr<CodedPositions> CodePositions(const CodecSpec& codec, uint32_t num_tokens,
                                             const std::vector<uint32_t>& positions);

// The num_kept positions that CodePositions coded. INVALID_ARGUMENT for any other coding or bytes
// than CodePositions chooses for the result. REQUIRES: 1 <= num_kept <= num_tokens <=
// KvLayout::kMaxTokens. Allocates in proportion to num_kept and num_tokens, whatever `indices`
// holds.
absl::StatusOr<std::vector<uint32_t>> DecodePositions(const CodecSpec& codec, uint32_t num_tokens,
                                                      uint32_t num_kept, v1::IndexCoding coding,
                                                      ByteSpan indices);

}  // namespace qc2c
