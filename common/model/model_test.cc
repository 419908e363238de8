#include "common/model/model.h"

#include <ATen/Context.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/allclose.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/tensor.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "common/base/files.h"
#include "common/model/safetensors.h"
#include "common/model/test_model.h"

namespace qc2c {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

class ModelFolderTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const auto* info = ::testing::UnitTest::GetInstance()->current_test_info();
    folder_ = std::filesystem::path(::testing::TempDir()) / absl::StrCat("qc2c_", info->name());
    const Model model = RandomModel(config_);
    tensors_ = model.parameters();
    ASSERT_TRUE(config_.Save(folder_).ok());
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  absl::StatusOr<Model> WriteAndLoad(at::ScalarType dtype = at::kFloat) {
    EXPECT_TRUE(WriteSafetensors(folder_ / "model.safetensors", tensors_).ok());
    return Model::Load(folder_, {.dtype = dtype});
  }
  // INVALID_ARGUMENT; the message.
  std::string Refusal() {
    const absl::Status status = WriteAndLoad().status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
    return std::string(status.message());
  }
  at::Tensor& Find(const std::string& name) {
    for (auto& [own, tensor] : tensors_) {
      if (own == name) return tensor;
    }
    throw std::out_of_range(name);
  }

  ModelConfig config_ = SmallConfig();
  std::filesystem::path folder_;
  NamedTensors tensors_;
};

TEST_F(ModelFolderTest, LoadsWhatWasSavedAndNamesIt) {
  const Model model = WriteAndLoad().value();
  ASSERT_EQ(model.parameters().size(), tensors_.size());
  for (size_t i = 0; i < tensors_.size(); ++i) {
    EXPECT_EQ(model.parameters()[i].first, tensors_[i].first);
    EXPECT_TRUE(at::equal(model.parameters()[i].second, tensors_[i].second));
  }
  EXPECT_NE(model.fingerprint(), 0u);
  Find("model.norm.weight")[3] += 1;
  EXPECT_NE(WriteAndLoad()->fingerprint(), model.fingerprint());
}

TEST_F(ModelFolderTest, TheFilesDtypeIsConverted) {
  for (auto& [name, tensor] : tensors_) tensor = tensor.to(at::kHalf);
  const Model model = WriteAndLoad(at::kBFloat16).value();
  for (size_t i = 0; i < tensors_.size(); ++i) {
    EXPECT_TRUE(at::equal(model.parameters()[i].second, tensors_[i].second.to(at::kBFloat16)));
  }
  EXPECT_THAT(std::string(Model::Load(folder_, {.dtype = at::kHalf}).status().message()),
              HasSubstr("expected Float or BFloat16"));
}

TEST_F(ModelFolderTest, ShardsLoadAsOneFileDoesAndNoneStaysMapped) {
  const Model whole = WriteAndLoad().value();
  nlohmann::json index;
  NamedTensors shards[2];
  for (size_t i = 0; i < tensors_.size(); ++i) {
    shards[i % 2].push_back(tensors_[i]);
    index["weight_map"][tensors_[i].first] = absl::StrCat("shard-", i % 2, ".safetensors");
  }
  std::filesystem::remove(folder_ / "model.safetensors");
  ASSERT_TRUE(WriteFileAtomically(folder_ / "model.safetensors.index.json", index.dump()).ok());
  for (int i = 0; i < 2; ++i) {
    const std::string name = absl::StrCat("shard-", i, ".safetensors");
    ASSERT_TRUE(WriteSafetensors(folder_ / name, shards[i]).ok());
  }
  const Model model = Model::Load(folder_, {}).value();
  for (size_t i = 0; i < tensors_.size(); ++i) {
    EXPECT_TRUE(at::equal(model.parameters()[i].second, tensors_[i].second));
  }
  std::ifstream maps("/proc/self/maps");
  const std::string mapped(std::istreambuf_iterator<char>(maps), {});
  EXPECT_THAT(mapped, HasSubstr("libtorch"));
  EXPECT_THAT(mapped, Not(HasSubstr(folder_.string())));
}

TEST_F(ModelFolderTest, AMissingTensorIsRefusedByName) {
  tensors_.erase(tensors_.begin() + 5);
  EXPECT_THAT(Refusal(), HasSubstr("tensor model.layers.0.self_attn.q_proj.bias is missing"));
}

TEST_F(ModelFolderTest, ASurplusTensorIsRefusedByName) {
  tensors_.emplace_back("model.layers.3.input_layernorm.weight", at::ones({24}));
  EXPECT_THAT(Refusal(), HasSubstr("tensor model.layers.3.input_layernorm.weight has no place in a "
                                   "Qwen2ForCausalLM of 3 layers"));
}

