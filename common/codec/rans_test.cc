#include "common/codec/rans.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <memory>
#include <random>

namespace qc2c {
namespace {

using ::testing::HasSubstr;

constexpr int kAllLanes[] = {1, 8, 32};

// The generator and the tables of proto/golden/rans.py.
class Numbers {
 public:
  explicit Numbers(uint32_t seed) : seed_(seed) {}
  uint32_t Next() {
    seed_ = (seed_ * 1103515245u + 12345u) % (1u << 31);
    return seed_ >> 16;
  }

 private:
  uint32_t seed_;
};

RansTable RandomTable(size_t num_symbols, Numbers& numbers) {
  std::vector<uint32_t> weights;
  uint64_t total = 0;
  for (size_t i = 0; i < num_symbols; ++i) {
    weights.push_back(numbers.Next() + 1);
    total += weights.back();
  }
  std::vector<uint16_t> frequencies;
  uint32_t sum = 0;
  for (const uint32_t weight : weights) {
    frequencies.push_back(
        static_cast<uint16_t>(1 + ((1 << kRansBits) - num_symbols) * weight / total));
    sum += frequencies.back();
  }
  frequencies.back() += (1 << kRansBits) - sum;
  return RansTable::Create(frequencies).value();
}

struct Sequence {
  std::vector<RansTable> tables;
  std::vector<uint8_t> table_of;
  std::vector<uint8_t> symbols;
};

// Symbols drawn from their tables.
Sequence RandomSequence(uint32_t seed, size_t num_symbols) {
  Numbers numbers(seed);
  Sequence sequence;
  for (const size_t size : {2, 16, 255}) sequence.tables.push_back(RandomTable(size, numbers));
  for (size_t i = 0; i < num_symbols; ++i) {
    sequence.table_of.push_back(static_cast<uint8_t>(numbers.Next() % 3));
  }
  for (const uint8_t table : sequence.table_of) {
    sequence.symbols.push_back(sequence.tables[table].SymbolAt(numbers.Next() % (1 << kRansBits)));
  }
  return sequence;
}

std::vector<uint8_t> Encode(const Sequence& sequence, int num_lanes) {
  return RansEncode(sequence.symbols, sequence.table_of, sequence.tables, num_lanes).value();
}

absl::Status Decode(ByteSpan stream, const Sequence& sequence, int num_lanes,
                    std::vector<uint8_t>& symbols) {
  symbols.assign(sequence.symbols.size(), 0xee);
  return RansDecode(stream, sequence.table_of, sequence.tables, num_lanes, symbols);
}

TEST(RansTest, TheBytesAreThoseOfTheSecondImplementation) {
  EXPECT_EQ(ToHex(Encode(RandomSequence(1, 40), 1)),
            "d330d04dd7432a36acfe05de65267a2da6a7f38d86b87943ee0b1f05");
  EXPECT_EQ(ToHex(Encode(RandomSequence(2, 70), 8)),
            "6d546f58c95604858978c127ff5d17a96479bd53226b611b72ca528086ca120053066e025e77030098e4dc"
            "0685d0331f7f41795434683600");
  EXPECT_EQ(ToHex(Encode(RandomSequence(3, 99), 32)),
            "7dc46c70b84088872bccf71657ac450c2a06dc066a9ca1006a670c008654d8016cdb050f6c90bb010e7c8b"
            "00926f320318460ce2b5cb49a956fa5901dcef4e108e29010011115117be91a340dc4f4e0084812a00e0e1"
            "0f00d37d3a13e9c015001a0d49002354584c0c556b003ce15e1bd6060100cefe1000389cbf014e747f09f5"
            "da7959d9892c00869d2595");
}

TEST(RansTest, SymbolsComeBackAtAnyLength) {
  for (const int num_lanes : kAllLanes) {
    for (size_t num = 0; num < 300; ++num) {
      const Sequence sequence = RandomSequence(static_cast<uint32_t>(num), num);
      std::vector<uint8_t> symbols;
      ASSERT_TRUE(Decode(Encode(sequence, num_lanes), sequence, num_lanes, symbols).ok());
      ASSERT_EQ(symbols, sequence.symbols) << num << " symbols, " << num_lanes << " lanes";
    }
  }
}

TEST(RansTest, AlphabetsOfOneAndOf256SymbolsComeBack) {
  const RansTable one = RansTable::Create(std::vector<uint16_t>{1 << kRansBits}).value();
  const RansTable all =
      RansTable::Create(std::vector<uint16_t>(256, (1 << kRansBits) / 256)).value();
  std::vector<uint8_t> zeros(5000, 0);
  std::vector<uint8_t> bytes(5000);
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<uint8_t>(i * 7);
  for (const int num_lanes : kAllLanes) {
    std::vector<uint8_t> decoded(5000, 1);
    ASSERT_TRUE(
        RansDecode(RansEncode(zeros, one, num_lanes).value(), one, num_lanes, decoded).ok());
    EXPECT_EQ(decoded, zeros);
    const std::vector<uint8_t> stream = RansEncode(bytes, all, num_lanes).value();
    ASSERT_TRUE(RansDecode(stream, all, num_lanes, decoded).ok());
    EXPECT_EQ(decoded, bytes);
  }
  EXPECT_TRUE(RansEncode(zeros, one, 1).value().empty());
}

// Symbols whose shares are as near to the table's as whole numbers can be, in random order: their
// empirical entropy is that of the table.
TEST(RansTest, AStreamIsWithinTwoPercentOfTheEntropyAndAFewBytesOfItWhenShort) {
  Numbers numbers(5);
  std::mt19937 random(5);
  for (const size_t num_symbols : {2, 3, 15, 255}) {
    const RansTable table = RandomTable(num_symbols, numbers);
    for (const size_t times : {1, 8}) {
      std::vector<uint8_t> symbols;
      double entropy_bits = 0;
      for (size_t s = 0; s < num_symbols; ++s) {
        const uint32_t frequency = table.Frequency(static_cast<uint8_t>(s));
        symbols.insert(symbols.end(), frequency * times, static_cast<uint8_t>(s));
        entropy_bits += frequency * times * (kRansBits - std::log2(frequency));
      }
      std::shuffle(symbols.begin(), symbols.end(), random);
      const double entropy = entropy_bits / 8;
      for (const int num_lanes : kAllLanes) {
        const auto bytes =
            static_cast<double>(RansEncode(symbols, table, num_lanes).value().size());
        EXPECT_GE(bytes, std::floor(entropy * 0.999));
        if (entropy >= 32 << 10) {
          EXPECT_LE(bytes, entropy * 1.02) << num_symbols << " symbols, " << num_lanes << " lanes";
        }
        EXPECT_LE(bytes, entropy * 1.001 + (num_lanes == 1 ? 2 : 4 * num_lanes));
      }
    }
  }
}

// The stream of one lane is one large number: a shorter one may be that of other symbols.
TEST(RansTest, ATruncationIsRefusedOrTheStreamOfOtherSymbols) {
  for (const int num_lanes : kAllLanes) {
    const Sequence sequence = RandomSequence(9, 200);
    const std::vector<uint8_t> whole = Encode(sequence, num_lanes);
    for (size_t n = 0; n < whole.size(); ++n) {
      for (const size_t first : {size_t{0}, whole.size() - n}) {
        const auto part = std::make_unique<uint8_t[]>(n);  // exact size, so ASan sees an overrun
        std::copy_n(whole.data() + first, n, part.get());
        Sequence other = sequence;
        const ByteSpan stream(part.get(), n);
        const absl::Status status = Decode(stream, sequence, num_lanes, other.symbols);
        if (!status.ok()) {
          EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
          continue;
        }
        EXPECT_EQ(num_lanes, 1);
        EXPECT_EQ(ToHex(Encode(other, num_lanes)), ToHex(stream));
        EXPECT_NE(other.symbols, sequence.symbols);
      }
    }
  }
}

TEST(RansTest, AChangedStreamIsRefusedOrTheOneOfOtherSymbols) {
  for (const int num_lanes : kAllLanes) {
    Sequence sequence = RandomSequence(11, 150);
    const std::vector<uint8_t> whole = Encode(sequence, num_lanes);
    for (size_t bit = 0; bit < 8 * whole.size(); ++bit) {
      std::vector<uint8_t> changed = whole;
      changed[bit / 8] ^= static_cast<uint8_t>(1 << bit % 8);
      Sequence other = sequence;
      if (!Decode(changed, sequence, num_lanes, other.symbols).ok()) continue;
      EXPECT_EQ(Encode(other, num_lanes), changed) << "bit " << bit;
    }
    std::vector<uint8_t> symbols;
    for (const uint8_t more : {0, 1}) {
      std::vector<uint8_t> longer = whole;
      longer.insert(longer.end(), 2, more);
      EXPECT_FALSE(Decode(longer, sequence, num_lanes, symbols).ok());
      longer = whole;
      longer.insert(longer.begin(), 2, more);
      EXPECT_FALSE(Decode(longer, sequence, num_lanes, symbols).ok());
    }
  }
}

TEST(RansTest, WhatCannotBeCodedIsRefusedByName) {
  Sequence sequence = RandomSequence(1, 10);
  const auto message = [&](int num_lanes) {
    return std::string(RansEncode(sequence.symbols, sequence.table_of, sequence.tables, num_lanes)
                           .status()
                           .message());
  };
  EXPECT_THAT(message(2), HasSubstr("2 lanes: expected 1, 8 or 32"));
  sequence.table_of[3] = 0;
  sequence.symbols[3] = 2;  // of an alphabet of two
  EXPECT_THAT(message(1), HasSubstr("symbol 3 is 2"));
  sequence.table_of[7] = 3;
  EXPECT_THAT(message(1), HasSubstr("symbol 7 has table 3: expected less than 3"));
  std::vector<uint8_t> symbols;
  EXPECT_THAT(std::string(Decode({}, sequence, 1, symbols).message()), HasSubstr("symbol 7"));
  sequence.table_of.pop_back();
  EXPECT_THAT(message(1), HasSubstr("9 tables for 10 symbols"));
}

TEST(RansTest, ATableWhoseFrequenciesDoNotAddUpIsRefused) {
  const auto message = [](std::vector<uint16_t> frequencies) {
    return std::string(RansTable::Create(frequencies).status().message());
  };
  EXPECT_THAT(message({}), HasSubstr("0 frequencies: expected 1 to 256"));
  EXPECT_THAT(message(std::vector<uint16_t>(257, 1)), HasSubstr("257 frequencies"));
  EXPECT_THAT(message({16000, 383}), HasSubstr("add up to 16383: expected 16384"));
  EXPECT_THAT(message({16000, 65000}), HasSubstr("add up to 81000"));
}

}  // namespace
}  // namespace qc2c
