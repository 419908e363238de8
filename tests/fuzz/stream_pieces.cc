#include "tests/fuzz/stream_pieces.h"

#include "common/wire/frame_checksum.h"

namespace qc2c {

void RepairChecksum(Messages& messages) {
  Hasher hasher;
  for (std::string& message : messages) {
    v1::CacheChunk chunk;
    if (!chunk.ParseFromString(message)) return;
    if (chunk.has_header()) AddHeader(hasher, chunk.header());
    for (const v1::LayerBlock& block : chunk.blocks()) {
      AddBlock(hasher, block.layer(), block.half(), block.first_token(), block.num_tokens(),
               AsBytes(block.codes()), AsBytes(block.scales()));
    }
    if (!chunk.has_trailer()) continue;
    chunk.mutable_trailer()->set_checksum(hasher.Digest());
    message = chunk.SerializeAsString();
  }
}

DecodeTarget::DecodeTarget(const KvFrame& frame) {
  const auto num_tokens = int64_t{frame.num_kept()};
  const KvLayout& layout = frame.layout;
  const int64_t row = layout.num_kv_heads * layout.head_dim;
  view_.layout = layout;
  view_.num_tokens = num_tokens;
  view_.keys.resize(layout.num_layers);
  view_.values.resize(layout.num_layers);
  memory_.reserve(frame.layers.NumTensors());
  for (const auto& [layer, half] : frame.layers.Tensors()) {
    memory_.emplace_back(num_tokens * row);
    (half == Half::kKey ? view_.keys : view_.values)[layer] = {memory_.back().data(), row,
                                                               layout.head_dim};
  }
}

}  // namespace qc2c
