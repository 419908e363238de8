#include "experiments/train/sampler.h"

#include <numeric>
#include <utility>

#include "absl/strings/str_cat.h"

namespace qc2c {
namespace {

// Uniform in 0 .. bound - 1; the bias of 2^-64 x bound does not matter for drawing documents.
uint64_t DrawBelow(std::mt19937_64& engine, uint64_t bound) { return engine() % bound; }

double DrawUnit(std::mt19937_64& engine) { return static_cast<double>(engine() >> 11) * 0x1p-53; }

}  // namespace

BatchSampler::BatchSampler(const TrainingOptions& options, MixBy mix_by)
    : phases_(options.phases),
      batch_size_(options.batch_size),
      mix_by_(mix_by),
      engine_(options.seed) {}

absl::StatusOr<BatchSampler> BatchSampler::Create(const DocumentPools& pools,
                                                  const TrainingOptions& options, MixBy mix_by) {
  BatchSampler sampler(options, mix_by);
  for (const Phase& phase : options.phases) {
    for (const auto& [kind, share] : phase.mix) {
      const auto pool = pools.find(kind);
      if (pool == pools.end()) {
        return absl::InvalidArgumentError(absl::StrCat("phases: mix draws from kind '", kind,
                                                       "', of which ", options.documents.string(),
                                                       " has no document"));
      }
      sampler.pools_[kind] = {&pool->second, {}, 0};
    }
  }
  return sampler;
}

const std::string& BatchSampler::DrawKind(const Phase& phase) {
  double total = 0;
  for (const auto& [kind, share] : phase.mix) total += share;
  double left = DrawUnit(engine_) * total;
  for (const auto& [kind, share] : phase.mix) {
    left -= share;
    if (left < 0) return kind;
  }
  return phase.mix.rbegin()->first;
}

const Document* BatchSampler::Draw(Pool& pool) {
  if (pool.next == pool.order.size()) {
    pool.order.resize(pool.documents->size());
    std::iota(pool.order.begin(), pool.order.end(), 0);
    for (size_t i = pool.order.size(); i > 1; --i) {
      std::swap(pool.order[i - 1], pool.order[DrawBelow(engine_, i)]);
    }
    pool.next = 0;
  }
  return &(*pool.documents)[pool.order[pool.next++]];
}

std::vector<const Document*> BatchSampler::Next() {
  int64_t left = step_++;
  size_t phase = 0;
  while (phase + 1 < phases_.size() && left >= phases_[phase].steps) left -= phases_[phase++].steps;
  std::vector<const Document*> batch;
  const std::string* kind = nullptr;
  for (int64_t i = 0; i < batch_size_; ++i) {
    if (kind == nullptr || mix_by_ == MixBy::kDocument) kind = &DrawKind(phases_[phase]);
    batch.push_back(Draw(pools_.at(*kind)));
  }
  return batch;
}

void BatchSampler::SkipTo(int64_t step) {
  while (step_ < step) Next();
}

}  // namespace qc2c
