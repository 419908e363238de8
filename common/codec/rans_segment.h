// Segments of coded codes (proto/FORMAT.md, section 14) as the algorithms of a warp take them: one
// warp a segment. Free of abseil and of CUDA headers.
#pragma once

#include <cstdint>

#include "common/codec/host_device.h"
#include "common/codec/rans_step.h"

namespace qc2c {

inline constexpr uint32_t kNumEntropyTables = 128;
// A part of a stream that is decoded by itself, so that memory is bounded and a GPU has many to
// work on.
inline constexpr uint32_t kMaxSegmentSymbols = 1 << 16;
inline constexpr uint32_t kSegmentLengthBytes = 4;
// The first byte of a segment: the number of a table, or
inline constexpr uint32_t kStoredSegment = 0;                         // codes as they are
inline constexpr uint32_t kByChannelSegment = kNumEntropyTables + 1;  // tables by channel
// What a channel's symbols are coded by: a table, and how far its middle is moved.
inline constexpr uint32_t kChannelBytes = 2;
inline constexpr uint32_t kMaxByChannelBits = 4;
inline constexpr uint32_t kMinByChannelTokens = 8;
// What a symbol costs under a table is counted in 2^-kCostBits bits.
inline constexpr int kCostBits = 12;

// The tables of one alphabet, 1 to kNumEntropyTables at index 0 .., for look-ups. `symbols` is its
// size, 2 to 256.
struct RansTables {
  const uint32_t* entries = nullptr;  // [tables, symbols] RansEntry
  const uint64_t* pushes = nullptr;   // the same and, in the upper half, RansReciprocal
  // [tables, kRansBuckets]: of the slots of a bucket the least symbol, and in the upper byte the
  // largest.
  const uint16_t* buckets = nullptr;
  const uint32_t* costs = nullptr;  // [symbols, tables], in 2^-kCostBits bits
};
inline constexpr uint32_t kRansBuckets = 256;
inline constexpr uint32_t kRansBucketShift = kRansBits - 8;

// What all codes of a precision have in common.
struct RansKind {
  uint32_t bits = 0;  // 1, 2, 3, 4 or 8
  uint32_t sign = 0;  // a symbol is its code with this bit turned
  uint32_t head_dim = 0;
  uint32_t row_bytes = 0;
  uint32_t num_channels = 0;  // H D
  RansTables tables;

  QC2C_HOST_DEVICE uint32_t alphabet() const { return 1u << bits; }
  QC2C_HOST_DEVICE uint32_t mask() const { return (1u << bits) - 1; }
  // Rows follow one another without bits between them.
  QC2C_HOST_DEVICE bool is_dense() const { return head_dim * bits % 8 == 0; }
  // For narrow codes, where finding the tables takes no longer than the rest, and segments that can
  // pay for the list.
  QC2C_HOST_DEVICE bool MayChooseByChannel(uint32_t num_symbols) const {
    return bits <= kMaxByChannelBits && num_symbols >= uint64_t{kMinByChannelTokens} * num_channels;
  }
};

struct RansSegment {
  uint64_t codes_offset = 0;
  uint64_t coded_offset = 0;  // decoding: of the segment; encoding: of its slot (RansSlotBytes)
  uint32_t codes_bytes = 0;
  uint32_t coded_bytes = 0;  // decoding
  uint32_t num_symbols = 0;
  uint32_t kind = 0;          // index into a list of RansKind
  uint32_t prefix_bytes = 0;  // encoding: of the length that is written before it, 4 or 0
};

// What became of a segment: it ends where its slot's stream ends and has so many bytes before the
// stream; none if it is stored.
struct CodedSegment {
  uint32_t bytes = 0;
  uint32_t header_bytes = 0;
};

// Where a stream begins in its slot: the segment's header ends there.
QC2C_HOST_DEVICE constexpr uint32_t RansHeaderRoom(uint32_t num_channels, bool by_channel) {
  return (1 + (by_channel ? kChannelBytes * num_channels : 0) + 15) / 16 * 16;
}

// Room for a segment that is encoded, at a multiple of 16. A stream that does not fit is not
// shorter than its codes.
QC2C_HOST_DEVICE constexpr uint32_t RansSlotBytes(uint32_t header_room, uint32_t codes_bytes) {
  return header_room + (codes_bytes + 15) / 16 * 16;
}

}  // namespace qc2c
