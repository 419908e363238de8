#include "receiver/answer_request.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <string>

#include "common/wire/frame_codec.h"

namespace qc2c {
namespace {

using testing::AllOf;
using testing::HasSubstr;

v1::AnswerRequest GoodRequest(v1::Mode mode) {
  v1::AnswerRequest request;
  request.set_mode(mode);
  request.mutable_prompt()->add_messages()->set_content("Who? {hint}");
  request.set_method(v1::ANSWER_METHOD_GENERATE);
  request.set_max_new_tokens(1);
  if (mode == v1::MODE_FUSED || mode == v1::MODE_PREFIX) {
    *request.mutable_codec() = CodecToProto(CodecSpec::Parse("int8").value());
    request.set_sharer_context("Fact: here.\n");
  }
  if (mode == v1::MODE_TEXT) {
    request.mutable_sharer_prompt()->add_messages()->set_content("Who?");
    request.set_sharer_max_new_tokens(4);
  }
  return request;
}

constexpr v1::Mode kModes[] = {v1::MODE_RECEIVER, v1::MODE_SHARER,      v1::MODE_FUSED,
                               v1::MODE_TEXT,     v1::MODE_TEXT_ANSWER, v1::MODE_PREFIX};

TEST(CheckAnswerRequestTest, AGoodRequestOfEachModePasses) {
  for (const v1::Mode mode : kModes) {
    EXPECT_TRUE(CheckAnswerRequest(GoodRequest(mode)).ok()) << v1::Mode_Name(mode);
  }
}

void ExpectRefused(v1::Mode mode, const std::function<void(v1::AnswerRequest&)>& spoil,
                   const std::string& found, const std::string& expected) {
  v1::AnswerRequest request = GoodRequest(mode);
  spoil(request);
  const absl::Status status = CheckAnswerRequest(request);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << found;
  EXPECT_THAT(std::string(status.message()), AllOf(HasSubstr(found), HasSubstr(expected)));
}

using Request = v1::AnswerRequest;

TEST(CheckAnswerRequestTest, AnEmptyPromptIsRefusedInEveryMode) {
  for (const v1::Mode mode : kModes) {
    ExpectRefused(
        mode, [](Request& r) { r.clear_prompt(); }, "prompt.messages is empty", "at least one");
  }
}

TEST(CheckAnswerRequestTest, ModeAndMethodMustBeKnown) {
  ExpectRefused(v1::MODE_RECEIVER, [](Request& r) { r.clear_mode(); }, "mode is 0", "FUSED");
  ExpectRefused(
      v1::MODE_RECEIVER, [](Request& r) { r.set_mode(static_cast<v1::Mode>(42)); }, "mode is 42",
      "FUSED");
  ExpectRefused(v1::MODE_RECEIVER, [](Request& r) { r.clear_method(); }, "method is 0", "GENERATE");
}

TEST(CheckAnswerRequestTest, TokenCountsHaveARange) {
  ExpectRefused(
      v1::MODE_RECEIVER, [](Request& r) { r.set_max_new_tokens(0); }, "max_new_tokens is 0",
      "1 to 4096");
  ExpectRefused(
      v1::MODE_RECEIVER, [](Request& r) { r.set_max_new_tokens(4097); }, "max_new_tokens is 4097",
      "1 to 4096");
  ExpectRefused(
      v1::MODE_TEXT, [](Request& r) { r.set_sharer_max_new_tokens(0); },
      "sharer_max_new_tokens is 0", "1 to 4096");
}

TEST(CheckAnswerRequestTest, ScoredOptionsNeedTwoOfThemAndTheReceiversLogits) {
  for (const auto method : {v1::ANSWER_METHOD_LOGITS, v1::ANSWER_METHOD_LOGLIKELIHOOD}) {
    ExpectRefused(
        v1::MODE_FUSED,
        [&](Request& r) {
          r.set_method(method);
          r.add_options(" A");
        },
        "options has 1 entries", "2 to 256");
    ExpectRefused(
        v1::MODE_FUSED,
        [&](Request& r) {
          r.set_method(method);
          for (int i = 0; i < 257; ++i) r.add_options(" A");
        },
        "options has 257 entries", "2 to 256");
    for (const v1::Mode mode : {v1::MODE_SHARER, v1::MODE_TEXT_ANSWER}) {
      ExpectRefused(
          mode, [&](Request& r) { r.set_method(method); }, v1::AnswerMethod_Name(method),
          "GENERATE");
    }
  }
}

TEST(CheckAnswerRequestTest, AQuestionsIdIsShort) {
  ExpectRefused(
      v1::MODE_RECEIVER, [](Request& r) { r.set_question_id(std::string(257, 'q')); },
      "question_id has 257 bytes", "at most 256");
}

TEST(CheckAnswerRequestTest, TextNeedsAPlaceForTheHintAndAQuestionForTheSharer) {
  ExpectRefused(
      v1::MODE_TEXT, [](Request& r) { r.clear_sharer_prompt(); }, "sharer_prompt is absent",
      "MODE_TEXT");
  ExpectRefused(
      v1::MODE_TEXT,
      [](Request& r) { r.mutable_prompt()->mutable_messages(0)->set_content("Who?"); },
      "prompt.messages", "{hint}");
}

TEST(CheckAnswerRequestTest, PlainTextIsAPromptToo) {
  for (const v1::Mode mode : kModes) {
    v1::AnswerRequest request = GoodRequest(mode);
    request.clear_prompt();
    request.mutable_prompt()->set_text("Who? {hint}");
    EXPECT_TRUE(CheckAnswerRequest(request).ok()) << v1::Mode_Name(mode);
  }
}

TEST(CheckAnswerRequestTest, AContextIsForModesThatShareACacheAndPrefixNeedsOne) {
  for (const v1::Mode mode : {v1::MODE_RECEIVER, v1::MODE_TEXT, v1::MODE_SHARER}) {
    ExpectRefused(
        mode, [](Request& r) { r.set_sharer_context("Fact"); }, "sharer_context is set",
        "MODE_PREFIX");
  }
  ExpectRefused(
      v1::MODE_PREFIX, [](Request& r) { r.clear_sharer_context(); }, "sharer_context is empty",
      "MODE_PREFIX");
  ExpectRefused(
      v1::MODE_PREFIX, [](Request& r) { r.set_control(v1::CONTROL_WRONG_QUESTION); },
      "control_context is empty", "CONTROL_WRONG_QUESTION");
  ExpectRefused(v1::MODE_PREFIX, [](Request& r) { r.clear_codec(); }, "scheme", "expected");
  ExpectRefused(
      v1::MODE_PREFIX,
      [](Request& r) {
        *r.mutable_codec() = CodecToProto(
            CodecSpec::Parse("int8,select=key_norm,indices=per_layer,keep_tokens=2").value());
      },
      "indices is 'per_layer'", "expects one");
}

TEST(CheckAnswerRequestTest, FusedNeedsACodecAndTheWrongQuestionItsPrompt) {
  ExpectRefused(v1::MODE_FUSED, [](Request& r) { r.clear_codec(); }, "scheme", "expected");
  ExpectRefused(
      v1::MODE_FUSED,
      [](Request& r) {
        r.mutable_codec()->set_selection(v1::SELECTION_BACK);
        r.mutable_codec()->set_keep_ratio(1.5);
      },
      "keep_ratio is '1.5'", "(0, 1]");
  ExpectRefused(
      v1::MODE_FUSED, [](Request& r) { r.set_control(v1::CONTROL_WRONG_QUESTION); },
      "control_prompt is absent", "CONTROL_WRONG_QUESTION");
}

}  // namespace
}  // namespace qc2c
