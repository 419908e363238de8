// zero_point=midpoint: the values that share a scale are coded by their distance from the middle of
// their range. For values that lie to one side of 0, that spends no codes where none is needed.
//
//   m  = 0.5 * min + 0.5 * max      in fp32, then rounded to the scale's type, ties to even
//   r  = x - m                      what the scheme codes (and finds the scale of), r' what it
//   gives x' = r' + m                     all in fp32, after any treatment and before it is undone
//
// A zero point that its type cannot store is a fault (kOutOfRange). The codes stay symmetric: a
// scheme's lowest code is as unused as without a zero point.
//
// Error, with e the scheme's own bound for r: |x - x'| <= e * (1 + 2^-23) + 2^-22 * (|x| + |m|).
#pragma once

#include "common/codec/scheme.h"

namespace qc2c {

constexpr float ZeroPointErrorBound(float own, float x, float zero_point) {
  const float magnitudes = (x < 0 ? -x : x) + (zero_point < 0 ? -zero_point : zero_point);
  return own * (1.0f + 0x1p-23f) + 0x1p-22f * magnitudes;
}

// Fills `zero_points`, as many as the block's scales and of their type, and takes them off `rows`.
// A value that is not finite is left for the scheme to find. REQUIRES: rows are fp32.
BlockFaults TakeZeroPoints(const Scaling& scaling, const BlockRows& rows,
                           MutableByteSpan zero_points);
// The opposite.
void AddZeroPoints(const Scaling& scaling, const BlockRows& rows, ByteSpan zero_points);

}  // namespace qc2c
