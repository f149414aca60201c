#include "image/reference.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "image/source.h"

namespace image {
namespace {

TEST(ReferenceTest, LocalReferencesAreRead) {
  const Reference archive = parse_reference("docker-archive:/a/b.tar");
  EXPECT_EQ(archive.transport, Transport::kDockerArchive);
  EXPECT_EQ(archive.location, "/a/b.tar");
  EXPECT_EQ(archive.name, "");
  EXPECT_EQ(archive.skopeo_name(), "docker-archive:/a/b.tar");

  const Reference oci = parse_reference("oci:dir:v1");
  EXPECT_EQ(oci.transport, Transport::kOciDirectory);
  EXPECT_EQ(oci.location, "dir");
  EXPECT_EQ(oci.name, "v1");
  EXPECT_EQ(oci.skopeo_name(), "oci:dir:v1");

  EXPECT_EQ(parse_reference("oci-archive:x.tar").transport, Transport::kOciArchive);
  EXPECT_EQ(parse_reference("dir:/x:y").location, "/x:y");
  const Reference stored = parse_reference("containers-storage:docker.io/library/alpine:3");
  EXPECT_EQ(stored.transport, Transport::kContainersStorage);
  EXPECT_EQ(stored.location, "docker.io/library/alpine:3");
  EXPECT_EQ(stored.skopeo_name(), stored.text);
}

TEST(ReferenceTest, DockerArchiveMayNameOneOfSeveralImages) {
  const Reference reference = parse_reference("docker-archive:a.tar:name:tag");
  EXPECT_EQ(reference.location, "a.tar");
  EXPECT_EQ(reference.name, "name:tag");
}

class RefusedReferenceTest : public ::testing::TestWithParam<std::string> {};

TEST_P(RefusedReferenceTest, IsRefusedWithAHintThatSaysWhatWorks) {
  try {
    parse_reference(GetParam());
    FAIL() << GetParam();
  } catch (const base::Error& error) {
    EXPECT_NE(error.hint().find("oci-archive:FILE"), std::string::npos);
    EXPECT_EQ(std::string(error.what()).find('\n'), std::string::npos);
  }
}

INSTANTIATE_TEST_SUITE_P(All, RefusedReferenceTest,
                         ::testing::Values("", "Alpine", "a b", "docker://", "docker://A",
                                           "http://a/b", "docker-archive:", "oci:", "oci::tag",
                                           "oci:dir:", "dir:", "docker-daemon:", "docker-daemon:A",
                                           "containers-storage:", "containers-storage:[vfs@/x]y",
                                           "sif:x", "oci:a\nb", std::string("oci:a\0b", 7),
                                           "oci:" + std::string(5000, 'x')));

TEST(ReferenceTest, NamesAreOfRegistries) {
  const Reference plain = parse_reference("nginx");
  EXPECT_EQ(plain.transport, Transport::kRegistry);
  EXPECT_EQ(plain.location, "nginx:latest");
  EXPECT_EQ(plain.text, "nginx");
  EXPECT_EQ(parse_reference("docker://nginx:1").location, "docker.io/library/nginx:1");
  EXPECT_EQ(parse_reference("docker:20").location, "docker:20");
  const Reference full = parse_reference("docker://localhost:5000/a/b:1");
  EXPECT_EQ(full.skopeo_name(), "docker://localhost:5000/a/b:1");
  EXPECT_EQ(registry_reference("quay.io/a:1").skopeo_name(), "docker://quay.io/a:1");
}

TEST(ReferenceTest, DockersOwnStoreIsAskedByNameOrId) {
  EXPECT_EQ(parse_reference("docker-daemon:a").skopeo_name(), "docker-daemon:a:latest");
  EXPECT_EQ(parse_reference("docker-daemon:sha256:12").skopeo_name(), "docker-daemon:sha256:12");
}

TEST(PlatformTest, IsReadInTheWordsOfGo) {
  EXPECT_EQ(parse_platform("linux/x86_64"), (Platform{"linux", "amd64", ""}));
  EXPECT_EQ(parse_platform("linux/arm/v7"), (Platform{"linux", "arm", "v7"}));
  for (const char* text : {"", "linux", "linux/", "/amd64", "linux/arm/", "linux/arm/v7/x"}) {
    EXPECT_THROW(parse_platform(text), base::Error) << text;
  }
}

}  // namespace
}  // namespace image
