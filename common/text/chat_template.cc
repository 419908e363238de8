#include "common/text/chat_template.h"

#include <cstdint>
#include <nlohmann/json.hpp>
#include <utility>

#include "common/base/files.h"
#include "common/base/status_macros.h"
#include "common/text/abi_result.h"

namespace qc2c {
namespace {

using Json = nlohmann::ordered_json;

// Instructions of one rendering. A turn takes a few hundred; a loop without end takes these in
// about a second.
constexpr uint64_t kFuel = 10'000'000;

// What transformers calls the special tokens that a template can name.
constexpr const char* kSpecialTokens[] = {"bos_token", "eos_token", "unk_token", "sep_token",
                                          "pad_token", "cls_token", "mask_token"};

// tokenizer_config.json, or an empty object without that file.
absl::StatusOr<Json> ReadConfig(const std::filesystem::path& path) {
  if (!std::filesystem::exists(path)) return Json::object();
  ASSIGN_OR_RETURN(const std::string text, ReadFile(path));
  Json config = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!config.is_object()) {
    return absl::InvalidArgumentError(absl::StrCat(path.string(), ": expected a JSON object"));
  }
  return config;
}

// The template's text in a tokenizer_config.json.
absl::StatusOr<std::string> TemplateOf(const Json& config, const std::filesystem::path& path) {
  const auto field = config.find("chat_template");
  if (field == config.end() || field->is_null()) {
    return absl::NotFoundError(absl::StrCat(
        "no chat template: neither chat_template.jinja nor `chat_template` in ", path.string()));
  }
  if (field->is_string()) return field->get<std::string>();
  if (field->is_array()) {
    for (const Json& entry : *field) {
      if (entry.is_object() && entry.value("name", Json()) == "default" &&
          entry.value("template", Json()).is_string()) {
        return entry["template"].get<std::string>();
      }
    }
  }
  return absl::InvalidArgumentError(
      absl::StrCat(path.string(), ": `chat_template` is ", field->type_name(),
                   ", expected a string or a list with {name: \"default\", template: ...}"));
}

// A special token is written as text or as {"content": text, ...}; null means that there is none.
absl::StatusOr<std::vector<std::pair<std::string, std::string>>> SpecialTokensOf(
    const Json& config, const std::filesystem::path& path) {
  std::vector<std::pair<std::string, std::string>> tokens;
  for (const char* name : kSpecialTokens) {
    Json token = config.value(name, Json());
    if (token.is_object()) token = token.value("content", Json());
    if (token.is_null()) continue;
    if (!token.is_string()) {
      return absl::InvalidArgumentError(absl::StrCat(path.string(), ": `", name, "` is ",
                                                     token.type_name(), ", expected a string"));
    }
    tokens.emplace_back(name, token.get<std::string>());
  }
  return tokens;
}

}  // namespace

void ChatTemplate::Free::operator()(qc2c_text_template* handle) const {
  qc2c_text_template_free(handle);
}

absl::StatusOr<ChatTemplate> ChatTemplate::Load(const std::filesystem::path& folder) {
  const std::filesystem::path jinja_path = folder / "chat_template.jinja";
  const std::filesystem::path config_path = folder / "tokenizer_config.json";
  ASSIGN_OR_RETURN(const Json config, ReadConfig(config_path));
  ChatTemplate result;
  std::string source;
  if (std::filesystem::exists(jinja_path)) {
    result.name_ = absl::StrCat("chat template ", jinja_path.string());
    ASSIGN_OR_RETURN(source, ReadFile(jinja_path));
  } else {
    result.name_ = absl::StrCat("chat template of ", config_path.string());
    ASSIGN_OR_RETURN(source, TemplateOf(config, config_path));
  }
  ASSIGN_OR_RETURN(result.special_tokens_, SpecialTokensOf(config, config_path));
  qc2c_text_template* handle = nullptr;
  AbiBytes error;
  RETURN_IF_ERROR(
      AbiStatus(qc2c_text_template_new(source.data(), source.size(), kFuel, &handle, error.out()),
                error, result.name_));
  result.handle_.reset(handle);
  return result;
}

absl::StatusOr<std::string> ChatTemplate::Render(const std::vector<ChatMessage>& messages,
                                                 const RenderOptions& options) const {
  if (messages.empty()) {
    return absl::InvalidArgumentError(absl::StrCat(name_, ": no messages, expected at least one"));
  }
  Json variables = Json::object();
  for (const auto& [name, token] : special_tokens_) variables[name] = token;
  variables["messages"] = Json::array();
  for (const ChatMessage& message : messages) {
    variables["messages"].push_back({{"role", message.role}, {"content", message.content}});
  }
  // Defined and none, not undefined: templates ask `tools is not none`.
  variables["tools"] = nullptr;
  variables["documents"] = nullptr;
  variables["add_generation_prompt"] = options.add_generation_prompt;
  if (options.enable_thinking) variables["enable_thinking"] = *options.enable_thinking;
  std::string json;
  try {
    json = variables.dump();
  } catch (const Json::type_error& e) {  // the only one that dump throws: not UTF-8
    return absl::InvalidArgumentError(absl::StrCat(name_, ": a message is not UTF-8: ", e.what()));
  }
  AbiBytes text;
  AbiBytes error;
  RETURN_IF_ERROR(
      AbiStatus(qc2c_text_render(handle_.get(), json.data(), json.size(), text.out(), error.out()),
                error, name_));
  return text.text();
}

}  // namespace qc2c
