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
#include "common/codec/rotary.h"
#include "common/codec/rows.h"

namespace qc2c {
namespace {

using Source = KltPart::Source;

// Reads the tokens behind the prefix of one half: [tokens, tensors x H x D].
absl::Status ReadRows(const KltCodebook& codebook, Half half, const KvCacheView& cache,
                      std::vector<float>& rows) {
  const size_t num_prefix = codebook.prompt_template.num_prefix();
  const size_t num_rows = static_cast<size_t>(cache.num_tokens) - num_prefix;
  const size_t head_dim = cache.layout.head_dim;
  rows.resize(num_rows * codebook.Dim(half));
  float* out = rows.data();
  for (size_t row = 0; row < num_rows; ++row) {
    for (const int32_t layer : codebook.layers.Of(half)) {
      const KvPlane& plane = cache.Plane(layer, half);
      for (int32_t head = 0; head < cache.layout.num_kv_heads; ++head, out += head_dim) {
        const int64_t element =
            static_cast<int64_t>(num_prefix + row) * plane.token_stride + head * plane.head_stride;
        LoadRow(cache.dtype,
                static_cast<const std::byte*>(plane.data) + element * DTypeBytes(cache.dtype),
                head_dim, out);
        if (MaxMagnitudeBits(out, head_dim) < kNotFiniteBits) continue;
        return absl::InvalidArgumentError(
            absl::StrCat("cache layer ", layer, " ", std::string(HalfName(half)), " token ",
                         num_prefix + row, " head ", head, " has a value that is not finite"));
      }
    }
  }
  return absl::OkStatus();
}

// Takes the rotation out of keys that were read by ReadRows.
void UnrotateRows(const KltCodebook& codebook, std::span<const uint32_t> positions,
                  std::vector<float>& rows) {
  const KvLayout& layout = codebook.layout;
  const size_t half_dim = layout.head_dim / 2;
  std::vector<RotaryTable> tables;
  for (const std::vector<float>& list : codebook.rotation.frequencies) {
    tables.emplace_back(list, positions);
  }
  float* head = rows.data();
  for (size_t row = 0; row < positions.size(); ++row) {
    for (const int32_t layer : codebook.layers.keys) {
      const RotaryTable& table = tables[codebook.rotation.of_layer[layer]];
      for (int32_t h = 0; h < layout.num_kv_heads; ++h, head += layout.head_dim) {
        Unrotate(table.Cosines(row), table.Sines(row), half_dim, head);
      }
    }
  }
}

void SubtractMeans(const KltCodebook& codebook, Half half, std::vector<float>& rows) {
  const size_t dim = codebook.Dim(half);
  if (dim == 0) return;
  const auto h = static_cast<size_t>(half);
  const size_t num_middle = rows.size() / dim - codebook.prompt_template.num_tail();
  for (size_t row = 0; row * dim < rows.size(); ++row) {
    const float* mean = row < num_middle ? codebook.middle_mean[h].data()
                                         : codebook.tail_mean[h].data() + (row - num_middle) * dim;
    for (size_t n = 0; n < dim; ++n) rows[row * dim + n] -= mean[n];
  }
}

// Whole numbers of steps, to the nearest, ties to even.
absl::StatusOr<std::vector<int32_t>> Quantize(std::span<const KltRun> runs,
                                              std::span<const float> coefficients) {
  std::vector<int32_t> values;
  values.reserve(coefficients.size());
  for (const KltRun& run : runs) {
    const float step = KltPower(run.step);
    for (const float coefficient : coefficients.first(run.num_sent)) {
      const float steps = coefficient / step;
      if (!(std::abs(steps) <= static_cast<float>(kMaxKltValue))) {
        return absl::InvalidArgumentError(absl::StrCat("a coefficient of the cache is ",
                                                       coefficient, ": expected at most ",
                                                       kMaxKltValue, " steps of ", step));
      }
      values.push_back(static_cast<int32_t>(std::nearbyint(steps)));
    }
    coefficients = coefficients.subspan(run.num_sent);
  }
  return values;
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
      cache.num_tokens != static_cast<int64_t>(prompt.num_tokens())) {
    return absl::InvalidArgumentError(absl::StrCat("cache.num_tokens is ", cache.num_tokens,
                                                   ": expected ", prompt.num_tokens(),
                                                   ", the prompt's, on the CPU"));
  }
  RETURN_IF_ERROR(CheckCache(cache, codebook.layers.Tensors()));
  KltEncoder encoder(codebook, static_cast<uint32_t>(prompt.num_tokens()));
  for (const Half half : {Half::kKey, Half::kValue}) {
    std::vector<float>& rows = encoder.rows_[static_cast<size_t>(half)];
    RETURN_IF_ERROR(ReadRows(codebook, half, cache, rows));
    if (half == Half::kKey) {
      UnrotateRows(codebook, prompt.positions.subspan(codebook.prompt_template.num_prefix()), rows);
    }
    SubtractMeans(codebook, half, rows);
  }
  return encoder;
}

void KltEncoder::AppendJoint(const KltPart& part, std::vector<float>& coefficients) const {
  std::vector<float> row;
  for (size_t token = part.row; token < part.row + codebook_->joint_tokens; ++token) {
    for (const Half half : {Half::kKey, Half::kValue}) {
      const size_t dim = codebook_->Dim(half);
      const auto begin = rows_[static_cast<size_t>(half)].begin() + token * dim;
      row.insert(row.end(), begin, begin + dim);
    }
  }
  const size_t old_size = coefficients.size();
  coefficients.resize(old_size + part.run.num_sent);
  ProjectRows(row.data(), 1, part.run.basis->analysis.data(), part.run.num_sent,
              part.run.basis->dim, coefficients.data() + old_size);
}

void KltEncoder::AppendTokens(std::span<const KltPart> parts,
                              std::vector<float>& coefficients) const {
  const size_t num_rows = parts.size() / 2;
  std::array<std::vector<float>, 2> projected;
  for (size_t h = 0; h < projected.size(); ++h) {
    const KltPart& first = parts[h];
    projected[h].resize(num_rows * first.run.num_sent);
    ProjectRows(rows_[h].data() + first.row * first.run.basis->dim, num_rows,
                first.run.basis->analysis.data(), first.run.num_sent, first.run.basis->dim,
                projected[h].data());
  }
  for (size_t row = 0; row < num_rows; ++row) {
    for (size_t h = 0; h < projected.size(); ++h) {
      const size_t num_sent = parts[h].run.num_sent;
      const auto begin = projected[h].begin() + row * num_sent;
      coefficients.insert(coefficients.end(), begin, begin + num_sent);
    }
  }
}

absl::StatusOr<KvFrame> KltEncoder::Encode(uint32_t level_index) const {
  const KltCodebook& codebook = *codebook_;
  RETURN_IF_ERROR(codebook.CheckLevel(level_index));
  const KltLevel& level = codebook.levels[level_index];
  const std::vector<KltPart> parts = PartsOf(codebook, level, num_tokens_);
  std::vector<float> coefficients;
  for (std::span<const KltPart> rest(parts); !rest.empty();) {
    const Source source = rest.front().source;
    const auto end =
        std::ranges::find_if(rest, [&](const KltPart& part) { return part.source != source; });
    const auto same = rest.first(end - rest.begin());
    if (source == Source::kJoint) {
      AppendJoint(same.front(), coefficients);
    } else {
      AppendTokens(same, coefficients);
    }
    rest = rest.subspan(same.size());
  }
  const std::vector<KltRun> runs = RunsOf(parts);
  ASSIGN_OR_RETURN(const std::vector<int32_t> values, Quantize(runs, coefficients));
  ASSIGN_OR_RETURN(KltBytes bytes, EncodeKltValues(codebook, runs, values));
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
