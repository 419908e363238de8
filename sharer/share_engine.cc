#include "sharer/share_engine.h"

#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/tensor.h>

#include <algorithm>
#include <functional>
#include <numeric>
#include <utility>

#include "common/base/status_macros.h"
#include "common/codec/device_codec.h"
#include "common/codec/selection.h"
#include "common/model/key_rotation.h"
#include "common/model/model.h"
#include "common/model/projection_biases.h"
#include "common/model/torch_status.h"
#include "common/wire/frame_codec.h"
#include "sharer/calibrated_share.h"
#include "sharer/token_scores.h"

namespace qc2c {
namespace {

// The given tokens of row `row`, as a cache of one row.
KvCache TokensOfRow(const KvCache& cache, int64_t row, const std::vector<int64_t>& tokens) {
  const at::Tensor index = at::tensor(tokens, at::kLong).to(cache.valid.device());
  const auto select = [&](const at::Tensor& tensor) {  // [B, H, S, D]
    return tensor.narrow(0, row, 1).index_select(2, index);
  };
  KvCache selected;
  for (const at::Tensor& keys : cache.keys) selected.keys.push_back(select(keys));
  for (const at::Tensor& values : cache.values) selected.values.push_back(select(values));
  return selected;
}

// A question gives the same bytes whatever shares its batch. What could make a difference is how
// far its row is padded: sums over a row that ends inside a vector register are added in another
// order. At a multiple of the widest register's 16 floats they are not (seen on x86-64; on CUDA,
// where the kernel depends on the whole batch, only batches of one promise it).
TokenBatch Widened(const TokenBatch& tokens, int64_t max_positions) {
  constexpr int64_t kStep = 16;
  const int64_t width = tokens.ids.size(1);
  const int64_t padded = std::min((width + kStep - 1) / kStep * kStep, max_positions);
  const auto widen = [&](const at::Tensor& tensor) {
    return tensor.defined() ? at::constant_pad_nd(tensor, {0, padded - width}) : tensor;
  };
  return {widen(tokens.ids), tokens.lengths, widen(tokens.positions)};
}

TokenBatch TokensOf(const std::vector<ShareJob>& batch, const Model& model) {
  std::vector<std::vector<int32_t>> prompts;
  std::vector<std::vector<uint32_t>> positions;
  for (const ShareJob& job : batch) {
    prompts.push_back(job.ids);
    positions.push_back(job.positions);
  }
  return Widened(TokenBatch::FromSequences(prompts, positions, model.options().device),
                 model.config().max_positions);
}

// The tokens that a job asks for, of all layers: a selection by norm reads more than is sent.
struct WantedCache {
  KvCache copy;  // where not all tokens are asked for
  KvCacheView view;
};

WantedCache WantedOf(const ShareJob& job, const KvCache& cache, int64_t row,
                     const KvLayout& layout) {
  std::vector<int32_t> layers(layout.num_layers);
  std::iota(layers.begin(), layers.end(), 0);
  WantedCache wanted;
  if (job.tokens.empty()) {
    wanted.view = ViewOfRow(cache, row, job.num_tokens(), layers, layout);
  } else {
    wanted.copy = TokensOfRow(cache, row, job.tokens);
    wanted.view = ViewOfRow(wanted.copy, 0, job.num_wanted(), layers, layout);
  }
  return wanted;
}

// A question with a byte budget, on its way to the threads that search and back.
struct BudgetedRow {
  ShareJob* job;
  int64_t row;
  WantedCache wanted;
  HostCache on_host = {};  // without planes of its own where the cache is on the CPU already
  absl::Status status{};   // of the copy, then of the search
  uint64_t spent_us = 0;   // on both
};

BudgetedRow BudgetedRowOf(ShareJob& job, const KvCache& cache, int64_t row,
                          const KvLayout& layout) {
  const Clock::time_point start = Clock::now();
  BudgetedRow budgeted{.job = &job, .row = row, .wanted = WantedOf(job, cache, row, layout)};
  budgeted.on_host.view = budgeted.wanted.view;
  if (budgeted.wanted.view.device == DeviceType::kCuda) {
    absl::StatusOr<HostCache> copy = CopyToHost(budgeted.wanted.view);
    budgeted.status = copy.status();
    if (copy.ok()) budgeted.on_host = *std::move(copy);
  }
  budgeted.spent_us = MicrosecondsSince(start);
  return budgeted;
}

// Resolves the job's codec.
absl::Status Search(ShareJob& job, const KvCacheView& on_host) {
  const auto frame_bytes = [&](const KvFrame& frame) {
    return BytesOfFrame(frame, job.chunk_bytes);
  };
  const TensorWeights weights = job.weights == nullptr ? TensorWeights() : *job.weights;
  ASSIGN_OR_RETURN(BudgetPlan plan,
                   PlanBudget(on_host, job.layers, job.codec, weights, frame_bytes));
  job.codec = std::move(plan.codec);
  return absl::OkStatus();
}

// Plain CPU code over a batch: a question a thread.
void ForEachInParallel(size_t count, const std::function<void(size_t)>& work) {
  at::parallel_for(0, static_cast<int64_t>(count), /*grain_size=*/1,
                   [&](int64_t begin, int64_t end) {
                     for (int64_t i = begin; i < end; ++i) work(static_cast<size_t>(i));
                   });
}

// A question of the scheme klt, on its way to the threads that encode.
struct CalibratedRow {
  ShareJob* job;
  at::Tensor tensors;  // of CopyToCpu
  uint64_t copy_us;
};

absl::StatusOr<SharedCache> EncodeRow(const CalibratedRow& row) {
  const Clock::time_point start = Clock::now();
  ASSIGN_OR_RETURN(KltMessage encoded, EncodeCalibrated(*row.job, row.tensors));
  SharedCache shared;
  shared.messages.push_back(std::move(encoded.message));
  shared.num_kept = encoded.num_kept;
  shared.times.set_encode_us(row.copy_us + MicrosecondsSince(start));
  return shared;
}

// The attention that some of the batch's codecs select by.
ForwardOptions OptionsFor(const std::vector<ShareJob>& batch) {
  ForwardOptions options;
  const auto attends = [](const ShareJob& job) { return job.codec.window > 0; };
  if (std::ranges::none_of(batch, attends)) return options;
  for (const ShareJob& job : batch) options.attending_tokens.push_back(job.codec.window);
  return options;
}

// [L, T] for the tokens that are asked for; undefined where the codec needs none.
absl::StatusOr<at::Tensor> ScoresOfWanted(const ShareJob& job, const ForwardResult& prefill,
                                          int64_t row) {
  if (job.receiver != nullptr) {
    return job.receiver->Scores(job.codec.selection, job.ids, prefill.cache, row);
  }
  if (job.codec.selection != Selection::kAttention) return at::Tensor();
  const at::Tensor scores = AttentionScores(prefill.attention, row, job.num_tokens(), job.codec);
  if (job.tokens.empty()) return scores;
  return scores.index_select(1, at::tensor(job.tokens, at::kLong).to(scores.device()));
}

}  // namespace

ShareEngine::ShareEngine(const LanguageModel& language_model, Qc2cMetrics& metrics,
                         const BatchLimits& limits, std::vector<ChannelMeans> calibrations)
    : language_model_(language_model),
      facts_{.rotation = KeyRotationOf(language_model.model.config()),
             .biases = ProjectionBiasesOf(language_model.model),
             .calibrations = std::move(calibrations)},
      metrics_(metrics),
      queue_("share", limits),
      worker_([this] { Work(); }) {}

ShareEngine::~ShareEngine() {
  StopAdmitting();
  worker_.join();
}

absl::Status ShareEngine::Submit(ShareJob job) { return queue_.Push(std::move(job)); }

void ShareEngine::Work() {
  while (true) {
    std::vector<ShareJob> batch = queue_.PopBatch();
    if (batch.empty()) return;
    DropCancelled(batch);
    if (!batch.empty()) Share(std::move(batch));
  }
}

void ShareEngine::Share(std::vector<ShareJob> batch) {
  // The model itself throws nothing; what moves its tensors about here may.
  const absl::Status status = CatchTorch([&] {
    ShareAll(batch);
    return absl::OkStatus();
  });
  for (ShareJob& job : batch) {
    if (job.finish) job.finish(status);
  }
}

void ShareEngine::ShareAll(std::vector<ShareJob>& batch) {
  const at::NoGradGuard no_grad;
  const Clock::time_point start = Clock::now();
  metrics_.batch_size.Observe(static_cast<double>(batch.size()));
  const TokenBatch tokens = TokensOf(batch, language_model_.model);
  const absl::StatusOr<ForwardResult> prefill =
      language_model_.model.Forward(tokens, nullptr, OptionsFor(batch));
  const uint64_t prefill_us = MicrosecondsSince(start);
  const auto finish = [&](ShareJob& job, absl::StatusOr<SharedCache> shared) {
    if (shared.ok()) {
      shared->times.set_queue_us(MicrosecondsBetween(job.arrived, start));
      shared->times.set_sharer_prefill_us(prefill_us);
      metrics_.ObserveStage(Stage::kQueue, shared->times.queue_us());
      metrics_.ObserveStage(Stage::kSharerPrefill, prefill_us);
      metrics_.ObserveStage(Stage::kEncode, shared->times.encode_us());
    }
    std::exchange(job.finish, nullptr)(std::move(shared));
  };
  std::vector<CalibratedRow> calibrated;
  std::vector<BudgetedRow> budgeted;
  const KvLayout layout = language_model_.model.config().Layout();
  for (size_t i = 0; i < batch.size(); ++i) {
    ShareJob& job = batch[i];
    const auto row = static_cast<int64_t>(i);
    if (!prefill.ok()) {
      finish(job, prefill.status());
    } else if (job.cancelled && job.cancelled()) {
      finish(job, absl::CancelledError("the caller went away"));
    } else if (job.codebook != nullptr) {
      const Clock::time_point copy_start = Clock::now();
      at::Tensor tensors = CopyToCpu(job, prefill->cache, row);
      calibrated.push_back({&job, std::move(tensors), MicrosecondsSince(copy_start)});
    } else if (job.codec.budget_bytes != 0) {
      budgeted.push_back(BudgetedRowOf(job, prefill->cache, row, layout));
    } else {
      const Clock::time_point wanted_start = Clock::now();
      const WantedCache wanted = WantedOf(job, prefill->cache, row, layout);
      finish(job, Encode(job, *prefill, row, wanted.view, MicrosecondsSince(wanted_start)));
    }
  }
  ForEachInParallel(calibrated.size(),
                    [&](size_t i) { finish(*calibrated[i].job, EncodeRow(calibrated[i])); });
  ForEachInParallel(budgeted.size(), [&](size_t i) {
    BudgetedRow& row = budgeted[i];
    const Clock::time_point search_start = Clock::now();
    if (row.status.ok()) row.status = Search(*row.job, row.on_host.view);
    row.spent_us += MicrosecondsSince(search_start);
  });
  for (BudgetedRow& row : budgeted) {
    if (row.status.ok()) {
      finish(*row.job, Encode(*row.job, *prefill, row.row, row.wanted.view, row.spent_us));
    } else {
      finish(*row.job, row.status);
    }
  }
}

absl::StatusOr<SharedCache> ShareEngine::Encode(const ShareJob& job, const ForwardResult& prefill,
                                                int64_t row, const KvCacheView& wanted,
                                                uint64_t spent_us) {
  const Clock::time_point start = Clock::now();
  SharedCache shared;
  const std::vector<uint32_t> positions = job.WantedPositions();
  CodecContext context = {
      .facts = &facts_, .token_positions = positions, .chunk_bytes = job.chunk_bytes};
  ASSIGN_OR_RETURN(const at::Tensor scores, ScoresOfWanted(job, prefill, row));
  if (scores.defined()) context.token_scores = {scores.data_ptr<float>(), scores.size(1)};
  ASSIGN_OR_RETURN(KvFrame frame, EncodeCache(wanted, job.layers, job.codec, context));
  frame.model_fingerprint = language_model_.model.fingerprint();
  ASSIGN_OR_RETURN(shared.messages, WriteFrame(frame, job.chunk_bytes));
  shared.num_kept = frame.num_kept();
  shared.times.set_encode_us(spent_us + MicrosecondsSince(start));
  return shared;
}

}  // namespace qc2c
