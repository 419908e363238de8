// Typed reads from a JSON object, with errors that name the file, the field, what was found and
// what was expected. A field that is null counts as absent, as in Hugging Face configurations.
#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace qc2c {

class JsonFields {
 public:
  // The object that the file holds. NOT_FOUND for a missing file, INVALID_ARGUMENT for anything
  // that is not one JSON object.
  static absl::StatusOr<JsonFields> Load(const std::filesystem::path& path);

  bool Has(const std::string& key) const;
  const nlohmann::json& at(const std::string& key) const { return object_.at(key); }
  const nlohmann::json& object() const { return object_; }
  const std::string& name() const { return name_; }

  // INVALID_ARGUMENT if the field is absent, of another type or outside [min, max].
  absl::StatusOr<int32_t> Int(const std::string& key, int32_t min, int32_t max) const;
  absl::StatusOr<double> Double(const std::string& key, double min, double max) const;
  absl::StatusOr<std::string> Text(const std::string& key) const;
  absl::StatusOr<JsonFields> Object(const std::string& key) const;
  // One integer or a list of them; empty if the field is absent.
  absl::StatusOr<std::vector<int32_t>> IntOrInts(const std::string& key, int32_t min,
                                                 int32_t max) const;

  // The same, with a value for an absent field.
  absl::StatusOr<int32_t> IntOr(const std::string& key, int32_t min, int32_t max,
                                int32_t absent) const;
  absl::StatusOr<double> DoubleOr(const std::string& key, double min, double max,
                                  double absent) const;

  // INVALID_ARGUMENT unless the field is absent or equals `expected`.
  absl::Status ExpectAbsentOr(const std::string& key, const nlohmann::json& expected) const;

  // "config.json: hidden_size is ...: expected ...".
  absl::Status Wrong(const std::string& key, const std::string& expected) const;

 private:
  JsonFields(std::string name, nlohmann::json object)
      : name_(std::move(name)), object_(std::move(object)) {}

  std::string name_;  // the file, and the path of the object inside it
  nlohmann::json object_;
};

}  // namespace qc2c
