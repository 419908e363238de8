#include "common/fuser/published_pair.h"

#include "common/base/status_macros.h"
#include "common/model/json_fields.h"

namespace qc2c {
namespace {

namespace fs = std::filesystem;

absl::StatusOr<std::string> TextOrEmpty(const JsonFields& json, const std::string& key) {
  if (!json.Has(key)) return std::string();
  return json.Text(key);
}

// One sharer as a text, several as an object of names and models.
absl::StatusOr<std::vector<std::string>> Teachers(const JsonFields& json) {
  const std::string key = "teacher_model";
  std::vector<std::string> models;
  if (!json.Has(key)) return models;
  const nlohmann::json& value = json.at(key);
  if (value.is_string()) return std::vector<std::string>{value.get<std::string>()};
  if (value.is_object()) {
    for (const auto& [name, model] : value.items()) {
      if (!model.is_string()) return json.Wrong(key, "names with a model each");
      models.push_back(model.get<std::string>());
    }
  }
  if (models.empty()) return json.Wrong(key, "a model, or names with a model each");
  return models;
}

}  // namespace

absl::StatusOr<PublishedPair> ReadPublishedPair(const fs::path& folder) {
  std::error_code error;
  const bool is_final = fs::exists(folder / "projector_config.json", error);
  const fs::path path = (is_final ? folder / ".." : folder) / "config.json";
  PublishedPair pair;
  if (!fs::exists(path, error)) return pair;
  ASSIGN_OR_RETURN(const JsonFields file, JsonFields::Load(path));
  if (!file.Has("model")) return pair;
  ASSIGN_OR_RETURN(const JsonFields model, file.Object("model"));
  ASSIGN_OR_RETURN(pair.base_model, TextOrEmpty(model, "base_model"));
  ASSIGN_OR_RETURN(pair.teacher_models, Teachers(model));
  ASSIGN_OR_RETURN(pair.alignment_strategy, TextOrEmpty(model, "alignment_strategy"));
  const std::string& strategy = pair.alignment_strategy;
  if (!strategy.empty() && strategy != "first" && strategy != "longest" && strategy != "span" &&
      strategy != "same_ids") {
    return model.Wrong("alignment_strategy", "first, longest, span or same_ids");
  }
  if (model.Has("is_do_alignment")) {
    const nlohmann::json& aligned = model.at("is_do_alignment");
    if (!aligned.is_boolean()) return model.Wrong("is_do_alignment", "true or false");
    if (aligned.get<bool>()) pair.alignment = PublishedPair::Alignment::kTokens;
  }
  return pair;
}

}  // namespace qc2c
