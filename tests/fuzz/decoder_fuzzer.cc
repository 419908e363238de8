// libFuzzer: DecodeCache on a frame whose every field comes from the input: what it does not refuse
// it must decode within its memory. Input: a byte that names the codec, the shape in four bytes, a
// byte for each position's step, then codes and scales.
#include <algorithm>

#include "tests/fuzz/fuzz_codecs.h"
#include "tests/fuzz/stream_pieces.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace qc2c;  // NOLINT(google-build-using-namespace): libFuzzer wants a global function
  if (size < 6) return 0;
  KvFrame frame;
  frame.codec = CodecSpec::Parse(kFuzzCodecs[data[0] % std::size(kFuzzCodecs)]).value();
  frame.layout = {
      .num_layers = 1 + data[1] % 3, .num_kv_heads = 1 + data[2] % 3, .head_dim = 1 + data[3] % 70};
  frame.num_tokens = data[4];
  if (data[5] & 1) frame.layers.keys = {0};
  if (data[5] & 2) frame.layers.values = {data[5] >> 4};
  ByteSpan rest(data + 6, size - 6);
  const size_t num_positions =
      std::min<size_t>(rest.size(), frame.codec.NumKept(frame.num_tokens) + (data[5] >> 2 & 1));
  uint32_t position = 0;
  for (size_t i = 0; i < num_positions; ++i) frame.positions.push_back(position += rest[i] % 4);
  rest = rest.subspan(num_positions);
  if (!LayOutBlocks(frame).ok()) return 0;
  std::copy_n(rest.begin(), std::min(rest.size(), frame.data.size()), frame.data.begin());
  const DecodeTarget target(frame);
  DecodeCache(frame, target.view()).IgnoreError();
  return 0;
}
