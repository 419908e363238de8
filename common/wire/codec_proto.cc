#include <limits>
#include <string>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/wire/frame_codec.h"

namespace qc2c {
namespace {

static_assert(static_cast<int>(Scheme::kFp32) == v1::SCHEME_FP32);
static_assert(static_cast<int>(Scheme::kBf16) == v1::SCHEME_BF16);
static_assert(static_cast<int>(Scheme::kFp16) == v1::SCHEME_FP16);
static_assert(static_cast<int>(Scheme::kInt8) == v1::SCHEME_INT8);
static_assert(static_cast<int>(Scheme::kInt4) == v1::SCHEME_INT4);
static_assert(static_cast<int>(Scheme::kFp8E4m3) == v1::SCHEME_FP8_E4M3);
static_assert(static_cast<int>(Scheme::kFp8E5m2) == v1::SCHEME_FP8_E5M2);
static_assert(static_cast<int>(Scheme::kInt3) == v1::SCHEME_INT3);
static_assert(static_cast<int>(Scheme::kInt2) == v1::SCHEME_INT2);
static_assert(static_cast<int>(Scheme::kInt2Absmax) == v1::SCHEME_INT2_ABSMAX);
static_assert(static_cast<int>(Scheme::kInt2Lloyd) == v1::SCHEME_INT2_LLOYD);
static_assert(static_cast<int>(Scheme::kBinary) == v1::SCHEME_BINARY);
static_assert(static_cast<int>(Scheme::kNf4) == v1::SCHEME_NF4);
static_assert(static_cast<int>(Scheme::kKlt) == v1::SCHEME_KLT);
static_assert(static_cast<int>(Axis::kNone) == v1::AXIS_UNSPECIFIED);
static_assert(static_cast<int>(Axis::kPerToken) == v1::AXIS_PER_TOKEN);
static_assert(static_cast<int>(Axis::kPerHead) == v1::AXIS_PER_HEAD);
static_assert(static_cast<int>(Axis::kPerLayer) == v1::AXIS_PER_LAYER);
static_assert(static_cast<int>(Axis::kPerChannel) == v1::AXIS_PER_CHANNEL);
static_assert(static_cast<int>(Axis::kGroup) == v1::AXIS_GROUP);
static_assert(static_cast<int>(Axis::kGroupTokens) == v1::AXIS_GROUP_TOKENS);
static_assert(static_cast<int>(ScaleType::kNone) == v1::SCALE_TYPE_UNSPECIFIED);
static_assert(static_cast<int>(ScaleType::kFp16) == v1::SCALE_TYPE_FP16);
static_assert(static_cast<int>(ScaleType::kBf16) == v1::SCALE_TYPE_BF16);
static_assert(static_cast<int>(ScaleType::kFp32) == v1::SCALE_TYPE_FP32);
static_assert(static_cast<int>(ScaleType::kTwoLevel) == v1::SCALE_TYPE_TWO_LEVEL);
static_assert(static_cast<int>(Selection::kAll) == v1::SELECTION_ALL);
static_assert(static_cast<int>(Selection::kFront) == v1::SELECTION_FRONT);
static_assert(static_cast<int>(Selection::kBack) == v1::SELECTION_BACK);
static_assert(static_cast<int>(Selection::kKeyNorm) == v1::SELECTION_KEY_NORM);
static_assert(static_cast<int>(Selection::kValueNorm) == v1::SELECTION_VALUE_NORM);
static_assert(static_cast<int>(Selection::kStrided) == v1::SELECTION_STRIDED);
static_assert(static_cast<int>(Selection::kRandom) == v1::SELECTION_RANDOM);
static_assert(static_cast<int>(Selection::kSinks) == v1::SELECTION_SINKS);
static_assert(static_cast<int>(Selection::kAttention) == v1::SELECTION_ATTENTION);
static_assert(static_cast<int>(Selection::kProjectedNorm) == v1::SELECTION_PROJECTED_NORM);
static_assert(static_cast<int>(Selection::kResidualNorm) == v1::SELECTION_RESIDUAL_NORM);
static_assert(static_cast<int>(IndexSets::kPerLayer) == v1::INDEX_SETS_PER_LAYER);
static_assert(static_cast<int>(Entropy::kNone) == v1::ENTROPY_NONE);
static_assert(static_cast<int>(Entropy::kRans) == v1::ENTROPY_RANS);
static_assert(static_cast<int>(Entropy::kZstd) == v1::ENTROPY_ZSTD);
static_assert(static_cast<int>(Rotation::kRemove) == v1::ROTATION_REMOVE);
static_assert(static_cast<int>(Mean::kCalibrated) == v1::MEAN_CALIBRATED);
static_assert(static_cast<int>(Mean::kBias) == v1::MEAN_BIAS);
static_assert(static_cast<int>(Hadamard::kKeys) == v1::HADAMARD_KEYS);
static_assert(static_cast<int>(Hadamard::kValues) == v1::HADAMARD_VALUES);
static_assert(static_cast<int>(Hadamard::kBoth) == v1::HADAMARD_BOTH);
static_assert(static_cast<int>(ZeroPoint::kMidpoint) == v1::ZERO_POINT_MIDPOINT);
static_assert(static_cast<int>(Half::kKey) == v1::HALF_KEY);
static_assert(static_cast<int>(Half::kValue) == v1::HALF_VALUE);

// Enumerators are consecutive, so that a range is the check. Protobuf keeps numbers that it does
// not know, and CodecSpec::Validate expects enumerators.
absl::Status CheckEnumerator(const char* field, int value, int min, int max) {
  if (value >= min && value <= max) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("codec.", field, " is ", value, ": expected ", min, " to ", max));
}

v1::Codec KltToProto(const KltChoice& choice) {
  v1::Codec proto;
  proto.set_scheme(v1::SCHEME_KLT);
  proto.set_codebook(choice.codebook);
  if (choice.level) proto.set_klt_level(*choice.level);
  if (choice.budget_bytes != 0) proto.set_klt_budget_bytes(choice.budget_bytes);
  if (choice.fallback) proto.set_klt_fallback(static_cast<v1::Scheme>(*choice.fallback));
  return proto;
}

absl::StatusOr<CodecSpec> KltFromProto(const v1::Codec& proto) {
  KltChoice choice{.codebook = proto.codebook()};
  if (proto.has_klt_level()) choice.level = proto.klt_level();
  if (proto.has_klt_budget_bytes()) choice.budget_bytes = proto.klt_budget_bytes();
  if (proto.has_klt_fallback()) {
    RETURN_IF_ERROR(
        CheckEnumerator("klt_fallback", proto.klt_fallback(), v1::SCHEME_FP32, v1::Scheme_MAX));
    choice.fallback = static_cast<Scheme>(proto.klt_fallback());
  }
  const CodecSpec codec = CodecSpec::Klt(choice);
  RETURN_IF_ERROR(codec.Validate());
  v1::Codec known = proto;
  known.DiscardUnknownFields();
  if (known.SerializeAsString() == KltToProto(choice).SerializeAsString()) return codec;
  return absl::InvalidArgumentError(
      "codec: scheme is klt, which has codebook, klt_rate and klt_fallback alone: expected no "
      "other "
      "field");
}

absl::StatusOr<int32_t> Dimension(const char* field, uint32_t value) {
  if (value <= static_cast<uint32_t>(std::numeric_limits<int32_t>::max())) {
    return static_cast<int32_t>(value);
  }
  return absl::InvalidArgumentError(
      absl::StrCat("layout.", field, " is ", value, ": expected less than 2^31"));
}

// The lists of CodecSpec::schedule.
void ScheduleToProto(const PrecisionSchedule& schedule, v1::Codec& proto) {
  for (const Precision& precision : schedule.precisions) {
    v1::TensorPrecision& added = *proto.add_precisions();
    added.set_scheme(static_cast<v1::Scheme>(precision.scheme));
    added.set_axis(static_cast<v1::Axis>(precision.axis));
    added.set_scale_type(static_cast<v1::ScaleType>(precision.scale_type));
    added.set_group_size(precision.group_size);
  }
  proto.mutable_key_precisions()->Add(schedule.keys.begin(), schedule.keys.end());
  proto.mutable_value_precisions()->Add(schedule.values.begin(), schedule.values.end());
}

absl::StatusOr<Precision> PrecisionFromProto(const v1::TensorPrecision& proto) {
  RETURN_IF_ERROR(
      CheckEnumerator("precisions.scheme", proto.scheme(), v1::SCHEME_FP32, v1::Scheme_MAX));
  RETURN_IF_ERROR(
      CheckEnumerator("precisions.axis", proto.axis(), v1::AXIS_UNSPECIFIED, v1::Axis_MAX));
  RETURN_IF_ERROR(CheckEnumerator("precisions.scale_type", proto.scale_type(),
                                  v1::SCALE_TYPE_UNSPECIFIED, v1::ScaleType_MAX));
  return Precision{static_cast<Scheme>(proto.scheme()), static_cast<Axis>(proto.axis()),
                   static_cast<ScaleType>(proto.scale_type()), proto.group_size()};
}

// CodecSpec::Validate compares the entries with the precisions; here they must fit a byte.
absl::StatusOr<std::vector<uint8_t>> EntriesFromProto(
    const char* field, const google::protobuf::RepeatedField<uint32_t>& proto) {
  std::vector<uint8_t> entries;
  for (int i = 0; i < proto.size(); ++i) {
    constexpr uint32_t kMax = PrecisionSchedule::kFirst + PrecisionSchedule::kMaxPrecisions - 1;
    if (proto[i] > kMax) {
      return absl::InvalidArgumentError(
          absl::StrCat("codec.", field, "[", i, "] is ", proto[i], ": expected at most ", kMax));
    }
    entries.push_back(static_cast<uint8_t>(proto[i]));
  }
  return entries;
}

absl::StatusOr<PrecisionSchedule> ScheduleFromProto(const v1::Codec& proto) {
  PrecisionSchedule schedule;
  for (const v1::TensorPrecision& precision : proto.precisions()) {
    ASSIGN_OR_RETURN(const Precision read, PrecisionFromProto(precision));
    schedule.precisions.push_back(read);
  }
  ASSIGN_OR_RETURN(schedule.keys, EntriesFromProto("key_precisions", proto.key_precisions()));
  ASSIGN_OR_RETURN(schedule.values, EntriesFromProto("value_precisions", proto.value_precisions()));
  return schedule;
}

absl::StatusOr<TreatmentSpec> TreatmentFromProto(const v1::Codec& proto) {
  RETURN_IF_ERROR(
      CheckEnumerator("rotation", proto.rotation(), v1::ROTATION_KEEP, v1::Rotation_MAX));
  RETURN_IF_ERROR(CheckEnumerator("mean", proto.mean(), v1::MEAN_KEEP, v1::Mean_MAX));
  RETURN_IF_ERROR(
      CheckEnumerator("hadamard", proto.hadamard(), v1::HADAMARD_OFF, v1::Hadamard_MAX));
  RETURN_IF_ERROR(
      CheckEnumerator("zero_point", proto.zero_point(), v1::ZERO_POINT_NONE, v1::ZeroPoint_MAX));
  return TreatmentSpec{.rotation = static_cast<Rotation>(proto.rotation()),
                       .mean = static_cast<Mean>(proto.mean()),
                       .calibration = proto.calibration(),
                       .hadamard = static_cast<Hadamard>(proto.hadamard()),
                       .zero_point = static_cast<ZeroPoint>(proto.zero_point())};
}

}  // namespace

