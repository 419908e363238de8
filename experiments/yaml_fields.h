// A YAML map in which every key must be known: a misspelt one is an error, not a default.
#pragma once

#include <yaml-cpp/yaml.h>

#include <cstdint>
#include <filesystem>
#include <set>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace qc2c {

// The document in a file. INVALID_ARGUMENT names the file, line and column that do not parse.
absl::StatusOr<YAML::Node> LoadYaml(const std::filesystem::path& path);

// Reads the fields of one map. The first problem is kept and everything after it gives empty
// values, so that a caller reads all fields and then asks Finish() once. Thread-compatible.
class YamlFields {
 public:
  // `where` begins every message, e.g. "demo.yaml: datasets[0]".
  YamlFields(const YAML::Node& node, std::string where);

  std::string Text(const std::string& key);  // required
  std::string TextOr(const std::string& key, const std::string& otherwise);
  uint64_t CountOr(const std::string& key, uint64_t otherwise, uint64_t low, uint64_t high);
  YAML::Node List(const std::string& key);   // required, a sequence with at least one element
  YAML::Node MapOr(const std::string& key);  // undefined if absent
  bool Has(const std::string& key) const;
  std::string WhereIs(const std::string& key) const { return where_ + ": " + key; }

  // Also refuses every key that was never read, by name.
  absl::Status Finish() const;

 private:
  YAML::Node Find(const std::string& key);
  void Fail(const std::string& key, const std::string& problem);

  YAML::Node node_;
  std::string where_;
  std::set<std::string> known_;
  absl::Status first_error_;
};

}  // namespace qc2c
