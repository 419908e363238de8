#include "common/wire/klt_frame.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <string>

#include "common/codec/test_codebook.h"
#include "common/wire/test_frames.h"

namespace qc2c {
namespace {

using testing::HasSubstr;

class KltFrameTest : public testing::Test {
 protected:
  KltEncoder Encoder() const {
    return KltEncoder::Create(book_, prompt_.prompt(), prompt_.view()).value();
  }
  absl::StatusOr<KltMessage> Message(uint32_t level) const {
    KltEncoder encoder = Encoder();
    return WriteLevel(encoder, level);
  }
  FrameExpectation Expectation(const KltChoice& choice) const {
    return {.model_fingerprint = kTestSharer,
            .layout = kTestLayout,
            .codec = CodecSpec::Klt(choice),
            .num_tokens = static_cast<uint32_t>(prompt_.view().num_tokens),
            .layers = book_.layers,
            .codebook = &book_};
  }
  FrameExpectation AtLevel(uint32_t level) const {
    return Expectation({.codebook = book_.id, .level = level});
  }

  const KltCodebook book_ = TestCodebook();
  const TestPrompt prompt_{4, 30.0f};  // with escapes
};

TEST_F(KltFrameTest, AFrameOfEveryLevelIsReadAsItWasWritten) {
  for (uint32_t level = 0; level < book_.levels.size(); ++level) {
    SCOPED_TRACE(level);
    const KvFrame frame = Encoder().Encode(level).value();
    const auto messages = WriteFrame(frame, kDefaultChunkBytes);
    ASSERT_TRUE(messages.ok()) << messages.status();
    ASSERT_EQ(messages->size(), 1);
    const auto read = ReadFrame(AtLevel(level), *messages);
    ASSERT_TRUE(read.ok()) << read.status();
    EXPECT_EQ(read->codec, frame.codec);
    EXPECT_EQ(read->positions, frame.positions);
    EXPECT_EQ(read->data, frame.data);
    EXPECT_EQ(read->num_escape_bytes, frame.num_escape_bytes);
    EXPECT_EQ(read->codebook, &book_);
  }
}

TEST_F(KltFrameTest, HeaderAndTrailerTogetherTakeAtMost48Bytes) {
  for (uint32_t level = 0; level < book_.levels.size(); ++level) {
    const KltMessage written = Message(level).value();
    const WireBytes bytes = CountMessage(written.message).value();
    EXPECT_EQ(bytes.tx, written.message.size());
    EXPECT_EQ(bytes.payload, Encoder().Encode(level)->data.size());
    EXPECT_LE(bytes.header, 48) << level;
    EXPECT_EQ(bytes.scales + bytes.indices, 0);
  }
}

TEST_F(KltFrameTest, ABudgetIsKeptByTheBestLevelThatFits) {
  KltEncoder encoder = Encoder();
  const auto size = [&](uint32_t level) { return WriteLevel(encoder, level)->message.size(); };
  for (uint32_t level = 1; level < book_.levels.size(); ++level) {
    ASSERT_LT(size(level - 1), size(level));
    for (const size_t budget : {size(level), size(level) - 1}) {
      const auto written = WriteWithinBudget(encoder, static_cast<uint32_t>(budget));
      ASSERT_TRUE(written.ok()) << written.status();
      EXPECT_EQ(written->message.size(), budget == size(level) ? size(level) : size(level - 1));
      const auto frame = ReadFrame(
          Expectation({.codebook = book_.id, .budget_bytes = static_cast<uint32_t>(budget)}),
          {written->message});
      ASSERT_TRUE(frame.ok()) << frame.status();
      EXPECT_EQ(frame->codec.klt->level, budget == size(level) ? level : level - 1);
    }
  }
  const auto none = WriteWithinBudget(encoder, static_cast<uint32_t>(size(0)) - 1);
  EXPECT_THAT(std::string(none.status().message()), HasSubstr("budget_bytes is"));
  const auto above = ReadFrame(Expectation({.codebook = book_.id, .budget_bytes = 10}),
                               {WriteLevel(encoder, 0)->message});
  EXPECT_THAT(std::string(above.status().message()), HasSubstr("at most budget_bytes 10"));
}

TEST_F(KltFrameTest, EveryChangedOrMissingByteIsRefused) {
  const std::string message = Message(2)->message;
  for (size_t n = 0; n < message.size(); ++n) {
    EXPECT_FALSE(ReadFrame(AtLevel(2), {message.substr(0, n)}).ok()) << "truncated to " << n;
    for (int bit = 0; bit < 8; ++bit) {
      std::string changed = message;
      changed[n] = static_cast<char>(changed[n] ^ (1 << bit));
      EXPECT_FALSE(ReadFrame(AtLevel(2), {changed}).ok()) << "byte " << n << " bit " << bit;
    }
  }
  EXPECT_FALSE(ReadFrame(AtLevel(2), {message + '\0'}).ok());
  EXPECT_FALSE(ReadFrame(AtLevel(2), {message, message}).ok());
  EXPECT_FALSE(ReadFrame(AtLevel(2), {}).ok());
}

TEST_F(KltFrameTest, WhatWasNotAskedForIsRefusedByName) {
  const std::string message = Message(2)->message;
  const auto refusal = [&](const FrameExpectation& expected) {
    return std::string(ReadFrame(expected, {message}).status().message());
  };
  EXPECT_EQ(refusal(AtLevel(2)), "");
  EXPECT_THAT(refusal(AtLevel(3)), HasSubstr("header.codec is"));
  FrameExpectation expected = AtLevel(2);
  expected.num_tokens = 10;
  EXPECT_THAT(refusal(expected), HasSubstr("header.num_tokens is 9: expected 10"));
  expected.num_tokens = 4;
  EXPECT_THAT(refusal(expected), HasSubstr("num_tokens is 4: expected 5"));
  expected = AtLevel(2);
  expected.codebook = nullptr;
  EXPECT_THAT(refusal(expected), HasSubstr("codebook is none"));
  expected = AtLevel(2);
  expected.model_fingerprint = 1;
  EXPECT_THAT(refusal(expected), HasSubstr("is of another model"));
}

TEST_F(KltFrameTest, FieldsThatOtherSchemesHaveAreRefused) {
  v1::CacheChunk chunk;
  ASSERT_TRUE(chunk.ParseFromString(Message(2)->message));
  const auto refusal = [&](const std::function<void(v1::CacheChunk&)>& change) {
    v1::CacheChunk changed = chunk;
    change(changed);
    return std::string(ReadFrame(AtLevel(2), {changed.SerializeAsString()}).status().message());
  };
  EXPECT_EQ(refusal([](auto&) {}), "");
  EXPECT_THAT(refusal([](auto& c) { c.mutable_header()->set_model_fingerprint(kTestSharer); }),
              HasSubstr("header: has a field"));
  EXPECT_THAT(refusal([](auto& c) { c.mutable_header()->add_key_layers(1); }),
              HasSubstr("header: has a field"));
  EXPECT_THAT(
      refusal([](auto& c) { c.mutable_header()->mutable_codec()->set_axis(v1::AXIS_GROUP); }),
      HasSubstr("scheme is klt"));
  EXPECT_THAT(
      refusal([](auto& c) {
        c.mutable_header()->mutable_codec()->set_klt_fallback(v1::SCHEME_INT4);
        c.mutable_trailer()->set_checksum(KltChecksum(c.header(), AsBytes(c.blocks(0).codes())));
      }),
      HasSubstr("header.codec is"));
  EXPECT_THAT(refusal([](auto& c) { c.mutable_header()->set_format_version(7); }),
              HasSubstr("format_version is 7"));
  EXPECT_THAT(refusal([](auto& c) { c.mutable_blocks(0)->set_num_tokens(9); }),
              HasSubstr("codes alone"));
  EXPECT_THAT(refusal([](auto& c) { c.mutable_trailer()->set_num_blocks(1); }),
              HasSubstr("the checksum alone"));
  EXPECT_THAT(refusal([](auto& c) { c.add_blocks()->set_codes("x"); }),
              HasSubstr("blocks is several"));
}

}  // namespace
}  // namespace qc2c
