#include "common/serving/channel_means_file.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/full.h>
#include <ATen/ops/isfinite.h>
#include <ATen/ops/tensor.h>

#include <bit>
#include <map>

#include "absl/strings/str_cat.h"
#include "common/base/bytes.h"
#include "common/base/files.h"
#include "common/base/hash.h"
#include "common/base/status_macros.h"
#include "common/model/safetensors.h"

namespace qc2c {
namespace {

constexpr char kFingerprint[] = "model_fingerprint";

std::string TensorName(Half half, int32_t layer) {
  return absl::StrCat(std::string(HalfName(half)), ".", layer);
}

// Takes one tensor out of `tensors`, checked.
absl::StatusOr<at::Tensor> Take(std::map<std::string, at::Tensor>& tensors, const std::string& name,
                                at::ScalarType dtype, at::IntArrayRef sizes) {
  const auto found = tensors.find(name);
  if (found == tensors.end())
    return absl::DataLossError(absl::StrCat("tensor ", name, " is missing"));
  const at::Tensor tensor = found->second;
  tensors.erase(found);
  if (tensor.scalar_type() != dtype || tensor.sizes() != sizes) {
    return absl::DataLossError(absl::StrCat(
        "tensor ", name, " is ", at::toString(tensor.scalar_type()), " of ", tensor.dim(),
        " dimensions and ", tensor.numel(), " values: expected ", at::toString(dtype), " of ",
        sizes.size(), " dimensions and ", c10::multiply_integers(sizes), " values"));
  }
  return tensor.contiguous();
}

absl::Status TakeMeans(std::map<std::string, at::Tensor>& tensors, const KvLayout& layout,
                       Half half, std::vector<float>& means) {
  for (int32_t layer = 0; layer < layout.num_layers; ++layer) {
    const std::string name = TensorName(half, layer);
    ASSIGN_OR_RETURN(const at::Tensor tensor,
                     Take(tensors, name, at::kFloat, {layout.num_kv_heads, layout.head_dim}));
    if (!at::isfinite(tensor).all().item<bool>()) {
      return absl::DataLossError(
          absl::StrCat("tensor ", name, " holds NaN or infinity: expected finite values"));
    }
    const float* const data = tensor.const_data_ptr<float>();
    means.insert(means.end(), data, data + tensor.numel());
  }
  return absl::OkStatus();
}

absl::StatusOr<uint64_t> TakeFingerprint(std::map<std::string, at::Tensor>& tensors) {
  ASSIGN_OR_RETURN(const at::Tensor fingerprint, Take(tensors, kFingerprint, at::kLong, {1}));
  return std::bit_cast<uint64_t>(fingerprint.item<int64_t>());
}

absl::StatusOr<ChannelMeans> ReadMeans(const NamedTensors& named, uint64_t model_fingerprint,
                                       const KvLayout& layout) {
  std::map<std::string, at::Tensor> tensors(named.begin(), named.end());
  ASSIGN_OR_RETURN(const uint64_t of_file, TakeFingerprint(tensors));
  if (of_file != model_fingerprint) {
    return absl::FailedPreconditionError(absl::StrCat(kFingerprint, " is ", HashText(of_file),
                                                      ": expected the sharer's model, ",
                                                      HashText(model_fingerprint)));
  }
  ChannelMeans means = {.id = 0, .layout = layout, .keys = {}, .values = {}};
  RETURN_IF_ERROR(TakeMeans(tensors, layout, Half::kKey, means.keys));
  RETURN_IF_ERROR(TakeMeans(tensors, layout, Half::kValue, means.values));
  if (tensors.empty()) return means;
  return absl::DataLossError(absl::StrCat("tensor ", tensors.begin()->first,
                                          " is surplus: expected none beside key.<layer>, "
                                          "value.<layer> and model_fingerprint"));
}

}  // namespace

absl::StatusOr<ChannelMeans> LoadChannelMeans(const std::filesystem::path& path,
                                              uint64_t model_fingerprint, const KvLayout& layout) {
  ASSIGN_OR_RETURN(const std::string bytes, ReadFile(path));
  const absl::StatusOr<NamedTensors> named = ReadSafetensors(path);
  if (!named.ok()) return absl::DataLossError(named.status().message());
  absl::StatusOr<ChannelMeans> means = ReadMeans(*named, model_fingerprint, layout);
  if (!means.ok()) {
    return absl::Status(means.status().code(), absl::StrCat("calibration ", path.string(), ": ",
                                                            std::string(means.status().message())));
  }
  means->id = Hash(AsBytes(bytes));
  return means;
}

absl::StatusOr<uint64_t> ModelOfChannelMeans(const std::filesystem::path& path) {
  const absl::StatusOr<NamedTensors> named = ReadSafetensors(path);
  if (!named.ok()) return absl::DataLossError(named.status().message());
  std::map<std::string, at::Tensor> tensors(named->begin(), named->end());
  return TakeFingerprint(tensors);
}

absl::StatusOr<std::vector<ChannelMeans>> LoadChannelMeansFiles(
    const std::vector<std::string>& paths, uint64_t model_fingerprint, const KvLayout& layout) {
  std::vector<ChannelMeans> files;
  for (const std::string& path : paths) {
    ASSIGN_OR_RETURN(ChannelMeans means, LoadChannelMeans(path, model_fingerprint, layout));
    files.push_back(std::move(means));
  }
  return files;
}

absl::Status SaveChannelMeans(const std::filesystem::path& path, uint64_t model_fingerprint,
                              const ChannelMeans& means) {
  const KvLayout& layout = means.layout;
  const int64_t num = int64_t{layout.num_kv_heads} * layout.head_dim;
  NamedTensors tensors;
  tensors.emplace_back(kFingerprint, at::full({1}, std::bit_cast<int64_t>(model_fingerprint),
                                              at::TensorOptions(at::kLong)));
  for (const Half half : {Half::kKey, Half::kValue}) {
    const at::Tensor all = at::tensor(half == Half::kKey ? means.keys : means.values, at::kFloat);
    for (int32_t layer = 0; layer < layout.num_layers; ++layer) {
      tensors.emplace_back(
          TensorName(half, layer),
          all.narrow(0, layer * num, num).view({layout.num_kv_heads, layout.head_dim}));
    }
  }
  return WriteSafetensors(path, tensors);
}

}  // namespace qc2c
