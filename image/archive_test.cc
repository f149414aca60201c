#include "image/archive.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "image/test_archives.h"
#include "tests/support/temp_dir.h"

namespace image {
namespace {

using Names = std::vector<std::string>;

TEST(ArchiveTest, DockerManifestNamesItsImages) {
  const auto one = parse_docker_manifest(
      R"([{"Config":"x.json","RepoTags":["busybox:1","localhost/a:2"],"Layers":[]}])", "/f.tar");
  ASSERT_EQ(one.size(), 1U);
  EXPECT_EQ(one[0].reference.skopeo_name(), "docker-archive:/f.tar");
  EXPECT_EQ(one[0].names, (Names{"docker.io/library/busybox:1", "localhost/a:2"}));

  const auto two = parse_docker_manifest(R"([{"RepoTags":null},{"RepoTags":["a/b"]}])", "/f.tar");
  ASSERT_EQ(two.size(), 2U);
  EXPECT_EQ(two[0].reference.skopeo_name(), "docker-archive:/f.tar:@0");
  EXPECT_TRUE(two[0].names.empty());
  EXPECT_EQ(two[1].names, Names{"docker.io/a/b:latest"});
}

TEST(ArchiveTest, OciIndexNamesItsImages) {
  const std::string key = R"("org.opencontainers.image.ref.name")";
  const auto one =
      parse_oci_index(R"({"manifests":[{"annotations":{)" + key + R"(:"quay.io/a:1"}}]})", "/d",
                      Transport::kOciDirectory);
  ASSERT_EQ(one.size(), 1U);
  EXPECT_EQ(one[0].reference.skopeo_name(), "oci:/d");
  EXPECT_EQ(one[0].names, Names{"quay.io/a:1"});

  const auto some = parse_oci_index(R"({"manifests":[{"annotations":{)" + key +
                                        R"(:"v1"}},{},{"annotations":{)" + key + R"(:"v2"}}]})",
                                    "/f.tar", Transport::kOciArchive);
  ASSERT_EQ(some.size(), 2U);
  EXPECT_EQ(some[0].reference.skopeo_name(), "oci-archive:/f.tar:v1");
  EXPECT_EQ(some[0].names, Names{"localhost/v1:latest"});
}

TEST(ArchiveTest, WhatIsNoNameIsLeftOut) {
  EXPECT_TRUE(parse_docker_manifest(R"([{"RepoTags":["../x","A"]}])", "/f")[0].names.empty());
  // Too long only when complete.
  const std::string name(250, 'a');
  EXPECT_TRUE(
      parse_docker_manifest(R"([{"RepoTags":[")" + name + R"("]}])", "/f")[0].names.empty());
}

TEST(ArchiveTest, MalformedIndexesAreRefused) {
  for (const char* text :
       {"", "{}", "[]", "[1]", R"([{"RepoTags":"x"}])", R"([{"RepoTags":[1]}])"}) {
    EXPECT_THROW(parse_docker_manifest(text, "/f"), base::Error) << text;
  }
  for (const char* text : {"", "[]", "{}", R"({"manifests":[]})", R"({"manifests":[1]})",
                           R"({"manifests":[{},{}]})", R"({"manifests":[{"annotations":[]}]})"}) {
    EXPECT_THROW(parse_oci_index(text, "/f", Transport::kOciArchive), base::Error) << text;
  }
}

TEST(ArchiveTest, KindIsToldByContent) {
  const tests::TempDir dir;
  const std::string layer = testing::make_tar({testing::file("a", "1")});
  const std::string docker = dir.write("one", testing::make_docker_archive({layer}));
  const std::string oci = dir.write("two", testing::make_oci_archive({layer}));
  EXPECT_EQ(read_archive(docker).at(0).reference.transport, Transport::kDockerArchive);
  EXPECT_EQ(read_archive(oci).at(0).reference.transport, Transport::kOciArchive);
  EXPECT_THROW(read_archive(dir.write("text", "no archive\n")), base::Error);
  EXPECT_THROW(read_archive(dir.write("plain.tar", layer)), base::Error);
  EXPECT_THROW(read_archive(dir / "missing"), base::Error);
  EXPECT_THROW(read_archive(dir.write("a:b", "")), base::Error);
}

}  // namespace
}  // namespace image
