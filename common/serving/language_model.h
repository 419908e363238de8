// A model folder ready to serve: weights, tokenizer and chat template, and the card that describes
// it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/model/model.h"
#include "common/text/chat_template.h"
#include "common/text/tokenizer.h"
#include "qc2c/v1/sharer.pb.h"

namespace qc2c {

struct LanguageModel {
  std::string name;  // the folder's name
  std::filesystem::path folder;
  Model model;
  Tokenizer tokenizer;
  ChatTemplate chat_template;

  // Whatever is missing (NOT_FOUND) or wrong in the folder (DATA_LOSS), by name.
  static absl::StatusOr<LanguageModel> Load(const std::filesystem::path& folder,
                                            const ModelOptions& options);

  // What the model reads: the rendered template or the plain text, then the reply prefix.
  // INVALID_ARGUMENT if there is neither or both.
  absl::StatusOr<std::string> Render(const v1::Prompt& prompt) const;
  // A template writes its special tokens itself; to plain text the tokenizer adds its own (BOS).
  static SpecialTokens SpecialTokensOf(const v1::Prompt& prompt) {
    return prompt.text().empty() ? SpecialTokens::kAsWritten : SpecialTokens::kAdd;
  }
  // The token ids of Render. INVALID_ARGUMENT if there are none, or if they and `num_new_tokens` do
  // not fit into the model's context (both numbers are named).
  absl::StatusOr<std::vector<int32_t>> Tokenize(const v1::Prompt& prompt,
                                                int64_t num_new_tokens) const;
  // INVALID_ARGUMENT as for Tokenize.
  absl::Status CheckLength(int64_t num_prompt_tokens, int64_t num_new_tokens) const;

  // Layout, hashes and sizes; device and dtype in words. Without the tokenizer's file.
  v1::ModelCard Card() const;
};

// A conversation as templates take it; empty for plain text.
std::vector<ChatMessage> MessagesOf(const v1::Prompt& prompt);

// INVALID_ARGUMENT about what a file says becomes DATA_LOSS: the caller asked for nothing wrong,
// and an exit code tells a bad file from a bad flag.
absl::Status AsFileError(const absl::Status& status);

// "cpu", "cuda" or "cuda:N"; INVALID_ARGUMENT if it is misspelt or the machine has no such device.
absl::StatusOr<at::Device> ParseDevice(const std::string& text);
// "fp32" or "bf16".
absl::StatusOr<at::ScalarType> ParseModelDType(const std::string& text);

}  // namespace qc2c
