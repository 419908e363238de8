#include "experiments/json_difference.h"

#include "absl/strings/str_cat.h"

namespace qc2c {
namespace {

using Json = nlohmann::ordered_json;

std::string Text(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::string DifferenceAt(const std::string& path, const Json& before, const Json& now) {
  const bool are_objects = before.is_object() && now.is_object();
  const bool are_lists = before.is_array() && now.is_array() && before.size() == now.size();
  if (before == now) return "";
  if (are_objects) {
    for (const auto& [key, value] : before.items()) {
      const std::string at = path.empty() ? key : absl::StrCat(path, ".", key);
      if (!now.contains(key)) return absl::StrCat(at, " was ", Text(value), ", is now absent");
      std::string found = DifferenceAt(at, value, now.at(key));
      if (!found.empty()) return found;
    }
    return "";
  }
  if (are_lists) {
    for (size_t i = 0; i < before.size(); ++i) {
      std::string found = DifferenceAt(absl::StrCat(path, "[", i, "]"), before[i], now[i]);
      if (!found.empty()) return found;
    }
    return "";
  }
  return absl::StrCat(path, " was ", Text(before), ", is now ", Text(now));
}

}  // namespace

std::string JsonDifference(const Json& before, const Json& now) {
  return DifferenceAt("", before, now);
}

}  // namespace qc2c
