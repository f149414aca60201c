#include "vm/health_check.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/json.h"

namespace vm {
namespace {

using Json = nlohmann::json;
using std::chrono::nanoseconds;
using std::chrono::seconds;

constexpr seconds kDefaultInterval{30};
constexpr seconds kDefaultTimeout{30};
constexpr int kDefaultRetries = 3;

constexpr std::chrono::milliseconds kMinInterval{1};
constexpr seconds kMinTimeout{1};
// What an image may ask for: each check costs this machine something, not only the VM.
constexpr std::chrono::milliseconds kMinImageInterval{100};

}  // namespace

HealthCheck resolve_health_check(const HealthOptions& options,
                                 const std::optional<image::Healthcheck>& image) {
  HealthCheck check;
  check.interval = kDefaultInterval;
  check.timeout = kDefaultTimeout;
  check.retries = kDefaultRetries;
  if (image) {
    check.test = image->test;
    if (image->interval_ns != 0) {
      check.interval = std::max<nanoseconds>(nanoseconds(image->interval_ns), kMinImageInterval);
    }
    if (image->timeout_ns != 0) {
      check.timeout = std::max<nanoseconds>(nanoseconds(image->timeout_ns), kMinTimeout);
    }
    if (image->start_period_ns != 0) check.start_period = nanoseconds(image->start_period_ns);
    if (image->retries != 0) check.retries = image->retries;
  }
  if (!options.command.empty()) check.test = options.command;
  if (options.interval) check.interval = *options.interval;
  if (options.timeout) check.timeout = *options.timeout;
  if (options.start_period) check.start_period = *options.start_period;
  if (options.retries) check.retries = *options.retries;
  if (check.test.empty() || check.test.front() == "NONE") return {};
  if (check.test.size() < 2 || (check.test.front() != "CMD" && check.test.front() != "CMD-SHELL")) {
    throw base::Error(
        base::cat("the health check of the image, ", base::quoted(check.test.front()), ", is none"))
        .set_hint("switch it off with --no-healthcheck");
  }
  if (check.interval.count() != 0 && check.interval < kMinInterval) {
    throw base::Error("the time between two health checks has to be at least a millisecond")
        .set_hint("0 or disable leaves them to fcvm healthcheck run");
  }
  if (check.timeout < kMinTimeout) {
    throw base::Error("a health check's time limit has to be at least a second");
  }
  return check;
}

std::vector<std::string> health_command(const HealthCheck& check) {
  if (check.test.empty()) return {};
  if (check.test.front() == "CMD-SHELL") return {"/bin/sh", "-c", check.test.at(1)};
  return {check.test.begin() + 1, check.test.end()};
}

std::string to_json(const HealthCheck& check) {
  return Json{{"test", check.test},
              {"interval_ns", check.interval.count()},
              {"timeout_ns", check.timeout.count()},
              {"start_period_ns", check.start_period.count()},
              {"retries", check.retries}}
      .dump(-1, ' ', false, Json::error_handler_t::replace);
}

HealthCheck parse_health_check(std::string_view text) {
  const Json json = base::parse_json(text);
  HealthCheck check;
  try {
    json.at("test").get_to(check.test);
    check.interval = nanoseconds(json.at("interval_ns").get<std::int64_t>());
    check.timeout = nanoseconds(json.at("timeout_ns").get<std::int64_t>());
    check.start_period = nanoseconds(json.at("start_period_ns").get<std::int64_t>());
    json.at("retries").get_to(check.retries);
  } catch (const Json::exception& error) {
    throw base::Error(base::cat("reading a health check: ", error.what()));
  }
  return check;
}

}  // namespace vm
