#include "experiments/bench/codec_measurement.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>
#include <numeric>
#include <span>
#include <string>
#include <vector>

#include "common/base/status_macros.h"
#include "common/codec/rows.h"

namespace qc2c {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int kRepetitions = 3;

double SecondsSince(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// A cache of fp32 for what a frame decodes to.
class Target {
 public:
  Target(const KvLayout& layout, size_t num_tokens)
      : token_stride_(layout.num_kv_heads * layout.head_dim),
        memory_(2 * layout.num_layers, std::vector<float>(num_tokens * token_stride_)) {
    view_ = {.layout = layout, .num_tokens = static_cast<int64_t>(num_tokens)};
    for (size_t plane = 0; plane < memory_.size(); ++plane) {
      (plane % 2 == 0 ? view_.keys : view_.values)
          .push_back({memory_[plane].data(), token_stride_, layout.head_dim});
    }
  }
  const KvCacheView& view() const { return view_; }

 private:
  int64_t token_stride_;
  std::vector<std::vector<float>> memory_;
  KvCacheView view_;
};

void AddError(const KvCacheView& cache, const KvFrame& frame, const KvCacheView& decoded, Half half,
              CodecError& sums) {
  const int32_t head_dim = cache.layout.head_dim;
  std::vector<float> original(head_dim), result(head_dim);
  for (int32_t layer = 0; layer < cache.layout.num_layers; ++layer) {
    const KvPlane& from = cache.Plane(layer, half);
    const KvPlane& to = decoded.Plane(layer, half);
    const std::vector<int32_t> sent = frame.layers.Layers();
    // A layer that was not sent has no tokens of its own.
    const bool is_own = frame.codec.index_sets != IndexSets::kOne;
    if (is_own && !std::ranges::binary_search(sent, layer)) continue;
    const std::span<const uint32_t> positions = frame.PositionsOf(layer);
    for (size_t i = 0; i < positions.size(); ++i) {
      for (int32_t head = 0; head < cache.layout.num_kv_heads; ++head) {
        const int64_t element = positions[i] * from.token_stride + head * from.head_stride;
        LoadRow(cache.dtype,
                static_cast<const std::byte*>(from.data) + element * DTypeBytes(cache.dtype),
                head_dim, original.data());
        const float* const row = static_cast<const float*>(to.data) +
                                 static_cast<int64_t>(i) * to.token_stride + head * to.head_stride;
        for (int32_t d = 0; d < head_dim; ++d) {
          const double error = static_cast<double>(row[d]) - original[d];
          sums.squared_error += error * error;
          sums.energy += static_cast<double>(original[d]) * original[d];
        }
      }
    }
  }
  sums.num_values +=
      uint64_t{frame.num_kept()} * cache.layout.num_layers * cache.layout.num_kv_heads * head_dim;
}

absl::StatusOr<KvFrame> ReadMessages(const KvFrame& expected,
                                     const std::vector<std::string>& messages, WireBytes& bytes) {
  FrameReader reader({.model_fingerprint = expected.model_fingerprint,
                      .layout = expected.layout,
                      .codec = expected.codec,
                      .num_tokens = expected.num_tokens,
                      .layers = expected.layers});
  for (const std::string& message : messages) RETURN_IF_ERROR(reader.Add(message));
  bytes = reader.bytes();
  return reader.Finish();
}

}  // namespace

double CodecError::MeanSquaredError() const {
  return num_values == 0 ? 0 : squared_error / static_cast<double>(num_values);
}

double CodecError::SignalToNoiseDb() const {
  if (squared_error == 0) return std::numeric_limits<double>::infinity();
  return 10 * std::log10(energy / squared_error);
}

double CodecMeasurement::BitsPerValue() const {
  const uint64_t num_values = keys.num_values + values.num_values;
  return num_values == 0 ? 0
                         : 8.0 * static_cast<double>(bytes.tx) / static_cast<double>(num_values);
}

absl::Status MeasureCodec(const KvCacheView& cache, CodecMeasurement& sums,
                          const CodecContext& context) {
  std::vector<int32_t> layers(cache.layout.num_layers);
  std::iota(layers.begin(), layers.end(), 0);
  const KvLayerSet every = KvLayerSet::Both(layers);
  double encode_seconds = std::numeric_limits<double>::infinity();
  double decode_seconds = encode_seconds;
  for (int repetition = 0; repetition < kRepetitions; ++repetition) {
    Clock::time_point start = Clock::now();
    ASSIGN_OR_RETURN(const KvFrame frame, EncodeCache(cache, every, sums.codec, context));
    ASSIGN_OR_RETURN(const auto messages, WriteFrame(frame, kDefaultChunkBytes));
    encode_seconds = std::min(encode_seconds, SecondsSince(start));
    const Target target(cache.layout, frame.num_kept());
    WireBytes bytes;
    start = Clock::now();
    ASSIGN_OR_RETURN(const KvFrame read, ReadMessages(frame, messages, bytes));
    RETURN_IF_ERROR(DecodeCache(read, target.view(), context));
    decode_seconds = std::min(decode_seconds, SecondsSince(start));
    if (repetition + 1 < kRepetitions) continue;
    sums.bytes += bytes;
    AddError(cache, read, target.view(), Half::kKey, sums.keys);
    AddError(cache, read, target.view(), Half::kValue, sums.values);
  }
  ++sums.num_caches;
  sums.encode_seconds += encode_seconds;
  sums.decode_seconds += decode_seconds;
  return absl::OkStatus();
}

}  // namespace qc2c
