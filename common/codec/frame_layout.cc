#include "common/codec/frame_layout.h"

#ifdef __linux__
#include <sys/mman.h>
#include <unistd.h>
#endif

#include <algorithm>
#include <cmath>
#include <new>
#include <stdexcept>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/codec/coded_frame.h"
#include "common/codec/scaled_scheme.h"
#include "common/codec/scheme_registry.h"

namespace qc2c {
namespace {

size_t AlignUp(size_t bytes) {
  return (bytes + kSectionAlignment - 1) / kSectionAlignment * kSectionAlignment;
}

// "layer 3 key", for messages.
std::string TensorText(const KvTensorId& tensor) {
  return absl::StrCat("layer ", tensor.layer, " ", std::string(HalfName(tensor.half)));
}

std::string BlockText(const KvBlock& block) { return TensorText({block.layer, block.half}); }

// No tensor of the frame is one that its schedule does not send.
absl::Status CheckAllSent(const KvFrame& frame) {
  for (const KvTensorId& tensor : frame.layers.Tensors()) {
    if (frame.codec.schedule.Sends(tensor.layer, tensor.half)) continue;
    return absl::InvalidArgumentError(absl::StrCat("frame.layers has ", TensorText(tensor),
                                                   ": expected none that the codec does not send, ",
                                                   frame.codec.ToString()));
  }
  return absl::OkStatus();
}

absl::Status CheckPositions(const KvFrame& frame) {
  if (frame.num_tokens < 1 || frame.num_tokens > KvLayout::kMaxTokens) {
    return absl::InvalidArgumentError(absl::StrCat("frame.num_tokens is ", frame.num_tokens,
                                                   ": expected 1 to ", KvLayout::kMaxTokens));
  }
  const uint32_t expected = frame.codec.NumKept(frame.num_tokens);
  const size_t num_sets = frame.num_index_sets();
  if (frame.positions.size() != num_sets * expected) {
    return absl::InvalidArgumentError(absl::StrCat(
        "frame.positions has ", frame.positions.size(), " entries: expected ", expected, " of ",
        frame.num_tokens, " tokens in each of ", num_sets, " index sets"));
  }
  for (size_t i = 0; i < frame.positions.size(); ++i) {
    const uint32_t position = frame.positions[i];
    const bool is_first = i % expected == 0;
    if (position >= frame.num_tokens || (!is_first && position <= frame.positions[i - 1])) {
      return absl::InvalidArgumentError(absl::StrCat("frame.positions[", i, "] is ", position,
                                                     ": expected ascending values below ",
                                                     frame.num_tokens));
    }
  }
  return absl::OkStatus();
}

absl::Status CheckSection(const KvBlock& block, std::string_view section, size_t offset,
                          size_t bytes, size_t expected_bytes, size_t data_bytes) {
  if (bytes != expected_bytes) {
    return absl::InvalidArgumentError(absl::StrCat("frame block ", BlockText(block), " has ", bytes,
                                                   " bytes of ", std::string(section),
                                                   ": expected ", expected_bytes));
  }
  if (offset % kSectionAlignment != 0 || offset > data_bytes || bytes > data_bytes - offset) {
    return absl::InvalidArgumentError(
        absl::StrCat("frame block ", BlockText(block), " has ", std::string(section), " at ",
                     offset, " of ", data_bytes, " bytes of data: expected a multiple of ",
                     kSectionAlignment, " that leaves room for ", bytes));
  }
  return absl::OkStatus();
}

absl::Status CheckScales(const KvFrame& frame, const KvBlock& block, const CodecSpec& own) {
  const ScaleType type = own.scale_type;
  if (type == ScaleType::kNone) return absl::OkStatus();
  const ByteSpan zero_points = frame.ZeroPoints(block);
  for (size_t i = 0; i < zero_points.size() / ScaleBytes(type); ++i) {
    const float zero_point = LoadScale(zero_points, i, type);
    if (std::isfinite(zero_point)) continue;
    return absl::InvalidArgumentError(absl::StrCat("frame block ", BlockText(block),
                                                   " has zero point ", i, " of ", zero_point,
                                                   ": expected a finite number"));
  }
  const ByteSpan scales = frame.Scales(block);
  const uint64_t num_scales =
      NumScales(own.scaling(), frame.num_kept(), frame.layout.num_kv_heads, frame.layout.head_dim);
  for (size_t i = 0; i < num_scales; ++i) {
    const float scale = LoadScale(scales, i, own.scaling(), frame.layout.head_dim);
    if (std::isfinite(scale) && !std::signbit(scale)) continue;
    return absl::InvalidArgumentError(absl::StrCat("frame block ", BlockText(block), " has scale ",
                                                   i, " of ", scale,
                                                   ": expected a finite number of at least 0"));
  }
  return absl::OkStatus();
}

// Each token of each block once, in order, in no more bytes than a coding can have.
absl::Status CheckPieces(const KvFrame& frame) {
  if (!frame.is_coded()) return absl::OkStatus();
  const Entropy entropy = frame.codec.entropy;
  if (entropy != Entropy::kRans) {
    return absl::InvalidArgumentError("frame.coded_pieces: expected none without entropy=rans");
  }
  size_t block = 0;
  uint32_t token = 0;
  for (const CodedPiece& piece : frame.coded_pieces) {
    const bool is_next = piece.block == block && block < frame.blocks.size() &&
                         piece.first_token == token && piece.num_tokens >= 1 &&
                         piece.num_tokens <= frame.num_kept() - token;
    if (!is_next || piece.offset > frame.coded.size() ||
        piece.bytes > frame.coded.size() - piece.offset) {
      return absl::InvalidArgumentError(absl::StrCat(
          "frame.coded_pieces has ", piece.num_tokens, " tokens of block ", piece.block,
          " from token ", piece.first_token, " in ", piece.bytes, " bytes at ", piece.offset,
          " of ", frame.coded.size(), ": expected block ", block, " from token ", token));
    }
    const KvBlock& whole = frame.blocks[block];
    const size_t codes = whole.codes_bytes / frame.num_kept() * piece.num_tokens;
    if (const size_t most = MaxCodedBytes(entropy, SourceOf(frame, whole), codes);
        piece.bytes > most) {
      return absl::InvalidArgumentError(absl::StrCat("frame.coded_pieces has ", piece.bytes,
                                                     " bytes for ", codes,
                                                     " bytes of codes: expected at most ", most));
    }
    token += piece.num_tokens;
    if (token < frame.num_kept()) continue;
    token = 0;
    ++block;
  }
  if (block == frame.blocks.size()) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("frame.coded_pieces ends in block ", block,
                                                 ": expected all ", frame.blocks.size()));
}

absl::Status CheckBlocks(const KvFrame& frame) {
  const std::vector<KvTensorId> tensors = frame.layers.Tensors();
  if (frame.blocks.size() != tensors.size()) {
    return absl::InvalidArgumentError(absl::StrCat("frame.blocks has ", frame.blocks.size(),
                                                   " entries: expected ", tensors.size()));
  }
  const size_t room_bytes = frame.RoomBytes();
  for (size_t i = 0; i < frame.blocks.size(); ++i) {
    const KvBlock& block = frame.blocks[i];
    if (block.layer != tensors[i].layer || block.half != tensors[i].half) {
      return absl::InvalidArgumentError(absl::StrCat("frame.blocks[", i, "] is ", BlockText(block),
                                                     ": expected ", TensorText(tensors[i])));
    }
    const CodecSpec own = frame.codec.Of(block.layer, block.half);
    ASSIGN_OR_RETURN(const BlockBytes bytes, BytesOfBlock(own, frame.layout, frame.num_kept()));
    RETURN_IF_ERROR(CheckSection(block, "codes", block.codes_offset, block.codes_bytes, bytes.codes,
                                 room_bytes));
    RETURN_IF_ERROR(CheckSection(block, "scales", block.scales_offset, block.scales_bytes,
                                 bytes.scales, frame.data.size()));
    RETURN_IF_ERROR(CheckSection(block, "zero points", block.zero_points_offset,
                                 block.zero_points_bytes, bytes.zero_points, frame.data.size()));
    RETURN_IF_ERROR(CheckScales(frame, block, own));
  }
  return absl::OkStatus();
}

// What is large is new from the system each time, which finds and clears it page by page: of a long
// prompt's frame that took several times what encoding it does. No more than advice.
void ReserveInLargePages(size_t bytes, std::vector<uint8_t>& memory) {
  constexpr size_t kWorthIt = 4 << 20;
  if (bytes < kWorthIt || memory.capacity() >= bytes) return;
  memory = {};
  memory.reserve(bytes);
#ifdef __linux__
  const auto page = static_cast<uintptr_t>(getpagesize());
  const auto begin = reinterpret_cast<uintptr_t>(memory.data());
  const uintptr_t first = (begin + page - 1) / page * page;
  const uintptr_t end = (begin + bytes) / page * page;
  madvise(reinterpret_cast<void*>(first), end - first, MADV_HUGEPAGE);
#endif
}

}  // namespace

