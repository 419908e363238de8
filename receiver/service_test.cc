#include "receiver/service.h"

#include <gmock/gmock.h>
#include <grpcpp/client_context.h>
#include <gtest/gtest.h>

#include "common/model/decoding.h"
#include "receiver/answer_request.h"
#include "receiver/served_receiver.h"

namespace qc2c {
namespace {

using testing::ElementsAre;
using testing::ElementsAreArray;
using testing::HasSubstr;
using Ids = std::vector<int32_t>;

// fp32 sums over the same numbers in another order: logits of size 20, some hundred terms.
constexpr double kFp32Tolerance = 1e-4;

class ReceiverServiceTest : public ReceiverTest {};

Ids PromptIds(const v1::AnswerRequest& request) {
  return EmbeddedReceiver().Tokenize(request.prompt(), 0).value();
}

KvCache PrefillAllButLast(const Model& model, const Ids& ids) {
  const TokenBatch tokens = TokenBatch::FromSequences({{ids.begin(), ids.end() - 1}}, at::kCPU);
  return model.Forward(tokens, nullptr).value().cache;
}

// The receiver's cache fused with the sharer's at every slot, without codec, wire or batch.
KvCache FuseDirectly(const Fuser& fuser, const Ids& ids, double scale = 1.0) {
  const KvCache sharer = PrefillAllButLast(EmbeddedSharer().model, ids);
  SharerCache cache;
  for (const at::Tensor& keys : sharer.keys) cache.keys.push_back(keys * scale);
  for (const at::Tensor& values : sharer.values) cache.values.push_back(values * scale);
  cache.selected = sharer.valid;
  return fuser.Fuse(cache, PrefillAllButLast(EmbeddedReceiver().model, ids)).value();
}

// The log-probability of each option token by token: one pass over the last prompt token and the
// option, on top of `cache`.
double DirectScore(const KvCache& cache, const Ids& prompt, const Ids& option) {
  Ids ids = {prompt.back()};
  ids.insert(ids.end(), option.begin(), option.end());
  const Model& model = EmbeddedReceiver().model;
  const TokenBatch tokens = TokenBatch::FromSequences({ids}, at::kCPU);
  const at::Tensor hidden = model.Forward(tokens, &cache).value().hidden;
  const at::Tensor log_p = model.Logits(hidden)[0].to(at::kDouble).log_softmax(-1);
  double sum = 0;
  for (size_t i = 0; i < option.size(); ++i) sum += log_p[i][option[i]].item<double>();
  return sum;
}

v1::AnswerRequest WithOptions(v1::AnswerRequest request, v1::AnswerMethod method) {
  request.set_method(method);
  request.clear_max_new_tokens();
  for (const char* option : {" A", " Boston Rome", " C", " Dancer in Tokyo"}) {
    request.add_options(option);
  }
  return request;
}

// Checks every score against DirectScore, and the choice against the largest mean.
void ExpectScores(const v1::AnswerReply& reply, const v1::AnswerRequest& request,
                  const KvCache& cache) {
  const Ids prompt = PromptIds(request);
  ASSERT_EQ(reply.option_scores_size(), request.options_size());
  std::vector<double> means;
  for (int i = 0; i < request.options_size(); ++i) {
    Ids option = EmbeddedReceiver().tokenizer.Encode(request.options(i)).value();
    if (request.method() == v1::ANSWER_METHOD_LOGITS) option.resize(1);
    EXPECT_EQ(reply.option_scores(i).num_tokens(), option.size());
    const double expected = DirectScore(cache, prompt, option);
    EXPECT_NEAR(reply.option_scores(i).log_probability(), expected, kFp32Tolerance) << i;
    means.push_back(expected / static_cast<double>(option.size()));
  }
  const auto best = std::max_element(means.begin(), means.end()) - means.begin();
  EXPECT_EQ(reply.option(), best);
  EXPECT_EQ(reply.text(), request.options(static_cast<int>(best)));
}

TEST_F(ReceiverServiceTest, DescribesThePair) {
  grpc::ClientContext context;
  v1::ReceiverCard card;
  ASSERT_TRUE(stub->Describe(&context, {}, &card).ok());
  EXPECT_EQ(card.receiver().model(), "receiver-qwen3");
  EXPECT_EQ(card.sharer().model(), "sharer-qwen2");
  EXPECT_EQ(card.fuser_fingerprint(), fuser->fingerprint());
  EXPECT_THAT(card.layer_map(), ElementsAre(1u, 2u, 3u, 4u));
}

TEST_F(ReceiverServiceTest, OptionScoresAreTheModelsOwn) {
  for (const auto method : {v1::ANSWER_METHOD_LOGITS, v1::ANSWER_METHOD_LOGLIKELIHOOD}) {
    const v1::AnswerRequest request = WithOptions(MakeQuestion(v1::MODE_RECEIVER), method);
    ExpectScores(Answer(request), request,
                 PrefillAllButLast(EmbeddedReceiver().model, PromptIds(request)));
  }
}

TEST_F(ReceiverServiceTest, AFusedAnswerIsWhatFusingTheTwoCachesDirectlyGives) {
  for (const auto method : {v1::ANSWER_METHOD_LOGITS, v1::ANSWER_METHOD_LOGLIKELIHOOD}) {
    const v1::AnswerRequest request = WithOptions(MakeQuestion(v1::MODE_FUSED), method);
    const v1::AnswerReply reply = Answer(request);
    ExpectScores(reply, request, FuseDirectly(*fuser, PromptIds(request)));
    EXPECT_EQ(reply.num_kept_tokens(), PromptIds(request).size() - 1);
  }
  EXPECT_EQ(Answer(MakeQuestion(v1::MODE_FUSED)).text(), " C");
}

TEST_F(ReceiverServiceTest, TheZeroCacheControlFusesZerosAndAsksNothing) {
  v1::AnswerRequest request =
      WithOptions(MakeQuestion(v1::MODE_FUSED), v1::ANSWER_METHOD_LOGLIKELIHOOD);
  request.set_control(v1::CONTROL_ZERO_CACHE);
  const v1::AnswerReply reply = Answer(request);
  ExpectScores(reply, request, FuseDirectly(*fuser, PromptIds(request), /*scale=*/0.0));
  EXPECT_EQ(reply.bytes().tx(), 0u);
  EXPECT_TRUE(sharer->shares().empty());
}

TEST_F(ReceiverServiceTest, TheWrongQuestionControlFusesTheCacheOfTheOtherPrompt) {
  v1::AnswerRequest request =
      WithOptions(MakeQuestion(v1::MODE_FUSED), v1::ANSWER_METHOD_LOGLIKELIHOOD);
  const v1::AnswerReply right = Answer(request);
  request.set_control(v1::CONTROL_WRONG_QUESTION);
  *request.mutable_control_prompt() = UserPrompt(
      "What is the job of Maria Jorbury?\nA. miner\nB. teacher\nC. lawyer\nD. waiter", "Answer:");
  const v1::AnswerReply wrong = Answer(request);
  Ids other = EmbeddedReceiver().Tokenize(request.control_prompt(), 0).value();
  other.pop_back();
  const auto asked = sharer->shares().back().ids();
  EXPECT_THAT(Ids(asked.begin(), asked.end()), ElementsAreArray(other));
  EXPECT_EQ(wrong.num_kept_tokens(), other.size());
  EXPECT_GT(
      std::abs(wrong.option_scores(2).log_probability() - right.option_scores(2).log_probability()),
      10 * kFp32Tolerance);
}

TEST_F(ReceiverServiceTest, TheSharerIsAskedForThePromptsTokensAndTheFusersLayers) {
  const v1::AnswerRequest request = MakeQuestion(v1::MODE_FUSED, "int8");
  Answer(request);
  const v1::ShareRequest share = sharer->shares().at(0);
  const Ids ids = PromptIds(request);
  EXPECT_THAT(Ids(share.ids().begin(), share.ids().end()),
              ElementsAreArray(ids.begin(), ids.end() - 1));
  EXPECT_THAT(share.layers(), ElementsAre(1u, 2u, 3u, 4u));
  EXPECT_EQ(share.model_fingerprint(), EmbeddedSharer().model.fingerprint());
}

TEST_F(ReceiverServiceTest, BytesAreCountedByPartAndBesideThemTheFormula) {
  const v1::AnswerReply reply = Answer(MakeQuestion(v1::MODE_FUSED, "int8"));
  const v1::ByteCounts& bytes = reply.bytes();
  const uint64_t values = reply.num_kept_tokens() * 4 * 2 * 2 * 32;  // layers, halves, H, D
  EXPECT_EQ(bytes.payload(), values);
  EXPECT_EQ(bytes.scales(), values / 32 * 2);  // fp16, one a head and token
  EXPECT_EQ(bytes.indices(), 0u);
  EXPECT_EQ(bytes.payload() + bytes.scales() + bytes.indices() + bytes.header(), bytes.tx());
  EXPECT_EQ(bytes.grpc(), bytes.tx() + 5 * bytes.messages());
  EXPECT_EQ(bytes.formula(), values);
  EXPECT_EQ(bytes.raw(), values * 4);
}

TEST_F(ReceiverServiceTest, ClosedGatesFailTheQuestionBecauseTheCacheDidNotChange) {
  for (const auto& [name, tensor] : fuser->parameters()) {
    if (name.find("gate_logit") != std::string::npos) tensor.detach().fill_(-1);
  }
  const Answered failed = Ask(MakeQuestion(v1::MODE_FUSED));
  EXPECT_EQ(failed.status.code(), absl::StatusCode::kInternal);
  EXPECT_THAT(std::string(failed.status.message()), HasSubstr("left the receiver's cache"));
}

TEST_F(ReceiverServiceTest, ACacheOfWhichNothingIsAlignedFailsTheQuestion) {
  v1::AnswerRequest request = MakeQuestion(v1::MODE_FUSED, "fp32,select=front,keep_tokens=1");
  request.set_control(v1::CONTROL_WRONG_QUESTION);
  // Longer than the question, so that its first token lies before the question's first.
  *request.mutable_control_prompt() =
      UserPrompt(absl::StrCat(kQuestion, " ", kQuestion, "\n", kChoices), "Answer:");
  const Answered failed = Ask(request);
  EXPECT_EQ(failed.status.code(), absl::StatusCode::kFailedPrecondition) << failed.status;
  EXPECT_THAT(std::string(failed.status.message()),
              HasSubstr("none of the 1 sent tokens is aligned"));
}

TEST_F(ReceiverServiceTest, TheSharersTextReplacesTheHint) {
  v1::AnswerRequest request = MakeQuestion(v1::MODE_TEXT);
  *request.mutable_prompt() =
      UserPrompt(absl::StrCat("Hint: {hint}\n", kQuestion, "\n", kChoices), "Answer:");
  *request.mutable_sharer_prompt() = UserPrompt(kQuestion);
  request.set_sharer_max_new_tokens(6);
  const v1::AnswerReply reply = Answer(request);
  EXPECT_EQ(reply.hint(), "Boston");
  EXPECT_EQ(sharer->generates().at(0).prompt().SerializeAsString(),
            UserPrompt(kQuestion).SerializeAsString());
  EXPECT_EQ(sharer->generates().at(0).max_new_tokens(), 6u);

  v1::AnswerRequest written_out = MakeQuestion(v1::MODE_RECEIVER);
  *written_out.mutable_prompt() =
      UserPrompt(absl::StrCat("Hint: Boston\n", kQuestion, "\n", kChoices), "Answer:");
  const v1::AnswerReply expected = Answer(written_out);
  EXPECT_EQ(reply.text(), expected.text());
  EXPECT_EQ(reply.num_input_tokens(), expected.num_input_tokens());
  v1::GenerateReply sent;
  sent.set_text("Boston");
  sent.set_num_prompt_tokens(7);
  sent.set_num_generated_tokens(2);
  EXPECT_EQ(reply.bytes().tx(), sent.ByteSizeLong());
  EXPECT_EQ(reply.bytes().payload(), 6u);
}

TEST_F(ReceiverServiceTest, SharerAndTextAnswerAreTheSharersOwnWords) {
  for (const v1::Mode mode : {v1::MODE_SHARER, v1::MODE_TEXT_ANSWER}) {
    v1::AnswerRequest request = MakeQuestion(mode);
    const v1::AnswerReply reply = Answer(request);
    EXPECT_EQ(reply.text(), "Boston");
    EXPECT_EQ(reply.num_input_tokens(), 7u);
    EXPECT_EQ(sharer->generates().back().prompt().SerializeAsString(),
              request.prompt().SerializeAsString());
    *request.mutable_sharer_prompt() = UserPrompt(kQuestion);
    Answer(request);
    EXPECT_EQ(sharer->generates().back().prompt().SerializeAsString(),
              UserPrompt(kQuestion).SerializeAsString());
  }
}

TEST_F(ReceiverServiceTest, ReportedScoresBecomeMetrics) {
  v1::ScoreReport report;
  v1::ScoreReport::Total* total = report.add_totals();
  total->set_dataset("openbookqa");
  total->set_mode("fused");
  total->set_codec("int8");
  total->set_questions(10);
  total->set_correct(7);
  for (int i = 0; i < 2; ++i) {
    grpc::ClientContext context;
    v1::ScoreReceipt receipt;
    ASSERT_TRUE(stub->ReportScores(&context, report, &receipt).ok());
  }
  EXPECT_EQ(metrics.questions_total.With("openbookqa", "fused", "int8").Value(), 20);
  EXPECT_EQ(metrics.correct_total.With("openbookqa", "fused", "int8").Value(), 14);
}

TEST_F(ReceiverServiceTest, APromptOverTheContextIsRefusedAndTheNextOneAnswered) {
  v1::AnswerRequest request = MakeQuestion(v1::MODE_RECEIVER);
  std::string content;
  for (int i = 0; i < 600; ++i) content += "Boston ";
  *request.mutable_prompt() = UserPrompt(content);
  const Answered refused = Ask(request);
  EXPECT_EQ(refused.status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(refused.status.message()), HasSubstr("512 positions"));
  Answer(MakeQuestion(v1::MODE_RECEIVER));
}

}  // namespace
}  // namespace qc2c
