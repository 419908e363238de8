#include "common/codec/layer_set.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace qc2c {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr KvLayout kLayerSetLayout = {.num_layers = 6, .num_kv_heads = 1, .head_dim = 1};

TEST(KvLayerSetTest, TensorsComeByLayerKeysBeforeValues) {
  const KvLayerSet apart = {.keys = {1, 2, 5}, .values = {0, 2, 3}};
  EXPECT_THAT(apart.Tensors(), ElementsAre(KvTensorId{0, Half::kValue}, KvTensorId{1, Half::kKey},
                                           KvTensorId{2, Half::kKey}, KvTensorId{2, Half::kValue},
                                           KvTensorId{3, Half::kValue}, KvTensorId{5, Half::kKey}));
  EXPECT_EQ(apart.NumTensors(), 6u);
  EXPECT_EQ(apart.NumLayers(), 5u);
  EXPECT_THAT((KvLayerSet{.values = {4}}.Tensors()), ElementsAre(KvTensorId{4, Half::kValue}));
  EXPECT_EQ(KvLayerSet::Both({0, 4}).NumLayers(), 2u);
  EXPECT_THAT(KvLayerSet().Tensors(), IsEmpty());
}

TEST(KvLayerSetTest, OneEmptyHalfIsAllowedAndEveryMistakeIsNamed) {
  EXPECT_TRUE((KvLayerSet{.keys = {0, 5}}.Validate(kLayerSetLayout)).ok());
  EXPECT_TRUE((KvLayerSet{.values = {3}}.Validate(kLayerSetLayout)).ok());
  const auto message = [](const KvLayerSet& layers) {
    const absl::Status status = layers.Validate(kLayerSetLayout);
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
    return std::string(status.message());
  };
  EXPECT_THAT(message({}), HasSubstr("key_layers and value_layers are empty"));
  EXPECT_THAT(message({.keys = {6}, .values = {1}}), HasSubstr("key_layers[0] is 6: expected 0"));
  EXPECT_THAT(message({.keys = {1}, .values = {0, -1}}), HasSubstr("value_layers[1] is -1"));
  EXPECT_THAT(message({.keys = {2, 2}}), HasSubstr("key_layers[1] is 2 after 2"));
  EXPECT_THAT(message({.values = {3, 1}}), HasSubstr("value_layers[1] is 1 after 3"));
}

}  // namespace
}  // namespace qc2c
