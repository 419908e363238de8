// The fuser against the independent PyTorch implementation of tests/parity/fuser_fixtures.py, whose
// output lies in $QC2C_FUSER_FIXTURES.
#include <ATen/Context.h>
#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/ones_like.h>
#include <ATen/ops/where.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <map>
#include <ostream>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/fuser/fuser.h"
#include "common/model/safetensors.h"

namespace qc2c {
namespace {

constexpr double kFp32Bound = 1e-5;

struct Case {
  std::string name;
  at::ScalarType dtype;
  KvLayout receiver;
  KvLayout sharer;
  LayerMap layer_map;
  at::DeviceType device = at::kCPU;
  FuseOptions::Products products = FuseOptions::Products::kOneByOne;
};

void PrintTo(const Case& c, std::ostream* out) { *out << c.name; }

class FuserParityTest : public ::testing::TestWithParam<Case> {
 protected:
  void SetUp() override {
    if (GetParam().device == at::kCUDA && !at::hasCUDA()) GTEST_SKIP() << "no CUDA device";
    const char* root = std::getenv("QC2C_FUSER_FIXTURES");
    ASSERT_NE(root, nullptr) << "set QC2C_FUSER_FIXTURES to what fuser_fixtures.py wrote";
    folder_ = std::filesystem::path(root) / GetParam().name;
    absl::StatusOr<NamedTensors> read = ReadSafetensors(folder_ / "expected.safetensors");
    ASSERT_TRUE(read.ok()) << read.status();
    for (auto& [name, tensor] : *read) expected_[name] = tensor.to(GetParam().device);
  }

  Fuser Load(const std::filesystem::path& folder) {
    absl::StatusOr<Fuser> fuser =
        Fuser::Load(folder, GetParam().receiver, GetParam().sharer,
                    {.device = GetParam().device, .dtype = GetParam().dtype});
    return std::move(fuser).value();  // throws, and so fails the test, with the status
  }

  std::vector<at::Tensor> Layers(const std::string& name, int32_t num_layers) {
    std::vector<at::Tensor> layers;
    for (int32_t layer = 0; layer < num_layers; ++layer) {
      layers.push_back(expected_.at(absl::StrCat(name, ".", layer)));
    }
    return layers;
  }

  KvCache ReceiverCache() {
    KvCache cache;
    cache.keys = Layers("receiver_keys", GetParam().receiver.num_layers);
    cache.values = Layers("receiver_values", GetParam().receiver.num_layers);
    const at::Tensor& selected = expected_.at("selected");
    cache.valid = at::ones_like(selected);
    cache.lengths = cache.valid.sum(1);
    return cache;
  }

  FuseOptions Options() const { return {.products = GetParam().products}; }

  // Layers that nobody reads are left undefined: they never travel.
  SharerCache Sharer(const at::Tensor& selected) {
    SharerCache cache{.keys = std::vector<at::Tensor>(GetParam().sharer.num_layers),
                      .values = std::vector<at::Tensor>(GetParam().sharer.num_layers),
                      .selected = selected};
    for (const int32_t layer : SharerLayers(GetParam().layer_map)) {
      cache.keys[layer] = expected_.at(absl::StrCat("sharer_keys.", layer));
      cache.values[layer] = expected_.at(absl::StrCat("sharer_values.", layer));
    }
    return cache;
  }

  // `name`: fused_keys.0 ...
  void ExpectFused(const at::Tensor& found, const std::string& name) {
    const at::Tensor& expected = expected_.at(name);
    ASSERT_EQ(found.sizes(), expected.sizes()) << name;
    ASSERT_EQ(found.scalar_type(), expected.scalar_type()) << name;
    if (GetParam().dtype != at::kBFloat16) {
      EXPECT_LE(Distance(found, expected), kFp32Bound) << name;
      return;
    }
    // On the CPU, one by one, these are the reference's products, and the roundings are prescribed.
    if (GetParam().device == at::kCPU && GetParam().products == FuseOptions::Products::kOneByOne) {
      EXPECT_TRUE(at::equal(found, expected)) << name;
      return;
    }
    // Other products add in another order, and a sum that rounds to the neighbouring bf16 moves
    // what follows. So the result may lie elsewhere, but not farther from the unrounded one than
    // the reference's own roundings: twice, since both are the largest of a few thousand.
    const at::Tensor& exact = expected_.at("exact" + name.substr(std::string("fused").size()));
    EXPECT_LE(Distance(found, exact), 2 * Distance(expected, exact)) << name;
  }

