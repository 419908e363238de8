#include "receiver/service.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/zeros_like.h>
#include <gmock/gmock.h>
#include <grpcpp/client_context.h>
#include <gtest/gtest.h>

#include <numeric>

#include "common/codec/scheme_registry.h"
#include "common/codec/selection.h"
#include "common/model/decoding.h"
#include "receiver/answer_request.h"
#include "receiver/cache_assembly.h"
#include "receiver/direct_answer.h"
#include "receiver/served_receiver.h"

namespace qc2c {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::ElementsAreArray;
using testing::HasSubstr;
class ReceiverServiceTest : public ReceiverTest {};

Ids PromptIds(const v1::AnswerRequest& request) {
  return EmbeddedReceiver().Tokenize(request.prompt(), 0).value();
}

// The receiver's cache fused with the sharer's at every slot, without codec, wire or batch. The
// sharer has read `context` first.
KvCache FuseDirectly(const Fuser& fuser, const Ids& ids, double scale = 1.0,
                     const Ids& context = {}, std::optional<Half> unsent = std::nullopt) {
  Ids sharer_ids = context;
  sharer_ids.insert(sharer_ids.end(), ids.begin(), ids.end());
  const KvCache sharer = PrefillAllButLast(EmbeddedSharer().model, sharer_ids);
  const auto shared = [&](const at::Tensor& tensor) {
    return tensor.narrow(2, static_cast<int64_t>(context.size()), ids.size() - 1) * scale;
  };
  SharerCache cache;
  for (const at::Tensor& keys : sharer.keys) cache.keys.push_back(shared(keys));
  for (const at::Tensor& values : sharer.values) cache.values.push_back(shared(values));
  cache.selected = at::ones({1, static_cast<int64_t>(ids.size()) - 1}, at::kBool);
  if (unsent) {
    (*unsent == Half::kKey ? cache.selected_keys : cache.selected_values)
        .assign(sharer.keys.size(), at::zeros_like(cache.selected));
  }
  return fuser.Fuse(cache, PrefillAllButLast(EmbeddedReceiver().model, ids)).value();
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

TEST_F(ReceiverServiceTest, AContextIsReadByTheSharerAlone) {
  v1::AnswerRequest request =
      WithOptions(MakeQuestion(v1::MODE_FUSED), v1::ANSWER_METHOD_LOGLIKELIHOOD);
  request.set_sharer_context("Iris Trizer lives in Rome.\n");
  const Ids context = EmbeddedReceiver().tokenizer.Encode(request.sharer_context()).value();
  const v1::AnswerReply reply = Answer(request);
  const Ids ids = PromptIds(request);
  ExpectScores(reply, request, FuseDirectly(*fuser, ids, 1.0, context));
  EXPECT_EQ(reply.num_kept_tokens(), ids.size() - 1);
  EXPECT_EQ(sharer->shares().back().ids_size(), context.size() + ids.size() - 1);
}

// Both sides must take a token's position from the same list: behind a context it is not its place
// among the sent tokens.
TEST_F(ReceiverServiceTest, KeysThatTravelWithoutTheirRotationAreTurnedToTheirPlaceAgain) {
  for (const std::string context : {"", "Iris Trizer lives in Rome.\n"}) {
    v1::AnswerRequest request = WithOptions(MakeQuestion(v1::MODE_FUSED, "fp32,rotation=remove"),
                                            v1::ANSWER_METHOD_LOGLIKELIHOOD);
    request.set_sharer_context(context);
    const Ids ids = EmbeddedReceiver().tokenizer.Encode(context).value();
    ExpectScores(Answer(request), request, FuseDirectly(*fuser, PromptIds(request), 1.0, ids));
  }
}

TEST_F(ReceiverServiceTest, PlainTextIsAnsweredWithoutATemplate) {
  v1::AnswerRequest chat = MakeQuestion(v1::MODE_FUSED);
  v1::AnswerRequest plain = chat;
  plain.clear_prompt();
  plain.mutable_prompt()->set_text(EmbeddedReceiver().Render(chat.prompt()).value());
  const v1::AnswerReply reply = Answer(plain);
  EXPECT_EQ(reply.text(), Answer(chat).text());
  EXPECT_EQ(sharer->shares().at(0).SerializeAsString(), sharer->shares().at(1).SerializeAsString());
}

TEST_F(ReceiverServiceTest, PrefixIsRefusedBecauseTheSharerIsAnotherModel) {
  v1::AnswerRequest request = MakeQuestion(v1::MODE_PREFIX);
  request.set_sharer_context("Iris Trizer lives in Rome.\n");
  const Answered refused = Ask(request);
  EXPECT_EQ(refused.status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(refused.status.message()), HasSubstr("model_fingerprint"));
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
  double largest = 0;
  for (int i = 0; i < request.options_size(); ++i) {
    largest = std::max(largest, std::abs(wrong.option_scores(i).log_probability() -
                                         right.option_scores(i).log_probability()));
  }
  EXPECT_GT(largest, 10 * kFp32Tolerance);
}

TEST_F(ReceiverServiceTest, TheSharerIsAskedForThePromptsTokensAndTheFusersLayers) {
  const v1::AnswerRequest request = MakeQuestion(v1::MODE_FUSED, "int8");
  Answer(request);
  const v1::ShareRequest share = sharer->shares().at(0);
  const Ids ids = PromptIds(request);
  EXPECT_THAT(Ids(share.ids().begin(), share.ids().end()),
              ElementsAreArray(ids.begin(), ids.end() - 1));
  EXPECT_THAT(share.key_layers(), ElementsAre(1u, 2u, 3u, 4u));
  EXPECT_THAT(share.value_layers(), ElementsAre(1u, 2u, 3u, 4u));
  EXPECT_EQ(share.model_fingerprint(), EmbeddedSharer().model.fingerprint());
}

TEST_F(ReceiverServiceTest, ACodecThatTheSharerDoesNotListIsRefusedBeforeItIsAsked) {
  sharer->card.mutable_schemes()->RemoveLast();  // read at the start: too late for this receiver
  Answer(MakeQuestion(v1::MODE_FUSED, "nf4"));
  std::vector<SharerOptions> options(1);
  options[0].link.address = sharer->address();
  options[0].fuser = EmbeddedFuser();
  absl::StatusOr<std::vector<ConnectedSharer>> sharers =
      ConnectSharers(EmbeddedReceiver(), options, {});
  ASSERT_TRUE(sharers.ok()) << sharers.status();
  ServedReceiver other(*std::move(sharers));
  const absl::Status status = other.Ask(MakeQuestion(v1::MODE_FUSED, "nf4")).status;
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(status.message()), HasSubstr("scheme is nf4, which the sharer's model"));
  EXPECT_EQ(sharer->shares().size(), 1u);
}

// Every scheme, axis, selection and treatment through both services and the socket between them.
TEST_F(ReceiverServiceTest, EveryCodecThatIsListedGivesAnAnswer) {
  std::vector<std::string> codecs;
  for (const RegisteredScheme& known : AllSchemes()) {
    codecs.emplace_back(known.coder->name());
    codecs.push_back(codecs.back() + ",entropy=zstd");
    if (!known.coder->has_scales()) continue;
    codecs.push_back(std::string(known.coder->name()) + ",entropy=rans");
    for (const Axis axis : kAllAxes) {
      codecs.push_back(codecs.back().substr(0, codecs.back().find(',')) +
                       ",axis=" + std::string(AxisName(axis)));
    }
  }
  for (const Selection selection : kAllSelections) {
    if (selection == Selection::kAll || NeedsReceiver(selection)) continue;
    codecs.push_back("int8,keep_ratio=0.5,select=" + std::string(SelectionName(selection)));
  }
  codecs.insert(codecs.end(), {"int4,keys=1-2:int8,values=3:bf16+4:none", "int8,budget_bytes=900",
                               "bf16,select=back,budget_bytes=2500",
                               "int8,select=value_norm,indices=per_layer,keep_ratio=0.4",
                               "int4,select=attention,indices=per_layer,keep_ratio=0.4",
                               "int4,axis=group,group=8,scale=two_level",
                               "bf16,values=2:int8:group16:two_level"});
  for (const std::string codec : {"int4,rotation=remove", "nf4,hadamard=values",
                                  "int3,axis=group_tokens,group=8,rotation=remove,hadamard=both"}) {
    codecs.push_back(codec);
  }
  for (const std::string& codec : codecs) {
    const v1::AnswerReply reply = Answer(MakeQuestion(v1::MODE_FUSED, codec));
    EXPECT_FALSE(reply.text().empty()) << codec;
    EXPECT_EQ(reply.bytes().tx(), reply.bytes().payload() + reply.bytes().scales() +
                                      reply.bytes().indices() + reply.bytes().header())
        << codec;
    const uint64_t budget = CodecSpec::Parse(codec)->budget_bytes;
    if (budget > 0) {
      EXPECT_LE(reply.bytes().tx(), budget) << codec;
    }
  }
}

TEST_F(ReceiverServiceTest, WhatACodecDoesNotSendKeepsTheReceiversOwnCache) {
  const v1::AnswerRequest request = WithOptions(
      MakeQuestion(v1::MODE_FUSED, "fp32,values=0-4:none"), v1::ANSWER_METHOD_LOGLIKELIHOOD);
  ExpectScores(Answer(request), request,
               FuseDirectly(*fuser, PromptIds(request), 1.0, {}, Half::kValue));
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

// Closes the gates of the named halves: "0.value" is the value half of receiver layer 0.
void CloseGates(const Fuser& fuser, const std::vector<std::string>& halves) {
  for (const std::string& half : halves) {
    const size_t dot = half.find('.');
    const std::string gate =
        absl::StrCat("projectors.", half.substr(0, dot), ".", half.substr(dot + 1), "_gate_logit");
    for (const auto& [name, tensor] : fuser.parameters()) {
      if (name == gate) tensor.detach().fill_(-1);
    }
  }
}

// Stands for whatever overflows: a cache that a sharer sends, or what a fuser makes of it.
class NotFiniteTest : public ReceiverTest {
 protected:
  NotFiniteTest()
      : ReceiverTest(std::chrono::seconds(60), [](const Fuser& fuser) {
          for (const auto& [name, tensor] : fuser.parameters()) {
            if (!name.ends_with("gate_logit")) tensor.detach().fill_(std::nan(""));
          }
        }) {}
};

TEST_F(NotFiniteTest, AnswersThatAreNoNumbersFailTheQuestionAndTheNextIsAnswered) {
  for (const auto method : {v1::ANSWER_METHOD_LOGITS, v1::ANSWER_METHOD_LOGLIKELIHOOD}) {
    const Answered failed = Ask(WithOptions(MakeQuestion(v1::MODE_FUSED), method));
    EXPECT_EQ(failed.status.code(), absl::StatusCode::kInternal);
    EXPECT_THAT(std::string(failed.status.message()),
                HasSubstr("the log-probability of options[0] is nan"));
    Answer(WithOptions(MakeQuestion(v1::MODE_RECEIVER), method));
  }
  const Answered failed = Ask(MakeQuestion(v1::MODE_FUSED));
  EXPECT_EQ(failed.status.code(), absl::StatusCode::kInternal);
  EXPECT_THAT(std::string(failed.status.message()), HasSubstr("the logits after 0 tokens"));
  Answer(MakeQuestion(v1::MODE_RECEIVER));
}

class ClosedGateTest : public ReceiverTest {
 protected:
  ClosedGateTest()
      : ReceiverTest(std::chrono::seconds(60), [](const Fuser& fuser) {
          CloseGates(fuser, {"0.value", "2.key", "3.key", "3.value"});
        }) {}
};

// The fuser is the one that reads all eight tensors in FuseDirectly, gates and all.
TEST_F(ClosedGateTest, WhatNoOpenGateReadsIsNotAskedForAndTheAnswerIsThatOfTheWholeCache) {
  for (const char* codec : {"fp32", "int8,select=key_norm,keep_ratio=0.5"}) {
    const v1::AnswerRequest request =
        WithOptions(MakeQuestion(v1::MODE_FUSED, codec), v1::ANSWER_METHOD_LOGLIKELIHOOD);
    const v1::AnswerReply reply = Answer(request);
    const v1::ShareRequest share = sharer->shares().back();
    EXPECT_THAT(share.key_layers(), ElementsAre(1u, 2u));
    EXPECT_THAT(share.value_layers(), ElementsAre(2u, 3u));
    const uint64_t values = reply.num_kept_tokens() * 4 * 2 * 32;  // tensors, H, D
    EXPECT_EQ(reply.bytes().payload(), reply.bytes().formula());
    EXPECT_EQ(reply.bytes().formula(), values * (std::string(codec) == "fp32" ? 4 : 1));
    EXPECT_EQ(reply.bytes().raw(), (PromptIds(request).size() - 1) * 4 * 2 * 32 * 4);
  }
  const v1::AnswerRequest request =
      WithOptions(MakeQuestion(v1::MODE_FUSED), v1::ANSWER_METHOD_LOGLIKELIHOOD);
  ExpectScores(Answer(request), request, FuseDirectly(*fuser, PromptIds(request)));
}

// The same frames, decoded and fused as the receiver does, once with every tensor of the read
// layers and once with those behind an open gate alone.
TEST_F(ClosedGateTest, TheFusedCacheIsTheSameBitsAsWithEveryTensor) {
  const Ids ids = PromptIds(MakeQuestion(v1::MODE_FUSED));
  const KvCache cache = PrefillAllButLast(EmbeddedSharer().model, ids);
  const KvLayout layout = EmbeddedSharer().model.config().Layout();
  const int64_t num_tokens = static_cast<int64_t>(ids.size()) - 1;
  const KvCache own = PrefillAllButLast(EmbeddedReceiver().model, ids);
  for (const char* codec : {"int4", "int8,select=value_norm,keep_ratio=0.3"}) {
    const auto fused = [&](const KvLayerSet& layers) {
      const KvFrame frame = EncodeCache(ViewOfRow(cache, 0, num_tokens, {0, 1, 2, 3, 4}, layout),
                                        layers, CodecSpec::Parse(codec).value())
                                .value();
      SharerCacheBuilder builder(layout, layers, 1, num_tokens, {});
      std::vector<int32_t> slots(num_tokens);
      std::iota(slots.begin(), slots.end(), 0);
      EXPECT_TRUE(builder.SetRow(0, frame, slots).ok());
      return fuser->Fuse(builder.Build(), own).value();
    };
    const KvCache part = fused(LayersRead(*fuser));
    const KvCache whole = fused(KvLayerSet::Both({1, 2, 3, 4}));
    EXPECT_TRUE(RowChanged(own, part, 0));
    EXPECT_FALSE(RowChanged(whole, part, 0)) << codec;
  }
}

class AllGatesClosedTest : public ReceiverTest {
 protected:
  AllGatesClosedTest()
      : ReceiverTest(std::chrono::seconds(60), [](const Fuser& fuser) {
          CloseGates(fuser, {"0.key", "0.value", "1.key", "1.value", "2.key", "2.value", "3.key",
                             "3.value"});
        }) {}
};

TEST_F(AllGatesClosedTest, AFusedQuestionIsRefusedBeforeTheSharerIsAsked) {
  const Answered failed = Ask(MakeQuestion(v1::MODE_FUSED));
  EXPECT_EQ(failed.status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(failed.status.message()), HasSubstr("every gate of the fuser is closed"));
  EXPECT_TRUE(sharer->shares().empty());
  EXPECT_EQ(metrics().rejected_total.With("FAILED_PRECONDITION").Value(), 1);
  EXPECT_TRUE(Ask(MakeQuestion(v1::MODE_RECEIVER)).status.ok());
}

// Gates that close while the receiver runs: it asked for what it does not read any more.
TEST_F(ReceiverServiceTest, AFusionThatChangedNothingFailsTheQuestion) {
  CloseGates(*fuser,
             {"0.key", "0.value", "1.key", "1.value", "2.key", "2.value", "3.key", "3.value"});
  const Answered failed = Ask(MakeQuestion(v1::MODE_FUSED));
  EXPECT_EQ(failed.status.code(), absl::StatusCode::kInternal);
  EXPECT_THAT(std::string(failed.status.message()), HasSubstr("left the receiver's cache"));
}

// The sharer's one token lies before the question's first: the control's prompt is longer.
v1::AnswerRequest NothingAligned() {
  v1::AnswerRequest request = MakeQuestion(v1::MODE_FUSED, "fp32,select=front,keep_tokens=1");
  request.set_control(v1::CONTROL_WRONG_QUESTION);
  *request.mutable_control_prompt() =
      UserPrompt(absl::StrCat(kQuestion, " ", kQuestion, "\n", kChoices), "Answer:");
  return request;
}

TEST_F(ReceiverServiceTest, ACacheOfWhichNothingIsAlignedFailsTheQuestion) {
  const Answered failed = Ask(NothingAligned());
  EXPECT_EQ(failed.status.code(), absl::StatusCode::kFailedPrecondition) << failed.status;
  EXPECT_THAT(std::string(failed.status.message()),
              HasSubstr("none of the 1 sent tokens is aligned"));
}

// As every cache that arrived whole and cannot be placed.
TEST_F(ReceiverServiceTest, ACacheOfWhichNothingIsAlignedIsDoneWithoutIfTheCallerAllowsThat) {
  v1::AnswerRequest request = NothingAligned();
  request.set_fallback(v1::FALLBACK_DEGRADED);
  const v1::AnswerReply degraded = Answer(request);
  EXPECT_THAT(degraded.degraded(), AllOf(HasSubstr("FAILED_PRECONDITION"),
                                         HasSubstr("none of the 1 sent tokens is aligned")));
  EXPECT_EQ(degraded.text(), Answer(MakeQuestion(v1::MODE_RECEIVER)).text());
  EXPECT_EQ(metrics().degraded_total.With("FAILED_PRECONDITION").Value(), 1);
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
  EXPECT_EQ(metrics().questions_total.With("openbookqa", "fused", "int8").Value(), 20);
  EXPECT_EQ(metrics().correct_total.With("openbookqa", "fused", "int8").Value(), 14);
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
