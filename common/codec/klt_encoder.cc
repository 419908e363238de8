#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/codec/cache_check.h"
#include "common/codec/klt.h"
#include "common/codec/klt_coefficients.h"
#include "common/codec/klt_layout.h"
#include "common/codec/klt_transform.h"
#include "common/codec/vector_clones.h"

namespace qc2c {
namespace {

using Source = KltPart::Source;

// REQUIRES: no quotient is beyond kMaxKltValue.
QC2C_VECTOR_CLONES void RoundToSteps(const float* coefficients, size_t count, float step,
                                     int32_t* values) {
  for (size_t i = 0; i < count; ++i) {
    values[i] = static_cast<int32_t>(std::nearbyint(coefficients[i] / step));
  }
}

// Whole numbers of steps, to the nearest, ties to even.
absl::Status Quantize(std::span<const float> coefficients, float step, int32_t* values) {
  for (const float coefficient : coefficients) {
    if (std::abs(coefficient / step) <= static_cast<float>(kMaxKltValue)) continue;
    return absl::InvalidArgumentError(absl::StrCat("a coefficient of the cache is ", coefficient,
                                                   ": expected at most ", kMaxKltValue,
                                                   " steps of ", step));
  }
  RoundToSteps(coefficients.data(), coefficients.size(), step, values);
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<KltEncoder> KltEncoder::Create(const KltCodebook& codebook, const KltPrompt& prompt,
                                              const KvCacheView& cache) {
  RETURN_IF_ERROR(codebook.prompt_template.Match(prompt));
  if (cache.layout != codebook.layout) {
    return absl::InvalidArgumentError(absl::StrCat("the cache's layout is ",
                                                   cache.layout.ToString(), ": the codebook's is ",
                                                   codebook.layout.ToString()));
  }
  if (cache.device != DeviceType::kCpu ||
      cache.num_tokens > static_cast<int64_t>(prompt.num_tokens())) {
    return absl::InvalidArgumentError(absl::StrCat("cache.num_tokens is ", cache.num_tokens,
                                                   ": expected at most ", prompt.num_tokens(),
                                                   ", the prompt's, on the CPU"));
  }
  RETURN_IF_ERROR(CheckCache(cache, codebook.layers.Tensors()));
  return KltEncoder(codebook, static_cast<uint32_t>(prompt.num_tokens()),
                    KltRows(codebook, prompt.positions, cache));
}

absl::Status KltEncoder::ProjectJoint(const KltPart& part, Projection& projection) {
  if (projection.num_components >= part.run.num_sent) return absl::OkStatus();
  const KltBasis& basis = *part.run.basis;
  std::vector<float> row;
  row.reserve(basis.dim);
  for (size_t token = part.row; token < part.row + codebook_->joint_tokens; ++token) {
    for (const Half half : {Half::kKey, Half::kValue}) {
      RETURN_IF_ERROR(rows_.Read(half, token, token + 1));
      const float* const values = rows_.Row(half, token);
      row.insert(row.end(), values, values + codebook_->Dim(half));
    }
  }
  projection = {part.row, part.row + 1, part.run.num_sent, std::vector<float>(part.run.num_sent)};
  ProjectRows(row.data(), 1, basis.analysis.data(), part.run.num_sent, basis.dim,
              projection.coefficients.data());
  return absl::OkStatus();
}

absl::Status KltEncoder::ProjectTokens(const KltPart& first, size_t end, Projection& projection) {
  const size_t num_sent = first.run.num_sent;
  if (num_sent == 0 || (projection.begin <= first.row && end <= projection.end &&
                        projection.num_components >= num_sent)) {
    return absl::OkStatus();
  }
  RETURN_IF_ERROR(rows_.Read(first.half, first.row, end));
  const size_t num_rows = end - first.row;
  projection = {first.row, end, num_sent, std::vector<float>(num_rows * num_sent)};
  ProjectRows(rows_.Row(first.half, first.row), num_rows, first.run.basis->analysis.data(),
              num_sent, first.run.basis->dim, projection.coefficients.data());
  return absl::OkStatus();
}

absl::Status KltEncoder::AppendParts(std::span<const KltPart> parts, std::vector<int32_t>& values) {
  const Source source = parts.front().source;
  auto& projections = projections_[static_cast<size_t>(source)];
  if (source == Source::kJoint) {
    RETURN_IF_ERROR(ProjectJoint(parts.front(), projections[0]));
  } else {
    for (const KltPart& first : parts.first(2)) {
      RETURN_IF_ERROR(
          ProjectTokens(first, parts.back().row + 1, projections[static_cast<size_t>(first.half)]));
    }
  }
  for (const KltPart& part : parts) {
    const Projection& projection = projections[static_cast<size_t>(part.half)];
    const size_t old_size = values.size();
    values.resize(old_size + part.run.num_sent);
    if (part.run.num_sent == 0) continue;
    const size_t begin = (part.row - projection.begin) * projection.num_components;
    RETURN_IF_ERROR(Quantize(std::span(projection.coefficients).subspan(begin, part.run.num_sent),
                             KltPower(part.run.step), values.data() + old_size));
  }
  return absl::OkStatus();
}

absl::StatusOr<KvFrame> KltEncoder::Encode(uint32_t level_index) {
  const KltCodebook& codebook = *codebook_;
  RETURN_IF_ERROR(codebook.CheckLevel(level_index));
  const KltLevel& level = codebook.levels[level_index];
  const size_t num_read = codebook.NumRead(level, num_tokens_);
  if (rows_.num_cached() < num_read) {
    return absl::InvalidArgumentError(absl::StrCat("cache.num_tokens is ", rows_.num_cached(),
                                                   ": level ", level_index, " reads the last ",
                                                   num_read));
  }
  const std::vector<KltPart> parts = PartsOf(codebook, level, num_tokens_);
  std::vector<int32_t> values;
  for (const std::span<const KltPart> same : BySource(parts)) {
    RETURN_IF_ERROR(AppendParts(same, values));
  }
  ASSIGN_OR_RETURN(KltBytes bytes, EncodeKltValues(codebook, RunsOf(parts), values));
  KvFrame frame;
  frame.model_fingerprint = codebook.sharer_fingerprint;
  frame.layout = codebook.layout;
  frame.codec = CodecSpec::Klt({.codebook = codebook.id, .level = level_index});
  frame.codebook = codebook_;
  frame.num_tokens = num_tokens_;
  frame.positions = codebook.KeptTokens(level, num_tokens_);
  frame.layers = codebook.layers;
  frame.data = std::move(bytes.codes);
  frame.num_escape_bytes = static_cast<uint32_t>(bytes.escapes.size());
  frame.data.insert(frame.data.end(), bytes.escapes.begin(), bytes.escapes.end());
  return frame;
}

}  // namespace qc2c
