#include "common/serving/sensitivity_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "absl/strings/str_cat.h"
#include "common/base/hash.h"

namespace qc2c {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr KvLayout kSharerLayout{.num_layers = 2, .num_kv_heads = 1, .head_dim = 4};
constexpr uint64_t kSharerModel = 0xfedcba9876543210;

absl::StatusOr<SensitivityFile> Load(const std::string& measurements,
                                     const std::string& model = "fedcba9876543210") {
  const std::filesystem::path path = std::filesystem::path(testing::TempDir()) / "sensitivity.json";
  std::ofstream(path) << R"({"format": "qc2c-sensitivity-1", "sharer_fingerprint": ")" << model
                      << R"(", "measurements": )" << measurements << "}";
  return SensitivityFile::Load(path, kSharerLayout, kSharerModel);
}

std::string Measurement(int layer, const std::string& half, double error, double loss) {
  return absl::StrCat("{\"layer\": ", layer, ", \"half\": \"", half,
                      "\", \"scheme\": \"int4\", \"squared_error\": ", error,
                      ", \"loss_increase\": ", loss, "}");
}

TEST(SensitivityFileTest, TheWeightIsTheSlopeOfLossOverError) {
  // Key 0: through (1, 2) and (2, 3), slope (1 * 2 + 2 * 3) / (1 + 4).
  const auto file =
      Load(absl::StrCat("[", Measurement(0, "key", 1, 2), ",", Measurement(0, "key", 2, 3), ",",
                        Measurement(1, "value", 10, 5), ",", Measurement(0, "value", 3, -1), "]"));
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_THAT(file->weights.keys, ElementsAre(1.6, 1.6e-3));
  EXPECT_THAT(file->weights.values, ElementsAre(1.6e-3, 0.5));
  EXPECT_NE(file->id, 0u);
}

TEST(SensitivityFileTest, AFileOfAnotherKindOrModelIsRefusedByName) {
  const auto message = [](const std::string& measurements) {
    return std::string(Load(measurements).status().message());
  };
  EXPECT_THAT(message("[]"), HasSubstr("measurements"));
  EXPECT_THAT(message("[3]"), HasSubstr("measurements[0]: expected an object"));
  EXPECT_THAT(message(absl::StrCat("[", Measurement(2, "key", 1, 1), "]")),
              HasSubstr("measurements[0].layer is 2: expected 0 to 1"));
  EXPECT_THAT(message(absl::StrCat("[", Measurement(0, "keys", 1, 1), "]")),
              HasSubstr("half is \"keys\""));
  EXPECT_THAT(message(absl::StrCat("[", Measurement(0, "key", -1, 1), "]")),
              HasSubstr("squared_error is -1"));
  const auto other = Load(absl::StrCat("[", Measurement(0, "key", 1, 1), "]"), "00");
  EXPECT_EQ(other.status().code(), absl::StatusCode::kFailedPrecondition);
}

}  // namespace
}  // namespace qc2c
