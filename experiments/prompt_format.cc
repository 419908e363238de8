#include "experiments/prompt_format.h"

#include <array>
#include <functional>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/base/status_macros.h"
#include "common/rpc/request_limits.h"
#include "experiments/yaml_fields.h"

namespace qc2c {
namespace {

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

std::string FillFor(const PromptFormat& format, const std::string& pattern,
                    const Question& question) {
  std::vector<std::string> choices;
  for (const Choice& choice : question.choices) {
    choices.push_back(Fill(format.choice, {{"{letter}", choice.letter}, {"{text}", choice.text}}));
  }
  return Fill(pattern, {{"{question}", question.text},
                        {"{fact}", question.fact},
                        {"{choices}", absl::StrJoin(choices, format.choice_separator)}});
}

// `user` is filled already.
v1::Prompt MakePrompt(const PromptFormat& format, const std::string& user,
                      const std::string& reply_prefix) {
  v1::Prompt prompt;
  prompt.set_reply_prefix(reply_prefix);
  if (format.prompt_template == PromptFormat::Template::kNone) {
    prompt.set_text(user);
    return prompt;
  }
  if (!format.system.empty()) {
    v1::ChatMessage* system = prompt.add_messages();
    system->set_role("system");
    system->set_content(format.system);
  }
  v1::ChatMessage* message = prompt.add_messages();
  message->set_role("user");
  message->set_content(user);
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
      static_cast<uint32_t>(fields.CountOr("sharer_max_new_tokens", 64, 1, kMaxNewTokens));
  relay.receiver_user = fields.Text("receiver_user");
  RETURN_IF_ERROR(fields.Finish());
  RETURN_IF_ERROR(CheckTemplate(fields.WhereIs("sharer_user"), relay.sharer_user,
                                {"{question}", "{choices}", "{fact}"}, "{question}"));
  RETURN_IF_ERROR(CheckTemplate(fields.WhereIs("receiver_user"), relay.receiver_user,
                                {"{question}", "{choices}", "{hint}"}, "{hint}"));
  return relay;
}

absl::StatusOr<SharerAnswerFormat> ReadSharerAnswer(const YAML::Node& node,
                                                    const std::string& where) {
  YamlFields fields(node, where);
  SharerAnswerFormat answer;
  answer.max_new_tokens =
      static_cast<uint32_t>(fields.CountOr("max_new_tokens", 64, 1, kMaxNewTokens));
  const std::string extract = fields.TextOr("extract", "c2c");
  RETURN_IF_ERROR(fields.Finish());
  ASSIGN_OR_RETURN(answer.extract, ExtractionFromName(fields.WhereIs("extract"), extract));
  return answer;
}

absl::StatusOr<PromptFormat::Template> TemplateFromName(const std::string& where,
                                                        const std::string& name) {
  if (name == "chat") return PromptFormat::Template::kChat;
  if (name == "none") return PromptFormat::Template::kNone;
  return absl::InvalidArgumentError(
      absl::StrCat(where, " is \"", name, "\"; expected chat or none"));
}

}  // namespace

absl::StatusOr<PromptFormat> PromptFormat::Load(const std::filesystem::path& path) {
  ASSIGN_OR_RETURN(const YAML::Node node, LoadYaml(path));
  YamlFields fields(node, path.string());
  PromptFormat format;
  const std::string prompt_template = fields.TextOr("template", "chat");
  format.system = fields.TextOr("system", "");
  format.user = fields.Text("user");
  format.choice = fields.TextOr("choice", "{letter}. {text}");
  format.choice_separator = fields.TextOr("choice_separator", "\n");
  format.option = fields.TextOr("option", " {letter}");
  format.reply_prefix = fields.TextOr("reply_prefix", "");
  const std::string extract = fields.TextOr("extract", "exact");
  format.sharer_context = fields.TextOr("sharer_context", "");
  const YAML::Node sharer_answer = fields.MapOr("sharer_answer");
  const YAML::Node relay = fields.MapOr("text_relay");
  RETURN_IF_ERROR(fields.Finish());
  ASSIGN_OR_RETURN(format.prompt_template,
                   TemplateFromName(fields.WhereIs("template"), prompt_template));
  if (format.prompt_template == Template::kNone && !format.system.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat(fields.WhereIs("system"), ": plain text (template: none) has no messages"));
  }
  ASSIGN_OR_RETURN(format.extract, ExtractionFromName(fields.WhereIs("extract"), extract));
  RETURN_IF_ERROR(CheckTemplate(fields.WhereIs("user"), format.user, {"{question}", "{choices}"},
                                "{question}"));
  RETURN_IF_ERROR(
      CheckTemplate(fields.WhereIs("choice"), format.choice, {"{letter}", "{text}"}, "{letter}"));
  if (!format.sharer_context.empty()) {
    RETURN_IF_ERROR(CheckTemplate(fields.WhereIs("sharer_context"), format.sharer_context,
                                  {"{fact}", "{question}"}, ""));
  }
  if (sharer_answer.IsDefined()) {
    ASSIGN_OR_RETURN(format.sharer_answer,
                     ReadSharerAnswer(sharer_answer, fields.WhereIs("sharer_answer")));
  }
  if (relay.IsDefined()) {
    ASSIGN_OR_RETURN(format.text_relay, ReadTextRelay(relay, fields.WhereIs("text_relay")));
  }
  return format;
}

bool PromptFormat::NeedsFact() const {
  return absl::StrContains(sharer_context, "{fact}") ||
         (text_relay && absl::StrContains(text_relay->sharer_user, "{fact}"));
}

v1::Prompt PromptFormat::PromptFor(const Question& question) const {
  return MakePrompt(*this, FillFor(*this, user, question), reply_prefix);
}

std::string PromptFormat::ContextFor(const Question& question) const {
  return FillFor(*this, sharer_context, question);
}

v1::Prompt PromptFormat::PromptWithContext(const Question& question) const {
  return MakePrompt(*this, ContextFor(question) + FillFor(*this, user, question), reply_prefix);
}

v1::Prompt PromptFormat::RelaySharerPrompt(const Question& question) const {
  return MakePrompt(*this, FillFor(*this, text_relay->sharer_user, question),
                    text_relay->sharer_reply_prefix);
}

v1::Prompt PromptFormat::RelayReceiverPrompt(const Question& question) const {
  return MakePrompt(*this, FillFor(*this, text_relay->receiver_user, question), reply_prefix);
}

std::vector<std::string> PromptFormat::OptionsFor(const Question& question) const {
  std::vector<std::string> options;
  for (const Choice& choice : question.choices) {
    options.push_back(Fill(option, {{"{letter}", choice.letter}, {"{text}", choice.text}}));
  }
  return options;
}

}  // namespace qc2c
