// Seeded mutations of valid streams, read and decoded as a receiver does. Memory errors are for the
// sanitizer build to find; here a stream must be refused, or be one that the writer could have
// written.
#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "common/wire/frame_checksum.h"
#include "common/wire/test_frames.h"

namespace qc2c {
namespace {

using Messages = std::vector<std::string>;

const FrameShape kShape = {.layout = {.num_layers = 4, .num_kv_heads = 2, .head_dim = 7},
                           .num_tokens = 40,
                           .layers = {.keys = {0, 3}, .values = {0, 1}}};
constexpr const char* kCodecs[] = {
    "fp32,select=key_norm,keep_tokens=4",
    "bf16,select=back,keep_ratio=0.2",
    "fp16,select=front,keep_tokens=1",
    "int8,select=value_norm,keep_ratio=0.5",
    "int8,axis=per_head,scale=fp32",
    "int4,axis=per_layer,select=key_norm,keep_ratio=0.9",
    "int4,scale=bf16,select=value_norm,keep_tokens=2",
    "int3,axis=group,group=8",
    "int2_lloyd,axis=per_channel,select=random,seed=2,keep_tokens=9",
    "binary,select=sinks,keep_tokens=12",
    "nf4,axis=group,group=8,scale=fp32,select=strided,keep_ratio=0.5",
    "fp8_e5m2,select=key_norm,keep_tokens=7",
};

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

  static void RepairChecksum(Messages& messages) {
    Hasher hasher;
    for (std::string& message : messages) {
      v1::CacheChunk chunk;
      if (!chunk.ParseFromString(message)) return;
      if (chunk.has_header()) AddHeader(hasher, chunk.header());
      for (const v1::LayerBlock& block : chunk.blocks()) {
        AddBlock(hasher, block.layer(), block.half(), block.first_token(), block.num_tokens(),
                 AsBytes(block.codes()), AsBytes(block.scales()));
      }
      if (!chunk.has_trailer()) continue;
      chunk.mutable_trailer()->set_checksum(hasher.Digest());
      message = chunk.SerializeAsString();
    }
  }

  std::mt19937 random_;
};

// A cache of exactly the size that a frame decodes to, so that the sanitizer sees any overrun.
class Target {
 public:
  explicit Target(const KvFrame& frame) {
    const int64_t num_tokens = static_cast<int64_t>(frame.positions.size());
    const KvLayout& layout = frame.layout;
    const int64_t row = layout.num_kv_heads * layout.head_dim;
    view_.layout = layout;
    view_.num_tokens = num_tokens;
    view_.keys.resize(layout.num_layers);
    view_.values.resize(layout.num_layers);
    memory_.reserve(frame.layers.NumTensors());
    for (const auto& [layer, half] : frame.layers.Tensors()) {
      memory_.emplace_back(num_tokens * row);
      (half == Half::kKey ? view_.keys : view_.values)[layer] = {memory_.back().data(), row,
                                                                 layout.head_dim};
    }
  }
  const KvCacheView& view() const { return view_; }

 private:
  std::vector<std::vector<float>> memory_;
  KvCacheView view_;
};

TEST(FrameFuzzTest, AMutatedStreamIsRefusedOrAFrameThatTheWriterCouldHaveWritten) {
  constexpr int kRounds = 20000;
  std::vector<Messages> streams;
  for (const char* codec : kCodecs) {
    streams.push_back(WriteFrame(RandomFrame(codec, kShape), kMinChunkBytes).value());
  }
  Mutator mutator(20240229);
  int accepted = 0;
  int decoded = 0;
  for (size_t i = 0; i < streams.size(); ++i) {
    const KvFrame original = RandomFrame(kCodecs[i], kShape);
    const FrameExpectation expectation = ExpectationOf(original);
    const Target target(original);
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
  const FrameExpectation expectation = ExpectationOf(RandomFrame(kCodecs[0], kShape));
  for (int round = 0; round < 100'000; ++round) {
    std::string message(random() % 200, '\0');
    std::generate(message.begin(), message.end(), [&] { return static_cast<char>(random()); });
    ASSERT_FALSE(ReadFrame(expectation, {message}).ok());
  }
}

}  // namespace
}  // namespace qc2c
