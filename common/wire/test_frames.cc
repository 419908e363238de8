#include "common/wire/test_frames.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <iterator>
#include <numeric>
#include <random>

#include "common/base/status_macros.h"
#include "common/codec/selection.h"

namespace qc2c {
namespace {

std::vector<uint32_t> PositionsOfSet(const CodecSpec& codec, uint32_t num_tokens,
                                     std::mt19937& random) {
  std::vector<uint32_t> all(num_tokens);
  std::iota(all.begin(), all.end(), 0);
  const uint32_t num_kept = codec.NumKept(num_tokens);
  if (!NeedsScores(codec.selection)) return FixedPositions(codec, num_tokens, num_kept);
  std::shuffle(all.begin(), all.end(), random);
  all.resize(num_kept);
  std::sort(all.begin(), all.end());
  return all;
}

}  // namespace

KvFrame RandomFrame(const std::string& codec, const FrameShape& shape) {
  std::mt19937 random(shape.seed);
  KvFrame frame;
  frame.model_fingerprint = 0x0123456789abcdef;
  frame.layout = shape.layout;
  frame.codec = CodecSpec::Parse(codec).value();
  frame.num_tokens = shape.num_tokens;
  frame.layers = frame.codec.schedule.SentOf(shape.layers).value();
  for (size_t set = 0; set < frame.num_index_sets(); ++set) {
    std::ranges::copy(PositionsOfSet(frame.codec, shape.num_tokens, random),
                      std::back_inserter(frame.positions));
  }
  EXPECT_TRUE(LayOutBlocks(frame).ok());
  for (const KvBlock& block : frame.blocks) {
    uint8_t* const codes = frame.data.data() + block.codes_offset;
    std::generate_n(codes, block.codes_bytes, [&] { return static_cast<uint8_t>(random()); });
    // 0x3c in every byte is a normal positive number in fp16, bf16 and fp32.
    uint8_t* const scales = frame.data.data() + block.scales_offset;
    std::generate_n(scales, block.scales_bytes,
                    [&] { return static_cast<uint8_t>(0x3c - random() % 8); });
    uint8_t* const zero_points = frame.data.data() + block.zero_points_offset;
    std::generate_n(zero_points, block.zero_points_bytes,
                    [&] { return static_cast<uint8_t>(0x3c - random() % 8); });
  }
  return frame;
}

FrameExpectation ExpectationOf(const KvFrame& frame) {
  return {frame.model_fingerprint, frame.layout, frame.codec, frame.num_tokens, frame.layers};
}

absl::StatusOr<KvFrame> ReadFrame(const FrameExpectation& expectation,
                                  const std::vector<std::string>& messages) {
  FrameReader reader(expectation);
  for (const std::string& message : messages) RETURN_IF_ERROR(reader.Add(message));
  return reader.Finish();
}

void ExpectSameFrame(const KvFrame& actual, const KvFrame& expected) {
  EXPECT_EQ(actual.model_fingerprint, expected.model_fingerprint);
  EXPECT_EQ(actual.layout, expected.layout);
  EXPECT_EQ(actual.codec, expected.codec);
  EXPECT_EQ(actual.num_tokens, expected.num_tokens);
  EXPECT_EQ(actual.positions, expected.positions);
  EXPECT_EQ(actual.layers, expected.layers);
  ASSERT_EQ(actual.blocks.size(), expected.blocks.size());
  for (size_t i = 0; i < actual.blocks.size(); ++i) {
    EXPECT_EQ(actual.blocks[i].layer, expected.blocks[i].layer);
    EXPECT_EQ(actual.blocks[i].half, expected.blocks[i].half);
    EXPECT_TRUE(
        std::ranges::equal(actual.Codes(actual.blocks[i]), expected.Codes(expected.blocks[i])));
    EXPECT_TRUE(
        std::ranges::equal(actual.Scales(actual.blocks[i]), expected.Scales(expected.blocks[i])));
    EXPECT_TRUE(std::ranges::equal(actual.ZeroPoints(actual.blocks[i]),
                                   expected.ZeroPoints(expected.blocks[i])));
  }
}

}  // namespace qc2c
