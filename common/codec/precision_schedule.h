// Precisions of single tensors: what a layer's keys or values get that the rest of a frame does
// not.
//
// In text a list for keys and one for values, `keys=0-7:int8+20-23:bf16` (docs/codec.md): runs of
// sharer layers joined with '+', each with ':' and a precision, SCHEME[:AXIS][:SCALE], AXIS being
// a name or group8 to group64; what is left out is the codec's own, or per_token and fp16 where the
// codec has no scales. `none` does not send the tensor. A run without a precision takes the next
// one's.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/codec/codec_enums.h"
#include "common/codec/layer_set.h"

namespace qc2c {

// How the values of one tensor become codes.
struct Precision {
  Scheme scheme = Scheme::kInt8;
  Axis axis = Axis::kPerToken;
  ScaleType scale_type = ScaleType::kFp16;
  uint32_t group_size = 0;

  bool operator==(const Precision&) const = default;
};

// A tensor's own precision; none: the tensor is not sent.
using TensorPrecision = std::optional<Precision>;

// The canonical form: precisions distinct, in the order of their first use (keys first), none of
// them the codec's own; lists end with an entry that is not kOwn. So equal schedules are equal
// member by member.
struct PrecisionSchedule {
  static constexpr uint8_t kOwn = 0;      // the codec's own precision
  static constexpr uint8_t kNotSent = 1;  // the tensor does not travel
  static constexpr uint8_t kFirst = 2;    // precisions[entry - kFirst]
  static constexpr size_t kMaxPrecisions = 64;

  std::vector<Precision> precisions;
  std::vector<uint8_t> keys;    // an entry a sharer layer; layers beyond the end: kOwn
  std::vector<uint8_t> values;  // the same

  // `keys` and `values` by layer, `own` being the codec's precision.
  static PrecisionSchedule Make(const Precision& own, const std::vector<TensorPrecision>& keys,
                                const std::vector<TensorPrecision>& values);
  // The texts of both lists; empty: no such list. INVALID_ARGUMENT naming the list, the item and
  // what was expected. What the precisions hold is checked by CodecSpec::Validate.
  static absl::StatusOr<PrecisionSchedule> Parse(const Precision& own, std::string_view keys,
                                                 std::string_view values);
  // The canonical text of one list; empty if all layers have the codec's own precision.
  std::string Text(const Precision& own, Half half) const;

  const std::vector<uint8_t>& Of(Half half) const { return half == Half::kKey ? keys : values; }
  bool empty() const { return keys.empty() && values.empty(); }
  uint8_t Entry(int32_t layer, Half half) const {
    const std::vector<uint8_t>& list = Of(half);
    return static_cast<size_t>(layer) < list.size() ? list[layer] : kOwn;
  }
  bool Sends(int32_t layer, Half half) const { return Entry(layer, half) != kNotSent; }
  // REQUIRES: Sends(layer, half).
  Precision PrecisionOf(const Precision& own, int32_t layer, Half half) const;

  // INVALID_ARGUMENT naming what is not in canonical form.
  absl::Status Validate(const Precision& own) const;
  // INVALID_ARGUMENT naming the list if it has entries beyond the model's layers.
  absl::Status CheckLayers(const KvLayout& layout) const;
  // Those of `asked` that are sent. INVALID_ARGUMENT if there is none.
  absl::StatusOr<KvLayerSet> SentOf(const KvLayerSet& asked) const;

  bool operator==(const PrecisionSchedule&) const = default;
};

}  // namespace qc2c
