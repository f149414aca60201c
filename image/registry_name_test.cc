#include "image/registry_name.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace image {
namespace {

const std::string kDigest = "sha256:" + std::string(64, 'a');

TEST(RegistryNameTest, PartsAreToldApart) {
  const RegistryName full = parse_registry_name("localhost:5000/team/app_1:v2.0");
  EXPECT_EQ(full.domain, "localhost:5000");
  EXPECT_EQ(full.path, "team/app_1");
  EXPECT_EQ(full.tag, "v2.0");
  EXPECT_EQ(full.digest, "");
  EXPECT_EQ(full.text(), "localhost:5000/team/app_1:v2.0");

  const RegistryName nothing = parse_registry_name("busybox");
  EXPECT_TRUE(nothing.is_short());
  EXPECT_EQ(nothing.text(), "busybox:latest");
  // No host has a name without a dot.
  EXPECT_TRUE(parse_registry_name("team/app").is_short());
  EXPECT_EQ(parse_registry_name("docker:20").text(), "docker:20");
}

TEST(RegistryNameTest, DockerIoIsCompleted) {
  EXPECT_EQ(parse_registry_name("docker.io/busybox").text(), "docker.io/library/busybox:latest");
  EXPECT_EQ(parse_registry_name("index.docker.io/a/b:1").text(), "docker.io/a/b:1");
  EXPECT_EQ(parse_registry_name("busybox:1").in("docker.io").text(), "docker.io/library/busybox:1");
  EXPECT_EQ(parse_registry_name("busybox:1").in("quay.io").text(), "quay.io/busybox:1");
}

TEST(RegistryNameTest, DigestBeatsTag) {
  const RegistryName name = parse_registry_name("quay.io/app:v1@" + kDigest);
  EXPECT_EQ(name.tag, "");
  EXPECT_EQ(name.text(), "quay.io/app@" + kDigest);
}

class RefusedNameTest : public ::testing::TestWithParam<std::string> {};

TEST_P(RefusedNameTest, IsRefused) {
  EXPECT_THROW(parse_registry_name(GetParam()), base::Error) << GetParam();
}

INSTANTIATE_TEST_SUITE_P(All, RefusedNameTest,
                         ::testing::Values("", "UPPER", "a b", "a:", "a:b:c", "/a", "a/", "a//b",
                                           "a@sha256:12", "a@", "-a", "a-", "a..b", "a._b", "a___b",
                                           "localhost:/a", "localhost:123456/a", "host:port/a",
                                           "a:-t", "a:" + std::string(129, 't'),
                                           std::string(256, 'a'), "a.b/" + std::string(255, 'a'),
                                           "a@" + kDigest + "0", "../a", "a/../b"));

}  // namespace
}  // namespace image