absl::StatusOr<BlockBytes> BytesOfBlock(const CodecSpec& codec, const KvLayout& layout,
                                        uint32_t num_kept) {
  RETURN_IF_ERROR(layout.Validate());
  const SchemeCoder* const coder = FindScheme(codec.scheme);
  if (coder == nullptr) return codec.Validate();
  if (num_kept > KvLayout::kMaxTokens) {
    return absl::InvalidArgumentError(
        absl::StrCat("num_kept is ", num_kept, ": expected at most ", KvLayout::kMaxTokens));
  }
  const uint64_t heads = static_cast<uint64_t>(layout.num_kv_heads);
  const size_t scales = ScaleBytesBefore(codec.scaling(), num_kept, heads, layout.head_dim);
  return BlockBytes{.codes = num_kept * heads * coder->RowBytes(layout.head_dim),
                    .scales = scales,
                    .zero_points = codec.HasZeroPoints() ? scales : 0};
}

absl::Status LayOutBlocks(KvFrame& frame, FrameCodes codes) {
  RETURN_IF_ERROR(frame.layers.Validate(frame.layout));
  RETURN_IF_ERROR(CheckAllSent(frame));
  frame.blocks.clear();
  size_t end = 0;
  const auto place = [&end](size_t bytes) { return std::exchange(end, end + AlignUp(bytes)); };
  for (const auto& [layer, half] : frame.layers.Tensors()) {
    ASSIGN_OR_RETURN(const BlockBytes bytes,
                     BytesOfBlock(frame.codec.Of(layer, half), frame.layout, frame.num_kept()));
    KvBlock& block = frame.blocks.emplace_back();
    block.layer = layer;
    block.half = half;
    block.codes_bytes = bytes.codes;
    block.scales_bytes = bytes.scales;
    block.zero_points_bytes = bytes.zero_points;
    if (codes == FrameCodes::kPlain) block.codes_offset = place(bytes.codes);
    block.scales_offset = place(bytes.scales);
    block.zero_points_offset = place(bytes.zero_points);
  }
  const size_t data_bytes = end;
  if (codes == FrameCodes::kCoded) {
    for (KvBlock& block : frame.blocks) block.codes_offset = place(block.codes_bytes);
  }
  try {
    ReserveInLargePages(data_bytes, frame.data);
    frame.data.assign(data_bytes, 0);
  } catch (const std::bad_alloc&) {
    return absl::ResourceExhaustedError(
        absl::StrCat("no memory for a frame of ", data_bytes, " bytes"));
  }
  return absl::OkStatus();
}

