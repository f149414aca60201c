#include "base/log.h"

#include <unistd.h>

#include <array>
#include <atomic>
#include <string>

namespace base {
namespace {

void to_stderr(LogLevel, std::string_view message) {
  const std::string line = std::string(message) + '\n';
  [[maybe_unused]] const ssize_t n = ::write(STDERR_FILENO, line.data(), line.size());
}

std::atomic<LogSink> g_sink{to_stderr};
std::atomic<LogLevel> g_level{LogLevel::kWarn};

}  // namespace

void set_log_sink(LogSink sink) {
  g_sink = sink;
}
void set_log_level(LogLevel level) {
  g_level = level;
}
bool log_enabled(LogLevel level) {
  return level >= g_level.load(std::memory_order_relaxed);
}

void log(LogLevel level, std::string_view message) {
  if (log_enabled(level)) g_sink.load()(level, message);
}

void log_debug(std::string_view message) {
  log(LogLevel::kDebug, message);
}
void log_info(std::string_view message) {
  log(LogLevel::kInfo, message);
}
void log_warn(std::string_view message) {
  log(LogLevel::kWarn, message);
}
void log_error(std::string_view message) {
  log(LogLevel::kError, message);
}

std::optional<LogLevel> parse_log_level(std::string_view name) {
  static constexpr std::array<std::pair<std::string_view, LogLevel>, 6> kNames{{
      {"trace", LogLevel::kTrace},
      {"debug", LogLevel::kDebug},
      {"info", LogLevel::kInfo},
      {"warn", LogLevel::kWarn},
      {"error", LogLevel::kError},
      {"off", LogLevel::kOff},
  }};
  for (const auto& [known, level] : kNames) {
    if (known == name) return level;
  }
  return std::nullopt;
}

}  // namespace base
