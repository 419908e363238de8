#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>

#include "common/wire/frame_checksum.h"
#include "common/wire/frame_codec.h"
#include "common/wire/test_frames.h"

namespace qc2c {
namespace {

using ::absl::StatusCode;
using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr auto kDataLoss = StatusCode::kDataLoss;
constexpr auto kFailedPrecondition = StatusCode::kFailedPrecondition;
constexpr auto kInvalidArgument = StatusCode::kInvalidArgument;

const FrameShape kTiny = {.layout = {.num_layers = 3, .num_kv_heads = 1, .head_dim = 4},
                          .num_tokens = 9,
                          .layers = KvLayerSet::Both({0, 2})};
const std::vector<std::string> kTinyCodecs = {
    "int4,select=key_norm,keep_tokens=3", "int8,axis=per_head,select=back,keep_ratio=0.5",
    "bf16,select=value_norm,keep_tokens=1", "int4,keys=0:int8+2:none,values=2:bf16"};

std::vector<std::string> Write(const KvFrame& frame, uint32_t chunk_bytes = kDefaultChunkBytes) {
  return WriteFrame(frame, chunk_bytes).value();
}

// A frame of several messages.
KvFrame LongFrame() { return RandomFrame("int8,select=value_norm,keep_ratio=0.5"); }

absl::Status Read(const KvFrame& frame, const std::vector<std::string>& messages) {
  return ReadFrame(ExpectationOf(frame), messages).status();
}

TEST(FrameReaderTest, EveryTruncationIsRefused) {
  for (const std::string& codec : kTinyCodecs) {
    const KvFrame frame = RandomFrame(codec, kTiny);
    const std::string whole = Write(frame).at(0);
    for (size_t size = 0; size < whole.size(); ++size) {
      EXPECT_FALSE(Read(frame, {whole.substr(0, size)}).ok()) << codec << " at " << size;
    }
    EXPECT_FALSE(Read(frame, {whole + '\0'}).ok());
    EXPECT_TRUE(Read(frame, {whole}).ok());
  }
}

// The first message of a stream of version 1, whose header named its layers in field 9.
TEST(FrameReaderTest, AFrameOfVersion1IsRefusedByItsVersion) {
  const std::string version1(
      "\x12\x18\x08\x01\x1a\x06\x08\x03\x10\x01\x18\x04\x22\x04\x08\x02\x20\x01\x28\x09\x30\x09\x4a"
      "\x02"
      "\x00\x02",
      26);
  const absl::Status status =
      ReadFrame(ExpectationOf(RandomFrame("bf16", kTiny)), {version1}).status();
  EXPECT_EQ(status.code(), kFailedPrecondition);
  EXPECT_THAT(std::string(status.message()), HasSubstr("format_version is 1: expected 2"));
}

TEST(FrameReaderTest, EveryValueOfEveryByteOfASmallFrameButTheRightOneIsRefused) {
  for (const std::string& codec : kTinyCodecs) {
    const KvFrame frame = RandomFrame(codec, kTiny);
    const std::string whole = Write(frame).at(0);
    for (size_t i = 0; i < whole.size(); ++i) {
      for (int flip = 1; flip < 256; ++flip) {
        std::string corrupt = whole;
        corrupt[i] = static_cast<char>(corrupt[i] ^ flip);
        EXPECT_FALSE(Read(frame, {corrupt}).ok()) << codec << " byte " << i << " xor " << flip;
      }
    }
  }
}

TEST(FrameReaderTest, EveryBitOfEveryByteOfSeveralMessagesCounts) {
  const KvFrame frame = RandomFrame("int8,select=value_norm,keep_ratio=0.1");
  const std::vector<std::string> messages = Write(frame, kMinChunkBytes);
  ASSERT_GE(messages.size(), 2);
  for (size_t m = 0; m < messages.size(); ++m) {
    for (size_t i = 0; i < messages[m].size(); ++i) {
      std::vector<std::string> corrupt = messages;
      corrupt[m][i] = static_cast<char>(corrupt[m][i] ^ 1 << i % 8);
      EXPECT_FALSE(Read(frame, corrupt).ok()) << "message " << m << " byte " << i;
    }
  }
}

TEST(FrameReaderTest, ADroppedRepeatedOrMovedMessageIsDataLoss) {
  const KvFrame frame = LongFrame();
  const std::vector<std::string> messages = Write(frame, kMinChunkBytes);
  ASSERT_GE(messages.size(), 4);
  for (size_t i = 0; i < messages.size(); ++i) {
    auto dropped = messages;
    dropped.erase(dropped.begin() + i);
    EXPECT_EQ(Read(frame, dropped).code(), kDataLoss) << "dropped " << i;
    auto repeated = messages;
    repeated.insert(repeated.begin() + i, messages[i]);
    EXPECT_EQ(Read(frame, repeated).code(), kDataLoss) << "repeated " << i;
    auto moved = messages;
    std::swap(moved[i], moved[(i + 1) % messages.size()]);
    EXPECT_EQ(Read(frame, moved).code(), kDataLoss) << "moved " << i;
  }
  EXPECT_EQ(Read(frame, {}).code(), kDataLoss);
}

TEST(FrameReaderTest, AfterAnErrorTheReaderStaysInError) {
  const KvFrame frame = LongFrame();
  const std::vector<std::string> messages = Write(frame, kMinChunkBytes);
  FrameReader reader(ExpectationOf(frame));
  const absl::Status error = reader.Add(messages[1]);
  EXPECT_EQ(error.code(), kDataLoss);
  for (const std::string& message : messages) EXPECT_EQ(reader.Add(message), error);
  EXPECT_EQ(reader.Finish().status(), error);
}

TEST(FrameReaderTest, TheFrameCanBeTakenOnce) {
  const KvFrame frame = LongFrame();
  FrameReader reader(ExpectationOf(frame));
  for (const std::string& message : Write(frame)) ASSERT_TRUE(reader.Add(message).ok());
  EXPECT_TRUE(reader.Finish().ok());
  EXPECT_EQ(reader.Finish().status().code(), kFailedPrecondition);
}

// A message that a peer of another mind could send: well-formed, its checksum right for what it
// says.
std::string WithChecksum(v1::CacheChunk chunk) {
  Hasher hasher;
  AddHeader(hasher, chunk.header());
  for (const v1::LayerBlock& block : chunk.blocks()) {
    AddBlock(hasher, block.layer(), block.half(), block.first_token(), block.num_tokens(),
             AsBytes(block.codes()), AsBytes(block.scales()));
  }
  if (chunk.has_trailer()) chunk.mutable_trailer()->set_checksum(hasher.Digest());
  return chunk.SerializeAsString();
}

struct Lie {
  std::string name;
  std::function<void(v1::CacheChunk&)> tell;
  StatusCode code;
  std::string field;     // named by the error
  std::string expected;  // and what it should have been
};

void PrintTo(const Lie& lie, std::ostream* out) { *out << lie.name; }

class FrameReaderLieTest : public testing::TestWithParam<Lie> {};

TEST_P(FrameReaderLieTest, IsRefusedByNameThoughTheChecksumIsRight) {
  const KvFrame frame = RandomFrame("int8,select=key_norm,keep_tokens=4", kTiny);
  v1::CacheChunk chunk;
  ASSERT_TRUE(chunk.ParseFromString(Write(frame).at(0)));
  ASSERT_TRUE(Read(frame, {WithChecksum(chunk)}).ok());
  GetParam().tell(chunk);
  const absl::Status status = Read(frame, {WithChecksum(chunk)});
  EXPECT_EQ(status.code(), GetParam().code) << status;
  EXPECT_THAT(
      std::string(status.message()),
      AllOf(HasSubstr(GetParam().field), HasSubstr("expected"), HasSubstr(GetParam().expected)));
}

const std::vector<Lie> kHeaderLies = {
    {"version", [](auto& c) { c.mutable_header()->set_format_version(1); }, kFailedPrecondition,
     "header.format_version is 1", "2"},
    {"model", [](auto& c) { c.mutable_header()->set_model_fingerprint(7); }, kFailedPrecondition,
     "header.model_fingerprint", "0123456789abcdef"},
    {"heads", [](auto& c) { c.mutable_header()->mutable_layout()->set_num_kv_heads(2); },
     kFailedPrecondition, "header.layout is [L=3, H=2, D=4]", "[L=3, H=1, D=4]"},
    {"headless", [](auto& c) { c.mutable_header()->mutable_layout()->clear_num_kv_heads(); },
     kInvalidArgument, "layout.num_kv_heads is 0", "1 to"},
    {"large_head", [](auto& c) { c.mutable_header()->mutable_layout()->set_head_dim(0xffffffffu); },
     kInvalidArgument, "layout.head_dim", "2^31"},
    {"scheme", [](auto& c) { c.mutable_header()->mutable_codec()->set_scheme(v1::SCHEME_INT4); },
     kFailedPrecondition, "header.codec is int4", "int8"},
    {"unknown_scheme",
     [](auto& c) { c.mutable_header()->mutable_codec()->set_scheme(static_cast<v1::Scheme>(15)); },
     kInvalidArgument, "codec.scheme is 15", "1 to 14"},
    {"unknown_axis",
     [](auto& c) { c.mutable_header()->mutable_codec()->set_axis(static_cast<v1::Axis>(-1)); },
     kInvalidArgument, "codec.axis is -1", "0 to 6"},
    {"keep", [](auto& c) { c.mutable_header()->mutable_codec()->set_keep_tokens(5); },
     kFailedPrecondition, "header.codec", "keep_tokens=4"},
    {"tokens", [](auto& c) { c.mutable_header()->set_num_tokens(8); }, kFailedPrecondition,
     "header.num_tokens is 8", "9"},
    {"schedule", [](auto& c) { c.mutable_header()->mutable_codec()->add_key_precisions(1); },
     kFailedPrecondition, "header.codec is int8", "keep_tokens=4"},
    {"unknown_entry", [](auto& c) { c.mutable_header()->mutable_codec()->add_key_precisions(5); },
     kInvalidArgument, "keys[0] is 5", "less than 2"},
    {"kept", [](auto& c) { c.mutable_header()->set_num_kept(3); }, kInvalidArgument,
     "header.num_kept is 3", "4"},
    {"no_indices",
     [](auto& c) {
       c.mutable_header()->clear_indices();
       c.mutable_header()->clear_index_coding();
     },
     kInvalidArgument, "header.indices", "num_kept 4"},
    {"indices_too_long", [](auto& c) { c.mutable_header()->mutable_indices()->push_back(1); },
     kInvalidArgument, "header.indices", "2 of coding 1"},
    {"five_positions", [](auto& c) { c.mutable_header()->set_indices("\x1f\x01"); },
     kInvalidArgument, "header.indices", "only valid bytes"},
    {"position_beyond", [](auto& c) { c.mutable_header()->set_indices("\x07\x02"); },
     kInvalidArgument, "header.indices: 3 positions below 9", "num_kept 4"},
    {"layer_more", [](auto& c) { c.mutable_header()->add_key_layers(3); }, kFailedPrecondition,
     "header.key_layers is [0,2,3]", "[0,2]"},
    {"layer_other", [](auto& c) { c.mutable_header()->set_value_layers(1, 1); },
     kFailedPrecondition, "header.value_layers is [0,1]", "[0,2]"},
    {"no_value_layers", [](auto& c) { c.mutable_header()->clear_value_layers(); },
     kFailedPrecondition, "header.value_layers is []", "[0,2]"},
    {"no_header", [](auto& c) { c.clear_header(); }, kDataLoss, "header is missing", "one in"},
};
INSTANTIATE_TEST_SUITE_P(Header, FrameReaderLieTest, testing::ValuesIn(kHeaderLies),
                         [](const auto& info) { return info.param.name; });

// The large token counts are those whose product with a row's bytes wraps in 32 bits.
const std::vector<Lie> kBlockLies = {
    {"layer_not_asked_for", [](auto& c) { c.mutable_blocks(0)->set_layer(1); }, kDataLoss,
     "block is layer 1", "layer 0"},
    {"layer_beyond", [](auto& c) { c.mutable_blocks(0)->set_layer(0xffffffffu); }, kDataLoss,
     "block is layer 4294967295", "layer 0"},
    {"half", [](auto& c) { c.mutable_blocks(0)->set_half(v1::HALF_VALUE); }, kDataLoss, "half 1",
     "half 0"},
    {"unknown_half", [](auto& c) { c.mutable_blocks(1)->set_half(static_cast<v1::Half>(2)); },
     kDataLoss, "half 2", "half 1"},
    {"negative_half", [](auto& c) { c.mutable_blocks(1)->set_half(static_cast<v1::Half>(-1)); },
     kInvalidArgument, "field 2", "2^32"},
    {"first_token", [](auto& c) { c.mutable_blocks(0)->set_first_token(1); }, kDataLoss,
     "first_token 1", "first_token 0"},
    {"huge_first_token", [](auto& c) { c.mutable_blocks(0)->set_first_token(0xffffffffu); },
     kDataLoss, "first_token 4294967295", "first_token 0"},
    {"no_tokens", [](auto& c) { c.mutable_blocks(0)->clear_num_tokens(); }, kDataLoss,
     "block.num_tokens is 0", "1 to 4"},
    {"huge_tokens", [](auto& c) { c.mutable_blocks(0)->set_num_tokens(0x40000001u); }, kDataLoss,
     "block.num_tokens is 1073741825", "1 to 4"},
    {"fewer_codes", [](auto& c) { c.mutable_blocks(3)->mutable_codes()->pop_back(); }, kDataLoss,
     "block.codes bytes is 15", "16"},
    {"no_codes", [](auto& c) { c.mutable_blocks(3)->clear_codes(); }, kDataLoss,
     "block.codes bytes is 0", "16"},
    {"more_scales", [](auto& c) { c.mutable_blocks(2)->mutable_scales()->push_back('<'); },
     kDataLoss, "block.scales bytes is 9", "8"},
    {"block_missing", [](auto& c) { c.mutable_blocks()->RemoveLast(); }, kDataLoss,
     "trailer after complete blocks is 3", "4"},
    {"block_repeated", [](auto& c) { *c.add_blocks() = c.blocks(3); }, kDataLoss, "after the last",
     "trailer"},
    {"blocks_swapped", [](auto& c) { c.mutable_blocks()->SwapElements(1, 2); }, kDataLoss,
     "block is layer 2 half 0", "layer 0 half 1"},
    {"no_blocks", [](auto& c) { c.clear_blocks(); }, kDataLoss, "blocks is empty", "at least one"},
    {"count", [](auto& c) { c.mutable_trailer()->set_num_blocks(5); }, kDataLoss,
     "trailer.num_blocks is 5", "4"},
    {"code_bytes", [](auto& c) { c.mutable_trailer()->set_code_bytes(~uint64_t{0}); }, kDataLoss,
     "trailer.code_bytes is 18446744073709551615", "64"},
    {"scale_bytes", [](auto& c) { c.mutable_trailer()->set_scale_bytes(31); }, kDataLoss,
     "trailer.scale_bytes is 31", "32"},
    {"no_trailer", [](auto& c) { c.clear_trailer(); }, kDataLoss, "ended after 1 messages",
     "trailer"},
    {"sequence", [](auto& c) { c.set_sequence(1); }, kDataLoss, "sequence is 1", "0"},
};
INSTANTIATE_TEST_SUITE_P(Blocks, FrameReaderLieTest, testing::ValuesIn(kBlockLies),
                         [](const auto& info) { return info.param.name; });

TEST(FrameReaderTest, CodedCodesThatDoNotDecodeAreDataLossByName) {
  const KvFrame frame = RandomFrame("int8,entropy=rans,select=key_norm,keep_tokens=4", kTiny);
  v1::CacheChunk chunk;
  ASSERT_TRUE(chunk.ParseFromString(Write(frame).at(0)));
  ASSERT_TRUE(Read(frame, {WithChecksum(chunk)}).ok());
  const auto refusal = [&](const std::string& codes) {
    v1::CacheChunk other = chunk;
    other.mutable_blocks(1)->set_codes(codes);
    const absl::Status status = Read(frame, {WithChecksum(other)});
    EXPECT_EQ(status.code(), kDataLoss) << status;
    return std::string(status.message());
  };
  EXPECT_THAT(refusal(""), HasSubstr("a segment is empty"));
  EXPECT_THAT(refusal("\xc8"), HasSubstr("table 200: expected 1 to 128"));
  EXPECT_THAT(refusal(std::string(16, '\0')), HasSubstr("15 bytes stored: expected 16"));
  EXPECT_THAT(refusal(std::string(18, '\1')),
              HasSubstr("block.codes bytes is 18: expected at most"));
}

TEST(FrameReaderTest, AWrongChecksumNamesBothValues) {
  const KvFrame frame = RandomFrame("int8", kTiny);
  v1::CacheChunk chunk;
  ASSERT_TRUE(chunk.ParseFromString(Write(frame).at(0)));
  const std::string right = HashText(chunk.trailer().checksum());
  chunk.mutable_trailer()->set_checksum(0x1111);
  const absl::Status status = Read(frame, {chunk.SerializeAsString()});
  EXPECT_EQ(status.code(), kDataLoss);
  EXPECT_THAT(std::string(status.message()),
              AllOf(HasSubstr("trailer.checksum is 0000000000001111"), HasSubstr(right)));
}

TEST(FrameReaderTest, FieldsThatTheSchemaDoesNotHaveAreRefusedAtEveryLevel) {
  const KvFrame frame = RandomFrame("int8,select=key_norm,keep_tokens=4", kTiny);
  const std::string message = Write(frame).at(0);
  const auto refused = [&](auto&& level) {
    v1::CacheChunk chunk;
    EXPECT_TRUE(chunk.ParseFromString(message));
    google::protobuf::Message& part = level(chunk);
    part.GetReflection()->MutableUnknownFields(&part)->AddVarint(15, 1);
    return Read(frame, {chunk.SerializeAsString()}).code() == kInvalidArgument;
  };
  using Part = google::protobuf::Message;
  EXPECT_TRUE(refused([](auto& c) -> Part& { return c; }));
  EXPECT_TRUE(refused([](auto& c) -> Part& { return *c.mutable_header(); }));
  EXPECT_TRUE(refused([](auto& c) -> Part& { return *c.mutable_header()->mutable_layout(); }));
  EXPECT_TRUE(refused([](auto& c) -> Part& { return *c.mutable_header()->mutable_codec(); }));
  EXPECT_TRUE(refused([](auto& c) -> Part& { return *c.mutable_blocks(1); }));
  EXPECT_TRUE(refused([](auto& c) -> Part& { return *c.mutable_trailer(); }));
}

TEST(FrameReaderTest, AMessageAboveTheLimitIsRefusedUnread) {
  const KvFrame frame = RandomFrame("int8", kTiny);
  const std::string large(kMaxChunkBytes + kMessageSlackBytes + 1, '\x1a');
  const absl::Status status = Read(frame, {large});
  EXPECT_EQ(status.code(), kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), HasSubstr("message bytes is 4390913"));
}

TEST(FrameReaderTest, MillionsOfTinyBlocksAreRefusedAtTheFirst) {
  const KvFrame frame = RandomFrame("int8", kTiny);
  v1::CacheChunk chunk;
  ASSERT_TRUE(chunk.ParseFromString(Write(frame).at(0)));
  chunk.clear_blocks();
  chunk.clear_trailer();
  std::string message = chunk.SerializeAsString();
  for (int i = 0; i < 1'000'000; ++i) message += std::string("\x1a\x02\x20\x01", 4);
  EXPECT_EQ(Read(frame, {message}).code(), kDataLoss);
}

TEST(FrameReaderTest, AnExpectationThatNoFrameMeetsIsTheErrorOfTheFirstAdd) {
  const KvFrame frame = RandomFrame("int8,select=back,keep_tokens=2", kTiny);
  const auto error = [&](auto&& change) {
    FrameExpectation expectation = ExpectationOf(frame);
    change(expectation);
    FrameReader reader(expectation);
    const absl::Status status = reader.Add(Write(frame).at(0));
    EXPECT_EQ(status.code(), kInvalidArgument);
    return std::string(status.message());
  };
  EXPECT_THAT(error([](auto& e) { e.num_tokens = 0; }), HasSubstr("num_tokens is 0"));
  EXPECT_THAT(error([](auto& e) { e.num_tokens = (1 << 20) + 1; }), HasSubstr("num_tokens"));
  EXPECT_THAT(error([](auto& e) { e.layers = {}; }),
              HasSubstr("key_layers and value_layers are empty"));
  EXPECT_THAT(error([](auto& e) { e.layers.keys = {2, 0}; }), HasSubstr("key_layers[1] is 0"));
  EXPECT_THAT(error([](auto& e) { e.layers.values = {3}; }), HasSubstr("value_layers[0] is 3"));
  EXPECT_THAT(error([](auto& e) { e.layout.head_dim = 0; }), HasSubstr("head_dim"));
  EXPECT_THAT(error([](auto& e) {
                e.layout = {.num_layers = 1024, .num_kv_heads = 1024, .head_dim = 1024};
                e.num_tokens = 1 << 20;
                e.codec.keep = Keep(uint32_t{1 << 20});
              }),
              HasSubstr("at most 17179869184"));
}

}  // namespace
}  // namespace qc2c
