#include "common/codec/treatment_spec.h"

#include <algorithm>
#include <charconv>
#include <iterator>

#include "absl/strings/str_cat.h"
#include "common/base/hash.h"
#include "common/base/status_macros.h"
#include "common/codec/scheme.h"
#include "common/codec/spec_text.h"

namespace qc2c {
namespace {

constexpr const char* kIdText = "16 hexadecimal digits, not all zero";

template <typename T, size_t kCount>
absl::Status CheckChoice(const char* key, T value, const T (&choices)[kCount],
                         std::string_view (*name)(T)) {
  if (std::ranges::find(choices, value) != std::end(choices)) return absl::OkStatus();
  return Unexpected(key, absl::StrCat(static_cast<int>(value)), NamesOf(choices, name));
}

absl::Status ParseId(std::string_view value, uint64_t& id) {
  const auto [stop, error] = std::from_chars(value.begin(), value.end(), id, 16);
  if (value.size() == 16 && error == std::errc() && stop == value.end() && id != 0) {
    return absl::OkStatus();
  }
  return Unexpected("calibration", value, kIdText);
}

}  // namespace

std::string_view RotationName(Rotation rotation) {
  switch (rotation) {
    case Rotation::kKeep:
      return "keep";
    case Rotation::kRemove:
      return "remove";
  }
  return "unknown";
}

std::string_view MeanName(Mean mean) {
  switch (mean) {
    case Mean::kKeep:
      return "keep";
    case Mean::kCalibrated:
      return "calibrated";
    case Mean::kBias:
      return "bias";
  }
  return "unknown";
}

std::string_view HadamardName(Hadamard hadamard) {
  switch (hadamard) {
    case Hadamard::kOff:
      return "off";
    case Hadamard::kKeys:
      return "keys";
    case Hadamard::kValues:
      return "values";
    case Hadamard::kBoth:
      return "both";
  }
  return "unknown";
}

std::string_view ZeroPointName(ZeroPoint zero_point) {
  switch (zero_point) {
    case ZeroPoint::kNone:
      return "none";
    case ZeroPoint::kMidpoint:
      return "midpoint";
  }
  return "unknown";
}

bool IsTreatmentKey(std::string_view key) {
  return key == "rotation" || key == "mean" || key == "calibration" || key == "hadamard" ||
         key == "zero_point";
}

absl::Status ParseTreatment(std::string_view key, std::string_view value,
                            TreatmentSpec& treatment) {
  if (key == "rotation") {
    return ParseName(key, value, kAllRotations, RotationName, treatment.rotation);
  }
  if (key == "mean") return ParseName(key, value, kAllMeans, MeanName, treatment.mean);
  if (key == "calibration") return ParseId(value, treatment.calibration);
  if (key == "hadamard") {
    return ParseName(key, value, kAllHadamards, HadamardName, treatment.hadamard);
  }
  return ParseName(key, value, kAllZeroPoints, ZeroPointName, treatment.zero_point);
}

void AppendTreatment(const TreatmentSpec& treatment, std::string& text) {
  if (treatment.rotation != Rotation::kKeep) {
    absl::StrAppend(&text, ",rotation=", std::string(RotationName(treatment.rotation)));
  }
  if (treatment.mean != Mean::kKeep) {
    absl::StrAppend(&text, ",mean=", std::string(MeanName(treatment.mean)));
  }
  if (treatment.calibration != 0) {
    absl::StrAppend(&text, ",calibration=", HashText(treatment.calibration));
  }
  if (treatment.hadamard != Hadamard::kOff) {
    absl::StrAppend(&text, ",hadamard=", std::string(HadamardName(treatment.hadamard)));
  }
  if (treatment.zero_point != ZeroPoint::kNone) {
    absl::StrAppend(&text, ",zero_point=", std::string(ZeroPointName(treatment.zero_point)));
  }
}

absl::Status ValidateTreatment(const TreatmentSpec& treatment, const SchemeCoder& coder) {
  RETURN_IF_ERROR(CheckChoice("rotation", treatment.rotation, kAllRotations, RotationName));
  RETURN_IF_ERROR(CheckChoice("mean", treatment.mean, kAllMeans, MeanName));
  RETURN_IF_ERROR(CheckChoice("hadamard", treatment.hadamard, kAllHadamards, HadamardName));
  // A key's mean over positions says nothing while its channels turn.
  if (treatment.mean != Mean::kKeep && treatment.rotation != Rotation::kRemove) {
    return Unexpected("mean", MeanName(treatment.mean), "none without rotation=remove");
  }
  if (treatment.mean == Mean::kCalibrated && treatment.calibration == 0) {
    return Unexpected("calibration", "", kIdText);
  }
  if (treatment.mean != Mean::kCalibrated && treatment.calibration != 0) {
    return Unexpected("calibration", HashText(treatment.calibration),
                      "none without mean=calibrated");
  }
  RETURN_IF_ERROR(CheckChoice("zero_point", treatment.zero_point, kAllZeroPoints, ZeroPointName));
  if (coder.has_scales()) return absl::OkStatus();
  const std::string why = absl::StrCat(", as ", std::string(coder.name()), " has no scales");
  if (treatment.hadamard != Hadamard::kOff) {
    return Unexpected("hadamard", HadamardName(treatment.hadamard), "off" + why);
  }
  if (treatment.zero_point != ZeroPoint::kNone) {
    return Unexpected("zero_point", ZeroPointName(treatment.zero_point), "none" + why);
  }
  return absl::OkStatus();
}

}  // namespace qc2c
