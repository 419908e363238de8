#include "common/wire/frame_codec.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/wire/test_frames.h"

namespace qc2c {
namespace {

using ::testing::HasSubstr;

const std::vector<std::string> kCodecs = {
    "fp32",
    "bf16",
    "fp16",
    "int8",
    "int4",
    "int8,axis=per_head",
    "int8,axis=per_layer,scale=fp32",
    "int4,axis=per_token,scale=bf16",
    "int4,axis=per_head,scale=fp32",
    "int4,axis=per_layer",
    "bf16,select=front,keep_tokens=7",
    "int8,select=front,keep_ratio=0.5",
    "int8,select=back,keep_ratio=0.1",
    "int4,select=back,keep_tokens=1000",
    "int8,select=key_norm,keep_ratio=0.25",
    "int8,axis=per_head,select=key_norm,keep_ratio=1",
    "int4,select=value_norm,keep_tokens=3",
    "fp16,select=value_norm,keep_ratio=0.9",
    "int8,select=value_norm,indices=per_layer,keep_ratio=0.25",
    "int4,axis=group,group=8,scale=two_level",
    "int8,axis=group,scale=two_level,select=attention,keep_ratio=0.5",
    "int4,select=key_norm,indices=per_layer,keep_tokens=2,keys=1-2:none,values=2:none",
    "fp8_e4m3",
    "int3,axis=per_channel",
    "int2,axis=group,group=8",
    "int2_lloyd,select=sinks,keep_ratio=0.2,keep_tokens_min=5",
    "binary,axis=per_channel,scale=fp32,select=random,seed=3,keep_tokens=11",
    "nf4,axis=group,group=16,scale=fp32,select=strided,keep_ratio=0.3",
    "int4,keys=1:int8+2:none+3:int2:per_channel,values=0-2:bf16+4:nf4:group8",
    "bf16,select=key_norm,keep_ratio=0.25,keys=4:binary:per_layer:fp32,values=1-3:none",
};

// What the generated code of the schema finds in a message, independent of our own reading.
WireBytes CountByProtobuf(const std::string& message) {
  v1::CacheChunk chunk;
  EXPECT_TRUE(chunk.ParseFromString(message));
  WireBytes bytes{.tx = message.size(), .messages = 1};
  for (const v1::LayerBlock& block : chunk.blocks()) {
    bytes.payload += block.codes().size();
    bytes.scales += block.scales().size();
  }
  bytes.indices = chunk.header().indices().size();
  bytes.header = bytes.tx - bytes.payload - bytes.scales - bytes.indices;
  return bytes;
}

class FrameRoundTripTest
    : public testing::TestWithParam<std::tuple<std::string, uint32_t, uint32_t>> {
 protected:
  const std::string codec_ = std::get<0>(GetParam());
  const uint32_t num_tokens_ = std::get<1>(GetParam());
  const uint32_t chunk_bytes_ = std::get<2>(GetParam());
};

TEST_P(FrameRoundTripTest, EveryBlockComesBackAndEveryByteIsCounted) {
  const KvFrame frame = RandomFrame(codec_, {.num_tokens = num_tokens_});
  const auto messages = WriteFrame(frame, chunk_bytes_);
  ASSERT_TRUE(messages.ok()) << messages.status();
  FrameReader reader(ExpectationOf(frame));
  WireBytes expected;
  for (const std::string& message : *messages) {
    const absl::Status status = reader.Add(message);
    ASSERT_TRUE(status.ok()) << status;
    const WireBytes bytes = CountByProtobuf(message);
    EXPECT_EQ(CountMessage(message).value(), bytes);
    expected += bytes;
  }
  const auto read = reader.Finish();
  ASSERT_TRUE(read.ok()) << read.status();
  ExpectSameFrame(*read, frame);
  EXPECT_EQ(reader.bytes(), expected);
  uint64_t codes = 0;
  uint64_t scales = 0;
  for (const KvBlock& block : frame.blocks) {
    codes += block.codes_bytes;
    scales += block.scales_bytes;
  }
  EXPECT_EQ(expected.payload, codes);
  EXPECT_EQ(expected.scales, scales);
  EXPECT_EQ(expected.tx, expected.payload + expected.scales + expected.indices + expected.header);
  EXPECT_EQ(expected.grpc(), expected.tx + 5 * messages->size());
}

TEST_P(FrameRoundTripTest, MessagesKeepToTheChunkSizeAndAreFull) {
  const KvFrame frame = RandomFrame(codec_, {.num_tokens = num_tokens_});
  const auto messages = WriteFrame(frame, chunk_bytes_).value();
  // Two heads of 32 values in fp32 is the largest token here, and has no scales.
  constexpr size_t kLargestToken = 2 * 32 * 4;
  for (size_t i = 0; i < messages.size(); ++i) {
    const WireBytes bytes = CountByProtobuf(messages[i]);
    EXPECT_LE(bytes.payload + bytes.scales, chunk_bytes_);
    EXPECT_LE(messages[i].size(), chunk_bytes_ + kMessageSlackBytes);
    if (i + 1 < messages.size()) {
      EXPECT_GT(bytes.payload + bytes.scales, chunk_bytes_ - kLargestToken);
    }
  }
}

TEST_P(FrameRoundTripTest, TheSameFrameGivesTheSameBytes) {
  const auto first = WriteFrame(RandomFrame(codec_, {.num_tokens = num_tokens_}), chunk_bytes_);
  const auto second = WriteFrame(RandomFrame(codec_, {.num_tokens = num_tokens_}), chunk_bytes_);
  EXPECT_EQ(first.value(), second.value());
}

INSTANTIATE_TEST_SUITE_P(AllCodecs, FrameRoundTripTest,
                         testing::Combine(testing::ValuesIn(kCodecs), testing::Values(1, 31, 260),
                                          testing::Values(kMinChunkBytes, 1500, 16 << 10,
                                                          kDefaultChunkBytes)));

// Codes that are mostly 0, so that coding pays.
KvFrame SparseFrame(const std::string& codec) {
  KvFrame frame = RandomFrame(codec, {.num_tokens = 260});
  for (const KvBlock& block : frame.blocks) {
    for (size_t i = 0; i < block.codes_bytes; ++i) {
      uint8_t& code = frame.data[block.codes_offset + i];
      if (i % 7 != 0) code = 0;
    }
  }
  return frame;
}

TEST(WriteFrameTest, CodedCodesComeBackAndAreCountedAsTheyAreSent) {
  for (const std::string entropy : {",entropy=rans", ",entropy=zstd"}) {
    for (const std::string codec : {"int8", "int4,axis=group", "int2_absmax,axis=per_head"}) {
      const KvFrame frame = SparseFrame(codec + entropy);
      for (const uint32_t chunk_bytes : {kMinChunkBytes, kDefaultChunkBytes}) {
        const auto messages = WriteFrame(frame, chunk_bytes).value();
        EXPECT_EQ(WriteFrame(frame, chunk_bytes).value(), messages);
        FrameReader reader(ExpectationOf(frame));
        WireBytes expected;
        for (const std::string& message : messages) {
          const absl::Status status = reader.Add(message);
          ASSERT_TRUE(status.ok()) << status;
          expected += CountByProtobuf(message);
        }
        const auto read = reader.Finish();
        ASSERT_TRUE(read.ok()) << read.status();
        ExpectSameFrame(*read, frame);
        EXPECT_EQ(reader.bytes(), expected);
        const size_t plain = frame.blocks.size() * frame.blocks[0].codes_bytes;
        EXPECT_LT(expected.payload, plain * 3 / 4) << codec << entropy << chunk_bytes;
      }
    }
  }
}

TEST(WriteFrameTest, ACacheSmallerThanTheChunkSizeIsOneMessage) {
  EXPECT_EQ(WriteFrame(RandomFrame("fp32"), kDefaultChunkBytes)->size(), 1);
}

TEST(WriteFrameTest, ProtobufWritesTheSameBytesAfterParsingThem) {
  const KvFrame frame = RandomFrame("int8,select=value_norm,keep_ratio=0.5");
  const auto messages = WriteFrame(frame, kMinChunkBytes).value();
  for (const std::string& message : messages) {
    v1::CacheChunk chunk;
    ASSERT_TRUE(chunk.ParseFromString(message));
    EXPECT_EQ(chunk.SerializeAsString(), message);
  }
}

// The bounds are those of FORMAT.md section 11.
TEST(WriteFrameTest, FramingOfASmallFrameIsAFewBytesABlock) {
  for (const std::string& codec : kCodecs) {
    const auto messages = WriteFrame(RandomFrame(codec), kDefaultChunkBytes).value();
    ASSERT_EQ(messages.size(), 1);
    EXPECT_LE(CountMessage(messages[0])->header, 128 + 8 * 16) << codec;
  }
}

TEST(WriteFrameTest, ATokenLargerThanTheChunkSizeTravelsAlone) {
  const KvFrame frame =
      RandomFrame("fp32", {.layout = {.num_layers = 1, .num_kv_heads = 8, .head_dim = 128},
                           .num_tokens = 3,
                           .layers = KvLayerSet::Both({0})});
  const auto messages = WriteFrame(frame, kMinChunkBytes).value();
  EXPECT_EQ(messages.size(), 6);
  ExpectSameFrame(ReadFrame(ExpectationOf(frame), messages).value(), frame);
}

TEST(WriteFrameTest, ATokenLargerThanAMessageIsRefused) {
  const KvFrame frame =
      RandomFrame("int8,axis=per_channel,scale=fp32,zero_point=midpoint",
                  {.layout = {.num_layers = 1, .num_kv_heads = 1024, .head_dim = 1024},
                   .num_tokens = 1,
                   .layers = KvLayerSet::Both({0})});
  const auto messages = WriteFrame(frame, kMaxChunkBytes);
  EXPECT_EQ(messages.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(messages.status().message()), HasSubstr("one token of a tensor"));
}

TEST(WriteFrameTest, AChunkSizeOutOfRangeIsRefusedByName) {
  const KvFrame frame = RandomFrame("int8");
  for (const uint32_t chunk_bytes : {0u, kMinChunkBytes - 1, kMaxChunkBytes + 1, ~0u}) {
    const auto messages = WriteFrame(frame, chunk_bytes);
    EXPECT_EQ(messages.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(messages.status().message()), HasSubstr("chunk_bytes"));
  }
  EXPECT_TRUE(WriteFrame(frame, kMinChunkBytes).ok());
  EXPECT_TRUE(WriteFrame(frame, kMaxChunkBytes).ok());
}

TEST(WriteFrameTest, AFrameThatContradictsItselfIsRefused) {
  const auto refused = [](auto&& change) {
    KvFrame frame = RandomFrame("int8,select=back,keep_tokens=4");
    change(frame);
    return WriteFrame(frame, kDefaultChunkBytes).status().code() ==
           absl::StatusCode::kInvalidArgument;
  };
  EXPECT_TRUE(refused([](KvFrame& frame) { frame.positions.pop_back(); }));
  EXPECT_TRUE(refused([](KvFrame& frame) { frame.positions[0] = 2; }));
  EXPECT_TRUE(refused([](KvFrame& frame) { frame.num_tokens = 0; }));
  EXPECT_TRUE(refused([](KvFrame& frame) { frame.layers.values.pop_back(); }));
  EXPECT_TRUE(refused([](KvFrame& frame) { std::swap(frame.blocks[0], frame.blocks[1]); }));
  EXPECT_TRUE(refused([](KvFrame& frame) { frame.blocks[3].codes_bytes -= 1; }));
  EXPECT_TRUE(refused([](KvFrame& frame) { frame.blocks[7].codes_offset = ~size_t{0}; }));
  EXPECT_TRUE(refused([](KvFrame& frame) { frame.data.resize(100); }));
  EXPECT_FALSE(refused([](KvFrame&) {}));
}

TEST(CountMessageTest, WhatDoesNotParseIsRefused) {
  const std::string message = WriteFrame(RandomFrame("int8"), kDefaultChunkBytes)->at(0);
  for (const std::string& bad : {message.substr(1), message + "x", message + message}) {
    EXPECT_EQ(CountMessage(bad).status().code(), absl::StatusCode::kInvalidArgument);
  }
}

}  // namespace
}  // namespace qc2c
