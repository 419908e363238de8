#include "common/serving/text_generator.h"

#include <ATen/core/grad_mode.h>

#include <utility>

#include "common/base/status_macros.h"
#include "common/model/decoding.h"
#include "common/model/torch_status.h"

namespace qc2c {

TextGenerator::TextGenerator(const LanguageModel& language_model, const BatchLimits& limits)
    : language_model_(language_model), queue_("generate", limits), worker_([this] { Work(); }) {}

TextGenerator::~TextGenerator() {
  StopAdmitting();
  worker_.join();
}

absl::Status TextGenerator::Submit(GenerateJob job) { return queue_.Push(std::move(job)); }

void TextGenerator::Work() {
  while (true) {
    std::vector<GenerateJob> batch = queue_.PopBatch();
    if (batch.empty()) return;
    DropCancelled(batch);
    if (batch.empty()) continue;
    auto texts = CatchTorch([&] { return Generate(batch); });
    for (size_t i = 0; i < batch.size(); ++i) {
      if (batch[i].cancelled && batch[i].cancelled()) {  // its text was cut short
        batch[i].finish(absl::CancelledError("the caller went away"));
      } else if (texts.ok()) {
        batch[i].finish(std::move((*texts)[i]));
      } else {
        batch[i].finish(texts.status());
      }
    }
  }
}

absl::StatusOr<std::vector<absl::StatusOr<GeneratedText>>> TextGenerator::Generate(
    const std::vector<GenerateJob>& batch) const {
  const at::NoGradGuard no_grad;
  const auto start = Clock::now();
  std::vector<std::vector<int32_t>> prompts;
  GreedyOptions options{.eos_ids = language_model_.model.config().eos_ids};
  for (const GenerateJob& job : batch) {
    prompts.push_back(job.ids);
    options.max_new_tokens.push_back(job.max_new_tokens);
  }
  options.on_token = [&](int64_t row, int32_t) {
    const GenerateJob& job = batch[row];
    return job.cancelled && job.cancelled() ? GreedyOptions::Step::kStop
                                            : GreedyOptions::Step::kContinue;
  };
  const TokenBatch tokens =
      TokenBatch::FromSequences(prompts, language_model_.model.options().device);
  ASSIGN_OR_RETURN(const std::vector<Generation> generations,
                   DecodeGreedily(language_model_.model, tokens, nullptr, options));
  const uint64_t generate_us = MicrosecondsSince(start);
  std::vector<absl::StatusOr<GeneratedText>> texts;
  for (size_t i = 0; i < batch.size(); ++i) {
    if (generations[i].end == Generation::End::kNotFinite) {
      texts.emplace_back(absl::InternalError("the logits are not finite: expected finite numbers"));
      continue;
    }
    ASSIGN_OR_RETURN(std::string text, language_model_.tokenizer.Decode(generations[i].ids));
    texts.emplace_back(GeneratedText{std::move(text), static_cast<int64_t>(batch[i].ids.size()),
                                     static_cast<int64_t>(generations[i].ids.size()),
                                     MicrosecondsBetween(batch[i].arrived, start), generate_us});
  }
  return texts;
}

}  // namespace qc2c
