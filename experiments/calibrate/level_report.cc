#include "experiments/calibrate/level_report.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/tensor.h>

#include <algorithm>
#include <optional>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/base/status_macros.h"
#include "common/codec/klt.h"
#include "common/model/torch_status.h"
#include "common/wire/klt_frame.h"
#include "experiments/text_table.h"

namespace qc2c {
namespace {

// The tensors of the codebook's layers, which must be on the CPU, as a view.
KvCacheView ViewOf(const KltCodebook& codebook, const CalibrationCache& cache) {
  const bool is_half = cache.keys.scalar_type() == at::kBFloat16;
  KvCacheView view{.layout = codebook.layout,
                   .num_tokens = cache.keys.size(0),
                   .dtype = is_half ? DType::kBf16 : DType::kFp32,
                   .device = DeviceType::kCpu,
                   .keys = std::vector<KvPlane>(codebook.layout.num_layers),
                   .values = std::vector<KvPlane>(codebook.layout.num_layers)};
  for (const Half half : {Half::kKey, Half::kValue}) {
    const std::vector<int32_t>& layers = codebook.layers.Of(half);
    for (size_t i = 0; i < layers.size(); ++i) {
      const at::Tensor plane = cache.Of(half).select(1, static_cast<int64_t>(i));
      (half == Half::kKey ? view.keys : view.values)[layers[i]] = {
          plane.data_ptr(), plane.stride(0), plane.stride(1)};
    }
  }
  return view;
}

// [tokens, dim] of the codebook's means behind the prefix.
at::Tensor MeansOf(const KltCodebook& codebook, Half half, int64_t num_middle) {
  const auto h = static_cast<size_t>(half);
  const auto num_tail = static_cast<int64_t>(codebook.prompt_template.num_tail());
  const auto dim = static_cast<int64_t>(codebook.Dim(half));
  const at::Tensor middle = at::tensor(codebook.middle_mean[h]).view({1, dim});
  return at::cat(
      {middle.expand({num_middle, dim}), at::tensor(codebook.tail_mean[h]).view({num_tail, dim})});
}

// One prompt, measured at every level.
class PromptMeter {
 public:
  PromptMeter(const KltCodebook& codebook, const std::array<FuserMetric, 2>& metrics,
              const CalibrationPrompt& prompt, const CalibrationCache& cache)
      : codebook_(codebook),
        metrics_(metrics),
        prompt_(prompt),
        cache_{cache.keys.cpu().contiguous(), cache.values.cpu().contiguous()} {
    for (const Half half : {Half::kKey, Half::kValue}) {
      truth_[Index(half)] = RowsOf(half, cache_.Of(half), prompt.positions);
    }
  }

  // Adds to the row; `error` is the squared error, `energy` that of the means.
  absl::Status Add(uint32_t level, LevelRow& row, double& error, double& energy) {
    if (!encoder_) {
      ASSIGN_OR_RETURN(encoder_,
                       KltEncoder::Create(codebook_, prompt_.View(), ViewOf(codebook_, cache_)));
    }
    ASSIGN_OR_RETURN(const KvFrame frame, encoder_->Encode(level));
    ASSIGN_OR_RETURN(const std::string message, WriteKltFrame(frame));
    row.mean_bytes += static_cast<double>(message.size());
    row.max_bytes = std::max(row.max_bytes, message.size());

    const auto num_kept = static_cast<int64_t>(frame.positions.size());
    const auto like = [&](const at::Tensor& x) {
      return at::empty({num_kept, x.size(1), x.size(2), x.size(3)}, at::kFloat);
    };
    const CalibrationCache decoded{like(cache_.keys), like(cache_.values)};
    RETURN_IF_ERROR(
        DecodeCache(frame, ViewOf(codebook_, decoded), {.token_positions = prompt_.positions}));
    const std::vector<uint32_t> kept(prompt_.positions.end() - num_kept, prompt_.positions.end());
    for (const Half half : {Half::kKey, Half::kValue}) {
      const at::Tensor got = RowsOf(half, decoded.Of(half), kept);
      const at::Tensor& all = truth_[Index(half)];
      // Behind the prefix, where the codebook is exact.
      const int64_t count = std::min(num_kept, all.size(0) - NumPrefix());
      const at::Tensor want = all.slice(0, all.size(0) - count);
      const at::Tensor means = MeansOf(
          codebook_, half,
          all.size(0) - NumPrefix() - static_cast<int64_t>(codebook_.prompt_template.num_tail()));
      error += Energy(half, want - got.slice(0, num_kept - count));
      energy += Energy(half, want - means.slice(0, means.size(0) - count));
    }
    return absl::OkStatus();
  }

