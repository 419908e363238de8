// Frames that stay coded: what a GPU sends and takes is what the CPU writes and reads.
#include "common/codec/coded_frame.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "common/codec/frame_layout.h"
#include "common/codec/test_cache.h"
#include "common/wire/frame_codec.h"
#include "common/wire/test_frames.h"

namespace qc2c {
namespace {

using ::testing::HasSubstr;
using ::testing::TestWithParam;

constexpr uint64_t kFingerprint = 0x0123456789abcdef;

const char* const kCodecs[] = {
    "int8,entropy=rans",
    "int4,entropy=rans",
    "int3,axis=per_channel,entropy=rans",
    "int2,axis=group,group=8,entropy=rans",
    "int2_lloyd,axis=group_tokens,entropy=rans",
    "int2_absmax,axis=per_head,entropy=rans",
    "binary,entropy=rans",
    "nf4,scale=fp32,entropy=rans",
    "int4,select=key_norm,keep_ratio=0.5,entropy=rans",
    "int4,zero_point=midpoint,entropy=rans",
    "int4,select=value_norm,indices=per_layer,keep_ratio=0.5,entropy=rans",
    "int4,entropy=rans,keys=0:int8+1:none,values=1:int2",
};

// Keys with means of their own by channel, values about 0; of some layers nearly uniform.
TestCache CacheOf(int32_t head_dim, int64_t num_tokens, DeviceType device) {
  TestCache cache({.num_layers = 2, .num_kv_heads = 2, .head_dim = head_dim}, num_tokens,
                  DType::kBf16, device);
  std::mt19937 random(7);
  std::normal_distribution<float> normal;
  cache.Fill([&](int layer, Half half, int64_t, int h, int d) {
    const float mean = half == Half::kKey ? static_cast<float>((7 * d + h) % 13) - 6 : 0;
    return mean + (layer == 0 ? normal(random) : static_cast<float>(random() % 1024) / 100);
  });
  return cache;
}

std::vector<std::string> MessagesOf(TestCache& cache, const std::string& codec,
                                    uint32_t chunk_bytes, bool tells_chunks) {
  const CodecContext context = {.chunk_bytes = tells_chunks ? chunk_bytes : 0};
  absl::StatusOr<KvFrame> frame =
      EncodeCache(cache.View(), cache.AllLayers(), Spec(codec), context);
  EXPECT_TRUE(frame.ok()) << frame.status();
  if (!frame.ok()) return {};
  frame->model_fingerprint = kFingerprint;
  const auto messages = WriteFrame(*frame, chunk_bytes);
  EXPECT_TRUE(messages.ok()) << messages.status();
  return messages.value_or(std::vector<std::string>());
}

FrameExpectation ExpectationFor(TestCache& cache, const std::string& codec, bool keep_coded) {
  return {.model_fingerprint = kFingerprint,
          .layout = cache.View().layout,
          .codec = Spec(codec),
          .num_tokens = static_cast<uint32_t>(cache.View().num_tokens),
          .layers = cache.AllLayers(),
          .keep_coded = keep_coded};
}

std::vector<float> Decoded(const KvFrame& frame, DeviceType device) {
  TestCache out(frame.layout, frame.num_kept(), DType::kBf16, device);
  out.Fill([](int, Half, int64_t, int, int) { return 0.0f; });
  const absl::Status status = DecodeCache(frame, out.View());
  EXPECT_TRUE(status.ok()) << status;
  return out.Values();
}

struct Shape {
  int32_t head_dim;
  int64_t num_tokens;
};
constexpr Shape kShapes[] = {{64, 1},    {64, 5},   {64, 141}, {64, 2000},
                             {128, 141}, {80, 141}, {12, 5},   {12, 2000}};

class CodedFrameTest : public TestWithParam<DeviceType> {
 protected:
  void SetUp() override { SKIP_WITHOUT(GetParam()); }

