// A frame of the scheme klt as one message: what the codebook fixes does not travel, so that a
// frame of a few coefficients is not mostly header. proto/FORMAT.md is the specification.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/codec/klt.h"
#include "common/wire/frame_codec.h"

namespace qc2c {

// The trailer's checksum.
uint64_t KltChecksum(const v1::CacheHeader& header, ByteSpan codes);

// The serialized CacheChunk. INVALID_ARGUMENT for a codec without a level, or for more than
// kMaxChunkBytes of codes.
absl::StatusOr<std::string> WriteKltFrame(const KvFrame& frame);

// INVALID_ARGUMENT unless there is a codebook, the one that the codec names, of this model, layout
// and layers, and num_tokens fits its template.
absl::Status CheckKltExpectation(const FrameExpectation& expected);

// Errors as those of FrameReader; INVALID_ARGUMENT also for a message above a requested budget.
// REQUIRES: CheckKltExpectation.
absl::StatusOr<KvFrame> ReadKltFrame(const std::string& message, const FrameExpectation& expected);

struct KltMessage {
  std::string message;  // a serialized CacheChunk, the only one
  uint32_t num_kept = 0;
};

// Errors as those of KltEncoder::Encode and WriteKltFrame.
absl::StatusOr<KltMessage> WriteLevel(KltEncoder& encoder, uint32_t level);

// The message of the highest level that takes at most `budget_bytes`. INVALID_ARGUMENT naming the
// budget and what the least level takes, if none does.
absl::StatusOr<KltMessage> WriteWithinBudget(KltEncoder& encoder, uint32_t budget_bytes);

}  // namespace qc2c
