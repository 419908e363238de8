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

// One bitmap of KvLayout::kMaxTokens; many sets of a long prompt would take more, and are refused.
inline constexpr size_t kMaxIndexBytes = KvLayout::kMaxTokens / 8;

struct CodedPositions {
  v1::IndexCoding coding = v1::INDEX_CODING_NONE;
  std::string indices;
};

// `positions` are those of KvFrame: `num_sets` index sets of equal size one after another, and all
// of them are coded in the same way, one after another.
//
// Nothing where the positions follow from the codec or all tokens are sent; otherwise the
// shorter of bitmaps and deltas, bitmaps if both are equal. INVALID_ARGUMENT if `positions` are
// empty, no multiple of num_sets, in a set not strictly ascending, not below num_tokens, or not
// those that the selection implies, or if they take more than kMaxIndexBytes.
absl::StatusOr<CodedPositions> CodePositions(const CodecSpec& codec, uint32_t num_tokens,
                                             const std::vector<uint32_t>& positions,
                                             size_t num_sets = 1);

// The num_kept positions that CodePositions coded. INVALID_ARGUMENT for any other coding or bytes
// than CodePositions chooses for the result. REQUIRES: num_sets >= 1, 1 <= num_kept <= num_tokens
// <= KvLayout::kMaxTokens. Allocates in proportion to num_kept and num_tokens, whatever `indices`
// holds.
absl::StatusOr<std::vector<uint32_t>> DecodePositions(const CodecSpec& codec, uint32_t num_tokens,
                                                      uint32_t num_kept, v1::IndexCoding coding,
                                                      ByteSpan indices, size_t num_sets = 1);

}  // namespace qc2c
