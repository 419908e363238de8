#include "experiments/question_request.h"

#include "common/wire/frame_codec.h"

namespace qc2c {
namespace {

bool IsSharersAnswer(const Point& point) {
  return point.mode == v1::MODE_SHARER || point.mode == v1::MODE_TEXT_ANSWER;
}

}  // namespace

AnswerFormat AnswerFormatOf(const Dataset& dataset, const Point& point) {
  if (!IsSharersAnswer(point)) {
    return {dataset.method, dataset.max_new_tokens, dataset.format.extract};
  }
  // It has words and no log-probabilities of ours.
  if (const auto& own = dataset.format.sharer_answer) {
    return {v1::ANSWER_METHOD_GENERATE, own->max_new_tokens, own->extract};
  }
  return {v1::ANSWER_METHOD_GENERATE, dataset.max_new_tokens, dataset.format.extract};
}

v1::AnswerRequest MakeRequest(const PromptFormat& format, const Point& point,
                              const Question& question, const Question& other) {
  v1::AnswerRequest request;
  request.set_question_id(question.id);
  request.set_mode(point.mode);
  request.set_control(point.control);
  request.mutable_sharers()->Assign(point.sharers.begin(), point.sharers.end());
  request.set_combine(point.combine);
  *request.mutable_prompt() = format.PromptFor(question);
  if (IsSharersAnswer(point) || point.context_reader == Point::ContextReader::kReceiver) {
    *request.mutable_prompt() = format.PromptWithContext(question);
  }
  if (SharesCache(point.mode)) {
    *request.mutable_codec() = CodecToProto(*point.codec);
    request.set_sharer_context(format.ContextFor(question));
  }
  if (point.mode == v1::MODE_TEXT) {
    *request.mutable_prompt() = format.RelayReceiverPrompt(question);
    *request.mutable_sharer_prompt() = format.RelaySharerPrompt(question);
    request.set_sharer_max_new_tokens(format.text_relay->sharer_max_new_tokens);
  }
  if (point.control == v1::CONTROL_WRONG_QUESTION) {
    *request.mutable_control_prompt() = format.PromptFor(other);
    request.set_control_context(format.ContextFor(other));
  }
  return request;
}

v1::AnswerRequest RequestFor(const Dataset& dataset, const Point& point, size_t index) {
  const size_t count = dataset.questions.size();
  const Question& question = dataset.questions[index];
  const Question& other = dataset.questions[(index + count / 2) % count];
  v1::AnswerRequest request = MakeRequest(dataset.format, point, question, other);
  const AnswerFormat answer = AnswerFormatOf(dataset, point);
  request.set_method(answer.method);
  if (answer.method == v1::ANSWER_METHOD_GENERATE) {
    request.set_max_new_tokens(answer.max_new_tokens);
  } else {
    for (const std::string& option : dataset.format.OptionsFor(question)) {
      request.add_options(option);
    }
  }
  return request;
}

}  // namespace qc2c
