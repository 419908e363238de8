#include "common/model/model.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/embedding.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/scaled_dot_product_attention.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/hash.h"
#include "common/base/status_macros.h"
#include "common/model/attention_mass.h"
#include "common/model/captured_forward.h"
#include "common/model/forward_pass.h"
#include "common/model/layers.h"
#include "common/model/model_weights.h"
#include "common/model/torch_status.h"

namespace qc2c {
namespace {

at::Tensor WeightOf(const StackedWeights& stacked) {
  if (!stacked.whole.defined()) return {};
  const bool differentiates = at::GradMode::is_enabled() &&
                              std::any_of(stacked.parts.begin(), stacked.parts.end(),
                                          [](const at::Tensor& t) { return t.requires_grad(); });
  return differentiates ? at::cat(stacked.parts) : stacked.whole;
}

absl::Status CheckOptions(const ModelOptions& options) {
  if (options.dtype == at::kFloat || options.dtype == at::kBFloat16) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("model dtype is ", c10::toString(options.dtype),
                                                 ": expected Float or BFloat16"));
}

}  // namespace

struct Model::Impl {
  ModelConfig config;
  ModelOptions options;
  ModelWeights weights;
  double attention_scale;
  RopeFrequencies frequencies;
  uint64_t fingerprint = 0;
  std::unique_ptr<CapturedForward> graphs;  // none: every pass kernel by kernel

  Impl(const ModelConfig& model_config, const ModelOptions& model_options, ModelWeights tensors)
      : config(model_config),
        options(model_options),
        weights(std::move(tensors)),
        attention_scale(1 / std::sqrt(config.query_pre_attn_scalar > 0
                                          ? config.query_pre_attn_scalar
                                          : static_cast<double>(config.head_dim))),
        frequencies(RopeFrequencies::Of(config, options.device)) {
    if (options.launch == ModelOptions::Launch::kKernels) return;
    graphs =
        std::make_unique<CapturedForward>([this](const TokenBatch& tokens, const KvCache* past) {
          return Forward(tokens, past, {});
        });
  }

  absl::Status Check(const TokenBatch& tokens, const KvCache* past) const;
  absl::Status CheckAttending(const TokenBatch& tokens, const KvCache* past,
                              const ForwardOptions& forward) const;
  at::Tensor Norm(const at::Tensor& x, const at::Tensor& weight) const {
    return RmsNorm(x, weight, config.rms_norm_eps, config.traits.norm_scale);
  }
  at::Tensor Embed(const at::Tensor& ids) const;
  at::Tensor Attend(const LayerWeights& layer, const at::Tensor& x, const LayerPass& pass,
                    const KvCache* past, ForwardResult& result) const;
  // q [B, Hq, T, D], k and v [B, H, S + T, D] -> [B, Hq, T, D].
  at::Tensor AttendToItself(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                            const at::Tensor& mask) const;
  at::Tensor AttendToPast(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                          const at::Tensor& mask) const;
  at::Tensor FeedForward(const LayerWeights& layer, const at::Tensor& x) const;
  ForwardResult Forward(const TokenBatch& tokens, const KvCache* past,
                        const ForwardOptions& forward) const;
};

absl::Status Model::Impl::Check(const TokenBatch& tokens, const KvCache* past) const {
  if (tokens.ids.dim() != 2 || tokens.ids.size(0) < 1 || tokens.ids.size(1) < 1 ||
      tokens.lengths.sizes() != tokens.ids.sizes().slice(0, 1)) {
    return absl::InvalidArgumentError("tokens: expected ids [B, T] and lengths [B] of B, T >= 1");
  }
  const int64_t num_new = tokens.ids.size(1);
  if (past != nullptr && (past->keys.size() != static_cast<size_t>(config.num_layers) ||
                          past->values.size() != static_cast<size_t>(config.num_layers) ||
                          past->valid.size(0) != tokens.batch_size())) {
    return absl::InvalidArgumentError(absl::StrCat(
        "past: expected ", config.num_layers, " layers of ", tokens.batch_size(), " rows, found ",
        past->keys.size(), " layers of ", past->valid.size(0), " rows"));
  }
  if (past != nullptr &&
      (!past->positions.defined() || past->positions.sizes() != past->valid.sizes())) {
    return absl::InvalidArgumentError("past: expected a position for each slot");
  }
  // A slot more than a token never hurts, so the exact count (on CUDA: a synchronisation) is only
  // taken when the slots do not fit.
  int64_t longest = num_new + (past == nullptr ? 0 : past->num_slots());
  if (longest > config.max_positions && past != nullptr) {
    longest = (past->lengths + tokens.lengths).max().item<int64_t>();
  }
  if (longest > config.max_positions) {
    return absl::InvalidArgumentError(absl::StrCat("a row has ", longest, " tokens: the model has ",
                                                   config.max_positions, " positions"));
  }
  if (!tokens.ids.is_cpu()) return absl::OkStatus();
  const at::Tensor outside = tokens.ids.lt(0).logical_or_(tokens.ids.ge(config.vocab_size));
  if (!outside.any().item<bool>()) return absl::OkStatus();
  const at::Tensor first = outside.nonzero()[0];
  const int64_t row = first[0].item<int64_t>();
  const int64_t token = first[1].item<int64_t>();
  return absl::InvalidArgumentError(absl::StrCat("row ", row, ", token ", token, " has id ",
                                                 tokens.ids[row][token].item<int64_t>(),
                                                 ": the vocabulary has ", config.vocab_size));
}

