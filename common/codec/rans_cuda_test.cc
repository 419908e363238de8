// The kernels against entropy.h: the same bytes for any codes, and the same refusals.
#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "common/codec/entropy.h"
#include "common/codec/gpu_coder.h"
#include "common/codec/test_cache.h"
#include "common/codec/test_codes.h"

namespace qc2c {
namespace {

TEST(RansCudaTest, SegmentsAreThoseOfTheCpu) {
  SKIP_WITHOUT(DeviceType::kCuda);
  const CudaStream stream = CudaStream::Create().value();
  for (const NamedCodes& some : EveryKindOfCodes()) {
    const size_t codes_bytes = some.codes.size();
    const auto encoder = GpuEncoder::Create(some.source, some.codes, codes_bytes);
    ASSERT_TRUE(encoder.ok()) << encoder.status();
    ASSERT_EQ(encoder->Queue(stream.get()), cudaSuccess);
    ASSERT_TRUE(stream.Synchronize().ok()) << some.name;
    const auto coded = encoder->Result().value();
    const std::vector<uint8_t> expected = EncodeCodes(Entropy::kRans, some.source, some.codes);
    ASSERT_EQ(coded.size(), 1u);
    ASSERT_EQ(coded[0], expected) << some.name;
    const auto decoder = GpuDecoder::Create(some.source, {expected}, codes_bytes, codes_bytes);
    ASSERT_TRUE(decoder.ok()) << decoder.status();
    ASSERT_EQ(decoder->Queue(stream.get()), cudaSuccess);
    ASSERT_TRUE(stream.Synchronize().ok()) << some.name;
    const std::vector<uint32_t> faults = decoder->Faults().value();
    ASSERT_EQ(std::ranges::count(faults, 0u), faults.size()) << some.name;
    ASSERT_EQ(decoder->Codes().value(), some.codes) << some.name;
  }
}

// Many runs in one launch, at any address of the codes.
TEST(RansCudaTest, RunsOfOneLaunchAreCodedEachByItself) {
  SKIP_WITHOUT(DeviceType::kCuda);
  const CudaStream stream = CudaStream::Create().value();
  for (const int32_t head_dim : {64, 5}) {
    const CodeSource source = {Scheme::kInt4, head_dim, 2};
    const std::vector<uint8_t> codes = PeakedCodes(source, 2 * 5000, 1);
    const size_t run_bytes = 2 * 13 * FindScheme(source.scheme)->RowBytes(head_dim);
    const auto encoder = GpuEncoder::Create(source, codes, run_bytes);
    ASSERT_TRUE(encoder.ok()) << encoder.status();
    ASSERT_EQ(encoder->Queue(stream.get()), cudaSuccess);
    ASSERT_TRUE(stream.Synchronize().ok());
    const auto coded = encoder->Result().value();
    ASSERT_EQ(coded.size(), (5000 + 12) / 13);
    for (size_t i = 0; i < coded.size(); ++i) {
      const ByteSpan run =
          ByteSpan(codes).subspan(i * run_bytes, std::min(run_bytes, codes.size() - i * run_bytes));
      ASSERT_EQ(coded[i], EncodeCodes(Entropy::kRans, source, run)) << i;
    }
    const auto decoder = GpuDecoder::Create(source, coded, run_bytes, codes.size());
    ASSERT_TRUE(decoder.ok()) << decoder.status();
    ASSERT_EQ(decoder->Queue(stream.get()), cudaSuccess);
    ASSERT_TRUE(stream.Synchronize().ok());
    ASSERT_EQ(decoder->Codes().value(), codes);
  }
}

// Every variant of `whole` in one launch, each a run of its own: refused where the CPU refuses, and
// decoded to the same codes where it does not.
void ExpectVerdictsOfTheCpu(const CodeSource& source, std::vector<std::vector<uint8_t>> variants,
                            size_t codes_bytes, const CudaStream& stream) {
  const auto decoder =
      GpuDecoder::Create(source, variants, codes_bytes, codes_bytes * variants.size());
  ASSERT_TRUE(decoder.ok()) << decoder.status();
  ASSERT_EQ(decoder->Queue(stream.get()), cudaSuccess);
  ASSERT_TRUE(stream.Synchronize().ok());
  const std::vector<uint8_t> codes = decoder->Codes().value();
  const std::vector<uint32_t> faults = decoder->Faults().value();
  ASSERT_EQ(faults.size(), variants.size());
  for (size_t i = 0; i < variants.size(); ++i) {
    std::vector<uint8_t> expected(codes_bytes);
    const bool is_coding = DecodeCodes(Entropy::kRans, source, variants[i], expected).ok();
    ASSERT_EQ(faults[i] == 0, is_coding) << "variant " << i;
    if (!is_coding) continue;
    ASSERT_TRUE(std::equal(expected.begin(), expected.end(), codes.begin() + i * codes_bytes))
        << "variant " << i;
  }
}

// One lane, eight and 32; stored; by channel; broken bytes. One segment each.
std::vector<NamedCodes> OneSegmentCodes() {
  const CodeSource int4 = {Scheme::kInt4, 64, 2};
  const CodeSource broken = {Scheme::kInt3, 5, 1};
  std::vector<NamedCodes> all;
  for (const size_t num_tokens : {2, 40, 260}) {
    all.push_back({int4, PeakedCodes(int4, 2 * num_tokens, 1), std::to_string(num_tokens)});
  }
  all.push_back({int4, ChannelCodes(int4, 30), "by channel"});
  all.push_back({int4, UniformCodes(int4, 4, 1), "uniform"});
  all.push_back({broken, PeakedCodes(broken, 90, 1), "broken bytes"});
  return all;
}

TEST(RansCudaTest, EveryTruncationGetsTheVerdictOfTheCpu) {
  SKIP_WITHOUT(DeviceType::kCuda);
  const CudaStream stream = CudaStream::Create().value();
  for (const NamedCodes& some : OneSegmentCodes()) {
    const std::vector<uint8_t> whole = EncodeCodes(Entropy::kRans, some.source, some.codes);
    std::vector<std::vector<uint8_t>> variants;
    for (const size_t n : PlacesToDamage(whole.size())) {
      variants.emplace_back(whole.begin(), whole.begin() + n);
    }
    ExpectVerdictsOfTheCpu(some.source, variants, some.codes.size(), stream);
  }
}

TEST(RansCudaTest, EveryChangedByteGetsTheVerdictOfTheCpu) {
  SKIP_WITHOUT(DeviceType::kCuda);
  const CudaStream stream = CudaStream::Create().value();
  for (const NamedCodes& some : OneSegmentCodes()) {
    const std::vector<uint8_t> whole = EncodeCodes(Entropy::kRans, some.source, some.codes);
    std::mt19937 random(9);
    std::vector<std::vector<uint8_t>> variants;
    for (const size_t i : PlacesToDamage(whole.size())) {
      for (const uint8_t value :
           {whole[i] ^ 1, whole[i] ^ 0x80, 0, 129, static_cast<int>(random())}) {
        variants.push_back(whole);
        variants.back()[i] = value;
      }
    }
    ExpectVerdictsOfTheCpu(some.source, variants, some.codes.size(), stream);
  }
}

}  // namespace
}  // namespace qc2c
