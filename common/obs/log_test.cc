#include "common/obs/log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <sstream>
#include <thread>

namespace qc2c {
namespace {

using ::testing::HasSubstr;
using Json = nlohmann::json;

constexpr char kTime[] = "2024-01-02T03:04:05.000006Z";

Json Parsed(const LogFields& fields, const std::string& event = "share") {
  return Json::parse(FormatLogLine(LogFormat::kJson, kTime, LogLevel::kInfo, event, fields));
}

TEST(LogTest, AJsonLineKeepsNamesTypesAndOrder) {
  EXPECT_EQ(FormatLogLine(LogFormat::kJson, kTime, LogLevel::kWarning, "share",
                          {{"code", "OK"}, {"bytes", 12}, {"ratio", 0.5}, {"fused", true}}),
            R"({"ts":"2024-01-02T03:04:05.000006Z","level":"warning","event":"share",)"
            R"("code":"OK","bytes":12,"ratio":0.5,"fused":true})");
}

TEST(LogTest, ATextLineQuotesTexts) {
  EXPECT_EQ(FormatLogLine(LogFormat::kText, kTime, LogLevel::kError, "share",
                          {{"why", "a \"b\""}, {"bytes", 12}}),
            R"(2024-01-02T03:04:05.000006Z error share why="a \"b\"" bytes=12)");
}

TEST(LogTest, EveryByteSurvivesAsOneLine) {
  for (int byte = 0; byte < 128; ++byte) {
    const std::string text = std::string("a") + static_cast<char>(byte) + "z";
    const std::string line =
        FormatLogLine(LogFormat::kJson, kTime, LogLevel::kInfo, text, {{text, text}});
    EXPECT_EQ(line.find('\n'), std::string::npos) << byte;
    EXPECT_EQ(Json::parse(line)[text], text) << byte;
    EXPECT_EQ(Json::parse(line)["event"], text) << byte;
  }
}

TEST(LogTest, BytesThatAreNotUtf8AreReplaced) {
  EXPECT_EQ(Parsed({{"text", std::string("a\xff\xc3z")}})["text"], "a\xEF\xBF\xBD\xEF\xBF\xBDz");
  EXPECT_EQ(Parsed({{"text", "\xE4\xB8\xAD \xF0\x9F\x98\x80"}})["text"],
            "\xE4\xB8\xAD \xF0\x9F\x98\x80");
}

TEST(LogTest, NumbersKeepTheir64Bits) {
  const Json line = Parsed({{"most", std::numeric_limits<uint64_t>::max()},
                            {"least", std::numeric_limits<int64_t>::min()},
                            {"nan", std::nan("")}});
  EXPECT_EQ(line["most"].get<uint64_t>(), std::numeric_limits<uint64_t>::max());
  EXPECT_EQ(line["least"].get<int64_t>(), std::numeric_limits<int64_t>::min());
  EXPECT_TRUE(line["nan"].is_null());
}

TEST(LogTest, LinesReachTheStreamAndLowLevelsDoNot) {
  std::ostringstream stream;
  InitLog({.level = LogLevel::kInfo, .stream = &stream});
  Log(LogLevel::kDebug, "hidden");
  Log(LogLevel::kInfo, "shown {} %v", {{"text", "{0} %v"}});
  ShutdownLog();
  Log(LogLevel::kError, "after the end");
  const Json line = Json::parse(stream.str());  // one line and nothing else
  EXPECT_EQ(line["event"], "shown {} %v");
  EXPECT_EQ(line["text"], "{0} %v");
  EXPECT_TRUE(line["ts"].get<std::string>().ends_with("Z"));
}

TEST(LogTest, LinesOfManyThreadsDoNotMix) {
  constexpr int kThreads = 4, kLines = 500;  // together under the 8192 that may wait
  std::ostringstream stream;
  InitLog({.stream = &stream});
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t)
    threads.emplace_back([t] {
      for (int i = 0; i < kLines; ++i) Log(LogLevel::kInfo, "tick", {{"thread", t}, {"i", i}});
    });
  for (std::thread& thread : threads) thread.join();
  ShutdownLog();
  std::istringstream lines(stream.str());
  std::vector<int> next(kThreads, 0);
  for (std::string line; std::getline(lines, line);) {
    const Json parsed = Json::parse(line);
    EXPECT_EQ(parsed["i"], next[parsed["thread"].get<int>()]++);
  }
  EXPECT_THAT(next, ::testing::Each(kLines));
}

TEST(LogTest, OptionsParseAndErrorsQuoteWhatWasFound) {
  EXPECT_EQ(ParseLogLevel("warning").value(), LogLevel::kWarning);
  EXPECT_EQ(ParseLogFormat("text").value(), LogFormat::kText);
  EXPECT_THAT(std::string(ParseLogLevel("loud").status().message()), HasSubstr("\"loud\""));
  EXPECT_THAT(std::string(ParseLogFormat("xml").status().message()), HasSubstr("\"xml\""));
}

}  // namespace
}  // namespace qc2c
