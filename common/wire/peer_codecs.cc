#include "common/wire/peer_codecs.h"

#include <algorithm>
#include <string>

#include "absl/strings/str_cat.h"
#include "common/base/hash.h"
#include "common/base/status_macros.h"
#include "common/codec/scheme_registry.h"
#include "common/codec/selection.h"
#include "common/wire/frame_codec.h"

namespace qc2c {
namespace {

// `listed` holds the numbers of enumerators, some of which this build may not have a name for.
template <typename T>
absl::Status CheckListed(const char* what, T wanted,
                         const google::protobuf::RepeatedField<int>& listed,
                         std::string_view (*name)(T), const std::string& model) {
  if (std::ranges::find(listed, static_cast<int>(wanted)) != listed.end()) return absl::OkStatus();
  std::string names;
  for (const int number : listed) {
    absl::StrAppend(&names, names.empty() ? "" : ", ", std::string(name(static_cast<T>(number))));
  }
  if (names.empty()) names = "none";
  return absl::FailedPreconditionError(absl::StrCat(
      "codec: ", what, " is ", std::string(name(wanted)), ", which the sharer's model '", model,
      "' does not write: expected one of ", names));
}

absl::Status CheckOption(const v1::ModelCard& sharer, v1::CodecOption option, const char* keys) {
  const auto& listed = sharer.codec_options();
  if (std::ranges::find(listed, static_cast<int>(option)) != listed.end()) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat("codec: the sharer's model '", sharer.model(), "' does not know ", keys));
}

absl::Status CheckPrecision(const v1::ModelCard& sharer, const Precision& precision) {
  RETURN_IF_ERROR(
      CheckListed("scheme", precision.scheme, sharer.schemes(), SchemeName, sharer.model()));
  if (precision.axis == Axis::kNone) return absl::OkStatus();
  if (precision.scale_type == ScaleType::kTwoLevel) {
    RETURN_IF_ERROR(CheckOption(sharer, v1::CODEC_OPTION_TWO_LEVEL, "scale=two_level"));
  }
  return CheckListed("axis", precision.axis, sharer.axes(), AxisName, sharer.model());
}

constexpr v1::Treatment kAllTreatments[] = {v1::TREATMENT_ROTATION_REMOVE,
                                            v1::TREATMENT_MEAN_CALIBRATED, v1::TREATMENT_HADAMARD,
                                            v1::TREATMENT_ZERO_POINT, v1::TREATMENT_MEAN_BIAS};

std::string_view TreatmentName(v1::Treatment treatment) {
  switch (treatment) {
    case v1::TREATMENT_ROTATION_REMOVE:
      return "rotation=remove";
    case v1::TREATMENT_MEAN_CALIBRATED:
      return "mean=calibrated";
    case v1::TREATMENT_HADAMARD:
      return "hadamard";
    case v1::TREATMENT_ZERO_POINT:
      return "zero_point";
    case v1::TREATMENT_MEAN_BIAS:
      return "mean=bias";
    default:
      return "unknown";
  }
}

bool Uses(const TreatmentSpec& spec, v1::Treatment treatment) {
  switch (treatment) {
    case v1::TREATMENT_ROTATION_REMOVE:
      return spec.rotation == Rotation::kRemove;
    case v1::TREATMENT_MEAN_CALIBRATED:
      return spec.mean == Mean::kCalibrated;
    case v1::TREATMENT_MEAN_BIAS:
      return spec.mean == Mean::kBias;
    case v1::TREATMENT_ZERO_POINT:
      return spec.zero_point != ZeroPoint::kNone;
    default:
      return spec.hadamard != Hadamard::kOff;
  }
}

absl::Status CheckTreatment(const v1::ModelCard& sharer, const TreatmentSpec& spec) {
  for (const v1::Treatment treatment : kAllTreatments) {
    if (!Uses(spec, treatment)) continue;
    RETURN_IF_ERROR(
        CheckListed("treatment", treatment, sharer.treatments(), TreatmentName, sharer.model()));
  }
  if (spec.mean == Mean::kBias && !sharer.has_biases()) {
    return absl::FailedPreconditionError(
        absl::StrCat("codec: mean is bias, but the projections of the sharer's model '",
                     sharer.model(), "' have none"));
  }
  const auto& held = sharer.calibrations();
  if (spec.calibration == 0 || std::ranges::find(held, spec.calibration) != held.end()) {
    return absl::OkStatus();
  }
  std::string ids;
  for (const uint64_t id : held) absl::StrAppend(&ids, ids.empty() ? "" : ", ", HashText(id));
  return absl::FailedPreconditionError(absl::StrCat(
      "codec: calibration is ", HashText(spec.calibration), ", which the sharer of model '",
      sharer.model(), "' does not hold: expected one of ", ids.empty() ? "none" : ids));
}

absl::Status CheckHolds(const v1::ModelCard& sharer, uint64_t codebook) {
  if (std::ranges::find(sharer.codebooks(), codebook) != sharer.codebooks().end()) {
    return absl::OkStatus();
  }
  std::string ids;
  for (const uint64_t id : sharer.codebooks()) {
    absl::StrAppend(&ids, ids.empty() ? "" : ", ", HashText(id));
  }
  return absl::FailedPreconditionError(
      absl::StrCat("codec: codebook is ", HashText(codebook), ", which the sharer of model '",
                   sharer.model(), "' does not hold: expected one of [", ids, "]"));
}

}  // namespace

