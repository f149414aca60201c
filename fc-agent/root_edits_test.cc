#include "fc-agent/root_edits.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

#include "base/error.h"
#include "base/files.h"
#include "base/mount.h"
#include "tests/support/requirements.h"
#include "tests/support/temp_dir.h"

namespace fc_agent {
namespace {

namespace fs = std::filesystem;
using Edit = wire::PlanRootEdit;
using Kind = wire::PlanRootEdit::Kind;

// Owners can only be given by root.
class RootEditsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    FCVM_REQUIRE(root);
    fs::create_directory(directory_ / "root");
    fs::create_directory(directory_ / "outside");
  }

  void apply(Edit edit) { apply_root_edits(directory_ / "root", {std::move(edit)}); }
  fs::path in_root(std::string_view name) { return directory_ / "root" / name; }

  static Edit edit(Kind kind, std::string path, std::string text = {}) {
    Edit edit;
    edit.kind = kind;
    edit.path = std::move(path);
    edit.text = std::move(text);
    return edit;
  }
  static struct stat status(const fs::path& path) {
    struct stat info {};
    EXPECT_EQ(::stat(path.c_str(), &info), 0) << path;
    return info;
  }

  tests::TempDir directory_;
};

TEST_F(RootEditsTest, DirectoryIsMadeWithParentsModeAndOwner) {
  Edit make = edit(Kind::kMakeDirectory, "/a/b/c");
  make.mode = 01700;
  make.uid = 123;
  make.gid = 45;
  apply(make);
  EXPECT_EQ(status(in_root("a/b")).st_mode & 07777, 0755U);
  EXPECT_EQ(status(in_root("a/b")).st_uid, 0U);
  EXPECT_EQ(status(in_root("a/b/c")).st_mode & 07777, 01700U);
  EXPECT_EQ(status(in_root("a/b/c")).st_uid, 123U);
  EXPECT_EQ(status(in_root("a/b/c")).st_gid, 45U);
}

TEST_F(RootEditsTest, DirectoryThatIsThereKeepsModeAndOwner) {
  fs::create_directory(in_root("a"));
  ::chmod(in_root("a").c_str(), 0711);
  Edit make = edit(Kind::kMakeDirectory, "/a/");
  make.uid = 123;
  apply(make);
  EXPECT_EQ(status(in_root("a")).st_mode & 07777, 0711U);
  EXPECT_EQ(status(in_root("a")).st_uid, 0U);
}

TEST_F(RootEditsTest, LinksOfTheImageNeverLeadOutside) {
  const std::string outside = directory_ / "outside";
  fs::create_directory_symlink(outside, in_root("absolute"));
  fs::create_directory_symlink("../../outside", in_root("relative"));
  apply(edit(Kind::kMakeDirectory, "/absolute/x"));
  apply(edit(Kind::kMakeDirectory, "/relative/y"));
  apply(edit(Kind::kAppend, "/absolute/file", "text"));
  apply(edit(Kind::kSymlink, "/relative/link", "/target"));
  EXPECT_TRUE(fs::is_empty(outside));
  // The links mean what they mean inside: the folder is made there.
  EXPECT_TRUE(fs::is_directory(in_root(outside.substr(1) + "/x")));
  EXPECT_TRUE(fs::is_directory(in_root("outside/y")));
}

TEST_F(RootEditsTest, FileInPlaceOfADirectoryIsAnError) {
  directory_.write("root/a", "");
  EXPECT_THROW(apply(edit(Kind::kMakeDirectory, "/a/b")), base::Error);
  EXPECT_THROW(apply(edit(Kind::kMakeDirectory, "/a")), base::Error);
}

TEST_F(RootEditsTest, LinkLoopIsAnError) {
  fs::create_symlink("b", in_root("a"));
  fs::create_symlink("a", in_root("b"));
  EXPECT_THROW(apply(edit(Kind::kMakeDirectory, "/a/c")), base::Error);
  EXPECT_THROW(apply(edit(Kind::kAppend, "/a", "x")), base::Error);
}

