#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <iostream>
#include <mutex>
#include <streambuf>
#include <string>
#include <thread>

#include "absl/time/clock.h"
#include "experiments/commands.h"
#include "experiments/fake_receiver.h"

namespace qc2c {
namespace {

using ::testing::StartsWith;

// What std::cout is given while this lives. Thread-safe.
class CapturedOutput final : public std::streambuf {
 public:
  CapturedOutput() : before_(std::cout.rdbuf(this)) {}
  ~CapturedOutput() override { std::cout.rdbuf(before_); }
  std::string text() const {
    const std::lock_guard<std::mutex> lock(mutex_);
    return text_;
  }

 private:
  int_type overflow(int_type character) override {
    const std::lock_guard<std::mutex> lock(mutex_);
    text_ += traits_type::to_char_type(character);
    return character;
  }

  mutable std::mutex mutex_;
  std::string text_;
  std::streambuf* before_;
};

TEST(AskCommandTest, AStreamedAnswerThatBreaksOffBeginsAnewOnALineOfItsOwn) {
  const std::filesystem::path folder = FreshFolder();
  std::atomic<int> num_asked = 0;
  FakeReceiver server(folder, [&](const v1::AnswerRequest& request) {
    v1::AnswerReply reply = TextReply(request, "Turtle");
    if (++num_asked == 1) {
      reply.set_final(false);
      reply.set_delta("Tur");
    }
    return reply;
  });
  const CapturedOutput output;
  std::thread restart([&] {
    while (output.text() != "Tur") absl::SleepFor(absl::Milliseconds(1));
    server.Stop();
    server.Start();
  });
  CLI::App app;
  AddAskCommand(app);
  EXPECT_NO_THROW(app.parse("ask --receiver " + server.address() + " Who?"));
  restart.join();
  EXPECT_THAT(output.text(), StartsWith("Tur\nTurtle\n\nmode "));
  std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace qc2c
