// A Share request that was checked, and what a worker makes of it.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/codec/budget.h"
#include "common/codec/codec.h"
#include "common/codec/klt_codebooks.h"
#include "common/serving/job.h"
#include "common/serving/language_model.h"
#include "qc2c/v1/sharer.pb.h"
#include "sharer/held_receiver.h"

namespace qc2c {

// A cache on its way out.
struct SharedCache {
  std::vector<std::string> messages;  // serialized CacheChunk, in stream order
  v1::StageTimes times;
  uint32_t num_kept = 0;
};

// What the budgets of codecs may be weighted by: a file's id and what it says.
using WeightsById = std::map<uint64_t, TensorWeights>;

// What a codec may name, by id.
struct HeldFiles {
  WeightsById weights;
  KltCodebooks codebooks;
  std::shared_ptr<const HeldReceiver> receiver;  // for the selections that need one; or null
};

struct ShareJob {
  std::vector<int32_t> ids;         // checked against the model
  std::vector<int64_t> tokens;      // indices into ids: whose cache is sent; empty: of all
  std::vector<uint32_t> positions;  // of each id; empty: 0, 1, 2, ...
  CodecSpec codec;
  const TensorWeights* weights = nullptr;  // of the codec's budget; null: all alike
  const KltCodebook* codebook = nullptr;   // of the scheme klt
  const HeldReceiver* receiver = nullptr;  // of a selection that needs one
  KvLayerSet layers;
  uint32_t chunk_bytes = 0;
  std::function<bool()> cancelled;  // polled between stages
  std::function<void(absl::StatusOr<SharedCache>)>
      finish;  // called exactly once, on the worker or a thread of its own
  Clock::time_point arrived = Clock::now();

  int64_t num_tokens() const { return static_cast<int64_t>(ids.size()); }
  int64_t num_wanted() const { return static_cast<int64_t>(tokens.size()); }
  // Of the tokens whose cache is sent; empty: 0, 1, 2, ...
  std::vector<uint32_t> WantedPositions() const;
};

// Turns a request into a job without its callbacks. INVALID_ARGUMENT or FAILED_PRECONDITION naming
// the field: ids empty, outside the vocabulary or beyond the context, tokens or layers not
// ascending or not there, positions not ascending or beyond the context, codec, chunk_bytes,
// another model, weights, a codebook or a receiver that are not in `files` (which outlives the
// job), or a codebook that the prompt or the layers do not fit.
absl::StatusOr<ShareJob> MakeShareJob(const LanguageModel& language_model, const HeldFiles& files,
                                      const v1::ShareRequest& request,
                                      uint32_t default_chunk_bytes);

}  // namespace qc2c
