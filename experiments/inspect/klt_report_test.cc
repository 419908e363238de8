// The golden frames of klt are the input; what they hold stands in proto/golden/make_klt_golden.py.
#include "experiments/inspect/klt_report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "absl/strings/str_cat.h"
#include "common/base/hash.h"
#include "experiments/inspect/frame_file.h"
#include "experiments/inspect/frame_report.h"
#include "experiments/inspect/outline.h"

namespace qc2c {
namespace {

using Json = nlohmann::ordered_json;
using ::testing::HasSubstr;
using ::testing::StartsWith;

std::filesystem::path GoldenKlt(const std::string& name) {
  return std::filesystem::path(QC2C_SOURCE_DIR) / "proto/golden/klt" / name;
}

std::vector<std::string> Messages(int level) {
  return ReadFrameFile(GoldenKlt(absl::StrCat("level_", level, ".hex"))).value();
}

const KltCodebook& Codebook() {
  static const KltCodebook book = KltCodebook::Load(GoldenKlt("codebook.safetensors")).value();
  return book;
}

TEST(KltReportTest, EveryGoldenFrameIsCompleteAndItsBytesAddUp) {
  for (int level = 0; level < 6; ++level) {
    SCOPED_TRACE(level);
    const Json report = ReportFrame(Messages(level), &Codebook()).value();
    EXPECT_EQ(report["verdict"], "complete, checksum right");
    EXPECT_EQ(report["header"]["codebook"], HashText(Codebook().id));
    EXPECT_EQ(report["header"]["level"], level);
    EXPECT_EQ(report["header"]["num_tokens"], 9);
    const Json& bytes = report["bytes"];
    EXPECT_EQ(bytes["tx"], Messages(level)[0].size());
    EXPECT_EQ(
        bytes["symbols"].get<int>() + bytes["escapes"].get<int>() + bytes["header"].get<int>(),
        bytes["tx"].get<int>());
    double symbol_bytes = 0;
    for (const Json& part : report["parts"]) {
      symbol_bytes += std::stod(part["symbol_bytes"].get<std::string>());
    }
    // One lane costs two bytes at most beside what the symbols cost; the parts are rounded.
    EXPECT_NEAR(bytes["symbols"].get<double>(), symbol_bytes + 1, 1.5);
  }
}

TEST(KltReportTest, ALevelsStepsAndPartsAreNamed) {
  const Json report = ReportFrame(Messages(4), &Codebook()).value();
  EXPECT_EQ(report["level"]["last_tokens"], "all");
  EXPECT_EQ(report["level"]["middle_step"], "0.3536");  // 2^(-6 / 4)
  EXPECT_EQ(report["kept_tokens"], 9);
  // Nine tokens: two of the prefix, four between, three of the tail, of which two are joint.
  const std::vector<std::pair<std::string, int>> rows = {
      {"joint", 1}, {"middle keys", 4}, {"middle values", 4}, {"tail keys", 1}, {"tail values", 1}};
  ASSERT_EQ(report["parts"].size(), rows.size());
  for (size_t i = 0; i < rows.size(); ++i) {
    EXPECT_EQ(report["parts"][i]["part"], rows[i].first);
    EXPECT_EQ(report["parts"][i]["rows"], rows[i].second);
    // All five or six components have a sigma of at least 2^(3/4), above an eighth of the steps.
    EXPECT_EQ(report["parts"][i]["coefficients"], rows[i].second * (i == 0 ? 5 : 6));
  }
  EXPECT_EQ(ReportFrame(Messages(1), &Codebook()).value()["level"]["tail_step"], "mean");
  EXPECT_THAT(Outline(report), HasSubstr("middle values"));
}

TEST(KltReportTest, WithoutACodebookTheChecksumIsProved) {
  std::vector<std::string> messages = Messages(3);
  const Json report = ReportFrame(messages).value();
  EXPECT_EQ(report["header"]["codebook"], HashText(Codebook().id));
  EXPECT_EQ(report["verdict"], "checksum right; the rest needs --codebook");
  EXPECT_FALSE(report.contains("parts"));
  messages[0].back() = static_cast<char>(messages[0].back() ^ 1);
  EXPECT_THAT(ReportFrame(messages).value()["verdict"].get<std::string>(),
              StartsWith("trailer.checksum is "));
  EXPECT_THAT(ReportFrame(messages, &Codebook()).value()["verdict"].get<std::string>(),
              StartsWith("trailer.checksum is "));
}

}  // namespace
}  // namespace qc2c
