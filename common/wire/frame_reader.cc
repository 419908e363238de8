#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/base/status_macros.h"
#include "common/codec/budget.h"
#include "common/codec/coded_frame.h"
#include "common/codec/entropy.h"
#include "common/codec/frame_layout.h"
#include "common/wire/canonical.h"
#include "common/wire/chunk_view.h"
#include "common/wire/field_reader.h"
#include "common/wire/frame_checksum.h"
#include "common/wire/frame_codec.h"
#include "common/wire/klt_frame.h"
#include "common/wire/position_list.h"

namespace qc2c {
namespace {

// Another version has other fields, so that nothing but its number can be asked of it. The number
// 0, a header that does not begin with one, is left to the checks of form and fields.
absl::Status CheckVersion(ByteSpan header) {
  FieldReader fields(header, "header");
  const uint32_t version = fields.Uint32(v1::CacheHeader::kFormatVersionFieldNumber);
  if (version == kFormatVersion || version == 0) return absl::OkStatus();
  return absl::FailedPreconditionError(Differs("header.format_version", version, kFormatVersion));
}

// Everything a header can hold besides indices, layers and a schedule takes less.
constexpr size_t kHeaderFieldsBytes = 128;
constexpr size_t kTrailerBytes = 64;
constexpr size_t kLayerBytes = 2;  // a varint below KvLayout::kMaxLayers
constexpr size_t kPrecisionBytes = 16;

size_t ScheduleBytes(const CodecSpec& codec, const KvLayout& layout) {
  if (codec.budget_bytes != 0) {
    return kPrecisionBytes * PrecisionSchedule::kMaxPrecisions + 2 * layout.num_layers;
  }
  const PrecisionSchedule& schedule = codec.schedule;
  return kPrecisionBytes * schedule.precisions.size() + schedule.keys.size() +
         schedule.values.size();
}

// The most that the indices of a frame take.
size_t IndexBytes(const FrameExpectation& expected) {
  const size_t num_sets =
      expected.codec.index_sets == IndexSets::kOne ? 1 : expected.layers.NumLayers();
  return std::min<size_t>(num_sets * ((expected.num_tokens + 7) / 8), kMaxIndexBytes);
}

// Codes and scales of all tensors. Below 2^44 bytes a block and 2^11 blocks: no overflow.
absl::StatusOr<uint64_t> DataBytes(const CodecSpec& codec, const KvLayout& layout,
                                   const KvLayerSet& sent, uint32_t num_kept) {
  uint64_t bytes = 0;
  for (const auto& [layer, half] : sent.Tensors()) {
    ASSIGN_OR_RETURN(const BlockBytes block, BytesOfBlock(codec.Of(layer, half), layout, num_kept));
    bytes += block.codes + block.scales;
  }
  return bytes;
}

absl::Status CheckExpectation(const FrameExpectation& expected) {
  if (expected.codec.klt) return CheckKltExpectation(expected);
  RETURN_IF_ERROR(expected.layout.Validate());
  RETURN_IF_ERROR(expected.codec.Validate());
  RETURN_IF_ERROR(expected.layers.Validate(expected.layout));
  if (expected.num_tokens < 1 || expected.num_tokens > KvLayout::kMaxTokens) {
    return absl::InvalidArgumentError(
        Differs("num_tokens", expected.num_tokens, absl::StrCat("1 to ", KvLayout::kMaxTokens)));
  }
  RETURN_IF_ERROR(expected.codec.schedule.CheckLayers(expected.layout));
  // With a budget the frame is known when its header is.
  if (expected.codec.budget_bytes != 0) {
    if (expected.codec.budget_bytes <= kMaxFrameBytes) return absl::OkStatus();
    return absl::InvalidArgumentError(Differs("codec: budget_bytes", expected.codec.budget_bytes,
                                              absl::StrCat("at most ", kMaxFrameBytes)));
  }
  ASSIGN_OR_RETURN(const KvLayerSet sent, expected.codec.schedule.SentOf(expected.layers));
  ASSIGN_OR_RETURN(const uint64_t bytes, DataBytes(expected.codec, expected.layout, sent,
                                                   expected.codec.NumKept(expected.num_tokens)));
  if (bytes > kMaxFrameBytes) {
    return absl::InvalidArgumentError(
        Differs("frame bytes", bytes, absl::StrCat("at most ", kMaxFrameBytes)));
  }
  return absl::OkStatus();
}

absl::Status CheckLayers(const char* field, const google::protobuf::RepeatedField<uint32_t>& found,
                         const std::vector<int32_t>& expected) {
  if (std::ranges::equal(found, expected, {}, {},
                         [](int32_t layer) { return static_cast<uint32_t>(layer); })) {
    return absl::OkStatus();
  }
  return absl::FailedPreconditionError(
      Differs(field, absl::StrCat("[", absl::StrJoin(found, ","), "]"),
              absl::StrCat("[", absl::StrJoin(expected, ","), "]")));
}

}  // namespace

struct FrameReader::State {
  explicit State(FrameExpectation expectation)
      : expected(std::move(expectation)), status(CheckExpectation(expected)) {}

