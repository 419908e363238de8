#include "common/model/model_weights.h"

#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/equal.h>

#include <map>
#include <set>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/base/status_macros.h"
#include "common/model/json_fields.h"

namespace qc2c {
namespace {

constexpr char kLmHead[] = "lm_head.weight";
constexpr char kEmbedding[] = "model.embed_tokens.weight";

using Shape = std::vector<int64_t>;

// Hands out tensors, real ones or shapes alone, so that names and shapes are written down once.
class Allocator {
 public:
  explicit Allocator(const ModelOptions& options)
      : options_(at::TensorOptions().dtype(options.dtype).device(options.device)) {}
  // Shapes without memory: what a file must hold.
  static Allocator Meta() { return Allocator({.device = at::kMeta}); }

  at::Tensor One(const std::string& name, const Shape& shape) {
    return named_.emplace_back(name, at::empty(shape, options_)).second;
  }

  // One tensor a name, stacked along the first axis.
  StackedWeights Stack(const std::vector<std::string>& names, const std::vector<int64_t>& rows,
                       std::optional<int64_t> columns) {
    int64_t total = 0;
    for (const int64_t n : rows) total += n;
    StackedWeights stacked;
    stacked.whole = at::empty(columns ? Shape{total, *columns} : Shape{total}, options_);
    int64_t row = 0;
    for (size_t i = 0; i < names.size(); ++i) {
      const at::Tensor view = stacked.whole.narrow(0, row, rows[i]);
      // A tensor of its own over the same storage: a view would share the version counter that
      // autograd watches with its neighbours.
      at::Tensor part =
          at::empty({0}, options_)
              .set_(view.storage(), view.storage_offset(), view.sizes(), view.strides());
      named_.emplace_back(names[i], part);
      stacked.parts.push_back(std::move(part));
      row += rows[i];
    }
    return stacked;
  }

  NamedTensors TakeNamed() { return std::move(named_); }

