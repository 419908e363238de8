// libFuzzer: the messages of a stream through FrameReader, and what it accepts through DecodeCache
// and the writer. Input: a byte that names the codec that the reader asked for, and whether the
// checksum is repaired (its top bit); then messages, each behind its length in two bytes.
#include <cstdlib>

#include "common/wire/test_frames.h"
#include "tests/fuzz/fuzz_codecs.h"
#include "tests/fuzz/stream_pieces.h"

namespace qc2c {
namespace {

Messages SplitMessages(ByteSpan bytes) {
  Messages messages;
  while (bytes.size() >= 2) {
    const size_t length = std::min<size_t>(bytes[0] | bytes[1] << 8, bytes.size() - 2);
    messages.emplace_back(bytes.begin() + 2, bytes.begin() + 2 + length);
    bytes = bytes.subspan(2 + length);
  }
  return messages;
}

void ReadAndDecode(uint8_t choice, ByteSpan bytes) {
  static const std::vector<KvFrame> kFrames = [] {
    std::vector<KvFrame> frames;
    for (const char* codec : kFuzzCodecs) frames.push_back(RandomFrame(codec, kFuzzShape));
    return frames;
  }();
  const FrameExpectation expectation = ExpectationOf(kFrames[(choice & 0x7f) % kFrames.size()]);
  Messages messages = SplitMessages(bytes);
  if (choice >= 0x80) RepairChecksum(messages);
  const auto frame = ReadFrame(expectation, messages);
  if (!frame.ok()) return;
  const DecodeTarget target(*frame);
  if (!DecodeCache(*frame, target.view()).ok()) return;  // a scale below 0, NaN or infinite
  const auto again = WriteFrame(*frame, kMaxChunkBytes);
  if (!again.ok() || ReadFrame(expectation, *again)->data != frame->data) std::abort();
}

}  // namespace
}  // namespace qc2c

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size > 0) qc2c::ReadAndDecode(data[0], {data + 1, size - 1});
  return 0;
}
