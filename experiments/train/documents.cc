#include "experiments/train/documents.h"

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/bounded_json.h"
#include "common/base/status_macros.h"

namespace qc2c {
namespace {

using Json = nlohmann::json;

// Appends a list of integers in 0 .. end - 1.
absl::Status AppendIndices(const std::string& field, const Json& list, int64_t end,
                           std::vector<int32_t>& indices) {
  if (!list.is_array()) return absl::InvalidArgumentError(absl::StrCat(field, ": expected a list"));
  for (const Json& entry : list) {
    if (!entry.is_number_integer() || entry.get<int64_t>() < 0 || entry.get<int64_t>() >= end) {
      return absl::InvalidArgumentError(
          absl::StrCat(field, ": ", entry.dump(), ", expected 0 .. ", end - 1));
    }
    indices.push_back(entry.get<int32_t>());
  }
  return absl::OkStatus();
}

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
  const bool is_first = document.ids.empty();
  RETURN_IF_ERROR(AppendIndices("field segments: id", segment[0], vocab_size, document.ids));
  document.weights.resize(document.ids.size(), weight);
  if (is_first && !document.weights.empty()) document.weights[0] = 0.0f;
  return absl::OkStatus();
}

absl::Status AddSharer(const Json& sharer, int32_t vocab_size, Document& document) {
  if (vocab_size == 0) return absl::InvalidArgumentError("field sharer: there is no sharer");
  if (!sharer.is_object() || !sharer.contains("ids") || !sharer.contains("tokens")) {
    return absl::InvalidArgumentError("field sharer: expected {ids, tokens}");
  }
  RETURN_IF_ERROR(
      AppendIndices("field sharer.ids", sharer.at("ids"), vocab_size, document.sharer_ids));
  RETURN_IF_ERROR(AppendIndices("field sharer.tokens", sharer.at("tokens"),
                                std::ssize(document.sharer_ids), document.sharer_tokens));
  if (std::ssize(document.sharer_tokens) == document.prompt_length - 1) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("field sharer.tokens: ", document.sharer_tokens.size(), " entries, expected ",
                   document.prompt_length - 1, ", the fused tokens"));
}

absl::Status AddOptions(const Json& json, int32_t vocab_size, Document& document) {
  const Json& options = json.at("options");
  if (!options.is_array() || options.size() < 2) {
    return absl::InvalidArgumentError("field options: expected a list of at least two");
  }
  for (const Json& option : options) {
    RETURN_IF_ERROR(
        AppendIndices("field options: id", option, vocab_size, document.options.emplace_back()));
    if (document.options.back().empty()) {
      return absl::InvalidArgumentError("field options: an option has no ids");
    }
  }
  std::vector<int32_t> answer;
  RETURN_IF_ERROR(AppendIndices("field answer", Json::array({json.value("answer", Json())}),
                                std::ssize(document.options), answer));
  document.answer = answer.front();
  return absl::OkStatus();
}

absl::Status AddDocument(const std::string& line, VocabSizes vocab, DocumentPools& pools) {
  const Json json = ParseBoundedJson<Json>(line);
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
    RETURN_IF_ERROR(AddSegment(segment, vocab.model, document));
  }
  int64_t prompt = 0;
  while (prompt < std::ssize(document.weights) && document.weights[prompt] == 0.0f) ++prompt;
  if (json.contains("options")) {
    if (prompt < std::ssize(document.weights) || prompt == 0) {
      return absl::InvalidArgumentError("field segments: with options, expected weights of 0 only");
    }
    RETURN_IF_ERROR(AddOptions(json, vocab.model, document));
  } else if (prompt == std::ssize(document.weights)) {
    return absl::InvalidArgumentError("field segments: no token has a positive weight");
  }
  document.prompt_length = prompt;
  if (const auto sharer = json.find("sharer"); sharer != json.end()) {
    RETURN_IF_ERROR(AddSharer(*sharer, vocab.sharer, document));
  }
  std::vector<Document>& pool = pools[kind->get<std::string>()];
  if (!pool.empty() && pool.front().options.empty() != document.options.empty()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "field options: kind '", kind->get<std::string>(), "' has documents with and without"));
  }
  pool.push_back(std::move(document));
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<DocumentPools> ReadDocuments(const std::filesystem::path& path, VocabSizes vocab) {
  std::ifstream file(path);
  if (!file) return absl::NotFoundError(absl::StrCat("cannot open ", path.string()));
  DocumentPools pools;
  std::string line;
  for (int64_t number = 1; std::getline(file, line); ++number) {
    if (absl::Status status = AddDocument(line, vocab, pools); !status.ok()) {
      return absl::InvalidArgumentError(
          absl::StrCat(path.string(), " line ", number, ": ", status.message()));
    }
  }
  if (file.bad()) return absl::DataLossError(absl::StrCat("cannot read ", path.string()));
  return pools;
}

}  // namespace qc2c