  // On the CPU both sides are the same code, and the long caches only take time.
  static std::vector<Shape> Shapes() {
    std::vector<Shape> shapes(std::begin(kShapes), std::end(kShapes));
    if (GetParam() == DeviceType::kCpu) {
      std::erase_if(shapes, [](const Shape& shape) { return shape.num_tokens > 1000; });
    }
    return shapes;
  }
};

TEST_P(CodedFrameTest, ACacheGivesTheMessagesOfTheCpu) {
  for (const Shape& shape : Shapes()) {
    TestCache on_cpu = CacheOf(shape.head_dim, shape.num_tokens, DeviceType::kCpu);
    TestCache cache = CacheOf(shape.head_dim, shape.num_tokens, GetParam());
    for (const std::string codec : kCodecs) {
      for (const uint32_t chunk_bytes : {kMinChunkBytes, kDefaultChunkBytes}) {
        ASSERT_EQ(MessagesOf(cache, codec, chunk_bytes, true),
                  MessagesOf(on_cpu, codec, chunk_bytes, false))
            << codec << " " << shape.num_tokens << " x " << shape.head_dim;
      }
    }
  }
}

TEST_P(CodedFrameTest, AFrameThatStaysCodedIsDecodedToTheSameCache) {
  for (const Shape& shape : Shapes()) {
    TestCache cache = CacheOf(shape.head_dim, shape.num_tokens, DeviceType::kCpu);
    for (const std::string codec : kCodecs) {
      for (const uint32_t chunk_bytes : {kMinChunkBytes, kDefaultChunkBytes}) {
        const auto messages = MessagesOf(cache, codec, chunk_bytes, false);
        const auto plain = ReadFrame(ExpectationFor(cache, codec, false), messages);
        const auto coded = ReadFrame(ExpectationFor(cache, codec, true), messages);
        ASSERT_TRUE(plain.ok() && coded.ok()) << plain.status() << coded.status();
        ASSERT_FALSE(plain->is_coded());
        ASSERT_TRUE(coded->is_coded());
        ASSERT_EQ(Decoded(*coded, GetParam()), Decoded(*plain, DeviceType::kCpu))
            << codec << " " << shape.num_tokens << " x " << shape.head_dim;
      }
    }
  }
}

// Of every coded byte that is changed, and of pieces that lack their end: refused in the CPU's
// words, or decoded to what the CPU decodes.
TEST_P(CodedFrameTest, BadCodesGetTheVerdictOfTheCpu) {
  for (const std::string codec : {"int4,entropy=rans", "int8,entropy=rans"}) {
    TestCache cache = CacheOf(12, 30, DeviceType::kCpu);
    const auto messages = MessagesOf(cache, codec, kMinChunkBytes, false);
    KvFrame frame = ReadFrame(ExpectationFor(cache, codec, true), messages).value();
    TestCache on_cpu(frame.layout, frame.num_kept(), DType::kBf16, DeviceType::kCpu);
    TestCache out(frame.layout, frame.num_kept(), DType::kBf16, GetParam());
    const auto expect_same = [&](const KvFrame& bad) {
      KvFrame plain = bad;
      const absl::Status expected = DecodeFrameCodes(plain);
      ASSERT_EQ(DecodeCache(bad, out.View()), expected);
      if (!expected.ok()) {
        ASSERT_EQ(expected.code(), absl::StatusCode::kDataLoss);
        return;
      }
      ASSERT_TRUE(DecodeCache(plain, on_cpu.View()).ok());
      ASSERT_EQ(out.Values(), on_cpu.Values());
    };
    for (size_t i = 0; i < frame.coded.size(); i += 7) {
      const uint8_t kept = std::exchange(frame.coded[i], frame.coded[i] ^ 0x11);
      ASSERT_NO_FATAL_FAILURE(expect_same(frame)) << codec << " byte " << i;
      frame.coded[i] = kept;
    }
    for (CodedPiece& piece : frame.coded_pieces) {
      const size_t kept = std::exchange(piece.bytes, piece.bytes / 2);
      ASSERT_NO_FATAL_FAILURE(expect_same(frame)) << codec << " token " << piece.first_token;
      piece.bytes = kept;
    }
  }
}

// Several segments a piece: their lengths are untrusted too.
TEST_P(CodedFrameTest, AWrongLengthOfASegmentIsRefusedInTheCpusWords) {
  const std::string codec = "int2,entropy=rans";
  TestCache cache = CacheOf(64, 1100, DeviceType::kCpu);
  const auto messages = MessagesOf(cache, codec, kDefaultChunkBytes, false);
  KvFrame frame = ReadFrame(ExpectationFor(cache, codec, true), messages).value();
  for (const uint8_t changed : {0x01, 0xff}) {
    for (size_t i = 0; i < 4; ++i) {
      KvFrame bad = frame;
      bad.coded[bad.coded_pieces[1].offset + i] ^= changed;
      TestCache out(bad.layout, bad.num_kept(), DType::kBf16, GetParam());
      KvFrame plain = bad;
      const absl::Status expected = DecodeFrameCodes(plain);
      EXPECT_EQ(expected.code(), absl::StatusCode::kDataLoss);
      EXPECT_EQ(DecodeCache(bad, out.View()), expected);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Devices, CodedFrameTest,
                         testing::Values(DeviceType::kCpu, DeviceType::kCuda),
                         [](const auto& info) { return DeviceText(info.param); });

TEST(KeptCodedTest, DecodingTheCodesGivesTheFrameThatIsReadPlain) {
  TestCache cache = CacheOf(64, 141, DeviceType::kCpu);
  for (const std::string codec : kCodecs) {
    const auto messages = MessagesOf(cache, codec, kMinChunkBytes, false);
    const KvFrame plain = ReadFrame(ExpectationFor(cache, codec, false), messages).value();
    KvFrame frame = ReadFrame(ExpectationFor(cache, codec, true), messages).value();
    EXPECT_LT(frame.data.size(), plain.data.size());
    EXPECT_TRUE(CheckFrame(frame).ok());
    ASSERT_TRUE(DecodeFrameCodes(frame).ok());
    EXPECT_FALSE(frame.is_coded());
    EXPECT_TRUE(CheckFrame(frame).ok());
    ExpectSameFrame(frame, plain);
  }
}

TEST(KeptCodedTest, ACodedFrameIsWrittenAsItsCodesAre) {
  const std::string codec = "int4,entropy=rans";
  TestCache cache = CacheOf(64, 141, DeviceType::kCpu);
  const auto messages = MessagesOf(cache, codec, kMinChunkBytes, false);
  KvFrame frame = ReadFrame(ExpectationFor(cache, codec, true), messages).value();
  EXPECT_EQ(WriteFrame(frame, kMinChunkBytes).value(), messages);
  EXPECT_EQ(WriteFrame(frame, kDefaultChunkBytes).value(),
            MessagesOf(cache, codec, kDefaultChunkBytes, false));
  frame.coded[0] = 200;                                 // no table has this number
  EXPECT_TRUE(WriteFrame(frame, kMinChunkBytes).ok());  // as it is: not looked into
  EXPECT_EQ(WriteFrame(frame, kDefaultChunkBytes).status().code(), absl::StatusCode::kDataLoss);
}

TEST(KeptCodedTest, PiecesThatDoNotCoverTheFrameAreRefusedByName) {
  const std::string codec = "int4,entropy=rans";
  TestCache cache = CacheOf(64, 141, DeviceType::kCpu);
  const auto messages = MessagesOf(cache, codec, kMinChunkBytes, false);
  const KvFrame frame = ReadFrame(ExpectationFor(cache, codec, true), messages).value();
  const auto message_after = [&](auto change) {
    KvFrame bad = frame;
    change(bad);
    const absl::Status status = CheckFrame(bad);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    return std::string(status.message());
  };
  EXPECT_THAT(message_after([](KvFrame& f) { f.coded_pieces.pop_back(); }),
              HasSubstr("frame.coded_pieces ends in block 3: expected all 4"));
  EXPECT_THAT(message_after([](KvFrame& f) { f.coded_pieces[1].first_token += 1; }),
              HasSubstr("expected block 0 from token"));
  EXPECT_THAT(message_after([](KvFrame& f) { f.coded_pieces[0].num_tokens = 0; }),
              HasSubstr("expected block 0 from token 0"));
  EXPECT_THAT(message_after([](KvFrame& f) { f.coded_pieces[0].block = 7; }),
              HasSubstr("of block 7"));
  EXPECT_THAT(message_after([](KvFrame& f) { f.coded_pieces.back().bytes += 1; }),
              HasSubstr("frame.coded_pieces has"));
  EXPECT_THAT(message_after([](KvFrame& f) { f.coded_pieces[0].bytes = f.coded.size(); }),
              HasSubstr("expected at most"));
  EXPECT_THAT(message_after([](KvFrame& f) { f.codec.entropy = Entropy::kZstd; }),
              HasSubstr("expected none without entropy=rans"));
}

}  // namespace
}  // namespace qc2c