TEST_F(ModelFolderTest, AMisshapenTensorIsRefusedWithBothShapes) {
  Find("model.layers.1.mlp.up_proj.weight") = at::ones({24, 40});
  EXPECT_THAT(Refusal(), HasSubstr("tensor model.layers.1.mlp.up_proj.weight has shape [24, 40]: "
                                   "config.json asks for [40, 24]"));
}

TEST_F(ModelFolderTest, ATensorOfIntegersIsRefused) {
  Find("model.norm.weight") = at::ones({24}, at::kLong);
  EXPECT_THAT(Refusal(), HasSubstr("tensor model.norm.weight has dtype Long: expected a floating"));
}

TEST_F(ModelFolderTest, ATiedModelsHeadMustBeItsEmbedding) {
  config_.embedding = ModelConfig::Embedding::kTied;
  ASSERT_TRUE(config_.Save(folder_).ok());
  EXPECT_THAT(Refusal(), HasSubstr("tensor lm_head.weight differs from model.embed_tokens.weight"));
  Find("lm_head.weight") = Find("model.embed_tokens.weight").clone();
  EXPECT_TRUE(WriteAndLoad().ok());
}

TEST_F(ModelFolderTest, ATruncatedFileIsRefusedByName) {
  ASSERT_TRUE(WriteAndLoad().ok());
  const std::string whole = ReadFile(folder_ / "model.safetensors").value();
  ASSERT_TRUE(WriteFileAtomically(folder_ / "model.safetensors", whole.substr(0, 5000)).ok());
  const absl::Status status = Model::Load(folder_, {}).status();
  EXPECT_THAT(std::string(status.message()), HasSubstr("model.safetensors"));
}

