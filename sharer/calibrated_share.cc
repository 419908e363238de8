#include "sharer/calibrated_share.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/tensor.h>

#include <algorithm>
#include <numeric>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/codec/klt.h"

namespace qc2c {
namespace {

std::vector<uint32_t> PositionsOf(const ShareJob& job) {
  std::vector<uint32_t> positions(job.tokens.begin(), job.tokens.end());
  if (!positions.empty()) return positions;
  positions.resize(job.ids.size());
  std::iota(positions.begin(), positions.end(), 0);
  return positions;
}

// How many of the last wanted tokens are read for the codec's level, or for any level if its budget
// chooses.
int64_t NumRead(const ShareJob& job, size_t num_wanted) {
  const KltCodebook& codebook = *job.codebook;
  size_t num_read = 1;  // a cache has at least one
  for (uint32_t level = 0; level < codebook.levels.size(); ++level) {
    if (job.codec.klt->level.value_or(level) != level) continue;
    num_read = std::max(num_read, codebook.NumRead(codebook.levels[level], num_wanted));
  }
  return static_cast<int64_t>(num_read);
}

KvCacheView ViewOf(const KltCodebook& codebook, const at::Tensor& tensors) {
  KvCacheView view{.layout = codebook.layout,
                   .num_tokens = tensors.size(2),
                   .dtype = tensors.scalar_type() == at::kBFloat16 ? DType::kBf16 : DType::kFp32,
                   .device = DeviceType::kCpu,
                   .keys = std::vector<KvPlane>(codebook.layout.num_layers),
                   .values = std::vector<KvPlane>(codebook.layout.num_layers)};
  int64_t i = 0;
  for (const auto& [layer, half] : codebook.layers.Tensors()) {
    const at::Tensor plane = tensors[i++];
    (half == Half::kKey ? view.keys : view.values)[layer] = {plane.data_ptr(), plane.stride(1),
                                                             plane.stride(0)};
  }
  return view;
}

}  // namespace

absl::StatusOr<const KltCodebook*> CodebookFor(const ShareJob& job, const KltCodebooks& codebooks) {
  ASSIGN_OR_RETURN(const KltCodebook* codebook, codebooks.Get(*job.codec.klt));
  if (job.layers != codebook->layers) {
    return absl::FailedPreconditionError(
        "key_layers, value_layers: expected those of the codebook, which was made for one fuser");
  }
  const std::vector<uint32_t> positions = PositionsOf(job);
  RETURN_IF_ERROR(codebook->prompt_template.Match({job.ids, positions}));
  return codebook;
}

at::Tensor CopyToCpu(const ShareJob& job, const KvCache& cache, int64_t row) {
  const std::vector<uint32_t> positions = PositionsOf(job);
  const std::vector<int64_t> tokens(positions.end() - NumRead(job, positions.size()),
                                    positions.end());
  const at::Tensor index = at::tensor(tokens, at::kLong).to(cache.valid.device());
  std::vector<at::Tensor> tensors;
  for (const auto& [layer, half] : job.codebook->layers.Tensors()) {
    const at::Tensor& tensor = half == Half::kKey ? cache.keys[layer] : cache.values[layer];
    tensors.push_back(tensor[row].index_select(1, index));
  }
  return at::stack(tensors).cpu();
}

absl::StatusOr<KltMessage> EncodeCalibrated(const ShareJob& job, const at::Tensor& tensors) {
  const KltCodebook& codebook = *job.codebook;
  const std::vector<uint32_t> positions = PositionsOf(job);
  ASSIGN_OR_RETURN(KltEncoder encoder,
                   KltEncoder::Create(codebook, {job.ids, positions}, ViewOf(codebook, tensors)));
  const KltChoice& choice = *job.codec.klt;
  if (!choice.level) return WriteWithinBudget(encoder, choice.budget_bytes);
  return WriteLevel(encoder, *choice.level);
}

}  // namespace qc2c
