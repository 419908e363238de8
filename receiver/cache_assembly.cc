#include "receiver/cache_assembly.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/linalg_vector_norm.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <span>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"

namespace qc2c {
namespace {

DType CacheDType(const at::Tensor& tensor) {
  return tensor.scalar_type() == at::kBFloat16 ? DType::kBf16 : DType::kFp32;
}

}  // namespace

KvLayerSet LayersRead(const Fuser& fuser) {
  return {.keys = fuser.SharerLayersRead(Half::kKey),
          .values = fuser.SharerLayersRead(Half::kValue)};
}

absl::StatusOr<ReceivedFrame> ReadFrame(const SharedMessages& shared,
                                        const FrameExpectation& expectation, WireBytes& counted) {
  FrameReader reader(expectation);
  absl::Status status;
  for (const std::string& message : shared.messages) {
    status = reader.Add(message);
    if (!status.ok()) break;
  }
  counted += reader.bytes();
  RETURN_IF_ERROR(status);
  ASSIGN_OR_RETURN(KvFrame frame, reader.Finish());
  return ReceivedFrame{std::move(frame), reader.bytes()};
}

SharerCacheBuilder::SharerCacheBuilder(const KvLayout& sharer, const KvLayerSet& layers,
                                       int64_t batch_size, int64_t num_slots,
                                       const ModelOptions& options)
    : layout_(sharer),
      tensors_(layers.Tensors()),
      data_(at::zeros({static_cast<int64_t>(tensors_.size()), batch_size, num_slots,
                       sharer.num_kv_heads, sharer.head_dim},
                      at::TensorOptions(options.device).dtype(options.dtype))),
      selected_(at::zeros({data_.size(0), batch_size, num_slots}, at::kBool)) {}

absl::StatusOr<at::Tensor> SharerCacheBuilder::Decode(const KvFrame& frame,
                                                      const CodecContext& context) const {
  const int64_t num_kept = frame.num_kept();
  // Frames of klt are decoded on the CPU.
  const at::Tensor decoded =
      at::zeros({data_.size(0), num_kept, layout_.num_kv_heads, layout_.head_dim},
                frame.codec.klt ? data_.options().device(at::kCPU) : data_.options());
  KvCacheView view{.layout = layout_,
                   .num_tokens = num_kept,
                   .dtype = CacheDType(decoded),
                   .device = decoded.is_cuda() ? DeviceType::kCuda : DeviceType::kCpu,
                   .keys = std::vector<KvPlane>(layout_.num_layers),
                   .values = std::vector<KvPlane>(layout_.num_layers)};
  for (size_t i = 0; i < tensors_.size(); ++i) {
    const at::Tensor plane = decoded[static_cast<int64_t>(i)];
    (tensors_[i].half == Half::kKey ? view.keys : view.values)[tensors_[i].layer] = {
        plane.data_ptr(), plane.stride(0), plane.stride(1)};
  }
  RETURN_IF_ERROR(DecodeCache(frame, view, context));
  return decoded;
}

absl::Status SharerCacheBuilder::SetRow(int64_t row, const KvFrame& frame,
                                        const std::vector<int32_t>& slots,
                                        const CodecContext& context) {
  ASSIGN_OR_RETURN(const at::Tensor decoded, Decode(frame, context));
  return PlaceRow(row, frame, decoded, slots);
}

absl::Status SharerCacheBuilder::PlaceRow(int64_t row, const KvFrame& frame,
                                          const at::Tensor& decoded,
                                          const std::vector<int32_t>& slots) {
  const at::Tensor moved = decoded.to(data_.device());
  // The largest magnitude is no number if any value is none.
  const at::Tensor largest = at::linalg_vector_norm(moved, std::numeric_limits<double>::infinity());
  if (!std::isfinite(largest.item<double>())) {
    return absl::DataLossError("the cache has values that are not finite: expected finite numbers");
  }
  bool is_any_filled = false;
  size_t end = 0;
  for (size_t begin = 0; begin < tensors_.size(); begin = end) {
    end = EndOfSet(frame, begin);
    is_any_filled |= FillSlots(row, frame, slots, moved, begin, end);
  }
  if (is_any_filled) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrCat("none of the ", frame.num_kept(),
                                                    " sent tokens is aligned with one of the ",
                                                    slots.size(), " tokens of the receiver"));
}

// After the tensors from `begin` on that have the same tokens.
size_t SharerCacheBuilder::EndOfSet(const KvFrame& frame, size_t begin) const {
  if (frame.codec.index_sets == IndexSets::kOne) return tensors_.size();
  size_t end = begin;
  while (end < tensors_.size() && tensors_[end].layer == tensors_[begin].layer) ++end;
  return end;
}

bool SharerCacheBuilder::FillSlots(int64_t row, const KvFrame& frame,
                                   const std::vector<int32_t>& slots, const at::Tensor& decoded,
                                   size_t begin, size_t end) {
  std::vector<int64_t> sent;
  const std::vector<KvTensorId> of_frame = frame.layers.Tensors();
  for (size_t i = begin; i < end; ++i) {
    if (std::ranges::find(of_frame, tensors_[i]) == of_frame.end()) continue;
    sent.push_back(static_cast<int64_t>(i));
  }
  if (sent.empty()) return false;
  const std::span<const uint32_t> positions =
      frame.PositionsOf(tensors_[static_cast<size_t>(sent.front())].layer);
  std::vector<int64_t> sources, filled;
  for (size_t slot = 0; slot < slots.size(); ++slot) {
    if (slots[slot] < 0) continue;
    const auto token = static_cast<uint32_t>(slots[slot]);
    const auto found = std::ranges::lower_bound(positions, token);
    if (found == positions.end() || *found != token) continue;
    sources.push_back(found - positions.begin());
    filled.push_back(static_cast<int64_t>(slot));
  }
  if (filled.empty()) return false;
  const at::Tensor slot_index = at::tensor(filled, at::kLong);
  const at::Tensor source_index = at::tensor(sources, at::kLong).to(data_.device());
  const auto of_set = [&](const at::Tensor& tensors) {
    return tensors.narrow(0, static_cast<int64_t>(begin), static_cast<int64_t>(end - begin));
  };
  of_set(data_).select(1, row).index_copy_(1, slot_index.to(data_.device()),
                                           of_set(decoded).index_select(1, source_index));
  for (const int64_t i : sent) selected_[i][row].index_fill_(0, slot_index, true);
  return true;
}

