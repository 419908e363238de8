#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/hash.h"
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

using Rows = std::array<std::vector<float>, 2>;  // by Half: [tokens behind the prefix, Dim]

absl::Status Differs(const char* field, uint64_t found, uint64_t expected) {
  return absl::InvalidArgumentError(absl::StrCat(field, " is ", found, ": expected ", expected));
}

absl::Status CheckFrame(const KvFrame& frame, const KltCodebook& codebook,
                        std::span<const uint32_t> positions, const KvCacheView& out) {
  const std::optional<KltChoice>& choice = frame.codec.klt;
  if (!choice || choice->codebook != codebook.id) {
    return absl::InvalidArgumentError(absl::StrCat("frame.codec is ", frame.codec.ToString(),
                                                   ": expected klt of codebook ",
                                                   HashText(codebook.id)));
  }
  if (!choice->level || *choice->level >= codebook.levels.size()) {
    return absl::InvalidArgumentError(absl::StrCat("frame.codec is ", frame.codec.ToString(),
                                                   ": expected a level below ",
                                                   codebook.levels.size()));
  }
  const KltTemplate& common = codebook.prompt_template;
  if (frame.num_tokens > KvLayout::kMaxTokens ||
      frame.num_tokens < common.num_prefix() + common.num_tail()) {
    return absl::InvalidArgumentError(
        absl::StrCat("frame.num_tokens is ", frame.num_tokens, ": expected ",
                     common.num_prefix() + common.num_tail(), " to ", KvLayout::kMaxTokens));
  }
  if (positions.size() != frame.num_tokens) {
    return Differs("the number of positions", positions.size(), frame.num_tokens);
  }
  const std::vector<uint32_t> kept =
      codebook.KeptTokens(codebook.levels[*choice->level], frame.num_tokens);
  if (frame.positions != kept) {
    return absl::InvalidArgumentError("frame.positions: expected those of the codebook's level");
  }
  if (frame.num_escape_bytes > frame.data.size()) {
    return Differs("frame.num_escape_bytes", frame.num_escape_bytes, frame.data.size());
  }
  if (out.layout != codebook.layout || out.device != DeviceType::kCpu) {
    return absl::InvalidArgumentError(absl::StrCat("the target's layout is ", out.layout.ToString(),
                                                   ": expected ", codebook.layout.ToString(),
                                                   ", on the CPU"));
  }
  if (out.num_tokens != static_cast<int64_t>(kept.size())) {
    return Differs("the target's tokens", out.num_tokens, kept.size());
  }
  return CheckCache(out, codebook.layers.Tensors());
}

Rows MeansOf(const KltCodebook& codebook, uint32_t num_tokens) {
  const KltTemplate& common = codebook.prompt_template;
  const size_t num_middle = num_tokens - common.num_prefix() - common.num_tail();
  Rows rows;
  for (size_t h = 0; h < rows.size(); ++h) {
    for (size_t i = 0; i < num_middle; ++i) {
      rows[h].insert(rows[h].end(), codebook.middle_mean[h].begin(), codebook.middle_mean[h].end());
    }
    rows[h].insert(rows[h].end(), codebook.tail_mean[h].begin(), codebook.tail_mean[h].end());
  }
  return rows;
}

// Adds coefficient times a component of the joint basis, whose row is spread over both halves.
void AddJoint(const KltCodebook& codebook, float coefficient, const float* vector, size_t first_row,
              Rows& rows) {
  for (size_t token = first_row; token < first_row + codebook.joint_tokens; ++token) {
    for (const Half half : {Half::kKey, Half::kValue}) {
      const size_t dim = codebook.Dim(half);
      AddScaled(coefficient, vector,
                std::span(rows[static_cast<size_t>(half)]).subspan(token * dim, dim));
      vector += dim;
    }
  }
}

