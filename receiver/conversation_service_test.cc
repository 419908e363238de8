// Conversations of which the messages alone are fused, against the models and the fuser used
// directly, part by part. tests/e2e/test_alignment.py compares the same with another
// implementation.
#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/tensor.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <future>

#include "receiver/cache_assembly.h"
#include "receiver/direct_answer.h"
#include "receiver/served_receiver.h"

namespace qc2c {
namespace {

using testing::AllOf;
using testing::HasSubstr;

// Longer than the receiver's in front of a message: the receiver's positions have gaps.
constexpr char kLongFront[] =
    "You answer briefly.\n{% for m in messages %}<|im_start|>the {{ m.role }} says\n{{ m.content }}"
    "<|im_end|>{% endfor %}";
// Shorter: the sharer's have.
constexpr char kShortFront[] =
    "{% for m in messages %}<|im_start|>{{ m.content }}<|im_end|>{% endfor %}";

v1::AnswerRequest Conversation(const std::string& system, const std::string& codec = "fp32") {
  v1::AnswerRequest request =
      WithOptions(MakeQuestion(v1::MODE_FUSED, codec), v1::ANSWER_METHOD_LOGLIKELIHOOD);
  if (system.empty()) return request;
  v1::Prompt prompt = UserPrompt(system, request.prompt().reply_prefix());
  prompt.mutable_messages(0)->set_role("system");
  *prompt.add_messages() = request.prompt().messages(0);
  *request.mutable_prompt() = prompt;
  return request;
}

class ConversationServiceTest : public testing::Test {
 protected:
  ConversationServiceTest()
      : folder_(std::filesystem::path(testing::TempDir()) / absl::StrCat("chat-", getpid())) {
    std::filesystem::create_directories(folder_);
    sharer_ = std::make_unique<ScriptedSharer>(absl::StrCat("unix:", folder_.string(), "/s.sock"));
  }
  ~ConversationServiceTest() override {
    receiver_.reset();
    sharer_.reset();
    std::filesystem::remove_all(folder_);
  }

  void Serve(const std::string& sharer_template, const std::vector<std::string>& alignments = {""},
             const BatchLimits& limits = {.max_wait = std::chrono::microseconds(0)}) {
    sharer_->card.set_chat_template_jinja(sharer_template);
    std::vector<SharerOptions> options;
    for (const std::string& alignment : alignments) {
      options.push_back({.link = {.address = sharer_->address(),
                                  .known_tokenizer = EmbeddedReceiver().tokenizer.hash()},
                         .fuser = EmbeddedFuser(),
                         .alignment = alignment.empty() ? "first" : alignment});
    }
    receiver_ = std::make_unique<ServedReceiver>(
        ConnectSharers(EmbeddedReceiver(), options, {}).value(), FusionOrder::kSequential, limits);
  }

  static Ids PromptIds(const v1::Prompt& prompt) {
    return EmbeddedReceiver().Tokenize(prompt, 0).value();
  }
  PairedPrompt Paired(const v1::Prompt& prompt) const {
    return receiver_->sharers().front().pairing().Pair(prompt, PromptIds(prompt), "").value();
  }

  // The sharer's cache at the receiver's tokens, times `scale`.
  static SharerCache Shared(const SharerReading& reading, double scale) {
    const TokenBatch tokens =
        TokenBatch::FromSequences({reading.ids}, {reading.positions}, at::kCPU);
    const KvCache cache = EmbeddedSharer().model.Forward(tokens, nullptr).value().cache;
    const std::vector<uint32_t> wanted = reading.WantedIndices();
    std::vector<int64_t> sources;
    std::vector<int64_t> taken;
    for (const int32_t slot : reading.slots) {
      sources.push_back(slot < 0 ? 0 : wanted[slot]);
      taken.push_back(slot < 0 ? 0 : 1);
    }
    const auto take = [&](const at::Tensor& tensor) {
      return tensor.index_select(2, at::tensor(sources, at::kLong)) * scale;
    };
    SharerCache shared;
    for (const at::Tensor& keys : cache.keys) shared.keys.push_back(take(keys));
    for (const at::Tensor& values : cache.values) shared.values.push_back(take(values));
    shared.selected = at::tensor(taken, at::kLong).to(at::kBool).unsqueeze(0);
    return shared;
  }

