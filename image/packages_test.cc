#include "image/packages.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "image/skopeo.h"

namespace image {
namespace {

constexpr char kDepends[] =
    "crun\n"
    "  Depends: libc6\n"
    "  PreDepends: base\n"
    " |Depends: missing\n"
    " |Depends: second\n"
    "  Depends: third\n"
    "  Depends: <virtual>\n"
    "    provider\n"
    "    other-provider\n"
    "libc6\n"
    "  Depends: libgcc\n"
    "libgcc\n"
    "  Depends: libc6\n"
    "base\n"
    "second\n"
    "third\n"
    "<virtual>\n"
    "provider\n"
    "other-provider\n";

TEST(PackagesTest, ClosureTakesTheFirstAlternativeThereIs) {
  EXPECT_EQ(resolve_closure(kDepends, {"crun"}),
            (std::vector<std::string>{"base", "crun", "libc6", "libgcc", "provider", "second"}));
}

TEST(PackagesTest, ClosureLeavesOutWhatIsNotWanted) {
  EXPECT_EQ(resolve_closure(kDepends, {"crun"}, {"libc6", "provider"}),
            (std::vector<std::string>{"base", "crun", "second"}));
}

TEST(PackagesTest, ClosureSaysWhatIsMissing) {
  EXPECT_THROW(resolve_closure("a\n  Depends: b\n", {"a"}), base::Error);
  EXPECT_THROW(resolve_closure("", {"a"}), base::Error);
}

TEST(PackagesTest, PackageUriIsRead) {
  const std::string sum(64, 'a');
  const auto uri = parse_package_uri(
      "'http://x/pool/c/crun_1.8.1-1%2bdeb12u1_amd64.deb' crun_1.8.1-1+deb12u1_amd64.deb 289288 "
      "SHA256:" +
      sum);
  ASSERT_TRUE(uri);
  EXPECT_EQ(uri->file, "crun_1.8.1-1+deb12u1_amd64.deb");
  EXPECT_EQ(uri->bytes, 289288U);
  EXPECT_EQ(uri->sha256, sum);
}

TEST(PackagesTest, OtherLinesAreNoPackageUri) {
  const std::string sum(64, 'a');
  for (const std::string& line :
       {std::string(), std::string("Reading package lists..."), "'u' ../x.deb 1 SHA256:" + sum,
        "'u' x.deb 1 MD5Sum:" + sum, "'u' x.deb -1 SHA256:" + sum,
        "'u' x.deb 1 SHA256:" + sum + "a", "u x.deb 1 SHA256:" + sum}) {
    EXPECT_FALSE(parse_package_uri(line)) << line;
  }
}

TEST(PackagesTest, NameThatCouldBeAnOptionIsRefused) {
  PackageArchive archive("/nonexistent", {});
  EXPECT_THROW(archive.closure({"-o=APT::x"}), base::Error);
  EXPECT_THROW(archive.closure({"a b"}), base::Error);
  EXPECT_THROW(archive.fetch({""}), base::Error);
}

TEST(SkopeoReasonTest, MessageIsTakenOutOfTheLogLine) {
  EXPECT_EQ(skopeo_reason("warning\ntime=\"x\" level=fatal msg=\"a \\\"b\\\" c\"\n"), "a \"b\" c");
  EXPECT_EQ(skopeo_reason("plain text\n"), "plain text");
  EXPECT_EQ(skopeo_reason(""), "skopeo failed");
}

}  // namespace
}  // namespace image
