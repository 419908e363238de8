// Seeded mutations of valid streams, read and decoded as a receiver does. Memory errors are for the
// sanitizer build to find; here a stream must be refused, or be one that the writer could have
// written.
#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "common/wire/test_frames.h"
#include "tests/fuzz/fuzz_codecs.h"
#include "tests/fuzz/stream_pieces.h"

namespace qc2c {
namespace {

class Mutator {
 public:
  explicit Mutator(uint32_t seed) : random_(seed) {}

  // Changes one to four things of a stream; `other` is what pieces are borrowed from.
  void Mutate(Messages& messages, const Messages& other) {
    for (uint32_t n = 1 + Below(4); n > 0; --n) {
      if (messages.empty()) return;
      if (Below(8) == 0) {
        MutateOrder(messages, other);
      } else {
        MutateBytes(messages[Below(messages.size())], other[Below(other.size())]);
      }
    }
    // Behind a checksum that fits, the checks that it would hide must hold alone.
    if (Below(2) == 0) RepairChecksum(messages);
  }

 private:
  size_t Below(size_t bound) { return random_() % bound; }

  void MutateOrder(Messages& messages, const Messages& other) {
    const size_t i = Below(messages.size());
    switch (Below(4)) {
      case 0:
        messages.erase(messages.begin() + i);
        break;
      case 1:
        messages.insert(messages.begin() + i, messages[Below(messages.size())]);
        break;
      case 2:
        std::swap(messages[i], messages[Below(messages.size())]);
        break;
      default:
        messages[i] = other[Below(other.size())];
    }
  }

  void MutateBytes(std::string& bytes, const std::string& other) {
    if (bytes.empty()) return;
    // Half of the changes fall on the first 64 bytes, where the header and the first block begin.
    const size_t i = Below(Below(2) == 0 ? std::min<size_t>(bytes.size(), 64) : bytes.size());
    const size_t count = 1 + Below(std::min<size_t>(bytes.size() - i, 20));
    switch (Below(8)) {
      case 0:
        bytes[i] = static_cast<char>(bytes[i] ^ 1 << Below(8));
        break;
      case 1:
        bytes[i] = static_cast<char>(random_());
        break;
      case 2:
        bytes[i] = static_cast<char>(bytes[i] + (Below(2) == 0 ? 1 : -1));
        break;
      case 3:
        bytes.erase(i, count);
        break;
      case 4:
        bytes.insert(i, bytes.substr(Below(bytes.size()), count));
        break;
      case 5:
        bytes.replace(i, count, other, Below(other.size()), count);
        break;
      case 6:
        bytes.resize(i);
        break;
      default:  // a varint as large as they come
        bytes.replace(i, 1, std::string(1 + Below(10), '\xff') + '\x01');
    }
  }

  std::mt19937 random_;
};

TEST(FrameFuzzTest, AMutatedStreamIsRefusedOrAFrameThatTheWriterCouldHaveWritten) {
  constexpr int kRounds = 20000;
  std::vector<Messages> streams;
  for (const char* codec : kFuzzCodecs) {
    streams.push_back(WriteFrame(RandomFrame(codec, kFuzzShape), kMinChunkBytes).value());
  }
  Mutator mutator(20240229);
  int accepted = 0;
  int decoded = 0;
  for (size_t i = 0; i < streams.size(); ++i) {
    const KvFrame original = RandomFrame(kFuzzCodecs[i], kFuzzShape);
    const FrameExpectation expectation = ExpectationOf(original);
    const DecodeTarget target(original);
    for (int round = 0; round < kRounds; ++round) {
      Messages messages = streams[i];
      mutator.Mutate(messages, streams[(i + round) % streams.size()]);
      const auto frame = ReadFrame(expectation, messages);
      if (!frame.ok()) continue;
      ++accepted;
      ASSERT_EQ(frame->codec, original.codec);
      ASSERT_EQ(frame->layers, original.layers);
      ASSERT_EQ(frame->positions.size(), original.positions.size());
      if (!DecodeCache(*frame, target.view()).ok()) continue;  // a scale below 0, NaN or infinite
      ++decoded;
      const auto again = WriteFrame(*frame, kMaxChunkBytes);
      ASSERT_TRUE(again.ok()) << again.status();
      ASSERT_EQ(ReadFrame(expectation, *again)->data, frame->data);
    }
  }
  // Repaired checksums let changed codes and scales through; were nothing accepted, nothing of what
  // comes after the checksum would have been tried.
  EXPECT_GT(accepted, kRounds / 10);
  EXPECT_GT(decoded, kRounds / 10);
  RecordProperty("accepted", accepted);
  RecordProperty("decoded", decoded);
}

TEST(FrameFuzzTest, BytesOfNoFormatAreRefused) {
  std::mt19937 random(7);
  const FrameExpectation expectation = ExpectationOf(RandomFrame(kFuzzCodecs[0], kFuzzShape));
  for (int round = 0; round < 100'000; ++round) {
    std::string message(random() % 200, '\0');
    std::generate(message.begin(), message.end(), [&] { return static_cast<char>(random()); });
    ASSERT_FALSE(ReadFrame(expectation, {message}).ok());
  }
}

}  // namespace
}  // namespace qc2c
