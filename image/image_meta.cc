#include "image/image_meta.h"

#include "base/error.h"
#include "base/json.h"
#include "image/detail/json_fields.h"

namespace image {
namespace {

using nlohmann::json;

constexpr int kSchema = 1;
constexpr std::size_t kMaxMetaBytes = 16 << 20;
constexpr std::size_t kMaxEntries = 65536;

// /etc/passwd is bytes and JSON is UTF-8: each byte becomes the code point of its value.
std::string bytes_to_text(std::string_view bytes) {
  std::string text;
  text.reserve(bytes.size());
  for (const char c : bytes) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x80) {
      text += c;
    } else {
      text += static_cast<char>(0xc0 | (byte >> 6));
      text += static_cast<char>(0x80 | (byte & 0x3f));
    }
  }
  return text;
}

std::string text_to_bytes(std::string_view text) {
  std::string bytes;
  bytes.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto lead = static_cast<unsigned char>(text[i]);
    if (lead < 0x80) {
      bytes += text[i];
    } else if ((lead == 0xc2 || lead == 0xc3) && i + 1 < text.size()) {
      bytes +=
          static_cast<char>((lead & 0x03) << 6 | (static_cast<unsigned char>(text[++i]) & 0x3f));
    } else {
      throw base::Error("a text in it does not stand for bytes");
    }
  }
  return bytes;
}

json to_json(const ImageConfig& config) {
  json out{{"entrypoint", config.entrypoint},
           {"cmd", config.cmd},
           {"env", config.env},
           {"working_dir", config.working_dir},
           {"user", config.user},
           {"stop_signal", config.stop_signal},
           {"labels", config.labels},
           {"exposed_ports", config.exposed_ports},
           {"volumes", config.volumes}};
  if (config.healthcheck) {
    out["healthcheck"] = {{"test", config.healthcheck->test},
                          {"interval_ns", config.healthcheck->interval_ns},
                          {"timeout_ns", config.healthcheck->timeout_ns},
                          {"start_period_ns", config.healthcheck->start_period_ns},
                          {"retries", config.healthcheck->retries}};
  }
  return out;
}

ImageConfig config_from_json(const json& object) {
  ImageConfig config;
  config.entrypoint = detail::text_list_field(object, "entrypoint", kMaxEntries);
  config.cmd = detail::text_list_field(object, "cmd", kMaxEntries);
  config.env = detail::text_list_field(object, "env", kMaxEntries);
  config.working_dir = detail::text_field(object, "working_dir");
  config.user = detail::text_field(object, "user");
  config.stop_signal = detail::text_field(object, "stop_signal");
  for (const auto& [key, value] : detail::object_field(object, "labels", kMaxEntries).items()) {
    config.labels[key] = detail::checked_text(value, "labels");
  }
  config.exposed_ports = detail::text_list_field(object, "exposed_ports", kMaxEntries);
  config.volumes = detail::text_list_field(object, "volumes", kMaxEntries);
  const json& check = detail::object_field(object, "healthcheck", kMaxEntries);
  if (!check.empty()) {
    config.healthcheck = Healthcheck{
        .test = detail::text_list_field(check, "test", kMaxEntries),
        .interval_ns = detail::integer_field(check, "interval_ns"),
        .timeout_ns = detail::integer_field(check, "timeout_ns"),
        .start_period_ns = detail::integer_field(check, "start_period_ns"),
        .retries = static_cast<int>(detail::integer_field(check, "retries")),
    };
  }
  return config;
}

}  // namespace

std::string serialize_image_meta(const ImageMeta& meta) {
  const json out{{"schema", kSchema},
                 {"digest", meta.digest},
                 {"reference", bytes_to_text(meta.reference)},
                 {"created", meta.created},
                 {"architecture", meta.architecture},
                 {"os", meta.os},
                 {"config", to_json(meta.config)},
                 {"layers", meta.layers},
                 {"passwd", bytes_to_text(meta.passwd)},
                 {"group", bytes_to_text(meta.group)}};
  return out.dump(1) + "\n";
}

ImageMeta parse_image_meta(std::string_view text) {
  return base::with_context("reading image metadata", [&] {
    const json document = base::parse_json(text, kMaxMetaBytes, 32);
    if (!document.is_object()) throw base::Error("it is not an object");
    if (detail::integer_field(document, "schema") != kSchema) {
      throw base::Error("it was written by another version of fcvm");
    }
    ImageMeta meta;
    meta.digest = detail::text_field(document, "digest");
    meta.reference = text_to_bytes(detail::text_field(document, "reference"));
    meta.created = detail::text_field(document, "created");
    meta.architecture = detail::text_field(document, "architecture");
    meta.os = detail::text_field(document, "os");
    meta.config = config_from_json(detail::object_field(document, "config", kMaxEntries));
    meta.layers = detail::text_list_field(document, "layers", kMaxEntries);
    // checked_text refuses NUL, which these files may hold.
    const auto raw = [&](const char* name) {
      const json* value = detail::find(document, name);
      if (value == nullptr || !value->is_string()) detail::bad_field(name, "is not a text");
      return text_to_bytes(value->get_ref<const std::string&>());
    };
    meta.passwd = raw("passwd");
    meta.group = raw("group");
    if (meta.layers.empty()) detail::bad_field("layers", "is empty");
    return meta;
  });
}

}  // namespace image
