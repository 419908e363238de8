#include "experiments/calibrate/codebook_builder.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <functional>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/files.h"
#include "common/base/hash.h"
#include "common/base/status_macros.h"
#include "common/model/safetensors.h"
#include "common/model/torch_status.h"
#include "common/tensor/safetensors_view.h"
#include "experiments/calibrate/entropy_tables.h"
#include "experiments/calibrate/fuser_metric.h"
#include "experiments/calibrate/klt_fit.h"

namespace qc2c {
namespace {

using Json = nlohmann::ordered_json;

constexpr size_t kLeastPrompts = 16;
constexpr uint32_t kJointTokens = 8;
constexpr int64_t kJointComponents = 64;
constexpr int64_t kMaxComponents = 1024;  // of a half of the middle, or of the tail
// Steps of the finest level below the unit: about 1/32 for the middle, 1/64 for the tail.
constexpr int kFinestMiddle = -20;
constexpr int kFinestTail = -24;
// A lettered answer depends on few directions, and where errors are weighed by it the sixteenth
// joint component may be next to nothing: the joint row's own levels are around one no lower than
// this below its largest.
constexpr int kAnswerJointBelow = 20;

// The tokens of all prompts by class, keys un-rotated, less the mean; fp32, on the caches' device.
struct Residuals {
  at::Tensor prefix;       // [P, dim] of the first prompt, as cached
  at::Tensor middle_mean;  // [dim]
  at::Tensor tail_mean;    // [R, dim]
  at::Tensor middle;       // [N, dim]
  at::Tensor tail;         // [prompts, R, dim]
};

Residuals ResidualsOf(const CalibrationInput& input, const KltTemplate& common, Half half) {
  std::vector<at::Tensor> middle, tail;
  const auto num_prefix = static_cast<int64_t>(common.num_prefix());
  const auto num_tail = static_cast<int64_t>(common.num_tail());
  for (size_t i = 0; i < input.caches.size(); ++i) {
    const at::Tensor& cached = input.caches[i].Of(half);
    const at::Tensor plain =
        (half == Half::kKey ? WithoutRotation(cached, input.prompts[i].positions, input.layers.keys,
                                              input.rotation)
                            : cached.to(at::kFloat))
            .flatten(1);
    const int64_t num_tokens = plain.size(0);
    middle.push_back(plain.slice(0, num_prefix, num_tokens - num_tail));
    tail.push_back(plain.slice(0, num_tokens - num_tail, num_tokens));
  }
  Residuals residuals;
  residuals.prefix = input.caches.front().Of(half).slice(0, 0, num_prefix).flatten(1);
  const at::Tensor all_middle = at::cat(middle);
  const at::Tensor all_tail = at::stack(tail);
  residuals.middle_mean = all_middle.mean(0);
  residuals.tail_mean = all_tail.mean(0);
  residuals.middle = all_middle - residuals.middle_mean;
  residuals.tail = all_tail - residuals.tail_mean;
  return residuals;
}

// How often each position occurs behind the prefix.
std::vector<double> PositionShares(const CalibrationInput& input, const KltTemplate& common) {
  std::vector<double> shares;
  double count = 0;
  for (const CalibrationPrompt& prompt : input.prompts) {
    for (size_t i = common.num_prefix(); i < prompt.positions.size(); ++i, ++count) {
      const uint32_t position = prompt.positions[i];
      if (position >= shares.size()) shares.resize(position + 1);
      ++shares[position];
    }
  }
  for (double& share : shares) share /= count;
  return shares;
}

// The last tokens alone, coarse to fine around the deviation of the sixteenth joint component.
std::vector<KltLevel> JointLadder(int joint, uint32_t joint_tokens) {
  std::vector<KltLevel> levels;
  if (joint_tokens == 0) return levels;
  for (const int step : {8, 4, 0, -4, -8, -12}) {
    levels.push_back({.last_tokens = joint_tokens, .joint_step = joint + step});
  }
  return levels;
}

// Then all tokens. Each step a quarter octave of `unit`, the largest deviation of a middle
// component, or of `joint`.
std::vector<KltLevel> Ladder(int unit, int joint, uint32_t joint_tokens) {
  std::vector<KltLevel> levels = JointLadder(joint, joint_tokens);
  if (joint_tokens > 0) {
    levels.push_back({.middle_step = unit + 8, .joint_step = joint});
    levels.push_back({.middle_step = unit + 4, .joint_step = joint - 4});
    levels.push_back({.middle_step = unit, .joint_step = joint - 4});
    levels.push_back({.middle_step = unit - 4, .joint_step = joint - 8});
    levels.push_back({.middle_step = unit - 8, .joint_step = joint - 12});
  }
  for (const auto& [middle, tail] : std::vector<std::pair<int, int>>{
           {-4, -20}, {-8, -20}, {-12, -20}, {-12, -23}, {-16, -23}, {-20, kFinestTail}}) {
    levels.push_back({.middle_step = unit + middle, .tail_step = unit + tail});
  }
  return levels;
}

// Where middle, tail and joint row are weighed by what they do to the answer, an error costs the
// same in each: one step for all.
std::vector<KltLevel> AnswerLadder(int unit, int joint, uint32_t joint_tokens) {
  std::vector<KltLevel> levels = JointLadder(joint, joint_tokens);
  for (int step = unit; step >= unit + kFinestMiddle; step -= 2) {
    levels.push_back({.middle_step = step, .tail_step = step});
    if (joint_tokens > 0) levels.back().joint_step = step;
  }
  return levels;
}

Json LevelsJson(const std::vector<KltLevel>& levels) {
  const auto step = [](const std::optional<int>& value) { return value ? Json(*value) : Json(); };
  Json list = Json::array();
  for (const KltLevel& level : levels) {
    list.push_back({{"last_tokens", level.last_tokens},
                    {"middle_step", step(level.middle_step)},
                    {"tail_step", step(level.tail_step)},
                    {"joint_step", step(level.joint_step)}});
  }
  return list;
}

Json MetadataOf(const CalibrationInput& input, const KltTemplate& common, uint32_t joint_tokens,
                const std::vector<KltLevel>& levels) {
  return {{"version", 1},
          {"sharer",
           {{"model", input.sharer_model},
            {"fingerprint", HashText(input.sharer_fingerprint)},
            {"num_layers", input.layout.num_layers},
            {"num_kv_heads", input.layout.num_kv_heads},
            {"head_dim", input.layout.head_dim}}},
          {"fuser", HashText(input.fuser.fingerprint())},
          {"key_layers", input.layers.keys},
          {"value_layers", input.layers.values},
          {"rotation_of_layer", input.rotation.of_layer},
          {"prefix_ids", common.prefix_ids},
          {"prefix_positions", common.prefix_positions},
          {"tail_ids", common.tail_ids},
          {"tail_distances", common.tail_distances},
          {"joint_tokens", joint_tokens},
          {"levels", LevelsJson(levels)},
          {"calibration", {{"prompts", input.prompts.size()}, {"questions", input.questions}}}};
}

at::Tensor FrequenciesOf(const KeyRotation& rotation) {
  std::vector<at::Tensor> lists;
  for (const std::vector<float>& list : rotation.frequencies) lists.push_back(at::tensor(list));
  return at::stack(lists);
}

void AddBasis(const std::string& name, const FittedBasis& basis, NamedTensors& tensors) {
  tensors.emplace_back(name + ".analysis", basis.analysis);
  tensors.emplace_back(name + ".synthesis", basis.synthesis);
  tensors.emplace_back(name + ".sigma", basis.sigma);
  tensors.emplace_back(name + ".shape", basis.shape);
}

int ExponentAt(const FittedBasis& basis, int64_t component) {
  return basis.sigma[std::min(component, basis.size() - 1)].item<int16_t>();
}

// Of the types that a codebook has.
absl::StatusOr<std::string> Serialize(NamedTensors& tensors, const std::string& metadata) {
  SafetensorsView content{.metadata = {{"qc2c_codebook", metadata}}};
  std::ranges::stable_sort(tensors, std::greater<>(),
                           [](const auto& tensor) { return tensor.second.element_size(); });
  for (auto& [name, tensor] : tensors) {
    tensor = tensor.cpu().contiguous();
    const at::ScalarType type = tensor.scalar_type();
    content.tensors.push_back({.name = name,
                               .dtype = type == at::kShort      ? "I16"
                                        : type == at::kBFloat16 ? "BF16"
                                                                : "F32",
                               .shape = tensor.sizes().vec(),
                               .data = {static_cast<const uint8_t*>(tensor.data_ptr()),
                                        static_cast<size_t>(tensor.nbytes())}});
  }
  return SerializeSafetensors(content);
}

class Builder {
 public:
  Builder(const CalibrationInput& input, KltTemplate common)
      : input_(input),
        common_(std::move(common)),
        joint_tokens_(std::min<uint32_t>(kJointTokens, common_.num_tail())) {}

