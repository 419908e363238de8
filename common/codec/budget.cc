#include "common/codec/budget.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/codec/cache_check.h"
#include "common/codec/device_codec.h"
#include "common/codec/distortion.h"
#include "common/codec/lagrangian.h"
#include "common/codec/scheme_registry.h"
#include "common/codec/selection.h"

namespace qc2c {
namespace {

// Every precision that a budget may choose, in the order in which equals are preferred. Others of
// the same width are never far from one of these.
constexpr Scheme kLadder[] = {Scheme::kFp32, Scheme::kBf16, Scheme::kInt8,      Scheme::kNf4,
                              Scheme::kInt4, Scheme::kInt3, Scheme::kInt2Lloyd, Scheme::kBinary};

// The codec's own precision and the narrower ones. An axis other than the default is taken for all;
// by default the two that differ most.
std::vector<CodecSpec> Candidates(const CodecSpec& codec) {
  const Precision own = codec.axis == Axis::kNone ? Precision() : codec.precision();
  std::vector<CodecSpec> candidates = {CodecSpec().With(codec.precision())};
  const auto add = [&](Precision precision) {
    const CodecSpec candidate = CodecSpec().With(precision);
    if (std::ranges::find(candidates, candidate) == candidates.end()) {
      candidates.push_back(candidate);
    }
  };
  const int max_bits = FindScheme(codec.scheme)->bits_per_value();
  for (const Scheme scheme : kLadder) {
    const SchemeCoder& coder = *FindScheme(scheme);
    if (coder.bits_per_value() > max_bits) continue;
    if (!coder.has_scales()) {
      add({scheme, Axis::kNone, ScaleType::kNone, 0});
      continue;
    }
    add({scheme, own.axis, own.scale_type, own.group_size});
    if (own.axis == Axis::kPerToken) add({scheme, Axis::kPerChannel, own.scale_type, 0});
  }
  return candidates;
}

uint64_t VarintBytes(uint64_t value) {
  uint64_t bytes = 1;
  for (; value >= 0x80; value >>= 7) ++bytes;
  return bytes;
}

// About what a tensor adds to a frame of one message, its entry in the list of layers included.
uint64_t BlockWireBytes(const KvTensorId& tensor, const BlockBytes& block, uint32_t num_kept) {
  uint64_t bytes = 1 + VarintBytes(num_kept) + 1 + VarintBytes(block.codes) + block.codes;
  if (block.scales > 0) bytes += 1 + VarintBytes(block.scales) + block.scales;
  if (tensor.layer > 0) bytes += 1 + VarintBytes(tensor.layer);
  if (tensor.half == Half::kValue) bytes += 2;
  return 2 + VarintBytes(bytes) + bytes;
}

// The search over one cache. Everything is borrowed.
class Planner {
 public:
  Planner(const KvCacheView& cache, const KvLayerSet& layers, const CodecSpec& codec,
          const TensorWeights& weights, const FrameBytes& frame_bytes, const DistortionTable& table)
      : cache_(cache),
        layers_(layers),
        codec_(codec),
        weights_(weights),
        frame_bytes_(frame_bytes),
        table_(table),
        num_tokens_(static_cast<uint32_t>(cache.num_tokens)),
        max_kept_(codec.NumKept(num_tokens_)) {}

  absl::StatusOr<BudgetPlan> Plan() {
    std::set<uint32_t> counts;
    if (codec_.selection == Selection::kAll) {
      counts.insert(num_tokens_);
    } else {
      double tokens = max_kept_;
      while (tokens >= 1) {
        counts.insert(static_cast<uint32_t>(std::lround(tokens)));
        tokens /= kCountStep;
      }
      counts.insert(1);
    }
    for (size_t p = 0; p < table_.precisions().size(); ++p) {
      ASSIGN_OR_RETURN(const uint32_t num_kept, TryUniform(p));
      if (num_kept > 0) counts.insert(num_kept);
    }
    for (const uint32_t num_kept : counts) RETURN_IF_ERROR(TryTokens(num_kept));
    if (best_.has_value()) return *std::move(best_);
    return TooSmall();
  }

