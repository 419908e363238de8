#include "experiments/train/training_loop.h"

#include <ATen/Context.h>
#include <ATen/core/Tensor.h>

#include <cmath>
#include <filesystem>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/base/bytes.h"
#include "common/base/hash.h"
#include "common/base/status_macros.h"
#include "experiments/train/checkpoint.h"
#include "experiments/train/progress.h"
#include "experiments/train/schedule.h"

namespace qc2c {
namespace {

constexpr int64_t kMaxSkippedInARow = 5;

// Weights and optimizer state: what a checkpoint holds.
NamedTensors TrainingState(const TrainingTask& task) {
  NamedTensors state;
  for (const auto& [name, tensor] : task.parameters) {
    state.emplace_back("weight." + name, tensor.detach());
  }
  for (const auto& optimizer : task.optimizers) {
    for (auto& entry : optimizer->State()) state.push_back(std::move(entry));
  }
  return state;
}

// One step of all optimizers. Returns loss and gradient norm. Gradients that are not finite change
// nothing: in bf16 a single one may overflow without the run being lost.
absl::StatusOr<LossRecord> TrainStep(TrainingTask& task, const DocumentBatch& batch, int64_t step,
                                     const TrainingOptions& options) {
  at::manual_seed(options.seed + static_cast<uint64_t>(step) + 1);
  ASSIGN_OR_RETURN(const at::Tensor loss, task.loss(batch, step));
  loss.backward();
  LossRecord record;
  record.step = step + 1;
  record.loss = loss.item<double>();
  record.grad_norm = ClipGradients(task.parameters, options.clip);
  if (!std::isfinite(record.loss)) {
    return absl::InternalError(
        absl::StrCat("loss ", record.loss, " at step ", step + 1, ": training diverged"));
  }
  record.lr_scale =
      WarmupCosine(step, options.TotalSteps(), options.warmup_steps, options.final_lr_ratio);
  if (std::isfinite(record.grad_norm)) {
    for (const auto& optimizer : task.optimizers) optimizer->Step(step + 1, record.lr_scale);
  }
  for (auto& [name, parameter] : task.parameters) parameter.mutable_grad().reset();
  return record;
}

absl::Status Check(const TrainingTask& task, const DocumentPools& documents, int64_t step,
                   LossLog& log) {
  ASSIGN_OR_RETURN(const Accuracy accuracy, task.check(documents));
  std::string line = absl::StrCat(task.name, "  step ", step, "  right answers:");
  for (const auto& [kind, share] : accuracy) absl::StrAppendFormat(&line, "  %s %.3f", kind, share);
  std::fprintf(stderr, "\n%s\n", line.c_str());
  return log.Write(step, accuracy);
}

}  // namespace

absl::Status RunTraining(TrainingTask& task, const DocumentPools& documents,
                         const DocumentPools& check_documents, const TrainingOptions& options) {
  ASSIGN_OR_RETURN(BatchSampler sampler, BatchSampler::Create(documents, options, task.mix_by));
  const NamedTensors state = TrainingState(task);
  const std::filesystem::path checkpoint = options.state / "checkpoint.safetensors";
  std::filesystem::create_directories(options.state);
  ASSIGN_OR_RETURN(const int64_t first, RestoreCheckpoint(checkpoint, task.fingerprint, state));
  ASSIGN_OR_RETURN(LossLog log, LossLog::Open(options.state / "log.jsonl", first));
  sampler.SkipTo(first);
  const int64_t total = options.TotalSteps();
  Progress progress(task.name, first, total);
  int64_t skipped_in_a_row = 0;
  for (int64_t step = first; step < total; ++step) {
    ASSIGN_OR_RETURN(LossRecord record, TrainStep(task, sampler.Next(), step, options));
    record.seconds = progress.Seconds();
    skipped_in_a_row = std::isfinite(record.grad_norm) ? 0 : skipped_in_a_row + 1;
    if (skipped_in_a_row == kMaxSkippedInARow) {
      return absl::InternalError(absl::StrCat("gradient norm ", record.grad_norm, " in ",
                                              kMaxSkippedInARow, " steps up to ", record.step,
                                              ": training diverged"));
    }
    if (skipped_in_a_row > 0) RETURN_IF_ERROR(log.Write(record));
    progress.Show(record.step, record.loss);
    const bool last = record.step == total;
    if (skipped_in_a_row == 0 && (last || record.step % options.log_every == 0)) {
      RETURN_IF_ERROR(log.Write(record));
    }
    if (!check_documents.empty() && (last || record.step % options.check_every == 0)) {
      RETURN_IF_ERROR(Check(task, check_documents, record.step, log));
    }
    const bool stop = !last && options.stop_requested && options.stop_requested();
    if (last || stop || record.step % options.checkpoint_every == 0) {
      RETURN_IF_ERROR(SaveCheckpoint(checkpoint, record.step, task.fingerprint, state));
    }
    if (stop) {
      return absl::CancelledError(absl::StrCat("stopped at step ", record.step, " of ", total,
                                               "; the same command continues there"));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<uint64_t> Fingerprint(const TrainingOptions& options, const std::string& rest) {
  std::string text =
      absl::StrFormat("%d %d %d %.17g %.17g %.17g %.17g %.17g %.17g %.17g %s|", options.seed,
                      options.batch_size, options.warmup_steps, options.final_lr_ratio,
                      options.clip, options.adamw.lr, options.adamw.beta1, options.adamw.beta2,
                      options.adamw.eps, options.adamw.decay, options.device);
  for (const Phase& phase : options.phases) {
    absl::StrAppend(&text, phase.steps, ":");
    for (const auto& [kind, share] : phase.mix)
      absl::StrAppendFormat(&text, "%s=%.17g,", kind, share);
  }
  absl::StrAppend(&text, "|", rest);
  ASSIGN_OR_RETURN(const uint64_t documents, HashFiles({options.documents}));
  return Hasher().Add(AsBytes(text)).AddU64(documents).Digest();
}

}  // namespace qc2c
