#include "common/serving/sensitivity_file.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <string>

#include "absl/strings/str_cat.h"
#include "common/base/hash.h"
#include "common/base/status_macros.h"
#include "common/codec/scheme_registry.h"
#include "common/model/json_fields.h"

namespace qc2c {
namespace {

constexpr char kFormat[] = "qc2c-sensitivity-1";

// For the line through the origin of least squared distance to the points.
struct SlopeSums {
  double error_loss = 0;
  double error_error = 0;
  double Slope() const { return error_error > 0 ? std::max(0.0, error_loss / error_error) : 0; }
};

struct SumsByLayer {
  std::vector<SlopeSums> keys;
  std::vector<SlopeSums> values;
};

// Adds one entry of "measurements"; `where` names it.
absl::Status AddMeasurement(const std::string& where, const nlohmann::json& entry,
                            const KvLayout& layout, SumsByLayer& sums) {
  const auto wrong = [&](const char* field, const std::string& expected) {
    const std::string found = entry.contains(field) ? entry.at(field).dump() : "absent";
    return absl::InvalidArgumentError(
        absl::StrCat(where, ".", field, " is ", found, ": expected ", expected));
  };
  if (!entry.is_object()) {
    return absl::InvalidArgumentError(absl::StrCat(where, ": expected an object"));
  }
  const auto number = [&](const char* field) {
    const bool is_number = entry.contains(field) && entry.at(field).is_number();
    return is_number ? entry.at(field).get<double>() : NAN;
  };
  const double layer = number("layer");
  if (!(layer >= 0 && layer < layout.num_layers && std::floor(layer) == layer)) {
    return wrong("layer", absl::StrCat("0 to ", layout.num_layers - 1));
  }
  const std::string half = entry.value("half", nlohmann::json()).dump();
  if (half != "\"key\"" && half != "\"value\"") return wrong("half", "\"key\" or \"value\"");
  const nlohmann::json scheme = entry.value("scheme", nlohmann::json());
  const bool is_known =
      scheme.is_string() && (scheme == "none" || FindScheme(scheme.get<std::string>()) != nullptr);
  if (!is_known) return wrong("scheme", "a scheme or none");
  const double error = number("squared_error");
  if (!(std::isfinite(error) && error >= 0))
    return wrong("squared_error", "a number of at least 0");
  const double loss = number("loss_increase");
  if (!std::isfinite(loss)) return wrong("loss_increase", "a number");
  SlopeSums& sum = (half == "\"key\"" ? sums.keys : sums.values)[static_cast<size_t>(layer)];
  sum.error_loss += error * loss;
  sum.error_error += error * error;
  return absl::OkStatus();
}

TensorWeights WeightsOf(const SumsByLayer& sums) {
  TensorWeights weights;
  double largest = 0;
  const auto add = [&](const std::vector<SlopeSums>& list, std::vector<double>& slopes) {
    for (const SlopeSums& sum : list) {
      slopes.push_back(sum.Slope());
      largest = std::max(largest, slopes.back());
    }
  };
  add(sums.keys, weights.keys);
  add(sums.values, weights.values);
  for (std::vector<double>* slopes : {&weights.keys, &weights.values}) {
    for (double& slope : *slopes) slope = std::max(slope, SensitivityFile::kLeastShare * largest);
  }
  return weights;
}

}  // namespace

absl::StatusOr<SensitivityFile> SensitivityFile::Load(const std::filesystem::path& path,
                                                      const KvLayout& layout,
                                                      uint64_t fingerprint) {
  ASSIGN_OR_RETURN(const JsonFields fields, JsonFields::Load(path));
  ASSIGN_OR_RETURN(const std::string format, fields.Text("format"));
  if (format != kFormat) return fields.Wrong("format", kFormat);
  ASSIGN_OR_RETURN(const std::string sharer, fields.Text("sharer_fingerprint"));
  if (sharer != HashText(fingerprint)) {
    return absl::FailedPreconditionError(absl::StrCat(fields.name(), ": sharer_fingerprint is ",
                                                      sharer, ": expected this model's, ",
                                                      HashText(fingerprint)));
  }
  if (!fields.Has("measurements") || !fields.at("measurements").is_array() ||
      fields.at("measurements").empty()) {
    return fields.Wrong("measurements", "a list of at least one measurement");
  }
  SumsByLayer sums{std::vector<SlopeSums>(layout.num_layers),
                   std::vector<SlopeSums>(layout.num_layers)};
  const nlohmann::json& measurements = fields.at("measurements");
  for (size_t i = 0; i < measurements.size(); ++i) {
    RETURN_IF_ERROR(AddMeasurement(absl::StrCat(fields.name(), ": measurements[", i, "]"),
                                   measurements[i], layout, sums));
  }
  SensitivityFile file;
  ASSIGN_OR_RETURN(file.id, HashFiles({path}));
  file.weights = WeightsOf(sums);
  return file;
}

}  // namespace qc2c
