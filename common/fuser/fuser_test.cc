#include "common/fuser/fuser.h"

#include <ATen/Context.h>
#include <ATen/TensorOperators.h>
#include <ATen/core/Generator.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/allclose.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <tuple>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/base/files.h"
#include "common/model/safetensors.h"
#include "common/model/test_model.h"

namespace qc2c {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

const KvLayout kReceiver = {3, 2, 8};  // that of SmallConfig()
const KvLayout kSharer = {4, 3, 4};

FuserConfig SmallFuser() {
  return {.receiver = kReceiver,
          .sharer = kSharer,
          .layer_map = LastAlignedMap(3, 4),
          .hidden_dim = 16,
          .intermediate_dim = 24,
          .num_blocks = 4};
}

Fuser RandomFuser(const ModelOptions& options = {}) {
  at::manual_seed(2);
  return Fuser::Create(SmallFuser(), options).value();
}

void SetGates(const Fuser& fuser, double logit) {
  const at::NoGradGuard no_grad;
  for (auto [name, tensor] : fuser.parameters()) {
    if (absl::EndsWith(name, "gate_logit")) tensor.fill_(logit);
  }
}

class FuserFolderTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const auto* info = ::testing::UnitTest::GetInstance()->current_test_info();
    folder_ = std::filesystem::path(::testing::TempDir()) / absl::StrCat("qc2c_", info->name());
    const absl::Status saved = RandomFuser().Save(folder_, at::kFloat);
    ASSERT_TRUE(saved.ok()) << saved;
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  absl::Status Load(const KvLayout& receiver = kReceiver, const KvLayout& sharer = kSharer) {
    return Fuser::Load(folder_, receiver, sharer, {}).status();
  }
  void ExpectRefusal(absl::StatusCode code, const std::string& what) {
    const absl::Status status = Load();
    EXPECT_EQ(status.code(), code) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(what));
  }
  template <typename Change>
  void ChangeJson(const std::string& file, const Change& change) {
    nlohmann::json json = nlohmann::json::parse(ReadFile(folder_ / "final" / file).value());
    change(json);
    ASSERT_TRUE(WriteFileAtomically(folder_ / "final" / file, json.dump()).ok());
  }
  template <typename Change>
  void ChangeTensors(const Change& change) {
    const auto path = folder_ / "final" / "projector_1.safetensors";
    NamedTensors tensors = ReadSafetensors(path).value();
    change(tensors);
    ASSERT_TRUE(WriteSafetensors(path, tensors).ok());
  }

  std::filesystem::path folder_;
};

constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;
constexpr auto kWrongPair = absl::StatusCode::kFailedPrecondition;

TEST_F(FuserFolderTest, TheSavedLayoutIsThePublishedOne) {
  EXPECT_TRUE(Load().ok());
  const NamedTensors tensors = ReadSafetensors(folder_ / "final/projector_0.safetensors").value();
  EXPECT_EQ(tensors.size(), 33u + 6u);  // one block more than the published three, in both halves
  const auto json = nlohmann::json::parse(ReadFile(folder_ / "final/projector_2.json").value());
  EXPECT_EQ(json["class"], "C2CProjector");
  EXPECT_EQ(json["init_args"]["source_dim"], 4);
  EXPECT_EQ(json["init_args"]["target_num_heads"], 2);
  EXPECT_EQ(json["init_args"]["dtype"],
            (nlohmann::json{{"__type__", "torch.dtype"}, {"value", "float32"}}));
  const auto map = nlohmann::json::parse(ReadFile(folder_ / "final/projector_config.json").value());
  EXPECT_EQ(map, nlohmann::json::parse(R"({"0":{"1":{"0":[[1,0]],"1":[[2,1]],"2":[[3,2]]}}})"));
}

TEST_F(FuserFolderTest, AnotherReceiverOrSharerIsRefusedByTheFieldThatDiffers) {
  const auto message = [&](const KvLayout& receiver, const KvLayout& sharer) {
    const absl::Status status = Load(receiver, sharer);
    EXPECT_EQ(status.code(), kWrongPair) << status;
    return std::string(status.message());
  };
  EXPECT_THAT(message({4, 2, 8}, kSharer),
              HasSubstr("number of layers is 3: the receiver's layers are 4"));
  EXPECT_THAT(message({3, 4, 8}, kSharer), HasSubstr("target_num_heads is 2"));
  EXPECT_THAT(message({3, 2, 16}, kSharer), HasSubstr("target_dim is 8"));
  EXPECT_THAT(message(kReceiver, {3, 3, 4}),
              HasSubstr("last sharer layer is 3: the sharer's last layer is 2"));
  EXPECT_THAT(message(kReceiver, {4, 6, 4}), HasSubstr("source_num_heads is 3"));
  EXPECT_THAT(message(kReceiver, {4, 3, 8}),
              HasSubstr("source_dim is 4: the sharer's head size is 8"));
}

