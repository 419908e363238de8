#include "common/codec/klt_layout.h"

#include <algorithm>

namespace qc2c {
namespace {

using Source = KltPart::Source;

KltRun RunOf(const KltBasis& basis, int step) { return {&basis, step, basis.NumSent(step)}; }

void AddRows(Source source, const std::array<KltBasis, 2>& bases, int step, size_t begin,
             size_t end, std::vector<KltPart>& parts) {
  for (size_t row = begin; row < end; ++row) {
    for (const Half half : {Half::kKey, Half::kValue}) {
      parts.push_back({source, half, row, RunOf(bases[static_cast<size_t>(half)], step)});
    }
  }
}

}  // namespace

std::vector<KltPart> PartsOf(const KltCodebook& codebook, const KltLevel& level,
                             uint32_t num_tokens) {
  const size_t num_tail = codebook.prompt_template.num_tail();
  const size_t num_rows = num_tokens - codebook.prompt_template.num_prefix();
  const size_t num_middle = num_rows - num_tail;
  const size_t joint_begin = num_rows - codebook.joint_tokens;
  std::vector<KltPart> parts;
  if (level.joint_step) {
    parts.push_back({.source = Source::kJoint,
                     .row = joint_begin,
                     .run = RunOf(codebook.joint, *level.joint_step)});
  }
  if (level.middle_step) {
    AddRows(Source::kMiddle, codebook.middle, *level.middle_step, 0, num_middle, parts);
  }
  if (level.tail_step) {
    const size_t begin = level.last_tokens == 0 ? num_middle : num_rows - level.last_tokens;
    AddRows(Source::kTail, codebook.tail, *level.tail_step, begin,
            level.joint_step ? joint_begin : num_rows, parts);
  }
  return parts;
}

std::vector<std::span<const KltPart>> BySource(std::span<const KltPart> parts) {
  std::vector<std::span<const KltPart>> groups;
  while (!parts.empty()) {
    const auto end = std::ranges::find_if(
        parts, [&](const KltPart& part) { return part.source != parts.front().source; });
    groups.push_back(parts.first(end - parts.begin()));
    parts = parts.subspan(groups.back().size());
  }
  return groups;
}

std::vector<KltRun> RunsOf(const std::vector<KltPart>& parts) {
  std::vector<KltRun> runs;
  for (const KltPart& part : parts) runs.push_back(part.run);
  return runs;
}

}  // namespace qc2c