 private:
  at::TensorOptions options_;
  NamedTensors named_;
};

LayerWeights AllocateLayer(const ModelConfig& config, int32_t layer, Allocator& allocator) {
  const int64_t width = config.hidden_size;
  const int64_t head_dim = config.head_dim;
  const int64_t q_rows = config.num_heads * head_dim;
  const int64_t kv_rows = config.num_kv_heads * head_dim;
  const int64_t feed_forward = config.intermediate_size;
  const auto name = [layer](const char* suffix) {
    return absl::StrCat("model.layers.", layer, ".", suffix);
  };
  LayerWeights weights;
  weights.input_norm = allocator.One(name("input_layernorm.weight"), {width});
  weights.qkv = allocator.Stack({name("self_attn.q_proj.weight"), name("self_attn.k_proj.weight"),
                                 name("self_attn.v_proj.weight")},
                                {q_rows, kv_rows, kv_rows}, width);
  if (config.traits.qkv_bias == ModelConfig::Traits::QkvBias::kPresent) {
    weights.qkv_bias =
        allocator.Stack({name("self_attn.q_proj.bias"), name("self_attn.k_proj.bias"),
                         name("self_attn.v_proj.bias")},
                        {q_rows, kv_rows, kv_rows}, std::nullopt);
  }
  if (config.traits.qk_norm == ModelConfig::Traits::QkNorm::kPerHead) {
    weights.q_norm = allocator.One(name("self_attn.q_norm.weight"), {head_dim});
    weights.k_norm = allocator.One(name("self_attn.k_norm.weight"), {head_dim});
  }
  weights.output = allocator.One(name("self_attn.o_proj.weight"), {width, q_rows});
  if (config.traits.block == ModelConfig::Traits::Block::kSandwich) {
    weights.output_norm = allocator.One(name("post_attention_layernorm.weight"), {width});
    weights.feed_forward_norm = allocator.One(name("pre_feedforward_layernorm.weight"), {width});
    weights.down_norm = allocator.One(name("post_feedforward_layernorm.weight"), {width});
  } else {
    weights.feed_forward_norm = allocator.One(name("post_attention_layernorm.weight"), {width});
  }
  weights.gate_up = allocator.Stack({name("mlp.gate_proj.weight"), name("mlp.up_proj.weight")},
                                    {feed_forward, feed_forward}, width);
  weights.down = allocator.One(name("mlp.down_proj.weight"), {width, feed_forward});
  return weights;
}

ModelWeights Allocate(const ModelConfig& config, Allocator allocator) {
  ModelWeights weights;
  weights.embedding = allocator.One(kEmbedding, {config.vocab_size, config.hidden_size});
  for (int32_t layer = 0; layer < config.num_layers; ++layer) {
    weights.layers.push_back(AllocateLayer(config, layer, allocator));
  }
  weights.final_norm = allocator.One("model.norm.weight", {config.hidden_size});
  weights.lm_head = config.embedding == ModelConfig::Embedding::kTied
                        ? weights.embedding
                        : allocator.One(kLmHead, {config.vocab_size, config.hidden_size});
  weights.named = allocator.TakeNamed();
  return weights;
}

struct FileTensor {
  std::string file;
  at::Tensor tensor;
};
using FileTensors = std::map<std::string, FileTensor>;

absl::StatusOr<FileTensors> ReadAll(const std::vector<std::filesystem::path>& files) {
  FileTensors all;
  for (const auto& file : files) {
    ASSIGN_OR_RETURN(NamedTensors tensors, ReadSafetensors(file));
    for (auto& [name, tensor] : tensors) {
      // Old Llama files hold this buffer, which follows from the configuration.
      if (absl::EndsWith(name, ".rotary_emb.inv_freq")) continue;
      const auto [it, is_new] = all.emplace(name, FileTensor{file.string(), std::move(tensor)});
      if (!is_new) {
        return absl::InvalidArgumentError(
            absl::StrCat(file.string(), ": tensor ", name, " is also in ", it->second.file));
      }
    }
  }
  return all;
}

absl::Status CheckTensor(const std::string& name, const FileTensor& found, at::IntArrayRef shape) {
  if (!at::isFloatingType(found.tensor.scalar_type())) {
    return absl::InvalidArgumentError(absl::StrCat(found.file, ": tensor ", name, " has dtype ",
                                                   c10::toString(found.tensor.scalar_type()),
                                                   ": expected a floating one"));
  }
  if (found.tensor.sizes() != shape) {
    return absl::InvalidArgumentError(absl::StrCat(
        found.file, ": tensor ", name, " has shape [", absl::StrJoin(found.tensor.sizes(), ", "),
        "]: config.json asks for [", absl::StrJoin(shape, ", "), "]"));
  }
  return absl::OkStatus();
}

// Some files of tied models hold the head as well (Qwen3-0.6B does): fine if it is the embedding.
absl::Status DropTiedHead(FileTensors& found) {
  const auto head = found.find(kLmHead);
  const auto embedding = found.find(kEmbedding);
  if (head == found.end() || embedding == found.end()) return absl::OkStatus();
  if (!at::equal(head->second.tensor, embedding->second.tensor)) {
    return absl::InvalidArgumentError(absl::StrCat(head->second.file, ": tensor ", kLmHead,
                                                   " differs from ", kEmbedding,
                                                   ", but config.json says tie_word_embeddings"));
  }
  found.erase(head);
  return absl::OkStatus();
}

absl::Status CheckTensors(const std::string& file, const ModelConfig& config,
                          const FileTensors& found) {
  std::set<std::string> expected;
  for (const auto& [name, meta] : Allocate(config, Allocator::Meta()).named) {
    expected.insert(name);
    const auto it = found.find(name);
    if (it == found.end()) {
      return absl::InvalidArgumentError(absl::StrCat(file, ": tensor ", name, " is missing"));
    }
    RETURN_IF_ERROR(CheckTensor(name, it->second, meta.sizes()));
  }
  for (const auto& [name, value] : found) {
    if (expected.count(name) == 0) {
      return absl::InvalidArgumentError(absl::StrCat(value.file, ": tensor ", name,
                                                     " has no place in a ", config.architecture,
                                                     " of ", config.num_layers, " layers"));
    }
  }
  return absl::OkStatus();
}

}  // namespace

ModelWeights AllocateWeights(const ModelConfig& config, const ModelOptions& options) {
  return Allocate(config, Allocator(options));
}

absl::StatusOr<std::vector<std::filesystem::path>> WeightFiles(
    const std::filesystem::path& folder) {
  std::error_code error;
  const std::filesystem::path single = folder / "model.safetensors";
  if (std::filesystem::exists(single, error)) return std::vector{single};
  const std::filesystem::path index = folder / "model.safetensors.index.json";
  if (!std::filesystem::exists(index, error)) {
    return absl::NotFoundError(absl::StrCat("no model.safetensors and no ",
                                            "model.safetensors.index.json in ", folder.string()));
  }
  ASSIGN_OR_RETURN(const JsonFields json, JsonFields::Load(index));
  ASSIGN_OR_RETURN(const JsonFields map, json.Object("weight_map"));
  std::set<std::filesystem::path> files;
  for (const auto& [name, value] : map.object().items()) {
    ASSIGN_OR_RETURN(const std::string file, map.Text(name));
    if (file.empty() || file == ".." || file.find('/') != std::string::npos) {
      return map.Wrong(name, "the name of a file in the same folder");
    }
    files.insert(folder / file);
  }
  if (files.empty()) return json.Wrong("weight_map", "at least one tensor");
  return std::vector<std::filesystem::path>(files.begin(), files.end());
}

absl::StatusOr<ModelWeights> LoadWeights(const std::vector<std::filesystem::path>& files,
                                         const ModelConfig& config, const ModelOptions& options) {
  ASSIGN_OR_RETURN(FileTensors found, ReadAll(files));
  if (config.embedding == ModelConfig::Embedding::kTied) RETURN_IF_ERROR(DropTiedHead(found));
  RETURN_IF_ERROR(CheckTensors(files.front().string(), config, found));
  ModelWeights weights = AllocateWeights(config, options);
  // File by file: the last tensor that is taken from one lets its memory map go.
  for (const auto& file : files) {
    for (auto& [name, tensor] : weights.named) {
      const auto source = found.find(name);
      if (source == found.end() || source->second.file != file) continue;
      tensor.copy_(source->second.tensor);
      found.erase(source);
    }
  }
  return weights;
}

}  // namespace qc2c
