// libFuzzer: frames of the scheme klt, as messages through the reader and as frames through the
// decoder. Input: a byte that says which (bit 0) and whether the message's checksum is repaired
// (bit 1), then how many tokens the prompt has beside the template's. Behind it a message, or a
// level, the number of escape bytes in two bytes, and codes.
#include <algorithm>
#include <cstdlib>
#include <numeric>

#include "common/codec/test_codebook.h"
#include "common/wire/klt_frame.h"
#include "tests/fuzz/stream_pieces.h"

namespace qc2c {
namespace {

const KltCodebook& Codebook() {
  static const KltCodebook book = TestCodebook();
  return book;
}

FrameExpectation Expectation(uint32_t num_tokens) {
  const KltCodebook& book = Codebook();
  return {book.sharer_fingerprint,
          book.layout,
          CodecSpec::Klt({.codebook = book.id}),
          num_tokens,
          book.layers,
          &book};
}

// A message that does not parse stays as it is.
void RepairKltChecksum(std::string& message) {
  v1::CacheChunk chunk;
  if (!chunk.ParseFromString(message) || !chunk.has_trailer()) return;
  const std::string codes = chunk.blocks().empty() ? "" : chunk.blocks(0).codes();
  chunk.mutable_trailer()->set_checksum(KltChecksum(chunk.header(), AsBytes(codes)));
  message = chunk.SerializeAsString();
}

void Decode(const KvFrame& frame) {
  std::vector<uint32_t> positions(frame.num_tokens);
  std::iota(positions.begin(), positions.end(), 1);
  const DecodeTarget target(frame);
  DecodeCache(frame, target.view(), {.token_positions = positions}).IgnoreError();
}

// What is accepted must be the one spelling of its frame.
void ReadMessage(std::string message, bool repair, uint32_t num_tokens) {
  if (repair) RepairKltChecksum(message);
  const auto frame = ReadKltFrame(message, Expectation(num_tokens));
  if (!frame.ok()) return;
  const auto again = WriteKltFrame(*frame);
  if (!again.ok() || *again != message) std::abort();
  Decode(*frame);
}

void DecodeFrame(uint32_t num_tokens, uint32_t level, uint32_t num_escape_bytes, ByteSpan codes) {
  const KltCodebook& book = Codebook();
  KvFrame frame;
  frame.model_fingerprint = book.sharer_fingerprint;
  frame.layout = book.layout;
  frame.codec = CodecSpec::Klt({.codebook = book.id, .level = level});
  frame.codebook = &book;
  frame.num_tokens = num_tokens;
  frame.positions =
      book.KeptTokens(book.levels[std::min<size_t>(level, book.levels.size() - 1)], num_tokens);
  frame.layers = book.layers;
  frame.data.assign(codes.begin(), codes.end());
  frame.num_escape_bytes = num_escape_bytes;
  Decode(frame);
}

}  // namespace
}  // namespace qc2c

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2) return 0;
  const uint32_t num_tokens = 5 + data[1] % 40;
  if ((data[0] & 1) == 0) {
    qc2c::ReadMessage({data + 2, data + size}, (data[0] & 2) != 0, num_tokens);
  } else if (size >= 5) {
    qc2c::DecodeFrame(num_tokens, data[2] % 8, data[3] | data[4] << 8, {data + 5, size - 5});
  }
  return 0;
}