 private:
  static constexpr double kCountStep = 1.4142135623730951;
  static constexpr int kMaxRounds = 8;

  // One entry a tensor: an index into the precisions + 1; 0: not sent.
  using Choice = std::vector<size_t>;

  CodecSpec Selecting(uint32_t num_kept) const {
    CodecSpec codec = codec_.With(table_.precisions()[0].precision());
    codec.budget_bytes = 0;
    codec.weights = 0;
    codec.keep.reset();
    codec.keep_tokens_min = 0;
    if (codec.selection != Selection::kAll) codec.keep = Keep(num_kept);
    return codec;
  }

  absl::StatusOr<const std::vector<uint32_t>*> Positions(uint32_t num_kept) {
    const auto [entry, is_new] = positions_.try_emplace(num_kept);
    if (is_new) {
      ASSIGN_OR_RETURN(entry->second, SelectTokens(cache_, layers_, Selecting(num_kept)));
    }
    return &entry->second;
  }

  absl::StatusOr<uint64_t> EstimatedBytes(size_t i, size_t p, uint32_t num_kept) const {
    ASSIGN_OR_RETURN(const BlockBytes block,
                     BytesOfBlock(table_.precisions()[p], cache_.layout, num_kept));
    return BlockWireBytes(table_.tensors()[i], block, num_kept);
  }

  CodecSpec Resolved(const Choice& choice, uint32_t num_kept) const {
    std::vector<size_t> uses(table_.precisions().size() + 1, 0);
    for (const size_t chosen : choice) ++uses[chosen];
    const auto most = std::max_element(uses.begin() + 1, uses.end()) - uses.begin() - 1;
    const Precision own = table_.precisions()[most].precision();
    std::vector<TensorPrecision> keys(cache_.layout.num_layers, own);
    std::vector<TensorPrecision> values = keys;
    for (size_t i = 0; i < choice.size(); ++i) {
      const auto& [layer, half] = table_.tensors()[i];
      TensorPrecision& entry = (half == Half::kKey ? keys : values)[layer];
      entry.reset();
      if (choice[i] > 0) entry = table_.precisions()[choice[i] - 1].precision();
    }
    CodecSpec codec = Selecting(num_kept).With(own);
    codec.schedule = PrecisionSchedule::Make(own, keys, values);
    return codec;
  }

  // The exact bytes of a choice's frame; remembers it if it fits and is better than all before.
  absl::StatusOr<uint64_t> Try(const Choice& choice, uint32_t num_kept) {
    ASSIGN_OR_RETURN(const std::vector<uint32_t>* positions, Positions(num_kept));
    KvFrame frame;
    frame.layout = cache_.layout;
    frame.codec = Resolved(choice, num_kept);
    frame.num_tokens = num_tokens_;
    frame.positions = *positions;
    ASSIGN_OR_RETURN(frame.layers, frame.codec.schedule.SentOf(layers_));
    RETURN_IF_ERROR(LayOutBlocks(frame));
    ASSIGN_OR_RETURN(const uint64_t bytes, frame_bytes_(frame));
    if (bytes > codec_.budget_bytes) return bytes;
    double distortion = 0;
    for (size_t i = 0; i < choice.size(); ++i) {
      distortion += Distortion(i, choice[i], *positions);
    }
    if (!std::isfinite(distortion)) return bytes;
    if (!best_.has_value() || distortion < best_->distortion ||
        (distortion == best_->distortion && bytes < best_->bytes)) {
      best_ = BudgetPlan{std::move(frame.codec), distortion, bytes};
    }
    return bytes;
  }

