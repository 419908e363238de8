// How a question becomes a prompt, and an answer a letter. A YAML file:
//   template: chat                      or none: `user` is plain text, and there is no `system`
//   user: "{question}\n{choices}"       required; {choices} are the choices, joined
//   system: "..."                       optional system message
//   choice: "{letter}. {text}"          one of {choices}
//   choice_separator: "\n"
//   option: " {letter}"                 what may follow the prompt, for logits and loglikelihood
//   reply_prefix: "Answer:"             where the reply begins
//   extract: exact                      or c2c: how a generated answer is read (scoring.h)
//   sharer_context: "Fact: {fact}.\n"   what only the sharer reads, in front of the prompt
//   sharer_answer:                      how the sharer answers by itself (sharer, text_answer), if
//     max_new_tokens: 64                not as the receiver does
//     extract: c2c
//   text_relay:                         needed for mode `text`
//     sharer_user: "{question}"         what the sharer is asked
//     sharer_reply_prefix: ""
//     sharer_max_new_tokens: 8
//     receiver_user: "Hint: {hint}\n{question}\n{choices}"
// {fact} is the question's field of that name.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "experiments/question.h"
#include "experiments/scoring.h"
#include "qc2c/v1/sharer.pb.h"

namespace qc2c {

struct TextRelayFormat {
  std::string sharer_user;
  std::string sharer_reply_prefix;
  uint32_t sharer_max_new_tokens = 0;
  std::string receiver_user;
};

struct SharerAnswerFormat {
  uint32_t max_new_tokens = 0;
  Extraction extract = Extraction::kExact;
};

struct PromptFormat {
  enum class Template { kChat, kNone } prompt_template = Template::kChat;
  std::string system;
  std::string user;
  std::string choice;
  std::string choice_separator;
  std::string option;
  std::string reply_prefix;
  Extraction extract = Extraction::kExact;
  std::string sharer_context;
  std::optional<SharerAnswerFormat> sharer_answer;
  std::optional<TextRelayFormat> text_relay;

  // INVALID_ARGUMENT names the file and the field: one that is unknown, a template without
  // {question}, a receiver_user without {hint}, a placeholder that nothing fills.
  static absl::StatusOr<PromptFormat> Load(const std::filesystem::path& path);

  // Whether a question without a fact cannot be asked.
  bool NeedsFact() const;

  v1::Prompt PromptFor(const Question& question) const;
  // Empty if the format has none.
  std::string ContextFor(const Question& question) const;
  // The context written in front of the prompt: of plain text, or of the user's message.
  v1::Prompt PromptWithContext(const Question& question) const;
  // REQUIRES: text_relay. The receiver's prompt still has {hint}, which the receiver fills.
  v1::Prompt RelaySharerPrompt(const Question& question) const;
  v1::Prompt RelayReceiverPrompt(const Question& question) const;
  std::vector<std::string> OptionsFor(const Question& question) const;
};

}  // namespace qc2c