  absl::Status Write(const std::filesystem::path& path) {
    const std::vector<double> shares = PositionShares(input_, common_);
    for (const Half half : {Half::kKey, Half::kValue}) {
      residuals_[Index(half)] = ResidualsOf(input_, common_, half);
      metrics_[Index(half)] = MetricOf(input_.fuser, input_.layers, half, input_.rotation, shares);
      WeighHalf(half);
    }
    FitUnit();
    FitHalves();
    int joint_unit = 0;
    if (joint_tokens_ > 0) {
      const FittedBasis joint = FitJoint();
      AddBasis("joint", joint, tensors_);
      joint_unit = ExponentAt(joint, 15);
      if (input_.gradients != nullptr) {
        joint_unit = std::max(joint_unit, ExponentAt(joint, 0) - kAnswerJointBelow);
      }
      widest_joint_ = ExponentAt(joint, 0);
    } else {
      AddBasis("joint", FitJointBasis(at::zeros({1, 0}), 0, {}, {}, 0), tensors_);
    }
    tensors_.emplace_back("rotation.frequencies", FrequenciesOf(input_.rotation));
    tensors_.emplace_back("tables", at::tensor(MakeEntropyTables(), at::kShort)
                                        .view({kKltNumShapes, kKltNumSpreads, kKltNumSymbols}));
    std::vector<KltLevel> levels = input_.gradients == nullptr
                                       ? Ladder(unit_, joint_unit, joint_tokens_)
                                       : AnswerLadder(unit_, joint_unit, joint_tokens_);
    KeepInReach(levels);
    ASSIGN_OR_RETURN(
        const std::string content,
        Serialize(tensors_, MetadataOf(input_, common_, joint_tokens_, levels).dump()));
    return WriteFileAtomically(path, content);
  }

