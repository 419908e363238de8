#include "experiments/flag_file.h"

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "experiments/yaml_fields.h"

namespace qc2c {
namespace {

constexpr char kFlag[] = "--config";

absl::StatusOr<std::vector<std::string>> FlagsOf(const std::string& path) {
  ASSIGN_OR_RETURN(const YAML::Node node, LoadYaml(path));
  if (!node.IsMap()) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": expected a map, flag: value"));
  }
  std::vector<std::string> flags;
  for (const auto& entry : node) {
    if (!entry.first.IsScalar() || !entry.second.IsScalar()) {
      return absl::InvalidArgumentError(
          absl::StrCat(path, ":", entry.first.Mark().line + 1, ": expected flag: value"));
    }
    const std::string& key = entry.first.Scalar();
    const std::string& value = entry.second.Scalar();
    if (value == "false") continue;
    flags.push_back(value == "true" ? absl::StrCat("--", key)
                                    : absl::StrCat("--", key, "=", value));
  }
  return flags;
}

}  // namespace

absl::StatusOr<std::vector<std::string>> ExpandFlagFiles(
    const std::vector<std::string>& arguments) {
  std::vector<std::string> from_files;
  std::vector<std::string> typed;
  for (size_t i = 0; i < arguments.size(); ++i) {
    std::string path;
    if (arguments[i] == kFlag) {
      if (i + 1 == arguments.size()) return absl::InvalidArgumentError("--config needs a file");
      path = arguments[++i];
    } else if (absl::StartsWith(arguments[i], absl::StrCat(kFlag, "="))) {
      path = arguments[i].substr(sizeof(kFlag));
    } else {
      typed.push_back(arguments[i]);
      continue;
    }
    ASSIGN_OR_RETURN(const std::vector<std::string> flags, FlagsOf(path));
    from_files.insert(from_files.end(), flags.begin(), flags.end());
  }
  if (!typed.empty()) typed.insert(typed.begin() + 1, from_files.begin(), from_files.end());
  return typed;
}

}  // namespace qc2c
