// For tests: the error that a scheme with scales promises, from the same formulas as its header.
#pragma once

#include "common/codec/absmax.h"
#include "common/codec/codec_spec.h"
#include "common/codec/level_scheme.h"

namespace qc2c {

// Of a value x whose group has this stored scale, decoded into fp32.
inline float SchemeErrorBound(const CodecSpec& codec, float x, float scale) {
  switch (codec.scheme) {
    case Scheme::kInt2:
      return LevelErrorBound(kInt2Levels, x, scale);
    case Scheme::kInt2Lloyd:
      return LevelErrorBound(kInt2LloydLevels, x, scale);
    case Scheme::kBinary:
      return LevelErrorBound(kBinaryLevels, x, scale);
    case Scheme::kNf4:
      return LevelErrorBound(kNf4Levels, x, scale);
    case Scheme::kInt8:
      return AbsmaxErrorBound(scale, 127, codec.scale_type);
    case Scheme::kInt4:
      return AbsmaxErrorBound(scale, 7, codec.scale_type);
    case Scheme::kInt3:
      return AbsmaxErrorBound(scale, 3, codec.scale_type);
    default:
      return AbsmaxErrorBound(scale, 1, codec.scale_type);
  }
}

}  // namespace qc2c
