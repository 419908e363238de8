#include "common/codec/entropy_tables.h"

#include <algorithm>
#include <bit>
#include <memory>
#include <mutex>
#include <utility>

namespace qc2c {
namespace {

constexpr int kFractionBits = 32;
constexpr uint64_t kOne = uint64_t{1} << kFractionBits;
constexpr uint32_t kNumWidths = 32;
constexpr int kMaxBits = 8;

// floor(2^32 exp(-2^((5 - k) / 2))), k = 0 .. 31.
constexpr uint64_t kDecay[kNumWidths] = {
    0x00e4f306, 0x04b0556e, 0x0f218de0, 0x22a55547, 0x3e3ce5f7, 0x5e2d58d8, 0x7e39bff0, 0x9b4597e3,
    0xb3c2a028, 0xc75f7cf5, 0xd684ff70, 0xe1eb5127, 0xea5800a6, 0xf07d5fde, 0xf4eec215, 0xf81fab54,
    0xfa67ba65, 0xfc07f55f, 0xfd2fe870, 0xfe01feab, 0xfe96f5a1, 0xff007fd5, 0xff4b3afd, 0xff801ffa,
    0xffa58d84, 0xffc007ff, 0xffd2c2c2, 0xffe001ff, 0xffe96061, 0xfff0007f, 0xfff4aff0, 0xfff8001f};

// How much steeper the fall becomes with each step from the middle: not at all (Laplace), by the
// decay four widths further (a quarter of the exponent), by the decay itself (normal, for a middle
// between two symbols), by that two widths before (normal, for a middle on a symbol).
constexpr int kShapes[] = {kNumWidths, 4, 0, -2};
static_assert(std::size(kShapes) * kNumWidths == kNumEntropyTables);

uint64_t Steepening(uint32_t width, int shape) {
  const int index = static_cast<int>(width) + shape;
  if (index >= static_cast<int>(kNumWidths)) return kOne;
  return kDecay[std::max(index, 0)];
}

// Steps from the middle to `symbol`.
uint32_t Distance(CodeForm form, uint32_t num_symbols, uint32_t symbol) {
  const uint32_t middle = num_symbols / 2;
  if (symbol >= middle) return symbol - middle;
  return form == CodeForm::kIndex ? middle - 1 - symbol : middle - symbol;
}

RansTable MakeTable(CodeForm form, int bits, uint32_t width, int shape) {
  const uint32_t num_symbols = 1u << bits;
  std::array<uint64_t, kMaxRansSymbols> weights;  // by distance
  uint64_t weight = kOne;
  uint64_t decay = kDecay[width];
  for (uint64_t& w : weights) {
    w = weight;
    weight = weight * decay >> kFractionBits;
    decay = decay * Steepening(width, shape) >> kFractionBits;
  }
  uint64_t total = 0;
  for (uint32_t s = 0; s < num_symbols; ++s) total += weights[Distance(form, num_symbols, s)];
  std::vector<uint16_t> frequencies(num_symbols);
  const uint64_t share = (1u << kRansBits) - num_symbols;
  uint32_t left = 1u << kRansBits;
  for (uint32_t s = 0; s < num_symbols; ++s) {
    const uint64_t w = weights[Distance(form, num_symbols, s)];
    frequencies[s] = static_cast<uint16_t>(1 + w * share / total);
    left -= frequencies[s];
  }
  frequencies[num_symbols / 2] += static_cast<uint16_t>(left);
  return RansTable::Create(frequencies).value();
}

// 2^12 times the bits that a symbol of this frequency costs.
uint32_t Cost(uint32_t frequency) {
  const int whole = std::bit_width(frequency) - 1;
  uint64_t x = uint64_t{frequency} << (31 - whole);  // in [2^31, 2^32): a number from 1 to 2
  uint32_t log2 = static_cast<uint32_t>(whole);
  for (int i = 0; i < kCostBits; ++i) {
    x = x * x >> 31;
    const uint32_t bit = x >= kOne ? 1 : 0;
    x >>= bit;
    log2 = log2 << 1 | bit;
  }
  return (kRansBits << kCostBits) - log2;
}

struct Family {
  std::vector<RansTable> tables;
  std::vector<uint32_t> costs;  // [tables, symbols]
  std::once_flag built;
};

const Family& TheFamily(CodeForm form, int bits) {
  static Family families[2][kMaxBits + 1];
  Family& family = families[form == CodeForm::kIndex ? 1 : 0][bits];
  std::call_once(family.built, [&] {
    for (const int shape : kShapes) {
      for (uint32_t width = 0; width < kNumWidths; ++width) {
        family.tables.push_back(MakeTable(form, bits, width, shape));
        for (uint32_t s = 0; s < 1u << bits; ++s) {
          family.costs.push_back(Cost(family.tables.back().Frequency(static_cast<uint8_t>(s))));
        }
      }
    }
  });
  return family;
}

}  // namespace

CodeForm CodeFormOf(Scheme scheme) {
  switch (scheme) {
    case Scheme::kInt8:
    case Scheme::kInt4:
    case Scheme::kInt3:
    case Scheme::kInt2Absmax:
      return CodeForm::kTwosComplement;
    case Scheme::kInt2:
    case Scheme::kInt2Lloyd:
    case Scheme::kBinary:
    case Scheme::kNf4:
      return CodeForm::kIndex;
    default:
      return CodeForm::kNone;
  }
}

std::span<const RansTable> EntropyTables(CodeForm form, int bits) {
  return TheFamily(form, bits).tables;
}

std::span<const uint32_t> EntropyTableCosts(CodeForm form, int bits) {
  return TheFamily(form, bits).costs;
}

TableChoice BestEntropyTable(CodeForm form, int bits, std::span<const uint32_t> counts) {
  const Family& family = TheFamily(form, bits);
  TableChoice best = {.number = 0, .cost = ~uint64_t{0}};
  const uint32_t* cost = family.costs.data();
  for (uint32_t number = 1; number <= kNumEntropyTables; ++number) {
    uint64_t total = 0;
    for (const uint32_t count : counts) total += uint64_t{count} * *cost++;
    if (total < best.cost) best = {number, total};
  }
  return best;
}

}  // namespace qc2c
