#include "image/image_config.h"

#include <algorithm>
#include <climits>

#include "base/error.h"
#include "base/json.h"
#include "image/detail/json_fields.h"

namespace image {
namespace {

using nlohmann::json;

constexpr std::size_t kMaxEntries = 16384;
// The kernel's overlay takes 500 lower directories, container engines make 127 layers at most.
constexpr std::size_t kMaxLayers = 500;
constexpr int kMaxDepth = 32;

std::vector<std::string> key_list(const json& object, const char* name) {
  std::vector<std::string> keys;
  for (const auto& [key, value] : detail::object_field(object, name, kMaxEntries).items()) {
    if (key.empty()) detail::bad_field(name, "has an entry without a name");
    if (key.find('\0') != std::string::npos) detail::bad_field(name, "holds a NUL");
    keys.push_back(key);
  }
  std::sort(keys.begin(), keys.end());
  return keys;
}

std::vector<std::string> environment(const json& config) {
  std::vector<std::string> env = detail::text_list_field(config, "Env", kMaxEntries);
  for (std::string& entry : env) {
    const auto equals = entry.find('=');
    if (equals == 0 || entry.empty()) detail::bad_field("Env", "has an entry without a name");
    if (equals == std::string::npos) entry += '=';
  }
  return env;
}

std::optional<Healthcheck> healthcheck(const json& config) {
  const json& object = detail::object_field(config, "Healthcheck", kMaxEntries);
  if (object.empty()) return std::nullopt;
  Healthcheck check;
  check.test = detail::text_list_field(object, "Test", kMaxEntries);
  check.interval_ns = detail::integer_field(object, "Interval");
  check.timeout_ns = detail::integer_field(object, "Timeout");
  check.start_period_ns = detail::integer_field(object, "StartPeriod");
  const std::int64_t retries = detail::integer_field(object, "Retries");
  if (check.interval_ns < 0 || check.timeout_ns < 0 || check.start_period_ns < 0 || retries < 0 ||
      retries > INT_MAX) {
    detail::bad_field("Healthcheck", "has a number out of range");
  }
  check.retries = static_cast<int>(retries);
  return check;
}

ImageConfig container_config(const json& object) {
  ImageConfig config;
  config.entrypoint = detail::text_list_field(object, "Entrypoint", kMaxEntries);
  config.cmd = detail::text_list_field(object, "Cmd", kMaxEntries);
  config.env = environment(object);
  config.working_dir = detail::text_field(object, "WorkingDir");
  config.user = detail::text_field(object, "User");
  config.stop_signal = detail::text_field(object, "StopSignal");
  for (const auto& [key, value] : detail::object_field(object, "Labels", kMaxEntries).items()) {
    if (key.find('\0') != std::string::npos) detail::bad_field("Labels", "holds a NUL");
    config.labels[key] = value.is_null() ? std::string() : detail::checked_text(value, "Labels");
  }
  config.exposed_ports = key_list(object, "ExposedPorts");
  config.volumes = key_list(object, "Volumes");
  config.healthcheck = healthcheck(object);
  return config;
}

std::vector<std::string> diff_ids(const json& document) {
  constexpr std::string_view prefix = "sha256:";
  std::vector<std::string> ids = detail::text_list_field(
      detail::object_field(document, "rootfs", kMaxEntries), "diff_ids", kMaxLayers);
  for (const std::string& id : ids) {
    const bool valid = id.size() == prefix.size() + 64 && id.starts_with(prefix) &&
                       id.find_first_not_of("0123456789abcdef", prefix.size()) == std::string::npos;
    if (!valid) detail::bad_field("diff_ids", "has an entry that is no SHA-256 digest");
  }
  return ids;
}

}  // namespace

ParsedImageConfig parse_image_config(std::string_view text) {
  return base::with_context("reading the image configuration", [&] {
    const json document = base::parse_json(text, kMaxImageConfigBytes, kMaxDepth);
    if (!document.is_object()) throw base::Error("it is not an object");
    ParsedImageConfig parsed;
    parsed.created = detail::text_field(document, "created");
    parsed.architecture = detail::text_field(document, "architecture");
    parsed.os = detail::text_field(document, "os");
    parsed.config = container_config(detail::object_field(document, "config", kMaxEntries));
    parsed.diff_ids = diff_ids(document);
    return parsed;
  });
}

}  // namespace image