TEST_F(FuserFolderTest, AMissingTensorIsRefusedByName) {
  ChangeTensors([](NamedTensors& tensors) {
    tensors.erase(std::find_if(tensors.begin(), tensors.end(), [](const auto& entry) {
      return entry.first == "value_proj_out.bias";
    }));
  });
  ExpectRefusal(kInvalid, "projector_1.safetensors: tensor value_proj_out.bias is missing");
}

TEST_F(FuserFolderTest, ASurplusTensorIsRefusedByName) {
  ChangeTensors([](NamedTensors& tensors) { tensors.emplace_back("key_extra", at::ones({2})); });
  ExpectRefusal(kInvalid, "projector_1.safetensors: tensor key_extra has no place");
}

TEST_F(FuserFolderTest, AMisshapenTensorIsRefusedWithBothShapes) {
  ChangeTensors([](NamedTensors& tensors) {
    for (auto& [name, tensor] : tensors) {
      if (name == "key_in.weight") tensor = at::ones({16, 27});
    }
  });
  ExpectRefusal(kInvalid, "tensor key_in.weight has shape [16, 27]: expected [16, 28]");
}

TEST_F(FuserFolderTest, AnotherClassOrAnUnknownArgumentIsRefused) {
  ChangeJson("projector_0.json", [](auto& json) { json["class"] = "AllInOneProjector"; });
  ExpectRefusal(kInvalid, "class is \"AllInOneProjector\": expected \"C2CProjector\"");
  ChangeJson("projector_0.json", [](auto& json) {
    json["class"] = "C2CProjector";
    json["init_args"]["gate_granularity"] = "token";
  });
  ExpectRefusal(kInvalid, "gate_granularity");
}

TEST_F(FuserFolderTest, ArgumentsOfAWrongTypeOrRangeAreRefusedByName) {
  ChangeJson("projector_0.json", [](auto& json) { json["init_args"]["num_layers"] = 2; });
  ExpectRefusal(kInvalid, "num_layers is 2");
  ChangeJson("projector_0.json", [](auto& json) { json["init_args"]["num_layers"] = "4"; });
  ExpectRefusal(kInvalid, "num_layers is \"4\"");
  ChangeJson("projector_0.json", [](auto& json) { json["init_args"].erase("source_dim"); });
  ExpectRefusal(kInvalid, "source_dim is missing");
}

TEST_F(FuserFolderTest, AbsentArgumentsHaveTheReferencesDefaults) {
  for (const char* file : {"projector_0.json", "projector_1.json", "projector_2.json"}) {
    ChangeJson(file,
               [](auto& json) { json["init_args"] = {{"source_dim", 4}, {"target_dim", 8}}; });
  }
  const FuserConfig config = ReadFuserConfig(folder_).value();
  EXPECT_EQ(config.receiver, (KvLayout{3, 1, 8}));
  EXPECT_EQ(config.sharer, (KvLayout{4, 1, 4}));
  EXPECT_EQ(config.layer_map, (LayerMap{1, 2, 3}));
  EXPECT_EQ(config.hidden_dim, 1024);
  EXPECT_EQ(config.intermediate_dim, 1024);
  EXPECT_EQ(config.num_blocks, 3);
}

TEST_F(FuserFolderTest, ArgumentsThatOnlyTrainingReadsAreCheckedToo) {
  for (const auto& [key, value, expected] :
       std::vector<std::tuple<std::string, nlohmann::json, std::string>>{
           {"dtype", "bfloat16", "dtype is \"bfloat16\": expected {\"__type__\""},
           {"dtype", {{"__type__", "torch.dtype"}, {"value", "int8"}}, "dtype is {"},
           {"dropout", 1.5, "dropout is 1.5"},
           {"anneal_steps", "many", "anneal_steps is \"many\""},
           {"zero_init", 1, "zero_init is 1: expected true or false"}}) {
    nlohmann::json before;
    ChangeJson("projector_1.json", [&, &key = key, &value = value](auto& json) {
      before = json;
      json["init_args"][key] = value;
    });
    ExpectRefusal(kInvalid, expected);
    ChangeJson("projector_1.json", [&](auto& json) { json = before; });
  }
  EXPECT_TRUE(Load().ok());
}