v1::Codec CodecToProto(const CodecSpec& codec) {
  if (codec.klt) return KltToProto(*codec.klt);
  v1::Codec proto;
  proto.set_scheme(static_cast<v1::Scheme>(codec.scheme));
  proto.set_axis(static_cast<v1::Axis>(codec.axis));
  proto.set_scale_type(static_cast<v1::ScaleType>(codec.scale_type));
  proto.set_selection(static_cast<v1::Selection>(codec.selection));
  if (codec.keep.has_value()) {
    if (const float* ratio = std::get_if<float>(&*codec.keep)) {
      proto.set_keep_ratio(*ratio);
    } else {
      proto.set_keep_tokens(std::get<uint32_t>(*codec.keep));
    }
  }
  proto.set_group_size(codec.group_size);
  proto.set_keep_tokens_min(codec.keep_tokens_min);
  proto.set_sinks(codec.sinks);
  proto.set_seed(codec.seed);
  proto.set_entropy(static_cast<v1::Entropy>(codec.entropy));
  proto.set_window(codec.window);
  proto.set_pool(codec.pool);
  proto.set_index_sets(static_cast<v1::IndexSets>(codec.index_sets));
  ScheduleToProto(codec.schedule, proto);
  proto.set_budget_bytes(codec.budget_bytes);
  proto.set_weights(codec.weights);
  proto.set_rotation(static_cast<v1::Rotation>(codec.treatment.rotation));
  proto.set_mean(static_cast<v1::Mean>(codec.treatment.mean));
  proto.set_hadamard(static_cast<v1::Hadamard>(codec.treatment.hadamard));
  proto.set_zero_point(static_cast<v1::ZeroPoint>(codec.treatment.zero_point));
  proto.set_calibration(codec.treatment.calibration);
  return proto;
}