  absl::Status ReadChunk(const std::string& message);
  absl::Status ReadKlt(const std::string& message);
  absl::Status ReadHeader(const v1::CacheHeader& header);
  absl::Status CheckHeader(const v1::CacheHeader& header) const;
  absl::Status CheckBudget(uint64_t num_bytes) const;
  // Of the tokens of `whole` before `token`.
  size_t ScaleBytesBefore(const KvBlock& whole, uint32_t token) const {
    const CodecSpec own = frame.codec.Of(whole.layer, whole.half);
    return qc2c::ScaleBytesBefore(own.scaling(), token, frame.layout.num_kv_heads,
                                  frame.layout.head_dim);
  }
  absl::Status ReadBlock(const BlockView& view);
  absl::Status CheckBlock(const BlockView& view) const;
  absl::Status ReadTrailer(const v1::CacheTrailer& trailer);
  absl::Status TakeCodes(const BlockView& view);

  FrameExpectation expected;
  absl::Status status;
  WireBytes bytes;
  KvFrame frame;
  bool keeps_coded = false;
  Hasher hasher;
  uint32_t sequence = 0;     // of the next message
  size_t block = 0;          // index in frame.blocks that the next slice belongs to
  uint32_t first_token = 0;  // of the next slice
  v1::CacheTrailer read;     // what the trailer must say, but for the checksum
  enum class Stage { kStart, kBlocks, kDone, kTaken } stage = Stage::kStart;
};

// Such a frame is one message.
absl::Status FrameReader::State::ReadKlt(const std::string& message) {
  if (stage != Stage::kStart) {
    return absl::DataLossError("a message after the trailer: expected the end of the stream");
  }
  ASSIGN_OR_RETURN(const WireBytes count, CountMessage(message));
  bytes += count;
  ++sequence;
  ASSIGN_OR_RETURN(frame, ReadKltFrame(message, expected));
  stage = Stage::kDone;
  return absl::OkStatus();
}

absl::Status FrameReader::State::ReadChunk(const std::string& message) {
  if (expected.codec.klt) return ReadKlt(message);
  constexpr size_t kMaxMessageBytes = kMaxChunkBytes + kMessageSlackBytes;
  if (message.size() > kMaxMessageBytes) {
    return absl::InvalidArgumentError(
        Differs("message bytes", message.size(), absl::StrCat("at most ", kMaxMessageBytes)));
  }
  if (stage != Stage::kStart && stage != Stage::kBlocks) {
    return absl::DataLossError("a message after the trailer: expected the end of the stream");
  }
  ASSIGN_OR_RETURN(ChunkView chunk, ViewChunk(AsBytes(message)));
  if (chunk.header.has_value()) RETURN_IF_ERROR(CheckVersion(*chunk.header));
  ASSIGN_OR_RETURN(const WireBytes count, CountMessage(message));
  bytes += count;
  RETURN_IF_ERROR(CheckBudget(bytes.tx));
  if (chunk.sequence != sequence) {
    return absl::DataLossError(Differs("sequence", chunk.sequence, sequence));
  }
  ++sequence;
  if (chunk.header.has_value() != (stage == Stage::kStart)) {
    return absl::DataLossError(Differs("header", chunk.header.has_value() ? "present" : "missing",
                                       "one in the first message, none later"));
  }
  if (chunk.header.has_value()) {
    const size_t max_bytes = kHeaderFieldsBytes + IndexBytes(expected) +
                             kLayerBytes * expected.layers.NumTensors() +
                             ScheduleBytes(expected.codec, expected.layout);
    ASSIGN_OR_RETURN(const auto header,
                     ParseCanonical<v1::CacheHeader>(*chunk.header, max_bytes, "header"));
    RETURN_IF_ERROR(ReadHeader(header));
  }
  if (chunk.blocks.empty()) return absl::DataLossError(Differs("blocks", "empty", "at least one"));
  while (!chunk.blocks.empty()) {
    ASSIGN_OR_RETURN(const BlockView view, TakeBlock(chunk.blocks));
    RETURN_IF_ERROR(ReadBlock(view));
  }
  if (!chunk.trailer.has_value()) return absl::OkStatus();
  ASSIGN_OR_RETURN(const auto trailer,
                   ParseCanonical<v1::CacheTrailer>(*chunk.trailer, kTrailerBytes, "trailer"));
  return ReadTrailer(trailer);
}

// Nothing that was not allowed is taken, or room made for it.
absl::Status FrameReader::State::CheckBudget(uint64_t num_bytes) const {
  const uint64_t budget = expected.codec.budget_bytes;
  if (budget == 0 || num_bytes <= budget) return absl::OkStatus();
  return absl::FailedPreconditionError(
      Differs("frame bytes", num_bytes, absl::StrCat("at most budget_bytes ", budget)));
}

absl::Status FrameReader::State::CheckHeader(const v1::CacheHeader& header) const {
  if (header.format_version() != kFormatVersion) {
    return absl::FailedPreconditionError(
        Differs("header.format_version", header.format_version(), kFormatVersion));
  }
  if (header.model_fingerprint() != expected.model_fingerprint) {
    return absl::FailedPreconditionError(Differs("header.model_fingerprint",
                                                 HashText(header.model_fingerprint()),
                                                 HashText(expected.model_fingerprint)));
  }
  ASSIGN_OR_RETURN(const KvLayout layout, LayoutFromProto(header.layout()));
  if (layout != expected.layout) {
    return absl::FailedPreconditionError(
        Differs("header.layout", layout.ToString(), expected.layout.ToString()));
  }
  ASSIGN_OR_RETURN(const CodecSpec codec, CodecFromProto(header.codec()));
  if (expected.codec.budget_bytes != 0) {
    RETURN_IF_ERROR(CheckResolved(expected.codec, codec, expected.num_tokens));
    RETURN_IF_ERROR(codec.schedule.CheckLayers(expected.layout));
  } else if (codec != expected.codec) {
    return absl::FailedPreconditionError(
        Differs("header.codec", codec.ToString(), expected.codec.ToString()));
  }
  if (header.num_tokens() != expected.num_tokens) {
    return absl::FailedPreconditionError(
        Differs("header.num_tokens", header.num_tokens(), expected.num_tokens));
  }
  const uint32_t num_kept = codec.NumKept(header.num_tokens());
  if (header.num_kept() != num_kept) {
    return absl::InvalidArgumentError(Differs("header.num_kept", header.num_kept(),
                                              absl::StrCat(num_kept, " by ", codec.ToString())));
  }
  ASSIGN_OR_RETURN(const KvLayerSet sent, codec.schedule.SentOf(expected.layers));
  if (expected.codec.budget_bytes != 0) {
    ASSIGN_OR_RETURN(const uint64_t data_bytes, DataBytes(codec, layout, sent, num_kept));
    RETURN_IF_ERROR(CheckBudget(data_bytes));
  }
  RETURN_IF_ERROR(CheckLayers("header.key_layers", header.key_layers(), sent.keys));
  return CheckLayers("header.value_layers", header.value_layers(), sent.values);
}

absl::Status FrameReader::State::ReadHeader(const v1::CacheHeader& header) {
  RETURN_IF_ERROR(CheckHeader(header));
  ASSIGN_OR_RETURN(frame.codec, CodecFromProto(header.codec()));
  ASSIGN_OR_RETURN(frame.layers, frame.codec.schedule.SentOf(expected.layers));
  ASSIGN_OR_RETURN(
      frame.positions,
      DecodePositions(frame.codec, header.num_tokens(), header.num_kept(), header.index_coding(),
                      AsBytes(header.indices()), frame.num_index_sets()));
  AddHeader(hasher, header);
  frame.model_fingerprint = expected.model_fingerprint;
  frame.layout = expected.layout;
  frame.num_tokens = expected.num_tokens;
  keeps_coded = expected.keep_coded && frame.codec.entropy == Entropy::kRans;
  RETURN_IF_ERROR(LayOutBlocks(frame, keeps_coded ? FrameCodes::kCoded : FrameCodes::kPlain));
  stage = Stage::kBlocks;
  return absl::OkStatus();
}

absl::Status FrameReader::State::CheckBlock(const BlockView& view) const {
  if (block == frame.blocks.size()) {
    return absl::DataLossError(
        absl::StrCat("a block of layer ", view.layer, " after the last: ", "expected the trailer"));
  }
  const KvBlock& whole = frame.blocks[block];
  if (view.layer != static_cast<uint32_t>(whole.layer) ||
      view.half != static_cast<uint32_t>(whole.half) || view.first_token != first_token) {
    return absl::DataLossError(absl::StrCat("block is layer ", view.layer, " half ", view.half,
                                            " first_token ", view.first_token, ": expected layer ",
                                            whole.layer, " half ", static_cast<int>(whole.half),
                                            " first_token ", first_token));
  }
  const uint32_t num_kept = frame.num_kept();
  if (view.num_tokens < 1 || view.num_tokens > num_kept - first_token) {
    return absl::DataLossError(Differs("block.num_tokens", view.num_tokens,
                                       absl::StrCat("1 to ", num_kept - first_token)));
  }
  const size_t codes = whole.codes_bytes / num_kept * view.num_tokens;
  const Entropy entropy = expected.codec.entropy;
  if (entropy == Entropy::kNone && view.codes.size() != codes) {
    return absl::DataLossError(Differs("block.codes bytes", view.codes.size(), codes));
  }
  if (const size_t most = MaxCodedBytes(entropy, SourceOf(frame, whole), codes);
      view.codes.size() > most) {
    return absl::DataLossError(
        Differs("block.codes bytes", view.codes.size(), absl::StrCat("at most ", most)));
  }
  const size_t sections = whole.zero_points_bytes == 0 ? 1 : 2;
  const size_t scales = sections * (ScaleBytesBefore(whole, first_token + view.num_tokens) -
                                    ScaleBytesBefore(whole, first_token));
  if (view.scales.size() != scales) {
    return absl::DataLossError(Differs("block.scales bytes", view.scales.size(), scales));
  }
  return absl::OkStatus();
}

absl::Status FrameReader::State::TakeCodes(const BlockView& view) {
  if (keeps_coded) {
    frame.coded_pieces.push_back(
        {block, view.first_token, view.num_tokens, frame.coded.size(), view.codes.size()});
    frame.coded.insert(frame.coded.end(), view.codes.begin(), view.codes.end());
    return absl::OkStatus();
  }
  const KvBlock& whole = frame.blocks[block];
  const size_t token_codes = whole.codes_bytes / frame.num_kept();
  const MutableByteSpan codes =
      MutableByteSpan(frame.data)
          .subspan(whole.codes_offset + token_codes * first_token, token_codes * view.num_tokens);
  if (expected.codec.entropy != Entropy::kNone) {
    return DecodeCodes(expected.codec.entropy, SourceOf(frame, whole), view.codes, codes);
  }
  std::ranges::copy(view.codes, codes.begin());
  return absl::OkStatus();
}

absl::Status FrameReader::State::ReadBlock(const BlockView& view) {
  RETURN_IF_ERROR(CheckBlock(view));
  RETURN_IF_ERROR(TakeCodes(view));
  const KvBlock& whole = frame.blocks[block];
  const size_t before = ScaleBytesBefore(whole, first_token);
  const size_t scales = ScaleBytesBefore(whole, first_token + view.num_tokens) - before;
  std::ranges::copy(view.scales.first(scales), frame.data.data() + whole.scales_offset + before);
  std::ranges::copy(view.scales.subspan(scales),
                    frame.data.data() + whole.zero_points_offset + before);
  AddBlock(hasher, view.layer, view.half, view.first_token, view.num_tokens, view.codes,
           view.scales);
  read.set_num_blocks(read.num_blocks() + 1);
  read.set_code_bytes(read.code_bytes() + view.codes.size());
  read.set_scale_bytes(read.scale_bytes() + view.scales.size());
  first_token += view.num_tokens;
  if (first_token == frame.num_kept()) {
    first_token = 0;
    ++block;
  }
  return absl::OkStatus();
}

absl::Status FrameReader::State::ReadTrailer(const v1::CacheTrailer& trailer) {
  if (block != frame.blocks.size()) {
    return absl::DataLossError(
        Differs("trailer after complete blocks", block, frame.blocks.size()));
  }
  if (trailer.num_blocks() != read.num_blocks()) {
    return absl::DataLossError(
        Differs("trailer.num_blocks", trailer.num_blocks(), read.num_blocks()));
  }
  if (trailer.code_bytes() != read.code_bytes()) {
    return absl::DataLossError(
        Differs("trailer.code_bytes", trailer.code_bytes(), read.code_bytes()));
  }
  if (trailer.scale_bytes() != read.scale_bytes()) {
    return absl::DataLossError(
        Differs("trailer.scale_bytes", trailer.scale_bytes(), read.scale_bytes()));
  }
  if (trailer.checksum() != hasher.Digest()) {
    return absl::DataLossError(
        Differs("trailer.checksum", HashText(trailer.checksum()), HashText(hasher.Digest())));
  }
  stage = Stage::kDone;
  return absl::OkStatus();
}

FrameReader::FrameReader(FrameExpectation expectation)
    : state_(std::make_unique<State>(std::move(expectation))) {}
FrameReader::~FrameReader() = default;
FrameReader::FrameReader(FrameReader&&) noexcept = default;
FrameReader& FrameReader::operator=(FrameReader&&) noexcept = default;

absl::Status FrameReader::Add(const std::string& message) {
  if (state_->status.ok()) state_->status = state_->ReadChunk(message);
  return state_->status;
}

absl::StatusOr<KvFrame> FrameReader::Finish() {
  RETURN_IF_ERROR(state_->status);
  if (state_->stage == State::Stage::kTaken) {
    return absl::FailedPreconditionError("the frame has been taken already");
  }
  if (state_->stage != State::Stage::kDone) {
    return absl::DataLossError(
        absl::StrCat("the stream ended after ", state_->sequence, " messages: expected a trailer"));
  }
  state_->stage = State::Stage::kTaken;
  return std::move(state_->frame);
}

const WireBytes& FrameReader::bytes() const { return state_->bytes; }

}  // namespace qc2c
