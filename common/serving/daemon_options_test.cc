#include "common/serving/daemon_options.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/base/files.h"
#include "common/serving/language_model.h"

namespace qc2c {
namespace {

using testing::HasSubstr;

class DaemonOptionsTest : public testing::Test {
 protected:
  DaemonOptionsTest() { AddDaemonFlags(app_, options_); }

  std::string ConfigFile(const std::string& yaml) {
    const auto path = std::filesystem::path(testing::TempDir()) / "daemon.yaml";
    EXPECT_TRUE(WriteFileAtomically(path, yaml).ok());
    return path.string();
  }
  // The error's text, empty if the arguments parse.
  std::string Parse(std::vector<std::string> arguments) {
    std::reverse(arguments.begin(), arguments.end());
    try {
      app_.parse(arguments);
    } catch (const CLI::ParseError& error) {
      return std::string(error.what()) + " ";
    }
    return "";
  }

  CLI::App app_;
  DaemonOptions options_;
};

TEST_F(DaemonOptionsTest, FlagsWinOverTheYamlFile) {
  const std::string file = ConfigFile("model: /m\nlisten: 127.0.0.1:1\nthreads: 3\nmax-queue: 9\n");
  EXPECT_EQ(Parse({"--config", file, "--threads", "5"}), "");
  EXPECT_EQ(options_.model, "/m");
  EXPECT_EQ(options_.listen, "127.0.0.1:1");
  EXPECT_EQ(options_.threads, 5);
  EXPECT_EQ(options_.Limits().capacity, 9u);
}

TEST_F(DaemonOptionsTest, UnknownYamlKeyIsNamed) {
  const std::string file = ConfigFile("model: /m\nlisten: a:1\nmax-queues: 9\n");
  EXPECT_THAT(Parse({"--config", file}), HasSubstr("max-queues"));
}

TEST_F(DaemonOptionsTest, MalformedYamlIsRefused) {
  EXPECT_THAT(Parse({"--config", ConfigFile("model: [1, 2\n")}), HasSubstr("malformed YAML"));
}

TEST_F(DaemonOptionsTest, YamlThatIsNoMapIsRefused) {
  EXPECT_THAT(Parse({"--config", ConfigFile("- 1\n- 2\n")}), HasSubstr("expected a map"));
}

TEST_F(DaemonOptionsTest, UnknownFlagIsNamed) {
  EXPECT_THAT(Parse({"--model", "/m", "--listen", "a:1", "--colour", "red"}),
              HasSubstr("--colour"));
}

TEST_F(DaemonOptionsTest, OutOfRangeValueIsNamed) {
  EXPECT_THAT(Parse({"--model", "/m", "--listen", "a:1", "--max-queue", "0"}),
              HasSubstr("--max-queue"));
}

TEST(ParseDeviceTest, RefusesWhatIsNoDevice) {
  EXPECT_TRUE(ParseDevice("cpu").ok());
  for (const char* text : {"gpu", "cuda:", "cuda:x", "cuda:99", "cuda:-1"}) {
    const auto device = ParseDevice(text);
    EXPECT_EQ(device.status().code(), absl::StatusCode::kInvalidArgument) << text;
    EXPECT_THAT(std::string(device.status().message()), HasSubstr(text));
  }
}

}  // namespace
}  // namespace qc2c
