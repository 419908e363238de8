// The structured log: one line an event, a JSON object or plain text, on a stream.
#pragma once

#include <concepts>
#include <cstdint>
#include <iostream>
#include <ostream>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "absl/status/statusor.h"

namespace qc2c {

enum class LogLevel { kDebug, kInfo, kWarning, kError };
enum class LogFormat { kJson, kText };

// What a field can hold. Integers keep their 64 bits; a double that is not finite is written as
// null.
class LogValue {
 public:
  using Variant = std::variant<std::string, int64_t, uint64_t, double, bool>;

  LogValue(const char* text) : value_(std::string(text)) {}
  LogValue(std::string text) : value_(std::move(text)) {}
  LogValue(std::string_view text) : value_(std::string(text)) {}
  LogValue(bool flag) : value_(flag) {}
  LogValue(double number) : value_(number) {}
  template <std::signed_integral T>
  LogValue(T number) : value_(static_cast<int64_t>(number)) {}
  template <std::unsigned_integral T>
    requires(!std::same_as<T, bool>)
  LogValue(T number) : value_(static_cast<uint64_t>(number)) {}

  const Variant& value() const { return value_; }

 private:
  Variant value_;
};

struct LogField {
  std::string name;
  LogValue value;
};
using LogFields = std::vector<LogField>;

struct LogOptions {
  LogLevel level = LogLevel::kInfo;  // events below it are dropped
  LogFormat format = LogFormat::kJson;
  std::ostream* stream = &std::cerr;  // must outlive the log
};

// Replaces the process's log. Lines are written by a thread of the log's own, so that no caller
// waits for the stream; when 8192 lines are waiting, the oldest are dropped. Before the first
// InitLog, and after ShutdownLog, events are dropped. Call it after BlockStopSignals
// (common/rpc/stop_signals.h): the thread inherits the mask.
void InitLog(const LogOptions& options);

// Writes what is waiting and stops the log. InitLog starts it again.
void ShutdownLog();

// One line. Thread-safe, never blocks on the stream. Names and texts may be any bytes: they are
// escaped, and what is not UTF-8 is replaced by U+FFFD.
//   Log(LogLevel::kInfo, "share", {{"code", "OK"}, {"tx_bytes", bytes}, {"total_us", us}});
void Log(LogLevel level, std::string_view event, const LogFields& fields = {});

// The line that Log writes, without its end. `timestamp` is RFC 3339.
//   json: {"ts":"...","level":"info","event":"share","code":"OK","tx_bytes":1024}
//   text: ... info share code="OK" tx_bytes=1024
std::string FormatLogLine(LogFormat format, const std::string& timestamp, LogLevel level,
                          std::string_view event, const LogFields& fields);

// "debug", "info", "warning", "error" and "json", "text". INVALID_ARGUMENT names what was found.
absl::StatusOr<LogLevel> ParseLogLevel(const std::string& text);
absl::StatusOr<LogFormat> ParseLogFormat(const std::string& text);

}  // namespace qc2c