absl::StatusOr<CodecSpec> CodecFromProto(const v1::Codec& proto) {
  if (proto.scheme() == v1::SCHEME_KLT) return KltFromProto(proto);
  RETURN_IF_ERROR(CheckEnumerator("scheme", proto.scheme(), v1::SCHEME_FP32, v1::Scheme_MAX));
  RETURN_IF_ERROR(CheckEnumerator("axis", proto.axis(), v1::AXIS_UNSPECIFIED, v1::Axis_MAX));
  RETURN_IF_ERROR(CheckEnumerator("scale_type", proto.scale_type(), v1::SCALE_TYPE_UNSPECIFIED,
                                  v1::ScaleType_MAX));
  RETURN_IF_ERROR(
      CheckEnumerator("selection", proto.selection(), v1::SELECTION_ALL, v1::Selection_MAX));
  RETURN_IF_ERROR(CheckEnumerator("entropy", proto.entropy(), v1::ENTROPY_NONE, v1::Entropy_MAX));
  RETURN_IF_ERROR(
      CheckEnumerator("index_sets", proto.index_sets(), v1::INDEX_SETS_ONE, v1::IndexSets_MAX));
  CodecSpec codec;
  codec.scheme = static_cast<Scheme>(proto.scheme());
  codec.axis = static_cast<Axis>(proto.axis());
  codec.scale_type = static_cast<ScaleType>(proto.scale_type());
  codec.selection = static_cast<Selection>(proto.selection());
  if (proto.keep_case() == v1::Codec::kKeepRatio) codec.keep = Keep(proto.keep_ratio());
  if (proto.keep_case() == v1::Codec::kKeepTokens) codec.keep = Keep(proto.keep_tokens());
  codec.group_size = proto.group_size();
  codec.keep_tokens_min = proto.keep_tokens_min();
  codec.sinks = proto.sinks();
  codec.seed = proto.seed();
  codec.entropy = static_cast<Entropy>(proto.entropy());
  codec.window = proto.window();
  codec.pool = proto.pool();
  codec.index_sets = static_cast<IndexSets>(proto.index_sets());
  ASSIGN_OR_RETURN(codec.schedule, ScheduleFromProto(proto));
  codec.budget_bytes = proto.budget_bytes();
  codec.weights = proto.weights();
  ASSIGN_OR_RETURN(codec.treatment, TreatmentFromProto(proto));
  RETURN_IF_ERROR(codec.Validate());
  return codec;
}

v1::KvLayout LayoutToProto(const KvLayout& layout) {
  v1::KvLayout proto;
  proto.set_num_layers(static_cast<uint32_t>(layout.num_layers));
  proto.set_num_kv_heads(static_cast<uint32_t>(layout.num_kv_heads));
  proto.set_head_dim(static_cast<uint32_t>(layout.head_dim));
  return proto;
}

absl::StatusOr<KvLayout> LayoutFromProto(const v1::KvLayout& proto) {
  KvLayout layout;
  ASSIGN_OR_RETURN(layout.num_layers, Dimension("num_layers", proto.num_layers()));
  ASSIGN_OR_RETURN(layout.num_kv_heads, Dimension("num_kv_heads", proto.num_kv_heads()));
  ASSIGN_OR_RETURN(layout.head_dim, Dimension("head_dim", proto.head_dim()));
  RETURN_IF_ERROR(layout.Validate());
  return layout;
}

}  // namespace qc2c
