// The frames in proto/golden/v2 were made from FORMAT.md by a script that shares no code with the
// project (proto/golden/make_golden.py). If one differs, the format has changed: that needs a new
// format version and a new folder, and this test keeps reading the old one.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <numeric>

#include "common/base/bytes.h"
#include "common/wire/test_frames.h"

namespace qc2c {
namespace {

// make_golden.py's `ramp`: a value is (step - 8) / 4, step being (7 half + 5 layer + 3 token + 11
// head + 13 dim) % 23; and its `peaked`: 4 for a step of 0, else (step % 5 - 2) / 4; and its
// `channels`.
enum class Values { kRamp, kPeaked, kChannels };

class Ramp {
 public:
  Ramp(const KvLayout& layout, int64_t num_tokens, Values kind = Values::kRamp) {
    view_.layout = layout;
    view_.num_tokens = num_tokens;
    const int64_t head_dim = layout.head_dim;
    const int64_t plane = num_tokens * layout.num_kv_heads * head_dim;
    values_.resize(2 * layout.num_layers * plane);
    for (int64_t i = 0; i < static_cast<int64_t>(values_.size()); ++i) {
      const int64_t dim = i % head_dim;
      const int64_t head = i / head_dim % layout.num_kv_heads;
      const int64_t token = i / (head_dim * layout.num_kv_heads) % num_tokens;
      const int64_t layer = i / plane % layout.num_layers;
      const int64_t half = i / plane / layout.num_layers;
      const int64_t step = (half * 7 + layer * 5 + token * 3 + head * 11 + dim * 13) % 23;
      int64_t quarters = kind == Values::kRamp ? step - 8 : step == 0 ? 16 : step % 5 - 2;
      if (kind == Values::kChannels) {
        quarters = (13 * dim + 11 * head) % 13 - 6 + token * (dim + 1) % 3 - 1;
      }
      values_[i] = static_cast<float>(quarters) / 4;
    }
    for (int64_t i = 0; i < 2 * layout.num_layers; ++i) {
      (i < layout.num_layers ? view_.keys : view_.values)
          .push_back({values_.data() + i * plane, layout.num_kv_heads * head_dim, head_dim});
    }
  }
  const KvCacheView& view() const { return view_; }

