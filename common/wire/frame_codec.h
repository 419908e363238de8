// KvFrame <-> CacheChunk messages, and the count of every byte. proto/FORMAT.md is the
// specification.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/codec/codec.h"
#include "common/codec/klt_codebook.h"
#include "qc2c/v1/cache.pb.h"

namespace qc2c {

inline constexpr uint32_t kFormatVersion = 2;
inline constexpr uint32_t kDefaultChunkBytes = 1 << 20;
inline constexpr uint32_t kMinChunkBytes = 1 << 10;
inline constexpr uint32_t kMaxChunkBytes = 4 << 20;
// A message may pass the chunk size by its own overhead, header and indices included.
inline constexpr uint32_t kMessageSlackBytes = (128 << 10) + (64 << 10);

// Codes and scales of one frame; a reader refuses to expect more.
inline constexpr uint64_t kMaxFrameBytes = uint64_t{16} << 30;

// Serialized bytes by what they carry; tx is the sum of the others.
struct WireBytes {
  uint64_t tx = 0;
  uint64_t payload = 0;
  uint64_t scales = 0;
  uint64_t indices = 0;
  uint64_t header = 0;  // field tags, lengths, the header's and trailer's fields
  uint64_t messages = 0;

  // What gRPC puts on its stream for these messages: a five-byte prefix each.
  uint64_t grpc() const { return tx + 5 * messages; }
  WireBytes& operator+=(const WireBytes& other);
  bool operator==(const WireBytes&) const = default;
};

// CodecSpec <-> its message. Reading gives INVALID_ARGUMENT naming the field.
v1::Codec CodecToProto(const CodecSpec& codec);
absl::StatusOr<CodecSpec> CodecFromProto(const v1::Codec& proto);
v1::KvLayout LayoutToProto(const KvLayout& layout);
absl::StatusOr<KvLayout> LayoutFromProto(const v1::KvLayout& proto);

// The serialized CacheChunk messages of a frame, in order. Deterministic; a coded frame gives those
// of its codes, without coding them again if it is cut as this is (DATA_LOSS if it is not, nor the
// coding of any codes). Codes and scales of at
// most about `chunk_bytes` a message; a frame that is smaller is one message. INVALID_ARGUMENT if
// chunk_bytes is outside [kMinChunkBytes, kMaxChunkBytes], or if one token needs a larger message
// than a reader takes.
absl::StatusOr<std::vector<std::string>> WriteFrame(const KvFrame& frame, uint32_t chunk_bytes);

// The bytes of all messages of WriteFrame, whatever the frame's codes, scales and fingerprint are.
// Errors as from WriteFrame.
absl::StatusOr<uint64_t> BytesOfFrame(const KvFrame& frame, uint32_t chunk_bytes);

// What the bytes of one serialized message carry. INVALID_ARGUMENT if it does not parse.
absl::StatusOr<WireBytes> CountMessage(const std::string& message);

// What a reader knows before the first byte, and therefore checks.
struct FrameExpectation {
  uint64_t model_fingerprint = 0;
  KvLayout layout;
  CodecSpec codec;  // as asked for: with a budget, the header's codec is one that resolves it
  uint32_t num_tokens = 0;
  KvLayerSet layers;
  const KltCodebook* codebook = nullptr;  // of the scheme klt; outlives the reader
  // With entropy=rans the frame stays coded (KvFrame), for a DecodeCache on CUDA, which then is the
  // one that finds codes that are not coded right.
  bool keep_coded = false;
};

// Assembles a frame from messages that nobody vouches for. Allocates no more than the expectation
// implies: a frame; with keep_coded what coded codes may take, and a record of each piece. Every
// error names the field, what was found and what was expected:
//   DATA_LOSS            checksum, count or order of messages, truncation, a repeated or missing
//   block FAILED_PRECONDITION  format version, model, layout or codec other than expected
//   INVALID_ARGUMENT     bytes that do not parse, fields out of range
// After an error the reader stays in error.
class FrameReader {
 public:
  // An expectation that no frame can meet (a field out of range, above kMaxFrameBytes) is the error
  // of the first Add.
  explicit FrameReader(FrameExpectation expectation);
  ~FrameReader();
  FrameReader(FrameReader&&) noexcept;
  FrameReader& operator=(FrameReader&&) noexcept;

  // One serialized message, in stream order.
  absl::Status Add(const std::string& message);
  // After the stream's end. The frame, once; an error if the trailer has not been seen.
  absl::StatusOr<KvFrame> Finish();
  // Of all messages added so far.
  const WireBytes& bytes() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace qc2c
