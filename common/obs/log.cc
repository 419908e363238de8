#include "common/obs/log.h"

#include <spdlog/async.h>
#include <spdlog/async_logger.h>
#include <spdlog/sinks/ostream_sink.h>

#include <array>
#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"

namespace qc2c {
namespace {

using Json = nlohmann::ordered_json;

constexpr size_t kQueuedLines = 8192;
constexpr std::array<const char*, 4> kLevelNames = {"debug", "info", "warning", "error"};
constexpr std::array<spdlog::level::level_enum, 4> kSpdlogLevels = {
    spdlog::level::debug, spdlog::level::info, spdlog::level::warn, spdlog::level::err};

struct Backend {
  LogFormat format = LogFormat::kJson;
  LogLevel level = LogLevel::kInfo;
  std::shared_ptr<spdlog::details::thread_pool> pool;  // its destructor writes what is waiting
  std::shared_ptr<spdlog::async_logger> logger;
};

std::mutex backend_mutex;

std::shared_ptr<Backend>& CurrentBackend() {
  static std::shared_ptr<Backend> backend;
  return backend;
}

std::shared_ptr<Backend> SwapBackend(std::shared_ptr<Backend> backend) {
  std::lock_guard lock(backend_mutex);
  CurrentBackend().swap(backend);
  return backend;
}

std::string Dump(const Json& value) {
  return value.dump(-1, ' ', false, Json::error_handler_t::replace);
}

Json ToJson(const LogValue& value) {
  return std::visit([](const auto& v) { return Json(v); }, value.value());
}

}  // namespace

void InitLog(const LogOptions& options) {
  auto backend = std::make_shared<Backend>();
  backend->format = options.format;
  backend->level = options.level;
  backend->pool = std::make_shared<spdlog::details::thread_pool>(kQueuedLines, 1);
  auto sink = std::make_shared<spdlog::sinks::ostream_sink_mt>(*options.stream, true);
  backend->logger = std::make_shared<spdlog::async_logger>(
      "qc2c", std::move(sink), backend->pool, spdlog::async_overflow_policy::overrun_oldest);
  backend->logger->set_pattern("%v");
  backend->logger->set_level(kSpdlogLevels[static_cast<size_t>(options.level)]);
  SwapBackend(std::move(backend));
}

void ShutdownLog() { SwapBackend(nullptr); }

void Log(LogLevel level, std::string_view event, const LogFields& fields) {
  std::shared_ptr<Backend> backend;
  {
    std::lock_guard lock(backend_mutex);
    backend = CurrentBackend();
  }
  if (backend == nullptr || level < backend->level) return;
  const std::string now =
      absl::FormatTime("%Y-%m-%dT%H:%M:%E6SZ", absl::Now(), absl::UTCTimeZone());
  // A string view, not a format: braces in a field must stay braces.
  backend->logger->log(
      kSpdlogLevels[static_cast<size_t>(level)],
      spdlog::string_view_t(FormatLogLine(backend->format, now, level, event, fields)));
}

std::string FormatLogLine(LogFormat format, const std::string& timestamp, LogLevel level,
                          std::string_view event, const LogFields& fields) {
  const char* level_name = kLevelNames[static_cast<size_t>(level)];
  if (format == LogFormat::kJson) {
    Json line = {{"ts", timestamp}, {"level", level_name}, {"event", event}};
    for (const LogField& field : fields) line[field.name] = ToJson(field.value);
    return Dump(line);
  }
  std::string line = absl::StrCat(timestamp, " ", level_name, " ", std::string(event));
  for (const LogField& field : fields)
    absl::StrAppend(&line, " ", field.name, "=", Dump(ToJson(field.value)));
  return line;
}

absl::StatusOr<LogLevel> ParseLogLevel(const std::string& text) {
  for (size_t i = 0; i < kLevelNames.size(); ++i)
    if (text == kLevelNames[i]) return static_cast<LogLevel>(i);
  return absl::InvalidArgumentError(
      absl::StrCat("log level: found \"", text, "\", expected debug, info, warning or error"));
}

absl::StatusOr<LogFormat> ParseLogFormat(const std::string& text) {
  if (text == "json") return LogFormat::kJson;
  if (text == "text") return LogFormat::kText;
  return absl::InvalidArgumentError(
      absl::StrCat("log format: found \"", text, "\", expected json or text"));
}

}  // namespace qc2c
