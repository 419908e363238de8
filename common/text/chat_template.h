// Chat messages to the prompt text of a model, as transformers' apply_chat_template renders it.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/text/text_files.h"

struct qc2c_text_template;

namespace qc2c {

struct ChatMessage {
  std::string role;  // "system", "user", "assistant"
  std::string content;
};

struct RenderOptions {
  // Ends with what opens the assistant's turn, so that the model answers.
  bool add_generation_prompt = true;
  // For templates that know it (Qwen3); unset leaves the variable undefined, the template's
  // default.
  std::optional<bool> enable_thinking;
};

// A model folder's template. Thread-safe; move-only; a moved-from one may only be destroyed or
// assigned to. The template sees its variables and nothing else, and may take 10,000,000 steps and
// make 16 MiB.
class ChatTemplate {
 public:
  // Reads folder/chat_template.jinja, or else `chat_template` of folder/tokenizer_config.json (a
  // string, or a list of {name, template} with one named "default"); special tokens (bos_token,
  // eos_token, ...) as ReadSpecialTokens finds them. NOT_FOUND if the folder has no template,
  // INVALID_ARGUMENT, naming the file, if it does not parse.
  static absl::StatusOr<ChatTemplate> Load(const std::filesystem::path& folder);
  static absl::StatusOr<ChatTemplate> FromFiles(const TextFiles& files);

  // INVALID_ARGUMENT, naming the template and the cause: no messages; the template refuses them
  // (raise_exception), has an error at run time, or goes over a limit, which is named; text is
  // not UTF-8.
  absl::StatusOr<std::string> Render(const std::vector<ChatMessage>& messages,
                                     const RenderOptions& options = {}) const;

 private:
  struct Free {
    void operator()(qc2c_text_template* handle) const;
  };

  ChatTemplate() = default;

  std::unique_ptr<qc2c_text_template, Free> handle_;
  std::string name_;                                                 // the file, for messages
  std::vector<std::pair<std::string, std::string>> special_tokens_;  // "bos_token" -> "<s>"
};

}  // namespace qc2c
