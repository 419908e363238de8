// MODE_PREFIX: contexts that only the sharer has read become the caches that the receiver goes on
// from. Keys come rotated to their positions from 0, which is where the contexts stand.
#include <ATen/core/Tensor.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/tensor.h>

#include <algorithm>
#include <vector>

#include "receiver/answer_batch.h"

namespace qc2c {

void AnswerBatch::RunPrefixed() {
  AskSharers();
  GatherRows();
  TakeCaches();
  PlacePrefixes();
  Prefill(0);
  Answer();
}

void AnswerBatch::PlacePrefixes() {
  const auto prefix_lengths = [this] {
    std::vector<int64_t> lengths;  // pruned tokens keep their positions
    for (const AnswerState* question : rows_) {
      const size_t length =
          question->has_cache() ? question->shares.front().reading.slots.size() : 0;
      lengths.push_back(static_cast<int64_t>(length));
    }
    return lengths;
  };
  const std::vector<int64_t> came = prefix_lengths();
  if (std::ranges::none_of(came, [](int64_t length) { return length > 0; })) return;
  const Model& model = parts_.language_model.model;
  // Whichever sharer a row asked has the receiver's model.
  const KvLayerSet& layers = rows_.front()->shares.front().sharer.all_layers();
  SharerCacheBuilder builder(model.config().Layout(), layers, static_cast<int64_t>(rows_.size()),
                             *std::ranges::max_element(came), model.options());
  std::vector<CacheShare*> shares;
  for (AnswerState* question : rows_) {
    shares.push_back(question->has_cache() ? &question->shares.front() : nullptr);
  }
  PlaceCaches(shares, builder);
  SharerCache placed = builder.Build();  // with every tensor: CheckPrefix refuses other codecs
  cache_.keys = std::move(placed.keys);
  cache_.values = std::move(placed.values);
  cache_.valid = std::move(placed.selected);
  cache_.positions = at::arange(cache_.valid.size(1), cache_.valid.options().dtype(at::kLong))
                         .expand_as(cache_.valid);
  // A cache that could not be decoded is not there any more.
  cache_.lengths = at::tensor(prefix_lengths(), at::kLong).to(model.options().device);
  DropEndedRows();
}

}  // namespace qc2c
