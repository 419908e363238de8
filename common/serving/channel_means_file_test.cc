#include "common/serving/channel_means_file.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/zeros.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "common/base/bytes.h"
#include "common/base/files.h"
#include "common/base/hash.h"
#include "common/model/safetensors.h"

namespace qc2c {
namespace {

using testing::HasSubstr;

constexpr KvLayout kLayout{.num_layers = 2, .num_kv_heads = 1, .head_dim = 2};
constexpr uint64_t kModel = 0xfedcba9876543210;  // does not fit an int64: the bits must

class ChannelMeansFileTest : public testing::Test {
 protected:
  std::string Error(uint64_t model = kModel, absl::StatusCode code = absl::StatusCode::kDataLoss) {
    const absl::Status status = LoadChannelMeans(path_, model, kLayout).status();
    EXPECT_EQ(status.code(), code) << status;
    return std::string(status.message());
  }
  // Writes the file with `change` made to its tensors.
  void WriteChanged(const std::function<void(NamedTensors&)>& change) {
    NamedTensors tensors = ReadSafetensors(path_).value();
    for (auto& [name, tensor] : tensors) tensor = tensor.clone();
    change(tensors);
    ASSERT_TRUE(WriteSafetensors(path_, tensors).ok());
  }
  void SetUp() override { ASSERT_TRUE(SaveChannelMeans(path_, kModel, means_).ok()); }

  const std::string path_ = testing::TempDir() + "/channel_means.safetensors";
  const ChannelMeans means_ = {
      .id = 0, .layout = kLayout, .keys = {1, 2, 3, -4}, .values = {5, 6, .5f, 8}};
};

TEST_F(ChannelMeansFileTest, WhatWasSavedIsLoadedUnderTheHashOfTheFile) {
  const absl::StatusOr<ChannelMeans> loaded = LoadChannelMeans(path_, kModel, kLayout);
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  EXPECT_EQ(loaded->keys, means_.keys);
  EXPECT_EQ(loaded->values, means_.values);
  EXPECT_EQ(loaded->id, Hash(AsBytes(ReadFile(path_).value())));
}

TEST_F(ChannelMeansFileTest, AnotherModelsFileIsRefused) {
  EXPECT_THAT(Error(1, absl::StatusCode::kFailedPrecondition),
              HasSubstr("model_fingerprint is fedcba9876543210: expected the sharer's model, "
                        "0000000000000001"));
}

TEST_F(ChannelMeansFileTest, TensorsThatAreMissingSurplusMisshapenOrNotFiniteAreRefusedByName) {
  WriteChanged([](NamedTensors& t) { t.emplace_back("key.2", at::zeros({1, 2})); });
  EXPECT_THAT(Error(), HasSubstr("tensor key.2 is surplus"));
  SetUp();
  WriteChanged(
      [](NamedTensors& t) { std::erase_if(t, [](auto& e) { return e.first == "value.1"; }); });
  EXPECT_THAT(Error(), HasSubstr("tensor value.1 is missing"));
  SetUp();
  WriteChanged([](NamedTensors& tensors) {
    for (auto& [name, tensor] : tensors) {
      if (name == "key.0") tensor = at::zeros({2, 2});
    }
  });
  EXPECT_THAT(Error(), HasSubstr("tensor key.0 is Float of 2 dimensions and 4 values"));
  SetUp();
  WriteChanged([](NamedTensors& tensors) {
    for (auto& [name, tensor] : tensors) {
      if (name == "key.1") tensor.fill_(NAN);
    }
  });
  EXPECT_THAT(Error(), HasSubstr("tensor key.1 holds NaN or infinity"));
  ASSERT_TRUE(WriteFileAtomically(path_, "no safetensors").ok());
  EXPECT_THAT(Error(), HasSubstr("channel_means.safetensors"));
}

}  // namespace
}  // namespace qc2c
