#include "cli/log_sink.h"

#include <spdlog/logger.h>
#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/stdout_sinks.h>

#include <memory>
#include <nlohmann/json.hpp>

#include "base/utf8.h"

namespace cli {
namespace {

spdlog::level::level_enum spdlog_level(base::LogLevel level) {
  switch (level) {
    case base::LogLevel::kTrace:
      return spdlog::level::trace;
    case base::LogLevel::kDebug:
      return spdlog::level::debug;
    case base::LogLevel::kInfo:
      return spdlog::level::info;
    case base::LogLevel::kWarn:
      return spdlog::level::warn;
    case base::LogLevel::kError:
      return spdlog::level::err;
    case base::LogLevel::kOff:
      return spdlog::level::off;
  }
  return spdlog::level::off;
}

// The message as a JSON string: the pattern cannot escape.
class JsonMessage : public spdlog::custom_flag_formatter {
 public:
  void format(const spdlog::details::log_msg& message, const std::tm&,
              spdlog::memory_buf_t& out) override {
    const nlohmann::json text = std::string(message.payload.data(), message.payload.size());
    const std::string quoted = text.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
    out.append(quoted.data(), quoted.data() + quoted.size());
  }
  std::unique_ptr<custom_flag_formatter> clone() const override {
    return std::make_unique<JsonMessage>();
  }
};

spdlog::logger& logger() {
  static spdlog::logger instance("fcvm", std::make_shared<spdlog::sinks::stderr_sink_mt>());
  return instance;
}

void write_log(base::LogLevel level, std::string_view message) {
  // What is logged may quote a guest or an image.
  const std::string line = base::printable(message);
  logger().log(spdlog_level(level), spdlog::string_view_t(line.data(), line.size()));
}

}  // namespace

void install_log_sink(base::LogLevel level, LogFormat format) {
  auto formatter = std::make_unique<spdlog::pattern_formatter>(
      format == LogFormat::kJson ? spdlog::pattern_time_type::utc
                                 : spdlog::pattern_time_type::local);
  if (format == LogFormat::kJson) {
    formatter->add_flag<JsonMessage>('*').set_pattern(
        R"({"time":"%Y-%m-%dT%H:%M:%S.%eZ","level":"%l","message":%*})");
  } else {
    formatter->set_pattern("fcvm: %l: %v");
  }
  logger().set_formatter(std::move(formatter));
  logger().set_level(spdlog::level::trace);  // base/log.h has sorted out before
  logger().flush_on(spdlog::level::trace);
  base::set_log_level(level);
  base::set_log_sink(write_log);
}

}  // namespace cli