void AddCoefficients(const KltCodebook& codebook, const std::vector<KltPart>& parts,
                     std::span<const int32_t> values, Rows& rows) {
  for (const KltPart& part : parts) {
    const KltBasis& basis = *part.run.basis;
    const float step = KltPower(part.run.step);
    for (size_t c = 0; c < part.run.num_sent; ++c) {
      if (values[c] == 0) continue;
      const float coefficient = static_cast<float>(values[c]) * step;
      const float* vector = basis.synthesis.data() + c * basis.dim;
      if (part.source == KltPart::Source::kJoint) {
        AddJoint(codebook, coefficient, vector, part.row, rows);
      } else {
        std::vector<float>& half = rows[static_cast<size_t>(part.half)];
        AddScaled(coefficient, vector, std::span(half).subspan(part.row * basis.dim, basis.dim));
      }
    }
    values = values.subspan(part.run.num_sent);
  }
}

// Writes one kept token's values of one half: `row` holds [tensors, H, D].
void WriteToken(const KltCodebook& codebook, Half half, const float* row, size_t out_token,
                const KvCacheView& out) {
  const size_t head_dim = out.layout.head_dim;
  for (const int32_t layer : codebook.layers.Of(half)) {
    const KvPlane& plane = out.Plane(layer, half);
    for (int32_t head = 0; head < out.layout.num_kv_heads; ++head, row += head_dim) {
      const int64_t element =
          static_cast<int64_t>(out_token) * plane.token_stride + head * plane.head_stride;
      StoreRow(out.dtype, row, head_dim,
               static_cast<std::byte*>(plane.data) + element * DTypeBytes(out.dtype));
    }
  }
}

void RotateRow(const KltCodebook& codebook, const std::vector<RotaryTable>& tables, size_t index,
               float* row) {
  const KvLayout& layout = codebook.layout;
  for (const int32_t layer : codebook.layers.keys) {
    const RotaryTable& table = tables[codebook.rotation.of_layer[layer]];
    for (int32_t head = 0; head < layout.num_kv_heads; ++head, row += layout.head_dim) {
      Rotate(table.Cosines(index), table.Sines(index), layout.head_dim / 2, row);
    }
  }
}

}  // namespace

absl::Status DecodeKlt(const KvFrame& frame, std::span<const uint32_t> positions,
                       const KvCacheView& out) {
  if (frame.codebook == nullptr) {
    return absl::InvalidArgumentError("frame.codebook is absent: klt needs it");
  }
  const KltCodebook& codebook = *frame.codebook;
  RETURN_IF_ERROR(CheckFrame(frame, codebook, positions, out));
  const KltLevel& level = codebook.levels[*frame.codec.klt->level];
  const std::vector<KltPart> parts = PartsOf(codebook, level, frame.num_tokens);
  const ByteSpan data(frame.data);
  const size_t num_codes = data.size() - frame.num_escape_bytes;
  ASSIGN_OR_RETURN(
      const std::vector<int32_t> values,
      DecodeKltValues(codebook, RunsOf(parts), data.first(num_codes), data.subspan(num_codes)));
  Rows rows = MeansOf(codebook, frame.num_tokens);
  AddCoefficients(codebook, parts, values, rows);
  const size_t num_prefix = codebook.prompt_template.num_prefix();
  std::vector<RotaryTable> tables;
  for (const std::vector<float>& list : codebook.rotation.frequencies) {
    tables.emplace_back(list, positions.subspan(num_prefix));
  }
  for (size_t i = 0; i < frame.positions.size(); ++i) {
    const size_t token = frame.positions[i];
    for (const Half half : {Half::kKey, Half::kValue}) {
      const auto h = static_cast<size_t>(half);
      const size_t dim = codebook.Dim(half);
      if (token < num_prefix) {
        WriteToken(codebook, half, codebook.prefix[h].data() + token * dim, i, out);
        continue;
      }
      float* row = rows[h].data() + (token - num_prefix) * dim;
      if (half == Half::kKey) RotateRow(codebook, tables, token - num_prefix, row);
      WriteToken(codebook, half, row, i, out);
    }
  }
  return absl::OkStatus();
}

}  // namespace qc2c
