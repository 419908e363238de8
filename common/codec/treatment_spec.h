// The part of a codec that says what is done to values before they are quantized (treatment.h), and
// its text.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "common/codec/codec_enums.h"

namespace qc2c {

class SchemeCoder;

inline constexpr Rotation kAllRotations[] = {Rotation::kKeep, Rotation::kRemove};
inline constexpr Mean kAllMeans[] = {Mean::kKeep, Mean::kCalibrated, Mean::kBias};
inline constexpr Hadamard kAllHadamards[] = {Hadamard::kOff, Hadamard::kKeys, Hadamard::kValues,
                                             Hadamard::kBoth};

inline constexpr ZeroPoint kAllZeroPoints[] = {ZeroPoint::kNone, ZeroPoint::kMidpoint};

std::string_view RotationName(Rotation rotation);      // "keep", "remove"
std::string_view MeanName(Mean mean);                  // "keep", "calibrated", "bias"
std::string_view HadamardName(Hadamard hadamard);      // "off", "keys", "values", "both"
std::string_view ZeroPointName(ZeroPoint zero_point);  // "none", "midpoint"

struct TreatmentSpec {
  Rotation rotation = Rotation::kKeep;
  Mean mean = Mean::kKeep;
  uint64_t calibration = 0;  // with kCalibrated: the id of the file that has the means; else 0
  Hadamard hadamard = Hadamard::kOff;
  ZeroPoint zero_point = ZeroPoint::kNone;

  bool operator==(const TreatmentSpec&) const = default;
};

// The keys rotation, mean, calibration (16 hexadecimal digits), hadamard and zero_point. An error
// names key, value and what was expected.
inline constexpr char kTreatmentKeys[] = "rotation, mean, calibration, hadamard or zero_point";
bool IsTreatmentKey(std::string_view key);
absl::Status ParseTreatment(std::string_view key, std::string_view value, TreatmentSpec& treatment);
// ",key=value" for each choice that is not the default, in the order above.
void AppendTreatment(const TreatmentSpec& treatment, std::string& text);

// INVALID_ARGUMENT: a choice that is none, means of keys that stay rotated, a calibration without
// mean=calibrated or the opposite, a Hadamard transform or a zero point for a scheme without
// scales.
absl::Status ValidateTreatment(const TreatmentSpec& treatment, const SchemeCoder& coder);

}  // namespace qc2c