absl::Status Model::Impl::CheckAttending(const TokenBatch& tokens, const KvCache* past,
                                         const ForwardOptions& forward) const {
  const std::vector<int64_t>& counts = forward.attending_tokens;
  if (counts.empty()) return absl::OkStatus();
  if (past != nullptr) {
    return absl::InvalidArgumentError("attending_tokens: expected none on top of a past");
  }
  if (static_cast<int64_t>(counts.size()) != tokens.batch_size() ||
      std::any_of(counts.begin(), counts.end(), [](int64_t count) { return count < 0; }) ||
      std::all_of(counts.begin(), counts.end(), [](int64_t count) { return count == 0; })) {
    return absl::InvalidArgumentError(absl::StrCat("attending_tokens has ", counts.size(),
                                                   " entries: expected ", tokens.batch_size(),
                                                   " of at least 0, not all 0"));
  }
  return absl::OkStatus();
}

at::Tensor Model::Impl::Embed(const at::Tensor& ids) const {
  const at::Tensor x = at::embedding(weights.embedding, ids);
  const bool is_scaled =
      config.traits.embedding_scale == ModelConfig::Traits::EmbeddingScale::kSqrtHidden;
  return is_scaled ? ScaleBySqrtWidth(x) : x;
}

at::Tensor Model::Impl::AttendToItself(const at::Tensor& q, const at::Tensor& k,
                                       const at::Tensor& v, const at::Tensor& mask) const {
  const bool is_causal = !mask.defined();
  return at::scaled_dot_product_attention(
      q, k, v, is_causal ? std::nullopt : std::make_optional(mask), /*dropout_p=*/0.0, is_causal,
      attention_scale, /*enable_gqa=*/config.num_heads != config.num_kv_heads);
}

// The queries that share a KV head become rows of one: no kernel has to repeat keys and values for
// them, and kernels that know no groups will do.
at::Tensor Model::Impl::AttendToPast(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                                     const at::Tensor& mask) const {
  const at::Tensor grouped = q.reshape({q.size(0), config.num_kv_heads, -1, config.head_dim});
  return at::scaled_dot_product_attention(grouped, k, v, mask, /*dropout_p=*/0.0,
                                          /*is_causal=*/false, attention_scale)
      .reshape(q.sizes());
}

at::Tensor Model::Impl::Attend(const LayerWeights& layer, const at::Tensor& x,
                               const LayerPass& pass, const KvCache* past,
                               ForwardResult& result) const {
  KvCache& cache = result.cache;
  const int64_t batch = x.size(0);
  const int64_t num_new = x.size(1);
  const int64_t all_heads = config.num_heads + 2 * config.num_kv_heads;
  const at::Tensor qkv = at::linear(x, WeightOf(layer.qkv), WeightOf(layer.qkv_bias))
                             .view({batch, num_new, all_heads, config.head_dim});
  // q and k go through norm and rotation as one: fewer kernels.
  at::Tensor qk = qkv.narrow(2, 0, config.num_heads + config.num_kv_heads);
  if (layer.q_norm.defined()) {
    qk = Norm(qk, at::cat({layer.q_norm.expand({config.num_heads, config.head_dim}),
                           layer.k_norm.expand({config.num_kv_heads, config.head_dim})}));
  }
  qk = Rotate(qk, pass.rotary).transpose(1, 2);
  const at::Tensor q = qk.narrow(1, 0, config.num_heads);
  at::Tensor k = qk.narrow(1, config.num_heads, config.num_kv_heads);
  at::Tensor v =
      qkv.narrow(2, config.num_heads + config.num_kv_heads, config.num_kv_heads).transpose(1, 2);
  if (past != nullptr) {
    k = at::cat({past->keys[cache.keys.size()], k}, 2);
    v = at::cat({past->values[cache.values.size()], v}, 2);
  } else if (!at::GradMode::is_enabled()) {
    k = k.contiguous();  // a cache that outlives this call must not hold q's memory as well
    v = v.contiguous();
  }
  if (pass.last_tokens != nullptr) {
    result.attention.push_back(AttentionMass(q, k, pass.mask, *pass.last_tokens, attention_scale));
  }
  cache.keys.push_back(k);
  cache.values.push_back(v);
  const at::Tensor heads =
      past == nullptr ? AttendToItself(q, k, v, pass.mask) : AttendToPast(q, k, v, pass.mask);
  const at::Tensor output =
      at::linear(heads.transpose(1, 2).reshape({batch, num_new, -1}), layer.output);
  return layer.output_norm.defined() ? Norm(output, layer.output_norm) : output;
}

