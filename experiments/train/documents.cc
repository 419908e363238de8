#include "experiments/train/documents.h"

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"

namespace qc2c {
namespace {

using Json = nlohmann::json;

absl::Status AddSegment(const Json& segment, int32_t vocab_size, Document& document) {
  if (!segment.is_array() || segment.size() != 2 || !segment[0].is_array() ||
      !segment[1].is_number()) {
    return absl::InvalidArgumentError("field segments: expected [[ids...], weight]");
  }
  const float weight = segment[1].get<float>();
  if (!(weight >= 0.0f) || std::isinf(weight)) {
    return absl::InvalidArgumentError(
        absl::StrCat("field segments: weight ", weight, ", expected >= 0"));
  }
  for (const Json& id : segment[0]) {
    if (!id.is_number_integer() || id.get<int64_t>() < 0 || id.get<int64_t>() >= vocab_size) {
      return absl::InvalidArgumentError(
          absl::StrCat("field segments: id ", id.dump(), ", expected 0 .. ", vocab_size - 1));
    }
    document.ids.push_back(id.get<int32_t>());
    document.weights.push_back(document.weights.empty() ? 0.0f : weight);
  }
  return absl::OkStatus();
}

absl::Status AddDocument(const std::string& line, int32_t vocab_size, DocumentPools& pools) {
  const Json json = Json::parse(line, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) return absl::InvalidArgumentError("expected a JSON object");
  const auto kind = json.find("kind");
  if (kind == json.end() || !kind->is_string()) {
    return absl::InvalidArgumentError("field kind: expected a string");
  }
  const auto segments = json.find("segments");
  if (segments == json.end() || !segments->is_array()) {
    return absl::InvalidArgumentError("field segments: expected a list");
  }
  Document document;
  for (const Json& segment : *segments) {
    RETURN_IF_ERROR(AddSegment(segment, vocab_size, document));
  }
  int64_t prompt = 0;
  while (prompt < std::ssize(document.weights) && document.weights[prompt] == 0.0f) ++prompt;
  if (prompt == std::ssize(document.weights)) {
    return absl::InvalidArgumentError("field segments: no token has a positive weight");
  }
  document.prompt_length = prompt;
  pools[kind->get<std::string>()].push_back(std::move(document));
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<DocumentPools> ReadDocuments(const std::filesystem::path& path, int32_t vocab_size) {
  std::ifstream file(path);
  if (!file) return absl::NotFoundError(absl::StrCat("cannot open ", path.string()));
  DocumentPools pools;
  std::string line;
  for (int64_t number = 1; std::getline(file, line); ++number) {
    if (absl::Status status = AddDocument(line, vocab_size, pools); !status.ok()) {
      return absl::InvalidArgumentError(
          absl::StrCat(path.string(), " line ", number, ": ", status.message()));
    }
  }
  if (file.bad()) return absl::DataLossError(absl::StrCat("cannot read ", path.string()));
  return pools;
}

}  // namespace qc2c