TEST_F(FuserFolderTest, OnlyTheFirstPairOfALayerCountsAndOtherFilesAreIgnored) {
  std::filesystem::copy(folder_ / "final/projector_2.json", folder_ / "final/projector_7.json");
  ASSERT_TRUE(WriteFileAtomically(folder_ / "final/aggregator_config.json", "{}").ok());
  ChangeJson("projector_config.json",
             [](auto& json) { json["0"]["1"]["1"] = nlohmann::json::array({{2, 1}, {0, 7}}); });
  EXPECT_TRUE(Load().ok());
}

TEST_F(FuserFolderTest, AProjectorInTwoFormatsIsRefused) {
  std::filesystem::copy(folder_ / "final/projector_1.safetensors",
                        folder_ / "final/projector_1.pt");
  ExpectRefusal(kInvalid, "projector_1.pt and projector_1.safetensors: expected one of them");
}

TEST_F(FuserFolderTest, LayersOfDifferentSizesAreRefused) {
  ChangeJson("projector_2.json", [](auto& json) { json["init_args"]["hidden_dim"] = 32; });
  ExpectRefusal(kInvalid, "hidden_dim 32, intermediate_dim 24, num_layers 4: expected as in");
}

TEST_F(FuserFolderTest, AMalformedMapIsRefused) {
  for (const char* map : {"[]", "{}", R"({"0":{}})", R"({"0":{"1":{},"2":{}}})"}) {
    ASSERT_TRUE(WriteFileAtomically(folder_ / "final/projector_config.json", map).ok());
    EXPECT_FALSE(Load().ok()) << map;
  }
  for (const char* entry :
       {"[]", "1", "[1]", "[[1]]", "[[1,-1]]", "[[0.5,1]]", "[[99999999999,1]]"}) {
    const std::string map =
        absl::StrCat(R"({"0":{"1":{"0":[[1,0]],"1":)", entry, R"(,"2":[[3,2]]}}})");
    ASSERT_TRUE(WriteFileAtomically(folder_ / "final/projector_config.json", map).ok());
    ExpectRefusal(kInvalid, "1 is ");
  }
}

TEST_F(FuserFolderTest, AMissingOrSurplusProjectorIsRefused) {
  std::filesystem::copy(folder_ / "final/projector_2.json", folder_ / "final/projector_3.json");
  ExpectRefusal(kWrongPair, "projector_3.json: no layer");
  std::filesystem::remove(folder_ / "final/projector_3.json");
  std::filesystem::remove(folder_ / "final/projector_2.safetensors");
  ExpectRefusal(absl::StatusCode::kNotFound, "projector_2.safetensors");
  std::filesystem::remove_all(folder_);
  ExpectRefusal(absl::StatusCode::kNotFound, "projector_config.json");
}

class FuserFuseTest : public ::testing::TestWithParam<at::DeviceType> {
 protected:
  void SetUp() override {
    if (GetParam() == at::kCUDA && !at::hasCUDA()) GTEST_SKIP() << "no CUDA device";
  }
  at::Tensor Randn(std::vector<int64_t> sizes) { return at::randn(sizes).to(GetParam()); }

  // Both rows have `num_tokens` tokens, of which the sharer sent the first `num_sent`.
  SharerCache Sharer(int64_t num_tokens) {
    SharerCache cache;
    for (int32_t layer = 0; layer < kSharer.num_layers; ++layer) {
      cache.keys.push_back(Randn({2, kSharer.num_kv_heads, num_tokens, kSharer.head_dim}));
      cache.values.push_back(Randn({2, kSharer.num_kv_heads, num_tokens, kSharer.head_dim}));
    }
    cache.selected = at::ones({2, num_tokens}, at::kBool).to(GetParam());
    return cache;
  }
  Model MakeReceiver() { return RandomModel(SmallConfig(), {.device = GetParam()}); }
  TokenBatch Batch(const std::vector<std::vector<int32_t>>& sequences) {
    return TokenBatch::FromSequences(sequences, GetParam());
  }
};

