// Runs a recipe against a receiver, into a run folder.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "experiments/receiver_client.h"
#include "experiments/recipe.h"
#include "experiments/run_folder.h"
#include "experiments/run_progress.h"

namespace qc2c {

// What this process asked, apart from earlier sessions: to compare with the daemons' own counts.
struct SessionTotals {
  v1::ByteCounts cache_bytes;  // fused points
  v1::ByteCounts text_bytes;   // text points
  uint64_t questions = 0;
  uint64_t correct = 0;
  uint64_t asked_again = 0;
  uint64_t failed = 0;  // questions without an answer that counts
};

struct RunOutcome {
  uint64_t num_incomplete = 0;  // points that are not in the table
  SessionTotals session;
};

// Asks what the folder has no answer for, point by point; writes every answer when it arrives, and
// results/points.jsonl and incomplete.jsonl after every point. A point with a question that failed
// is incomplete, and the run goes on with the next. The errors of ReceiverClient::AnswerAll end the
// run; what was answered stays in the folder.
absl::StatusOr<RunOutcome> RunRecipe(const Recipe& recipe, ReceiverClient& client,
                                     const RunFolder& folder, const AskOptions& options,
                                     FILE* progress_stream);

}  // namespace qc2c
