// The golden frames are the input: their files' names say what is in them.
#include "experiments/inspect/frame_report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "common/base/files.h"
#include "common/codec/codec.h"
#include "experiments/inspect/frame_file.h"
#include "experiments/inspect/outline.h"

namespace qc2c {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

std::filesystem::path Golden(const std::string& name) {
  return std::filesystem::path(QC2C_SOURCE_DIR) / "proto/golden/v2" / (name + ".hex");
}

std::filesystem::path Scratch(const std::string& content) {
  const auto path = std::filesystem::path(::testing::TempDir()) / "qc2c_inspected_frame";
  EXPECT_TRUE(WriteFileAtomically(path, content).ok());
  return path;
}

// Lengths below 2^14 only.
std::string Delimited(const std::vector<std::string>& messages) {
  std::string bytes;
  for (const std::string& message : messages) {
    bytes += static_cast<char>(message.size() % 128 | 128);
    bytes += static_cast<char>(message.size() / 128);
    bytes += message;
  }
  return bytes;
}

TEST(FrameReportTest, EveryGoldenFrameIsCompleteAndItsBytesAddUp) {
  size_t num_files = 0;
  for (const auto& file : std::filesystem::directory_iterator(Golden("").parent_path())) {
    SCOPED_TRACE(file.path());
    const auto messages = ReadFrameFile(file.path());
    ASSERT_TRUE(messages.ok()) << messages.status();
    const auto report = ReportFrame(*messages);
    ASSERT_TRUE(report.ok()) << report.status();
    EXPECT_EQ((*report)["verdict"], "complete, checksum right");
    EXPECT_EQ((*report)["header"]["model_fingerprint"], "0123456789abcdef");
    size_t bytes = 0, codes = 0, scales = 0;
    for (const std::string& message : *messages) bytes += message.size();
    for (const auto& block : (*report)["blocks"]) {
      codes += block["code_bytes"].get<size_t>();
      scales += block["scale_bytes"].get<size_t>();
    }
    const auto& counted = (*report)["bytes"];
    EXPECT_EQ(counted["tx"], bytes);
    EXPECT_EQ(counted["payload"], codes);
    EXPECT_EQ(counted["scales"], scales);
    EXPECT_EQ(counted["header"].get<size_t>() + counted["indices"].get<size_t>() + codes + scales,
              bytes);
    ++num_files;
  }
  EXPECT_GE(num_files, 40u);
}

TEST(FrameReportTest, TheReportSaysWhatTheFileNameSays) {
  const std::string name = "int4,axis=per_token,scale=fp16,select=value_norm,keep_ratio=0.25";
  const auto report = ReportFrame(ReadFrameFile(Golden(name)).value()).value();
  EXPECT_EQ(report["header"]["codec"], CodecSpec::Parse(name)->ToString());
  EXPECT_EQ(report["header"]["key_layers"], (nlohmann::json{0, 2}));
  EXPECT_EQ(report["header"]["value_layers"], (nlohmann::json{0, 2}));
  EXPECT_EQ(report["header"]["layout"]["head_dim"], 5);
  EXPECT_EQ(report["header"]["num_tokens"], 9);
  EXPECT_EQ(report["header"]["num_kept"], 2);  // floor(9 / 4 + 0.5)
  ASSERT_EQ(report["blocks"].size(), 4u);
  EXPECT_EQ(report["blocks"][3]["layer"], 2);
  EXPECT_EQ(report["blocks"][3]["half"], "value");
  EXPECT_EQ(report["blocks"][3]["code_bytes"], 2 * 2 * 3);   // tokens, heads, ceil(5 / 2)
  EXPECT_EQ(report["blocks"][3]["scale_bytes"], 2 * 2 * 2);  // tokens, heads, fp16
  EXPECT_THAT(Outline(report), HasSubstr("verdict  complete, checksum right\n"));
}

TEST(FrameReportTest, AChangedCodeIsAWrongChecksum) {
  std::vector<std::string> messages = ReadFrameFile(Golden("bf16")).value();
  const size_t middle = messages[0].size() / 2;  // inside some block's codes
  messages[0][middle] = static_cast<char>(messages[0][middle] ^ 1);
  const auto report = ReportFrame(messages);
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_THAT((*report)["verdict"].get<std::string>(), StartsWith("trailer.checksum is "));
}

TEST(FrameReportTest, AMissingMessageIsSaid) {
  std::vector<std::string> messages =
      ReadFrameFile(Golden("chunks-int8,axis=per_token,scale=fp16")).value();
  ASSERT_GT(messages.size(), 2u);
  messages.pop_back();
  EXPECT_THAT(ReportFrame(messages).value()["verdict"].get<std::string>(),
              HasSubstr("expected a trailer"));
  messages.erase(messages.begin());
  EXPECT_THAT(std::string(ReportFrame(messages).status().message()),
              HasSubstr("message 0 has no header"));
}

TEST(FrameFileTest, DelimitedMessagesAreTheSameAsHexadecimalLines) {
  for (const char* name : {"bf16", "chunks-int8,axis=per_head,scale=fp32"}) {
    const std::vector<std::string> messages = ReadFrameFile(Golden(name)).value();
    EXPECT_EQ(ReadFrameFile(Scratch(Delimited(messages))).value(), messages);
  }
}

TEST(FrameFileTest, BrokenFilesAreRefusedByMessage) {
  const std::string whole = Delimited({std::string(200, 'x'), std::string(300, 'y')});
  const auto message = [](const std::string& content) {
    return std::string(ReadFrameFile(Scratch(content)).status().message());
  };
  EXPECT_THAT(message(whole.substr(0, whole.size() - 1)), HasSubstr("message 1 passes the end"));
  EXPECT_THAT(message("\xff\xff\xff\xff\x0f"), HasSubstr("message 0 has 4294967295 bytes"));
  EXPECT_THAT(message("\xff\xff"), HasSubstr("message 0 passes the end"));
  EXPECT_THAT(message("12 2b"), HasSubstr("message"));
  EXPECT_THAT(message("122\n"), HasSubstr("message 0: 3 hexadecimal digits"));
  EXPECT_THAT(message(""), HasSubstr("no messages"));
  EXPECT_EQ(ReadFrameFile("nowhere").status().code(), absl::StatusCode::kNotFound);
}

}  // namespace
}  // namespace qc2c
