#include "receiver/cache_assembly.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
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
      selected_(
          at::zeros({batch_size, num_slots}, at::TensorOptions(options.device).dtype(at::kBool))),
      sent_(at::ones({data_.size(0), batch_size}, at::kBool)) {}

absl::StatusOr<at::Tensor> SharerCacheBuilder::Decode(const KvFrame& frame,
                                                      const CodecContext& context) const {
  const int64_t num_kept = static_cast<int64_t>(frame.positions.size());
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
  const std::vector<KvTensorId> sent = frame.layers.Tensors();
  for (size_t i = 0; i < tensors_.size(); ++i) {
    sent_[static_cast<int64_t>(i)][row] = std::ranges::find(sent, tensors_[i]) != sent.end();
  }

  std::vector<int64_t> sources, filled;
  for (size_t slot = 0; slot < slots.size(); ++slot) {
    if (slots[slot] < 0) continue;
    const auto token = static_cast<uint32_t>(slots[slot]);
    const auto found = std::ranges::lower_bound(frame.positions, token);
    if (found == frame.positions.end() || *found != token) continue;
    sources.push_back(found - frame.positions.begin());
    filled.push_back(static_cast<int64_t>(slot));
  }
  if (filled.empty()) {
    return absl::FailedPreconditionError(absl::StrCat("none of the ", frame.positions.size(),
                                                      " sent tokens is aligned with one of the ",
                                                      slots.size(), " tokens of the receiver"));
  }
  const at::Tensor slot_index = at::tensor(filled, at::kLong).to(data_.device());
  const at::Tensor source_index = at::tensor(sources, at::kLong).to(data_.device());
  data_.select(1, row).index_copy_(1, slot_index,
                                   decoded.to(data_.device()).index_select(1, source_index));
  selected_.select(0, row).index_fill_(0, slot_index, true);
  return absl::OkStatus();
}

void SharerCacheBuilder::SetZeroRow(int64_t row, int64_t row_slots) {
  data_.select(1, row).zero_();
  selected_.select(0, row).slice(0, 0, row_slots).fill_(true);
}

SharerCache SharerCacheBuilder::Build() const {
  SharerCache cache;
  cache.keys.resize(layout_.num_layers);
  cache.values.resize(layout_.num_layers);
  for (size_t i = 0; i < tensors_.size(); ++i) {
    (tensors_[i].half == Half::kKey ? cache.keys : cache.values)[tensors_[i].layer] =
        data_[static_cast<int64_t>(i)].transpose(1, 2);
  }
  cache.selected = selected_;
  const at::Tensor sent_to_all = sent_.all(1);
  if (sent_to_all.all().item<bool>()) return cache;
  cache.selected_keys.resize(layout_.num_layers);
  cache.selected_values.resize(layout_.num_layers);
  for (size_t i = 0; i < tensors_.size(); ++i) {
    const auto index = static_cast<int64_t>(i);
    if (sent_to_all[index].item<bool>()) continue;
    auto& own = tensors_[i].half == Half::kKey ? cache.selected_keys : cache.selected_values;
    own[tensors_[i].layer] = selected_ & sent_[index].unsqueeze(1).to(selected_.device());
  }
  return cache;
}

bool RowChanged(const KvCache& before, const KvCache& after, int64_t row) {
  for (size_t layer = 0; layer < before.keys.size(); ++layer) {
    if (!before.keys[layer][row].equal(after.keys[layer][row])) return true;
    if (!before.values[layer][row].equal(after.values[layer][row])) return true;
  }
  return false;
}

}  // namespace qc2c
