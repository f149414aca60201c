#include "cli/settings.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "base/error.h"
#include "tests/support/temp_dir.h"

namespace cli {
namespace {

using ::testing::HasSubstr;

class SettingsTest : public ::testing::Test {
 protected:
  Settings resolve() {
    const Environment environment = [this](const char* name) -> const char* {
      const auto found = environment_.find(name);
      return found == environment_.end() ? nullptr : found->second.c_str();
    };
    return resolve_settings(
        flags_, environment, [] { return std::string("/default"); }, temp_ / "system.json");
  }
  std::string error() {
    try {
      resolve();
      return "";
    } catch (const base::Error& failure) {
      return failure.what();
    }
  }
  void system_config(const std::string& text) { temp_.write("system.json", text); }
  void user_config(const std::string& text) {
    temp_.write("home/fcvm/config.json", text);
    environment_["XDG_CONFIG_HOME"] = temp_ / "home";
  }

  tests::TempDir temp_;
  SettingFlags flags_;
  std::map<std::string, std::string> environment_;
};

TEST_F(SettingsTest, DefaultsHoldWhenNothingIsSaid) {
  const Settings settings = resolve();
  EXPECT_EQ(settings.data_dir, "/default");
  EXPECT_EQ(settings.log_level, base::LogLevel::kWarn);
  EXPECT_EQ(settings.log_format, LogFormat::kText);
}

TEST_F(SettingsTest, EachSourceBeatsTheOneBefore) {
  system_config(R"({"data_dir": "/system", "log_level": "info"})");
  EXPECT_EQ(resolve().data_dir, "/system");
  user_config(R"({"data_dir": "/user"})");
  EXPECT_EQ(resolve().data_dir, "/user");
  EXPECT_EQ(resolve().log_level, base::LogLevel::kInfo);
  environment_["FCVM_DATA_DIR"] = "/environment";
  EXPECT_EQ(resolve().data_dir, "/environment");
  flags_.data_dir = "/flag";
  EXPECT_EQ(resolve().data_dir, "/flag");
}

TEST_F(SettingsTest, EmptyEnvironmentVariableCountsAsUnset) {
  environment_["FCVM_DATA_DIR"] = "";
  EXPECT_EQ(resolve().data_dir, "/default");
}

TEST_F(SettingsTest, NamedConfigurationReplacesTheUsualOnes) {
  system_config(R"({"log_level": "debug"})");
  flags_.config = temp_.write("own.json", R"({"log_format": "json"})");
  EXPECT_EQ(resolve().log_level, base::LogLevel::kWarn);
  EXPECT_EQ(resolve().log_format, LogFormat::kJson);
}

TEST_F(SettingsTest, HomeIsUsedWithoutXdg) {
  environment_["HOME"] = temp_.path();
  temp_.write(".config/fcvm/config.json", R"({"data_dir": "/of-home"})");
  EXPECT_EQ(resolve().data_dir, "/of-home");
}

TEST_F(SettingsTest, BadValuesNameTheirSource) {
  environment_["FCVM_LOG_LEVEL"] = "loud";
  EXPECT_THAT(error(), ::testing::AllOf(HasSubstr("FCVM_LOG_LEVEL"), HasSubstr("'loud'")));
  environment_.clear();
  flags_.log_format = "xml";
  EXPECT_THAT(error(), ::testing::AllOf(HasSubstr("--log-format"), HasSubstr("'xml'")));
  flags_ = {};
  flags_.data_dir = "";
  EXPECT_THAT(error(), HasSubstr("--data-dir"));
}

TEST_F(SettingsTest, BadConfigurationFilesAreNamed) {
  for (const char* text : {"", "[]", "{ not json", R"({"data_dir": 7})", R"({"colour": "red"})"}) {
    system_config(text);
    EXPECT_THAT(error(), HasSubstr("system.json")) << text;
  }
}

TEST_F(SettingsTest, NamedConfigurationMustExist) {
  flags_.config = temp_ / "missing.json";
  EXPECT_THAT(error(), HasSubstr("missing.json"));
}

}  // namespace
}  // namespace cli
