#include "experiments/train/sensitivity.h"

#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/zeros_like.h>

#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/files.h"
#include "common/base/hash.h"
#include "common/base/status_macros.h"
#include "common/model/torch_status.h"
#include "experiments/train/objective.h"

namespace qc2c {
namespace {

constexpr char kNotSent[] = "none";

at::Tensor& TensorOf(SharerCache& cache, const KvTensorId& tensor) {
  return (tensor.half == Half::kKey ? cache.keys : cache.values)[tensor.layer];
}

// One row of a [B, H, T, D] tensor as a cache of a single layer's keys.
KvCacheView ViewOf(const at::Tensor& x, int64_t row, int64_t num_tokens) {
  const at::Tensor plane = x[row];  // [H, T, D]
  return {.layout = {.num_layers = 1,
                     .num_kv_heads = static_cast<int32_t>(x.size(1)),
                     .head_dim = static_cast<int32_t>(x.size(3))},
          .num_tokens = num_tokens,
          .dtype = x.scalar_type() == at::kBFloat16 ? DType::kBf16 : DType::kFp32,
          .device = x.is_cuda() ? DeviceType::kCuda : DeviceType::kCpu,
          .keys = {{plane.data_ptr(), plane.stride(1), plane.stride(0)}},
          .values = {{}}};
}

absl::Status DropTensor(const KvTensorId& tensor, SharerCache& cache) {
  std::vector<at::Tensor>& selected =
      tensor.half == Half::kKey ? cache.selected_keys : cache.selected_values;
  selected.resize(cache.keys.size());
  selected[tensor.layer] = at::zeros_like(cache.selected);
  return absl::OkStatus();
}

struct Pair {
  Model receiver;
  Model sharer;
  Fuser fuser;
};

absl::StatusOr<Pair> LoadPair(const SensitivityRequest& request) {
  const ModelOptions options{at::Device(request.device), request.dtype};
  ASSIGN_OR_RETURN(Model receiver, Model::Load(request.receiver, options));
  ASSIGN_OR_RETURN(Model sharer, Model::Load(request.sharer, options));
  ASSIGN_OR_RETURN(Fuser fuser, Fuser::Load(request.fuser, receiver.config().Layout(),
                                            sharer.config().Layout(), options));
  return Pair{std::move(receiver), std::move(sharer), std::move(fuser)};
}

// Batches of one kind each.
std::vector<DocumentBatch> BatchesOf(const DocumentPools& pools,
                                     const SensitivityRequest& request) {
  std::vector<DocumentBatch> batches;
  for (const auto& [kind, documents] : pools) {
    size_t end = documents.size();
    if (request.limit > 0) end = std::min(end, static_cast<size_t>(request.limit));
    for (size_t i = 0; i < end; ++i) {
      if (i % static_cast<size_t>(request.batch_size) == 0) batches.emplace_back();
      batches.back().push_back(&documents[i]);
    }
  }
  return batches;
}

// Means over all documents, with the cache changed by `change`.
absl::StatusOr<double> MeanLoss(const Pair& pair, const std::vector<DocumentBatch>& batches,
                                const std::function<absl::Status(SharerCache&)>& change) {
  FuserTraining how;
  how.change = change;
  double sum = 0;
  double count = 0;
  for (const DocumentBatch& batch : batches) {
    ASSIGN_OR_RETURN(const at::Tensor loss,
                     AnswerLoss(pair.receiver, pair.sharer, pair.fuser, how, batch));
    sum += loss.item<double>() * static_cast<double>(batch.size());
    count += static_cast<double>(batch.size());
  }
  return sum / count;
}

nlohmann::ordered_json JsonOf(const SensitivityRequest& request, const Pair& pair,
                              size_t num_documents, double loss,
                              const std::vector<Sensitivity>& measured) {
  nlohmann::ordered_json measurements = nlohmann::ordered_json::array();
  for (const Sensitivity& one : measured) {
    measurements.push_back({{"layer", one.tensor.layer},
                            {"half", std::string(HalfName(one.tensor.half))},
                            {"scheme", one.scheme},
                            {"squared_error", one.squared_error},
                            {"loss_increase", one.loss_increase}});
  }
  return {{"format", "qc2c-sensitivity-1"},
          {"sharer", request.sharer.filename().string()},
          {"sharer_fingerprint", HashText(pair.sharer.fingerprint())},
          {"receiver", request.receiver.filename().string()},
          {"receiver_fingerprint", HashText(pair.receiver.fingerprint())},
          {"fuser_fingerprint", HashText(pair.fuser.fingerprint())},
          {"documents", num_documents},
          {"loss", loss},
          {"measurements", measurements}};
}

absl::Status Measure(const SensitivityRequest& request) {
  const at::NoGradGuard no_grad;
  at::set_num_threads(request.threads);
  ASSIGN_OR_RETURN(const Pair pair, LoadPair(request));
  ASSIGN_OR_RETURN(const DocumentPools pools,
                   ReadDocuments(request.documents, {pair.receiver.config().vocab_size,
                                                     pair.sharer.config().vocab_size}));
  const std::vector<DocumentBatch> batches = BatchesOf(pools, request);
  size_t num_documents = 0;
  for (const DocumentBatch& batch : batches) num_documents += batch.size();
  ASSIGN_OR_RETURN(const double whole, MeanLoss(pair, batches, {}));
  std::printf("%zu documents, loss %.4f nats with the whole cache\n", num_documents, whole);
  const KvLayerSet layers{.keys = pair.fuser.SharerLayersRead(Half::kKey),
                          .values = pair.fuser.SharerLayersRead(Half::kValue)};
  std::vector<Sensitivity> measured;
  for (const KvTensorId& tensor : layers.Tensors()) {
    for (const std::string& scheme : request.schemes) {
      double error = 0;
      ASSIGN_OR_RETURN(
          const double loss, MeanLoss(pair, batches, [&](SharerCache& cache) -> absl::Status {
            ASSIGN_OR_RETURN(const double added, QuantizeTensor(tensor, scheme, cache));
            error += added;
            return absl::OkStatus();
          }));
      measured.push_back(
          {tensor, scheme, error / static_cast<double>(num_documents), loss - whole});
      std::printf("layer %3d %-5s %-12s squared error %12.5g  loss %+.5f\n", tensor.layer,
                  std::string(HalfName(tensor.half)).c_str(), scheme.c_str(),
                  measured.back().squared_error, measured.back().loss_increase);
      std::fflush(stdout);
    }
  }
  return WriteFileAtomically(request.out,
                             JsonOf(request, pair, num_documents, whole, measured).dump(1) + "\n");
}

}  // namespace

absl::StatusOr<double> QuantizeTensor(const KvTensorId& tensor, const std::string& scheme,
                                      SharerCache& cache) {
  at::Tensor& own = TensorOf(cache, tensor);
  const at::Tensor counts = cache.selected.sum(1).cpu();
  const at::Tensor original = own.contiguous();
  if (scheme == kNotSent) {
    RETURN_IF_ERROR(DropTensor(tensor, cache));
    const at::Tensor sent = cache.selected.view({own.size(0), 1, own.size(2), 1});
    return original.to(at::kDouble).square().mul(sent).sum().item<double>();
  }
  ASSIGN_OR_RETURN(const CodecSpec codec, CodecSpec::Parse(scheme));
  const at::Tensor changed = original.clone();
  for (int64_t row = 0; row < own.size(0); ++row) {
    const int64_t num_tokens = counts[row].item<int64_t>();
    ASSIGN_OR_RETURN(const KvFrame frame,
                     EncodeCache(ViewOf(original, row, num_tokens), {.keys = {0}}, codec));
    RETURN_IF_ERROR(DecodeCache(frame, ViewOf(changed, row, num_tokens)));
  }
  own = changed;
  return (changed - original).to(at::kDouble).square().sum().item<double>();
}

absl::Status MeasureSensitivity(const SensitivityRequest& request) {
  return CatchTorch([&] { return Measure(request); });
}

}  // namespace qc2c