at::Tensor Model::Impl::FeedForward(const LayerWeights& layer, const at::Tensor& x) const {
  const at::Tensor gate_up = at::linear(x, WeightOf(layer.gate_up));
  const int64_t width = config.intermediate_size;
  const at::Tensor gate = Activate(gate_up.narrow(-1, 0, width), config.traits.activation);
  const at::Tensor output = at::linear(gate * gate_up.narrow(-1, width, width), layer.down);
  return layer.down_norm.defined() ? Norm(output, layer.down_norm) : output;
}

ForwardResult Model::Impl::Forward(const TokenBatch& tokens, const KvCache* past,
                                   const ForwardOptions& forward) const {
  ForwardPass pass = MakeForwardPass(config, frequencies, tokens, past, options.dtype);
  LastTokens last_tokens;
  if (!forward.attending_tokens.empty()) {
    last_tokens = MakeLastTokens(tokens.lengths, forward.attending_tokens);
    pass.full.last_tokens = pass.window.last_tokens = &last_tokens;
  }
  ForwardResult result;
  KvCache& cache = result.cache;
  const at::Tensor order = at::arange(tokens.ids.size(1), tokens.ids.options());
  const at::Tensor is_token = order.unsqueeze(0) < tokens.lengths.unsqueeze(1);
  const at::Tensor positions = pass.positions.expand_as(tokens.ids);
  cache.valid = past == nullptr ? is_token : at::cat({past->valid, is_token}, 1);
  cache.positions = past == nullptr ? positions : at::cat({past->positions, positions}, 1);
  cache.lengths = NextPositions(tokens, past);

  at::Tensor x = Embed(tokens.ids);
  for (const LayerWeights& layer : weights.layers) {
    const auto kind = config.AttentionOf(static_cast<int32_t>(cache.keys.size()));
    const LayerPass& own = kind == ModelConfig::Attention::kFull ? pass.full : pass.window;
    x = x + Attend(layer, Norm(x, layer.input_norm), own, past, result);
    x = x + FeedForward(layer, Norm(x, layer.feed_forward_norm));
  }
  result.hidden = Norm(x, weights.final_norm);
  return result;
}

Model::Model(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Model::Model(Model&&) noexcept = default;
Model& Model::operator=(Model&&) noexcept = default;
Model::~Model() = default;

absl::StatusOr<Model> Model::Load(const std::filesystem::path& folder,
                                  const ModelOptions& options) {
  return CatchTorch([&]() -> absl::StatusOr<Model> {
    const at::NoGradGuard no_grad;
    RETURN_IF_ERROR(CheckOptions(options));
    ASSIGN_OR_RETURN(const ModelConfig config, ModelConfig::Load(folder));
    ASSIGN_OR_RETURN(std::vector<std::filesystem::path> files, WeightFiles(folder));
    ASSIGN_OR_RETURN(ModelWeights weights, LoadWeights(files, config, options));
    auto impl = std::make_unique<Impl>(config, options, std::move(weights));
    files.insert(files.begin(), folder / "config.json");
    ASSIGN_OR_RETURN(impl->fingerprint, HashFiles(files));
    return Model(std::move(impl));
  });
}

absl::StatusOr<Model> Model::Create(const ModelConfig& config, const ModelOptions& options) {
  return CatchTorch([&]() -> absl::StatusOr<Model> {
    const at::NoGradGuard no_grad;
    RETURN_IF_ERROR(CheckOptions(options));
    RETURN_IF_ERROR(config.Validate());
    return Model(std::make_unique<Impl>(config, options, AllocateWeights(config, options)));
  });
}

absl::StatusOr<ForwardResult> Model::Forward(const TokenBatch& tokens, const KvCache* past,
                                             const ForwardOptions& forward) const {
  return CatchTorch([&]() -> absl::StatusOr<ForwardResult> {
    RETURN_IF_ERROR(impl_->Check(tokens, past));
    RETURN_IF_ERROR(CheckPositions(tokens, impl_->config));
    RETURN_IF_ERROR(impl_->CheckAttending(tokens, past, forward));
    const bool is_plain = forward.attending_tokens.empty() && !tokens.positions.defined();
    if (is_plain && impl_->graphs && CapturedForward::Takes(tokens, past)) {
      return impl_->graphs->Run(tokens, past);
    }
    return impl_->Forward(tokens, past, forward);
  });
}

at::Tensor Model::Logits(const at::Tensor& hidden) const {
  return at::linear(hidden, impl_->weights.lm_head);
}

const std::vector<std::pair<std::string, at::Tensor>>& Model::parameters() const {
  return impl_->weights.named;
}

const ModelConfig& Model::config() const { return impl_->config; }
const ModelOptions& Model::options() const { return impl_->options; }
uint64_t Model::fingerprint() const { return impl_->fingerprint; }

}  // namespace qc2c
