#include "experiments/means/channel_sums.h"

#include <gtest/gtest.h>

#include <cmath>

#include "common/model/key_rotation.h"
#include "sharer/embedded_sharer.h"

namespace qc2c {
namespace {

// The definition, a value at a time in fp64: un-rotated keys and values, over the tokens of prompts
// of different lengths.
TEST(ChannelSumsTest, TheMeansAreThoseOfEveryTokenWithItsRotationUndone) {
  const Model& model = EmbeddedSharer().model;
  const KvLayout layout = model.config().Layout();
  const std::vector<std::vector<int32_t>> prompts = {{5, 9, 300, 41, 7}, {12, 800, 3}};
  ChannelSums sums(model);
  ASSERT_TRUE(sums.Add(prompts).ok());
  EXPECT_EQ(sums.num_tokens(), 8);
  const ChannelMeans means = sums.Means();

  const KeyRotation rotation = KeyRotationOf(model.config());
  const int half = layout.head_dim / 2;
  std::vector<double> keys(means.keys.size()), values(means.values.size());
  for (const std::vector<int32_t>& prompt : prompts) {
    const auto cache =
        model.Forward(TokenBatch::FromSequences({prompt}, at::kCPU), nullptr).value().cache;
    for (int layer = 0; layer < layout.num_layers; ++layer) {
      const auto k = cache.keys[layer].accessor<float, 4>();
      const auto v = cache.values[layer].accessor<float, 4>();
      const auto& frequencies = rotation.frequencies[rotation.of_layer[layer]];
      for (int h = 0; h < layout.num_kv_heads; ++h) {
        const size_t first = static_cast<size_t>(layer * layout.num_kv_heads + h) * 2 * half;
        for (size_t t = 0; t < prompt.size(); ++t) {
          for (int i = 0; i < half; ++i) {
            const double angle = static_cast<double>(t) * frequencies[i];
            const double x1 = k[0][h][t][i], x2 = k[0][h][t][half + i];
            keys[first + i] += (x1 * std::cos(angle) + x2 * std::sin(angle)) / 8;
            keys[first + half + i] += (x2 * std::cos(angle) - x1 * std::sin(angle)) / 8;
            values[first + i] += v[0][h][t][i] / 8;
            values[first + half + i] += v[0][h][t][half + i] / 8;
          }
        }
      }
    }
  }
  for (size_t i = 0; i < keys.size(); ++i) {
    EXPECT_NEAR(means.keys[i], keys[i], 1e-4) << i;  // two forward passes of fp32
    EXPECT_NEAR(means.values[i], values[i], 1e-4) << i;
  }
}

}  // namespace
}  // namespace qc2c