size_t KvFrame::RoomBytes() const {
  size_t room = data.size();
  if (is_coded()) {
    for (const KvBlock& block : blocks) room += AlignUp(block.codes_bytes);
  }
  return room;
}

absl::Status CheckFrame(const KvFrame& frame) {
  RETURN_IF_ERROR(frame.codec.Validate());
  if (frame.codec.budget_bytes != 0) {
    return absl::InvalidArgumentError(absl::StrCat("frame.codec has a budget of ",
                                                   frame.codec.budget_bytes,
                                                   " bytes: expected a codec that resolves it"));
  }
  RETURN_IF_ERROR(frame.layout.Validate());
  RETURN_IF_ERROR(frame.layers.Validate(frame.layout));
  RETURN_IF_ERROR(CheckPositions(frame));
  RETURN_IF_ERROR(frame.codec.schedule.CheckLayers(frame.layout));
  RETURN_IF_ERROR(CheckAllSent(frame));
  RETURN_IF_ERROR(CheckBlocks(frame));
  return CheckPieces(frame);
}

size_t KvFrame::FirstPosition(int32_t layer) const {
  if (codec.index_sets == IndexSets::kOne) return 0;
  const std::vector<int32_t> sent = layers.Layers();
  return static_cast<size_t>(std::ranges::lower_bound(sent, layer) - sent.begin()) * num_kept();
}

uint64_t FormulaBytes(const KvFrame& frame) {
  const uint64_t values =
      uint64_t{frame.num_kept()} * frame.layout.num_kv_heads * frame.layout.head_dim;
  uint64_t bits = 0;
  for (const KvBlock& block : frame.blocks) {
    const SchemeCoder* const coder = FindScheme(frame.codec.Of(block.layer, block.half).scheme);
    if (coder != nullptr) bits += values * coder->bits_per_value();
  }
  return bits / 8;
}

}  // namespace qc2c