  const std::array<FuserMetric, 2>& metrics() const { return metrics_; }

 private:
  static size_t Index(Half half) { return static_cast<size_t>(half); }

  // The metrics that the bases of a half are fitted in.
  void WeighHalf(Half half) {
    const size_t h = Index(half);
    middle_metrics_[h] = tail_metrics_[h] = metrics_[h];
    if (input_.gradients == nullptr) return;
    std::vector<at::Tensor> middle, tail;
    int64_t num_middle = 0, num_tail = 0;
    for (const AnswerGradients& gradients : *input_.gradients) {
      const at::Tensor& rows = gradients.rows[h];  // [answers, T, dim]
      const int64_t tail_begin = rows.size(1) - static_cast<int64_t>(common_.num_tail());
      middle.push_back(
          rows.slice(1, static_cast<int64_t>(common_.num_prefix()), tail_begin).flatten(0, 1));
      tail.push_back(rows.slice(1, tail_begin).flatten(0, 1));
      num_middle += tail_begin - static_cast<int64_t>(common_.num_prefix());
      num_tail += static_cast<int64_t>(common_.num_tail());
    }
    middle_metrics_[h] = FisherMetric(at::cat(middle), num_middle, metrics_[h], input_.ridge);
    if (num_tail == 0) return;
    tail_metrics_[h] = FisherMetric(at::cat(tail), num_tail, metrics_[h], input_.ridge);
  }

  // The largest deviation of a component of the middle's values (keys where there are no values).
  void FitUnit() {
    const Half half = input_.layers.values.empty() ? Half::kKey : Half::kValue;
    const FittedBasis first =
        FitBasis(residuals_[Index(half)].middle, middle_metrics_[Index(half)], 1, -1000);
    unit_ = ExponentAt(first, 0);
  }

