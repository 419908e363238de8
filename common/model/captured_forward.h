// Small forward passes on a GPU as CUDA graphs.
//
// A pass over few tokens is bound by its kernel launches, some twenty a layer and several
// microseconds of the host each, while the GPU waits. A graph launches them all at once. It holds
// one shape and the addresses of its tensors, so a pass is copied into the graph's own input, run,
// and copied out. Shapes are rounded up to keep graphs few; what is added is masked as the padding
// of any ragged batch.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

#include "common/model/model.h"

namespace qc2c {

// Thread-safe; the passes of a process are launched one after another. All callers must use one
// CUDA stream, as ATen's default is: the graphs share the memory that they work in.
class CapturedForward {
 public:
  using Forward = std::function<ForwardResult(const TokenBatch& tokens, const KvCache* past)>;

  // `forward` must be a pure function of its tensors that never waits for the device.
  // Graphs are kept as long as their caches have at most about `max_bytes` together.
  explicit CapturedForward(Forward forward, uint64_t max_bytes = uint64_t{4} << 30);
  ~CapturedForward();

  // Whether a graph serves this pass: on a GPU, without gradients, of at most 8 rows and 1,024
  // tokens, and behind a past of one token a row.
  static bool Takes(const TokenBatch& tokens, const KvCache* past);

  // What forward(tokens, past) returns, rounding apart; the tensors are the caller's. A shape is
  // captured when it is first met, which takes two passes; the 64 shapes used last are kept.
  // A pass whose graph cannot be had runs without. Throws what torch throws. REQUIRES:
  // Takes(tokens, past).
  ForwardResult Run(const TokenBatch& tokens, const KvCache* past);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace qc2c
