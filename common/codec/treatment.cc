#include "common/codec/treatment.h"

#include <algorithm>
#include <bit>
#include <numeric>

#include "absl/strings/str_cat.h"
#include "common/base/hash.h"
#include "common/base/status_macros.h"
#include "common/codec/rows.h"
#include "common/codec/vector_clones.h"

namespace qc2c {
namespace {

bool Covers(Hadamard hadamard, Half half) {
  const Hadamard one = half == Half::kKey ? Hadamard::kKeys : Hadamard::kValues;
  return hadamard == Hadamard::kBoth || hadamard == one;
}

// The position in its prompt of each token of a plane.
absl::StatusOr<std::vector<uint32_t>> PositionsOf(size_t num_tokens,
                                                  std::span<const uint32_t> tokens,
                                                  std::span<const uint32_t> token_positions) {
  std::vector<uint32_t> positions(num_tokens);
  for (size_t t = 0; t < num_tokens; ++t) {
    const uint32_t token = tokens.empty() ? static_cast<uint32_t>(t) : tokens[t];
    if (!token_positions.empty() && token >= token_positions.size()) {
      return absl::InvalidArgumentError(absl::StrCat("token_positions has ", token_positions.size(),
                                                     " entries: expected one for token ", token));
    }
    positions[t] = token_positions.empty() ? token : token_positions[token];
  }
  return positions;
}

QC2C_VECTOR_CLONES void AddSigned(const float* __restrict means, float sign, size_t num,
                                  float* __restrict values) {
  for (size_t d = 0; d < num; ++d) values[d] += sign * means[d];
}

}  // namespace

QC2C_VECTOR_CLONES void HadamardTransform(float* values, size_t num) {
  for (size_t step = 1; step < num; step *= 2) {
    for (size_t first = 0; first < num; first += 2 * step) {
      for (size_t i = first; i < first + step; ++i) {
        const float a = values[i];
        const float b = values[i + step];
        values[i] = a + b;
        values[i + step] = a - b;
      }
    }
  }
}

absl::StatusOr<Treatment> Treatment::Create(const TreatmentSpec& spec, const KvLayout& layout,
                                            size_t num_tokens, std::span<const uint32_t> tokens,
                                            const CodecContext& context) {
  Treatment treatment(spec, layout);
  if (spec.hadamard != Hadamard::kOff &&
      !std::has_single_bit(static_cast<uint32_t>(layout.head_dim))) {
    return absl::InvalidArgumentError(
        absl::StrCat("codec: hadamard is '", std::string(HadamardName(spec.hadamard)),
                     "': expected off, as head_dim is ", layout.head_dim, ", no power of two"));
  }
  if (spec.rotation == Rotation::kKeep && spec.mean == Mean::kKeep) return treatment;
  if (context.facts == nullptr) {
    return absl::FailedPreconditionError(
        "codec: rotation is 'remove', but how the model rotates its keys is not known here");
  }
  RETURN_IF_ERROR(treatment.UseRotation(context.facts->rotation, num_tokens, tokens, context));
  if (spec.mean != Mean::kKeep) RETURN_IF_ERROR(treatment.UseMeans(*context.facts));
  return treatment;
}

absl::Status Treatment::UseRotation(const KeyRotation& rotation, size_t num_tokens,
                                    std::span<const uint32_t> tokens, const CodecContext& context) {
  RETURN_IF_ERROR(rotation.Validate(layout_));
  ASSIGN_OR_RETURN(const std::vector<uint32_t> positions,
                   PositionsOf(num_tokens, tokens, context.token_positions));
  for (const std::vector<float>& frequencies : rotation.frequencies) {
    rotary_.emplace_back(frequencies, positions);
  }
  rotary_of_layer_ = rotation.of_layer;
  return absl::OkStatus();
}

absl::Status Treatment::UseMeans(const ModelFacts& facts) {
  if (spec_.mean == Mean::kBias) return UseBiases(facts);
  const auto found = std::ranges::find(facts.calibrations, spec_.calibration, &ChannelMeans::id);
  if (found == facts.calibrations.end()) {
    return absl::FailedPreconditionError(absl::StrCat(
        "codec: calibration is '", HashText(spec_.calibration), "', which was not loaded here"));
  }
  if (found->layout != layout_) {
    return absl::FailedPreconditionError(
        absl::StrCat("codec: calibration ", HashText(spec_.calibration), " is of a cache of ",
                     found->layout.ToString(), ": expected ", layout_.ToString()));
  }
  means_ = &*found;
  return absl::OkStatus();
}

absl::Status Treatment::UseBiases(const ModelFacts& facts) {
  if (!facts.biases.has_value()) {
    return absl::FailedPreconditionError(
        "codec: mean is 'bias', but the model's projections of keys and values have none");
  }
  if (facts.biases->layout != layout_) {
    return absl::FailedPreconditionError(
        absl::StrCat("codec: the model's biases are of a cache of ",
                     facts.biases->layout.ToString(), ": expected ", layout_.ToString()));
  }
  means_ = &*facts.biases;
  return absl::OkStatus();
}

void Treatment::UseTokensFrom(int32_t layer, size_t first) {
  if (first == 0) return;
  first_token_of_layer_.resize(layout_.num_layers);
  first_token_of_layer_[layer] = first;
}

TreatmentSteps Treatment::StepsOf(const KvTensorId& tensor) const {
  TreatmentSteps steps;
  if (!rotary_.empty() && tensor.half == Half::kKey) {
    steps.rotary = &rotary_[rotary_of_layer_[tensor.layer]];
    if (!first_token_of_layer_.empty()) steps.first_token = first_token_of_layer_[tensor.layer];
  }
  if (means_ != nullptr) {
    const std::vector<float>& means = tensor.half == Half::kKey ? means_->keys : means_->values;
    steps.means =
        means.data() + static_cast<size_t>(tensor.layer) * layout_.num_kv_heads * layout_.head_dim;
  }
  steps.has_transform = Covers(spec_.hadamard, tensor.half);
  return steps;
}

void Treatment::Apply(const KvTensorId& tensor, const BlockRows& rows, float* treated) const {
  const TreatmentSteps steps = StepsOf(tensor);
  const size_t dim = rows.head_dim;
  for (size_t i = 0; i < rows.positions.size(); ++i) {
    for (int32_t h = 0; h < rows.num_heads; ++h, treated += dim) {
      LoadRow(rows.dtype, rows.Row(i, h), dim, treated);
      if (steps.rotary != nullptr) {
        const size_t token = steps.first_token + rows.positions[i];
        Unrotate(steps.rotary->Cosines(token), steps.rotary->Sines(token), dim / 2, treated);
      }
      if (steps.means != nullptr) AddSigned(steps.means + h * dim, -1.0f, dim, treated);
      if (steps.has_transform) HadamardTransform(treated, dim);
    }
  }
}

void Treatment::Undo(const KvTensorId& tensor, float* treated, const BlockRows& rows) const {
  const TreatmentSteps steps = StepsOf(tensor);
  const size_t dim = rows.head_dim;
  for (size_t i = 0; i < rows.positions.size(); ++i) {
    for (int32_t h = 0; h < rows.num_heads; ++h, treated += dim) {
      if (steps.has_transform) {
        HadamardTransform(treated, dim);
        const float share = 1.0f / static_cast<float>(dim);
        for (size_t d = 0; d < dim; ++d) treated[d] *= share;
      }
      if (steps.means != nullptr) AddSigned(steps.means + h * dim, 1.0f, dim, treated);
      if (steps.rotary != nullptr) {
        const size_t token = steps.first_token + rows.positions[i];
        Rotate(steps.rotary->Cosines(token), steps.rotary->Sines(token), dim / 2, treated);
      }
      StoreRow(rows.dtype, treated, dim, rows.Row(i, h));
    }
  }
}

TreatedBlock::TreatedBlock(const Treatment& treatment, const KvLayout& layout, size_t num_kept)
    : treatment_(treatment) {
  if (treatment.is_nothing()) return;
  tokens_.resize(num_kept);
  std::iota(tokens_.begin(), tokens_.end(), 0);
  values_.resize(num_kept * layout.num_kv_heads * layout.head_dim);
}

BlockRows TreatedBlock::Apply(const KvTensorId& tensor, const BlockRows& rows) {
  if (treatment_.is_nothing()) return rows;
  treatment_.Apply(tensor, rows, values_.data());
  return Target(rows);
}

BlockRows TreatedBlock::Target(const BlockRows& rows) {
  if (treatment_.is_nothing()) return rows;
  return {.plane = {values_.data(), int64_t{rows.num_heads} * rows.head_dim, rows.head_dim},
          .dtype = DType::kFp32,
          .num_heads = rows.num_heads,
          .head_dim = rows.head_dim,
          .positions = tokens_};
}

void TreatedBlock::Undo(const KvTensorId& tensor, const BlockRows& rows) {
  if (!treatment_.is_nothing()) treatment_.Undo(tensor, values_.data(), rows);
}

}  // namespace qc2c