  void FitHalves() {
    for (const Half half : {Half::kKey, Half::kValue}) {
      const Residuals& own = residuals_[Index(half)];
      const std::string name = half == Half::kKey ? "keys" : "values";
      tensors_.emplace_back("prefix." + name, own.prefix);
      tensors_.emplace_back("middle." + name + ".mean", own.middle_mean);
      tensors_.emplace_back("tail." + name + ".mean", own.tail_mean);
      AddHalf("middle." + name,
              FitBasis(own.middle, middle_metrics_[Index(half)], kMaxComponents,
                       unit_ + kFinestMiddle + kKltMinSpread),
              widest_middle_);
      AddHalf("tail." + name,
              FitBasis(own.tail.flatten(0, 1), tail_metrics_[Index(half)], kMaxComponents,
                       unit_ + kFinestTail + kKltMinSpread),
              widest_tail_);
    }
  }

  void AddHalf(const std::string& name, const FittedBasis& basis, std::optional<int>& widest) {
    AddBasis(name, basis, tensors_);
    if (basis.size() == 0) return;
    const int own = ExponentAt(basis, 0);
    widest = std::max(widest.value_or(own), own);
  }

  // No step is finer than the entropy tables reach from the largest component of its basis.
  void KeepInReach(std::vector<KltLevel>& levels) const {
    const auto keep = [](std::optional<int>& step, const std::optional<int>& widest) {
      if (step && widest) step = std::max(*step, *widest - kKltReach);
    };
    for (KltLevel& level : levels) {
      keep(level.middle_step, widest_middle_);
      keep(level.tail_step, widest_tail_);
      keep(level.joint_step, widest_joint_);
    }
  }

  FittedBasis FitJoint() const {
    std::vector<at::Tensor> tokens;
    for (int64_t token = joint_tokens_; token > 0; --token) {
      for (const Residuals& own : residuals_) {
        tokens.push_back(own.tail.select(1, own.tail.size(1) - token));
      }
    }
    const at::Tensor rows = at::cat(tokens, 1);
    if (input_.gradients != nullptr)
      return FitJointBasis(rows, 1, JointMetric(), {}, kJointComponents);
    return FitJointBasis(rows, joint_tokens_, metrics_[0], metrics_[1], kJointComponents);
  }

  // Of the whole joint row.
  FuserMetric JointMetric() const {
    std::vector<at::Tensor> rows;
    for (const AnswerGradients& gradients : *input_.gradients) {
      const int64_t begin = gradients.rows[0].size(1) - joint_tokens_;
      rows.push_back(
          at::cat({gradients.rows[0].slice(1, begin), gradients.rows[1].slice(1, begin)}, 2)
              .flatten(1));
    }
    return SparseFisherMetric(at::cat(rows), static_cast<int64_t>(input_.gradients->size()));
  }

  const CalibrationInput& input_;
  const KltTemplate common_;
  const uint32_t joint_tokens_;
  std::array<Residuals, 2> residuals_;  // by Half
  std::array<FuserMetric, 2> metrics_;  // by Half: behind the fuser's first matrix
  std::array<FuserMetric, 2> middle_metrics_, tail_metrics_;  // what the bases are fitted in
  int unit_ = 0;
  std::optional<int> widest_middle_, widest_tail_, widest_joint_;  // the largest component's sigma
  NamedTensors tensors_;
};

}  // namespace

absl::StatusOr<BuiltCodebook> BuildCodebook(const CalibrationInput& input,
                                            const std::filesystem::path& path) {
  if (input.prompts.size() < kLeastPrompts) {
    return absl::InvalidArgumentError(absl::StrCat(
        input.prompts.size(), " prompts: a calibration needs at least ", kLeastPrompts));
  }
  std::vector<KltPrompt> views;
  size_t longest = 0;
  for (const CalibrationPrompt& prompt : input.prompts) {
    views.push_back(prompt.View());
    longest = std::max(longest, prompt.positions.size());
  }
  ASSIGN_OR_RETURN(KltTemplate common, KltTemplate::Of(views));
  if (longest == common.num_prefix() + common.num_tail()) {
    return absl::InvalidArgumentError("the prompts do not differ: nothing to calibrate");
  }
  Builder builder(input, std::move(common));
  RETURN_IF_ERROR(CatchTorch([&] {
    const at::NoGradGuard no_grad;
    return builder.Write(path);
  }));
  ASSIGN_OR_RETURN(KltCodebook codebook, KltCodebook::Load(path));
  return BuiltCodebook{std::move(codebook), builder.metrics()};
}

}  // namespace qc2c
