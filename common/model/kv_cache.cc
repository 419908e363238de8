// Batches and caches: the parts of model.h that need no weights.
#include <ATen/TensorIndexing.h>
#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/model/model.h"

namespace qc2c {
namespace {

DType DTypeOf(const at::Tensor& tensor) {
  switch (tensor.scalar_type()) {
    case at::kBFloat16:
      return DType::kBf16;
    case at::kHalf:
      return DType::kFp16;
    default:
      return DType::kFp32;
  }
}

KvPlane PlaneOf(const at::Tensor& tensor, int64_t row) {
  TORCH_CHECK(tensor.stride(3) == 1 || tensor.size(3) == 1, "a head's values must be contiguous");
  char* data = static_cast<char*>(tensor.data_ptr());
  return {data + row * tensor.stride(0) * tensor.element_size(), tensor.stride(2),
          tensor.stride(1)};
}

}  // namespace

absl::Status CheckSequence(const std::string& name, const std::vector<int32_t>& ids,
                           const ModelConfig& config) {
  if (ids.empty()) {
    return absl::InvalidArgumentError(absl::StrCat(name, " is empty: expected at least one token"));
  }
  if (ids.size() > static_cast<size_t>(config.max_positions)) {
    return absl::InvalidArgumentError(absl::StrCat(
        name, " has ", ids.size(), " tokens: the model has ", config.max_positions, " positions"));
  }
  for (size_t token = 0; token < ids.size(); ++token) {
    if (ids[token] >= 0 && ids[token] < config.vocab_size) continue;
    return absl::InvalidArgumentError(absl::StrCat(name, ", token ", token, " has id ", ids[token],
                                                   ": the vocabulary has ", config.vocab_size));
  }
  return absl::OkStatus();
}

TokenBatch TokenBatch::FromSequences(const std::vector<std::vector<int32_t>>& sequences,
                                     at::Device device) {
  const int64_t batch = static_cast<int64_t>(sequences.size());
  size_t longest = 0;
  for (const auto& sequence : sequences) longest = std::max(longest, sequence.size());
  at::Tensor ids = at::zeros({batch, static_cast<int64_t>(longest)}, at::kLong);
  at::Tensor lengths = at::zeros({batch}, at::kLong);
  for (int64_t row = 0; row < batch; ++row) {
    std::copy(sequences[row].begin(), sequences[row].end(),
              ids.data_ptr<int64_t>() + row * static_cast<int64_t>(longest));
    lengths.data_ptr<int64_t>()[row] = static_cast<int64_t>(sequences[row].size());
  }
  return {ids.to(device), lengths.to(device)};
}

TokenBatch TokenBatch::FromSequences(const std::vector<std::vector<int32_t>>& sequences,
                                     const std::vector<std::vector<uint32_t>>& positions,
                                     at::Device device) {
  TokenBatch tokens = FromSequences(sequences, device);
  const auto is_empty = [](const std::vector<uint32_t>& row) { return row.empty(); };
  if (std::ranges::all_of(positions, is_empty)) return tokens;
  const int64_t width = tokens.ids.size(1);
  const at::Tensor places =
      at::arange(width, at::kLong).repeat({static_cast<int64_t>(positions.size()), 1});
  for (size_t row = 0; row < positions.size(); ++row) {
    std::ranges::copy(positions[row],
                      places.data_ptr<int64_t>() + static_cast<int64_t>(row) * width);
  }
  tokens.positions = places.to(device);
  return tokens;
}

absl::Status CheckTokenIds(const std::vector<std::vector<int32_t>>& sequences,
                           const ModelConfig& config) {
  for (size_t row = 0; row < sequences.size(); ++row) {
    RETURN_IF_ERROR(CheckSequence(absl::StrCat("row ", row), sequences[row], config));
  }
  return absl::OkStatus();
}

at::Tensor LastHidden(const at::Tensor& hidden, const at::Tensor& lengths) {
  const at::Tensor rows = at::arange(hidden.size(0), lengths.options());
  return hidden.index({rows, lengths - 1});
}

KvCache SelectRows(const KvCache& cache, const std::vector<int64_t>& rows) {
  const at::Tensor index = at::tensor(rows, at::kLong).to(cache.valid.device());
  KvCache selected;
  for (const at::Tensor& keys : cache.keys) selected.keys.push_back(keys.index_select(0, index));
  for (const at::Tensor& values : cache.values) {
    selected.values.push_back(values.index_select(0, index));
  }
  selected.valid = cache.valid.index_select(0, index);
  selected.positions = cache.positions.index_select(0, index);
  selected.lengths = cache.lengths.index_select(0, index);
  return selected;
}

KvCacheView ViewOfRow(const KvCache& cache, int64_t row, int64_t num_tokens,
                      const std::vector<int32_t>& layers, const KvLayout& layout) {
  KvCacheView view;
  view.layout = layout;
  view.num_tokens = num_tokens;
  view.keys.resize(layout.num_layers);
  view.values.resize(layout.num_layers);
  view.dtype = DTypeOf(cache.keys.front());
  view.device = cache.keys.front().is_cuda() ? DeviceType::kCuda : DeviceType::kCpu;
  for (const int32_t layer : layers) {
    view.keys[layer] = PlaneOf(cache.keys[layer], row);
    view.values[layer] = PlaneOf(cache.values[layer], row);
  }
  return view;
}

}  // namespace qc2c
