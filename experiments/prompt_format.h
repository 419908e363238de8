// How a question becomes chat messages. A YAML file:
//   user: "{question}\n{choices}"       required; {choices} are the choice lines
//   system: "..."                       optional system message
//   choice: "{letter}. {text}"          one line of {choices}
//   option: " {letter}"                 what may follow the prompt, for logits and loglikelihood
//   reply_prefix: "Answer:"             where the reply begins
//   text_relay:                         needed for mode `text`
//     sharer_user: "{question}"         what the sharer is asked
//     sharer_reply_prefix: ""
//     sharer_max_new_tokens: 8
//     receiver_user: "Hint: {hint}\n{question}\n{choices}"
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "experiments/question.h"
#include "qc2c/v1/sharer.pb.h"

namespace qc2c {

struct TextRelayFormat {
  std::string sharer_user;
  std::string sharer_reply_prefix;
  uint32_t sharer_max_new_tokens = 0;
  std::string receiver_user;
};

struct PromptFormat {
  std::string system;
  std::string user;
  std::string choice;
  std::string option;
  std::string reply_prefix;
  std::optional<TextRelayFormat> text_relay;

  // INVALID_ARGUMENT names the file and the field: one that is unknown, a template without
  // {question}, a receiver_user without {hint}, a placeholder that nothing fills.
  static absl::StatusOr<PromptFormat> Load(const std::filesystem::path& path);

  v1::Prompt PromptFor(const Question& question) const;
  // REQUIRES: text_relay. The receiver's prompt still has {hint}, which the receiver fills.
  v1::Prompt RelaySharerPrompt(const Question& question) const;
  v1::Prompt RelayReceiverPrompt(const Question& question) const;
  std::vector<std::string> OptionsFor(const Question& question) const;
};

}  // namespace qc2c
