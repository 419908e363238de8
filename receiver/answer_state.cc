#include "receiver/answer_state.h"

namespace qc2c {

std::vector<int64_t> AnswerState::FusedEnds() const {
  if (!job.reading.fused_ends.empty()) return job.reading.fused_ends;
  return {job.num_tokens() - 1};
}

TokenRange AnswerState::FusedPart(size_t part) const {
  const std::vector<int64_t> ends = FusedEnds();
  if (part >= ends.size()) return {ends.back(), ends.back()};
  return {part == 0 ? 0 : ends[part - 1], ends[part]};
}

TokenBatch PromptTokens(const std::vector<AnswerState*>& questions,
                        const std::vector<TokenRange>& ranges, at::Device device) {
  const bool have_gaps = std::ranges::any_of(questions, [](const AnswerState* question) {
    return !question->job.reading.positions.empty();
  });
  std::vector<std::vector<int32_t>> ids;
  std::vector<std::vector<uint32_t>> positions(questions.size());
  for (size_t row = 0; row < questions.size(); ++row) {
    const auto [begin, end] = ranges[row];
    const AnswerJob& job = questions[row]->job;
    ids.emplace_back(job.ids.begin() + begin, job.ids.begin() + end);
    if (!have_gaps) continue;  // each row goes on from its past
    for (int64_t token = begin; token < end; ++token)
      positions[row].push_back(job.PositionOf(token));
  }
  return TokenBatch::FromSequences(ids, positions, device);
}

}  // namespace qc2c
