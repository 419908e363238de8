#include "common/serving/language_model.h"

#include <ATen/Context.h>

#include <charconv>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/model/key_rotation.h"
#include "common/model/projection_biases.h"
#include "common/wire/model_facts.h"

namespace qc2c {

namespace {

absl::StatusOr<LanguageModel> LoadParts(const std::filesystem::path& folder,
                                        const ModelOptions& options) {
  if (!std::filesystem::is_directory(folder)) {
    return absl::NotFoundError(absl::StrCat("no model folder at ", folder.string()));
  }
  ASSIGN_OR_RETURN(Model model, Model::Load(folder, options));
  ASSIGN_OR_RETURN(Tokenizer tokenizer, Tokenizer::Load(folder));
  ASSIGN_OR_RETURN(ChatTemplate chat_template, ChatTemplate::Load(folder));
  if (tokenizer.vocab_size() > static_cast<size_t>(model.config().vocab_size)) {
    return absl::InvalidArgumentError(
        absl::StrCat(folder.string(), ": the tokenizer has ", tokenizer.vocab_size(),
                     " tokens, the model's vocabulary only ", model.config().vocab_size));
  }
  const std::filesystem::path canonical = std::filesystem::canonical(folder);
  return LanguageModel{canonical.filename().string(), canonical, std::move(model),
                       std::move(tokenizer), std::move(chat_template)};
}

}  // namespace

absl::StatusOr<LanguageModel> LanguageModel::Load(const std::filesystem::path& folder,
                                                  const ModelOptions& options) {
  absl::StatusOr<LanguageModel> language_model = LoadParts(folder, options);
  if (!language_model.ok()) return AsFileError(language_model.status());
  return language_model;
}

std::vector<ChatMessage> MessagesOf(const v1::Prompt& prompt) {
  std::vector<ChatMessage> messages;
  for (const v1::ChatMessage& message : prompt.messages()) {
    messages.push_back({message.role(), message.content()});
  }
  return messages;
}

absl::Status AsFileError(const absl::Status& status) {
  return absl::IsInvalidArgument(status) ? absl::DataLossError(status.message()) : status;
}

absl::StatusOr<std::string> LanguageModel::Render(const v1::Prompt& prompt) const {
  if (!prompt.text().empty()) {
    if (prompt.messages().empty()) return prompt.text() + prompt.reply_prefix();
    return absl::InvalidArgumentError("prompt has text and messages: expected one of them");
  }
  if (prompt.messages().empty()) {
    return absl::InvalidArgumentError(
        "prompt.messages is empty: expected at least one message, or text");
  }
  ASSIGN_OR_RETURN(
      const std::string text,
      chat_template.Render(MessagesOf(prompt),
                           RenderOptions{.add_generation_prompt = true,
                                         .enable_thinking = prompt.enable_thinking()}));
  return text + prompt.reply_prefix();
}

absl::StatusOr<std::vector<int32_t>> LanguageModel::Tokenize(const v1::Prompt& prompt,
                                                             int64_t num_new_tokens) const {
  ASSIGN_OR_RETURN(const std::string text, Render(prompt));
  ASSIGN_OR_RETURN(std::vector<int32_t> ids, tokenizer.Encode(text, SpecialTokensOf(prompt)));
  if (ids.empty()) return absl::InvalidArgumentError("the prompt has no tokens");
  RETURN_IF_ERROR(CheckLength(static_cast<int64_t>(ids.size()), num_new_tokens));
  return ids;
}

absl::Status LanguageModel::CheckLength(int64_t num_prompt_tokens, int64_t num_new_tokens) const {
  if (num_prompt_tokens + num_new_tokens <= model.config().max_positions) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      "the prompt has ", num_prompt_tokens, " tokens and the answer may take ", num_new_tokens,
      ": more than the ", model.config().max_positions, " positions of model '", name, "'"));
}

v1::ModelCard LanguageModel::Card() const {
  const ModelConfig& config = model.config();
  v1::ModelCard card;
  card.set_model(name);
  card.set_architecture(config.architecture);
  card.set_model_fingerprint(model.fingerprint());
  const KvLayout layout = config.Layout();
  card.mutable_layout()->set_num_layers(layout.num_layers);
  card.mutable_layout()->set_num_kv_heads(layout.num_kv_heads);
  card.mutable_layout()->set_head_dim(layout.head_dim);
  card.set_vocab_size(config.vocab_size);
  card.set_max_positions(config.max_positions);
  card.set_tokenizer_hash(tokenizer.hash());
  *card.mutable_rotation() = RotationToProto(KeyRotationOf(config));
  if (const std::optional<ChannelMeans> biases = ProjectionBiasesOf(model)) {
    *card.mutable_biases() = BiasesToProto(*biases);
  }
  card.set_device(model.options().device.str());
  card.set_dtype(model.options().dtype == at::kBFloat16 ? "bf16" : "fp32");
  return card;
}

absl::StatusOr<at::Device> ParseDevice(const std::string& text) {
  if (text == "cpu") return at::Device(at::kCPU);
  int index = 0;
  if (text.rfind("cuda", 0) == 0) {
    const std::string rest = text.substr(4);
    const bool plain = rest.empty();
    const char* begin = rest.data() + 1;
    const char* end = rest.data() + rest.size();
    if (plain || (rest[0] == ':' && begin != end && std::from_chars(begin, end, index).ptr == end &&
                  index >= 0)) {
      const auto count = at::hasCUDA() ? at::detail::getCUDAHooks().deviceCount() : 0;
      if (index < count) return at::Device(at::kCUDA, static_cast<at::DeviceIndex>(index));
      return absl::InvalidArgumentError(absl::StrCat("device '", text,
                                                     "' is not there: this machine has ",
                                                     static_cast<int>(count), " CUDA devices"));
    }
  }
  return absl::InvalidArgumentError(
      absl::StrCat("device '", text, "' is unknown: expected cpu, cuda or cuda:N"));
}

absl::StatusOr<at::ScalarType> ParseModelDType(const std::string& text) {
  if (text == "fp32") return at::kFloat;
  if (text == "bf16") return at::kBFloat16;
  return absl::InvalidArgumentError(
      absl::StrCat("dtype '", text, "' is unknown: expected fp32 or bf16"));
}

}  // namespace qc2c
