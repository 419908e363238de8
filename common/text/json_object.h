// Parsing a text file of a model folder.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "common/base/bounded_json.h"

namespace qc2c {

// The object in `text`, in the file's order; an empty one if the text is empty. INVALID_ARGUMENT,
// naming `path`, for anything else.
inline absl::StatusOr<nlohmann::ordered_json> ParseJsonObject(const std::string& text,
                                                              const std::string& path) {
  using Json = nlohmann::ordered_json;
  if (text.empty()) return Json::object();
  Json json = ParseBoundedJson<Json>(text);
  if (!json.is_object()) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": expected a JSON object of at most ", kMaxJsonDepth, " levels"));
  }
  return json;
}

}  // namespace qc2c