  // The tokens [begin, end) of the prompt and then `more`, at their positions.
  static TokenBatch Tokens(const Ids& ids, const ReceiverReading& reading, int64_t begin,
                           int64_t end, const Ids& more = {}) {
    Ids part(ids.begin() + begin, ids.begin() + end);
    part.insert(part.end(), more.begin(), more.end());
    std::vector<uint32_t> positions;
    for (int64_t i = begin; i < end; ++i) {
      positions.push_back(
          static_cast<uint32_t>(reading.positions.empty() ? i : reading.positions[i]));
    }
    while (positions.size() < part.size()) positions.push_back(positions.back() + 1);
    return TokenBatch::FromSequences({part}, {positions}, at::kCPU);
  }

  // After the prompt, and after each of `more`: [1 + more, V] log-probabilities of the next token.
  at::Tensor NextTokens(const v1::Prompt& prompt, const Ids& more, double scale = 1.0) const {
    const Ids ids = PromptIds(prompt);
    const PairedPrompt paired = Paired(prompt);
    const SharerCache shared = Shared(paired.sharer, scale);
    const Model& model = EmbeddedReceiver().model;
    KvCache cache;
    int64_t begin = 0;
    for (const int64_t end : paired.receiver.fused_ends) {
      const TokenBatch part = Tokens(ids, paired.receiver, begin, end);
      cache = model.Forward(part, begin == 0 ? nullptr : &cache).value().cache;
      SharerCache of_part = shared;
      for (auto* tensors : {&of_part.keys, &of_part.values}) {
        for (at::Tensor& tensor : *tensors) tensor = tensor.narrow(2, 0, end);
      }
      of_part.selected = shared.selected.narrow(1, 0, end).clone();
      of_part.selected.narrow(1, 0, begin).fill_(false);  // those have been fused
      cache = receiver_->sharers().front().fuser()->Fuse(of_part, cache).value();
      begin = end;
    }
    const auto end = static_cast<int64_t>(ids.size());
    const TokenBatch rest = Tokens(ids, paired.receiver, begin, end, more);
    const at::Tensor hidden = model.Forward(rest, &cache).value().hidden[0];
    const at::Tensor log_p = model.Logits(hidden).to(at::kDouble).log_softmax(-1);
    return log_p.slice(0, end - begin - 1);
  }

  double Score(const v1::Prompt& prompt, const Ids& option, double scale) const {
    const at::Tensor log_p = NextTokens(prompt, option, scale);
    double sum = 0;
    for (size_t i = 0; i < option.size(); ++i) {
      sum += log_p[static_cast<int64_t>(i)][option[i]].item<double>();
    }
    return sum;
  }

  void ExpectScores(const v1::AnswerReply& reply, const v1::AnswerRequest& request,
                    double scale = 1.0) const {
    ASSERT_EQ(reply.option_scores_size(), request.options_size());
    for (int i = 0; i < request.options_size(); ++i) {
      const Ids option = EmbeddedReceiver().tokenizer.Encode(request.options(i)).value();
      EXPECT_NEAR(reply.option_scores(i).log_probability(), Score(request.prompt(), option, scale),
                  kFp32Tolerance)
          << i;
    }
  }

  const at::NoGradGuard no_grad_;
  std::unique_ptr<ScriptedSharer> sharer_;
  std::unique_ptr<ServedReceiver> receiver_;