TEST_F(ModelFolderTest, AFolderWithoutWeightsIsNotFound) {
  EXPECT_EQ(Model::Load(folder_, {}).status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(Model::Load(folder_ / "none", {}).status().code(), absl::StatusCode::kNotFound);
}

TEST_F(ModelFolderTest, AnIndexThatLeavesTheFolderOrMissesAShardIsRefused) {
  const auto load = [&](const std::string& file) {
    const nlohmann::json index = {{"weight_map", {{"model.norm.weight", file}}}};
    EXPECT_TRUE(WriteFileAtomically(folder_ / "model.safetensors.index.json", index.dump()).ok());
    return Model::Load(folder_, {}).status();
  };
  for (const char* file : {"../model.safetensors", "/etc/passwd", "", ".."}) {
    const absl::Status status = load(file);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << file;
    EXPECT_THAT(std::string(status.message()), HasSubstr("model.norm.weight"));
  }
  EXPECT_EQ(load("model-1.safetensors").code(), absl::StatusCode::kNotFound);
}

class ModelForwardTest : public ::testing::TestWithParam<at::DeviceType> {
 protected:
  void SetUp() override {
    if (GetParam() == at::kCUDA && !at::hasCUDA()) GTEST_SKIP() << "no CUDA device";
  }
  Model MakeModel() { return RandomModel(SmallConfig(), {.device = GetParam()}); }
  TokenBatch Batch(const std::vector<std::vector<int32_t>>& sequences) {
    return TokenBatch::FromSequences(sequences, GetParam());
  }
};

TEST_P(ModelForwardTest, AnIdOutsideTheVocabularyIsRefusedByValueAndRow) {
  EXPECT_THAT(std::string(CheckTokenIds({{1}, {2, 50}}, SmallConfig()).message()),
              HasSubstr("row 1, token 1 has id 50: the vocabulary has 50"));
  EXPECT_THAT(std::string(CheckTokenIds({{-1}}, SmallConfig()).message()), HasSubstr("id -1"));
  EXPECT_THAT(std::string(CheckTokenIds({{1}, {}}, SmallConfig()).message()),
              HasSubstr("row 1 is empty"));
  EXPECT_TRUE(CheckTokenIds({{0}, {49}}, SmallConfig()).ok());
  if (GetParam() == at::kCUDA) return;
  const Model model = MakeModel();
  for (const int32_t id : {50, -1}) {
    EXPECT_THAT(std::string(model.Forward(Batch({{1}, {2, id}}), nullptr).status().message()),
                HasSubstr(absl::StrCat("row 1, token 1 has id ", id)));
  }
}

TEST_P(ModelForwardTest, ARowThatOutgrowsTheContextIsRefused) {
  const at::NoGradGuard no_grad;
  const Model model = MakeModel();
  const int32_t context = SmallConfig().max_positions;
  const std::vector<int32_t> all(context, 1);
  const ForwardResult full = model.Forward(Batch({all}), nullptr).value();
  EXPECT_THAT(std::string(model.Forward(Batch({{1}}), &full.cache).status().message()),
              HasSubstr("a row has 41 tokens: the model has 40 positions"));
  EXPECT_FALSE(model.Forward(Batch({std::vector<int32_t>(context + 1, 1)}), nullptr).ok());
  EXPECT_FALSE(CheckTokenIds({std::vector<int32_t>(context + 1, 1)}, SmallConfig()).ok());
}

TEST_P(ModelForwardTest, ABatchThatIsNoBatchOrDoesNotFitThePastIsRefused) {
  const at::NoGradGuard no_grad;
  const Model model = MakeModel();
  EXPECT_FALSE(model.Forward(Batch({}), nullptr).ok());
  const ForwardResult two = model.Forward(Batch({{1}, {2}}), nullptr).value();
  EXPECT_THAT(std::string(model.Forward(Batch({{1}}), &two.cache).status().message()),
              HasSubstr("found 3 layers of 2 rows"));
}

TEST_P(ModelForwardTest, ARowOfLengthZeroAddsNoToken) {
  const at::NoGradGuard no_grad;
  const Model model = MakeModel();
  const ForwardResult past = model.Forward(Batch({{1, 2, 3}, {4, 5}}), nullptr).value();
  TokenBatch next = Batch({{6}, {7}});
  next.lengths[0] = 0;
  const ForwardResult result = model.Forward(next, &past.cache).value();
  EXPECT_TRUE(at::equal(result.cache.lengths.cpu(), at::tensor({3, 3}, at::kLong)));
  EXPECT_FALSE(result.cache.valid[0][3].item<bool>());
  EXPECT_TRUE(result.cache.valid[1][3].item<bool>());
}

TEST_P(ModelForwardTest, AViewOfARowSeesItsKeysWithoutACopy) {
  const at::NoGradGuard no_grad;
  const Model model = MakeModel();
  const KvCache cache = model.Forward(Batch({{1, 2}, {3, 4, 5}}), nullptr)->cache;
  const KvLayout layout = SmallConfig().Layout();
  const KvCacheView view = ViewOfRow(cache, 1, 3, {0, 2}, layout);
  EXPECT_EQ(view.num_tokens, 3);
  EXPECT_EQ(view.dtype, DType::kFp32);
  EXPECT_EQ(view.device, GetParam() == at::kCPU ? DeviceType::kCpu : DeviceType::kCuda);
  EXPECT_EQ(view.keys[1].data, nullptr);
  for (const Half half : {Half::kKey, Half::kValue}) {
    const at::Tensor& tensor = half == Half::kKey ? cache.keys[2] : cache.values[2];
    const KvPlane& plane = view.Plane(2, half);
    for (int64_t token = 0; token < 3; ++token) {
      for (int64_t head = 0; head < layout.num_kv_heads; ++head) {
        EXPECT_EQ(
            static_cast<float*>(plane.data) + token * plane.token_stride + head * plane.head_stride,
            tensor[1][head][token].data_ptr<float>());
      }
    }
  }
}

// One windowed layer: a token's hidden state depends on the last kWindow tokens alone, wherever in
// the cache they are.
TEST_P(ModelForwardTest, AWindowCountsTokensByPositionNotBySlot) {
  const at::NoGradGuard no_grad;
  constexpr int64_t kWindow = 4;
  ModelConfig config = SmallConfig();
  config.num_layers = 1;
  config.attention = {ModelConfig::Attention::kWindow};
  config.window = kWindow;
  const Model model = RandomModel(config, {.device = GetParam()});
  const KvCache whole = model.Forward(Batch({{1, 2, 3, 4, 5, 6}, {7, 8}}), nullptr)->cache;
  const auto next = [&](const KvCache& past) {
    return model.Forward(Batch({{9}, {10}}), &past)->hidden;
  };
  const at::Tensor expected = next(whole);
  // Slots 0 and 1 of row 0 lie before the window of position 6, slot 3 (position 3) lies in it.
  const auto without = [&](const std::vector<int64_t>& slots) {
    KvCache pruned = whole;
    pruned.valid = whole.valid.clone();
    for (const int64_t slot : slots) pruned.valid[0][slot].fill_(false);
    return pruned;
  };
  EXPECT_TRUE(at::equal(next(without({0, 1, 2})), expected));
  EXPECT_FALSE(at::allclose(next(without({3}))[0], expected[0], 1e-3, 1e-3));
  // The same tokens in the slots of a cache that has no others, in another order.
  const at::Tensor kept = at::tensor({5, 3, 0, 4, 1}, at::kLong).to(GetParam());
  const KvCache moved = {{whole.keys[0].index_select(2, kept)},
                         {whole.values[0].index_select(2, kept)},
                         whole.valid.index_select(1, kept),
                         whole.positions.index_select(1, kept),
                         whole.lengths};
  EXPECT_TRUE(at::allclose(next(moved), expected, 1e-5, 1e-5));
}

TEST_P(ModelForwardTest, PositionsWithoutGapsChangeNothing) {
  const at::NoGradGuard no_grad;
  const Model model = MakeModel();
  const std::vector<std::vector<int32_t>> rows = {{1, 2, 3}, {4, 5}};
  const ForwardResult plain = model.Forward(Batch(rows), nullptr).value();
  // An empty list stands for 0, 1, 2, ...
  const TokenBatch listed = TokenBatch::FromSequences(rows, {{0, 1, 2}, {}}, GetParam());
  const ForwardResult result = model.Forward(listed, nullptr).value();
  EXPECT_TRUE(at::equal(result.hidden, plain.hidden));
  EXPECT_TRUE(at::equal(result.cache.keys[2], plain.cache.keys[2]));
  EXPECT_TRUE(at::equal(result.cache.lengths, plain.cache.lengths));
  EXPECT_FALSE(TokenBatch::FromSequences(rows, {{}, {}}, GetParam()).positions.defined());
}

TEST_P(ModelForwardTest, PositionsThatDoNotFitAreRefused) {
  const at::NoGradGuard no_grad;
  const Model model = MakeModel();
  TokenBatch tokens = TokenBatch::FromSequences({{1, 2}}, {{3, 40}}, GetParam());
  if (GetParam() == at::kCPU) {  // on a GPU nobody waits for the values
    EXPECT_THAT(std::string(model.Forward(tokens, nullptr).status().message()),
                HasSubstr("positions are 3 to 40: the model has 40"));
  }
  tokens.positions = tokens.positions.narrow(1, 0, 1);
  EXPECT_THAT(std::string(model.Forward(tokens, nullptr).status().message()),
              HasSubstr("expected positions [B, T]"));
}

TEST_P(ModelForwardTest, APastWithoutPositionsIsRefused) {
  const at::NoGradGuard no_grad;
  const Model model = MakeModel();
  ForwardResult past = model.Forward(Batch({{1, 2}}), nullptr).value();
  past.cache.positions = at::Tensor();
  EXPECT_THAT(std::string(model.Forward(Batch({{3}}), &past.cache).status().message()),
              HasSubstr("expected a position for each slot"));
}

// Parameters are parts of stacked matrices: the gradient reaches each, and an update changes both
// the training path (through the parts) and the serving path (through the whole).
TEST_P(ModelForwardTest, GradientsReachEveryParameterAndUpdatesReachServing) {
  const Model model = MakeModel();
  for (auto [name, tensor] : model.parameters()) tensor.set_requires_grad(true);
  const TokenBatch batch = Batch({{1, 2, 3}, {4, 5}});
  const ForwardResult past = model.Forward(batch, nullptr).value();
  const ForwardResult result = model.Forward(Batch({{6, 7}, {8}}), &past.cache).value();
  model.Logits(result.hidden).to(at::kFloat).square().sum().backward();
  for (const auto& [name, tensor] : model.parameters()) {
    ASSERT_TRUE(tensor.grad().defined()) << name;
    EXPECT_GT(tensor.grad().abs().max().item<float>(), 0) << name;
  }
  at::Tensor before;
  {
    const at::NoGradGuard no_grad;
    before = model.Forward(batch, nullptr)->hidden;
    for (const auto& [name, tensor] : model.parameters()) tensor.sub_(tensor.grad(), 1e-4);
  }
  const at::Tensor training = model.Forward(batch, nullptr)->hidden.detach();
  const at::NoGradGuard no_grad;
  const at::Tensor serving = model.Forward(batch, nullptr)->hidden;
  EXPECT_FALSE(at::equal(serving, before));
  EXPECT_TRUE(at::allclose(serving, training, 1e-5, 1e-5));
}

INSTANTIATE_TEST_SUITE_P(Devices, ModelForwardTest, ::testing::Values(at::kCPU, at::kCUDA),
                         [](const auto& info) { return info.param == at::kCPU ? "cpu" : "cuda"; });

}  // namespace
}  // namespace qc2c
