// The codec's vocabulary, free of abseil so that CUDA sources can include it too.
// The values are those of proto/qc2c/v1/cache.proto.
#pragma once

#include <cstdint>

#include "common/codec/host_device.h"

namespace qc2c {

enum class Scheme : uint8_t {
  kFp32 = 1,
  kBf16 = 2,
  kFp16 = 3,
  kInt8 = 4,
  kInt4 = 5,
  kFp8E4m3 = 6,
  kFp8E5m2 = 7,
  kInt3 = 8,
  kInt2 = 9,         // four levels, mid-rise
  kInt2Absmax = 10,  // three levels
  kInt2Lloyd = 11,   // four levels of Lloyd and Max
  kBinary = 12,
  kNf4 = 13,
  kKlt = 14,  // calibrated transform: of whole frames, without a SchemeCoder
};

enum class Axis : uint8_t {
  kNone = 0,
  kPerToken = 1,
  kPerHead = 2,
  kPerLayer = 3,
  kPerChannel = 4,
  kGroup = 5,
  kGroupTokens = 6,
};

// kTwoLevel, of Axis::kGroup alone: a byte a group under an fp16 a row (scale_rule.h).
enum class ScaleType : uint8_t { kNone = 0, kFp16 = 1, kBf16 = 2, kFp32 = 3, kTwoLevel = 4 };

enum class Selection : uint8_t {
  kAll = 1,
  kFront = 2,
  kBack = 3,
  kKeyNorm = 4,
  kValueNorm = 5,
  kStrided = 6,
  kRandom = 7,
  kSinks = 8,
  kAttention = 9,
  kProjectedNorm = 10,
  kResidualNorm = 11,
};

// Whether all layers send the same tokens, or each those of its own largest scores.
enum class IndexSets : uint8_t { kOne = 0, kPerLayer = 1 };

// How codes are coded once more, without loss, on their way to the wire (entropy.h).
enum class Entropy : uint8_t { kNone = 0, kRans = 1, kZstd = 2 };

// Whether keys are quantized as the model stores them, or with their position's rotation undone
// (rotary.h).
enum class Rotation : uint8_t { kKeep = 0, kRemove = 1 };

// Which mean of each channel is taken off before quantization.
enum class Mean : uint8_t { kKeep = 0, kCalibrated = 1, kBias = 2 };

// Which halves go through a Hadamard transform along D.
enum class Hadamard : uint8_t { kOff = 0, kKeys = 1, kValues = 2, kBoth = 3 };

// Whether what shares a scale is coded by its distance from the middle of its range
// (zero_point.h).
enum class ZeroPoint : uint8_t { kNone = 0, kMidpoint = 1 };

// Bytes of one stored scale; of kTwoLevel a group's, beside kRowScaleBytes of each row.
constexpr int ScaleBytes(ScaleType type) {
  switch (type) {
    case ScaleType::kNone:
      return 0;
    case ScaleType::kTwoLevel:
      return 1;
    case ScaleType::kFp32:
      return 4;
    default:
      return 2;
  }
}
inline constexpr int kRowScaleBytes = 2;

// Which values of a block share a scale, and how it is stored.
struct Scaling {
  Axis axis = Axis::kNone;
  ScaleType type = ScaleType::kNone;
  uint32_t group_size = 0;  // G, for Axis::kGroup (values) and Axis::kGroupTokens (tokens)
};

// Whether each token has scales of its own, so that they travel with its codes.
constexpr bool ScalesFollowTokens(Axis axis) {
  return axis == Axis::kPerToken || axis == Axis::kGroup;
}

// Whether the axis has a group size.
constexpr bool HasGroups(Axis axis) { return axis == Axis::kGroup || axis == Axis::kGroupTokens; }

// Whether each channel has scales of its own, shared by tokens.
constexpr QC2C_HOST_DEVICE bool ScalesFollowChannels(Axis axis) {
  return axis == Axis::kPerChannel || axis == Axis::kGroupTokens;
}

// Scales of a row of D values where ScalesFollowTokens(axis): 1, or ceil(D / G).
constexpr QC2C_HOST_DEVICE uint64_t ScalesOfRow(const Scaling& scaling, uint64_t head_dim) {
  return scaling.axis == Axis::kGroup ? (head_dim + scaling.group_size - 1) / scaling.group_size
                                      : 1;
}

// Scales of one block of T sent tokens and H heads: per_token [T, H], group [T, H, ceil(D / G)],
// per_head [H], per_channel [H, D], per_layer [1], group_tokens [ceil(T / G), H, D].
constexpr uint64_t NumScales(const Scaling& scaling, uint64_t num_kept, uint64_t num_heads,
                             uint64_t head_dim) {
  switch (scaling.axis) {
    case Axis::kPerToken:
    case Axis::kGroup:
      return num_kept * num_heads * ScalesOfRow(scaling, head_dim);
    case Axis::kPerHead:
      return num_heads;
    case Axis::kPerLayer:
      return 1;
    case Axis::kPerChannel:
      return num_heads * head_dim;
    case Axis::kGroupTokens:
      return (num_kept + scaling.group_size - 1) / scaling.group_size * num_heads * head_dim;
    case Axis::kNone:
      break;
  }
  return 0;
}

// How many of a block's scales, in their order, come before the `token`-th sent token: those of
// earlier tokens; where tokens share scales, each comes with the first token that has it.
// NumScales for token == num_kept.
constexpr uint64_t ScalesBefore(const Scaling& scaling, uint64_t token, uint64_t num_heads,
                                uint64_t head_dim) {
  return token == 0 ? 0 : NumScales(scaling, token, num_heads, head_dim);
}

// Bytes of those scales. With kTwoLevel each row is its fp16, then its groups' bytes.
constexpr uint64_t ScaleBytesBefore(const Scaling& scaling, uint64_t token, uint64_t num_heads,
                                    uint64_t head_dim) {
  const uint64_t rows = scaling.type == ScaleType::kTwoLevel ? token * num_heads : 0;
  return ScalesBefore(scaling, token, num_heads, head_dim) * ScaleBytes(scaling.type) +
         rows * kRowScaleBytes;
}

// Index of the scale of value d of row (token, head).
constexpr QC2C_HOST_DEVICE uint64_t ScaleIndex(const Scaling& scaling, uint64_t token,
                                               uint64_t head, uint64_t d, uint64_t num_heads,
                                               uint64_t head_dim) {
  switch (scaling.axis) {
    case Axis::kPerToken:
      return token * num_heads + head;
    case Axis::kGroup:
      return (token * num_heads + head) * ScalesOfRow(scaling, head_dim) + d / scaling.group_size;
    case Axis::kPerHead:
      return head;
    case Axis::kPerChannel:
      return head * head_dim + d;
    case Axis::kGroupTokens:
      return (token / scaling.group_size * num_heads + head) * head_dim + d;
    case Axis::kPerLayer:
    case Axis::kNone:
      break;
  }
  return 0;
}

}  // namespace qc2c
