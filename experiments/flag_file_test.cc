#include "experiments/flag_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/base/files.h"
#include "experiments/fake_receiver.h"

namespace qc2c {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class FlagFileTest : public testing::Test {
 protected:
  ~FlagFileTest() override { std::filesystem::remove_all(folder_); }

  std::string File(const std::string& yaml) {
    EXPECT_TRUE(WriteFileAtomically(folder_ / "flags.yaml", yaml).ok());
    return (folder_ / "flags.yaml").string();
  }
  const std::filesystem::path folder_ = FreshFolder();
};

TEST_F(FlagFileTest, FlagsOfTheFileComeBeforeTheTypedOnes) {
  const std::string file =
      File("codec: int8,select=back,keep_ratio=0.5\njson: true\nverbose: false");
  EXPECT_THAT(*ExpandFlagFiles({"ask", "--codec", "int4", "--config", file, "Where?"}),
              ElementsAre("ask", "--codec=int8,select=back,keep_ratio=0.5", "--json", "--codec",
                          "int4", "Where?"));
  EXPECT_THAT(*ExpandFlagFiles({"ask", "--config=" + file}),
              ElementsAre("ask", "--codec=int8,select=back,keep_ratio=0.5", "--json"));
}

TEST_F(FlagFileTest, WhatIsNoMapOfFlagsIsAnErrorThatNamesTheFile) {
  for (const char* yaml : {"[1, 2]", "codec: [int8]", "codec: {a: b}", "a: b: c"}) {
    const std::string file = File(yaml);
    const absl::Status status = ExpandFlagFiles({"ask", "--config", file}).status();
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << yaml;
    EXPECT_THAT(std::string(status.message()), HasSubstr(file));
  }
  EXPECT_FALSE(ExpandFlagFiles({"ask", "--config"}).ok());
  EXPECT_FALSE(ExpandFlagFiles({"ask", "--config", "/nowhere.yaml"}).ok());
}

}  // namespace
}  // namespace qc2c
