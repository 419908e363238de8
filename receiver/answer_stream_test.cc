#include "receiver/answer_stream.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <map>
#include <thread>

#include "receiver/served_receiver.h"

namespace qc2c {
namespace {

using testing::HasSubstr;

class AnswerStreamTest : public ReceiverTest {
 protected:
  // All replies of a stream that asks `requests` and must end well.
  std::vector<v1::AnswerReply> AskAll(const std::vector<v1::AnswerRequest>& requests) {
    grpc::ClientContext context;
    SetTimeout(absl::Seconds(60), &context);
    const auto stream = stub->AnswerBatch(&context);
    for (const v1::AnswerRequest& request : requests) EXPECT_TRUE(stream->Write(request));
    stream->WritesDone();
    std::vector<v1::AnswerReply> replies;
    v1::AnswerReply reply;
    while (stream->Read(&reply)) replies.push_back(reply);
    const grpc::Status status = stream->Finish();
    EXPECT_TRUE(status.ok()) << status.error_message();
    return replies;
  }
};

v1::AnswerRequest OpenQuestion(const std::string& id, v1::Mode mode) {
  v1::AnswerRequest request = MakeQuestion(mode);
  request.set_question_id(id);
  *request.mutable_prompt() = UserPrompt("What does Louis Kelfin work as?");  // heldout-open-0000
  request.set_max_new_tokens(6);
  request.set_streaming(v1::AnswerRequest::STREAMING_TOKENS);
  return request;
}

TEST_F(AnswerStreamTest, ThePiecesOfAStreamedAnswerAreItsText) {
  const auto replies =
      AskAll({OpenQuestion("fused", v1::MODE_FUSED), OpenQuestion("alone", v1::MODE_RECEIVER)});
  std::map<std::string, std::string> pieces, texts;
  for (const v1::AnswerReply& reply : replies) {
    EXPECT_EQ(reply.error_code(), 0) << reply.error_message();
    EXPECT_FALSE(texts.contains(reply.question_id())) << "a reply after the final one";
    if (reply.final()) {
      texts[reply.question_id()] = reply.text();
    } else {
      EXPECT_FALSE(reply.delta().empty());
      pieces[reply.question_id()] += reply.delta();
    }
  }
  EXPECT_EQ(texts["fused"], "Dancer");
  EXPECT_FALSE(texts["alone"].empty());
  EXPECT_EQ(pieces, texts);
}

TEST_F(AnswerStreamTest, WithoutStreamingThereIsOneReplyAQuestion) {
  std::vector<v1::AnswerRequest> requests;
  for (int i = 0; i < 40; ++i) {
    requests.push_back(MakeQuestion(v1::MODE_FUSED, "int8"));
    requests.back().set_question_id(absl::StrCat("q", i));
  }
  std::map<std::string, int> answered;
  for (const v1::AnswerReply& reply : AskAll(requests)) {
    EXPECT_TRUE(reply.final());
    EXPECT_EQ(reply.text(), " C");
    ++answered[reply.question_id()];
  }
  EXPECT_EQ(answered.size(), 40u);
  for (const auto& [id, count] : answered) EXPECT_EQ(count, 1) << id;
}

// Neither the questions nor what they would be told may pile up: the stream stands still, and goes
// on when the caller reads.
TEST_F(AnswerStreamTest, ACallerThatOnlyWritesIsNotReadFurther) {
  constexpr int kQuestions = 50'000;
  grpc::ClientContext context;
  SetTimeout(absl::Seconds(60), &context);
  const auto stream = stub->AnswerBatch(&context);
  v1::AnswerRequest refused = MakeQuestion(v1::MODE_RECEIVER);
  refused.clear_prompt();
  refused.set_question_id(std::string(200, 'q'));
  std::atomic<int> written = 0;
  std::thread writer([&] {
    while (written < kQuestions && stream->Write(refused)) ++written;
    stream->WritesDone();
  });
  int before = -1;
  while (written != before) {
    before = written;
    absl::SleepFor(absl::Milliseconds(300));
  }
  EXPECT_LT(before, kQuestions);
  int answered = 0;
  v1::AnswerReply reply;
  while (stream->Read(&reply)) ++answered;
  writer.join();
  EXPECT_TRUE(stream->Finish().ok());
  EXPECT_EQ(answered, kQuestions);
}

TEST_F(AnswerStreamTest, AnIdThatIsRefusedForItsLengthIsNotSentBackWhole) {
  v1::AnswerRequest request = MakeQuestion(v1::MODE_RECEIVER);
  request.set_question_id(std::string(100'000, 'q'));
  const auto replies = AskAll({request});
  ASSERT_EQ(replies.size(), 1u);
  EXPECT_THAT(replies[0].error_message(), HasSubstr("question_id has 100000 bytes"));
  EXPECT_EQ(replies[0].question_id().size(), 256u);
}

TEST_F(AnswerStreamTest, ABadQuestionIsAnErrorOfItsOwn) {
  std::vector<v1::AnswerRequest> requests = {MakeQuestion(v1::MODE_FUSED, "int8"),
                                             MakeQuestion(v1::MODE_FUSED, "int8"),
                                             MakeQuestion(v1::MODE_RECEIVER)};
  for (size_t i = 0; i < requests.size(); ++i) requests[i].set_question_id(absl::StrCat("q", i));
  requests[1].mutable_codec()->set_keep_ratio(2);
  std::map<std::string, v1::AnswerReply> replies;
  for (const v1::AnswerReply& reply : AskAll(requests)) replies[reply.question_id()] = reply;
  ASSERT_EQ(replies.size(), 3u);
  EXPECT_EQ(replies["q0"].text(), " C");
  EXPECT_EQ(replies["q1"].error_code(), static_cast<int>(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(replies["q1"].error_message(), HasSubstr("keep_ratio"));
  EXPECT_TRUE(replies["q1"].final());
  EXPECT_EQ(replies["q2"].error_code(), 0);
}

TEST_F(AnswerStreamTest, AQuestionThatFailsInItsBatchLeavesTheOthersAlone) {
  int num_asked = 0;
  sharer->OnShare([&](ShareScript truth) {
    if (num_asked++ == 1) truth.messages.pop_back();
    return truth;
  });
  std::vector<v1::AnswerRequest> requests;
  for (int i = 0; i < 4; ++i) {
    requests.push_back(MakeQuestion(v1::MODE_FUSED, "int8"));
    requests.back().set_question_id(absl::StrCat("q", i));
  }
  int failed = 0;
  for (const v1::AnswerReply& reply : AskAll(requests)) {
    if (reply.error_code() == 0) {
      EXPECT_EQ(reply.text(), " C");
    } else {
      ++failed;
      EXPECT_EQ(reply.error_code(), static_cast<int>(absl::StatusCode::kDataLoss));
    }
  }
  EXPECT_EQ(failed, 1);
}

}  // namespace
}  // namespace qc2c