TEST_F(RootEditsTest, RequiredDirectoryFailsWithItsMessage) {
  fs::create_directory(in_root("there"));
  EXPECT_NO_THROW(apply(edit(Kind::kRequireDirectory, "/there", "no")));
  try {
    apply(edit(Kind::kRequireDirectory, "/missing", "workdir is missing"));
    FAIL();
  } catch (const base::Error& error) {
    EXPECT_STREQ(error.what(), "workdir is missing");
  }
}

TEST_F(RootEditsTest, AppendMakesTheFileOrAddsToIt) {
  directory_.write("root/etc/passwd", "root\n");
  apply(edit(Kind::kAppend, "/etc/passwd", "user\n"));
  apply(edit(Kind::kAppend, "/new/file", "one\n"));
  apply(edit(Kind::kAppend, "/new/file", "two\n"));
  EXPECT_EQ(tests::read_file(in_root("etc/passwd")), "root\nuser\n");
  EXPECT_EQ(tests::read_file(in_root("new/file")), "one\ntwo\n");
  EXPECT_EQ(status(in_root("new/file")).st_mode & 07777, 0644U);
}

TEST_F(RootEditsTest, NothingButAFileIsAppendedTo) {
  ASSERT_EQ(::mkfifo(in_root("fifo").c_str(), 0644), 0);
  EXPECT_THROW(apply(edit(Kind::kAppend, "/fifo", "x")), base::Error);
  EXPECT_THROW(apply(edit(Kind::kAppend, "/", "x")), base::Error);
}

TEST_F(RootEditsTest, LinkIsMadeUnlessSomethingIsThere) {
  directory_.write("root/taken", "mine");
  apply(edit(Kind::kSymlink, "/taken", "/x"));
  apply(edit(Kind::kSymlink, "/sub/free", "/x"));
  EXPECT_EQ(tests::read_file(in_root("taken")), "mine");
  EXPECT_EQ(fs::read_symlink(in_root("sub/free")), "/x");
}

TEST_F(RootEditsTest, BindShowsTheFolderAtAPathOfTheGuest) {
  directory_.write("root/volume/data/file", "seen");
  const std::string guest_path = directory_ / "guest/volume";
  apply(edit(Kind::kBind, "/volume/data", guest_path));
  const base::MountGuard guard(guest_path);
  EXPECT_EQ(tests::read_file(guest_path + "/file"), "seen");
}

TEST_F(RootEditsTest, KernelParameterIsWrittenBelowItsFolder) {
  directory_.write("sys/net/ipv4/ping_group_range", "");
  set_sysctl(directory_ / "sys", "net.ipv4.ping_group_range", "0 0");
  EXPECT_EQ(tests::read_file(directory_ / "sys/net/ipv4/ping_group_range"), "0 0");
  for (const char* name : {"", ".net", "a..b", "/etc/passwd", "no.such.thing"}) {
    EXPECT_THROW(set_sysctl(directory_ / "sys", name, "1"), base::Error) << name;
  }
}

TEST(ReplaceInsideTest, OnlyAFileThatHoldsWhatIsExpectedIsWritten) {
  const tests::TempDir root;
  root.write("etc/hostname", "old\n");
  root.write("etc/own", "mine");
  ASSERT_EQ(::symlink("/etc/hostname", (root / "etc/link").c_str()), 0);
  replace_inside(root.path(), "/etc/link", "old", "new");
  EXPECT_EQ(base::read_file(root / "etc/hostname"), "new\n");
  replace_inside(root.path(), "/etc/hostname", "new\n", "bare");
  EXPECT_EQ(base::read_file(root / "etc/hostname"), "bare");
  replace_inside(root.path(), "/etc/own", "old", "new");
  EXPECT_EQ(base::read_file(root / "etc/own"), "mine");
  EXPECT_NO_THROW(replace_inside(root.path(), "/etc/none", "old", "new"));
  EXPECT_THROW(replace_inside(root.path(), "/etc", "old", "new"), base::Error);
}

}  // namespace
}  // namespace fc_agent