  // `positions`: of Positions. Where scales depend on which tokens are sent the table quantizes
  // anew each time it is asked.
  double Distortion(size_t i, size_t chosen, const std::vector<uint32_t>& positions) {
    const size_t num_choices = table_.precisions().size() + 1;
    std::vector<double>& known = distortions_[static_cast<uint32_t>(positions.size())];
    if (known.empty()) {
      known.assign(table_.tensors().size() * num_choices, std::numeric_limits<double>::quiet_NaN());
    }
    double& distortion = known[i * num_choices + chosen];
    if (std::isnan(distortion)) {
      const double error = chosen == 0 ? table_.NotSent(i) : table_.Sent(i, chosen - 1, positions);
      distortion = weights_.Of(table_.tensors()[i]) * error;
    }
    return distortion;
  }

  // Of all blocks with precision p: no frame of them has less.
  absl::StatusOr<uint64_t> UniformBytes(size_t p, uint32_t num_kept) const {
    uint64_t bytes = 0;
    for (size_t i = 0; i < table_.tensors().size(); ++i) {
      ASSIGN_OR_RETURN(const uint64_t block, EstimatedBytes(i, p, num_kept));
      bytes += block;
    }
    return bytes;
  }

  // The most tokens that fit if every tensor has precision p; 0 if not even one does.
  absl::StatusOr<uint32_t> TryUniform(size_t p) {
    const Choice choice(table_.tensors().size(), p + 1);
    uint32_t num_kept = max_kept_;
    if (codec_.selection == Selection::kAll) {
      // There may be far more than the budget: not to be laid out to learn that.
      ASSIGN_OR_RETURN(const uint64_t bytes, UniformBytes(p, num_kept));
      if (bytes > codec_.budget_bytes) return 0;
    } else {
      uint32_t low = 0;
      while (low < num_kept) {
        const uint32_t middle = low + (num_kept - low + 1) / 2;
        ASSIGN_OR_RETURN(const uint64_t bytes, UniformBytes(p, middle));
        if (bytes <= codec_.budget_bytes) {
          low = middle;
        } else {
          num_kept = middle - 1;
        }
      }
    }
    for (; num_kept > 0; --num_kept) {
      ASSIGN_OR_RETURN(const uint64_t bytes, Try(choice, num_kept));
      if (bytes <= codec_.budget_bytes) return num_kept;
      if (codec_.selection == Selection::kAll) break;
    }
    return 0;
  }

  // The best choice of precisions for a number of tokens.
  absl::Status TryTokens(uint32_t num_kept) {
    ASSIGN_OR_RETURN(const std::vector<uint32_t>* positions, Positions(num_kept));
    std::vector<std::vector<Alternative>> units;
    for (size_t i = 0; i < table_.tensors().size(); ++i) {
      std::vector<Alternative>& unit = units.emplace_back();
      unit.push_back({0, Distortion(i, 0, *positions)});
      for (size_t p = 0; p < table_.precisions().size(); ++p) {
        ASSIGN_OR_RETURN(const uint64_t bytes, EstimatedBytes(i, p, num_kept));
        unit.push_back({bytes, Distortion(i, p + 1, *positions)});
      }
    }
    // What is left for the blocks when header and trailer are taken off is known after a try.
    const auto budget = static_cast<int64_t>(codec_.budget_bytes);
    int64_t target = budget;
    std::set<int64_t> tried;
    for (int round = 0; round < kMaxRounds && tried.insert(target).second; ++round) {
      Choice choice = Allocate(units, static_cast<uint64_t>(std::max<int64_t>(target, 0)));
      const bool sends_nothing = std::ranges::all_of(choice, [](size_t c) { return c == 0; });
      if (sends_nothing) choice = Smallest(units);
      ASSIGN_OR_RETURN(const uint64_t bytes, Try(choice, num_kept));
      if (sends_nothing && static_cast<int64_t>(bytes) > budget) break;
      target += budget - static_cast<int64_t>(bytes);
    }
    return absl::OkStatus();
  }

