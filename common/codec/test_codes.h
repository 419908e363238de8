// Codes for tests of entropy coding, as blocks have them: packed rows.
#pragma once

#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

#include "common/codec/bit_packing.h"
#include "common/codec/codec_spec.h"
#include "common/codec/entropy.h"
#include "common/codec/scheme_registry.h"

namespace qc2c {

inline std::vector<Scheme> CodedSchemes() {
  std::vector<Scheme> schemes;
  for (const RegisteredScheme& known : AllSchemes()) {
    if (CanCode(Entropy::kRans, known.coder->scheme())) schemes.push_back(known.coder->scheme());
  }
  return schemes;
}

inline bool IsInteger(Scheme scheme) {
  return scheme == Scheme::kInt8 || scheme == Scheme::kInt4 || scheme == Scheme::kInt3 ||
         scheme == Scheme::kInt2Absmax;
}

// Rows of codes about 0 (levels: about the middle), normal with a deviation of `width` codes.
inline std::vector<uint8_t> NormalCodes(const CodeSource& source, size_t num_rows, float width,
                                        uint32_t seed) {
  const SchemeCoder& coder = *FindScheme(source.scheme);
  const int bits = coder.bits_per_value();
  const bool integers = IsInteger(source.scheme);
  const int half = 1 << (bits - 1);
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0, width);
  const size_t row_bytes = coder.RowBytes(source.head_dim);
  std::vector<uint8_t> packed(num_rows * row_bytes);
  std::vector<uint8_t> row(source.head_dim);
  for (size_t r = 0; r < num_rows; ++r) {
    for (uint8_t& code : row) {
      const float x = normal(random) + (integers ? 0.5f : 0.0f);
      const int value = std::clamp(static_cast<int>(std::floor(x)), -half, half - 1);
      code = static_cast<uint8_t>(integers ? value & (2 * half - 1) : value + half);
    }
    PackCodes(bits, row.data(), row.size(), packed.data() + r * row_bytes);
  }
  return packed;
}

inline std::vector<uint8_t> PeakedCodes(const CodeSource& source, size_t num_rows, uint32_t seed) {
  const int bits = FindScheme(source.scheme)->bits_per_value();
  return NormalCodes(source, num_rows, static_cast<float>(1 << (bits - 1)) / 5, seed);
}

// Every code as likely as every other: nothing to gain.
inline std::vector<uint8_t> UniformCodes(const CodeSource& source, size_t num_rows, uint32_t seed) {
  const SchemeCoder& coder = *FindScheme(source.scheme);
  std::mt19937 random(seed);
  std::vector<uint8_t> row(source.head_dim);
  std::vector<uint8_t> packed(num_rows * coder.RowBytes(source.head_dim));
  for (size_t r = 0; r < num_rows; ++r) {
    for (uint8_t& code : row) code = static_cast<uint8_t>(random() >> 8);
    PackCodes(coder.bits_per_value(), row.data(), row.size(),
              packed.data() + r * coder.RowBytes(source.head_dim));
  }
  return packed;
}

// Channels with means of their own, as keys have: far from one distribution. Two bits or more.
inline std::vector<uint8_t> ChannelCodes(const CodeSource& source, size_t num_tokens) {
  const SchemeCoder& coder = *FindScheme(source.scheme);
  const int bits = coder.bits_per_value();
  const int largest = (1 << (bits - 1)) - 1;
  std::mt19937 random(6);
  const size_t num_channels = size_t{1} * source.head_dim * source.num_heads;
  std::vector<int> mean(num_channels);
  for (int& m : mean) m = static_cast<int>(random() % (2 * largest + 1)) - largest;
  std::normal_distribution<float> normal(0, 0.7f);
  const size_t row_bytes = coder.RowBytes(source.head_dim);
  std::vector<uint8_t> packed(num_tokens * source.num_heads * row_bytes);
  std::vector<uint8_t> row(source.head_dim);
  for (size_t r = 0; r < num_tokens * source.num_heads; ++r) {
    for (size_t d = 0; d < row.size(); ++d) {
      const int value =
          mean[(r * row.size() + d) % num_channels] + static_cast<int>(std::lround(normal(random)));
      row[d] = static_cast<uint8_t>(std::clamp(value, -largest, largest) & (2 * largest + 1));
    }
    PackCodes(bits, row.data(), row.size(), packed.data() + r * row_bytes);
  }
  return packed;
}

// Where to damage a coding of so many bytes: all of a short one; of a long one its beginning, its
// end, where the states are, and some places between.
inline std::vector<size_t> PlacesToDamage(size_t num_bytes) {
  constexpr size_t kAtBegin = 12, kAtEnd = 40, kBetween = 12;
  std::vector<size_t> places;
  const size_t stride = std::max<size_t>(num_bytes / kBetween, 1);
  for (size_t i = 0; i < num_bytes; ++i) {
    if (num_bytes < 150 || i < kAtBegin || i + kAtEnd > num_bytes || i % stride == 0) {
      places.push_back(i);
    }
  }
  return places;
}

// A source of codes, and codes of it.
struct NamedCodes {
  CodeSource source;
  std::vector<uint8_t> codes;
  std::string name;
};

// Every scheme that can be coded, in shapes of whole and of broken bytes, of few tokens and of
// several segments; peaked, constant, uniform and by channel.
inline std::vector<NamedCodes> EveryKindOfCodes() {
  std::vector<NamedCodes> all;
  for (const Scheme scheme : CodedSchemes()) {
    for (const int32_t head_dim : {64, 128, 80, 12, 5}) {
      for (const size_t num_tokens : {1, 5, 141, 2000}) {
        if (num_tokens == 2000 && head_dim != 64 && head_dim != 12) continue;
        const CodeSource source = {scheme, head_dim, 2};
        const size_t rows = 2 * num_tokens;
        const std::string shape = std::string(SchemeName(scheme)) + " " +
                                  std::to_string(num_tokens) + " x 2 x " + std::to_string(head_dim);
        all.push_back({source, PeakedCodes(source, rows, 3), shape + " peaked"});
        all.push_back({source, NormalCodes(source, rows, 0.01f, 4), shape + " constant"});
        all.push_back({source, UniformCodes(source, rows, 5), shape + " uniform"});
        if (FindScheme(scheme)->bits_per_value() == 1) continue;
        all.push_back({source, ChannelCodes(source, num_tokens), shape + " by channel"});
      }
    }
  }
  return all;
}

}  // namespace qc2c
