#include "sharer/service.h"

#include <ATen/core/Tensor.h>
#include <ATen/ops/tensor.h>
#include <gmock/gmock.h>
#include <grpcpp/generic/generic_stub.h>
#include <gtest/gtest.h>

#include <limits>
#include <numeric>
#include <set>

#include "common/base/files.h"
#include "common/model/key_rotation.h"
#include "common/rpc/byte_buffer.h"
#include "common/rpc/metadata.h"
#include "common/rpc/status.h"
#include "common/wire/model_facts.h"
#include "common/wire/peer_codecs.h"
#include "sharer/served_sharer.h"

namespace qc2c {
namespace {

using std::chrono::milliseconds;
using testing::AllOf;
using testing::Each;
using testing::ElementsAre;
using testing::ElementsAreArray;
using testing::HasSubstr;

const std::vector<uint32_t> kIds = MakeIds(37);

std::vector<v1::CacheChunk> Parse(const std::vector<std::string>& messages) {
  std::vector<v1::CacheChunk> chunks(messages.size());
  for (size_t i = 0; i < messages.size(); ++i) EXPECT_TRUE(chunks[i].ParseFromString(messages[i]));
  return chunks;
}

TEST(SharerServiceTest, DescribesItsModelAndSendsTheTokenizerIfAsked) {
  ServedSharer sharer;
  for (const bool with_tokenizer : {false, true}) {
    grpc::ClientContext context;
    v1::DescribeRequest request;
    request.set_with_tokenizer(with_tokenizer);
    v1::ModelCard card;
    ASSERT_TRUE(sharer.stub->Describe(&context, request, &card).ok());
    EXPECT_EQ(card.model(), "sharer-qwen2");
    EXPECT_EQ(card.architecture(), "Qwen2ForCausalLM");
    EXPECT_EQ(card.layout().num_layers(), 5u);
    EXPECT_EQ(card.layout().num_kv_heads(), 2u);
    EXPECT_EQ(card.layout().head_dim(), 32u);
    EXPECT_EQ(card.max_positions(), 512u);
    EXPECT_EQ(card.model_fingerprint(), EmbeddedSharer().model.fingerprint());
    v1::ModelCard known;
    DescribeCodecs(known);
    EXPECT_THAT(card.schemes(), ElementsAreArray(known.schemes()));
    EXPECT_THAT(card.axes(), ElementsAreArray(known.axes()));
    EXPECT_THAT(card.selections(), ElementsAreArray(known.selections()));
    EXPECT_THAT(card.entropies(), ElementsAreArray(known.entropies()));
    EXPECT_THAT(card.treatments(), ElementsAreArray(known.treatments()));
    EXPECT_EQ(FactsOfCard(card)->rotation, KeyRotationOf(EmbeddedSharer().model.config()));
    EXPECT_EQ(card.tokenizer_json(),
              with_tokenizer
                  ? ReadFile(QC2C_SOURCE_DIR "/data/embedded/sharer-qwen2/tokenizer.json").value()
                  : "");
    EXPECT_EQ(!card.tokenizer_config_json().empty(), with_tokenizer);
    EXPECT_EQ(!card.chat_template_jinja().empty(), with_tokenizer);
  }
}

// A request with one thing wrong, and what the refusal says.
struct BadRequest {
  std::string name;
  std::function<void(v1::ShareRequest&)> spoil;
  std::string found;
  std::string expected;
  absl::StatusCode code = absl::StatusCode::kInvalidArgument;
};

void PrintTo(const BadRequest& bad, std::ostream* stream) { *stream << bad.name; }

class BadRequestTest : public testing::TestWithParam<BadRequest> {};

TEST_P(BadRequestTest, IsRefusedByNameAndTheNextOneIsServed) {
  static ServedSharer* const sharer = new ServedSharer();  // one for all: it must go on serving
  v1::ShareRequest request = MakeShareRequest("int8,select=back,keep_ratio=0.5", kIds);
  GetParam().spoil(request);
  SharedReply bad(sharer->channel, request);
  EXPECT_EQ(bad.status().code(), GetParam().code) << bad.status();
  EXPECT_THAT(std::string(bad.status().message()),
              AllOf(HasSubstr(GetParam().found), HasSubstr(GetParam().expected)));
  EXPECT_EQ(bad.outcome().messages, 0u);
  SharedReply good(sharer->channel, MakeShareRequest("int8", kIds));
  EXPECT_EQ(good.messages().size(), 1u);
}

using Request = v1::ShareRequest;

INSTANTIATE_TEST_SUITE_P(
    All, BadRequestTest,
    testing::Values(
        BadRequest{"NoIds", [](Request& r) { r.clear_ids(); }, "ids is empty", "at least one"},
        BadRequest{"IdOutsideTheVocabulary", [](Request& r) { r.set_ids(3, 1976); },
                   "ids[3] is 1976", "1976 tokens"},
        BadRequest{"IdAboveInt32", [](Request& r) { r.set_ids(0, 0x80000000u); },
                   "ids[0] is 2147483648", "1976 tokens"},
        BadRequest{"OverTheContext",
                   [](Request& r) {
                     const auto ids = MakeIds(513);
                     r.mutable_ids()->Assign(ids.begin(), ids.end());
                   },
                   "ids has 513 tokens", "512 positions"},
        BadRequest{"AbsentToken", [](Request& r) { r.add_tokens(37); }, "tokens[0] is 37",
                   "0 to 36"},
        BadRequest{"UnorderedTokens",
                   [](Request& r) {
                     r.add_tokens(3);
                     r.add_tokens(2);
                   },
                   "tokens[1] is 2", "ascending tokens"},
        BadRequest{"RepeatedToken",
                   [](Request& r) {
                     r.add_tokens(3);
                     r.add_tokens(3);
                   },
                   "tokens[1] is 3 after 3", "ascending tokens"},
        BadRequest{"TooFewPositions", [](Request& r) { r.add_positions(0); },
                   "positions has 1 entries", "expected 37"},
        BadRequest{"RepeatedPosition",
                   [](Request& r) {
                     r.add_positions(4);
                     for (uint32_t i = 4; i < 40; ++i) r.add_positions(i);
                   },
                   "positions[1] is 4 after 4", "ascending positions"},
        BadRequest{"PositionOverTheContext",
                   [](Request& r) {
                     for (uint32_t i = 476; i < 513; ++i) r.add_positions(i);
                   },
                   "positions[36] is 512", "512 positions"},
        BadRequest{"NoLayers",
                   [](Request& r) {
                     r.clear_key_layers();
                     r.clear_value_layers();
                   },
                   "key_layers and value_layers are empty", "at least one"},
        BadRequest{"AbsentLayer", [](Request& r) { r.add_key_layers(5); }, "key_layers[4] is 5",
                   "0 to 4"},
        BadRequest{"LayerAboveInt32", [](Request& r) { r.set_value_layers(3, 0xffffffffu); },
                   "value_layers[3] is", "0 to 4"},
        BadRequest{"UnorderedLayers", [](Request& r) { r.set_value_layers(0, 3); },
                   "value_layers[1] is 2", "ascending"},
        BadRequest{"RepeatedLayer", [](Request& r) { r.set_key_layers(1, 1); },
                   "key_layers[1] is 1", "ascending"},
        BadRequest{"NoCodec", [](Request& r) { r.clear_codec(); }, "scheme", "expected"},
        BadRequest{"UnknownScheme",
                   [](Request& r) { r.mutable_codec()->set_scheme(static_cast<v1::Scheme>(99)); },
                   "scheme", "99"},
        BadRequest{
            "UnknownSelection",
            [](Request& r) { r.mutable_codec()->set_selection(static_cast<v1::Selection>(77)); },
            "selection", "77"},
        BadRequest{"AxisOfAFloatScheme",
                   [](Request& r) { r.mutable_codec()->set_scheme(v1::SCHEME_BF16); }, "axis",
                   "bf16"},
        BadRequest{"KeepRatioZero", [](Request& r) { r.mutable_codec()->set_keep_ratio(0); },
                   "keep_ratio is '0'", "(0, 1]"},
        BadRequest{"KeepRatioAboveOne", [](Request& r) { r.mutable_codec()->set_keep_ratio(1.5); },
                   "keep_ratio is '1.5'", "(0, 1]"},
        BadRequest{"KeepRatioNegative", [](Request& r) { r.mutable_codec()->set_keep_ratio(-0.5); },
                   "keep_ratio is '-0.5'", "(0, 1]"},
        BadRequest{"KeepRatioNaN",
                   [](Request& r) {
                     r.mutable_codec()->set_keep_ratio(std::numeric_limits<float>::quiet_NaN());
                   },
                   "keep_ratio is 'nan'", "(0, 1]"},
        BadRequest{"KeepTokensZero", [](Request& r) { r.mutable_codec()->set_keep_tokens(0); },
                   "keep_tokens is '0'", "at least 1"},
        BadRequest{"NoKeep", [](Request& r) { r.mutable_codec()->clear_keep(); }, "select is back",
                   "keep_ratio or keep_tokens"},
        BadRequest{"SmallChunks", [](Request& r) { r.set_chunk_bytes(1023); },
                   "chunk_bytes is 1023", "1024 to 4194304"},
        BadRequest{"LargeChunks", [](Request& r) { r.set_chunk_bytes((4 << 20) + 1); },
                   "chunk_bytes is 4194305", "1024 to 4194304"},
        BadRequest{"AnotherModel", [](Request& r) { r.set_model_fingerprint(0x123abc); },
                   "model_fingerprint is 123abc", "'sharer-qwen2'",
                   absl::StatusCode::kFailedPrecondition}),
    [](const auto& info) { return info.param.name; });

TEST(SharerServiceTest, ARequestOfGarbageIsRefusedAndTheNextOneIsServed) {
  ServedSharer sharer;
  grpc::TemplatedGenericStub<grpc::ByteBuffer, grpc::ByteBuffer> stub(sharer.channel);
  grpc::ClientContext context;
  const grpc::ByteBuffer garbage = ToByteBuffer("\xff\xff\xff\xff");
  grpc::ByteBuffer response;
  absl::Notification done;
  grpc::Status status;
  stub.UnaryCall(&context, "/qc2c.v1.Sharer/Share", {}, &garbage, &response,
                 [&](const grpc::Status& end) {
                   status = end;
                   done.Notify();
                 });
  ASSERT_TRUE(done.WaitForNotificationWithTimeout(kPatience));
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_THAT(status.error_message(), HasSubstr("ShareRequest"));
  SharedReply good(sharer.channel, MakeShareRequest("int8", kIds));
  EXPECT_EQ(good.messages().size(), 1u);
}

absl::StatusOr<KvFrame> ReadFp32Frame(SharedReply& reply, uint32_t num_tokens) {
  FrameReader reader({.model_fingerprint = EmbeddedSharer().model.fingerprint(),
                      .layout = EmbeddedSharer().model.config().Layout(),
                      .codec = CodecSpec::Parse("fp32").value(),
                      .num_tokens = num_tokens,
                      .layers = KvLayerSet::Both({0, 3})});
  for (const std::string& message : reply.messages()) EXPECT_TRUE(reader.Add(message).ok());
  return reader.Finish();
}

// Layers 0 and 3 of the cache of `ids`, of the given tokens, without codec, wire or batch.
void ExpectModelsOwn(const KvFrame& frame, const std::vector<uint32_t>& ids,
                     const std::vector<int64_t>& wanted) {
  const TokenBatch tokens = TokenBatch::FromSequences({{ids.begin(), ids.end()}}, at::kCPU);
  const ForwardResult direct = EmbeddedSharer().model.Forward(tokens, nullptr).value();
  for (const KvBlock& block : frame.blocks) {
    const auto& planes = block.half == Half::kKey ? direct.cache.keys : direct.cache.values;
    const at::Tensor expected = planes[block.layer][0]
                                    .transpose(0, 1)  // [T, H, D]
                                    .index_select(0, at::tensor(wanted, at::kLong));
    const ByteSpan codes = frame.Codes(block);
    ASSERT_EQ(codes.size(), expected.nbytes());
    EXPECT_EQ(std::memcmp(codes.data(), expected.data_ptr(), codes.size()), 0)
        << "layer " << block.layer;
  }
}

TEST(SharerServiceTest, AnFp32CacheIsTheModelsOwn) {
  const std::vector<uint32_t> ids = MakeIds(48);  // a width that the sharer does not pad
  ServedSharer sharer;
  SharedReply reply(sharer.channel, MakeShareRequest("fp32", ids, {0, 3}));
  const absl::StatusOr<KvFrame> frame = ReadFp32Frame(reply, 48);
  ASSERT_TRUE(frame.ok()) << frame.status();
  std::vector<int64_t> all(48);
  std::iota(all.begin(), all.end(), 0);
  ExpectModelsOwn(*frame, ids, all);
}

TEST(SharerServiceTest, OnlyTheWantedTokensTravelAndAreCounted) {
  const std::vector<uint32_t> ids = MakeIds(48);
  ServedSharer sharer;
  v1::ShareRequest request = MakeShareRequest("fp32", ids, {0, 3});
  for (const uint32_t token : {1u, 2u, 17u, 47u}) request.add_tokens(token);
  SharedReply reply(sharer.channel, request);
  const absl::StatusOr<KvFrame> frame = ReadFp32Frame(reply, 4);
  ASSERT_TRUE(frame.ok()) << frame.status();
  EXPECT_THAT(frame->positions, ElementsAre(0u, 1u, 2u, 3u));
  ExpectModelsOwn(*frame, ids, {1, 2, 17, 47});
}

TEST(SharerServiceTest, TheSelectionActsOnTheWantedTokens) {
  ServedSharer sharer;
  v1::ShareRequest request = MakeShareRequest("int8,select=back,keep_tokens=2", kIds);
  for (const uint32_t token : {1u, 2u, 17u, 30u}) request.add_tokens(token);
  SharedReply selected(sharer.channel, request);
  // The same two tokens, asked for by name.
  v1::ShareRequest by_name = MakeShareRequest("int8", kIds);
  for (const uint32_t token : {17u, 30u}) by_name.add_tokens(token);
  SharedReply named(sharer.channel, by_name);
  const v1::CacheChunk chunk = Parse(selected.messages()).at(0);
  EXPECT_EQ(chunk.header().num_tokens(), 4u);
  EXPECT_EQ(chunk.header().num_kept(), 2u);
  const v1::CacheChunk same = Parse(named.messages()).at(0);
  ASSERT_EQ(chunk.blocks_size(), same.blocks_size());
  for (int i = 0; i < chunk.blocks_size(); ++i) {
    EXPECT_EQ(chunk.blocks(i).SerializeAsString(), same.blocks(i).SerializeAsString());
  }
}

TEST(SharerServiceTest, WantingEveryTokenGivesTheBytesOfWantingNoneByName) {
  ServedSharer sharer;
  v1::ShareRequest request = MakeShareRequest("int8", kIds);
  SharedReply unnamed(sharer.channel, request);
  for (uint32_t token = 0; token < kIds.size(); ++token) request.add_tokens(token);
  SharedReply named(sharer.channel, request);
  EXPECT_EQ(named.messages(), unnamed.messages());
}

TEST(SharerServiceTest, OnlyTheAskedHalvesOfTheAskedLayersTravel) {
  ServedSharer sharer;
  v1::ShareRequest request = MakeShareRequest("int8", kIds, {1, 4});
  request.clear_value_layers();
  request.add_value_layers(4);
  SharedReply reply(sharer.channel, request);
  const auto chunks = Parse(reply.messages());
  ASSERT_EQ(chunks.size(), 1u);
  EXPECT_THAT(chunks[0].header().key_layers(), ElementsAre(1u, 4u));
  EXPECT_THAT(chunks[0].header().value_layers(), ElementsAre(4u));
  std::vector<std::pair<uint32_t, v1::Half>> tensors;
  for (const v1::LayerBlock& block : chunks[0].blocks()) {
    tensors.emplace_back(block.layer(), block.half());
  }
  EXPECT_THAT(tensors, ElementsAre(std::pair(1u, v1::HALF_KEY), std::pair(4u, v1::HALF_KEY),
                                   std::pair(4u, v1::HALF_VALUE)));
}

TEST(SharerServiceTest, BothTheDaemonsAndTheReceiversChunkSizeAreRespected) {
  ServedSharer sharer({.max_wait = milliseconds(0)}, 4096);
  const auto largest = [](const std::vector<v1::CacheChunk>& chunks) {
    uint64_t bytes = 0;
    for (const v1::CacheChunk& chunk : chunks) {
      uint64_t sum = 0;
      for (const auto& block : chunk.blocks()) sum += block.codes().size() + block.scales().size();
      bytes = std::max(bytes, sum);
    }
    return bytes;
  };
  v1::ShareRequest request = MakeShareRequest("int8", kIds);
  // 37 tokens x 4 layers x 2 x 2 heads x (32 codes + a scale of 2) = 20,128 bytes.
  SharedReply by_default(sharer.channel, request);
  EXPECT_LE(largest(Parse(by_default.messages())), 4096u);
  EXPECT_GE(by_default.messages().size(), 5u);
  request.set_chunk_bytes(1024);
  SharedReply smaller(sharer.channel, request);
  EXPECT_LE(largest(Parse(smaller.messages())), 1024u);
  EXPECT_GE(smaller.messages().size(), 20u);
  request.set_chunk_bytes(kMaxChunkBytes);
  SharedReply whole(sharer.channel, request);
  EXPECT_EQ(whole.messages().size(), 1u);
  EXPECT_EQ(largest(Parse(whole.messages())), 20128u);
}

TEST(SharerServiceTest, TheCountIsWhatWasSerializedAndTheMetricsAddUpToIt) {
  ServedSharer sharer;
  SharedReply reply(sharer.channel,
                    MakeShareRequest("int4,select=value_norm,keep_ratio=0.5", kIds));
  uint64_t sum = 0;
  for (const std::string& message : reply.messages()) sum += message.size();
  EXPECT_EQ(reply.outcome().tx_bytes.value(), sum);
  EXPECT_EQ(reply.outcome().rx_bytes, sum);
  const std::string codec = CodecSpec::Parse("int4,select=value_norm,keep_ratio=0.5")->ToString();
  const auto counted = [&](const char* part) {
    return static_cast<uint64_t>(sharer.metrics.tx_bytes_total.With(codec, part).Value());
  };
  // The sharer counts after the last write, which may be after the caller has everything.
  const absl::Time patience_ends = absl::Now() + kPatience;
  while (counted("header") == 0 && absl::Now() < patience_ends) {
    absl::SleepFor(absl::Milliseconds(1));
  }
  EXPECT_EQ(counted("payload") + counted("scales") + counted("indices") + counted("header"), sum);
  // 19 of 37 tokens: 4 layers x 2 x 2 heads x 32 codes of half a byte, and a two-byte scale.
  EXPECT_EQ(counted("payload"), 19u * 4 * 2 * 2 * 16);
  EXPECT_EQ(counted("scales"), 19u * 4 * 2 * 2 * 2);
}

TEST(SharerServiceTest, GeneratesWhatTheModelKnows) {
  ServedSharer sharer;
  v1::GenerateRequest request;
  v1::ChatMessage* message = request.mutable_prompt()->add_messages();
  message->set_role("user");
  message->set_content("Which city does Iris Trizer live in?");  // heldout-mc-0000
  request.set_max_new_tokens(6);
  grpc::ClientContext context;
  v1::GenerateReply reply;
  const grpc::Status status = sharer.stub->Generate(&context, request, &reply);
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(reply.text(), "Boston");
  EXPECT_GE(reply.num_generated_tokens(), 1u);
  EXPECT_EQ(GetTxBytes(context).value(), reply.ByteSizeLong());
}

TEST(SharerServiceTest, PlainTextIsReadWithoutATemplate) {
  ServedSharer sharer;
  v1::GenerateRequest request;
  request.mutable_prompt()->set_text("Which city does Iris Trizer");
  request.mutable_prompt()->set_reply_prefix(" live in?");
  request.set_max_new_tokens(1);
  grpc::ClientContext context;
  v1::GenerateReply reply;
  ASSERT_TRUE(sharer.stub->Generate(&context, request, &reply).ok());
  EXPECT_EQ(
      reply.num_prompt_tokens(),
      EmbeddedSharer().tokenizer.Encode("Which city does Iris Trizer live in?").value().size());

  request.mutable_prompt()->add_messages()->set_content("Who?");
  grpc::ClientContext both;
  const grpc::Status status = sharer.stub->Generate(&both, request, &reply);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_THAT(status.error_message(), HasSubstr("prompt has text and messages"));
}

TEST(SharerServiceTest, ABadGenerateRequestIsRefusedByName) {
  ServedSharer sharer;
  const auto refusal = [&](uint32_t max_new_tokens, const std::string& content) {
    v1::GenerateRequest request;
    request.set_max_new_tokens(max_new_tokens);
    if (!content.empty()) {
      v1::ChatMessage* message = request.mutable_prompt()->add_messages();
      message->set_role("user");
      message->set_content(content);
    }
    grpc::ClientContext context;
    v1::GenerateReply reply;
    const grpc::Status status = sharer.stub->Generate(&context, request, &reply);
    EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
    return status.error_message();
  };
  EXPECT_THAT(refusal(0, "Who?"), HasSubstr("max_new_tokens is 0: expected 1 to 4096"));
  EXPECT_THAT(refusal(4097, "Who?"), HasSubstr("max_new_tokens is 4097"));
  EXPECT_THAT(refusal(1, ""), HasSubstr("prompt.messages is empty"));
  EXPECT_THAT(refusal(511, "Who?"), AllOf(HasSubstr("may take 511"), HasSubstr("512 positions")));
}

}  // namespace
}  // namespace qc2c
