#include "storage/staging.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <functional>

#include "base/error.h"
#include "base/files.h"
#include "tests/support/temp_dir.h"

namespace storage {
namespace {

// Runs `body` in a child that then kills itself with SIGKILL.
void run_and_kill(const std::function<void()>& body) {
  const pid_t child = ::fork();
  if (child == 0) {
    body();
    ::kill(::getpid(), SIGKILL);
    ::_exit(1);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFSIGNALED(status));
}

TEST(StagingTest, PublishedDirectoryAppearsWhole) {
  tests::TempDir dir;
  const std::string parent = dir.path();
  StagingDirectory staging(parent, "thing");
  base::write_file(staging / "file", "content");
  EXPECT_FALSE(base::path_exists(parent + "/thing"));
  EXPECT_TRUE(staging.publish());
  EXPECT_EQ(base::read_file(parent + "/thing/file"), "content");
  EXPECT_EQ(base::list_directory(parent).size(), 1U);
}

TEST(StagingTest, UnpublishedDirectoryGoesAway) {
  tests::TempDir dir;
  {
    StagingDirectory staging(dir.path(), "thing");
    base::make_directories(staging / "a/b/c");
  }
  EXPECT_TRUE(base::list_directory(dir.path()).empty());
}

TEST(StagingTest, SecondPublisherFindsTheFirstOnesThing) {
  tests::TempDir dir;
  const std::string parent = dir.path();
  {
    StagingDirectory first(parent, "thing");
    StagingDirectory second(parent, "thing");
    base::write_file(first / "file", "first");
    base::write_file(second / "file", "second");
    EXPECT_TRUE(first.publish());
    EXPECT_FALSE(second.publish());
  }
  EXPECT_EQ(base::read_file(parent + "/thing/file"), "first");
  EXPECT_EQ(base::list_directory(parent).size(), 1U);
}

TEST(StagingTest, ReplacingPublisherReplaces) {
  tests::TempDir dir;
  const std::string parent = dir.path();
  for (const char* text : {"first", "second"}) {
    StagingDirectory staging(parent, "thing");
    base::write_file(staging / "file", text);
    staging.publish_replacing();
  }
  EXPECT_EQ(base::read_file(parent + "/thing/file"), "second");
  EXPECT_EQ(base::list_directory(parent).size(), 1U);
}

TEST(StagingTest, FileIsPublishedUnderANameFoundLater) {
  tests::TempDir dir;
  const std::string parent = dir.path();
  StagingFile staging(parent, "download");
  base::write_all(staging.fd(), std::string_view("content"));
  staging.publish_as("sum");
  EXPECT_EQ(base::read_file(parent + "/sum"), "content");
  EXPECT_EQ(base::list_directory(parent).size(), 1U);
}

TEST(StagingTest, TemporariesOfTheLivingAreKept) {
  tests::TempDir dir;
  StagingDirectory directory(dir.path(), "a");
  StagingFile file(dir.path(), "b");
  EXPECT_EQ(sweep_stale(dir.path()), 0);
  EXPECT_TRUE(base::path_exists(directory.path()));
  EXPECT_TRUE(base::path_exists(file.path()));
}

TEST(StagingTest, TemporariesOfTheKilledAreSwept) {
  tests::TempDir dir;
  const std::string parent = dir.path();
  run_and_kill([&] {
    static StagingDirectory directory(parent, "a");
    base::make_directories(directory / "x/y");
    static StagingFile file(parent, "b");
  });
  EXPECT_EQ(base::list_directory(parent).size(), 2U);
  EXPECT_EQ(sweep_stale(parent), 2);
  EXPECT_TRUE(base::list_directory(parent).empty());
}

TEST(StagingTest, OtherFilesAreNotSwept) {
  tests::TempDir dir;
  dir.write("file.tmp", "");
  dir.write(".hidden", "");
  ASSERT_EQ(::symlink("/", (dir / ".link.1-1.tmp").c_str()), 0);
  EXPECT_EQ(sweep_stale(dir.path()), 0);
  EXPECT_EQ(base::list_directory(dir.path()).size(), 3U);
}

TEST(StagingTest, TreeAsDeepAsPathsCanBeIsRemoved) {
  tests::TempDir dir;
  struct rlimit before {};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  const struct rlimit few { 256, before.rlim_max };
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &few), 0);
  {
    StagingDirectory staging(dir.path(), "deep");
    // What an image's archive can make: names of one character up to PATH_MAX.
    const std::string start = base::canonical_path(".");
    ASSERT_EQ(::chdir(staging.path().c_str()), 0);
    for (int i = 0; i < 2000; ++i) {
      ASSERT_EQ(::mkdir("d", 0700), 0);
      ASSERT_EQ(::chdir("d"), 0);
    }
    ASSERT_EQ(::chdir(start.c_str()), 0);
  }
  ::setrlimit(RLIMIT_NOFILE, &before);
  EXPECT_TRUE(base::list_directory(dir.path()).empty());
}

TEST(StagingTest, SymlinkIsReplacedInOneStep) {
  tests::TempDir dir;
  const std::string link = dir / "link";
  dir.write("one", "1");
  dir.write("two", "2");
  replace_symlink("one", link);
  EXPECT_EQ(base::read_file(link), "1");
  replace_symlink("two", link);
  EXPECT_EQ(base::read_file(link), "2");
}

}  // namespace
}  // namespace storage
