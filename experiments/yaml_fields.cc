#include "experiments/yaml_fields.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/base/files.h"
#include "common/base/status_macros.h"

namespace qc2c {

absl::StatusOr<YAML::Node> LoadYaml(const std::filesystem::path& path) {
  ASSIGN_OR_RETURN(const std::string text, ReadFile(path));
  try {
    return YAML::Load(text);
  } catch (const YAML::Exception& e) {
    return absl::InvalidArgumentError(absl::StrCat(path.string(), ":", e.mark.line + 1, ":",
                                                   e.mark.column + 1, ": not YAML: ", e.msg));
  }
}

YamlFields::YamlFields(const YAML::Node& node, std::string where)
    : node_(node), where_(std::move(where)) {
  if (!node_.IsDefined() || !node_.IsMap()) {
    first_error_ =
        absl::InvalidArgumentError(absl::StrCat(where_, ": expected a map of named fields"));
  }
}

void YamlFields::Fail(const std::string& key, const std::string& problem) {
  if (first_error_.ok()) {
    first_error_ =
        absl::InvalidArgumentError(absl::StrCat(where_, ": field \"", key, "\" ", problem));
  }
}

YAML::Node YamlFields::Find(const std::string& key) {
  known_.insert(key);
  // A const look-up: operator[] on a mutable node would create the key.
  const YAML::Node& node = node_;
  return node.IsDefined() && node.IsMap() ? node[key] : YAML::Node(YAML::NodeType::Undefined);
}

bool YamlFields::Has(const std::string& key) const {
  const YAML::Node& node = node_;
  return node.IsDefined() && node.IsMap() && node[key].IsDefined();
}

std::string YamlFields::Text(const std::string& key) {
  if (!Has(key)) {
    known_.insert(key);
    Fail(key, "is missing");
    return "";
  }
  return TextOr(key, "");
}

std::string YamlFields::TextOr(const std::string& key, const std::string& otherwise) {
  const YAML::Node value = Find(key);
  if (!value.IsDefined()) return otherwise;
  if (!value.IsScalar()) {
    Fail(key, "must be text");
    return otherwise;
  }
  return value.Scalar();
}

uint64_t YamlFields::CountOr(const std::string& key, uint64_t otherwise, uint64_t low,
                             uint64_t high) {
  const YAML::Node value = Find(key);
  if (!value.IsDefined()) return otherwise;
  uint64_t count = 0;
  const bool is_count = value.IsScalar() && value.Scalar().find('-') == std::string::npos &&
                        YAML::convert<uint64_t>::decode(value, count);
  if (!is_count || count < low || count > high) {
    const std::string found = value.IsScalar() ? value.Scalar() : "a list or map";
    Fail(key, absl::StrCat("is ", found, "; expected a whole number from ", low, " to ", high));
  }
  return count;
}

YAML::Node YamlFields::List(const std::string& key) {
  const YAML::Node value = Find(key);
  if (!value.IsDefined()) {
    Fail(key, "is missing");
  } else if (!value.IsSequence() || value.size() == 0) {
    Fail(key, "must be a list with at least one element");
  }
  return value;
}

YAML::Node YamlFields::MapOr(const std::string& key) {
  const YAML::Node value = Find(key);
  if (value.IsDefined() && !value.IsMap()) Fail(key, "must be a map");
  return value;
}

absl::Status YamlFields::Finish() const {
  RETURN_IF_ERROR(first_error_);
  for (const auto& entry : node_) {
    const std::string key = entry.first.IsScalar() ? entry.first.Scalar() : "(not text)";
    if (!known_.contains(key)) {
      return absl::InvalidArgumentError(absl::StrCat(where_, ": unknown field \"", key,
                                                     "\"; known: ", absl::StrJoin(known_, ", ")));
    }
  }
  return absl::OkStatus();
}

}  // namespace qc2c
