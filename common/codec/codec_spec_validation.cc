// Which choices of a codec go together.
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/codec/codec_spec.h"
#include "common/codec/entropy.h"
#include "common/codec/klt_spec.h"
#include "common/codec/scheme_registry.h"
#include "common/codec/selection.h"
#include "common/codec/spec_text.h"

namespace qc2c {
namespace {

constexpr uint32_t kGroupSizes[] = {8, 16, 32, 64};

absl::Status ValidateScale(const CodecSpec& spec, const SchemeCoder& coder) {
  const bool has_axis = spec.axis != Axis::kNone;
  const bool has_type = spec.scale_type != ScaleType::kNone;
  if (!coder.has_scales()) {
    if (!has_axis && !has_type) return absl::OkStatus();
    return Unexpected(has_axis ? "axis" : "scale",
                      has_axis ? AxisName(spec.axis) : ScaleTypeName(spec.scale_type),
                      absl::StrCat("none, as ", std::string(coder.name()), " has no scales"));
  }
  if (std::ranges::find(kAllAxes, spec.axis) == std::end(kAllAxes)) {
    return Unexpected("axis", AxisName(spec.axis), NamesOf(kAllAxes, AxisName));
  }
  if (std::ranges::find(kAllScaleTypes, spec.scale_type) == std::end(kAllScaleTypes)) {
    return Unexpected("scale", ScaleTypeName(spec.scale_type),
                      NamesOf(kAllScaleTypes, ScaleTypeName));
  }
  if (spec.scale_type != ScaleType::kTwoLevel) return absl::OkStatus();
  if (spec.axis != Axis::kGroup) {
    return Unexpected(
        "scale", ScaleTypeName(spec.scale_type),
        absl::StrCat("fp16, bf16 or fp32, as axis is ", std::string(AxisName(spec.axis))));
  }
  if (spec.treatment.zero_point == ZeroPoint::kNone) return absl::OkStatus();
  return Unexpected("zero_point", ZeroPointName(spec.treatment.zero_point),
                    "none, as scale is two_level");
}

// Refuses the value of a key that belongs to another choice of `owner`.
absl::Status OnlyWith(std::string_view key, uint32_t value, std::string_view owner,
                      std::string_view choice) {
  if (value == 0) return absl::OkStatus();
  return Unexpected(key, absl::StrCat(value),
                    absl::StrCat("none, as ", std::string(owner), " is ", std::string(choice)));
}

absl::Status ValidateGroup(const CodecSpec& spec) {
  if (!HasGroups(spec.axis)) {
    return OnlyWith("group", spec.group_size, "axis", AxisName(spec.axis));
  }
  if (std::ranges::find(kGroupSizes, spec.group_size) != std::end(kGroupSizes)) {
    return absl::OkStatus();
  }
  return Unexpected("group", absl::StrCat(spec.group_size), "8, 16, 32 or 64");
}

// A budget decides by itself what a request may otherwise say.
absl::Status ValidateBudget(const CodecSpec& spec) {
  const auto refuse = [](const char* key) {
    return absl::InvalidArgumentError(
        absl::StrCat("codec: budget_bytes and ", key, " exclude each other"));
  };
  // The allocator reads the cache alone.
  if (HasGivenScores(spec.selection)) {
    return absl::InvalidArgumentError(
        absl::StrCat("codec: budget_bytes and select=", std::string(SelectionName(spec.selection)),
                     " exclude each other"));
  }
  if (spec.treatment != TreatmentSpec()) {
    return refuse("rotation, mean, hadamard and zero_point");
  }
  // What coding saves is not known before the precisions are chosen.
  if (spec.entropy != Entropy::kNone) return refuse("entropy");
  return spec.schedule.empty() ? absl::OkStatus() : refuse("keys and values");
}

absl::Status ValidateKeep(const CodecSpec& spec) {
  if (spec.budget_bytes != 0) {
    RETURN_IF_ERROR(ValidateBudget(spec));
    // A budget finds out how many tokens; a number is the most that it may take.
    if (!spec.keep.has_value() && spec.keep_tokens_min == 0) return absl::OkStatus();
  } else if (spec.weights != 0) {
    return Unexpected("weights", absl::StrCat(absl::Hex(spec.weights, absl::kZeroPad16)),
                      "none without budget_bytes");
  }
  const bool selects = spec.selection != Selection::kAll;
  if (selects != spec.keep.has_value()) {
    return absl::InvalidArgumentError(
        absl::StrCat("codec: select is ", std::string(SelectionName(spec.selection)),
                     selects ? ", which needs keep_ratio or keep_tokens"
                             : ", which takes no keep_ratio or keep_tokens"));
  }
  const float* const ratio = selects ? std::get_if<float>(&*spec.keep) : nullptr;
  if (ratio == nullptr && spec.keep_tokens_min != 0) {
    return Unexpected("keep_tokens_min", absl::StrCat(spec.keep_tokens_min),
                      "none without keep_ratio");
  }
  if (!selects) return absl::OkStatus();
  if (ratio != nullptr) {
    if (*ratio > 0.0f && *ratio <= 1.0f) return absl::OkStatus();
    return Unexpected("keep_ratio", absl::StrCat(*ratio), "a number in (0, 1]");
  }
  if (std::get<uint32_t>(*spec.keep) >= 1) return absl::OkStatus();
  return Unexpected("keep_tokens", "0", kAtLeastOne);
}

absl::Status ValidateAttention(const CodecSpec& spec) {
  if (spec.selection != Selection::kAttention) {
    const std::string_view name = SelectionName(spec.selection);
    RETURN_IF_ERROR(OnlyWith("window", spec.window, "select", name));
    return OnlyWith("pool", spec.pool, "select", name);
  }
  if (spec.window < 1 || spec.window > CodecSpec::kMaxWindow) {
    return Unexpected("window", absl::StrCat(spec.window),
                      absl::StrCat("1 to ", CodecSpec::kMaxWindow));
  }
  if (spec.pool % 2 == 1 && spec.pool <= CodecSpec::kMaxPool) return absl::OkStatus();
  return Unexpected("pool", absl::StrCat(spec.pool),
                    absl::StrCat("an odd number of 1 to ", CodecSpec::kMaxPool));
}

absl::Status ValidateSelection(const CodecSpec& spec) {
  const std::string_view name = SelectionName(spec.selection);
  if (std::ranges::find(kAllSelections, spec.selection) == std::end(kAllSelections)) {
    return Unexpected("select", name, NamesOf(kAllSelections, SelectionName));
  }
  if (spec.selection != Selection::kSinks) {
    RETURN_IF_ERROR(OnlyWith("sinks", spec.sinks, "select", name));
  } else if (spec.sinks == 0) {
    return Unexpected("sinks", "0", kAtLeastOne);
  }
  RETURN_IF_ERROR(ValidateAttention(spec));
  if (spec.selection == Selection::kRandom) return absl::OkStatus();
  return OnlyWith("seed", spec.seed, "select", name);
}

// Where no scores decide, every layer would have the same tokens; and the allocator of a budget
// counts tokens of all layers.
absl::Status ValidateIndexSets(const CodecSpec& spec) {
  if (spec.index_sets == IndexSets::kOne) return absl::OkStatus();
  if (spec.index_sets != IndexSets::kPerLayer) {
    return Unexpected("indices", IndexSetsName(spec.index_sets),
                      NamesOf(kAllIndexSets, IndexSetsName));
  }
  if (spec.budget_bytes != 0) {
    return absl::InvalidArgumentError("codec: budget_bytes and indices exclude each other");
  }
  if (NeedsScores(spec.selection)) return absl::OkStatus();
  return Unexpected("indices", "per_layer",
                    absl::StrCat("one, as select is ", std::string(SelectionName(spec.selection)),
                                 ", which keeps the same tokens in every layer"));
}

absl::Status ValidateEntropy(const CodecSpec& spec) {
  if (std::ranges::find(kAllEntropies, spec.entropy) == std::end(kAllEntropies)) {
    return Unexpected("entropy", EntropyName(spec.entropy), NamesOf(kAllEntropies, EntropyName));
  }
  if (CanCode(spec.entropy, spec.scheme)) return absl::OkStatus();
  return Unexpected("entropy", EntropyName(spec.entropy),
                    absl::StrCat("none or zstd, as ", std::string(SchemeName(spec.scheme)),
                                 " has no codes with a table"));
}

// Each precision of the schedule by itself, then the lists.
absl::Status ValidateSchedule(const CodecSpec& spec) {
  for (const Precision& precision : spec.schedule.precisions) {
    // A treatment passes by what has no scales.
    CodecSpec own = spec.With(precision);
    own.treatment = {};
    const absl::Status status = own.Validate();
    if (status.ok()) continue;
    return absl::InvalidArgumentError(
        absl::StrCat(status.message(), " (in a precision of keys or values)"));
  }
  return spec.schedule.Validate(spec.precision());
}

}  // namespace

absl::Status CodecSpec::Validate() const {
  if (scheme == Scheme::kKlt || klt) return ValidateKlt(*this);
  const SchemeCoder* const coder = FindScheme(scheme);
  if (coder == nullptr) {
    return Unexpected("scheme", absl::StrCat(static_cast<int>(scheme)), SchemeNames(", "));
  }
  RETURN_IF_ERROR(ValidateScale(*this, *coder));
  RETURN_IF_ERROR(ValidateGroup(*this));
  RETURN_IF_ERROR(ValidateEntropy(*this));
  RETURN_IF_ERROR(ValidateTreatment(treatment, *coder));
  RETURN_IF_ERROR(ValidateSelection(*this));
  RETURN_IF_ERROR(ValidateIndexSets(*this));
  RETURN_IF_ERROR(ValidateKeep(*this));
  return ValidateSchedule(*this);
}

}  // namespace qc2c