  static double Distance(const at::Tensor& a, const at::Tensor& b) {
    return (a.to(at::kDouble) - b.to(at::kDouble)).abs().max().item<double>();
  }

  std::filesystem::path folder_;
  std::map<std::string, at::Tensor> expected_;
};

TEST_P(FuserParityTest, FusingEveryTokenEqualsTheReference) {
  const at::NoGradGuard no_grad;
  const Fuser fuser = Load(folder_);
  EXPECT_EQ(fuser.config().layer_map, GetParam().layer_map);
  absl::StatusOr<KvCache> fused =
      fuser.Fuse(Sharer(at::ones_like(expected_.at("selected"))), ReceiverCache(), Options());
  ASSERT_TRUE(fused.ok()) << fused.status();
  for (int32_t layer = 0; layer < GetParam().receiver.num_layers; ++layer) {
    ExpectFused(fused->keys[layer], absl::StrCat("fused_keys.", layer));
    ExpectFused(fused->values[layer], absl::StrCat("fused_values.", layer));
  }
}

TEST_P(FuserParityTest, AClosedGateLeavesTheReceiversBits) {
  const at::NoGradGuard no_grad;
  const Fuser fuser = Load(folder_);
  absl::StatusOr<KvCache> fused =
      fuser.Fuse(Sharer(at::ones_like(expected_.at("selected"))), ReceiverCache(), Options());
  ASSERT_TRUE(fused.ok()) << fused.status();
  for (int32_t layer = 0; layer < GetParam().receiver.num_layers; ++layer) {
    EXPECT_EQ(at::equal(fused->keys[layer], ReceiverCache().keys[layer]),
              !fuser.GateIsOpen(layer, Half::kKey));
    EXPECT_EQ(at::equal(fused->values[layer], ReceiverCache().values[layer]),
              !fuser.GateIsOpen(layer, Half::kValue));
  }
}

TEST_P(FuserParityTest, TokensThatWereNotSentKeepTheReceiversBits) {
  const at::NoGradGuard no_grad;
  const Fuser fuser = Load(folder_);
  const at::Tensor selected = expected_.at("selected");
  ASSERT_TRUE(selected.any().item<bool>());
  ASSERT_FALSE(selected.all().item<bool>());
  absl::StatusOr<KvCache> fused = fuser.Fuse(Sharer(selected), ReceiverCache(), Options());
  ASSERT_TRUE(fused.ok()) << fused.status();
  const at::Tensor mask = selected.unsqueeze(1).unsqueeze(3);  // [B, 1, T, 1]
  for (int32_t layer = 0; layer < GetParam().receiver.num_layers; ++layer) {
    const at::Tensor own = ReceiverCache().keys[layer];
    EXPECT_TRUE(at::equal(at::where(mask, own, fused->keys[layer]), own)) << layer;
    ExpectFused(
        at::where(mask, fused->keys[layer], expected_.at(absl::StrCat("fused_keys.", layer))),
        absl::StrCat("fused_keys.", layer));
    ExpectFused(
        at::where(mask, fused->values[layer], expected_.at(absl::StrCat("fused_values.", layer))),
        absl::StrCat("fused_values.", layer));
  }
}

// The receiver's cache has slots behind those that the sharer's cache covers: the last prompt
// token.
TEST_P(FuserParityTest, SlotsBehindTheSharersKeepTheReceiversBits) {
  const at::NoGradGuard no_grad;
  const Fuser fuser = Load(folder_);
  const int64_t num_sent = 7;
  SharerCache sharer = Sharer(at::ones_like(expected_.at("selected")).narrow(1, 0, num_sent));
  for (auto* half : {&sharer.keys, &sharer.values}) {
    for (at::Tensor& layer : *half) {
      if (layer.defined()) layer = layer.narrow(2, 0, num_sent);
    }
  }
  absl::StatusOr<KvCache> fused = fuser.Fuse(sharer, ReceiverCache(), Options());
  ASSERT_TRUE(fused.ok()) << fused.status();
  for (int32_t layer = 0; layer < GetParam().receiver.num_layers; ++layer) {
    const at::Tensor own = ReceiverCache().values[layer];
    const int64_t rest = own.size(2) - num_sent;
    EXPECT_TRUE(
        at::equal(fused->values[layer].narrow(2, num_sent, rest), own.narrow(2, num_sent, rest)));
    const std::string name = absl::StrCat("fused_values.", layer);
    ExpectFused(at::cat({fused->values[layer].narrow(2, 0, num_sent),
                         expected_.at(name).narrow(2, num_sent, rest)},
                        2),
                name);
  }
}

TEST_P(FuserParityTest, ASavedFuserLoadsBackWithTheSameBits) {
  const at::NoGradGuard no_grad;
  const Fuser fuser = Load(folder_);
  const auto copy =
      std::filesystem::path(::testing::TempDir()) /
      absl::StrCat("fuser_", GetParam().name, "_", GetParam().device == at::kCPU ? "cpu" : "cuda");
  const absl::Status saved = fuser.Save(copy, GetParam().dtype);
  ASSERT_TRUE(saved.ok()) << saved;
  const Fuser loaded = Load(copy);
  ASSERT_EQ(loaded.parameters().size(), fuser.parameters().size());
  for (size_t i = 0; i < fuser.parameters().size(); ++i) {
    EXPECT_EQ(loaded.parameters()[i].first, fuser.parameters()[i].first);
    EXPECT_TRUE(at::equal(loaded.parameters()[i].second, fuser.parameters()[i].second));
  }
  EXPECT_NE(loaded.fingerprint(), 0u);
  EXPECT_EQ(loaded.fingerprint(), Load(copy / "final").fingerprint());
  std::filesystem::remove_all(copy);
}

std::vector<Case> Cases() {
  std::vector<Case> cases = {
      {"fp32_three_blocks", at::kFloat, {3, 2, 16}, {5, 3, 8}, {2, 3, 4}},
      {"fp32_four_blocks", at::kFloat, {4, 4, 8}, {2, 2, 32}, {0, 0, 0, 1}},
      {"bf16_three_blocks", at::kBFloat16, {4, 2, 32}, {5, 2, 32}, {1, 2, 3, 4}},
      {"bf16_four_blocks", at::kBFloat16, {2, 2, 64}, {3, 4, 16}, {1, 2}},
      {"pt_of_fp32_in_bf16", at::kBFloat16, {3, 4, 16}, {4, 1, 48}, {3, 0, 2}},
      {"pt_of_fp16_in_fp32", at::kFloat, {2, 2, 16}, {2, 2, 16}, {0, 1}},
      {"pt_bf16_shared", at::kBFloat16, {3, 1, 32}, {1, 1, 32}, {0, 0, 0}},
  };
  for (size_t i = 0, n = cases.size(); i < n; ++i) {
    cases.push_back(cases[i]);
    cases.back().products = FuseOptions::Products::kTogether;
  }
  for (size_t i = 0, n = cases.size(); i < n; ++i) {
    cases.push_back(cases[i]);
    cases.back().device = at::kCUDA;
  }
  return cases;
}

INSTANTIATE_TEST_SUITE_P(Cases, FuserParityTest, ::testing::ValuesIn(Cases()),
                         [](const auto& info) {
                           const bool together =
                               info.param.products == FuseOptions::Products::kTogether;
                           return absl::StrCat(info.param.name, together ? "_together" : "",
                                               info.param.device == at::kCPU ? "_cpu" : "_cuda");
                         });

}  // namespace
}  // namespace qc2c
