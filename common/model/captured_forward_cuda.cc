#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/cuda/CUDAGraph.h>
#include <ATen/ops/_foreach_copy.h>
#include <ATen/ops/_foreach_zero.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <c10/cuda/CUDACachingAllocator.h>
#include <c10/cuda/CUDAFunctions.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <c10/util/Exception.h>

#include <compare>
#include <cstdint>
#include <map>
#include <mutex>
#include <utility>
#include <vector>

#include "common/model/captured_forward.h"

namespace qc2c {
namespace {

constexpr int64_t kMaxRows = 8;
constexpr int64_t kMaxTokens = 1024;  // beyond, the products take longer than their launches
constexpr int64_t kMaxSlots = 2048;   // of a past: its copy should stay small
constexpr int64_t kTokenStep = 16;
constexpr int64_t kSlotStep = 64;
constexpr size_t kMaxGraphs = 64;

int64_t RoundUp(int64_t count, int64_t step) { return (count + step - 1) / step * step; }

struct Shape {
  int64_t rows;
  int64_t tokens;
  int64_t slots;  // of the past; 0: there is none

  auto operator<=>(const Shape&) const = default;
};

Shape ShapeOf(const TokenBatch& tokens, const KvCache* past) {
  if (past != nullptr) return {tokens.batch_size(), 1, RoundUp(past->num_slots(), kSlotStep)};
  return {tokens.batch_size(), RoundUp(tokens.ids.size(1), kTokenStep), 0};
}

// A captured pass: `tokens` and `past` are read where they lie, `result` is written where it lies.
struct Graph {
  TokenBatch tokens;
  KvCache past;
  ForwardResult result;
  at::cuda::CUDAGraph graph;
  uint64_t bytes = 0;  // of the caches that it holds
  uint64_t last_use = 0;
};

uint64_t BytesOf(const KvCache& cache) {
  uint64_t bytes = 0;
  for (const auto* tensors : {&cache.keys, &cache.values}) {
    for (const at::Tensor& tensor : *tensors) bytes += tensor.nbytes();
  }
  return bytes;
}

// What a graph behind `slots` of a past like this holds of it: its own, and the longer one that it
// returns.
uint64_t PastBytes(const KvCache* past, int64_t slots) {
  if (past == nullptr) return 0;
  return 2 * BytesOf(*past) / static_cast<uint64_t>(past->num_slots()) *
         static_cast<uint64_t>(slots);
}

// A past of the same layers as `like` with room for `slots`.
KvCache EmptyPast(const KvCache& like, int64_t slots) {
  const auto with_room = [slots](const at::Tensor& tensor) {
    std::vector<int64_t> sizes = tensor.sizes().vec();
    sizes[2] = slots;
    return at::zeros(sizes, tensor.options());
  };
  KvCache past;
  for (const at::Tensor& keys : like.keys) past.keys.push_back(with_room(keys));
  for (const at::Tensor& values : like.values) past.values.push_back(with_room(values));
  past.valid = at::zeros({like.valid.size(0), slots}, like.valid.options());
  past.positions = at::zeros({like.valid.size(0), slots}, like.positions.options());
  past.lengths = at::zeros_like(like.lengths);
  return past;
}

std::vector<at::Tensor> Narrow(const std::vector<at::Tensor>& tensors, int64_t start,
                               int64_t length) {
  std::vector<at::Tensor> narrow;
  narrow.reserve(tensors.size());
  for (const at::Tensor& tensor : tensors) narrow.push_back(tensor.narrow(2, start, length));
  return narrow;
}

std::vector<at::Tensor> Behind(const std::vector<at::Tensor>& tensors, int64_t slots) {
  return Narrow(tensors, slots, tensors.front().size(2) - slots);
}

void CopyIn(const TokenBatch& tokens, const KvCache* past, Graph& graph) {
  graph.tokens.ids.narrow(1, 0, tokens.ids.size(1)).copy_(tokens.ids);
  graph.tokens.lengths.copy_(tokens.lengths);
  if (past == nullptr) return;
  const int64_t slots = past->num_slots();
  at::_foreach_copy_(Narrow(graph.past.keys, 0, slots), past->keys);
  at::_foreach_copy_(Narrow(graph.past.values, 0, slots), past->values);
  // The slots behind these may hold another pass's tokens. A mask hides them, but not what is no
  // number: that stays none whatever is added to it, or multiplied by zero.
  if (slots < graph.past.num_slots()) {
    at::_foreach_zero_(Behind(graph.past.keys, slots));
    at::_foreach_zero_(Behind(graph.past.values, slots));
  }
  graph.past.valid.zero_();
  graph.past.valid.narrow(1, 0, slots).copy_(past->valid);
  graph.past.positions.narrow(1, 0, slots).copy_(past->positions);
  graph.past.lengths.copy_(past->lengths);
}

std::vector<at::Tensor> Copies(const std::vector<at::Tensor>& tensors) {
  std::vector<at::Tensor> copies;
  copies.reserve(tensors.size());
  for (const at::Tensor& tensor : tensors) {
    copies.push_back(at::empty(tensor.sizes(), tensor.options()));
  }
  at::_foreach_copy_(copies, tensors);
  return copies;
}

std::vector<at::Tensor> Appended(const std::vector<at::Tensor>& past,
                                 const std::vector<at::Tensor>& all, int64_t start) {
  std::vector<at::Tensor> appended;
  appended.reserve(past.size());
  for (size_t layer = 0; layer < past.size(); ++layer) {
    appended.push_back(
        at::cat({past[layer], all[layer].narrow(2, start, all[layer].size(2) - start)}, 2));
  }
  return appended;
}

ForwardResult CopyOut(const Graph& graph, int64_t num_tokens, const KvCache* past) {
  const KvCache& own = graph.result.cache;
  ForwardResult result;
  result.hidden = graph.result.hidden.narrow(1, 0, num_tokens).clone();
  result.cache.lengths = own.lengths.clone();
  if (past == nullptr) {
    result.cache.keys = Copies(Narrow(own.keys, 0, num_tokens));
    result.cache.values = Copies(Narrow(own.values, 0, num_tokens));
    result.cache.valid = own.valid.narrow(1, 0, num_tokens).clone();
    result.cache.positions = own.positions.narrow(1, 0, num_tokens).clone();
    return result;
  }
  const int64_t start = graph.past.num_slots();
  const auto appended = [start](const at::Tensor& before, const at::Tensor& all) {
    return at::cat({before, all.narrow(1, start, all.size(1) - start)}, 1);
  };
  result.cache.keys = Appended(past->keys, own.keys, start);
  result.cache.values = Appended(past->values, own.values, start);
  result.cache.valid = appended(past->valid, own.valid);
  result.cache.positions = appended(past->positions, own.positions);
  return result;
}

// After a failed pass: the stream must leave capture, and what that says about the pass is known
// already. Where it cannot, the allocator still has to be told that nothing more goes into `pool`.
void EndCapture(at::cuda::CUDAGraph& graph, at::cuda::MempoolId_t pool) {
  try {
    graph.capture_end();
  } catch (const c10::Error& error) {
    TORCH_WARN("after a failed pass: ", error.what_without_backtrace());
    c10::cuda::CUDACachingAllocator::endAllocateToPool(c10::cuda::current_device(), pool);
  }
}

// One capture or replay of the process at a time. Another thread's wait for the device makes a
// capture fail, and graphs that one thread has captured share the workspace that the libraries keep
// for its stream.
std::mutex& TheMutex() {
  static std::mutex mutex;
  return mutex;
}

}  // namespace

struct CapturedForward::Impl {
  Impl(Forward pass, uint64_t most_bytes) : forward(std::move(pass)), max_bytes(most_bytes) {}

