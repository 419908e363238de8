// What is known about one question while its batch is under way.
#pragma once

#include <ATen/core/Tensor.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/codec/codec.h"
#include "receiver/answer_engine.h"
#include "receiver/cache_assembly.h"
#include "receiver/sharer_link.h"

namespace qc2c {

// What was asked of one sharer for one question, and what came. FUSED, PREFIX.
struct CacheShare {
  const ConnectedSharer& sharer;
  const SharerReading& reading;  // of the question's job
  enum class Source { kNone, kSharer, kZeros } source = Source::kNone;
  FrameExpectation expectation = {};
  std::string codec_fallback = {};  // AnswerReply.codec_fallback
  std::unique_ptr<PendingCall<SharedMessages>> call = nullptr;
  std::optional<KvFrame> frame = std::nullopt;
  // Of a frame that was decoded beside others.
  std::optional<absl::StatusOr<at::Tensor>> decoded = std::nullopt;
  v1::AnswerReply::FromSharer got = {};

  CodecContext context() const {
    return {.facts = &sharer.facts(), .token_positions = reading.token_positions};
  }
};

struct AnswerState {
  AnswerJob job;
  v1::AnswerReply reply;
  enum class State { kOpen, kEnded } state = State::kOpen;

  std::vector<CacheShare> shares;                 // FUSED, PREFIX: one for each of job.asked
  std::unique_ptr<PendingCall<SharedText>> text;  // text modes

  const v1::AnswerRequest& request() const { return job.request; }
  bool open() const { return state == State::kOpen; }
  bool has_cache() const {
    return std::ranges::any_of(
        shares, [](const CacheShare& share) { return share.source != CacheShare::Source::kNone; });
  }
  // The prompt is read in parts. Each but the last is fused when it has been read; the last one
  // runs on the fused cache, and the answer follows it.
  std::vector<int64_t> FusedEnds() const;
  TokenRange FusedPart(size_t part) const;  // empty behind the last of them
  TokenRange LastPart() const { return {FusedEnds().back(), job.num_tokens()}; }
  int64_t num_fused_tokens() const { return FusedEnds().back(); }
};

// These tokens of each question's prompt, at their positions.
TokenBatch PromptTokens(const std::vector<AnswerState*>& questions,
                        const std::vector<TokenRange>& ranges, at::Device device);

}  // namespace qc2c