 private:
  static size_t Index(Half half) { return static_cast<size_t>(half); }
  int64_t NumPrefix() const { return static_cast<int64_t>(codebook_.prompt_template.num_prefix()); }

  at::Tensor RowsOf(Half half, const at::Tensor& tensors,
                    const std::vector<uint32_t>& positions) const {
    const at::Tensor plain =
        half == Half::kKey
            ? WithoutRotation(tensors, positions, codebook_.layers.keys, codebook_.rotation)
            : tensors.to(at::kFloat);
    return plain.flatten(1);
  }
  double Energy(Half half, const at::Tensor& difference) const {
    return metrics_[Index(half)].Apply(difference.to(at::kDouble)).square().sum().item<double>();
  }

  const KltCodebook& codebook_;
  const std::array<FuserMetric, 2>& metrics_;
  const CalibrationPrompt& prompt_;
  const CalibrationCache cache_;
  std::array<at::Tensor, 2> truth_;  // by Half: [T, dim], keys un-rotated
  std::optional<KltEncoder> encoder_;
};

std::string StepCell(const std::optional<int>& step) {
  return step ? absl::StrFormat("%.3g", KltPower(*step)) : "";
}

absl::Status Measure(const KltCodebook& codebook, const std::array<FuserMetric, 2>& metrics,
                     const std::vector<CalibrationPrompt>& prompts,
                     const std::vector<CalibrationCache>& caches, std::vector<LevelRow>& rows) {
  const at::NoGradGuard no_grad;
  std::array<FuserMetric, 2> on_cpu = metrics;
  for (FuserMetric& metric : on_cpu) {
    for (at::Tensor& factor : metric.factors) factor = factor.cpu();
  }
  std::vector<double> errors(rows.size()), energies(rows.size());
  for (size_t i = 0; i < prompts.size(); ++i) {
    PromptMeter meter(codebook, on_cpu, prompts[i], caches[i]);
    for (size_t level = 0; level < rows.size(); ++level) {
      RETURN_IF_ERROR(
          meter.Add(static_cast<uint32_t>(level), rows[level], errors[level], energies[level]));
    }
  }
  for (size_t level = 0; level < rows.size(); ++level) {
    rows[level].mean_bytes /= static_cast<double>(prompts.size());
    rows[level].error = errors[level] / energies[level];
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::vector<LevelRow>> MeasureLevels(const KltCodebook& codebook,
                                                    const std::array<FuserMetric, 2>& metrics,
                                                    const std::vector<CalibrationPrompt>& prompts,
                                                    const std::vector<CalibrationCache>& caches) {
  std::vector<LevelRow> rows(codebook.levels.size());
  RETURN_IF_ERROR(CatchTorch([&] { return Measure(codebook, metrics, prompts, caches, rows); }));
  return rows;
}

std::string LevelTable(const KltCodebook& codebook, const std::vector<LevelRow>& rows) {
  TextTable table;
  table.columns = {{"level"},      {"tokens"}, {"middle step"}, {"tail step"},
                   {"joint step"}, {"bytes"},  {"largest"},     {"error"}};
  for (size_t i = 0; i < rows.size(); ++i) {
    const KltLevel& level = codebook.levels[i];
    table.rows.push_back({absl::StrCat(i),
                          level.last_tokens == 0 ? "all" : absl::StrCat("last ", level.last_tokens),
                          StepCell(level.middle_step), StepCell(level.tail_step),
                          StepCell(level.joint_step), absl::StrFormat("%.1f", rows[i].mean_bytes),
                          absl::StrCat(rows[i].max_bytes), absl::StrFormat("%.5f", rows[i].error)});
  }
  return table.Terminal();
}

}  // namespace qc2c