  // Null where a pass is to run without: its past is too large to be kept a second time, or there
  // is no memory for one more graph; then none is left of the others either.
  Graph* Find(const Shape& shape, const TokenBatch& tokens, const KvCache* past);
  void DropOldest();
  std::unique_ptr<Graph> Capture(const Shape& shape, const TokenBatch& tokens,
                                 const KvCache* past) const;

  const Forward forward;
  const uint64_t max_bytes;
  at::cuda::MempoolId_t pool;  // of the graphs that there are; gone with the last of them
  std::map<Shape, std::unique_ptr<Graph>> graphs;
  uint64_t bytes = 0;  // of all graphs
  uint64_t uses = 0;
};

void CapturedForward::Impl::DropOldest() {
  auto oldest = graphs.begin();
  for (auto it = graphs.begin(); it != graphs.end(); ++it) {
    if (it->second->last_use < oldest->second->last_use) oldest = it;
  }
  c10::cuda::getCurrentCUDAStream().synchronize();  // it may still run
  bytes -= oldest->second->bytes;
  graphs.erase(oldest);
}

Graph* CapturedForward::Impl::Find(const Shape& shape, const TokenBatch& tokens,
                                   const KvCache* past) {
  const auto found = graphs.find(shape);
  if (found != graphs.end()) return found->second.get();
  const uint64_t expected = PastBytes(past, shape.slots);
  if (expected > max_bytes) return nullptr;
  while (!graphs.empty() && (graphs.size() >= kMaxGraphs || bytes + expected > max_bytes)) {
    DropOldest();
  }
  if (graphs.empty()) pool = at::cuda::graph_pool_handle();
  try {
    std::unique_ptr<Graph> graph = Capture(shape, tokens, past);
    graph->bytes = BytesOf(graph->past) + BytesOf(graph->result.cache);
    bytes += graph->bytes;
    return graphs.emplace(shape, std::move(graph)).first->second.get();
  } catch (const c10::Error& error) {  // of memory as a rule, which the graphs then give back
    TORCH_WARN("a pass runs without a CUDA graph: ", error.what_without_backtrace());
    c10::cuda::getCurrentCUDAStream().synchronize();
    graphs.clear();
    bytes = 0;
    return nullptr;
  }
}

std::unique_ptr<Graph> CapturedForward::Impl::Capture(const Shape& shape, const TokenBatch& tokens,
                                                      const KvCache* past) const {
  auto graph = std::make_unique<Graph>();
  graph->tokens.ids = at::zeros({shape.rows, shape.tokens}, tokens.ids.options());
  graph->tokens.lengths = at::ones({shape.rows}, tokens.lengths.options());
  if (past != nullptr) graph->past = EmptyPast(*past, shape.slots);
  const KvCache* own_past = past == nullptr ? nullptr : &graph->past;
  CopyIn(tokens, past, *graph);
  c10::cuda::getCurrentCUDAStream().synchronize();
  // The default stream cannot be captured. The first pass lets the libraries allocate what they
  // keep.
  static thread_local const c10::cuda::CUDAStream stream = c10::cuda::getStreamFromPool();
  const c10::cuda::CUDAStreamGuard guard(stream);
  forward(graph->tokens, own_past);
  stream.synchronize();
  // Other threads may go on allocating and waiting meanwhile.
  graph->graph.capture_begin(pool, cudaStreamCaptureModeThreadLocal);
  try {
    graph->result = forward(graph->tokens, own_past);
  } catch (...) {
    EndCapture(graph->graph, pool);
    throw;
  }
  graph->graph.capture_end();
  return graph;
}

CapturedForward::CapturedForward(Forward forward, uint64_t max_bytes)
    : impl_(std::make_unique<Impl>(std::move(forward), max_bytes)) {}
CapturedForward::~CapturedForward() = default;

bool CapturedForward::Takes(const TokenBatch& tokens, const KvCache* past) {
  if (!tokens.ids.is_cuda() || at::GradMode::is_enabled()) return false;
  if (tokens.batch_size() > kMaxRows) return false;
  if (past != nullptr) return tokens.ids.size(1) == 1 && past->num_slots() <= kMaxSlots;
  return tokens.batch_size() * RoundUp(tokens.ids.size(1), kTokenStep) <= kMaxTokens;
}

ForwardResult CapturedForward::Run(const TokenBatch& tokens, const KvCache* past) {
  const c10::cuda::CUDAGuard device(tokens.ids.device());
  const std::lock_guard lock(TheMutex());
  Graph* const graph = impl_->Find(ShapeOf(tokens, past), tokens, past);
  if (graph == nullptr) return impl_->forward(tokens, past);
  graph->last_use = ++impl_->uses;
  CopyIn(tokens, past, *graph);
  graph->graph.replay();
  return CopyOut(*graph, tokens.ids.size(1), past);
}

}  // namespace qc2c