void SharerCacheBuilder::SetZeroRow(int64_t row, const std::vector<int32_t>& slots) {
  data_.select(1, row).zero_();
  for (size_t slot = 0; slot < slots.size(); ++slot) {
    if (slots[slot] >= 0)
      selected_.select(1, row).select(1, static_cast<int64_t>(slot)).fill_(true);
  }
}

SharerCache SharerCacheBuilder::Build() const {
  SharerCache cache;
  cache.keys.resize(layout_.num_layers);
  cache.values.resize(layout_.num_layers);
  for (size_t i = 0; i < tensors_.size(); ++i) {
    (tensors_[i].half == Half::kKey ? cache.keys : cache.values)[tensors_[i].layer] =
        data_[static_cast<int64_t>(i)].transpose(1, 2);
  }
  // Tensors whose tokens are not those of all have their own.
  const at::Tensor of_any = selected_.any(0);
  const at::Tensor has_all = selected_.eq(of_any).flatten(1).all(1);
  cache.selected = of_any.to(data_.device());
  if (has_all.all().item<bool>()) return cache;
  cache.selected_keys.resize(layout_.num_layers);
  cache.selected_values.resize(layout_.num_layers);
  for (size_t i = 0; i < tensors_.size(); ++i) {
    const auto index = static_cast<int64_t>(i);
    if (has_all[index].item<bool>()) continue;
    auto& own = tensors_[i].half == Half::kKey ? cache.selected_keys : cache.selected_values;
    own[tensors_[i].layer] = selected_[index].to(data_.device());
  }
  return cache;
}

SharerCache TokensOf(const SharerCache& cache, const std::vector<TokenRange>& rows) {
  std::vector<int64_t> begins, ends;
  int64_t longest = 0;
  for (const TokenRange& row : rows) {
    begins.push_back(row.begin);
    ends.push_back(row.end);
    longest = std::max(longest, row.size());
  }
  const at::TensorOptions options = cache.selected.options().dtype(at::kLong);
  const auto column = [&](const std::vector<int64_t>& numbers) {
    return at::tensor(numbers, at::kLong).to(options.device()).unsqueeze(1);
  };
  const at::Tensor wanted = column(begins) + at::arange(longest, options);
  const at::Tensor is_token = wanted < column(ends).clamp_max(cache.selected.size(1));
  const at::Tensor tokens = wanted.clamp_max(cache.selected.size(1) - 1);  // [B, T]
  const auto select = [&](const at::Tensor& selected) {
    return selected.defined() ? selected.gather(1, tokens).logical_and(is_token) : selected;
  };
  const auto take = [&](const at::Tensor& tensor) {  // [B, H, T, D]
    if (!tensor.defined()) return tensor;
    std::vector<int64_t> sizes = tensor.sizes().vec();
    sizes[2] = longest;
    return tensor.gather(2, tokens.unsqueeze(1).unsqueeze(3).expand(sizes));
  };
  SharerCache taken{.selected = select(cache.selected)};
  for (const at::Tensor& keys : cache.keys) taken.keys.push_back(take(keys));
  for (const at::Tensor& values : cache.values) taken.values.push_back(take(values));
  for (const at::Tensor& own : cache.selected_keys) taken.selected_keys.push_back(select(own));
  for (const at::Tensor& own : cache.selected_values) taken.selected_values.push_back(select(own));
  return taken;
}

KvCache SlotsFrom(const KvCache& cache, int64_t begin) {
  const auto from = [begin](const at::Tensor& tensor, int64_t dimension) {
    return tensor.narrow(dimension, begin, tensor.size(dimension) - begin);
  };
  KvCache slots{.valid = from(cache.valid, 1),
                .positions = from(cache.positions, 1),
                .lengths = cache.lengths};
  for (const at::Tensor& keys : cache.keys) slots.keys.push_back(from(keys, 2));
  for (const at::Tensor& values : cache.values) slots.values.push_back(from(values, 2));
  return slots;
}

void ReplaceSlotsFrom(int64_t begin, const KvCache& slots, KvCache& cache) {
  const auto replace = [begin](const at::Tensor& own, const at::Tensor& other) {
    return at::cat({own.narrow(2, 0, begin), other}, 2);
  };
  for (size_t layer = 0; layer < cache.keys.size(); ++layer) {
    cache.keys[layer] = replace(cache.keys[layer], slots.keys[layer]);
    cache.values[layer] = replace(cache.values[layer], slots.values[layer]);
  }
}

bool RowChanged(const KvCache& before, const KvCache& after, int64_t row) {
  for (size_t layer = 0; layer < before.keys.size(); ++layer) {
    if (!before.keys[layer][row].equal(after.keys[layer][row])) return true;
    if (!before.values[layer][row].equal(after.values[layer][row])) return true;
  }
  return false;
}

}  // namespace qc2c
