#include "common/text/chat_template.h"

#include <cstdint>
#include <nlohmann/json.hpp>
#include <utility>

#include "common/base/status_macros.h"
#include "common/text/abi_result.h"
#include "common/text/json_object.h"
#include "common/text/special_tokens.h"

namespace qc2c {
namespace {

using Json = nlohmann::ordered_json;

// Instructions of one rendering. A turn takes a few hundred; a loop without end takes these in
// about a second.
constexpr uint64_t kFuel = 10'000'000;

// The template's text in a tokenizer_config.json.
absl::StatusOr<std::string> TemplateOf(const Json& config, const std::string& path) {
  const auto field = config.find("chat_template");
  if (field == config.end() || field->is_null()) {
    return absl::NotFoundError(absl::StrCat(
        "no chat template: neither chat_template.jinja nor `chat_template` in ", path));
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
      absl::StrCat(path, ": `chat_template` is ", field->type_name(),
                   ", expected a string or a list with {name: \"default\", template: ...}"));
}

}  // namespace

void ChatTemplate::Free::operator()(qc2c_text_template* handle) const {
  qc2c_text_template_free(handle);
}

absl::StatusOr<ChatTemplate> ChatTemplate::Load(const std::filesystem::path& folder) {
  ASSIGN_OR_RETURN(const TextFiles files, TextFiles::Load(folder));
  return FromFiles(files);
}

absl::StatusOr<ChatTemplate> ChatTemplate::FromFiles(const TextFiles& files) {
  const std::string config_path = files.PathOf("tokenizer_config.json");
  ASSIGN_OR_RETURN(const Json config, ParseJsonObject(files.tokenizer_config_json, config_path));
  ChatTemplate result;
  std::string source = files.chat_template_jinja;
  if (!source.empty()) {
    result.name_ = absl::StrCat("chat template ", files.PathOf("chat_template.jinja"));
  } else {
    result.name_ = absl::StrCat("chat template of ", config_path);
    ASSIGN_OR_RETURN(source, TemplateOf(config, config_path));
  }
  ASSIGN_OR_RETURN(SpecialTokenNames special, ReadSpecialTokens(files));
  result.special_tokens_ = std::move(special.named);
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
