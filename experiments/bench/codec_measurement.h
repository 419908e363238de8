// What a codec costs and loses on real caches: serialized bytes, squared errors, times.
#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "common/codec/codec.h"
#include "common/wire/frame_codec.h"

namespace qc2c {

// Errors against the cache's values, over all sent tokens of keys or of values.
struct CodecError {
  uint64_t num_values = 0;
  double squared_error = 0;
  double energy = 0;  // the sum of squares of what was encoded

  double MeanSquaredError() const;
  // 10 log10(energy / squared_error); infinite without an error.
  double SignalToNoiseDb() const;
};

// Sums over the caches measured so far.
struct CodecMeasurement {
  CodecSpec codec;
  uint64_t num_caches = 0;
  WireBytes bytes;
  CodecError keys;
  CodecError values;
  // From the cache to serialized messages, and back to a cache of fp32: of each cache the fastest
  // of three times.
  double encode_seconds = 0;
  double decode_seconds = 0;

  // Everything that was serialized, header and trailer included.
  double BitsPerValue() const;
};

// Sends all planes of `cache`, which lies on the CPU, through the codec and the wire's messages,
// and adds what that took. An error of the codec (a value out of a format's range) is returned and
// leaves `sums` as they were. `context`: as EncodeCache's.
absl::Status MeasureCodec(const KvCacheView& cache, CodecMeasurement& sums,
                          const CodecContext& context = {});

}  // namespace qc2c
