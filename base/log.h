#pragma once

#include <optional>
#include <string_view>

namespace base {

enum class LogLevel { kTrace, kDebug, kInfo, kWarn, kError, kOff };

// Where log lines go. The default writes warnings and errors to stderr; a program installs its own
// sink before it starts threads. `message` is one line without the newline.
using LogSink = void (*)(LogLevel level, std::string_view message);
void set_log_sink(LogSink sink);
void set_log_level(LogLevel level);
bool log_enabled(LogLevel level);

void log(LogLevel level, std::string_view message);
void log_debug(std::string_view message);
void log_info(std::string_view message);
void log_warn(std::string_view message);
void log_error(std::string_view message);

// "trace", "debug", "info", "warn", "error", "off".
std::optional<LogLevel> parse_log_level(std::string_view name);

}  // namespace base
