// The embedded receiver as its own sharer.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "receiver/direct_answer.h"
#include "receiver/served_receiver.h"

namespace qc2c {
namespace {

using testing::HasSubstr;

constexpr char kContext[] = "Iris Trizer lives in Boston.\n";

class PrefixServiceTest : public ReceiverTest {
 protected:
  PrefixServiceTest() : ReceiverTest(std::chrono::seconds(60), nullptr, EmbeddedReceiver()) {}

  static v1::AnswerRequest PrefixRequest(const std::string& codec = "fp32") {
    v1::AnswerRequest request =
        WithOptions(MakeQuestion(v1::MODE_PREFIX, codec), v1::ANSWER_METHOD_LOGLIKELIHOOD);
    request.set_sharer_context(kContext);
    return request;
  }
  // The receiver alone, with `context` written in front of the prompt.
  static v1::AnswerRequest AsText(const v1::AnswerRequest& request, const std::string& context) {
    v1::AnswerRequest text = request;
    text.set_mode(v1::MODE_RECEIVER);
    text.clear_sharer_context();
    text.mutable_prompt()->Clear();
    text.mutable_prompt()->set_text(context + EmbeddedReceiver().Render(request.prompt()).value());
    return text;
  }
  static void ExpectSameScores(const v1::AnswerReply& reply, const v1::AnswerReply& expected) {
    ASSERT_EQ(reply.option_scores_size(), expected.option_scores_size());
    for (int i = 0; i < reply.option_scores_size(); ++i) {
      EXPECT_NEAR(reply.option_scores(i).log_probability(),
                  expected.option_scores(i).log_probability(), kFp32Tolerance)
          << i;
    }
    EXPECT_EQ(reply.option(), expected.option());
  }
  static double Distance(const v1::AnswerReply& a, const v1::AnswerReply& b) {
    return std::abs(a.option_scores(2).log_probability() - b.option_scores(2).log_probability());
  }
};

TEST_F(PrefixServiceTest, InFp32ThePrefixAnswersAsTheContextWrittenInThePromptDoes) {
  v1::AnswerRequest request = PrefixRequest();
  const v1::AnswerReply reply = Answer(request);
  ExpectSameScores(reply, Answer(AsText(request, kContext)));
  EXPECT_GT(Distance(reply, Answer(AsText(request, ""))), 10 * kFp32Tolerance);
  const Ids context = EmbeddedReceiver().tokenizer.Encode(kContext).value();
  EXPECT_EQ(reply.num_kept_tokens(), context.size());
  EXPECT_EQ(reply.num_input_tokens(), EmbeddedReceiver().Tokenize(request.prompt(), 0)->size());
  EXPECT_EQ(sharer->shares().at(0).key_layers_size(), 4);
  EXPECT_EQ(sharer->shares().at(0).value_layers_size(), 4);
  EXPECT_EQ(sharer->shares().at(0).ids_size(), context.size());

  request.set_method(v1::ANSWER_METHOD_GENERATE);
  request.set_max_new_tokens(8);
  EXPECT_EQ(Answer(request).text(), Answer(AsText(request, kContext)).text());
}

TEST_F(PrefixServiceTest, TokensOfAPrunedPrefixKeepTheirPositions) {
  const v1::AnswerRequest request = PrefixRequest("fp32,select=back,keep_tokens=2");
  const v1::AnswerReply reply = Answer(request);
  EXPECT_EQ(reply.num_kept_tokens(), 2u);
  const Model& model = EmbeddedReceiver().model;
  const Ids context = EmbeddedReceiver().tokenizer.Encode(kContext).value();
  KvCache past =
      model.Forward(TokenBatch::FromSequences({context}, at::kCPU), nullptr).value().cache;
  past.valid.narrow(1, 0, static_cast<int64_t>(context.size()) - 2).fill_(false);
  const Ids prompt = EmbeddedReceiver().Tokenize(request.prompt(), 0).value();
  const KvCache cache = PrefillAllButLast(model, prompt, &past);
  for (int i = 0; i < request.options_size(); ++i) {
    const Ids option = EmbeddedReceiver().tokenizer.Encode(request.options(i)).value();
    EXPECT_NEAR(reply.option_scores(i).log_probability(), DirectScore(cache, prompt, option),
                kFp32Tolerance);
  }
}

TEST_F(PrefixServiceTest, TheControlsAreAnotherContextAndZeros) {
  v1::AnswerRequest request = PrefixRequest();
  const v1::AnswerReply right = Answer(request);
  request.set_control(v1::CONTROL_WRONG_QUESTION);
  request.set_control_context("Maria Jorbury works as a miner.\n");
  ExpectSameScores(Answer(request), Answer(AsText(request, request.control_context())));

  const size_t asked = sharer->shares().size();
  request.set_control(v1::CONTROL_ZERO_CACHE);
  const v1::AnswerReply zeros = Answer(request);
  EXPECT_EQ(sharer->shares().size(), asked);
  EXPECT_EQ(zeros.bytes().tx(), 0u);
  EXPECT_GT(Distance(zeros, right), 10 * kFp32Tolerance);
}

TEST_F(PrefixServiceTest, WithoutTheSharerTheReceiverAnswersTheBarePromptIfAllowed) {
  v1::AnswerRequest request = PrefixRequest();
  sharer->OnShare([](ShareScript script) {
    script.status = absl::UnavailableError("away");
    return script;
  });
  EXPECT_EQ(Ask(request).status.code(), absl::StatusCode::kUnavailable);
  request.set_fallback(v1::FALLBACK_DEGRADED);
  const v1::AnswerReply reply = Answer(request);
  EXPECT_THAT(reply.degraded(), HasSubstr("away"));
  ExpectSameScores(reply, Answer(AsText(request, "")));
}

TEST_F(PrefixServiceTest, WithoutAFuserFusedIsRefusedByName) {
  const Answered refused = Ask(MakeQuestion(v1::MODE_FUSED));
  EXPECT_EQ(refused.status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(refused.status.message()), HasSubstr("--fuser"));
}

}  // namespace
}  // namespace qc2c