TEST_P(FuserFuseTest, AnUntrainedFuserHasClosedGatesAndChangesNothing) {
  const at::NoGradGuard no_grad;
  const Model receiver = MakeReceiver();
  const Fuser fuser = RandomFuser({.device = GetParam()});
  const KvCache own = receiver.Forward(Batch({{1, 2, 3}, {4, 5, 6}}), nullptr)->cache;
  const KvCache fused = fuser.Fuse(Sharer(3), own).value();
  for (int32_t layer = 0; layer < kReceiver.num_layers; ++layer) {
    EXPECT_FALSE(fuser.GateIsOpen(layer, Half::kKey));
    EXPECT_TRUE(fused.keys[layer].is_same(own.keys[layer]));  // not even copied
    EXPECT_TRUE(fused.values[layer].is_same(own.values[layer]));
  }
}

TEST_P(FuserFuseTest, LinearLayersStartUniformWithinTheInverseRootOfTheirFanIn) {
  const Fuser fuser = RandomFuser({.device = GetParam()});
  for (const auto& [name, tensor] : fuser.parameters()) {
    if (absl::EndsWith(name, "norm.weight")) {
      EXPECT_TRUE(tensor.eq(1).all().item<bool>());
    } else if (absl::EndsWith(name, "in.weight") || absl::EndsWith(name, "in.bias")) {
      const double bound = 1 / std::sqrt(3 * 4 + 2 * 8);  // the bias follows its weight's fan-in
      EXPECT_LE(tensor.abs().max().item<double>(), bound);
      EXPECT_GT(tensor.abs().max().item<double>(), bound / 2);
    }
  }
}

TEST_P(FuserFuseTest, TheLossThroughFuseAndForwardReachesEveryFuserParameter) {
  const Model receiver = MakeReceiver();
  const Fuser fuser = RandomFuser({.device = GetParam()});
  for (auto [name, tensor] : fuser.parameters()) tensor.set_requires_grad(true);
  const KvCache own = receiver.Forward(Batch({{1, 2, 3}, {4, 5, 6}}), nullptr)->cache;
  using Products = FuseOptions::Products;
  for (const auto& [dropout, products] : {std::pair{0.0, Products::kOneByOne},
                                          {0.1, Products::kOneByOne},
                                          {0.1, Products::kTogether}}) {
    FuseOptions options{
        .gates = FuseOptions::Gates::kSampled, .dropout = dropout, .products = products};
    SharerCache sharer = Sharer(3);
    sharer.selected[1][0] = false;
    const KvCache fused = fuser.Fuse(sharer, own, options).value();
    const ForwardResult result = receiver.Forward(Batch({{7}, {8}}), &fused).value();
    at::log_softmax(receiver.Logits(result.hidden), -1).select(-1, 3).sum().backward();
    for (auto [name, tensor] : fuser.parameters()) {
      ASSERT_TRUE(tensor.grad().defined()) << name;
      EXPECT_TRUE(tensor.grad().isfinite().all().item<bool>()) << name;
      EXPECT_GT(tensor.grad().abs().max().item<float>(), 0) << name;
      tensor.mutable_grad() = at::Tensor();
    }
  }
  for (const auto& [name, tensor] : receiver.parameters()) EXPECT_FALSE(tensor.grad().defined());
}

// A tensor with a selection of its own is fused at its own tokens, and the other tensors as
// without. A GPU may sum the products of fewer halves in another order: some 100 terms of order 1
// in fp32.
TEST_P(FuserFuseTest, ATensorWithItsOwnSelectionIsFusedAtItsTokensAlone) {
  const at::NoGradGuard no_grad;
  constexpr double kRounding = 1e-5;
  const Model receiver = MakeReceiver();
  const Fuser fuser = RandomFuser({.device = GetParam()});
  SetGates(fuser, 1);
  const KvCache own = receiver.Forward(Batch({{1, 2, 3}, {4, 5, 6}}), nullptr)->cache;
  SharerCache sharer = Sharer(3);
  const KvCache whole = fuser.Fuse(sharer, own).value();
  const int32_t s = fuser.config().layer_map[0];
  sharer.selected_values.resize(kSharer.num_layers);
  for (const int64_t num_own : {0, 2}) {
    at::Tensor selected = at::zeros_like(sharer.selected);
    selected.narrow(1, 0, num_own).fill_(true);
    sharer.selected_values[s] = selected;
    const KvCache fused = fuser.Fuse(sharer, own).value();
    for (int32_t layer = 0; layer < kReceiver.num_layers; ++layer) {
      EXPECT_TRUE(fused.keys[layer].allclose(whole.keys[layer], kRounding, kRounding));
      const bool is_other = fuser.config().layer_map[layer] != s;
      const int64_t num_fused = is_other ? 3 : num_own;
      EXPECT_TRUE(fused.values[layer]
                      .narrow(2, 0, num_fused)
                      .allclose(whole.values[layer].narrow(2, 0, num_fused), kRounding, kRounding));
      EXPECT_TRUE(fused.values[layer]
                      .narrow(2, num_fused, 3 - num_fused)
                      .equal(own.values[layer].narrow(2, num_fused, 3 - num_fused)));
      EXPECT_FALSE(whole.values[layer].allclose(own.values[layer]));
    }
  }
}

