// The modes in which the sharer writes text: what it is asked and how its text is taken.
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_replace.h"
#include "common/wire/byte_counts.h"
#include "receiver/answer_batch.h"
#include "receiver/answer_request.h"
#include "receiver/received_bytes.h"

namespace qc2c {

void AnswerBatch::StartGenerate(AnswerState& question) {
  const v1::AnswerRequest& request = question.request();
  v1::GenerateRequest generate;
  *generate.mutable_prompt() =
      request.has_sharer_prompt() ? request.sharer_prompt() : request.prompt();
  generate.set_max_new_tokens(request.mode() == v1::MODE_TEXT ? request.sharer_max_new_tokens()
                                                              : request.max_new_tokens());
  generate.set_question_id(request.question_id());
  question.text = question.job.asked.front().sharer->link().Generate(generate);
}

void AnswerBatch::TakeTexts() {
  for (auto& question : questions_) {
    if (question->open() && question->text) TakeText(*question);
  }
}

void AnswerBatch::TakeText(AnswerState& question) {
  absl::StatusOr<SharedText> shared = question.text->Wait(question.job.cancelled);
  if (!shared.ok()) {
    if (GoesOnWithout(question, shared.status())) SetHint(question, "");
    return;
  }
  v1::AnswerReply& reply = question.reply;
  const std::string& text = shared->reply.text();
  const WireBytes bytes{.tx = shared->serialized_bytes,
                        .payload = text.size(),
                        .header = shared->serialized_bytes - text.size(),
                        .messages = 1};
  CountReceived(parts_.metrics, question.job.asked.front().sharer->link().address(), "text", bytes);
  *reply.mutable_bytes() = ByteCountsOf(bytes);
  reply.set_hint(text);
  reply.mutable_times()->set_sharer_prefill_us(shared->sharer_times.generate_us());
  reply.mutable_times()->set_transfer_us(shared->transfer_us);
  parts_.metrics.ObserveStage(Stage::kTransfer, shared->transfer_us);
  if (question.request().mode() != v1::MODE_TEXT) {
    reply.set_text(text);
    reply.set_num_input_tokens(shared->reply.num_prompt_tokens());
    reply.set_num_generated_tokens(shared->reply.num_generated_tokens());
    return Succeed(question);
  }
  SetHint(question, text);
}

void AnswerBatch::SetHint(AnswerState& question, const std::string& hint) {
  v1::Prompt& prompt = *question.job.request.mutable_prompt();
  for (v1::ChatMessage& message : *prompt.mutable_messages()) {
    message.set_content(absl::StrReplaceAll(message.content(), {{kHintPlaceholder, hint}}));
  }
  prompt.set_text(absl::StrReplaceAll(prompt.text(), {{kHintPlaceholder, hint}}));
  absl::StatusOr<std::vector<int32_t>> ids =
      parts_.language_model.Tokenize(question.request().prompt(), NumNewTokens(question.request()));
  if (!ids.ok()) return Fail(question, ids.status());
  question.job.ids = *std::move(ids);
}

}  // namespace qc2c