 private:
  const std::filesystem::path folder_;
};

TEST_F(ConversationServiceTest, EachMessageIsFusedBeforeWhatFollowsIsRead) {
  for (const char* sharer_template : {kLongFront, kShortFront}) {
    Serve(sharer_template);
    for (const char* codec : {"fp32", "fp32,rotation=remove"}) {
      for (const char* system : {"", "Be brief."}) {
        const v1::AnswerRequest request = Conversation(system, codec);
        const v1::AnswerReply reply = receiver_->Answer(request);
        ExpectScores(reply, request);
        const PairedPrompt paired = Paired(request.prompt());
        EXPECT_EQ(reply.num_kept_tokens(), paired.sharer.num_wanted());
        EXPECT_EQ(reply.num_input_tokens(), PromptIds(request.prompt()).size());
        const v1::ShareRequest asked = sharer_->shares().back();
        const auto& sent = asked.positions();
        EXPECT_EQ(std::vector<uint32_t>(sent.begin(), sent.end()), paired.sharer.positions);
      }
    }
  }
}

TEST_F(ConversationServiceTest, AnAnswerGoesOnAfterTheLastPosition) {
  Serve(kLongFront);
  v1::AnswerRequest request = Conversation("");
  request.set_method(v1::ANSWER_METHOD_GENERATE);
  request.clear_options();
  request.set_max_new_tokens(3);
  const v1::AnswerReply reply = receiver_->Answer(request);
  Ids written;
  while (written.size() < 3) {
    const auto best = NextTokens(request.prompt(), written)[-1].argmax().item<int64_t>();
    if (best == EmbeddedReceiver().model.config().eos_ids.front()) break;
    written.push_back(static_cast<int32_t>(best));
  }
  EXPECT_EQ(reply.text(), EmbeddedReceiver().tokenizer.Decode(written).value());
  EXPECT_FALSE(written.empty());
}

// Their parts differ in number and in length, and one has none of its own.
TEST_F(ConversationServiceTest, QuestionsOfOneBatchDoNotDisturbEachOther) {
  Serve(kLongFront, {""}, {.max_batch_size = 4, .max_wait = std::chrono::seconds(20)});
  std::vector<v1::AnswerRequest> requests = {Conversation("Be brief."), Conversation(""),
                                             Conversation("Answer with one letter, or else.")};
  requests.push_back(Conversation(""));
  requests.back().set_mode(v1::MODE_RECEIVER);
  requests.back().clear_codec();
  std::vector<std::future<v1::AnswerReply>> replies;
  for (const v1::AnswerRequest& request : requests) {
    replies.push_back(std::async(std::launch::async, [&] { return receiver_->Answer(request); }));
  }
  for (size_t i = 0; i < 3; ++i) ExpectScores(replies[i].get(), requests[i]);
  const Ids ids = PromptIds(requests[3].prompt());
  const v1::AnswerReply alone = replies[3].get();
  const KvCache own = PrefillAllButLast(EmbeddedReceiver().model, ids);
  for (int i = 0; i < alone.option_scores_size(); ++i) {
    const Ids option = EmbeddedReceiver().tokenizer.Encode(requests[3].options(i)).value();
    EXPECT_NEAR(alone.option_scores(i).log_probability(), DirectScore(own, ids, option),
                kFp32Tolerance);
  }
}

TEST_F(ConversationServiceTest, ControlsAreFusedWhereTheMessagesAre) {
  Serve(kLongFront);
  v1::AnswerRequest request = Conversation("Be brief.");
  request.set_control(v1::CONTROL_ZERO_CACHE);
  ExpectScores(receiver_->Answer(request), request, /*scale=*/0.0);
  EXPECT_TRUE(sharer_->shares().empty());
  // The wrong question's cache, where the wrong question is the right one.
  request.set_control(v1::CONTROL_WRONG_QUESTION);
  *request.mutable_control_prompt() = request.prompt();
  ExpectScores(receiver_->Answer(request), request);
}

TEST_F(ConversationServiceTest, SharersThatWantTheReceiversTokensElsewhereAreNotAskedTogether) {
  Serve(kLongFront, {"first", "span"});
  v1::AnswerRequest request = Conversation("");
  const absl::Status refused = receiver_->Ask(request).status;
  EXPECT_EQ(refused.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(refused.message()),
              AllOf(HasSubstr("alignment span"), HasSubstr("alignment first"),
                    HasSubstr("expected sharers to name one")));
  request.add_sharers(0);
  ExpectScores(receiver_->Answer(request), request);
  Serve(kLongFront, {"first", "longest"});  // one tokenizer: the same tokens
  EXPECT_TRUE(receiver_->Ask(Conversation("")).status.ok());
}

TEST_F(ConversationServiceTest, APromptThatDoesNotFitWithItsPadsIsRefused) {
  std::string words;
  for (int i = 0; i < 400; ++i) words += "a ";
  Serve(words + kLongFront);
  v1::AnswerRequest request = Conversation("");
  request.set_method(v1::ANSWER_METHOD_GENERATE);
  request.clear_options();
  request.set_max_new_tokens(100);
  const absl::Status refused = receiver_->Ask(request).status;
  EXPECT_EQ(refused.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(refused.message()), HasSubstr("512 positions"));
}

}  // namespace
}  // namespace qc2c
