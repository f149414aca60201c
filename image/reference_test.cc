#include "image/reference.h"

#include <gtest/gtest.h>

#include "base/error.h"

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

INSTANTIATE_TEST_SUITE_P(
    All, RefusedReferenceTest,
    ::testing::Values("", "alpine", "docker.io/library/alpine:3", "docker://alpine",
                      "docker-daemon:alpine:latest", "localhost:5000/x",
                      "docker-archive:", "oci:", "oci::tag", "oci:dir:", "dir:",
                      "containers-storage:", "containers-storage:[vfs@/x]y", "sif:x", "oci:a\nb",
                      std::string("oci:a\0b", 7), "oci:" + std::string(5000, 'x')));

TEST(ReferenceTest, RegistryReferenceIsNamedAsSuch) {
  try {
    parse_reference("nginx:latest");
    FAIL();
  } catch (const base::Error& error) {
    EXPECT_NE(std::string(error.what()).find("registries"), std::string::npos) << error.what();
  }
}

}  // namespace
}  // namespace image
