#include "cli/settings.h"

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/files.h"
#include "base/json.h"

namespace cli {
namespace {

// Where a value came from, for errors.
struct Value {
  std::string text;
  std::string source;
};

struct Values {
  std::optional<Value> data_dir;
  std::optional<Value> log_level;
  std::optional<Value> log_format;
};

void read_config(const std::string& path, const std::string& text, Values& values) {
  const std::string source = base::cat("configuration file ", base::quoted(path));
  base::with_context(source, [&] {
    const nlohmann::json config = base::parse_json(text, 1 << 20);
    if (!config.is_object()) throw base::Error("it holds no JSON object");
    for (const auto& [key, value] : config.items()) {
      std::optional<Value>* target = key == "data_dir"     ? &values.data_dir
                                     : key == "log_level"  ? &values.log_level
                                     : key == "log_format" ? &values.log_format
                                                           : nullptr;
      if (target == nullptr) {
        throw base::Error(base::cat("unknown key ", base::quoted(key)))
            .set_hint("keys are data_dir, log_level and log_format");
      }
      if (!value.is_string()) throw base::Error(base::cat("the value of ", key, " is no text"));
      *target = Value{value.get<std::string>(), source};
    }
  });
}

std::string user_config(const Environment& environment) {
  const char* config_home = environment("XDG_CONFIG_HOME");
  if (config_home != nullptr && config_home[0] == '/') {
    return base::cat(config_home, "/fcvm/config.json");
  }
  const char* home = environment("HOME");
  if (home == nullptr || home[0] != '/') return {};
  return base::cat(home, "/.config/fcvm/config.json");
}

void override_with(std::optional<Value>& value, const char* text, const std::string& source) {
  if (text != nullptr && text[0] != '\0') value = Value{text, source};
}

void override_with(std::optional<Value>& value, const std::optional<std::string>& text,
                   const std::string& source) {
  if (text) value = Value{*text, source};
}

}  // namespace

void declare_settings(Options& options, SettingFlags& flags) {
  options.value("data-dir", "DIR", "Where fcvm keeps everything (FCVM_DATA_DIR)",
                [&flags](const std::string& text) { flags.data_dir = text; });
  options.value("config", "FILE", "Configuration file instead of the usual ones",
                [&flags](const std::string& text) { flags.config = text; });
  options.value("log-level", "LEVEL",
                "trace, debug, info, warn, error or off; default warn (FCVM_LOG_LEVEL)",
                [&flags](const std::string& text) { flags.log_level = text; });
  options.value("log-format", "FORMAT", "text or json; default text (FCVM_LOG_FORMAT)",
                [&flags](const std::string& text) { flags.log_format = text; });
}

Settings resolve_settings(const SettingFlags& flags, const Environment& environment,
                          const std::function<std::string()>& default_data_dir,
                          const std::string& system_config) {
  Values values;
  if (flags.config) {
    read_config(*flags.config, base::read_file(*flags.config, 1 << 20), values);
  } else {
    for (const std::string& path : {system_config, user_config(environment)}) {
      if (path.empty()) continue;
      if (const auto text = base::try_read_file(path, 1 << 20)) read_config(path, *text, values);
    }
  }
  override_with(values.data_dir, environment("FCVM_DATA_DIR"), "FCVM_DATA_DIR");
  override_with(values.log_level, environment("FCVM_LOG_LEVEL"), "FCVM_LOG_LEVEL");
  override_with(values.log_format, environment("FCVM_LOG_FORMAT"), "FCVM_LOG_FORMAT");
  override_with(values.data_dir, flags.data_dir, "--data-dir");
  override_with(values.log_level, flags.log_level, "--log-level");
  override_with(values.log_format, flags.log_format, "--log-format");

  Settings settings;
  if (values.log_level) {
    const auto level = base::parse_log_level(values.log_level->text);
    if (!level) {
      throw base::Error(base::cat(values.log_level->source, ": unknown log level ",
                                  base::quoted(values.log_level->text)))
          .set_hint("it is one of trace, debug, info, warn, error and off");
    }
    settings.log_level = *level;
  }
  if (values.log_format) {
    if (values.log_format->text == "json") {
      settings.log_format = LogFormat::kJson;
    } else if (values.log_format->text != "text") {
      throw base::Error(base::cat(values.log_format->source, ": unknown log format ",
                                  base::quoted(values.log_format->text)))
          .set_hint("it is text or json");
    }
  }
  if (values.data_dir) {
    if (values.data_dir->text.empty()) {
      throw base::Error(base::cat(values.data_dir->source, ": the data directory has no name"));
    }
    settings.data_dir = values.data_dir->text;
  } else {
    settings.data_dir = default_data_dir();
  }
  return settings;
}

}  // namespace cli
