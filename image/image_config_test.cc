#include "image/image_config.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace image {
namespace {

TEST(ImageConfigTest, EveryMemberIsRead) {
  const ParsedImageConfig parsed = parse_image_config(R"({
    "created": "2024-01-02T03:04:05Z", "architecture": "amd64", "os": "linux",
    "config": {
      "User": "1000:100", "Env": ["PATH=/bin", "EMPTY=", "BARE"],
      "Entrypoint": ["/entry", "-x"], "Cmd": ["a", ""], "WorkingDir": "/srv",
      "StopSignal": "SIGQUIT", "Labels": {"k": "v", "none": null},
      "ExposedPorts": {"80/tcp": {}, "53/udp": {}}, "Volumes": {"/data": {}},
      "Healthcheck": {"Test": ["CMD-SHELL", "true"], "Interval": 5000000000, "Timeout": 1,
                      "StartPeriod": 2, "Retries": 3},
      "SomethingNew": {"x": 1}
    },
    "rootfs": {"type": "layers", "diff_ids": [
      "sha256:0000000000000000000000000000000000000000000000000000000000000001"]}
  })");
  EXPECT_EQ(parsed.created, "2024-01-02T03:04:05Z");
  EXPECT_EQ(parsed.architecture, "amd64");
  EXPECT_EQ(parsed.config.user, "1000:100");
  EXPECT_EQ(parsed.config.env, (std::vector<std::string>{"PATH=/bin", "EMPTY=", "BARE="}));
  EXPECT_EQ(parsed.config.entrypoint, (std::vector<std::string>{"/entry", "-x"}));
  EXPECT_EQ(parsed.config.cmd, (std::vector<std::string>{"a", ""}));
  EXPECT_EQ(parsed.config.working_dir, "/srv");
  EXPECT_EQ(parsed.config.stop_signal, "SIGQUIT");
  EXPECT_EQ(parsed.config.labels.at("k"), "v");
  EXPECT_EQ(parsed.config.labels.at("none"), "");
  EXPECT_EQ(parsed.config.exposed_ports, (std::vector<std::string>{"53/udp", "80/tcp"}));
  EXPECT_EQ(parsed.config.volumes, std::vector<std::string>{"/data"});
  ASSERT_TRUE(parsed.config.healthcheck);
  EXPECT_EQ(parsed.config.healthcheck->interval_ns, 5'000'000'000);
  EXPECT_EQ(parsed.config.healthcheck->retries, 3);
  EXPECT_EQ(parsed.diff_ids.size(), 1U);
}

TEST(ImageConfigTest, AbsentAndNullMembersAreEmpty) {
  for (const char* text : {"{}", R"({"config": null})", R"({"config": {}})",
                           R"({"config": {"Cmd": null, "Env": null, "Labels": null}})"}) {
    EXPECT_EQ(parse_image_config(text).config, ImageConfig{}) << text;
  }
}

class BadConfigTest : public ::testing::TestWithParam<const char*> {};

TEST_P(BadConfigTest, IsRefused) {
  EXPECT_THROW(parse_image_config(GetParam()), base::Error);
}

INSTANTIATE_TEST_SUITE_P(
    All, BadConfigTest,
    ::testing::Values(
        "", "[]", "null", "{", "\"x\"", R"({"config": []})", R"({"config": "x"})",
        R"({"config": {"Cmd": "sh"}})", R"({"config": {"Cmd": [1]}})",
        R"({"config": {"Env": {"a": "b"}}})", R"({"config": {"Env": ["=x"]}})",
        R"({"config": {"Env": [""]}})", R"({"config": {"User": 0}})",
        R"({"config": {"User": "a\u0000b"}})", R"({"config": {"Labels": {"a\u0000": "b"}}})",
        R"({"config": {"Labels": {"a": 1}}})", R"({"config": {"ExposedPorts": ["80/tcp"]}})",
        R"({"config": {"Volumes": {"": {}}}})", R"({"config": {"Healthcheck": {"Interval": -1}}})",
        R"({"config": {"Healthcheck": {"Interval": 1e30}}})",
        R"({"config": {"Healthcheck": {"Interval": 18446744073709551615}}})",
        R"({"config": {"Healthcheck": {"Retries": 4294967296}}})",
        R"({"rootfs": {"diff_ids": ["sha256:short"]}})",
        R"({"rootfs": {"diff_ids": ["../../etc"]}})", R"({"architecture": []})",
        R"({"unknown": 7E4407})"));

TEST(ImageConfigTest, OverlongTextAndListsAreRefused) {
  EXPECT_THROW(parse_image_config("{\"os\":\"" + std::string(kMaxImageConfigBytes, 'x') + "\"}"),
               base::Error);
  std::string many = "{\"config\":{\"Cmd\":[\"x\"";
  for (int i = 0; i < 20000; ++i) many += ",\"x\"";
  EXPECT_THROW(parse_image_config(many + "]}}"), base::Error);
  EXPECT_THROW(parse_image_config(std::string(100000, '[')), base::Error);
}

TEST(ImageMetaTest, SerializedMetadataReadsBackTheSame) {
  ImageMeta meta;
  meta.digest = "sha256:" + std::string(64, 'a');
  meta.reference = "oci:\xff\xc3\xa4";
  meta.architecture = "amd64";
  meta.os = "linux";
  meta.config.cmd = {"sh", "-c", "\"quoted\"\n"};
  meta.config.labels = {{"a", "b"}};
  meta.config.healthcheck = Healthcheck{{"CMD", "x"}, 1, 2, 3, 4};
  meta.layers = {"layers/0", "layers/1"};
  meta.passwd = std::string("root:x:0:0::/:\n\xff\x80\0binary", 23);
  meta.group = "gr\xc3\xbcppe:x:1:\n";
  EXPECT_EQ(parse_image_meta(serialize_image_meta(meta)), meta);
}

TEST(ImageMetaTest, DamagedMetadataIsRefused) {
  EXPECT_THROW(parse_image_meta(""), base::Error);
  EXPECT_THROW(parse_image_meta("{}"), base::Error);
  EXPECT_THROW(parse_image_meta(R"({"schema": 99})"), base::Error);
  EXPECT_THROW(parse_image_meta(R"({"schema": 1, "layers": [], "passwd": "", "group": ""})"),
               base::Error);
}

}  // namespace
}  // namespace image