  static Choice Smallest(const std::vector<std::vector<Alternative>>& units) {
    Choice choice(units.size(), 0);
    uint64_t least = std::numeric_limits<uint64_t>::max();
    for (size_t i = 0; i < units.size(); ++i) {
      for (size_t a = 1; a < units[i].size(); ++a) {
        if (units[i][a].bytes >= least || !std::isfinite(units[i][a].distortion)) continue;
        least = units[i][a].bytes;
        choice.assign(units.size(), 0);
        choice[i] = a;
      }
    }
    return choice;
  }

  absl::Status TooSmall() {
    const uint32_t num_kept = codec_.selection == Selection::kAll ? num_tokens_ : 1;
    std::vector<std::vector<Alternative>> units(table_.tensors().size(), {Alternative{}});
    for (size_t i = 0; i < units.size(); ++i) {
      for (size_t p = 0; p < table_.precisions().size(); ++p) {
        ASSIGN_OR_RETURN(const uint64_t bytes, EstimatedBytes(i, p, num_kept));
        units[i].push_back({bytes, 0});
      }
    }
    ASSIGN_OR_RETURN(const uint64_t bytes, Try(Smallest(units), num_kept));
    return absl::InvalidArgumentError(absl::StrCat(
        "codec: budget_bytes is ", codec_.budget_bytes, ": expected at least ", bytes,
        ", which one tensor with ", num_kept, num_kept == 1 ? " token" : " tokens", " takes"));
  }

  const KvCacheView& cache_;
  const KvLayerSet& layers_;
  const CodecSpec& codec_;
  const TensorWeights& weights_;
  const FrameBytes& frame_bytes_;
  const DistortionTable& table_;
  const uint32_t num_tokens_;
  const uint32_t max_kept_;
  std::map<uint32_t, std::vector<uint32_t>> positions_;  // by number
  // By number of tokens, of each tensor and choice; NaN until it is asked for.
  std::map<uint32_t, std::vector<double>> distortions_;
  std::optional<BudgetPlan> best_;
};

}  // namespace

absl::StatusOr<BudgetPlan> PlanBudget(const KvCacheView& cache, const KvLayerSet& layers,
                                      const CodecSpec& codec, const TensorWeights& weights,
                                      const FrameBytes& frame_bytes) {
  RETURN_IF_ERROR(codec.Validate());
  RETURN_IF_ERROR(layers.Validate(cache.layout));
  RETURN_IF_ERROR(CheckCache(cache, layers.Tensors()));
  if (NeedsScores(codec.selection)) {
    RETURN_IF_ERROR(CheckCache(cache, ScoredTensors(codec, cache.layout, layers)));
  }
  HostCache copy;
  if (cache.device == DeviceType::kCuda) {
    ASSIGN_OR_RETURN(copy, CopyToHost(cache));
  }
  const KvCacheView& host = cache.device == DeviceType::kCuda ? copy.view : cache;
  ASSIGN_OR_RETURN(const DistortionTable table,
                   DistortionTable::Measure(host, layers.Tensors(), Candidates(codec)));
  return Planner(host, layers, codec, weights, frame_bytes, table).Plan();
}

absl::Status CheckResolved(const CodecSpec& asked, const CodecSpec& resolved, uint32_t num_tokens) {
  CodecSpec expected = asked.With(resolved.precision());
  expected.budget_bytes = 0;
  expected.weights = 0;
  expected.schedule = resolved.schedule;
  const bool has_tokens =
      resolved.keep.has_value() && std::holds_alternative<uint32_t>(*resolved.keep);
  if (asked.selection != Selection::kAll && has_tokens) {
    expected.keep = resolved.keep;
    expected.keep_tokens_min = 0;
  }
  if (expected == resolved && resolved.NumKept(num_tokens) <= asked.NumKept(num_tokens)) {
    return absl::OkStatus();
  }
  return absl::FailedPreconditionError(absl::StrCat(
      "header.codec is ", resolved.ToString(), ": expected one that resolves ", asked.ToString()));
}

}  // namespace qc2c
