// What holds for every command. A flag beats the environment, which beats the configuration files.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/log.h"
#include "cli/options.h"

namespace cli {

enum class LogFormat { kText, kJson };

struct Settings {
  std::string data_dir;  // never empty
  base::LogLevel log_level = base::LogLevel::kWarn;
  LogFormat log_format = LogFormat::kText;
};

// As given on the command line.
struct SettingFlags {
  std::optional<std::string> data_dir;
  std::optional<std::string> config;
  std::optional<std::string> log_level;
  std::optional<std::string> log_format;
};

void declare_settings(Options& options, SettingFlags& flags);

// getenv(3), or a stand-in.
using Environment = std::function<const char*(const char* name)>;

// Configuration files are JSON objects with the keys data_dir, log_level and log_format. Without
// --config they are /etc/fcvm/config.json and, over it, $XDG_CONFIG_HOME/fcvm/config.json, where
// they exist. Throws base::Error naming the source of a bad value. `default_data_dir` is called only
// when nothing names the directory.
Settings resolve_settings(const SettingFlags& flags, const Environment& environment,
                          const std::function<std::string()>& default_data_dir,
                          const std::string& system_config = "/etc/fcvm/config.json");

}  // namespace cli
