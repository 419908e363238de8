#include "common/wire/model_facts.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

namespace qc2c {
namespace {

v1::ModelCard CardOf(const KeyRotation& rotation) {
  v1::ModelCard card;
  card.mutable_layout()->set_num_layers(3);
  card.mutable_layout()->set_num_kv_heads(1);
  card.mutable_layout()->set_head_dim(4);
  *card.mutable_rotation() = RotationToProto(rotation);
  return card;
}

TEST(ModelFactsTest, ARotationComesBackFromItsCard) {
  const KeyRotation rotation = {.frequencies = {{1, .01f}, {1, .1f}}, .of_layer = {1, 0, 1}};
  const absl::StatusOr<ModelFacts> facts = FactsOfCard(CardOf(rotation));
  ASSERT_TRUE(facts.ok()) << facts.status();
  EXPECT_EQ(facts->rotation, rotation);
}

TEST(ModelFactsTest, ACardWithoutARotationSaysNothingAboutIt) {
  const absl::StatusOr<ModelFacts> facts = FactsOfCard(v1::ModelCard());
  ASSERT_TRUE(facts.ok()) << facts.status();
  EXPECT_EQ(facts->rotation, KeyRotation());
}

TEST(ModelFactsTest, BiasesComeBackAndThoseThatDoNotFitAreRefusedByName) {
  ChannelMeans biases = {.id = 0, .layout = {}, .keys = {}, .values = {}};
  for (int i = 0; i < 3 * 4; ++i) {
    biases.keys.push_back(static_cast<float>(i));
    biases.values.push_back(static_cast<float>(-i));
  }
  v1::ModelCard card = CardOf({.frequencies = {{1, .01f}}, .of_layer = {0, 0, 0}});
  *card.mutable_biases() = BiasesToProto(biases);
  const absl::StatusOr<ModelFacts> facts = FactsOfCard(card);
  ASSERT_TRUE(facts.ok()) << facts.status();
  EXPECT_EQ(facts->biases->keys, biases.keys);
  EXPECT_EQ(facts->biases->values, biases.values);
  card.mutable_biases()->set_values(2, INFINITY);
  EXPECT_THAT(std::string(FactsOfCard(card).status().message()),
              testing::HasSubstr("biases.values holds NaN or infinity"));
  card.mutable_biases()->mutable_keys()->RemoveLast();
  EXPECT_THAT(std::string(FactsOfCard(card).status().message()),
              testing::HasSubstr("biases.keys has 11 numbers: expected 12"));
}

TEST(ModelFactsTest, ARotationThatDoesNotFitTheLayoutIsRefusedByName) {
  const absl::Status status =
      FactsOfCard(CardOf({.frequencies = {{1, .01f}}, .of_layer = {0, 0}})).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), testing::HasSubstr("of_layer has 2 entries"));
}

}  // namespace
}  // namespace qc2c
