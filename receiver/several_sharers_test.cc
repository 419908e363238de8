// One receiver with two sharers of two families, against their fusers and models used directly.
#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <future>

#include "absl/time/clock.h"
#include "common/base/bytes.h"
#include "common/base/files.h"
#include "common/base/hash.h"
#include "common/serving/channel_means_file.h"
#include "receiver/direct_answer.h"
#include "receiver/served_receiver.h"

namespace qc2c {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

const LanguageModel& LlamaSharer() {
  static const auto* model = new absl::StatusOr<LanguageModel>(
      LanguageModel::Load(QC2C_SOURCE_DIR "/data/embedded/sharer-llama", ModelOptions{}));
  return model->value();
}

enum Which : uint32_t { kQwen2, kLlama };

class SeveralSharersTest : public testing::Test {
 protected:
  SeveralSharersTest() : folder_(absl::StrCat(testing::TempDir(), "/several-", getpid())) {
    std::filesystem::create_directories(folder_);
    qwen2_ = std::make_unique<ScriptedSharer>(absl::StrCat("unix:", folder_.string(), "/q.sock"));
    llama_ = std::make_unique<ScriptedSharer>(absl::StrCat("unix:", folder_.string(), "/l.sock"),
                                              LlamaSharer());
    std::vector<SharerOptions> options(2);
    options[kQwen2].link.address = qwen2_->address();
    options[kQwen2].fuser = EmbeddedFuser();
    options[kLlama].link.address = llama_->address();
    options[kLlama].fuser = QC2C_SOURCE_DIR "/data/embedded/receiver-qwen3+sharer-llama";
    receiver_ = std::make_unique<ServedReceiver>(
        ConnectSharers(EmbeddedReceiver(), options, {}).value(), FusionOrder::kParallel);
  }
  ~SeveralSharersTest() override {
    receiver_.reset();
    llama_.reset();
    qwen2_.reset();
    std::filesystem::remove_all(folder_);
  }

  static v1::AnswerRequest Question(const std::vector<uint32_t>& sharers = {},
                                    v1::Combine combine = v1::COMBINE_UNSPECIFIED) {
    v1::AnswerRequest request =
        WithOptions(MakeQuestion(v1::MODE_FUSED), v1::ANSWER_METHOD_LOGLIKELIHOOD);
    request.mutable_sharers()->Assign(sharers.begin(), sharers.end());
    request.set_combine(combine);
    return request;
  }

  static Ids PromptIds() { return EmbeddedReceiver().Tokenize(Question().prompt(), 0).value(); }
  static KvCache Own() { return PrefillAllButLast(EmbeddedReceiver().model, PromptIds()); }

  // `base` fused with one sharer's cache of the prompt, without codec, wire or batch.
  KvCache Fused(Which which, const KvCache& base) const {
    const LanguageModel& model = which == kQwen2 ? EmbeddedSharer() : LlamaSharer();
    const KvCache read = PrefillAllButLast(model.model, PromptIds());
    const SharerCache cache{read.keys, read.values, read.valid};
    return receiver_->sharers()[which].fuser()->Fuse(cache, base).value();
  }

  static void ExpectScores(const v1::AnswerReply& reply, const KvCache& cache) {
    const v1::AnswerRequest request = Question();
    ASSERT_EQ(reply.option_scores_size(), request.options_size());
    for (int i = 0; i < request.options_size(); ++i) {
      const Ids option = EmbeddedReceiver().tokenizer.Encode(request.options(i)).value();
      EXPECT_NEAR(reply.option_scores(i).log_probability(), DirectScore(cache, PromptIds(), option),
                  kFp32Tolerance)
          << i;
    }
  }

  const at::NoGradGuard no_grad_;
  std::unique_ptr<ScriptedSharer> qwen2_;
  std::unique_ptr<ScriptedSharer> llama_;
  std::unique_ptr<ServedReceiver> receiver_;

