#include "experiments/child_process.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include "absl/time/clock.h"
#include "common/base/files.h"
#include "experiments/fake_receiver.h"

namespace qc2c {
namespace {

bool Never() { return false; }

TEST(ChildProcessTest, GivesTheExitStatusAndAppendsTheOutput) {
  const std::filesystem::path folder = FreshFolder();
  for (int i = 0; i < 2; ++i) {
    ChildProcess child =
        *ChildProcess::Start({"sh", "-c", "echo out; echo err >&2; exit 3"}, folder / "log");
    EXPECT_EQ(*child.Wait(Never), 3);
  }
  EXPECT_EQ(*ReadFile(folder / "log"), "out\nerr\nout\nerr\n");
  std::filesystem::remove_all(folder);
}

TEST(ChildProcessTest, AProgramThatIsNotThereIsAnError) {
  const absl::Status status = ChildProcess::Start({"/nowhere/program"}, "").status();
  EXPECT_TRUE(absl::IsNotFound(status)) << status;
  EXPECT_THAT(std::string(status.message()), testing::HasSubstr("/nowhere/program"));
}

TEST(ChildProcessTest, AChildThatIgnoresSigtermIsKilled) {
  const std::filesystem::path folder = FreshFolder();
  ChildProcess child = *ChildProcess::Start(
      {"sh", "-c", "trap '' TERM; echo ready; while :; do sleep 0.1; done"}, folder / "log");
  while (ReadFile(folder / "log").value_or("").empty()) absl::SleepFor(absl::Milliseconds(10));
  EXPECT_EQ(child.Stop(absl::Milliseconds(200)), 128 + SIGKILL);
  std::filesystem::remove_all(folder);
}

TEST(ChildProcessTest, AChildEndsWithItsObject) {
  pid_t pid = 0;
  {
    const ChildProcess child = *ChildProcess::Start({"sleep", "100"}, "");
    pid = child.pid();
    EXPECT_EQ(kill(pid, 0), 0);
  }
  EXPECT_NE(kill(pid, 0), 0);
}

TEST(ChildProcessTest, WaitingEndsWithAStopSignalAndSoDoesTheChild) {
  ChildProcess child = *ChildProcess::Start({"sleep", "100"}, "");
  EXPECT_TRUE(absl::IsCancelled(child.Wait([] { return true; }).status()));
  EXPECT_EQ(child.Poll(), 128 + SIGTERM);
}

}  // namespace
}  // namespace qc2c
