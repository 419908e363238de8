#include "common/text/special_tokens.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/text/json_object.h"

namespace qc2c {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kNamed[] = {"bos_token", "eos_token", "unk_token", "sep_token",
                                  "pad_token", "cls_token", "mask_token"};
constexpr const char* kOthers[] = {"additional_special_tokens", "extra_special_tokens"};

// A token is written as text or as {"content": text, ...}.
absl::StatusOr<std::string> TextOf(const Json& token, const std::string& field) {
  const Json text = token.is_object() ? token.value("content", Json()) : token;
  if (text.is_string()) return text.get<std::string>();
  return absl::InvalidArgumentError(
      absl::StrCat(field, " is ", text.type_name(), ", expected a string"));
}

}  // namespace

absl::StatusOr<SpecialTokenNames> ReadSpecialTokens(const TextFiles& files) {
  const std::string config_path = files.PathOf("tokenizer_config.json");
  const std::string map_path = files.PathOf("special_tokens_map.json");
  ASSIGN_OR_RETURN(const Json config, ParseJsonObject(files.tokenizer_config_json, config_path));
  Json map = Json::object();
  if (!config.contains("added_tokens_decoder")) {
    ASSIGN_OR_RETURN(map, ParseJsonObject(files.special_tokens_map_json, map_path));
  }
  SpecialTokenNames names;
  for (const char* name : kNamed) {
    const bool in_map = map.contains(name);
    const Json token = (in_map ? map : config).value(name, Json());
    if (token.is_null()) continue;
    ASSIGN_OR_RETURN(std::string text, TextOf(token, absl::StrCat(in_map ? map_path : config_path,
                                                                  ": `", name, "`")));
    names.named.emplace_back(name, std::move(text));
  }
  for (const char* name : kOthers) {
    const bool in_map = map.contains(name);
    const Json tokens = (in_map ? map : config).value(name, Json());
    // Some folders have an object of named tokens here, which no model of this project uses.
    if (!tokens.is_array()) continue;
    for (const Json& token : tokens) {
      ASSIGN_OR_RETURN(std::string text, TextOf(token, absl::StrCat(in_map ? map_path : config_path,
                                                                    ": `", name, "[]`")));
      names.others.push_back(std::move(text));
    }
  }
  return names;
}

SpecialIds SpecialIds::Of(const SpecialTokenNames& names, const Tokenizer& tokenizer) {
  SpecialIds ids;
  for (const auto& [name, text] : names.named) {
    const std::optional<int32_t> id = tokenizer.TokenToId(text);
    if (!id) continue;
    ids.all.push_back(*id);
    if (name == "bos_token") ids.bos = id;
    if (name == "eos_token") ids.eos = id;
    if (name == "pad_token") ids.pad = id;
    if (name == "unk_token") ids.unk = id;
  }
  for (const std::string& text : names.others) {
    if (const std::optional<int32_t> id = tokenizer.TokenToId(text)) ids.all.push_back(*id);
  }
  std::ranges::sort(ids.all);
  const auto repeated = std::ranges::unique(ids.all);
  ids.all.erase(repeated.begin(), repeated.end());
  return ids;
}

}  // namespace qc2c
