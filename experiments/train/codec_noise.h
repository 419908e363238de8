// What the wire does to a sharer's cache, as noise: a fuser that has met few bits and few tokens in
// training reads them better (one fuser for a whole curve of accuracy against bytes).
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "common/fuser/fuser.h"

namespace qc2c {

// Drawn for each row of a batch anew.
struct CodecNoise {
  // Bits a value, one of these with equal chances: 16 leaves the values as they are, 3 to 8 are
  // symmetric absmax with a scale a head and token, 2 has the four levels -1.5, -.5, .5, 1.5 times
  // half the largest magnitude, 1 is the sign times the mean magnitude.
  std::vector<int32_t> bits;
  double prune_probability = 0.0;  // of keeping only some tokens: the last ones, those of the
                                   // largest values (L2 over all given layers) or random ones
  double min_keep_ratio = 0.05;    // the share that is kept is uniform in [min_keep_ratio, 1]
};

// x [B, H, T, D], bits[b] as above -> the values after quantization, in x's dtype.
at::Tensor Requantize(const at::Tensor& x, const std::vector<int32_t>& bits);

// Changes the defined tensors of `cache` and un-selects tokens. A row keeps at least one. Draws
// from the default CPU generator.
void AddCodecNoise(const CodecNoise& noise, SharerCache& cache);

}  // namespace qc2c
