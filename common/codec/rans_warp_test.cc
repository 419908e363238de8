// The algorithms that a GPU runs, on a warp of the host: the same bytes as entropy.h's, for any
// codes, and the same refusals.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <random>

#include "common/codec/entropy.h"
#include "common/codec/entropy_segments.h"
#include "common/codec/host_warp.h"
#include "common/codec/rans_lookup.h"
#include "common/codec/rans_segment_decoder.h"
#include "common/codec/rans_segment_encoder.h"
#include "common/codec/test_codes.h"

namespace qc2c {
namespace {

constexpr HostWarp kWarp{};

using Decoder = RansSegmentDecoder<HostWarp>;
using Encoder = RansSegmentEncoder<HostWarp>;

// A precision with its tables.
struct Precision {
  explicit Precision(const CodeSource& source)
      : lookup(
            MakeRansLookup(CodeFormOf(source.scheme), FindScheme(source.scheme)->bits_per_value())),
        kind(RansKindOf(source)) {
    kind.tables = lookup.View();
  }

  RansLookup lookup;
  RansKind kind;
};

// Memory of exactly this size, at a multiple of 16, so that ASan sees an overrun.
std::unique_ptr<uint8_t[]> Exactly(ByteSpan bytes) {
  auto memory = std::make_unique<uint8_t[]>(bytes.size());
  std::ranges::copy(bytes, memory.get());
  return memory;
}

std::vector<uint8_t> EncodeOnWarp(const CodeSource& source, ByteSpan codes) {
  const Precision precision(source);
  size_t slots_bytes = 0;
  std::vector<RansSegment> segments;
  AppendSegments({.source = source, .codes_bytes = codes.size()}, slots_bytes, segments);
  const auto exact = Exactly(codes);
  std::vector<uint8_t> coded;
  for (const RansSegment& segment : segments) {
    const uint32_t room = RansHeaderRoom(precision.kind.num_channels,
                                         precision.kind.MayChooseByChannel(segment.num_symbols));
    const auto slot = std::make_unique<uint8_t[]>(RansSlotBytes(room, segment.codes_bytes));
    uint32_t scratch[Encoder::Choice::kScratch];
    const uint8_t* const own = exact.get() + segment.codes_offset;
    Encoder encoder(kWarp, precision.kind, own, segment.codes_bytes, segment.num_symbols, scratch);
    const CodedSegment made = encoder.Encode(slot.get());
    for (uint32_t i = 0; i < segment.prefix_bytes; ++i) coded.push_back(made.bytes >> 8 * i & 0xff);
    if (made.header_bytes == 0) {
      coded.push_back(kStoredSegment);
      coded.insert(coded.end(), own, own + segment.codes_bytes);
    } else {
      const uint8_t* const begin = slot.get() + room - made.header_bytes;
      coded.insert(coded.end(), begin, begin + made.bytes);
    }
  }
  return coded;
}

bool DecodeOnWarp(const Precision& precision, const CodeSource& source, ByteSpan coded,
                  MutableByteSpan codes) {
  std::vector<RansSegment> segments;
  if (!AppendCodedSegments({.source = source, .codes_bytes = codes.size()}, coded, segments)) {
    return false;
  }
  const auto exact = Exactly(coded);
  const auto target = std::make_unique<uint8_t[]>(codes.size());
  for (const RansSegment& segment : segments) {
    uint8_t ring[CodePacker<HostWarp>::kRingCodes];
    Decoder decoder(kWarp, precision.kind, ring);
    if (!decoder.Decode(exact.get() + segment.coded_offset, segment.coded_bytes,
                        segment.num_symbols, target.get() + segment.codes_offset,
                        segment.codes_bytes)) {
      return false;
    }
  }
  std::copy_n(target.get(), codes.size(), codes.data());
  return true;
}

TEST(RansWarpTest, AReciprocalDividesExactly) {
  for (uint32_t frequency = 1; frequency < 1u << kRansBits; ++frequency) {
    const uint32_t reciprocal = RansReciprocal(frequency);
    const uint32_t end = std::min<uint64_t>(uint64_t{frequency} << 18, 0xffffffffu);
    std::mt19937 random(frequency);
    for (int i = 0; i < 64; ++i) {
      // Near multiples, where a quotient that is off by one shows; the ends; and anywhere.
      const uint32_t multiple = random() % (end / frequency) * frequency;
      for (const uint32_t x : {multiple, multiple + frequency - 1, end - 1 - i, uint32_t(i),
                               static_cast<uint32_t>(random() % end)}) {
        ASSERT_EQ(PushSymbol(x, RansEntry(frequency, 0), reciprocal),
                  (x / frequency << kRansBits) + x % frequency)
            << x << " / " << frequency;
      }
    }
  }
}

TEST(RansWarpTest, SegmentsAreThoseOfTheCpu) {
  for (const NamedCodes& some : EveryKindOfCodes()) {
    const std::vector<uint8_t> expected = EncodeCodes(Entropy::kRans, some.source, some.codes);
    ASSERT_EQ(EncodeOnWarp(some.source, some.codes), expected) << some.name;
    std::vector<uint8_t> decoded(some.codes.size(), 0xee);
    ASSERT_TRUE(DecodeOnWarp(Precision(some.source), some.source, expected, decoded)) << some.name;
    ASSERT_EQ(decoded, some.codes) << some.name;
  }
}

TEST(RansWarpTest, RowsThatDoNotEndWithZerosAreStored) {
  const CodeSource source = {Scheme::kInt4, 5};
  std::vector<uint8_t> codes(3 * 100, 0);
  codes.back() = 0x80;
  const std::vector<uint8_t> coded = EncodeOnWarp(source, codes);
  EXPECT_EQ(coded, EncodeCodes(Entropy::kRans, source, codes));
  EXPECT_EQ(coded.front(), kStoredSegment);
}

// One token is more than a segment: its rows are cut, and have no tables by channel.
TEST(RansWarpTest, ATokenOfSeveralSegmentsIsThatOfTheCpu) {
  const CodeSource source = {Scheme::kInt2, 1000, 80};
  const std::vector<uint8_t> codes = PeakedCodes(source, 160, 2);
  const std::vector<uint8_t> expected = EncodeCodes(Entropy::kRans, source, codes);
  EXPECT_EQ(EncodeOnWarp(source, codes), expected);
  std::vector<uint8_t> decoded(codes.size());
  ASSERT_TRUE(DecodeOnWarp(Precision(source), source, expected, decoded));
  EXPECT_EQ(decoded, codes);
}

// Refused by both, or decoded by both to the same codes.
void ExpectSameVerdict(const Precision& precision, const CodeSource& source, ByteSpan coded,
                       size_t codes_bytes, const std::string& what) {
  std::vector<uint8_t> on_cpu(codes_bytes), on_warp(codes_bytes);
  const bool is_coding = DecodeCodes(Entropy::kRans, source, coded, on_cpu).ok();
  ASSERT_EQ(DecodeOnWarp(precision, source, coded, on_warp), is_coding) << what;
  if (is_coding) {
    ASSERT_EQ(on_warp, on_cpu) << what;
  }
}

struct Damaged {
  CodeSource source;
  std::vector<uint8_t> codes;
};

// One lane, eight and 32; stored; by channel, also where no encoder would; two segments.
std::vector<Damaged> SmallCodings() {
  const CodeSource int4 = {Scheme::kInt4, 64, 2};
  const CodeSource broken = {Scheme::kInt3, 5, 1};
  std::vector<Damaged> all;
  for (const size_t num_tokens : {2, 40, 260, 520}) {
    all.push_back({int4, PeakedCodes(int4, 2 * num_tokens, 1)});
  }
  all.push_back({int4, ChannelCodes(int4, 30)});
  all.push_back({int4, UniformCodes(int4, 4, 1)});
  all.push_back({broken, PeakedCodes(broken, 90, 1)});
  return all;
}

TEST(RansWarpTest, EveryTruncationGetsTheVerdictOfTheCpu) {
  for (const Damaged& some : SmallCodings()) {
    const Precision precision(some.source);
    const std::vector<uint8_t> whole = EncodeCodes(Entropy::kRans, some.source, some.codes);
    for (const size_t n : PlacesToDamage(whole.size())) {
      ExpectSameVerdict(precision, some.source, ByteSpan(whole).first(n), some.codes.size(),
                        "first " + std::to_string(n));
    }
  }
}

TEST(RansWarpTest, EveryChangedByteGetsTheVerdictOfTheCpu) {
  for (const Damaged& some : SmallCodings()) {
    const Precision precision(some.source);
    std::vector<uint8_t> coded = EncodeCodes(Entropy::kRans, some.source, some.codes);
    std::mt19937 random(9);
    for (const size_t i : PlacesToDamage(coded.size())) {
      const uint8_t kept = coded[i];
      for (const uint8_t value : {kept ^ 1, kept ^ 0x80, 0, 129, static_cast<int>(random())}) {
        coded[i] = value;
        ExpectSameVerdict(precision, some.source, coded, some.codes.size(),
                          "byte " + std::to_string(i) + " is " + std::to_string(value));
      }
      coded[i] = kept;
    }
  }
}

// Eight bits by channel: an encoder never writes them, a decoder takes them.
TEST(RansWarpTest, WideCodesByChannelAreDecoded) {
  const CodeSource source = {Scheme::kInt8, 4};
  const std::vector<uint8_t> codes = PeakedCodes(source, 500, 1);
  const auto tables = EntropyTables(CodeForm::kTwosComplement, 8);
  std::vector<uint8_t> coded = {kByChannelSegment};
  for (const int shift : {3, 250, 0, 128}) {
    coded.push_back(static_cast<uint8_t>(40 + shift % 7));
    coded.push_back(static_cast<uint8_t>(shift));
  }
  std::vector<uint8_t> symbols, table_of;
  for (size_t i = 0; i < codes.size(); ++i) {
    symbols.push_back(static_cast<uint8_t>((codes[i] ^ 0x80) - coded[2 + i % 4 * 2]));
    table_of.push_back(static_cast<uint8_t>(coded[1 + i % 4 * 2] - 1));
  }
  const auto stream = RansEncode(symbols, table_of, tables, RansLanesFor(symbols.size())).value();
  coded.insert(coded.end(), stream.begin(), stream.end());
  std::vector<uint8_t> decoded(codes.size());
  ASSERT_TRUE(DecodeOnWarp(Precision(source), source, coded, decoded));
  EXPECT_EQ(decoded, codes);
}

}  // namespace
}  // namespace qc2c