void DescribeCodecs(v1::ModelCard& card) {
  card.set_format_version(kFormatVersion);
  card.set_max_chunk_bytes(kMaxChunkBytes);
  card.add_schemes(v1::SCHEME_KLT);
  for (const RegisteredScheme& scheme : AllSchemes()) {
    card.add_schemes(static_cast<v1::Scheme>(scheme.coder->scheme()));
  }
  for (const Axis axis : kAllAxes) card.add_axes(static_cast<v1::Axis>(axis));
  for (const Selection selection : kAllSelections) {
    if (!NeedsReceiver(selection)) card.add_selections(static_cast<v1::Selection>(selection));
  }
  for (const Entropy entropy : kAllEntropies) card.add_entropies(static_cast<v1::Entropy>(entropy));
  card.add_codec_options(v1::CODEC_OPTION_SCHEDULE);
  card.add_codec_options(v1::CODEC_OPTION_BUDGET);
  card.add_codec_options(v1::CODEC_OPTION_LAYER_INDICES);
  card.add_codec_options(v1::CODEC_OPTION_TWO_LEVEL);
  for (const v1::Treatment treatment : kAllTreatments) card.add_treatments(treatment);
}

absl::Status CheckFormatVersion(const v1::ModelCard& sharer) {
  if (sharer.format_version() == kFormatVersion) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat("format_version: the sharer's model '", sharer.model(), "' writes caches of ",
                   sharer.format_version(), ": expected ", kFormatVersion));
}

absl::Status CheckSharerKnows(const v1::ModelCard& sharer, const CodecSpec& codec) {
  RETURN_IF_ERROR(CheckPrecision(sharer, codec.precision()));
  if (codec.klt) return CheckHolds(sharer, codec.klt->codebook);
  if (!codec.schedule.empty()) {
    RETURN_IF_ERROR(CheckOption(sharer, v1::CODEC_OPTION_SCHEDULE, "keys and values"));
  }
  if (codec.budget_bytes != 0) {
    RETURN_IF_ERROR(CheckOption(sharer, v1::CODEC_OPTION_BUDGET, "budget_bytes"));
  }
  if (codec.index_sets != IndexSets::kOne) {
    RETURN_IF_ERROR(CheckOption(sharer, v1::CODEC_OPTION_LAYER_INDICES, "indices=per_layer"));
  }
  for (const Precision& precision : codec.schedule.precisions) {
    RETURN_IF_ERROR(CheckPrecision(sharer, precision));
  }
  if (codec.entropy != Entropy::kNone) {
    RETURN_IF_ERROR(
        CheckListed("entropy", codec.entropy, sharer.entropies(), EntropyName, sharer.model()));
  }
  RETURN_IF_ERROR(
      CheckListed("select", codec.selection, sharer.selections(), SelectionName, sharer.model()));
  return CheckTreatment(sharer, codec.treatment);
}

}  // namespace qc2c
