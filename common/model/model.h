// A decoder-only language model on ATen: Hugging Face weights in, hidden states and a KV cache out.
//
// Everything is batched. A batch is ragged: sequences of different lengths, padded on the right.
// Nothing is written in place, so the same code serves (under NoGradGuard) and trains (autograd).
//
// A windowed layer's token attends to the tokens of its row at the last `window` positions, its own
// included, wherever their slots are.
//
// Shapes: B sequences, T new tokens, S cache slots, C hidden size, V vocabulary, L layers, H KV
// heads, D head size.
#pragma once

#include <ATen/core/Tensor.h>

#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/model/model_config.h"
#include "common/tensor/kv_cache_view.h"

namespace qc2c {

// Sequences of token ids, right-padded to the longest. Padding ids are 0 and never reach a result.
struct TokenBatch {
  at::Tensor ids;      // [B, T] int64, on the model's device
  at::Tensor lengths;  // [B] int64, on the model's device, each 1 .. T
  // [B, T] int64, on the model's device, ascending in a row and behind its past; a row's next token
  // follows its last. Undefined: each row goes on from its past, one by one.
  at::Tensor positions = {};

  // REQUIRES: no sequence is empty.
  static TokenBatch FromSequences(const std::vector<std::vector<int32_t>>& sequences,
                                  at::Device device);
  // With the positions of each sequence's tokens; an empty list stands for 0, 1, 2, ... If all are
  // empty, `positions` stays undefined. REQUIRES: a list a sequence, and a number a token.
  static TokenBatch FromSequences(const std::vector<std::vector<int32_t>>& sequences,
                                  const std::vector<std::vector<uint32_t>>& positions,
                                  at::Device device);
  int64_t batch_size() const { return ids.size(0); }
};

// INVALID_ARGUMENT naming the row if a sequence is empty or longer than max_positions, or an id is
// not below vocab_size. For whoever takes ids from outside: on CUDA an id past the embedding's end
// kills the whole device context, and Forward, which must not wait for the device, checks ids on
// the CPU only.
absl::Status CheckTokenIds(const std::vector<std::vector<int32_t>>& sequences,
                           const ModelConfig& config);
// The same for one sequence, which the error calls `name`.
absl::Status CheckSequence(const std::string& name, const std::vector<int32_t>& ids,
                           const ModelConfig& config);

// Keys are stored after RoPE (and after k_norm), so a slot's index carries no position: rows of
// different lengths may leave invalid slots between their tokens, and a pruned cache lacks some
// tokens that were counted.
struct KvCache {
  std::vector<at::Tensor> keys;    // L tensors [B, H, S, D]
  std::vector<at::Tensor> values;  // L tensors [B, H, S, D]
  at::Tensor valid;                // [B, S] bool: the slot holds a token of this row
  at::Tensor positions;            // [B, S] int64: of the slot's token, for windows; else anything
  at::Tensor lengths;              // [B] int64: tokens so far = position of the row's next token

  // Copies the tensor handles, not the data. The slots [0, T) of a prefilled row are its tokens.
  int64_t num_slots() const { return valid.size(1); }
};

struct ForwardOptions {
  // Not empty: whether, and for how many of its last tokens, each row wants their attention. At
  // least one row does.
  std::vector<int64_t> attending_tokens;
};

struct ForwardResult {
  at::Tensor hidden;  // [B, T, C] after the final norm
  KvCache cache;      // the past slots, then T new ones
  // For attending_tokens: L tensors [B, T] fp32, what those tokens give to each token
  // (attention_mass.h). Padding gets 0; so does every token of a row that wants none.
  std::vector<at::Tensor> attention;
};

struct ModelOptions {
  at::Device device = at::kCPU;
  at::ScalarType dtype = at::kFloat;  // kFloat or kBFloat16: weights, activations and cache
  // How a GPU is given small passes: kernel by kernel, or as CUDA graphs (captured_forward.h),
  // which asks all callers to use one CUDA stream.
  enum class Launch { kKernels, kGraphs };
  Launch launch = Launch::kKernels;
};

// Thread-safe for concurrent Forward and Logits. Move-only.
class Model {
 public:
  // Reads config.json and model.safetensors (or the shards that model.safetensors.index.json
  // lists). The file's floating dtype is converted to options.dtype. INVALID_ARGUMENT, naming the
  // file and the field or tensor, for a missing, surplus or misshapen tensor; NOT_FOUND for a
  // missing file.
  static absl::StatusOr<Model> Load(const std::filesystem::path& folder,
                                    const ModelOptions& options);

  // Weights are allocated and not initialised: for a trainer, which fills parameters().
  static absl::StatusOr<Model> Create(const ModelConfig& config, const ModelOptions& options);

  // Runs T new tokens a row on top of `past` (nullptr: an empty cache), whose tokens all of them
  // see. A row of length 0 adds no token, and its hidden states mean nothing: a row that has
  // finished. INVALID_ARGUMENT if an id on the CPU is outside the vocabulary or a row outgrows
  // max_positions, if given positions are misshapen or, on the CPU, outside of these, or if
  // attending_tokens come with a past or are not one of each row.
  absl::StatusOr<ForwardResult> Forward(const TokenBatch& tokens, const KvCache* past,
                                        const ForwardOptions& forward = {}) const;

  // hidden [..., C] -> logits [..., V] in the model's dtype.
  at::Tensor Logits(const at::Tensor& hidden) const;

  // Hugging Face names ("model.layers.0.self_attn.q_proj.weight"); a tied lm_head is absent.
  // The tensors share storage with the model.
  const std::vector<std::pair<std::string, at::Tensor>>& parameters() const;

  const ModelConfig& config() const;
  const ModelOptions& options() const;
  // Names the weights: XXH3 over config.json and the safetensors files; 0 for a created model.
  uint64_t fingerprint() const;

  Model(Model&&) noexcept;
  Model& operator=(Model&&) noexcept;
  ~Model();

 private:
  struct Impl;
  explicit Model(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// The hidden state of each row's last token: [B, T, C], lengths [B] -> [B, C].
at::Tensor LastHidden(const at::Tensor& hidden, const at::Tensor& lengths);

// The given rows of a cache, in this order; a row may repeat.
KvCache SelectRows(const KvCache& cache, const std::vector<int64_t>& rows);

// Row `row` of a cache as plain memory of its first `num_tokens` slots. The view borrows from
// `cache`. Layers not listed in `layers` are absent. REQUIRES: those slots are valid.
KvCacheView ViewOfRow(const KvCache& cache, int64_t row, int64_t num_tokens,
                      const std::vector<int32_t>& layers, const KvLayout& layout);

}  // namespace qc2c
