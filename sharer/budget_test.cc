// Byte budgets on caches of a trained model, counted on the wire.
#include "common/codec/budget.h"

#include <ATen/core/grad_mode.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>

#include "absl/strings/str_cat.h"
#include "common/codec/distortion.h"
#include "common/codec/selection.h"
#include "sharer/served_sharer.h"

namespace qc2c {
namespace {

using testing::HasSubstr;

constexpr const char* kQuestions[] = {"Which city does Iris Trizer live in?",
                                      "What is the job of Maria Jorbury?",
                                      "Which instrument does Xavier Holrup play?"};
constexpr uint64_t kBudgets[] = {300, 700, 1500, 4000, 9000};

class EmbeddedCache {
 public:
  explicit EmbeddedCache(const std::string& question) {
    const at::NoGradGuard no_grad;
    const LanguageModel& sharer = EmbeddedSharer();
    v1::Prompt prompt;
    v1::ChatMessage& message = *prompt.add_messages();
    message.set_role("user");
    message.set_content(question);
    const std::vector<int32_t> ids = sharer.Tokenize(prompt, 0).value();
    cache_ = sharer.model.Forward(TokenBatch::FromSequences({ids}, at::kCPU), nullptr)->cache;
    num_tokens_ = static_cast<int64_t>(ids.size());
  }

  KvCacheView View() const {
    const KvLayout layout = EmbeddedSharer().model.config().Layout();
    std::vector<int32_t> layers(layout.num_layers);
    std::iota(layers.begin(), layers.end(), 0);
    return ViewOfRow(cache_, 0, num_tokens_, layers, layout);
  }

 private:
  KvCache cache_;
  int64_t num_tokens_ = 0;
};

absl::StatusOr<uint64_t> OnTheWire(const KvFrame& frame) {
  return BytesOfFrame(frame, kDefaultChunkBytes);
}

TEST(BudgetOnRealCachesTest, NoUniformPrecisionWithTheSameSelectionIsBetterAtEqualBytes) {
  const KvLayerSet layers = KvLayerSet::Both({1, 2, 3, 4});
  for (const char* question : kQuestions) {
    const EmbeddedCache cache(question);
    const KvCacheView view = cache.View();
    for (const std::string select : {"", ",select=back", ",select=sinks"}) {
      for (const char* scheme : {"int8", "int4", "nf4", "int3", "int2_lloyd", "binary"}) {
        for (const std::string axis : {"", ",axis=per_channel"}) {
          for (const uint32_t num_kept : {1u, 5u, 12u}) {
            CodecSpec uniform = CodecSpec::Parse(scheme + axis).value();
            const CodecSpec asked =
                CodecSpec::Parse(absl::StrCat("bf16", select, ",budget_bytes=1")).value();
            uniform.selection = asked.selection;
            uniform.sinks = asked.sinks;
            uniform.keep = Keep(num_kept);
            const KvFrame frame = EncodeCache(view, layers, uniform).value();
            CodecSpec budget = asked;
            budget.budget_bytes = OnTheWire(frame).value();
            const auto plan = PlanBudget(view, layers, budget, {}, OnTheWire);
            ASSERT_TRUE(plan.ok()) << plan.status();
            const auto table = DistortionTable::Measure(view, layers.Tensors(), {uniform});
            double distortion = 0;
            for (size_t i = 0; i < table->tensors().size(); ++i) {
              distortion += table->Sent(i, 0, frame.positions);
            }
            EXPECT_LE(plan->distortion, distortion * (1 + 1e-9)) << uniform.ToString();
            EXPECT_LE(plan->bytes, budget.budget_bytes);
          }
        }
      }
    }
  }
}

TEST(BudgetOnRealCachesTest, TheMessagesOfAShareAreNeverMoreThanTheBudget) {
  ServedSharer sharer({.max_wait = std::chrono::microseconds(0)}, kMinChunkBytes);
  const std::vector<uint32_t> ids = MakeIds(37);
  for (const uint64_t budget : kBudgets) {
    const std::string codec = absl::StrCat("int8,budget_bytes=", budget);
    SharedReply reply(sharer.channel, MakeShareRequest(codec, ids));
    uint64_t bytes = 0;
    FrameReader reader({EmbeddedSharer().model.fingerprint(),
                        EmbeddedSharer().model.config().Layout(), CodecSpec::Parse(codec).value(),
                        37, KvLayerSet::Both({1, 2, 3, 4})});
    for (const std::string& message : reply.messages()) {
      bytes += message.size();
      ASSERT_TRUE(reader.Add(message).ok()) << reader.Add(message);
    }
    EXPECT_LE(bytes, budget);
    EXPECT_GE(bytes, budget * 8 / 10) << "left unused";
    const auto frame = reader.Finish();
    ASSERT_TRUE(frame.ok()) << frame.status();
    EXPECT_EQ(frame->codec.budget_bytes, 0u);
  }
}

TEST(BudgetOnRealCachesTest, AReaderRefusesMoreThanTheBudget) {
  ServedSharer sharer;
  const std::vector<uint32_t> ids = MakeIds(37);
  SharedReply reply(sharer.channel, MakeShareRequest("int8,budget_bytes=2000", ids));
  FrameReader reader(
      {EmbeddedSharer().model.fingerprint(), EmbeddedSharer().model.config().Layout(),
       CodecSpec::Parse("int8,budget_bytes=1500").value(), 37, KvLayerSet::Both({1, 2, 3, 4})});
  const absl::Status status = reader.Add(reply.messages().at(0));
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(status.message()), HasSubstr("at most budget_bytes 1500"));
}

TEST(BudgetOnRealCachesTest, ABudgetTooSmallIsRefusedByName) {
  ServedSharer sharer;
  SharedReply reply(sharer.channel, MakeShareRequest("int8,budget_bytes=40", MakeIds(37)));
  EXPECT_EQ(reply.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(reply.status().message()), HasSubstr("budget_bytes is 40"));
}

}  // namespace
}  // namespace qc2c
