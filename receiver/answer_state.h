// What is known about one question while its batch is under way.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <optional>

#include "absl/status/statusor.h"
#include "common/codec/codec.h"
#include "receiver/answer_engine.h"
#include "receiver/cache_assembly.h"
#include "receiver/sharer_link.h"

namespace qc2c {

struct AnswerState {
  AnswerJob job;
  v1::AnswerReply reply;
  enum class State { kOpen, kEnded } state = State::kOpen;

  // Fused and prefix: what was asked of the sharer and what came.
  enum class Source { kNone, kSharer, kZeros } cache_source = Source::kNone;
  FrameExpectation expectation;
  std::unique_ptr<PendingCall<SharedMessages>> share;
  std::optional<KvFrame> frame;
  std::optional<absl::StatusOr<at::Tensor>> decoded;  // of a frame that was decoded beside others
  // Text modes.
  std::unique_ptr<PendingCall<SharedText>> text;

  const v1::AnswerRequest& request() const { return job.request; }
  bool open() const { return state == State::kOpen; }
  // Prompt tokens that are fused; the last one runs on the fused cache.
  int64_t num_fused_tokens() const { return static_cast<int64_t>(job.ids.size()) - 1; }
};

}  // namespace qc2c