// One by one and together are the same function: so are their gradients, whether all halves get one
// (sampled gates) or only those of open gates, which are no neighbours here.
TEST_P(FuserFuseTest, GradientsDoNotDependOnHowProductsAreGrouped) {
  const Model receiver = MakeReceiver();
  const Fuser fuser = RandomFuser({.device = GetParam()});
  SetGates(fuser, 1);
  const KvCache own = receiver.Forward(Batch({{1, 2, 3}, {4, 5, 6}}), nullptr)->cache;
  SharerCache sharer = Sharer(3);
  sharer.selected[1][0] = false;
  const auto gradients = [&](FuseOptions options) {
    const KvCache fused = fuser.Fuse(sharer, own, options).value();
    at::Tensor sum = at::zeros({}, fused.keys[0].options());
    for (const auto* half : {&fused.keys, &fused.values}) {
      for (const at::Tensor& layer : *half) sum = sum + layer.square().sum();
    }
    sum.backward();
    std::map<std::string, at::Tensor> found;
    for (auto [name, tensor] : fuser.parameters()) {
      if (tensor.grad().defined()) found[name] = tensor.grad();
      tensor.mutable_grad() = at::Tensor();
    }
    return found;
  };
  for (auto [name, tensor] : fuser.parameters()) {
    if (name == "projectors.1.key_gate_logit") tensor.fill_(-1);
    tensor.set_requires_grad(true);
  }
  using Products = FuseOptions::Products;
  const auto expected = gradients({.products = Products::kOneByOne});
  const auto found = gradients({.products = Products::kTogether});
  EXPECT_EQ(expected.size(),
            (fuser.parameters().size() / 6 - 1) * 5);  // no gradient for hard gates
  ASSERT_EQ(found.size(), expected.size());
  for (const auto& [name, gradient] : found) {
    EXPECT_TRUE(at::allclose(gradient, expected.at(name), 1e-4, 1e-5)) << name;
  }
  const auto sampled =
      gradients({.gates = FuseOptions::Gates::kSampled, .products = Products::kTogether});
  EXPECT_EQ(sampled.size(), fuser.parameters().size());
}

TEST_P(FuserFuseTest, SampledGatesFollowTheirTemperatureAndTheirGenerator) {
  const at::NoGradGuard no_grad;
  const Model receiver = MakeReceiver();
  const Fuser fuser = RandomFuser({.device = GetParam()});
  const KvCache own = receiver.Forward(Batch({{1, 2, 3}, {4, 5, 6}}), nullptr)->cache;
  const SharerCache sharer = Sharer(3);
  // With logits far from 0 and a low temperature the noise decides nothing: the gates are hard
  // ones.
  for (auto [name, tensor] : fuser.parameters()) {
    if (absl::EndsWith(name, "gate_logit"))
      tensor.fill_(absl::StrContains(name, "key") ? 100 : -100);
  }
  const KvCache hard = fuser.Fuse(sharer, own).value();
  const KvCache cold =
      fuser.Fuse(sharer, own, {.gates = FuseOptions::Gates::kSampled, .temperature = 0.01}).value();
  for (int32_t layer = 0; layer < kReceiver.num_layers; ++layer) {
    EXPECT_TRUE(at::allclose(hard.keys[layer], cold.keys[layer], 1e-5, 1e-5));
    EXPECT_FALSE(at::equal(hard.keys[layer], own.keys[layer]));
    EXPECT_TRUE(at::equal(cold.values[layer], own.values[layer]));
  }
  SetGates(fuser, 0);
  const auto sample = [&](uint64_t seed) {
    at::Generator generator = at::globalContext().defaultGenerator(GetParam()).clone();
    generator.set_current_seed(seed);
    FuseOptions options{.gates = FuseOptions::Gates::kSampled, .generator = generator};
    return fuser.Fuse(sharer, own, options)->keys[0];
  };
  EXPECT_TRUE(at::equal(sample(5), sample(5)));
  EXPECT_FALSE(at::equal(sample(5), sample(6)));
}

