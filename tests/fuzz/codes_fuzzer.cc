// libFuzzer: DecodeCodes on any bytes, for every entropy coder, scheme and some row sizes. Codes
// that come out must survive another round trip. Input: coder, scheme, D, rows, then the coded
// codes.
#include <algorithm>
#include <cstdlib>

#include "common/codec/codec_spec.h"
#include "common/codec/entropy.h"
#include "common/codec/scheme_registry.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace qc2c;  // NOLINT(google-build-using-namespace): libFuzzer wants a global function
  constexpr int32_t kHeadDims[] = {1, 5, 64, 1024};
  if (size < 4) return 0;
  const Entropy entropy = kAllEntropies[data[0] % std::size(kAllEntropies)];
  const SchemeCoder& coder = *AllSchemes()[data[1] % AllSchemes().size()].coder;
  const CodeSource source = {coder.scheme(), kHeadDims[data[2] % std::size(kHeadDims)],
                             1 + (data[2] >> 7)};
  if (!CanCode(entropy, source.scheme)) return 0;
  // Up to 130 tokens of 1,024 symbols a head: three segments.
  const size_t num_rows = (1 + data[3] % 130) * source.num_heads;
  std::vector<uint8_t> codes(num_rows * coder.RowBytes(source.head_dim));
  if (!DecodeCodes(entropy, source, {data + 4, size - 4}, codes).ok()) return 0;
  std::vector<uint8_t> again(codes.size());
  const std::vector<uint8_t> coded = EncodeCodes(entropy, source, codes);
  if (coded.size() > MaxCodedBytes(entropy, source, codes.size())) std::abort();
  if (!DecodeCodes(entropy, source, coded, again).ok() || again != codes) std::abort();
  return 0;
}
