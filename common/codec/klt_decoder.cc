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

// The kept tokens behind the prefix.
struct Rows {
  size_t first = 0;                          // behind the prefix
  std::array<std::vector<float>, 2> values;  // by Half: [tokens from the first on, Dim]

  float* Row(Half half, size_t row, size_t dim) {
    return values[static_cast<size_t>(half)].data() + (row - first) * dim;
  }
};

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

// The means of the kept tokens behind the prefix, of which `first` is the first.
Rows MeansOf(const KltCodebook& codebook, size_t first, size_t num_rows) {
  const size_t num_middle = num_rows - codebook.prompt_template.num_tail();
  Rows rows{.first = first};
  for (size_t h = 0; h < rows.values.size(); ++h) {
    std::vector<float>& values = rows.values[h];
    const std::vector<float>& middle = codebook.middle_mean[h];
    values.reserve((num_rows - first) * middle.size());
    for (size_t row = first; row < num_middle; ++row) {
      values.insert(values.end(), middle.begin(), middle.end());
    }
    const size_t tail = std::max(first, num_middle) - num_middle;
    values.insert(values.end(), codebook.tail_mean[h].begin() + tail * middle.size(),
                  codebook.tail_mean[h].end());
  }
  return rows;
}

// What is not zero of a part.
std::vector<KltTerm> TermsOf(const KltRun& run, std::span<const int32_t> values) {
  const float step = KltPower(run.step);
  std::vector<KltTerm> terms;
  for (size_t c = 0; c < run.num_sent; ++c) {
    if (values[c] == 0) continue;
    terms.push_back({static_cast<uint32_t>(c), static_cast<float>(values[c]) * step});
  }
  return terms;
}

// Adds the joint row, which is spread over both halves of its tokens.
void AddJoint(const KltCodebook& codebook, const KltPart& part, std::span<const int32_t> values,
              Rows& rows) {
  const KltBasis& basis = *part.run.basis;
  std::vector<float> joint(basis.dim);
  const auto for_each_piece = [&](const auto& copy) {
    float* piece = joint.data();
    for (size_t token = part.row; token < part.row + codebook.joint_tokens; ++token) {
      for (const Half half : {Half::kKey, Half::kValue}) {
        const size_t dim = codebook.Dim(half);
        copy(rows.Row(half, token, dim), piece, dim);
        piece += dim;
      }
    }
  };
  for_each_piece([](const float* row, float* piece, size_t dim) { std::copy_n(row, dim, piece); });
  const std::vector<KltTerm> terms = TermsOf(part.run, values);
  AddTerms({&terms, 1}, basis.synthesis.data(), basis.size(), basis.dim, joint.data());
  for_each_piece([](float* row, const float* piece, size_t dim) { std::copy_n(piece, dim, row); });
}

void AddCoefficients(const KltCodebook& codebook, std::span<const KltPart> parts,
                     std::span<const int32_t> values, Rows& rows) {
  for (const std::span<const KltPart> same : BySource(parts)) {
    std::array<std::vector<std::vector<KltTerm>>, 2> terms;  // by half and row
    for (const KltPart& part : same) {
      if (part.source == KltPart::Source::kJoint) {
        AddJoint(codebook, part, values, rows);
      } else {
        terms[static_cast<size_t>(part.half)].push_back(TermsOf(part.run, values));
      }
      values = values.subspan(part.run.num_sent);
    }
    if (same.front().source == KltPart::Source::kJoint) continue;
    for (const KltPart& first : same.first(2)) {
      const KltBasis& basis = *first.run.basis;
      AddTerms(terms[static_cast<size_t>(first.half)], basis.synthesis.data(), basis.size(),
               basis.dim, rows.Row(first.half, first.row, basis.dim));
    }
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
  const size_t num_prefix = codebook.prompt_template.num_prefix();
  const size_t num_rows = frame.num_tokens - num_prefix;
  const size_t first = num_rows - std::min(frame.positions.size(), num_rows);
  Rows rows = MeansOf(codebook, first, num_rows);
  AddCoefficients(codebook, parts, values, rows);
  std::vector<RotaryTable> tables;
  for (const std::vector<float>& list : codebook.rotation.frequencies) {
    tables.emplace_back(list, positions.subspan(num_prefix + first));
  }
  for (size_t i = 0; i < frame.positions.size(); ++i) {
    const size_t token = frame.positions[i];
    for (const Half half : {Half::kKey, Half::kValue}) {
      const size_t dim = codebook.Dim(half);
      if (token < num_prefix) {
        const float* const prefix = codebook.prefix[static_cast<size_t>(half)].data();
        WriteToken(codebook, half, prefix + token * dim, i, out);
        continue;
      }
      float* const row = rows.Row(half, token - num_prefix, dim);
      if (half == Half::kKey) RotateRow(codebook, tables, token - num_prefix - first, row);
      WriteToken(codebook, half, row, i, out);
    }
  }
  return absl::OkStatus();
}

}  // namespace qc2c
