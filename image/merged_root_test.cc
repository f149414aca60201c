#include "image/merged_root.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/error.h"
#include "base/files.h"
#include "tests/support/requirements.h"
#include "tests/support/temp_dir.h"

namespace image {
namespace {

class MergedRootTest : public ::testing::Test {
 protected:
  MergedRootTest() {
    base::make_directories(dir_ / "top");
    base::make_directories(dir_ / "bottom");
    dir_.write("outside", "secret");
  }
  std::optional<std::string> read(const std::string& path, std::size_t max_bytes = 1024) {
    return read_merged_file({dir_ / "top", dir_ / "bottom"}, path, max_bytes);
  }
  void link(const std::string& target, const std::string& name) {
    ASSERT_EQ(::symlink(target.c_str(), (dir_ / name).c_str()), 0);
  }

  tests::TempDir dir_;
};

TEST_F(MergedRootTest, UpperFileWins) {
  dir_.write("top/etc/passwd", "top");
  dir_.write("bottom/etc/passwd", "bottom");
  dir_.write("bottom/etc/group", "group");
  EXPECT_EQ(read("etc/passwd"), "top");
  EXPECT_EQ(read("etc/group"), "group");
  EXPECT_EQ(read("etc/shadow"), std::nullopt);
}

TEST_F(MergedRootTest, FileHidesTheDirectoryBelow) {
  dir_.write("top/etc", "a file");
  dir_.write("bottom/etc/passwd", "hidden");
  EXPECT_EQ(read("etc/passwd"), std::nullopt);
}

TEST_F(MergedRootTest, FileBelowADirectoryEndsTheMerge) {
  base::make_directories(dir_ / "top/etc");
  dir_.write("bottom/etc", "a file");
  EXPECT_EQ(read("etc"), std::nullopt);
}

TEST_F(MergedRootTest, LinksStayInsideTheRoot) {
  dir_.write("bottom/usr/etc/passwd", "inside");
  base::make_directories(dir_ / "top/etc");
  link("/usr/etc/passwd", "top/etc/passwd");
  EXPECT_EQ(read("etc/passwd"), "inside");

  link("../../../../../../../../outside", "top/etc/up");
  EXPECT_EQ(read("etc/up"), std::nullopt);
  link((dir_ / "outside").string(), "top/etc/absolute");
  EXPECT_EQ(read("etc/absolute"), std::nullopt);
}

TEST_F(MergedRootTest, LinkedDirectoryIsFollowedThroughTheLayers) {
  link("usr/config", "top/etc");
  dir_.write("bottom/usr/config/passwd", "found");
  EXPECT_EQ(read("etc/passwd"), "found");
}

TEST_F(MergedRootTest, RingOfLinksIsNoFile) {
  base::make_directories(dir_ / "top/etc");
  link("group", "top/etc/passwd");
  link("passwd", "top/etc/group");
  EXPECT_EQ(read("etc/passwd"), std::nullopt);
}

TEST_F(MergedRootTest, FifoIsNotOpened) {
  base::make_directories(dir_ / "top/etc");
  ASSERT_EQ(::mkfifo((dir_ / "top/etc/passwd").c_str(), 0600), 0);
  EXPECT_EQ(read("etc/passwd"), std::nullopt);
}

TEST_F(MergedRootTest, TooLargeFileIsRefused) {
  dir_.write("top/etc/passwd", std::string(2000, 'x'));
  EXPECT_THROW(read("etc/passwd"), base::Error);
}

TEST_F(MergedRootTest, WhiteoutHidesWhatIsBelow) {
  FCVM_REQUIRE(root);
  dir_.write("bottom/etc/passwd", "deleted");
  base::make_directories(dir_ / "top/etc");
  ASSERT_EQ(::mknod((dir_ / "top/etc/passwd").c_str(), S_IFCHR, ::makedev(0, 0)), 0);
  EXPECT_EQ(read("etc/passwd"), std::nullopt);
}

TEST_F(MergedRootTest, OpaqueDirectoryHidesTheOneBelow) {
  FCVM_REQUIRE(root);
  dir_.write("bottom/etc/passwd", "deleted");
  dir_.write("top/etc/group", "kept");
  ASSERT_EQ(::setxattr((dir_ / "top/etc").c_str(), "trusted.overlay.opaque", "y", 1, 0), 0);
  EXPECT_EQ(read("etc/passwd"), std::nullopt);
  EXPECT_EQ(read("etc/group"), "kept");
}

}  // namespace
}  // namespace image
