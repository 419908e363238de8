#include "experiments/prompt_format.h"

#include <array>
#include <functional>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/base/status_macros.h"
#include "experiments/yaml_fields.h"

namespace qc2c {
namespace {

constexpr uint64_t kMaxSharerTokens = 4096;

// One pass, so that braces inside a question are never read as a placeholder.
std::string Fill(const std::string& pattern,
                 const std::vector<std::pair<std::string, std::string>>& values) {
  std::string filled;
  for (size_t i = 0; i < pattern.size();) {
    bool replaced = false;
    for (const auto& [name, value] : values) {
      if (pattern.compare(i, name.size(), name) != 0) continue;
      filled += value;
      i += name.size();
      replaced = true;
      break;
    }
    if (!replaced) filled += pattern[i++];
  }
  return filled;
}

v1::Prompt MakePrompt(const PromptFormat& format, const std::string& user_pattern,
                      const std::string& reply_prefix, const Question& question) {
  std::vector<std::string> lines;
  for (const Choice& choice : question.choices) {
    lines.push_back(Fill(format.choice, {{"{letter}", choice.letter}, {"{text}", choice.text}}));
  }
  v1::Prompt prompt;
  if (!format.system.empty()) {
    v1::ChatMessage* system = prompt.add_messages();
    system->set_role("system");
    system->set_content(format.system);
  }
  v1::ChatMessage* user = prompt.add_messages();
  user->set_role("user");
  user->set_content(Fill(
      user_pattern, {{"{question}", question.text}, {"{choices}", absl::StrJoin(lines, "\n")}}));
  prompt.set_reply_prefix(reply_prefix);
  return prompt;
}

// Every "{name}" in a template must be one of `allowed`, and `required` must be there.
absl::Status CheckTemplate(const std::string& where, const std::string& pattern,
                           const std::vector<std::string>& allowed, const std::string& required) {
  if (!absl::StrContains(pattern, required)) {
    return absl::InvalidArgumentError(absl::StrCat(where, " has no ", required));
  }
  for (size_t open = pattern.find('{'); open != std::string::npos;
       open = pattern.find('{', open + 1)) {
    const size_t close = pattern.find('}', open);
    if (close == std::string::npos) break;
    const std::string name = pattern.substr(open, close - open + 1);
    if (std::find(allowed.begin(), allowed.end(), name) == allowed.end()) {
      return absl::InvalidArgumentError(absl::StrCat(
          where, " has ", name, ", which nothing fills; ", "known: ", absl::StrJoin(allowed, " ")));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<TextRelayFormat> ReadTextRelay(const YAML::Node& node, const std::string& where) {
  YamlFields fields(node, where);
  TextRelayFormat relay;
  relay.sharer_user = fields.Text("sharer_user");
  relay.sharer_reply_prefix = fields.TextOr("sharer_reply_prefix", "");
  relay.sharer_max_new_tokens =
      static_cast<uint32_t>(fields.CountOr("sharer_max_new_tokens", 64, 1, kMaxSharerTokens));
  relay.receiver_user = fields.Text("receiver_user");
  RETURN_IF_ERROR(fields.Finish());
  RETURN_IF_ERROR(CheckTemplate(fields.WhereIs("sharer_user"), relay.sharer_user,
                                {"{question}", "{choices}"}, "{question}"));
  RETURN_IF_ERROR(CheckTemplate(fields.WhereIs("receiver_user"), relay.receiver_user,
                                {"{question}", "{choices}", "{hint}"}, "{hint}"));
  return relay;
}

}  // namespace

absl::StatusOr<PromptFormat> PromptFormat::Load(const std::filesystem::path& path) {
  ASSIGN_OR_RETURN(const YAML::Node node, LoadYaml(path));
  YamlFields fields(node, path.string());
  PromptFormat format;
  format.system = fields.TextOr("system", "");
  format.user = fields.Text("user");
  format.choice = fields.TextOr("choice", "{letter}. {text}");
  format.option = fields.TextOr("option", " {letter}");
  format.reply_prefix = fields.TextOr("reply_prefix", "");
  const YAML::Node relay = fields.MapOr("text_relay");
  RETURN_IF_ERROR(fields.Finish());
  RETURN_IF_ERROR(CheckTemplate(fields.WhereIs("user"), format.user, {"{question}", "{choices}"},
                                "{question}"));
  RETURN_IF_ERROR(
      CheckTemplate(fields.WhereIs("choice"), format.choice, {"{letter}", "{text}"}, "{letter}"));
  if (relay.IsDefined()) {
    ASSIGN_OR_RETURN(format.text_relay, ReadTextRelay(relay, fields.WhereIs("text_relay")));
  }
  return format;
}

v1::Prompt PromptFormat::PromptFor(const Question& question) const {
  return MakePrompt(*this, user, reply_prefix, question);
}

v1::Prompt PromptFormat::RelaySharerPrompt(const Question& question) const {
  return MakePrompt(*this, text_relay->sharer_user, text_relay->sharer_reply_prefix, question);
}

v1::Prompt PromptFormat::RelayReceiverPrompt(const Question& question) const {
  return MakePrompt(*this, text_relay->receiver_user, reply_prefix, question);
}

std::vector<std::string> PromptFormat::OptionsFor(const Question& question) const {
  std::vector<std::string> options;
  for (const Choice& choice : question.choices) {
    options.push_back(Fill(option, {{"{letter}", choice.letter}, {"{text}", choice.text}}));
  }
  return options;
}

}  // namespace qc2c
