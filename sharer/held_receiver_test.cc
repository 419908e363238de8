#include "sharer/held_receiver.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/ones.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <map>

#include "sharer/embedded_sharer.h"

namespace qc2c {
namespace {

using testing::HasSubstr;

const std::string kEmbedded = QC2C_SOURCE_DIR "/data/embedded/";
const std::vector<int32_t> kPromptIds = {5, 300, 41, 77, 900, 12, 640};
constexpr int kTokens = 7;

HeldReceiver Load() {
  return HeldReceiver::Load(kEmbedded + "receiver-qwen3", kEmbedded + "receiver-qwen3+sharer-qwen2",
                            EmbeddedSharer())
      .value();
}

class HeldReceiverTest : public testing::Test {
 protected:
  // Row 1 of two, padded.
  KvCache SharerCaches() {
    const std::vector<std::vector<int32_t>> rows = {{3, 4, 5, 6, 7, 8, 9, 10, 11}, kPromptIds};
    return EmbeddedSharer()
        .model.Forward(TokenBatch::FromSequences(rows, at::kCPU), nullptr)
        ->cache;
  }

  // By the definition: the mean over heads of the norm of token t's values in receiver layer l, of
  // the fused cache or of its difference to the receiver's own; summed by sharer layer.
  std::vector<std::vector<double>> Expected(Selection selection) {
    const TokenBatch ids = TokenBatch::FromSequences({kPromptIds}, at::kCPU);
    const KvCache sharer = EmbeddedSharer().model.Forward(ids, nullptr)->cache;
    const KvCache own = held_.model.Forward(ids, nullptr)->cache;
    const KvCache fused =
        held_.fuser
            .Fuse({.keys = sharer.keys, .values = sharer.values, .selected = sharer.valid}, own)
            .value();
    const FuserConfig& config = held_.fuser.config();
    std::vector<std::vector<double>> scores(config.sharer.num_layers,
                                            std::vector<double>(kTokens, 0.0));
    for (int l = 0; l < config.receiver.num_layers; ++l) {
      for (int t = 0; t < kTokens; ++t) {
        for (int h = 0; h < config.receiver.num_kv_heads; ++h) {
          double squares = 0;
          for (int d = 0; d < config.receiver.head_dim; ++d) {
            double x = fused.values[l][0][h][t][d].item<double>();
            if (selection == Selection::kResidualNorm) {
              x -= own.values[l][0][h][t][d].item<double>();
            }
            squares += x * x;
          }
          scores[config.layer_map[l]][t] += std::sqrt(squares) / config.receiver.num_kv_heads;
        }
      }
    }
    return scores;
  }

  void ExpectScores(Selection selection) {
    const auto found = held_.Scores(selection, kPromptIds, SharerCaches(), 1);
    ASSERT_TRUE(found.ok()) << found.status();
    const std::vector<std::vector<double>> expected = Expected(selection);
    ASSERT_EQ(found->size(0), static_cast<int64_t>(expected.size()));
    ASSERT_EQ(found->size(1), kTokens);
    ASSERT_TRUE(found->is_contiguous());
    for (size_t l = 0; l < expected.size(); ++l) {
      for (int t = 0; t < kTokens; ++t) {
        // fp32 values of a few units, whose caches are within the models' own 1e-4 of each other.
        EXPECT_NEAR((*found)[static_cast<int64_t>(l)][t].item<double>(), expected[l][t], 1e-3);
      }
    }
  }

  const at::NoGradGuard no_grad_;
  HeldReceiver held_ = Load();
};

TEST_F(HeldReceiverTest, ProjectedNormsAreThoseOfTheFusedValues) {
  ExpectScores(Selection::kProjectedNorm);
}

TEST_F(HeldReceiverTest, ResidualNormsAreThoseOfWhatFusionAdds) {
  ExpectScores(Selection::kResidualNorm);
}

TEST_F(HeldReceiverTest, BehindAClosedGateNothingIsAdded) {
  for (const auto& [name, tensor] : held_.fuser.parameters()) {
    if (name.find("value_gate_logit") != std::string::npos) at::Tensor(tensor).fill_(-1);
  }
  const at::Tensor residual =
      held_.Scores(Selection::kResidualNorm, kPromptIds, SharerCaches(), 1).value();
  EXPECT_EQ(residual.abs().max().item<float>(), 0);
  ExpectScores(Selection::kProjectedNorm);
}

TEST_F(HeldReceiverTest, CountsTheBytesOfBoth) {
  uint64_t bytes = 0;
  for (const auto& [name, tensor] : held_.model.parameters()) bytes += 4 * tensor.numel();
  for (const auto& [name, tensor] : held_.fuser.parameters()) bytes += 4 * tensor.numel();
  EXPECT_EQ(held_.bytes, bytes);
}

TEST_F(HeldReceiverTest, RefusesAFuserOfAnotherPairAndIdsThatTheReceiverCannotRead) {
  const auto other = HeldReceiver::Load(
      kEmbedded + "sharer-llama", kEmbedded + "receiver-qwen3+sharer-qwen2", EmbeddedSharer());
  EXPECT_FALSE(other.ok());
  const auto unknown = held_.Scores(Selection::kResidualNorm, {1 << 30}, SharerCaches(), 1);
  EXPECT_THAT(std::string(unknown.status().message()), HasSubstr("the held receiver: ids"));
}

}  // namespace
}  // namespace qc2c