 private:
  const std::filesystem::path folder_;
};

std::vector<at::Tensor> Sum(const std::vector<at::Tensor>& own, const std::vector<at::Tensor>& one,
                            const std::vector<at::Tensor>& other) {
  std::vector<at::Tensor> sum;
  for (size_t i = 0; i < own.size(); ++i) sum.push_back(one[i] + other[i] - own[i]);
  return sum;
}

TEST_F(SeveralSharersTest, DescribesEachAndTheFirstWhereOneWasDescribed) {
  grpc::ClientContext context;
  v1::ReceiverCard card;
  ASSERT_TRUE(receiver_->stub->Describe(&context, {}, &card).ok());
  ASSERT_EQ(card.sharers_size(), 2);
  EXPECT_EQ(card.sharers(0).card().model(), "sharer-qwen2");
  EXPECT_EQ(card.sharers(1).card().model(), "sharer-llama");
  EXPECT_EQ(card.sharers(0).address(), qwen2_->address());
  EXPECT_EQ(card.sharers(1).address(), llama_->address());
  for (const Which which : {kQwen2, kLlama}) {
    EXPECT_EQ(card.sharers(which).fuser_fingerprint(),
              receiver_->sharers()[which].fuser()->fingerprint());
  }
  EXPECT_NE(card.sharers(0).fuser_fingerprint(), card.sharers(1).fuser_fingerprint());
  EXPECT_EQ(card.sharer().model(), "sharer-qwen2");
  EXPECT_EQ(card.fuser_fingerprint(), card.sharers(0).fuser_fingerprint());
  EXPECT_EQ(card.combine(), v1::COMBINE_PARALLEL);
}

TEST_F(SeveralSharersTest, OneAfterAnotherIsTheSecondFuserOnWhatTheFirstLeft) {
  ExpectScores(receiver_->Answer(Question({}, v1::COMBINE_SEQUENTIAL)),
               Fused(kLlama, Fused(kQwen2, Own())));
}

TEST_F(SeveralSharersTest, SideBySideIsTheSumOfWhatBothAddAndTheReceiversOwnChoice) {
  KvCache sum = Own();
  const KvCache first = Fused(kQwen2, sum);
  const KvCache second = Fused(kLlama, sum);
  sum.keys = Sum(sum.keys, first.keys, second.keys);
  sum.values = Sum(sum.values, first.values, second.values);
  ExpectScores(receiver_->Answer(Question({}, v1::COMBINE_PARALLEL)), sum);
  ExpectScores(receiver_->Answer(Question()), sum);
}

TEST_F(SeveralSharersTest, ARequestMayNameWhichOfThemTakePart) {
  const v1::AnswerReply reply = receiver_->Answer(Question({kLlama}, v1::COMBINE_SEQUENTIAL));
  ExpectScores(reply, Fused(kLlama, Own()));
  EXPECT_TRUE(qwen2_->shares().empty());
  ASSERT_EQ(reply.from_sharers_size(), 1);
  EXPECT_EQ(reply.from_sharers(0).sharer(), kLlama);
}

// gRPC lets go of a call's context when it has its answer.
TEST_F(SeveralSharersTest, ACallThatHasItsAnswerIsNotAskedWhetherItWaits) {
  qwen2_->OnShare([](ShareScript truth) {
    truth.messages.clear();
    truth.status = absl::InternalError("broken");
    return truth;
  });
  llama_->OnShare([](ShareScript truth) {
    absl::SleepFor(absl::Milliseconds(200));
    return truth;
  });
  std::atomic<bool> has_answer = false;
  std::atomic<int> asked_late = 0;
  absl::Status status;
  {
    AnswerEngine engine({EmbeddedReceiver(), receiver_->sharers(), receiver_->metrics},
                        {.max_wait = std::chrono::microseconds(0)}, /*num_workers=*/1);
    AnswerJob job;
    job.request = Question();
    job.cancelled = [&] {
      if (has_answer) ++asked_late;
      return false;
    };
    job.finish = [&](const absl::StatusOr<v1::AnswerReply>& answer) {
      status = answer.status();
      has_answer = true;
    };
    ASSERT_TRUE(engine.Submit(std::move(job)).ok());
  }  // when the batch is through
  EXPECT_EQ(status.code(), absl::StatusCode::kInternal);
  EXPECT_THAT(std::string(status.message()), HasSubstr("broken"));
  EXPECT_EQ(asked_late, 0);
}

TEST_F(SeveralSharersTest, BytesAreCountedBySharerAndTheirSumIsTheAnswers) {
  // Compressed: the caches have one shape, and only their values make their sizes differ.
  const std::string codec = "int8,entropy=zstd";
  v1::AnswerRequest request = Question();
  *request.mutable_codec() = CodecToProto(CodecSpec::Parse(codec).value());
  const v1::AnswerReply reply = receiver_->Answer(request);
  ASSERT_EQ(reply.from_sharers_size(), 2);
  v1::ByteCounts sum;
  uint32_t num_kept = 0;
  for (const Which which : {kQwen2, kLlama}) {
    ScriptedSharer& sharer = which == kQwen2 ? *qwen2_ : *llama_;
    const v1::AnswerReply::FromSharer& from = reply.from_sharers(which);
    uint64_t written = 0;
    for (const std::string& message : sharer.TrueMessages(sharer.shares().at(0))) {
      written += message.size();
    }
    EXPECT_EQ(from.sharer(), which);
    EXPECT_EQ(from.bytes().tx(), written);
    EXPECT_EQ(from.num_kept_tokens(), PromptIds().size() - 1);
    EXPECT_EQ(receiver_->metrics.sharer_rx_bytes_total.With(sharer.address(), codec).Value(),
              static_cast<double>(written));
    sum.set_tx(sum.tx() + from.bytes().tx());
    sum.set_payload(sum.payload() + from.bytes().payload());
    sum.set_messages(sum.messages() + from.bytes().messages());
    num_kept += from.num_kept_tokens();
  }
  EXPECT_NE(reply.from_sharers(0).bytes().tx(), reply.from_sharers(1).bytes().tx());
  EXPECT_EQ(reply.bytes().tx(), sum.tx());
  EXPECT_EQ(reply.bytes().payload(), sum.payload());
  EXPECT_EQ(reply.bytes().messages(), sum.messages());
  EXPECT_EQ(reply.num_kept_tokens(), num_kept);
}

TEST_F(SeveralSharersTest, BothAreAskedBeforeEitherAnswers) {
  std::promise<void> qwen2_asked, llama_asked;
  const auto wait_for = [](std::promise<void>& mine, std::promise<void>& others) {
    return [&mine, other = others.get_future().share()](ShareScript truth) {
      mine.set_value();
      EXPECT_EQ(other.wait_for(std::chrono::seconds(30)), std::future_status::ready);
      return truth;
    };
  };
  qwen2_->OnShare(wait_for(qwen2_asked, llama_asked));
  llama_->OnShare(wait_for(llama_asked, qwen2_asked));
  receiver_->Answer(Question());
}

TEST_F(SeveralSharersTest, OneThatIsAwayFailsTheQuestionByName) {
  llama_->Stop();
  const Answered failed = receiver_->Ask(Question());
  EXPECT_EQ(failed.status.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(failed.status.message()),
              AllOf(HasSubstr(llama_->address()), Not(HasSubstr(qwen2_->address()))));
  receiver_->Answer(Question({kQwen2}));
  llama_->Start();
}

TEST_F(SeveralSharersTest, OneThatLiesFailsTheQuestionByName) {
  llama_->OnShare([](ShareScript truth) {
    truth.messages.pop_back();
    return truth;
  });
  const Answered failed = receiver_->Ask(Question());
  EXPECT_EQ(failed.status.code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(std::string(failed.status.message()), HasSubstr(llama_->address()));
  // What the other one sent has crossed and is counted.
  EXPECT_GT(receiver_->metrics.sharer_rx_bytes_total.With(qwen2_->address(), "fp32").Value(), 0);
}

TEST_F(SeveralSharersTest, WithoutOneTheOthersAnswerIfTheCallerAllowsThat) {
  v1::AnswerRequest request = Question({}, v1::COMBINE_SEQUENTIAL);
  request.set_fallback(v1::FALLBACK_DEGRADED);
  qwen2_->Stop();
  const v1::AnswerReply with_llama = receiver_->Answer(request);
  ExpectScores(with_llama, Fused(kLlama, Own()));
  EXPECT_THAT(with_llama.degraded(),
              AllOf(HasSubstr(qwen2_->address()), Not(HasSubstr(llama_->address()))));
  ASSERT_EQ(with_llama.from_sharers_size(), 1);
  EXPECT_EQ(with_llama.from_sharers(0).sharer(), kLlama);
  llama_->Stop();
  const v1::AnswerReply alone = receiver_->Answer(request);
  ExpectScores(alone, Own());
  EXPECT_THAT(alone.degraded(), AllOf(HasSubstr(qwen2_->address()), HasSubstr(llama_->address())));
}

TEST_F(SeveralSharersTest, AFileGoesToTheSharerThatItSaysItIsForAndNobodysIsRefused) {
  const auto save = [&](const std::string& name, const LanguageModel& model, uint64_t fingerprint) {
    const KvLayout layout = model.model.config().Layout();
    const std::vector<float> zeros(static_cast<size_t>(layout.num_layers) * layout.num_kv_heads *
                                   layout.head_dim);
    const std::string path = absl::StrCat(testing::TempDir(), "/several-", getpid(), "/", name);
    EXPECT_TRUE(SaveChannelMeans(path, fingerprint, {0, layout, zeros, zeros}).ok());
    return path;
  };
  const std::string of_llama = save("llama", LlamaSharer(), LlamaSharer().model.fingerprint());
  const std::string of_qwen2 =
      save("qwen2", EmbeddedSharer(), EmbeddedSharer().model.fingerprint());
  std::vector<SharerOptions> options(2);
  options[kQwen2].link.address = qwen2_->address();
  options[kLlama].link.address = llama_->address();
  const auto sharers =
      ConnectSharers(EmbeddedReceiver(), options, {.calibrations = {of_llama, of_qwen2}});
  ASSERT_TRUE(sharers.ok()) << sharers.status();
  const auto id_of = [&](Which which) {
    const std::vector<ChannelMeans>& held = (*sharers)[which].facts().calibrations;
    return held.size() == 1 ? held[0].id : 0;
  };
  EXPECT_EQ(id_of(kQwen2), Hash(AsBytes(ReadFile(of_qwen2).value())));
  EXPECT_EQ(id_of(kLlama), Hash(AsBytes(ReadFile(of_llama).value())));

  const std::string of_nobody = save("nobody", LlamaSharer(), 0x7e57);
  const absl::Status status =
      ConnectSharers(EmbeddedReceiver(), options, {.calibrations = {of_llama, of_nobody}}).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(status.message()), HasSubstr(of_nobody));
}

TEST_F(SeveralSharersTest, TextIsTheFirstSharersOrThatOfTheOneNamed) {
  qwen2_->hint = "Boston";
  llama_->hint = "Rome";
  v1::AnswerRequest request = MakeQuestion(v1::MODE_TEXT_ANSWER);
  EXPECT_EQ(receiver_->Answer(request).text(), "Boston");
  request.add_sharers(kLlama);
  EXPECT_EQ(receiver_->Answer(request).text(), "Rome");
}

TEST_F(SeveralSharersTest, SharersThatAreNotThereOrDoNotFitTheModeAreRefused) {
  const auto refusal = [&](const v1::AnswerRequest& request) {
    const absl::Status status = receiver_->Ask(request).status;
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    return std::string(status.message());
  };
  EXPECT_THAT(refusal(Question({2})), HasSubstr("sharers has 2: this receiver has 2"));
  EXPECT_THAT(refusal(Question({kLlama, kQwen2})),
              HasSubstr("sharers is 1, 0: expected ascending"));
  EXPECT_THAT(refusal(Question({kQwen2, kQwen2})), HasSubstr("expected ascending"));
  v1::AnswerRequest two = MakeQuestion(v1::MODE_TEXT_ANSWER);
  two.add_sharers(kQwen2);
  two.add_sharers(kLlama);
  EXPECT_THAT(refusal(two), HasSubstr("sharers has 2 entries: mode MODE_TEXT_ANSWER asks 1"));
  v1::AnswerRequest alone = MakeQuestion(v1::MODE_RECEIVER);
  alone.set_combine(v1::COMBINE_PARALLEL);
  EXPECT_THAT(refusal(alone), HasSubstr("combine is set"));
  v1::AnswerRequest unknown = Question();
  unknown.set_combine(static_cast<v1::Combine>(3));
  EXPECT_THAT(refusal(unknown), HasSubstr("combine is 3"));
}

}  // namespace
}  // namespace qc2c
