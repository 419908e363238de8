#include "common/wire/klt_frame.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/hash.h"
#include "common/base/status_macros.h"
#include "common/wire/canonical.h"
#include "common/wire/chunk_view.h"

namespace qc2c {
namespace {

constexpr size_t kMaxHeaderBytes = 64;
constexpr size_t kMaxTrailerBytes = 16;

v1::CacheHeader HeaderOf(const CodecSpec& codec, uint32_t num_tokens, uint32_t num_escape_bytes) {
  v1::CacheHeader header;
  header.set_format_version(kFormatVersion);
  *header.mutable_codec() = CodecToProto(codec);
  header.set_num_tokens(num_tokens);
  header.set_num_escape_bytes(num_escape_bytes);
  return header;
}

absl::Status CheckHeader(const v1::CacheHeader& header, const FrameExpectation& expected) {
  if (header.format_version() != kFormatVersion) {
    return absl::FailedPreconditionError(
        Differs("header.format_version", header.format_version(), kFormatVersion));
  }
  ASSIGN_OR_RETURN(const CodecSpec codec, CodecFromProto(header.codec()));
  const KltChoice& asked = *expected.codec.klt;
  if (!codec.klt || codec.klt->codebook != asked.codebook || !codec.klt->level ||
      codec.klt->fallback || (asked.level && codec.klt->level != asked.level)) {
    return absl::FailedPreconditionError(
        Differs("header.codec", codec.ToString(), expected.codec.ToString()));
  }
  if (*codec.klt->level >= expected.codebook->levels.size()) {
    return absl::InvalidArgumentError(
        Differs("header.codec.klt_level", *codec.klt->level,
                absl::StrCat("a level below ", expected.codebook->levels.size())));
  }
  if (header.num_tokens() != expected.num_tokens) {
    return absl::FailedPreconditionError(
        Differs("header.num_tokens", header.num_tokens(), expected.num_tokens));
  }
  const v1::CacheHeader whole = HeaderOf(codec, header.num_tokens(), header.num_escape_bytes());
  if (whole.SerializeAsString() == header.SerializeAsString()) return absl::OkStatus();
  return absl::InvalidArgumentError(
      "header: has a field that frames of klt do not: expected format_version, codec, num_tokens "
      "and num_escape_bytes");
}

// The codes of the one block, which has nothing else; without codes there is no block.
absl::StatusOr<ByteSpan> OnlyCodes(ByteSpan blocks) {
  if (blocks.empty()) return ByteSpan();
  ASSIGN_OR_RETURN(const BlockView block, TakeBlock(blocks));
  if (!blocks.empty()) return absl::DataLossError(Differs("blocks", "several", "one at most"));
  if (block.layer != 0 || block.half != 0 || block.first_token != 0 || block.num_tokens != 0 ||
      !block.scales.empty()) {
    return absl::InvalidArgumentError("block: has another field than codes: expected codes alone");
  }
  return block.codes;
}

absl::StatusOr<ChunkView> ViewWhole(const std::string& message) {
  if (message.size() > kMaxChunkBytes + kMessageSlackBytes) {
    return absl::InvalidArgumentError(
        Differs("message bytes", message.size(),
                absl::StrCat("at most ", kMaxChunkBytes + kMessageSlackBytes)));
  }
  ASSIGN_OR_RETURN(const ChunkView chunk, ViewChunk(AsBytes(message)));
  if (chunk.sequence != 0) return absl::DataLossError(Differs("sequence", chunk.sequence, 0));
  if (!chunk.header) return absl::DataLossError(Differs("header", "missing", "one"));
  if (!chunk.trailer) return absl::DataLossError(Differs("trailer", "missing", "one"));
  return chunk;
}

}  // namespace

uint64_t KltChecksum(const v1::CacheHeader& header, ByteSpan codes) {
  Hasher hasher;
  hasher.AddU32(header.format_version()).AddU32(header.codec().scheme());
  hasher.AddU64(header.codec().codebook()).AddU32(header.codec().klt_level());
  hasher.AddU32(header.num_tokens()).AddU32(header.num_escape_bytes());
  hasher.AddU32(static_cast<uint32_t>(codes.size())).Add(codes);
  return hasher.Digest();
}

absl::StatusOr<std::string> WriteKltFrame(const KvFrame& frame) {
  if (!frame.codec.klt || !frame.codec.klt->level) {
    return absl::InvalidArgumentError(
        Differs("frame.codec", frame.codec.ToString(), "klt with a level"));
  }
  if (frame.data.size() > kMaxChunkBytes) {
    return absl::InvalidArgumentError(
        Differs("frame.data bytes", frame.data.size(), absl::StrCat("at most ", kMaxChunkBytes)));
  }
  v1::CacheChunk chunk;
  *chunk.mutable_header() = HeaderOf(frame.codec, frame.num_tokens, frame.num_escape_bytes);
  if (!frame.data.empty()) chunk.add_blocks()->set_codes(frame.data.data(), frame.data.size());
  chunk.mutable_trailer()->set_checksum(KltChecksum(chunk.header(), frame.data));
  return chunk.SerializeAsString();
}

absl::Status CheckKltExpectation(const FrameExpectation& expected) {
  RETURN_IF_ERROR(expected.codec.Validate());
  const KltCodebook* book = expected.codebook;
  if (book == nullptr || book->id != expected.codec.klt->codebook) {
    return absl::InvalidArgumentError(Differs(
        "codebook", book == nullptr ? "none" : HashText(book->id), expected.codec.ToString()));
  }
  if (book->sharer_fingerprint != expected.model_fingerprint || book->layout != expected.layout ||
      book->layers != expected.layers) {
    return absl::InvalidArgumentError(absl::StrCat(
        "codebook ", HashText(book->id), " is of another model, layout or set of layers"));
  }
  const size_t least = book->prompt_template.num_prefix() + book->prompt_template.num_tail();
  if (expected.num_tokens >= least && expected.num_tokens <= KvLayout::kMaxTokens) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(Differs("num_tokens", expected.num_tokens,
                                            absl::StrCat(least, " to ", KvLayout::kMaxTokens)));
}

absl::StatusOr<KvFrame> ReadKltFrame(const std::string& message, const FrameExpectation& expected) {
  ASSIGN_OR_RETURN(const ChunkView chunk, ViewWhole(message));
  ASSIGN_OR_RETURN(const auto header,
                   ParseCanonical<v1::CacheHeader>(*chunk.header, kMaxHeaderBytes, "header"));
  RETURN_IF_ERROR(CheckHeader(header, expected));
  ASSIGN_OR_RETURN(const ByteSpan codes, OnlyCodes(chunk.blocks));
  if (header.num_escape_bytes() > codes.size()) {
    return absl::InvalidArgumentError(Differs("header.num_escape_bytes", header.num_escape_bytes(),
                                              absl::StrCat("at most ", codes.size())));
  }
  ASSIGN_OR_RETURN(const auto trailer,
                   ParseCanonical<v1::CacheTrailer>(*chunk.trailer, kMaxTrailerBytes, "trailer"));
  if (trailer.num_blocks() != 0 || trailer.code_bytes() != 0 || trailer.scale_bytes() != 0) {
    return absl::InvalidArgumentError("trailer: has a count: expected the checksum alone");
  }
  const uint64_t checksum = KltChecksum(header, codes);
  if (trailer.checksum() != checksum) {
    return absl::DataLossError(
        Differs("trailer.checksum", HashText(trailer.checksum()), HashText(checksum)));
  }
  const uint32_t budget = expected.codec.klt->budget_bytes;
  if (budget != 0 && message.size() > budget) {
    return absl::InvalidArgumentError(
        Differs("message bytes", message.size(), absl::StrCat("at most budget_bytes ", budget)));
  }
  const uint32_t level = header.codec().klt_level();
  KvFrame frame;
  frame.model_fingerprint = expected.model_fingerprint;
  frame.layout = expected.layout;
  frame.codec = CodecSpec::Klt({.codebook = expected.codebook->id, .level = level});
  frame.codebook = expected.codebook;
  frame.num_tokens = expected.num_tokens;
  frame.positions =
      expected.codebook->KeptTokens(expected.codebook->levels[level], expected.num_tokens);
  frame.layers = expected.layers;
  frame.data.assign(codes.begin(), codes.end());
  frame.num_escape_bytes = header.num_escape_bytes();
  return frame;
}

absl::StatusOr<KltMessage> WriteLevel(KltEncoder& encoder, uint32_t level) {
  ASSIGN_OR_RETURN(const KvFrame frame, encoder.Encode(level));
  KltMessage written{.num_kept = static_cast<uint32_t>(frame.positions.size())};
  ASSIGN_OR_RETURN(written.message, WriteKltFrame(frame));
  return written;
}

absl::StatusOr<KltMessage> WriteWithinBudget(KltEncoder& encoder, uint32_t budget_bytes) {
  size_t least = SIZE_MAX;
  for (size_t level = encoder.codebook().levels.size(); level-- > 0;) {
    ASSIGN_OR_RETURN(KltMessage written, WriteLevel(encoder, static_cast<uint32_t>(level)));
    if (written.message.size() <= budget_bytes) return written;
    least = std::min(least, written.message.size());
  }
  return absl::InvalidArgumentError(absl::StrCat(
      "codec: budget_bytes is ", budget_bytes, ": the least level of the codebook takes ", least,
      " bytes for this prompt, header and trailer included"));
}

}  // namespace qc2c