TEST_P(FuserFuseTest, CachesThatDoNotFitAreRefusedByLayer) {
  const at::NoGradGuard no_grad;
  const Model receiver = MakeReceiver();
  const Fuser fuser = RandomFuser({.device = GetParam()});
  const KvCache own = receiver.Forward(Batch({{1, 2, 3}, {4, 5, 6}}), nullptr)->cache;
  SetGates(fuser, 1);
  const auto message = [&](const SharerCache& sharer, const KvCache& cache) {
    const absl::Status status = fuser.Fuse(sharer, cache).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    return std::string(status.message());
  };
  SharerCache sharer = Sharer(3);
  sharer.keys[0] = at::Tensor();  // nobody reads layer 0
  EXPECT_TRUE(fuser.Fuse(sharer, own).ok());
  sharer.values[2] = at::Tensor();
  EXPECT_THAT(message(sharer, own), HasSubstr("sharer value of layer 2 is absent"));
  sharer.values[2] = Randn({2, 3, 2, 4});
  EXPECT_THAT(message(sharer, own),
              HasSubstr("sharer value of layer 2 has shape [2, 3, 2, 4]: expected [2, 3, 3, 4]"));
  EXPECT_THAT(message(Sharer(4), own), HasSubstr("sharer.selected"));
  KvCache narrow = own;
  narrow.keys.pop_back();
  EXPECT_THAT(message(Sharer(3), narrow), HasSubstr("receiver cache has 2 layers: expected 3"));
  KvCache half = own;
  half.keys[1] = half.keys[1].to(at::kBFloat16);
  EXPECT_THAT(message(Sharer(3), half), HasSubstr("receiver key of layer 1 is BFloat16"));
}

TEST_P(FuserFuseTest, AHalfThatOnlyClosedGatesReadNeedNotTravel) {
  const at::NoGradGuard no_grad;
  const Model receiver = MakeReceiver();
  const Fuser fuser = RandomFuser({.device = GetParam()});
  const KvCache own = receiver.Forward(Batch({{1, 2, 3}, {4, 5, 6}}), nullptr)->cache;
  for (auto [name, tensor] : fuser.parameters()) {
    if (name == "projectors.1.key_gate_logit") tensor.fill_(1);
  }
  EXPECT_THAT(fuser.SharerLayersRead(Half::kKey), ElementsAre(2));
  EXPECT_THAT(fuser.SharerLayersRead(Half::kValue), IsEmpty());
  const SharerCache whole = Sharer(3);
  SharerCache sent = whole;
  sent.keys[0] = sent.keys[1] = sent.keys[3] = at::Tensor();
  for (at::Tensor& layer : sent.values) layer = at::Tensor();
  EXPECT_TRUE(at::equal(fuser.Fuse(sent, own)->keys[1], fuser.Fuse(whole, own)->keys[1]));
}

TEST_P(FuserFuseTest, WrongOptionsAndWrongConfigsAreRefused) {
  const at::NoGradGuard no_grad;
  const Model receiver = MakeReceiver();
  const Fuser fuser = RandomFuser({.device = GetParam()});
  const KvCache own = receiver.Forward(Batch({{1, 2, 3}, {4, 5, 6}}), nullptr)->cache;
  using Gates = FuseOptions::Gates;
  EXPECT_FALSE(fuser.Fuse(Sharer(3), own, {.gates = Gates::kSampled, .temperature = 0}).ok());
  EXPECT_FALSE(fuser.Fuse(Sharer(3), own, {.gates = Gates::kSampled, .dropout = 1}).ok());
  EXPECT_FALSE(fuser.Fuse(Sharer(3), own, {.gates = Gates::kHard, .dropout = 0.1}).ok());
  FuserConfig config = SmallFuser();
  config.layer_map = {0, 1, 4};
  EXPECT_THAT(std::string(Fuser::Create(config, {}).status().message()),
              HasSubstr("layer_map entry is 4: expected 0 to 3"));
  config.layer_map = {0};
  EXPECT_THAT(std::string(Fuser::Create(config, {}).status().message()),
              HasSubstr("layer_map has 1 entries: expected 3"));
}

INSTANTIATE_TEST_SUITE_P(Devices, FuserFuseTest, ::testing::Values(at::kCPU, at::kCUDA),
                         [](const auto& info) { return info.param == at::kCPU ? "cpu" : "cuda"; });

}  // namespace
}  // namespace qc2c
