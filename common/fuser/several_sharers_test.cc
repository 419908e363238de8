// Two sharers of one receiver against the independent PyTorch implementation of
// tests/parity/fuser_fixtures.py, whose output lies in $QC2C_FUSER_FIXTURES.
#include "common/fuser/several_sharers.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/allclose.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/ones.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <map>
#include <ostream>

#include "absl/strings/str_cat.h"
#include "common/model/safetensors.h"

namespace qc2c {
namespace {

const KvLayout kReceiver = {3, 2, 16};
const KvLayout kSharers[] = {{4, 3, 8}, {2, 1, 24}};

struct SharersCase {
  std::string name;
  at::ScalarType dtype;
};

void PrintTo(const SharersCase& c, std::ostream* out) { *out << c.name; }

class SeveralSharersTest : public ::testing::TestWithParam<SharersCase> {
 protected:
  void SetUp() override {
    const char* root = std::getenv("QC2C_FUSER_FIXTURES");
    ASSERT_NE(root, nullptr) << "set QC2C_FUSER_FIXTURES to what fuser_fixtures.py wrote";
    const auto folder = std::filesystem::path(root) / GetParam().name;
    absl::StatusOr<NamedTensors> read = ReadSafetensors(folder / "expected.safetensors");
    ASSERT_TRUE(read.ok()) << read.status();
    expected_ = {read->begin(), read->end()};
    for (size_t i = 0; i < std::size(kSharers); ++i) {
      absl::StatusOr<Fuser> fuser = Fuser::Load(folder / absl::StrCat(i), kReceiver, kSharers[i],
                                                {.dtype = GetParam().dtype});
      ASSERT_TRUE(fuser.ok()) << fuser.status();
      fusers_.push_back(*std::move(fuser));
      const std::string prefix = absl::StrCat(i, ".");
      caches_.push_back({Layers(prefix + "keys.", kSharers[i].num_layers),
                         Layers(prefix + "values.", kSharers[i].num_layers)});
      caches_.back().selected = at::ones({caches_.back().keys[0].size(0), Tokens()}, at::kBool);
    }
    for (size_t i = 0; i < fusers_.size(); ++i) sources_.push_back({&fusers_[i], &caches_[i]});
  }

  int64_t Tokens() const { return expected_.at("receiver_keys.0").size(2); }

  std::vector<at::Tensor> Layers(const std::string& prefix, int32_t num_layers) {
    std::vector<at::Tensor> layers;
    for (int32_t t = 0; t < num_layers; ++t) {
      layers.push_back(expected_.at(absl::StrCat(prefix, t)));
    }
    return layers;
  }

  KvCache Receiver() {
    KvCache cache{Layers("receiver_keys.", kReceiver.num_layers),
                  Layers("receiver_values.", kReceiver.num_layers)};
    cache.valid = at::ones({cache.keys[0].size(0), Tokens()}, at::kBool);
    cache.lengths = cache.valid.sum(1);
    return cache;
  }

  // bf16 runs the same products on the same device and every rounding is prescribed: same bits.
  void ExpectFused(const KvCache& found, const std::string& order) {
    const double bound = GetParam().dtype == at::kBFloat16 ? 0 : 1e-5;
    for (int32_t t = 0; t < kReceiver.num_layers; ++t) {
      for (const auto& [half, layers] : {std::pair{"keys", found.keys}, {"values", found.values}}) {
        const std::string name = absl::StrCat(order, "_", half, ".", t);
        const at::Tensor error = layers[t].to(at::kDouble) - expected_.at(name).to(at::kDouble);
        EXPECT_LE(error.abs().max().item<double>(), bound) << name;
      }
    }
  }

  std::map<std::string, at::Tensor> expected_;
  std::vector<Fuser> fusers_;
  std::vector<SharerCache> caches_;
  std::vector<FusionSource> sources_;
};

TEST_P(SeveralSharersTest, OneAfterAnotherEqualsTheReference) {
  const at::NoGradGuard no_grad;
  const auto fused = FuseAll(sources_, Receiver(), FusionOrder::kSequential);
  ASSERT_TRUE(fused.ok()) << fused.status();
  ExpectFused(*fused, "sequential");
}

TEST_P(SeveralSharersTest, SideBySideEqualsTheReference) {
  const at::NoGradGuard no_grad;
  const auto fused = FuseAll(sources_, Receiver(), FusionOrder::kParallel);
  ASSERT_TRUE(fused.ok()) << fused.status();
  ExpectFused(*fused, "parallel");
  // Both gates of layer 2's keys are closed.
  EXPECT_TRUE(at::equal(fused->keys[2], Receiver().keys[2]));
}

TEST_P(SeveralSharersTest, ATokenThatOneSharerDidNotSendIsFusedByTheOthersAlone) {
  const at::NoGradGuard no_grad;
  caches_[0].selected = caches_[0].selected.clone();
  caches_[0].selected.select(1, 4).fill_(false);
  for (const FusionOrder order : {FusionOrder::kSequential, FusionOrder::kParallel}) {
    const KvCache both = FuseAll(sources_, Receiver(), order).value();
    const KvCache second = FuseAll(std::span(sources_).subspan(1), Receiver(), order).value();
    EXPECT_TRUE(at::allclose(both.keys[1].select(2, 4), second.keys[1].select(2, 4), 0, 1e-5));
    EXPECT_FALSE(at::equal(both.keys[1].select(2, 3), second.keys[1].select(2, 3)));
  }
}

TEST_P(SeveralSharersTest, AFaultNamesTheSharer) {
  caches_[1].keys[0] = at::Tensor();
  for (const FusionOrder order : {FusionOrder::kSequential, FusionOrder::kParallel}) {
    const absl::Status status = FuseAll(sources_, Receiver(), order).status();
    EXPECT_THAT(std::string(status.message()),
                ::testing::HasSubstr("sharer 1: sharer key of layer 0 is absent"));
    EXPECT_FALSE(FuseAll({}, Receiver(), order).ok());
  }
  EXPECT_EQ(ParseFusionOrder("sequential").value(), FusionOrder::kSequential);
  EXPECT_FALSE(ParseFusionOrder("both").ok());
}

INSTANTIATE_TEST_SUITE_P(Dtypes, SeveralSharersTest,
                         ::testing::Values(SharersCase{"several_fp32", at::kFloat},
                                           SharersCase{"several_bf16", at::kBFloat16}),
                         [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace qc2c
