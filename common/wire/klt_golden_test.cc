// The codebook and the frames in proto/golden/klt were made from FORMAT.md by a script that shares
// no code with the project (proto/golden/make_klt_golden.py).
#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/bytes.h"
#include "common/codec/klt.h"
#include "common/wire/klt_frame.h"
#include "common/wire/test_frames.h"

namespace qc2c {
namespace {

constexpr KvLayout kLayout{.num_layers = 3, .num_kv_heads = 2, .head_dim = 4};
constexpr int64_t kRow = 8;  // H x D
const std::vector<int32_t> kIds = {7, 8, 9, 20, 21, 22, 23, 5, 5, 6};
const std::vector<uint32_t> kPositions = {0, 2, 3, 4, 5, 6, 7, 8, 9};

std::filesystem::path Golden(const std::string& name) {
  return std::filesystem::path(QC2C_SOURCE_DIR "/proto/golden/klt") / name;
}

std::vector<std::string> Lines(const std::string& name) {
  std::ifstream file(Golden(name));
  std::vector<std::string> lines;
  for (std::string line; std::getline(file, line);) lines.push_back(line);
  return lines;
}

// Planes of all layers of a cache of so many tokens.
class Planes {
 public:
  explicit Planes(int64_t num_tokens) : values_(6 * num_tokens * kRow), view_{.layout = kLayout} {
    view_.num_tokens = num_tokens;
    for (int64_t i = 0; i < 6; ++i) {
      (i < 3 ? view_.keys : view_.values)
          .push_back({values_.data() + i * num_tokens * kRow, kRow, 4});
    }
  }
  Planes(const Planes&) = delete;
  const KvCacheView& view() const { return view_; }
  float& At(int64_t half, int64_t layer, int64_t token, int64_t n) {
    return values_[((half * 3 + layer) * view_.num_tokens + token) * kRow + n];
  }

 private:
  std::vector<float> values_;
  KvCacheView view_;
};

// make_golden.py's `ramp`.
void FillRamp(Planes& planes, int64_t num_tokens) {
  for (int64_t half = 0; half < 2; ++half) {
    for (int64_t layer = 0; layer < 3; ++layer) {
      for (int64_t token = 0; token < num_tokens; ++token) {
        for (int64_t n = 0; n < kRow; ++n) {
          const int64_t step = half * 7 + layer * 5 + token * 3 + n / 4 * 11 + n % 4 * 13;
          planes.At(half, layer, token, n) = static_cast<float>(step % 23 - 8) / 4;
        }
      }
    }
  }
}

// A kept token's open tensors as the golden file has them: the key of layer 1, the values of 0
// and 1.
std::string TokenHex(Planes& planes, int64_t token) {
  std::vector<float> row;
  for (const auto& [half, layer] :
       std::vector<std::pair<int64_t, int64_t>>{{0, 1}, {1, 0}, {1, 1}}) {
    for (int64_t n = 0; n < kRow; ++n) row.push_back(planes.At(half, layer, token, n));
  }
  return ToHex({reinterpret_cast<const uint8_t*>(row.data()), row.size() * sizeof(float)});
}

TEST(KltGoldenTest, EveryLevelIsWrittenAndDecodedAsTheSecondImplementationDoes) {
  const absl::StatusOr<KltCodebook> book = KltCodebook::Load(Golden("codebook.safetensors"));
  ASSERT_TRUE(book.ok()) << book.status();
  ASSERT_EQ(book->levels.size(), 6);
  Planes cache(9);
  FillRamp(cache, 9);
  auto encoder = KltEncoder::Create(*book, {kIds, kPositions}, cache.view());
  ASSERT_TRUE(encoder.ok()) << encoder.status();
  for (uint32_t level = 0; level < book->levels.size(); ++level) {
    SCOPED_TRACE(level);
    const std::vector<std::string> expected = Lines(absl::StrCat("level_", level, ".hex"));
    ASSERT_EQ(expected.size(), 1);
    const auto written = WriteLevel(*encoder, level);
    ASSERT_TRUE(written.ok()) << written.status();
    EXPECT_EQ(ToHex(AsBytes(written->message)), expected.front());

    const auto frame = ReadFrame({.model_fingerprint = book->sharer_fingerprint,
                                  .layout = kLayout,
                                  .codec = CodecSpec::Klt({.codebook = book->id, .level = level}),
                                  .num_tokens = 9,
                                  .layers = book->layers,
                                  .codebook = &*book},
                                 {written->message});
    ASSERT_TRUE(frame.ok()) << frame.status();
    Planes decoded(static_cast<int64_t>(frame->positions.size()));
    const absl::Status status =
        DecodeCache(*frame, decoded.view(), {.token_positions = kPositions});
    ASSERT_TRUE(status.ok()) << status;
    const std::vector<std::string> tokens = Lines(absl::StrCat("level_", level, ".decoded"));
    ASSERT_EQ(tokens.size(), frame->positions.size());
    for (size_t i = 0; i < tokens.size(); ++i) {
      EXPECT_EQ(TokenHex(decoded, static_cast<int64_t>(i)), tokens[i]) << "token " << i;
    }
  }
}

}  // namespace
}  // namespace qc2c