 private:
  std::vector<float> values_;
  KvCacheView view_;
};

// What both sides of the frames "turned-..." hold: make_golden.py's class Facts.
ModelFacts Facts() {
  ModelFacts facts;
  facts.rotation = {.frequencies = {{1, .5f, .25f, .125f}, {.75f, .0625f, .03125f, 0}},
                    .of_layer = {0, 1}};
  ChannelMeans means = {.id = 0x0123456789abcdef,
                        .layout = {.num_layers = 2, .num_kv_heads = 2, .head_dim = 8},
                        .keys = {},
                        .values = {}};
  for (int half = 0; half < 2; ++half) {
    for (int i = 0; i < 2 * 2 * 8; ++i) {
      const int step = half * 2 + i / 16 * 3 + i / 8 % 2 * 5 + i % 8 * 7;
      (half == 0 ? means.keys : means.values).push_back(static_cast<float>(step % 11 - 4) / 8);
    }
  }
  facts.biases = means;
  facts.calibrations.push_back(std::move(means));
  return facts;
}

// File names are a codec's canonical text, perhaps behind the word for another cache or layer set.
std::string CodecOf(const std::string& name) {
  for (const std::string prefix :
       {"chunks-", "apart-", "wide-", "peaked-", "segments-", "turned-", "channels-", "scored-"}) {
    if (name.starts_with(prefix)) return name.substr(prefix.size());
  }
  return name;
}

Ramp RampOf(const std::string& name) {
  if (name.starts_with("chunks-"))
    return {{.num_layers = 2, .num_kv_heads = 2, .head_dim = 16}, 40};
  if (name.starts_with("wide-")) return {{.num_layers = 1, .num_kv_heads = 2, .head_dim = 21}, 9};
  if (name.starts_with("peaked-"))
    return {{.num_layers = 1, .num_kv_heads = 2, .head_dim = 21}, 40, Values::kPeaked};
  if (name.starts_with("channels-"))
    return {{.num_layers = 1, .num_kv_heads = 2, .head_dim = 21}, 40, Values::kChannels};
  if (name.starts_with("segments-"))
    return {{.num_layers = 1, .num_kv_heads = 2, .head_dim = 64}, 600, Values::kPeaked};
  if (name.starts_with("turned-")) return {{.num_layers = 2, .num_kv_heads = 2, .head_dim = 8}, 9};
  return {{.num_layers = 3, .num_kv_heads = 2, .head_dim = 5}, 9};
}

KvLayerSet LayersOf(const std::string& name) {
  if (name.starts_with("chunks-")) return KvLayerSet::Both({0, 1});
  if (name.starts_with("wide-") || name.starts_with("peaked-")) return KvLayerSet::Both({0});
  if (name.starts_with("turned-")) return KvLayerSet::Both({0, 1});
  if (name.starts_with("segments-") || name.starts_with("channels-")) {
    return KvLayerSet{.keys = {0}};
  }
  if (!name.starts_with("apart-")) return KvLayerSet::Both({0, 2});
  return name.find("key_norm") == std::string::npos ? KvLayerSet{.keys = {1}, .values = {0, 1}}
                                                    : KvLayerSet{.values = {1}};
}

// The scores of the frames "scored-...": make_golden.py's layer_scores.
std::vector<float> GivenScores() {
  std::vector<float> scores;
  for (int i = 0; i < 3 * 9; ++i)
    scores.push_back(static_cast<float>((i / 9 * 5 + i % 9 * 7) % 11) / 4);
  return scores;
}

TEST(GoldenFrameTest, EveryFrameOfVersion2IsWrittenAndReadAsBefore) {
  size_t num_frames = 0;
  const ModelFacts facts = Facts();
  const std::vector<float> scores = GivenScores();
  std::vector<uint32_t> positions;  // of tokens in their prompt
  for (uint32_t t = 0; t < 9; ++t) positions.push_back(2 * t + 3);
  const auto folder = std::filesystem::path(QC2C_SOURCE_DIR) / "proto/golden/v2";
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    const std::string name = entry.path().stem().string();
    SCOPED_TRACE(name);
    const bool long_frame = name.starts_with("chunks-");
    const auto codec = CodecSpec::Parse(CodecOf(name));
    ASSERT_TRUE(codec.ok()) << codec.status();
    const Ramp ramp = RampOf(name);
    const bool turned = name.starts_with("turned-");
    CodecContext context;
    if (turned) context = {&facts, positions};
    if (name.starts_with("scored-")) context.token_scores = {scores.data(), 9};
    auto frame = EncodeCache(ramp.view(), LayersOf(name), *codec, context);
    ASSERT_TRUE(frame.ok()) << frame.status();
    frame->model_fingerprint = 0x0123456789abcdef;
    const auto messages = WriteFrame(*frame, long_frame ? 1024 : kDefaultChunkBytes);
    ASSERT_TRUE(messages.ok()) << messages.status();

    std::ifstream file(entry.path());
    std::string line;
    size_t i = 0;
    for (; std::getline(file, line); ++i) {
      ASSERT_LT(i, messages->size());
      EXPECT_EQ(ToHex(AsBytes(messages->at(i))), line) << "message " << i;
    }
    EXPECT_EQ(i, messages->size());
    const auto read = ReadFrame(ExpectationOf(*frame), *messages);
    ASSERT_TRUE(read.ok()) << read.status();
    ExpectSameFrame(*read, *frame);
    ++num_frames;
  }
  EXPECT_EQ(num_frames, 86);
}

}  // namespace
}  // namespace qc2c
