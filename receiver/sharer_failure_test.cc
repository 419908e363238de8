// The sharer lies, sends garbage, is late or away: the question fails with the reason, or is
// answered without it if the caller allowed that; the next question is answered in any case.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "receiver/served_receiver.h"

namespace qc2c {
namespace {

using testing::AllOf;
using testing::HasSubstr;

uint64_t SizeOf(const std::vector<std::string>& messages) {
  uint64_t size = 0;
  for (const std::string& message : messages) size += message.size();
  return size;
}

// Changes one parsed message of the truth.
ScriptedSharer::ShareBehaviour Edited(size_t index, std::function<void(v1::CacheChunk&)> edit) {
  return [index, edit = std::move(edit)](ShareScript truth) {
    v1::CacheChunk chunk;
    EXPECT_TRUE(chunk.ParseFromString(truth.messages.at(index)));
    edit(chunk);
    truth.messages[index] = chunk.SerializeAsString();
    return truth;
  };
}

struct Misbehaviour {
  std::string name;
  ScriptedSharer::ShareBehaviour behaviour;
  absl::StatusCode code;
  std::string reason;
};

void PrintTo(const Misbehaviour& misbehaviour, std::ostream* stream) {
  *stream << misbehaviour.name;
}

class MisbehaviourTest : public ReceiverTest, public testing::WithParamInterface<Misbehaviour> {
 protected:
  MisbehaviourTest() : ReceiverTest(/*sharer_timeout=*/std::chrono::seconds(3)) {}
};

TEST_P(MisbehaviourTest, FailsTheQuestionWithTheReasonAndTheNextOneIsAnswered) {
  sharer->OnShare(GetParam().behaviour);
  const Answered failed = Ask(MakeQuestion(v1::MODE_FUSED, "int8"));
  EXPECT_EQ(failed.status.code(), GetParam().code) << failed.status;
  EXPECT_THAT(std::string(failed.status.message()), HasSubstr(GetParam().reason));
  EXPECT_EQ(metrics().rejected_total.With(absl::StatusCodeToString(GetParam().code)).Value(), 1);

  sharer->OnShare({});
  EXPECT_EQ(Answer(MakeQuestion(v1::MODE_FUSED, "int8")).text(), " C");
}

TEST_P(MisbehaviourTest, IsSaidInAnAnswerWithoutTheSharerIfTheCallerAllowsThat) {
  const std::string alone = Answer(MakeQuestion(v1::MODE_RECEIVER)).text();
  sharer->OnShare(GetParam().behaviour);
  v1::AnswerRequest request = MakeQuestion(v1::MODE_FUSED, "int8");
  request.set_fallback(v1::FALLBACK_DEGRADED);
  const v1::AnswerReply degraded = Answer(request);
  EXPECT_THAT(degraded.degraded(), AllOf(HasSubstr(absl::StatusCodeToString(GetParam().code)),
                                         HasSubstr(GetParam().reason)));
  EXPECT_EQ(degraded.text(), alone);
  EXPECT_EQ(metrics().degraded_total.With(absl::StatusCodeToString(GetParam().code)).Value(), 1);

  sharer->OnShare({});
  const v1::AnswerReply fused = Answer(request);
  EXPECT_EQ(fused.degraded(), "");
  EXPECT_EQ(fused.text(), " C");
}

ShareScript WithoutLast(ShareScript truth) {
  truth.messages.pop_back();
  return truth;
}

INSTANTIATE_TEST_SUITE_P(
    All, MisbehaviourTest,
    testing::Values(
        Misbehaviour{"GarbageBytes",
                     [](ShareScript truth) {
                       truth.messages = {"\xff\xff\xff"};
                       return truth;
                     },
                     absl::StatusCode::kInvalidArgument, "CacheChunk"},
        Misbehaviour{"MoreThanAnyCodecNeeds",
                     [](ShareScript truth) {
                       truth.messages.assign(64, std::string(1 << 16, 'x'));
                       return truth;
                     },
                     absl::StatusCode::kResourceExhausted, "are accepted"},
        Misbehaviour{"NothingAtAll",
                     [](ShareScript truth) {
                       truth.messages.clear();
                       return truth;
                     },
                     absl::StatusCode::kDataLoss, "trailer"},
        Misbehaviour{"LastMessageMissing", WithoutLast, absl::StatusCode::kDataLoss, "trailer"},
        Misbehaviour{"MessagesSwapped",
                     [](ShareScript truth) {
                       std::swap(truth.messages.at(1), truth.messages.at(2));
                       return truth;
                     },
                     absl::StatusCode::kDataLoss, "sequence"},
        Misbehaviour{"MessageRepeated",
                     [](ShareScript truth) {
                       truth.messages.insert(truth.messages.begin() + 1, truth.messages.at(1));
                       return truth;
                     },
                     absl::StatusCode::kDataLoss, "sequence"},
        Misbehaviour{"OneCodeChanged",
                     Edited(1,
                            [](v1::CacheChunk& chunk) {
                              (*chunk.mutable_blocks(0)->mutable_codes())[0] ^= 1;
                            }),
                     absl::StatusCode::kDataLoss, "checksum"},
        Misbehaviour{"AnotherLayout",
                     Edited(0,
                            [](v1::CacheChunk& chunk) {
                              chunk.mutable_header()->mutable_layout()->set_head_dim(64);
                            }),
                     absl::StatusCode::kFailedPrecondition, "layout"},
        Misbehaviour{
            "AnotherModel",
            Edited(0,
                   [](v1::CacheChunk& chunk) { chunk.mutable_header()->set_model_fingerprint(1); }),
            absl::StatusCode::kFailedPrecondition, "model_fingerprint"},
        Misbehaviour{"AnotherCodec",
                     Edited(0,
                            [](v1::CacheChunk& chunk) {
                              chunk.mutable_header()->mutable_codec()->set_scheme(v1::SCHEME_INT4);
                            }),
                     absl::StatusCode::kFailedPrecondition, "codec"},
        Misbehaviour{
            "AnotherTokenCount",
            Edited(0, [](v1::CacheChunk& chunk) { chunk.mutable_header()->set_num_tokens(31); }),
            absl::StatusCode::kFailedPrecondition, "num_tokens"},
        Misbehaviour{"AnError",
                     [](ShareScript truth) {
                       truth.messages.clear();
                       truth.status = absl::ResourceExhaustedError("queue 'share' is full");
                       return truth;
                     },
                     absl::StatusCode::kResourceExhausted, "queue 'share' is full"},
        Misbehaviour{"Late",
                     [](ShareScript truth) {
                       truth.messages.clear();
                       truth.end = ShareScript::End::kNever;
                       return truth;
                     },
                     absl::StatusCode::kDeadlineExceeded, "sharer unix:"}),
    [](const auto& info) { return info.param.name; });

class SharerFailureTest : public ReceiverTest {};

TEST_F(SharerFailureTest, UnequalByteCountsFailTheQuestionNamingBoth) {
  uint64_t written = 0;
  for (const int64_t error : {-1, 1}) {
    sharer->OnShare([&](ShareScript truth) {
      written = SizeOf(truth.messages);
      truth.claimed_bytes = written + error;
      return truth;
    });
    const Answered failed = Ask(MakeQuestion(v1::MODE_FUSED, "int8"));
    EXPECT_EQ(failed.status.code(), absl::StatusCode::kDataLoss);
    EXPECT_THAT(std::string(failed.status.message()),
                AllOf(HasSubstr("bytes_tx"), HasSubstr(absl::StrCat("counted ", written + error)),
                      HasSubstr(absl::StrCat(written, " arrived"))));
  }
  sharer->OnShare({});
  const v1::AnswerReply honest = Answer(MakeQuestion(v1::MODE_FUSED, "int8"));
  EXPECT_EQ(honest.bytes().tx(), written);
}

TEST_F(SharerFailureTest, UnequalCountsOfATextFailTheQuestionToo) {
  sharer->hint_claimed_surplus = 3;
  const Answered failed = Ask(MakeQuestion(v1::MODE_TEXT_ANSWER));
  EXPECT_EQ(failed.status.code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(std::string(failed.status.message()), HasSubstr("bytes_tx"));
  sharer->hint_claimed_surplus = 0;
  EXPECT_EQ(Answer(MakeQuestion(v1::MODE_TEXT_ANSWER)).text(), "Boston");
}

TEST_F(SharerFailureTest, AnAbsentSharerIsUnavailableAndOneThatIsBackIsUsedAgain) {
  const std::string alone = Answer(MakeQuestion(v1::MODE_RECEIVER)).text();
  sharer->Stop();
  const Answered failed = Ask(MakeQuestion(v1::MODE_FUSED, "int8"));
  EXPECT_EQ(failed.status.code(), absl::StatusCode::kUnavailable) << failed.status;
  EXPECT_THAT(std::string(failed.status.message()), HasSubstr(sharer->address()));
  EXPECT_EQ(Answer(MakeQuestion(v1::MODE_RECEIVER)).text(), alone);

  v1::AnswerRequest request = MakeQuestion(v1::MODE_FUSED, "int8");
  request.set_fallback(v1::FALLBACK_DEGRADED);
  const v1::AnswerReply degraded = Answer(request);
  EXPECT_THAT(degraded.degraded(), HasSubstr("UNAVAILABLE"));
  EXPECT_EQ(degraded.text(), alone);

  sharer->Start();
  const absl::Time patience_ends = absl::Now() + absl::Seconds(30);
  Answered answered = Ask(MakeQuestion(v1::MODE_FUSED, "int8"));
  while (!answered.status.ok() && absl::Now() < patience_ends) {
    absl::SleepFor(absl::Milliseconds(50));
    answered = Ask(MakeQuestion(v1::MODE_FUSED, "int8"));
  }
  EXPECT_EQ(answered.reply.text(), " C") << answered.status;
}

TEST_F(SharerFailureTest, WithoutTheSharerATextQuestionIsAskedWithoutItsHint) {
  v1::AnswerRequest request = MakeQuestion(v1::MODE_TEXT);
  *request.mutable_prompt() =
      UserPrompt(absl::StrCat("Hint: {hint}\n", kQuestion, "\n", kChoices), "Answer:");
  *request.mutable_sharer_prompt() = UserPrompt(kQuestion);
  request.set_sharer_max_new_tokens(6);
  request.set_fallback(v1::FALLBACK_DEGRADED);
  v1::AnswerRequest without = MakeQuestion(v1::MODE_RECEIVER);
  *without.mutable_prompt() =
      UserPrompt(absl::StrCat("Hint: \n", kQuestion, "\n", kChoices), "Answer:");
  sharer->Stop();
  const v1::AnswerReply degraded = Answer(request);
  EXPECT_THAT(degraded.degraded(), HasSubstr("UNAVAILABLE"));
  EXPECT_EQ(degraded.text(), Answer(without).text());
}

TEST_F(SharerFailureTest, ACallerThatGoesAwayCancelsTheSharersCall) {
  absl::Notification asked;
  sharer->OnShare([&](ShareScript truth) {
    asked.Notify();
    truth.messages.clear();
    truth.end = ShareScript::End::kNever;
    return truth;
  });
  grpc::ClientContext context;
  v1::AnswerReply reply;
  grpc::Status status;
  std::thread caller(
      [&] { status = stub->Answer(&context, MakeQuestion(v1::MODE_FUSED, "int8"), &reply); });
  asked.WaitForNotification();
  context.TryCancel();
  caller.join();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::CANCELLED);
  // The one worker is free long before the sharer's minute is over.
  const absl::Time start = absl::Now();
  sharer->OnShare({});
  EXPECT_EQ(Answer(MakeQuestion(v1::MODE_FUSED, "int8")).text(), " C");
  EXPECT_LT(absl::Now() - start, absl::Seconds(30));
}

}  // namespace
}  // namespace qc2c
